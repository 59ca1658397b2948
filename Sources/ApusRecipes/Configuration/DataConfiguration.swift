// Data as a configuration says it: a data set by name, or files.

import Apus
import ApusImages

/// What a model learns from, and is judged by.
///
///     data: fashion_mnist
///     data: { name: cifar10, folder: cifar-10-batches-bin, augment: [random_horizontal_flip] }
///     data: { name: image_folder, train: pets, height: 64 }
///     data: { name: csv, train: wine.csv, target: quality, standardize: true, batch: 32 }
///     data: { name: npz, train: digits.npz, inputs: images, targets: labels }
struct DataConfiguration: Sendable {
  static let names = imageSets + ["image_folder", "csv", "npz"]
  private static let imageSets = ["fashion_mnist", "cifar10", "cifar100"]

  let name: String
  /// A folder, or files.
  private var folder: String?
  private var train: String?
  private var test: String?
  /// The arrays or columns that are read.
  private var inputs: [String]?
  private var targets: [String] = []
  private var separator: Character = ","
  private var missing: Double?
  private var classes: Int?
  private var isNormalized = false
  private var isCoarse = false
  private var imageFolder: ImageFolderConfiguration?
  private var augmentation: AugmentationConfiguration?
  private var isStandardized = false
  /// The part of the training data that is held out; 0 for none.
  private let held: Double
  private let splitSeed: UInt64
  private let batch: Int
  private let evaluationBatch: Int
  private let shuffle: Bool
  private let place: String

  /// - Throws: what reading keys throws.
  init(_ reader: ConfigurationReader) throws {
    place = reader.node.place
    name = try reader.choice("name", nil, of: Self.names)
    switch name {
    case "csv":
      train = try reader.required("train") as String
      test = try reader.optional("test")
      targets = try reader.list("target") ?? []
      inputs = try reader.list("inputs")
      let text = try reader.value("separator", ",")
      guard let character = text.first, text.count == 1 else {
        throw ApusError(
          .invalidArgument, "\(reader.path(of: "separator")) is '\(text)'",
          at: reader.place(of: "separator"), expected: "one character")
      }
      separator = character
      missing = try reader.optional("missing", .finite)
      classes = try reader.optional("classes", .between(2, 4096))
      isStandardized = try reader.value("standardize", false)
      guard !targets.isEmpty else {
        throw ApusError(
          .missing, "\(reader.path(of: "target")) is not there", at: place,
          expected: "the column that is to be predicted, by its name")
      }
    case "npz":
      train = try reader.required("train") as String
      test = try reader.optional("test")
      inputs = [try reader.value("inputs", "x")]
      targets = [try reader.value("targets", "y")]
      classes = try reader.optional("classes", .between(2, 4096))
      isStandardized = try reader.value("standardize", false)
    case "image_folder":
      imageFolder = try ImageFolderConfiguration(reader)
    case "cifar10":
      folder = try reader.required("folder") as String
    case "cifar100":
      folder = try reader.required("folder") as String
      isCoarse = try reader.choice("labels", "fine", of: ["fine", "coarse"]) == "coarse"
    default:
      folder = try reader.optional("folder")
      isNormalized = try reader.value("normalize", false)
    }
    let isSet = Self.imageSets.contains(name)
    if isSet || imageFolder != nil, let node = reader.ask("augment") {
      augmentation = try AugmentationConfiguration(node, reader.path(of: "augment"))
      reader.note("augment", augmentation!.resolved)
    }
    let hasTest = isSet || test != nil || imageFolder?.hasTest == true
    held = try reader.value(
      "validation", hasTest ? 0.0 : 0.1,
      OptionRange(description: "a number from 0 up to 1, which is not one") { $0 >= 0 && $0 < 1 })
    splitSeed = try reader.value("split_seed", 0)
    batch = try reader.value("batch", 64, .between(1, 1 << 20))
    evaluationBatch = try reader.value("evaluation_batch", 1000, .between(1, 1 << 20))
    shuffle = try reader.value("shuffle", true)
    try reader.finish()
    guard held > 0 || hasTest else {
      throw ApusError(
        .invalidArgument,
        "nothing is left to judge the model by: validation is 0, and there is no test",
        at: reader.place(of: "validation"), expected: "validation above 0, or a test file")
    }
  }

