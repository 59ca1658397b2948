// Why a model says what it says of an image: feature maps, saliency, class activation.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Asks a classifier of images what it looks at.
///
///     let explainer = try Explainer(model)
///     let heat = try explainer.saliency(image, classes: [3])          // [1, h, w, 1]
///     try Picture(heat, map: .magma).write(png: "saliency.png")
///     try Picture(image).overlaid(with: explainer.gradCAM(image)).write(png: "why.png")
///
/// Images are `[n, h, w, channels]`, or one image `[h, w, channels]`, as the model takes them. Heat maps are
/// `[n, h, w, 1]`, raw: a ``ApusData/Picture`` brings them to levels. Layers behave as in evaluation, and the
/// parameters are read where training keeps them. Graphs are compiled when they are first wanted and kept.
public final class Explainer<Model: Module> {
  /// Maps the model and images to logits `[n, classes]`.
  public typealias Function = (Model, Tensor) throws -> Tensor

  public let model: Model
  private let function: Function
  private let compileOptions: CompileOptions
  /// Of the function.
  private let location: String
  private var predictors: [String: Predictor<Model>] = [:]

  /// - `logits`: maps the model and images to `[n, classes]`: scores before the softmax.
  /// - Throws: `missing` where the model has not been initialised.
  public init(
    _ model: Model, compile: CompileOptions = CompileOptions(), file: StaticString = #fileID,
    line: UInt = #line, logits: @escaping Function
  ) throws {
    location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    self.model = model
    compileOptions = compile
    function = logits
  }

  /// Of a layer that maps images to logits.
  ///
  /// - Throws: `missing` where the model has not been initialised.
  public convenience init(
    _ model: Model, compile: CompileOptions = CompileOptions(), file: StaticString = #fileID,
    line: UInt = #line
  ) throws where Model: Layer {
    try self.init(model, compile: compile, file: file, line: line) { $0($1) }
  }

  // MARK: What the model says

  /// The scores `[n, classes]` of images.
  ///
  /// - Throws: mistakes of the model for such images; `shapeMismatch` where images or scores are none.
  public func logits(_ images: NDArray) throws -> NDArray {
    let images = try batch(images)
    let function = function
    let scores = try predictor("logits") { [try function($0, $1[0])] }.run([images])[0]
    guard scores.shape.rank == 2, scores.shape[0] == images.shape[0] else {
      throw ApusError(
        .shapeMismatch, "the model gives \(scores.type) of \(images.type)", at: location,
        expected: "scores [\(images.shape[0]), classes]")
    }
    return scores
  }

  /// The class of each image that has the highest score.
  ///
  /// - Throws: as ``logits(_:)``; `nonFinite` where an image has no highest one.
  public func classes(_ images: NDArray) throws -> [Int] { try Self.best(of: logits(images)) }

  /// What a part of the model gives of images: the feature maps `[n, h, w, channels]` of a convolution.
  ///
  /// - `path`: of the part, as in the names of its parameters: `layer1.0.conv1`.
  /// - Throws: `missing` for a path of no part, or a part that is not applied; as ``logits(_:)``.
  public func features(_ images: NDArray, of path: String) throws -> NDArray {
    let (function, location) = (function, location)
    return try predictor("features of \(path)") { model, inputs in
      try model.capturing([path], at: location) { try function(model, inputs[0]) }.outputs
    }.run([batch(images)])[0]
  }

  /// The parts that give feature maps of such images, in the order in which the model applies them: what
  /// ``gradCAM(_:layer:classes:)`` takes. Nothing is computed.
  ///
  /// - Returns: paths, and what each gives: `[n, h', w', channels]`.
  /// - Throws: mistakes of the model for such images.
  public func layers(for images: NDArray) throws -> [(path: String, shape: Shape)] {
    let type = try batch(images).type
    let (function, location) = (function, location)
    var found: [(path: String, shape: Shape)] = []
    let look = try Predictor(model) { model, inputs in
      ModelTree(model).name()
      let (logits, all) = try model.capturingAll(at: location) { try function(model, inputs[0]) }
      found = all.filter { $0.tensor.isStackOfMaps(of: type.shape[0]) }
        .map { ($0.path, $0.tensor.shape) }
      return [logits]
    }
    _ = try look.graph(for: [type])
    return found
  }

  // MARK: Where it looks

