// What a configured run's model says of new examples.

import Apus
import Foundation

/// Examples of a file, as a run's model takes them, and what it says of each.
///
///     let run = try ConfiguredRun(openedIn: "runs/wine")
///     for line in try run.predictions(of: "new.csv", compile: CompileOptions()).csv { print(line) }
package struct RunPredictions: Sendable {
  /// What a row says: `class`, `name`, `probability`; `value`, …
  package let columns: [String]
  /// Row by row.
  package let rows: [[JSON]]

  /// A table with a header, a line each.
  package var csv: [String] {
    [columns.joined(separator: ",")]
      + rows.map { $0.map(Self.field).joined(separator: ",") }
  }

  /// An object each, a line each.
  package var jsonLines: [String] {
    rows.map { JSON.object(Array(zip(columns, $0))).text }
  }

  private static func field(_ value: JSON) -> String {
    guard let text = value.string else { return value.text }
    return text.contains(where: { ",\"\n\r".contains($0) })
      ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
  }
}

extension ConfiguredRun {
  /// What the model says of the examples of a file.
  ///
  /// - `file`: `.csv` with the columns of the training data by name, in any order; `.npz` with the array of the inputs'
  ///   name, or a single one; `.npy`; or the images of an IDX file.
  /// - `weights`: another file than the run's own.
  /// - `hasAll`: whether the probability of every class is told.
  /// - Throws: what reading files, compiling and running throw; `missing` naming a column or array that is not there,
  ///   `shapeMismatch` for examples of another shape, `unsupported` for another kind of file.
  package func predictions(
    of file: String, weights: String? = nil, hasAll: Bool = false, compile: CompileOptions
  ) throws -> RunPredictions {
    try predictions(weights, hasAll, compile) { try $0.examples(in: file) }
  }

  /// What the model says of a picture.
  ///
  /// - `picture`: bytes `[height, width, channels]` of the channels that the model takes, and of its size unless it has
  ///   learnt from pictures of several.
  /// - `path`: of its file, for errors.
  /// - `weights`, `hasAll`: as for ``predictions(of:weights:hasAll:compile:)``.
  /// - Throws: as that.
  package func predictions(
    ofPicture picture: NDArray, at path: String, weights: String? = nil, hasAll: Bool = false,
    compile: CompileOptions
  ) throws -> RunPredictions {
    try predictions(weights, hasAll, compile) {
      try $0.shaped($0.fitted(picture), path)
    }
  }

  /// How many channels a picture has that the model takes.
  ///
  /// - Throws: what reading the run throws; `unsupported` where the model takes no pictures.
  package func pictureChannels() throws -> Int {
    _ = try configured()
    let signature = try signature()
    guard signature.input.count == 3, [1, 3].contains(signature.input[2]) else {
      throw ApusError(
        .unsupported, "the model takes no pictures but \(Shape(signature.input))", at: folder,
        expected: "a model of pictures, [height, width, 1 or 3]")
    }
    return signature.input[2]
  }

  private func predictions(
    _ weights: String?, _ hasAll: Bool, _ compile: CompileOptions,
    _ examples: (ModelSignature) throws -> NDArray
  ) throws -> RunPredictions {
    let (model, signature) = try model(weights)
    let x = try examples(signature)
    let loss = try configured().lossConfiguration.name
    let predict = try Predictor(model, compile: configuration.compileOptions(compile)) {
      model, x in
      let y = model(x)
      switch loss {
      case "cross_entropy": return softmax(y, axis: -1)
      case "bce", "focal": return sigmoid(y)
      case "poisson": return exp(y)
      default: return y
      }
    }
    // One size that is compiled, and one for the rest.
    var outputs: [[Double]] = []
    for start in stride(from: 0, to: x.shape[0], by: 1000) {
      let part = try predict(x[rows: start..<min(start + 1000, x.shape[0])])
      let width = max(part.count / max(part.shape[0], 1), 1), all = part.doubles
      outputs += (0..<part.shape[0]).map { Array(all[$0 * width..<($0 + 1) * width]) }
    }
    return signature.classes == nil
      ? signature.numbers(outputs, isShare: loss == "bce" || loss == "focal")
      : signature.classes(outputs, hasAll: hasAll)
  }
}

