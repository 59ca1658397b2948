// Models on disk: weights for others to read, and what others wrote.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

/// What came of loading weights.
public struct LoadReport: Sendable, Equatable {
  /// The states that were read, by their paths in the model.
  public var loaded: [String] = []
  /// Paths of the model that the file does not have: they kept their old values, or have none.
  public var missing: [String] = []
  /// Arrays of the file that are nothing of the model's.
  public var unexpected: [String] = []
  /// What was stored in another element type, with both types.
  public var converted: [String] = []
}

extension Module {
  /// Writes all parameters and buffers as safetensors, under their paths; atomically, so that a file that
  /// exists is either the old one or the new one, whole. Tied weights are written under each of their paths.
  ///
  /// Python reads it: `safetensors.numpy.load_file("model.safetensors")["hidden.weight"]`.
  ///
  /// - `allowingNonFinite`: writes weights that hold a NaN or an infinity too. Otherwise they are an error:
  ///   a run that went wrong must not replace a good file.
  /// - `layout`: `.channelsFirst` for PyTorch to read convolutions' weights.
  /// - Throws: `missing` before the model is initialised, `nonFinite` naming a parameter, `io` where the file
  ///   cannot be written; `invalidArgument` for a model that is not well formed.
  public func save(
    _ path: String, allowingNonFinite: Bool = false, layout: WeightLayout = .channelsLast
  ) throws {
    let arrays = try modelArrays(allowingNonFinite: allowingNonFinite, for: path)
    try SafetensorsFile.write(
      arrays.mapValues(layout.saved), metadata: ["format": "pt"], to: path)
  }

  /// All values by all their paths.
  func modelArrays(allowingNonFinite: Bool, for path: String) throws -> [String: NDArray] {
    let tree = ModelTree(self)
    try tree.check()
    var values: [ObjectIdentifier: NDArray] = [:]
    for (name, state) in tree.states {
      let array = try state.value()
      guard allowingNonFinite || array.isFinite else {
        throw ApusError(
          .nonFinite, "\(state.kind) '\(name)' holds a NaN or an infinity and is not saved",
          at: path,
          expected: "finite values, or allowingNonFinite: true")
      }
      values[ObjectIdentifier(state)] = array
    }
    return Dictionary(
      uniqueKeysWithValues: tree.places.map { ($0.path, values[ObjectIdentifier($0.state)]!) })
  }

  /// Reads parameters and buffers from a safetensors file. Nothing is changed unless all fit. A model that
  /// has no values yet gets them: what the file has is not drawn first.
  ///
  /// - `strict`: whether every state of the model must be in the file and every array of the file must be one
  ///   of the model's; otherwise only those that both have are read, and the report says which were not.
  /// - `layout`: how the file's weights of convolutions lie: `.channelsFirst` for PyTorch's.
  /// - Returns: what was read, what was not, and what was converted from another float type. A tied weight may
  ///   stand under any of its paths.
  /// - Throws: `missing` naming all that one side lacks, `shapeMismatch` naming the parameter,
  ///   `dtypeMismatch` for integers where floats belong, `invalidFile` with the byte offset.
  @discardableResult
  public func load(
    _ path: String, strict: Bool = true, layout: WeightLayout = .channelsLast
  ) throws -> LoadReport {
    let tree = ModelTree(self)
    try tree.check()
    let file = try SafetensorsFile(path)
    var aliases: [ObjectIdentifier: [String]] = [:]
    for place in tree.places {
      aliases[ObjectIdentifier(place.state), default: []].append(place.path)
    }
    let known = Set(tree.places.map { ByteName($0.path) })
    var report = LoadReport()
    report.unexpected = file.names.filter { !known.contains(ByteName($0)) }.sorted()
    var found: [(ModelState, NDArray)] = []
    for (name, state) in tree.states {
      guard let stored = aliases[ObjectIdentifier(state)]!.first(where: { file.entry($0) != nil }),
        let entry = file.entry(stored)
      else {
        report.missing.append(name)
        continue
      }
      guard entry.shape == layout.stored(state.shape) else {
        let other = WeightLayout.allCases.first { $0.stored(state.shape) == entry.shape }
        throw ApusError(
          .shapeMismatch, "\(state.kind) '\(name)' has shape \(entry.shape) in the file", at: path,
          expected: "\(layout.stored(state.shape))"
            + (other.map { ", or layout: .\($0.rawValue)" } ?? ""))
      }
      let array = try layout.loaded(file.array(stored), state.shape)
      if array.dtype != state.type.dtype {
        guard array.dtype.isFloat == state.type.dtype.isFloat else {
          throw ApusError(
            .dtypeMismatch, "\(state.kind) '\(name)' is \(array.type) in the file", at: path,
            expected: "\(state.type)")
        }
        report.converted.append("\(name) (\(array.dtype) to \(state.type.dtype))")
      }
      found.append((state, array.cast(to: state.type.dtype)))
      report.loaded.append(name)
    }
    if strict { try report.requireComplete(at: path) }
    tree.name()
    let lock = tree.states.lazy.compactMap { $0.state.cell?.lock }.first ?? StateLock()
    for (state, array) in found { try state.give(array, lock: lock) }
    return report
  }
}

extension LoadReport {
  /// - Throws: `missing` naming what either side lacks.
  func requireComplete(
    at path: String,
    expected: String = "a file of this model, or strict: false to read what both have"
  ) throws {
    guard !missing.isEmpty || !unexpected.isEmpty else { return }
    func list(_ names: [String]) -> String {
      names.prefix(6).map { "'\($0)'" }.joined(separator: ", ")
        + (names.count > 6 ? " and \(names.count - 6) more" : "")
    }
    let parts =
      (missing.isEmpty ? [] : ["the file has no \(list(missing))"])
      + (unexpected.isEmpty ? [] : ["the model has no \(list(unexpected))"])
    throw ApusError(.missing, parts.joined(separator: "; "), at: path, expected: expected)
  }
}

extension Trainer {
  /// Writes the model's parameters and buffers as safetensors; see
  /// ``ApusNN/Module/save(_:allowingNonFinite:layout:)``.
  public func save(_ path: String) throws { try model.save(path) }

  /// Reads the model's parameters and buffers; see ``ApusNN/Module/load(_:strict:layout:)``.
  @discardableResult
  public func load(
    _ path: String, strict: Bool = true, layout: WeightLayout = .channelsLast
  ) throws -> LoadReport {
    try model.load(path, strict: strict, layout: layout)
  }
}