  /// How much each pixel would change the score of a class, were it changed a little: the magnitude of the
  /// gradient, the greatest of the channels. `[n, h, w, channels]` → `[n, h, w, 1]`.
  ///
  /// Simonyan, Vedaldi & Zisserman 2013, "Deep inside convolutional networks: visualising image classification
  /// models and saliency maps".
  ///
  /// - `classes`: of each image, or one for all; nil for those that the model says.
  /// - Throws: `outOfRange` for a class that the model does not have, `shapeMismatch` for another number of
  ///   classes than images; as ``logits(_:)``.
  public func saliency(_ images: NDArray, classes: [Int]? = nil) throws -> NDArray {
    let images = try batch(images)
    let chosen = try self.classes(classes, images)
    let function = function
    return try predictor("saliency") { model, inputs in
      let score = Self.score(try function(model, inputs[0]), inputs[1])
      let gradient = gradients(of: score, withRespectTo: [inputs[0]])[0]
      return [abs(gradient).max(axis: -1, keepDims: true)]
    }.run([images, chosen])[0]
  }

  /// Where a layer sees what speaks for a class: its channels, weighted by the mean gradient of the score by
  /// each, as far as they add to it. `[n, h, w, channels]` → `[n, h', w', 1]`, the layer's places.
  ///
  /// Selvaraju, Cogswell, Das, Vedantam, Parikh & Batra 2017, "Grad-CAM: visual explanations from deep networks
  /// via gradient-based localization". `Picture.overlaid` brings the map to the image's size.
  ///
  /// - `layer`: the path of a part that gives `[n, h', w', channels]`; nil for the last one of several places.
  /// - `classes`: of each image, or one for all; nil for those that the model says.
  /// - Throws: `missing` for a path of no part, `shapeMismatch` for one that gives no places, with those that do;
  ///   as ``saliency(_:classes:)``.
  public func gradCAM(
    _ images: NDArray, layer: String? = nil, classes: [Int]? = nil
  ) throws -> NDArray {
    let images = try batch(images)
    let chosen = try self.classes(classes, images)
    let (function, location) = (function, location)
    return try predictor("gradCAM\(layer.map { " of \($0)" } ?? "")") { model, inputs in
      let (logits, maps) = try Self.maps(layer, of: model, at: location) {
        try function(model, inputs[0])
      }
      let score = Self.score(logits, inputs[1])
      let gradient = gradients(of: score, withRespectTo: [maps])[0]
      let places = Array(1..<maps.rank - 1)
      let weights = gradient.mean(axes: places, keepDims: true)
      return [relu((weights * maps).sum(axis: -1, keepDims: true))]
    }.run([images, chosen])[0]
  }

  /// Where a layer sees what speaks for a class, in a network whose head is a linear layer on the means of that
  /// layer's channels: the channels, weighted by the head's weights of the class.
  /// `[n, h, w, channels]` → `[n, h', w', 1]`, with a sign.
  ///
  ///     try explainer.classActivation(image, layer: "layer3", head: "fc")
  ///
  /// Zhou, Khosla, Lapedriza, Oliva & Torralba 2016, "Learning deep features for discriminative localization".
  ///
  /// - `layer`: the path of the part whose channels are averaged; nil for the last one of several places.
  /// - `head`: the path of the `Linear` on top.
  /// - Throws: `missing` where there is no such part or head, `shapeMismatch` where the head takes another number
  ///   of features than the layer has channels; as ``gradCAM(_:layer:classes:)``.
  public func classActivation(
    _ images: NDArray, layer: String? = nil, head: String, classes: [Int]? = nil
  ) throws -> NDArray {
    let images = try batch(images)
    let chosen = try self.classes(classes, images)
    let (function, location) = (function, location)
    return try predictor("activation by \(head)\(layer.map { " of \($0)" } ?? "")") {
      model, inputs in
      guard let weight = model.parameters.first(where: { $0.path == "\(head).weight" }) else {
        let all = model.parameters.filter { $0.path.hasSuffix(".weight") }
        throw ApusError(
          .missing, "\(Model.self) has no head '\(head)'", at: location,
          expected: "the path of a Linear, such as "
            + all.map { String($0.path.dropLast(".weight".count)) }.nearest(to: head)
            .joined(separator: ", "))
      }
      let (_, maps) = try Self.maps(layer, of: model, at: location) {
        try function(model, inputs[0])
      }
      guard weight.parameter.shape.rank == 2, weight.parameter.shape[1] == maps.shape[-1] else {
        throw ApusError(
          .shapeMismatch,
          "the head's weight is \(weight.parameter.type), and the layer gives \(maps.type)",
          at: location,
          expected: "a weight [classes, \(maps.shape[-1])]: a head on the means of "
            + "the layer's channels; gradCAM takes any network")
      }
      let rows = weight.parameter.tensor.take(inputs[1], axis: 0)
      let places = Array(repeating: 1, count: maps.rank - 2)
      let wide = rows.reshaped(Shape([maps.shape[0]] + places + [maps.shape[-1]]))
      return [(wide * maps).sum(axis: -1, keepDims: true)]
    }.run([images, chosen])[0]
  }
}