  /// Whether it is a set of images with a class each.
  var isOfImages: Bool { Self.imageSets.contains(name) || imageFolder != nil }

  /// Reads it all.
  ///
  /// - `kind`: what a target is, which the loss says.
  /// - Throws: what reading files throws; `missing` naming columns or arrays that are not there, `invalidFile` for targets
  ///   that are no classes.
  func read(_ kind: TargetKind) throws -> ReadData {
    let (training, test, signature) = try examples(kind)
    var data = ReadData(signature: signature)
    var learning = training
    if held > 0 {
      let count = Int((Double(training.count) * held).rounded())
      guard count > 0, count < training.count else {
        throw ApusError(
          .invalidArgument,
          "of \(training.count) examples \(count) would be held out", at: place,
          expected: "at least one to learn from, and one to judge by")
      }
      let held: Examples
      (held, learning) = try training.split(count, seed: splitSeed)
      data.validation = try held.dataset.batched(evaluationBatch, shuffle: nil)
      data.test = try test?.dataset.batched(evaluationBatch, shuffle: nil)
    } else {
      data.validation = try test?.dataset.batched(evaluationBatch, shuffle: nil)
    }
    if isStandardized { data.signature.scale = try learning.scale() }
    var learnt = try learning.dataset
    if let augmentation { learnt = try augmentation.applied(to: learnt) }
    data.training = try learnt.batched(batch, shuffle: shuffle ? .whenTraining : .never)
    return data
  }

  /// The files that are evaluated: those of the test, or what was held out.
  private func examples(
    _ kind: TargetKind
  ) throws -> (training: Examples, test: Examples?, ModelSignature) {
    if isOfImages {
      guard kind == .classes else {
        throw ApusError(
          .invalidArgument, "the targets of \(name) are classes", at: place,
          expected: "a loss of classes, such as cross_entropy")
      }
      return try images()
    }
    switch name {
    case "csv":
      let (training, columns) = try table(train!, inputs, kind)
      let rest = try test.map { try table($0, columns, kind).examples }
      return try finish(training, rest, kind, inputName: "x", columns: columns)
    default:
      let training = try arrays(train!, kind)
      let rest = try test.map { try arrays($0, kind) }
      return try finish(training, rest, kind, inputName: inputs![0], columns: nil)
    }
  }

  private func images() throws -> (training: Examples, test: Examples?, ModelSignature) {
    func all(
      _ train: LabeledImages, _ test: LabeledImages, _ names: [String]?, _ pixels: String = "unit"
    ) -> (Examples, Examples?, ModelSignature) {
      let signature = ModelSignature(
        input: train.fields[0].type.shape.dimensions, inputName: "images", target: "labels",
        classes: train.classCount, classNames: names, pixels: pixels)
      return (.images(train), .images(test), signature)
    }
    if let imageFolder {
      let (train, test) = try imageFolder.folders()
      func all(_ images: ImageFolder) -> Examples { .pictures(images, images.labels) }
      return (all(train), test.map(all), imageFolder.signature(train))
    }
    switch name {
    case "cifar10":
      let data = try CIFAR10(folder: folder!)
      return all(data.train, data.test, CIFAR10.classNames)
    case "cifar100":
      let data = try CIFAR100(folder: folder!, labels: isCoarse ? .coarse : .fine)
      return all(data.train, data.test, nil)
    default:
      let data = try FashionMNIST(
        folder: folder,
        scale: isNormalized ? .normalized(mean: 0.2860, deviation: 0.3530) : .unit)
      return all(
        data.train, data.test, FashionMNIST.classNames, isNormalized ? "normalized" : "unit")
    }
  }

