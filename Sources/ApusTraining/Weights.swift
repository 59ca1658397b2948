// Models on disk: weights for others to read, checkpoints to go on from.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

extension Module {
  /// Writes all parameters as safetensors, under their paths; atomically, so that a file that exists is
  /// either the old one or the new one, whole.
  ///
  /// Python reads it: `safetensors.numpy.load_file("model.safetensors")["hidden.weight"]`.
  ///
  /// - Throws: `missing` before the model is initialised, `io` where the file cannot be written.
  public func save(_ path: String) throws {
    var arrays: [String: NDArray] = [:]
    for (name, parameter) in parameters { arrays[name] = try parameter.value() }
    try SafetensorsFile.write(arrays, metadata: ["format": "pt"], to: path)
  }

  /// Reads parameters from a safetensors file. Nothing is changed unless all fit.
  ///
  /// - `strict`: whether every parameter must be in the file and every array of the file must be
  ///   a parameter; otherwise only those that both have are read.
  /// - Returns: the names of the parameters that were read.
  /// - Throws: `missing` and `shapeMismatch` naming the parameter, `invalidFile` with the byte offset.
  @discardableResult
  public func load(_ path: String, strict: Bool = true) throws -> [String] {
    let file = try SafetensorsFile(path)
    let known = Set(parameters.map(\.path))
    if strict, let stranger = file.names.first(where: { !known.contains($0) }) {
      throw ApusError(
        .missing, "'\(stranger)' is not a parameter of the model", at: path,
        expected: "the names \(known.sorted().prefix(4).joined(separator: ", ")), …")
    }
    var arrays: [(Parameter, NDArray)] = []
    var names: [String] = []
    for (name, parameter) in parameters {
      guard let entry = file.entry(name) else {
        if !strict { continue }
        throw ApusError(
          .missing, "the file has no parameter '\(name)'", at: path, expected: "\(parameter.type)")
      }
      guard entry.shape == parameter.shape else {
        throw ApusError(
          .shapeMismatch, "parameter '\(name)' has shape \(entry.shape) in the file", at: path,
          expected: "\(parameter.shape)")
      }
      arrays.append((parameter, try file.array(name).cast(to: parameter.type.dtype)))
      names.append(name)
    }
    for (parameter, array) in arrays { try parameter.set(array) }
    return names
  }
}

extension Trainer {
  /// Writes the model's parameters as safetensors; see `Module.save`.
  public func save(_ path: String) throws { try model.save(path) }

  /// Reads the model's parameters; see `Module.load`.
  @discardableResult
  public func load(_ path: String, strict: Bool = true) throws -> [String] {
    try model.load(path, strict: strict)
  }

  /// Writes everything that a resumed run needs to give the same bits as an uninterrupted one:
  /// parameters, optimiser slots, the random key and counter, and the counts of steps, epochs and batches.
  ///
  /// The checkpoint that stood there is kept beside it (see `AtomicFile.write`).
  ///
  /// `metadata` is more to keep in the file's header, such as the settings of the run; names that begin
  /// with `apus.` and are used here are overwritten.
  ///
  /// - Throws: `io` where the file cannot be written; an existing checkpoint then stays.
  public func saveCheckpoint(_ path: String, metadata: [String: String] = [:]) throws {
    var arrays: [String: NDArray] = [:]
    for name in states.names { arrays[name] = try states.array(name) }
    let counts = [
      "apus.checkpoint": "1", "apus.step": "\(step)", "apus.epoch": "\(epoch)",
      "apus.batches_done": "\(batch)",
    ]
    try SafetensorsFile.write(
      arrays, metadata: metadata.merging(counts) { $1 }, to: path, keepingPrevious: true)
  }

  /// Goes on from a checkpoint of the same model and optimiser. Nothing is changed unless all fits.
  ///
  /// - Throws: `invalidFile` for a file that is no checkpoint, `missing` for one without a parameter of
  ///   the model, `shapeMismatch` naming a state of another shape.
  public func resume(from path: String) throws {
    let file = try SafetensorsFile(path)
    guard file.metadata["apus.checkpoint"] == "1",
      let step = file.metadata["apus.step"].flatMap({ Int($0) }), step >= 0,
      let epoch = file.metadata["apus.epoch"].flatMap({ Int($0) }), epoch >= 0,
      let batch = file.metadata["apus.batches_done"].flatMap({ Int($0) }), batch >= 0
    else {
      throw ApusError(
        .invalidFile, "the file is no checkpoint", at: path,
        expected: "a file written by saveCheckpoint (weights alone are read by load)")
    }
    for (name, parameter) in model.parameters where file.entry(name) == nil {
      throw ApusError(
        .missing, "the checkpoint has no parameter '\(name)'", at: path,
        expected: "\(parameter.type)")
    }
    let arrays = try file.names.map { ($0, try file.array($0)) }
    for (name, array) in arrays {
      if let type = states.type(of: name), type != array.type {
        throw ApusError(
          .shapeMismatch, "'\(name)' is \(array.type) in the checkpoint", at: path,
          expected: "\(type)")
      }
    }
    for (name, array) in arrays { try states.set(name, array) }
    resume(step: step, epoch: epoch, batch: batch)
  }
}