extension Explainer where Model: ImageClassifier {
  /// As ``classActivation(_:layer:head:classes:)`` with the model's head.
  public func classActivation(
    _ images: NDArray, layer: String? = nil, classes: [Int]? = nil
  ) throws -> NDArray {
    try classActivation(images, layer: layer, head: model.headPath, classes: classes)
  }
}

// MARK: Parts

extension Explainer {
  /// The function of that name, made where it is new.
  private func predictor(
    _ name: String, _ body: @escaping Predictor<Model>.Function
  ) throws -> Predictor<Model> {
    if let known = predictors[name] { return known }
    let made = try Predictor(model, compile: compileOptions) { model, inputs in
      // Another model that holds this one may have named its parts since.
      ModelTree(model).name()
      return try body(model, inputs)
    }
    predictors[name] = made
    return made
  }

  /// - Throws: `shapeMismatch` for what is neither images nor an image.
  private func batch(_ images: NDArray) throws -> NDArray {
    guard images.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "images \(images.type)", at: location,
        expected: "floats, scaled as the model has been trained")
    }
    switch images.shape.rank {
    case 3: return try images.reshaped(Shape([1] + images.shape.dimensions))
    case 4: return images
    default:
      throw ApusError(
        .shapeMismatch, "images \(images.type)", at: location,
        expected: "[n, h, w, channels], or one image [h, w, channels]")
    }
  }

  /// The classes as an array, one an image.
  private func classes(_ wanted: [Int]?, _ images: NDArray) throws -> NDArray {
    let scores = try logits(images)
    let count = images.shape[0]
    var chosen = try wanted ?? Self.best(of: scores)
    if chosen.count == 1 { chosen = Array(repeating: chosen[0], count: count) }
    guard chosen.count == count else {
      throw ApusError(
        .shapeMismatch, "\(chosen.count) classes for \(count) images", at: location,
        expected: "one for each, or one for all")
    }
    if let wrong = chosen.first(where: { !(0..<scores.shape[1]).contains($0) }) {
      throw ApusError(
        .outOfRange, "the class \(wrong) is none of the model's", at: location,
        expected: "a class in 0..<\(scores.shape[1])")
    }
    return try NDArray(checking: chosen.map { Int32($0) }, shape: [count])
  }

  private static func best(of scores: NDArray) throws -> [Int] {
    let (count, classes) = (scores.shape[0], scores.shape[1])
    let values = scores.doubles
    return try (0..<count).map { image in
      let own = values[image * classes..<(image + 1) * classes]
      guard let best = own.max(), !own.contains(where: \.isNaN),
        let place = own.firstIndex(of: best)
      else {
        throw ApusError(
          .nonFinite, "the scores of image \(image) have no highest one",
          expected: "a model with classes, and weights and images that are finite")
      }
      return place - own.startIndex
    }
  }

  /// The sum of the images' scores of their classes: no score depends on another image.
  private static func score(_ logits: Tensor, _ classes: Tensor) -> Tensor {
    logits.takeAlong(classes.reshaped([-1, 1]), axis: 1).sum()
  }

  /// The logits, and what a layer of several places gives.
  private static func maps(
    _ layer: String?, of model: Model, at location: String, _ body: () throws -> Tensor
  ) throws -> (logits: Tensor, maps: Tensor) {
    if let layer { try model.checkParts([layer], at: location) }
    let (logits, all) = try model.capturingAll(at: location, body)
    let others = all.filter { $0.tensor.isStackOfMaps(of: logits.shape[0]) }
    let several = others.filter {
      $0.tensor.shape.dimensions.dropFirst().dropLast().reduce(1, Shape.product) > 1
    }
    let found = layer.map { path in all.last { $0.path == path } } ?? several.last ?? others.last
    guard let found else {
      throw ApusError(
        .missing, "\(layer.map { "'\($0)'" } ?? "no layer") of \(Model.self) gives feature maps",
        at: location, expected: "a Layer that is applied and gives [n, h, w, channels]")
    }
    guard found.tensor.isStackOfMaps(of: logits.shape[0]) else {
      let names = others.map(\.path).filter { !$0.isEmpty }.reversed()
      throw ApusError(
        .shapeMismatch, "'\(found.path)' gives \(found.tensor.type), which has no places",
        at: location,
        expected: "a layer that gives [n, h, w, channels]"
          + (names.isEmpty ? "" : ", such as \(names.prefix(6).joined(separator: ", "))"))
    }
    return (logits, found.tensor)
  }
}

extension Tensor {
  /// Whether it is `[n, places…, channels]` of so many images.
  fileprivate func isStackOfMaps(of count: Int) -> Bool {
    rank > 2 && dtype.isFloat && shape[0] == count
  }
}