  private func finish(
    _ training: ArrayExamples, _ test: ArrayExamples?, _ kind: TargetKind, inputName: String,
    columns: [String]?
  ) throws -> (Examples, Examples?, ModelSignature) {
    if let test, test.x.shape.dimensions.dropFirst() != training.x.shape.dimensions.dropFirst() {
      throw ApusError(
        .shapeMismatch, "the test's inputs are \(test.x.type)", at: self.test ?? place,
        expected: "\(training.x.shape.dimensions.dropFirst()) an example, as in the training data")
    }
    var count: Int?
    if kind == .classes {
      let most = max(try training.greatestClass(train!), try test?.greatestClass(self.test!) ?? 0)
      if let classes, most >= classes {
        throw ApusError(
          .outOfRange, "there is a class \(most)", at: place,
          expected: "classes from 0 to \(classes - 1), as data.classes says")
      }
      count = classes ?? max(most + 1, 2)
    }
    let signature = ModelSignature(
      input: Array(training.x.shape.dimensions.dropFirst()), inputName: inputName,
      target: targets.joined(separator: ", "), classes: count,
      targetWidth: kind == .classes ? nil : training.y.shape.dimensions.dropFirst().reduce(1, *),
      columns: columns)
    return (.arrays(training), test.map { .arrays($0) }, signature)
  }

  /// The table of a file: the columns of the inputs, and the target's.
  private func table(
    _ path: String, _ wanted: [String]?, _ kind: TargetKind
  ) throws -> (examples: ArrayExamples, columns: [String]) {
    let table = try CSV.read(
      path, separator: separator, header: .present, missing: missing.map { Float($0) })
    let all = table.names ?? []
    let columns = wanted ?? all.filter { !targets.contains($0) }
    for column in columns + targets where !all.contains(column) {
      throw ApusError(
        .missing, "there is no column '\(column)'", at: path,
        expected: "one of \(all.nearest(to: column).joined(separator: ", "))")
    }
    guard !columns.isEmpty else {
      throw ApusError(
        .invalidFile, "the table has no columns beside the target", at: path,
        expected: "columns to predict from")
    }
    let count = table.values.shape[0]
    func chosen(_ names: [String]) throws -> NDArray {
      if names.count == all.count { return table.values }
      let values = table.values.floats, width = all.count
      let places = names.map { all.firstIndex(of: $0)! }
      var result: [Float] = []
      result.reserveCapacity(count * places.count)
      for row in 0..<count { for place in places { result.append(values[row * width + place]) } }
      return try NDArray(checking: result, shape: [count, places.count])
    }
    return (
      ArrayExamples(x: try chosen(columns), y: try target(chosen(targets), kind, path)), columns
    )
  }

  private func arrays(_ path: String, _ kind: TargetKind) throws -> ArrayExamples {
    let file = try NPZFile(path)
    for name in inputs! + targets where !file.names.contains(name) {
      throw ApusError(
        .missing, "there is no array '\(name)'", at: path,
        expected: "one of \(file.names.nearest(to: name).joined(separator: ", "))")
    }
    let (x, y) = (try file.array(inputs![0]), try file.array(targets[0]))
    guard x.shape.rank > 1, y.shape.rank > 0, x.shape[0] == y.shape[0], x.shape[0] > 0 else {
      throw ApusError(
        .shapeMismatch, "'\(inputs![0])' is \(x.type) and '\(targets[0])' \(y.type)", at: path,
        expected: "as many targets as inputs, at least one, and an axis beside the examples'")
    }
    return ArrayExamples(x: x.cast(to: .f32), y: try target(y, kind, path))
  }