extension ModelSignature {
  fileprivate func classes(_ outputs: [[Double]], hasAll: Bool) -> RunPredictions {
    let hasNames = classNames != nil
    let rows = outputs.map { shares -> [JSON] in
      let best = shares.indices.max { shares[$0] < shares[$1] } ?? 0
      return [.integer(best)] + (hasNames ? [.string(name(ofClass: best))] : [])
        + [.number(Double(Float(shares[best])))]
        + (hasAll ? shares.map { .number(Double(Float($0))) } : [])
    }
    let every = hasAll ? (0..<(classes ?? 0)).map { "p_\(name(ofClass: $0))" } : []
    return RunPredictions(
      columns: ["class"] + (hasNames ? ["name"] : []) + ["probability"] + every, rows: rows)
  }

  fileprivate func numbers(_ outputs: [[Double]], isShare: Bool) -> RunPredictions {
    let names = target.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    let width = outputs.first?.count ?? 1
    let kind = isShare ? "probability" : "value"
    let columns =
      names.count == width && !isShare
      ? names : (0..<width).map { width == 1 ? kind : "\(kind)_\($0)" }
    return RunPredictions(columns: columns, rows: outputs.map { $0.map { .number($0) } })
  }

  // MARK: Files

  /// The examples of a file, `f32[n, …]`.
  fileprivate func examples(in path: String) throws -> NDArray {
    let name = (path as NSString).lastPathComponent.lowercased()
    let array: NDArray
    if name.hasSuffix(".csv") || name.hasSuffix(".csv.gz") {
      array = try table(path)
    } else if name.hasSuffix(".npz") {
      array = try member(path)
    } else if name.hasSuffix(".npy") {
      array = try NPY.read(path)
    } else if name.contains("-idx") || name.hasSuffix(".idx") {
      array = try IDX.read(path)
    } else {
      throw ApusError(
        .unsupported,
        "'\((path as NSString).lastPathComponent)' is no kind of file that is read here",
        at: path, expected: ".csv, .npz, .npy, or an IDX file")
    }
    return try shaped(array, path)
  }

  private func table(_ path: String) throws -> NDArray {
    guard let columns else {
      throw ApusError(
        .unsupported, "the model's inputs are no rows of a table", at: path,
        expected: "an .npz, .npy or IDX file of \(Shape(input))")
    }
    let table = try CSV.read(path, header: .present)
    let names = table.names ?? []
    if let lacking = columns.first(where: { !names.contains($0) }) {
      throw ApusError(
        .missing, "there is no column '\(lacking)'", at: path,
        expected: "the columns \(columns.joined(separator: ", ")), in any order")
    }
    let places = columns.map { names.firstIndex(of: $0)! }
    let values = table.values.floats, count = table.values.shape[0]
    return try NDArray(
      checking: (0..<count).flatMap { row in places.map { values[row * names.count + $0] } },
      shape: [count, places.count])
  }

  private func member(_ path: String) throws -> NDArray {
    let file = try NPZFile(path)
    guard let name = file.names.contains(inputName) ? inputName : file.names.first,
      file.names.contains(inputName) || file.names.count == 1
    else {
      throw ApusError(
        .missing, "there is no array '\(inputName)'", at: path,
        expected: "that, or an archive of one array; there are "
          + file.names.prefix(6).joined(separator: ", "))
    }
    return try file.array(name)
  }

  /// A picture as one example, of the model's size where it has learnt from such.
  fileprivate func fitted(_ picture: NDArray) throws -> NDArray {
    let shape = Shape([1] + picture.shape.dimensions)
    guard let fit, picture.shape.rank == 3, input.count == 3, picture.shape[2] == input[2],
      picture.shape.count > 0
    else { return try picture.reshaped(shape) }
    let image = ImageValues(bytes: picture)
      .fitted(input[0], input[1], isCropped: fit == .cropped)
    return try NDArray(checking: image.values, shape: Shape([1] + input))
  }

  /// Bytes are pixels, as the run's data has them; a last axis of one channel may be left out.
  fileprivate func shaped(_ array: NDArray, _ path: String) throws -> NDArray {
    var own = Array(array.shape.dimensions.dropFirst())
    if own.count + 1 == input.count, input.last == 1 { own.append(1) }
    guard array.shape.rank > 0, own == input, array.shape[0] > 0 else {
      throw ApusError(
        .shapeMismatch, "the examples are \(array.type)", at: path,
        expected: "one at least, each of \(Shape(input))")
    }
    let shape = Shape([array.shape[0]] + input)
    guard let pixels, array.dtype == .u8 else {
      return try array.cast(to: .f32).reshaped(shape)
    }
    let floats = array.floats.map { $0 / 255 }
    let scaled = pixels == "normalized" ? floats.map { ($0 - 0.2860) / 0.3530 } : floats
    return try NDArray(checking: scaled, shape: shape)
  }
}
