// The model that a configuration describes, and what others need to know to use it.

import Apus
import ApusImages

/// Layers one after the other, and before them the scale of the inputs where that was measured.
///
/// Parameters are named by their places in the list, `0.weight`, as PyTorch's `nn.Sequential` names them; the scale is
/// `input.mean` and `input.deviation`.
package struct ConfiguredModel: Module {
  let input: InputScale?
  let layers: Sequential

  package var parts: [(name: String, value: Any)] {
    (input.map { [("input", $0)] } ?? []) + layers.parts
  }

  /// - `x`: as the data has it.
  func callAsFunction(_ x: Tensor) -> Tensor { layers(input.map { $0(x) } ?? x) }
}

/// `(x - mean) / deviation` along the last axis, by numbers of the training data: they are saved with the weights, so
/// that whoever uses the model need not know them.
struct InputScale: Layer {
  let scope = Scope()
  let mean: Buffer
  let deviation: Buffer

  init(mean: NDArray, deviation: NDArray) {
    self.mean = Buffer(mean.shape, .custom { _, _ in mean })
    self.deviation = Buffer(deviation.shape, .custom { _, _ in deviation })
  }

  /// One whose numbers are read from a file.
  init(width: Int) {
    mean = Buffer([width], .zeros)
    deviation = Buffer([width], .ones)
  }

  func forward(_ x: Tensor) -> Tensor { (x - mean.tensor) / deviation.tensor }
}

/// What goes into a model and what comes out, without its data: `model.json` beside the weights.
package struct ModelSignature: Sendable {
  /// The shape of an example.
  package var input: [Int]
  package var inputName: String
  package var target: String
  /// How many classes are told apart; nil for numbers.
  package var classes: Int?
  package var classNames: [String]?
  /// Numbers of an example's target, where they are no classes.
  package var targetWidth: Int?
  /// The table's columns that make an example, in their order.
  package var columns: [String]?
  /// How bytes of pixels become floats: `unit` for /255, `normalized` as Fashion-MNIST's.
  package var pixels: String?
  /// How pictures of another size come to the model's; nil where they have to have it.
  package var fit: ImageFolder.Fit?
  /// Whether inputs are scaled within the model.
  package var isScaled = false
  var scale: InputScale? { didSet { isScaled = scale != nil } }

  init(
    input: [Int], inputName: String, target: String, classes: Int? = nil,
    classNames: [String]? = nil, targetWidth: Int? = nil, columns: [String]? = nil,
    pixels: String? = nil
  ) {
    self.input = input
    self.inputName = inputName
    self.target = target
    self.classes = classes
    self.classNames = classNames
    self.targetWidth = targetWidth
    self.columns = columns
    self.pixels = pixels
  }

  /// The type of so many examples.
  func type(of count: Int) -> TensorType { TensorType(.f32, Shape([count] + input)) }

  /// What a class is called.
  package func name(ofClass index: Int) -> String {
    classNames.flatMap { $0.indices.contains(index) ? $0[index] : nil } ?? "\(index)"
  }

  /// - `loss`: what the outputs mean, in words.
  func json(outputs: [Int], loss: String) -> JSON {
    func texts(_ all: [String]?) -> JSON { all.map { .array($0.map { .string($0) }) } ?? .null }
    func numbers(_ all: [Int]) -> JSON { .array(all.map { .integer($0) }) }
    return .object([
      ("format", "apus.model.1"),
      (
        "input",
        .object(
          [
            ("name", .string(inputName)), ("shape", numbers(input)), ("columns", texts(columns)),
            ("pixels", pixels.map { .string($0) } ?? .null), ("scaled", .bool(isScaled)),
          ] + (fit.map { [("fit", .string($0.rawValue))] } ?? []))
      ),
      (
        "output",
        .object([
          ("name", .string(target)), ("shape", numbers(outputs)), ("loss", .string(loss)),
          ("classes", classes.map { .integer($0) } ?? .null), ("class_names", texts(classNames)),
        ])
      ),
    ])
  }

  /// - Throws: `invalidFile` for what ``json(outputs:loss:)`` cannot have written.
  package init(parsing text: String, path: String) throws {
    func damaged(_ what: String) -> ApusError {
      ApusError(.invalidFile, what, at: path, expected: "what 'apus train' wrote")
    }
    let json: JSON
    do { json = try JSON(parsing: text) } catch let error as ApusError {
      throw damaged("\(error.what), \(error.location ?? "")")
    }
    guard let input = json["input"], let output = json["output"],
      let shape = input["shape"]?.elements?.compactMap(\.integer), !shape.isEmpty,
      shape.allSatisfy({ (1...1 << 24).contains($0) }), Shape(shape).count <= 1 << 28,
      let name = input["name"]?.string, let target = output["name"]?.string
    else { throw damaged("the file describes no model") }
    self.init(
      input: shape, inputName: name, target: target, classes: output["classes"]?.integer,
      classNames: output["class_names"]?.elements?.compactMap(\.string),
      columns: input["columns"]?.elements?.compactMap(\.string), pixels: input["pixels"]?.string)
    if let name = input["fit"]?.string {
      guard let known = ImageFolder.Fit(rawValue: name) else {
        throw damaged("pictures are fitted by '\(name)'")
      }
      fit = known
    }
    if input["scaled"]?.bool == true {
      scale = InputScale(width: shape[shape.count - 1])
    }
    if let columns, columns.count != shape[shape.count - 1] {
      throw damaged("the file names \(columns.count) columns for \(shape[shape.count - 1])")
    }
  }
}