  /// Targets as the loss wants them: i32[n], or f32[n, …].
  private func target(_ y: NDArray, _ kind: TargetKind, _ path: String) throws -> NDArray {
    let count = y.shape[0]
    guard kind == .classes else {
      return try y.cast(to: .f32).reshaped(y.shape.rank == 1 ? [count, 1] : y.shape)
    }
    guard y.count == count else {
      throw ApusError(
        .shapeMismatch, "the targets are \(y.type)", at: path,
        expected: "one class an example, as the loss wants")
    }
    let values = y.doubles
    if let wrong = values.firstIndex(where: { !($0 >= 0 && $0 < 4096 && $0.rounded() == $0) }) {
      throw ApusError(
        .invalidFile, "the target of example \(wrong) is \(values[wrong])", at: path,
        expected: "a class, a whole number from 0 on")
    }
    return try NDArray(checking: values.map { Int32($0) }, shape: [count])
  }
}

/// What a loss wants of targets.
enum TargetKind: Sendable { case classes, numbers }

/// Data that has been read.
struct ReadData: Sendable {
  var training: any BatchSource = NoBatches()
  var validation: (any BatchSource)?
  /// What the model is judged by at the end, where that is not the validation's.
  var test: (any BatchSource)?
  var signature: ModelSignature
}

/// A source without batches, until there is one.
private struct NoBatches: BatchSource {
  let exampleCount = 0
  let batchCount = 0
  func makeIterator(epoch: Int) throws -> any BatchIterator { Ended() }

  private final class Ended: BatchIterator {
    func next() -> Batch? { nil }
  }
}

/// Examples in memory.
private enum Examples {
  case images(LabeledImages)
  case arrays(ArrayExamples)
  /// Those of files, which are read as batches are made, and the class of each.
  case pictures(any Dataset, [Int])

  var count: Int {
    switch self {
    case .images(let images): images.count
    case .arrays(let arrays): arrays.x.shape[0]
    case .pictures(let pictures, _): pictures.count
    }
  }

  var dataset: any Dataset {
    get throws {
      switch self {
      case .images(let images): images
      case .pictures(let pictures, _): pictures
      case .arrays(let arrays): try ArrayDataset(["x": arrays.x, "y": arrays.y])
      }
    }
  }

  /// So many examples, drawn at random, and the others. Of files each class has its share in both.
  func split(_ count: Int, seed: UInt64) throws -> (held: Examples, rest: Examples) {
    func parts(_ rows: ([Int]) throws -> Examples) throws -> (held: Examples, rest: Examples) {
      let order = try Batches(dataset, size: 1, shuffle: .seed(seed)).order(epoch: 0)
      return (try rows(Array(order.prefix(count))), try rows(Array(order.dropFirst(count))))
    }
    switch self {
    case .images(let images):
      return try parts { numbers in
        .images(
          try LabeledImages(
            pixels: images.pixels.rows(at: numbers), labels: images.labels.rows(at: numbers),
            classCount: images.classCount, scale: images.scale))
      }
    case .arrays(let arrays):
      return try parts { numbers in
        .arrays(
          ArrayExamples(x: try arrays.x.rows(at: numbers), y: try arrays.y.rows(at: numbers)))
      }
    case .pictures(let pictures, let labels):
      let share = Double(count) / Double(self.count)
      let parts = try pictures.split([share, 1 - share], stratifiedBy: labels, seed: seed)
      return (.pictures(parts[0], []), .pictures(parts[1], []))
    }
  }

  /// Means and deviations along the last axis, over all else.
  func scale() throws -> InputScale? {
    guard case .arrays(let arrays) = self else { return nil }
    let width = arrays.x.shape[-1]
    let by = try arrays.x.reshaped([-1, width]).standardized().by
    return InputScale(
      mean: try by.mean.reshaped([width]), deviation: try by.deviation.reshaped([width]))
  }
}

private struct ArrayExamples {
  var x: NDArray
  var y: NDArray

  func greatestClass(_ path: String) throws -> Int {
    guard let most = y.integers.max() else {
      throw ApusError(.invalidFile, "there are no examples", at: path, expected: "one at least")
    }
    return most
  }
}
