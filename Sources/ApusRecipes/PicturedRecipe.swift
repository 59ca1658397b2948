// Recipes whose trained networks are shown in pictures: filters, feature maps, what they look at.

import Apus

/// A recipe of a classifier of images, whose parts are looked into.
package protocol PicturedRecipe: ClassifierRecipe where Model: ImageClassifier {}

extension PicturedRecipe {
  package func scores(_ model: Model, _ images: Tensor) -> Tensor { model(images) }
}

/// What pictures are made of.
package struct PictureRequest: Sendable {
  /// A file of weights, or a checkpoint.
  package var weights: String
  /// Where the pictures go; it is made where it is not there.
  package var folder: String
  /// How many images of the held-out data, from the first on.
  package var count: Int
  /// The part whose feature maps are drawn and that Grad-CAM looks at; nil for the last one that has several places.
  package var layer: String?

  package init(weights: String, folder: String, count: Int = 8, layer: String? = nil) {
    self.weights = weights
    self.folder = folder
    self.count = count
    self.layer = layer
  }
}

/// The pictures that were written.
package struct PictureOutcome: Sendable {
  /// Paths, each with what the picture shows.
  package var files: [(path: String, content: String)] = []
  /// What each image is, and what the network says that it is.
  package var images: [(label: String, prediction: String)] = []
}

extension Recipe {
  /// This recipe as one whose network is shown in pictures.
  ///
  /// - Throws: `unsupported`, naming those that are.
  package func pictured() throws -> any PicturedRecipe {
    guard let recipe = self as? any PicturedRecipe else {
      let names = recipes.filter { $0 is any PicturedRecipe }.map(\.name)
      throw ApusError(
        .unsupported, "\(name) has no pictures", expected: "one of \(names.joined(separator: ", "))"
      )
    }
    return recipe
  }
}

extension PicturedRecipe {
  /// Writes the pictures of a trained network.
  ///
  /// - Throws: what reading weights and data throws; `missing` or `shapeMismatch` for a layer that has no feature
  ///   maps; `io` where a picture cannot be written.
  package func drawPictures(
    _ request: PictureRequest, _ options: RecipeOptions, compile: CompileOptions
  ) throws -> PictureOutcome {
    let model = try model(options)
    try model.load(request.weights)
    let iterator = try data(options).validation.makeIterator(epoch: 0)
    guard let batch = try iterator.next(), let all = batch.images, let labels = batch.labels else {
      throw ApusError(
        .missing, "the data of \(name) has no images", expected: "batches of images and labels")
    }
    let count = min(request.count, batch.count)
    let images = try all[rows: 0..<count]
    try RunFolder.make(request.folder, for: "pictures")
    let gallery = try Gallery(Explainer(model, compile: compile), images, request)
    var outcome = PictureOutcome()
    outcome.files = try gallery.draw(of: model)
    let names = classNames
    func className(_ index: Int) -> String {
      names.indices.contains(index) ? names[index] : "\(index)"
    }
    outcome.images = zip(labels.integers.prefix(count), gallery.classes).map {
      (className(Int($0)), className($1))
    }
    return outcome
  }
}

/// Draws what there is to see of a network and some images.
private struct Gallery<Model: ImageClassifier> {
  let explainer: Explainer<Model>
  let images: NDArray
  /// What the network says.
  let classes: [Int]
  let folder: String
  /// The layer whose feature maps are drawn.
  let layer: String
  private let pictures: [Picture]
  /// Small images are enlarged to about 112 pixels.
  private let factor: Int

  init(_ explainer: Explainer<Model>, _ images: NDArray, _ request: PictureRequest) throws {
    self.explainer = explainer
    self.images = images
    folder = request.folder.hasSuffix("/") ? request.folder : request.folder + "/"
    classes = try explainer.classes(images)
    let several = try explainer.layers(for: images).filter {
      $0.shape.dimensions.dropFirst().dropLast().contains { $0 > 1 }
    }
    guard let layer = request.layer ?? several.last?.path else {
      throw ApusError(
        .missing, "no layer of \(Model.self) gives feature maps", expected: "a convolution")
    }
    self.layer = layer
    factor = max(112 / max(images.shape[1], 1), 1)
    pictures = try (0..<images.shape[0]).map { [factor] in
      try Picture(images[$0], scale: .wholeArray).enlarged(by: factor)
    }
  }

  func draw(of model: Model) throws -> [(path: String, content: String)] {
    var files: [(String, String)] = []
    func write(_ name: String, _ content: String, _ picture: Picture) throws {
      let path = folder + name + ".png"
      try picture.write(png: path)
      files.append((path, content))
    }
    // Whatever is wrong with the layer is told before anything is written.
    let heat = try explainer.gradCAM(images, layer: layer, classes: classes)
    let maps = try explainer.features(images[rows: 0..<1], of: layer)
    try write("images", "the images", Picture.grid(pictures, gap: 4))
    if let (path, filters) = try firstFilters(of: model) {
      let picture = try Picture(filters, scale: .symmetric)
      try write("filters", "the filters of \(path)", picture.enlarged(by: 8))
    }
    let grid = try Picture(channelsOf: maps, map: .viridis)
    try write(
      "features", "what \(layer) makes of the first image",
      grid.enlarged(by: max(56 / max(maps.shape[1], 1), 1)))
    let saliency = try explainer.saliency(images, classes: classes)
    try write(
      "saliency", "how much each pixel would change the score, beside the image",
      pairs { try Picture(saliency[$0], map: .magma).enlarged(by: factor) })
    try write(
      "grad-cam", "where \(layer) sees what speaks for the class",
      pairs { try pictures[$0].overlaid(with: heat[$0]) })
    // Of a head on the means of a layer's channels only.
    if model.head.weight.shape[1] == maps.shape[-1], isOnMeans(model) {
      let activation = try explainer.classActivation(images, layer: layer, classes: classes)
      try write(
        "class-activation", "the channels of \(layer), weighted by the head",
        pairs {
          try pictures[$0].overlaid(with: activation[$0], map: .blueRed, scale: .symmetric)
        })
    }
    return files
  }

  /// Whether the head stands on the means of the layer's channels.
  private func isOnMeans(_ model: Model) -> Bool {
    guard let maps = try? explainer.features(images[rows: 0..<1], of: layer),
      let look = try? Predictor(model, function: { $0.features($1) }),
      let features = try? look(images[rows: 0..<1]), features.count == maps.shape[-1]
    else { return false }
    let places = maps.count / maps.shape[-1], values = maps.doubles
    return features.doubles.enumerated().allSatisfy { channel, found in
      let mean =
        (0..<places).reduce(0) { $0 + values[$1 * maps.shape[-1] + channel] } / Double(places)
      return abs(mean - found) <= 1e-3 * max(abs(found), 1)
    }
  }

  /// The weights of the first convolution, where they are pictures: of one or three channels.
  private func firstFilters(of model: Model) throws -> (path: String, weights: NDArray)? {
    guard let first = model.parameters.first(where: { $0.parameter.shape.rank == 4 }),
      [1, 3].contains(first.parameter.shape[-1])
    else { return nil }
    return (first.path, try first.parameter.value())
  }

  /// Each image with a picture of it beside it, two pairs a row.
  private func pairs(_ picture: (Int) throws -> Picture) throws -> Picture {
    let all = try pictures.indices.flatMap { [pictures[$0], try picture($0)] }
    return try Picture.grid(all, columns: 4, gap: 4)
  }
}
