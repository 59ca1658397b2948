// Models on disk: weights for others to read, and what others wrote.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

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
    let arrays = try savedArrays(layout, allowingNonFinite: allowingNonFinite, for: path)
    try SafetensorsFile.write(arrays, metadata: ["format": "pt"], to: path)
  }

  /// All values by all their paths, as a file of weights has them.
  ///
  /// - Throws: as ``save(_:allowingNonFinite:layout:)``.
  package func savedArrays(
    _ layout: WeightLayout, allowingNonFinite: Bool = false, for path: String
  ) throws -> [String: NDArray] {
    try modelArrays(allowingNonFinite: allowingNonFinite, for: path).mapValues(layout.saved)
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

  /// Reads parameters and buffers from a safetensors file: weights, or the model's part of a checkpoint. Nothing is
  /// changed unless all fit. A model that has no values yet gets them: what the file has is not drawn first.
  ///
  ///     try model.load("pretrained.safetensors", except: ["fc.*"])             // all but the head
  ///     try model.load("wrapped.safetensors", renaming: ["module.": ""])
  ///     try model.load("backbone.safetensors", renaming: ["": "body."], except: ["turn.*"])
  ///
  /// - `strict`: whether every state of the model must be in the file and every array of the file must be one
  ///   of the model's; otherwise only those that both have, with one shape, are read, and the report says which
  ///   were not.
  /// - `layout`: how the file's weights of convolutions lie: `.channelsFirst` for PyTorch's.
  /// - `renaming`: beginnings of names in the file, and what stands in their place in the model; the first that
  ///   fits a name counts.
  /// - `except`: patterns of paths that are left alone, of the model or, after renaming, of the file: heads of
  ///   other tasks. `*` stands for any run of characters.
  /// - Returns: what was read, what was not, and what was converted from another float type. A tied weight may
  ///   stand under any of its paths.
  /// - Throws: `missing` naming all that one side lacks, or a pattern or beginning that nothing has;
  ///   `shapeMismatch` naming the parameter, also where not all has to fit but nothing does, or the other layout
  ///   would;
  ///   `invalidArgument` where two arrays get one name; `dtypeMismatch` for integers where floats belong;
  ///   `invalidFile` with the byte offset.
  @discardableResult
  public func load(
    _ path: String, strict: Bool = true, layout: WeightLayout = .channelsLast,
    renaming: KeyValuePairs<String, String> = [:], except: [String] = []
  ) throws -> LoadReport {
    let tree = ModelTree(self)
    try tree.check()
    let matching = try WeightMatching(
      SafetensorsFile(path), tree, isStrict: strict, layout: layout, renaming: renaming,
      except: except)
    tree.name()
    let lock = tree.states.lazy.compactMap { $0.state.cell?.lock }.first ?? StateLock()
    for (state, array) in matching.found { try state.give(array, lock: lock) }
    return matching.report
  }
}

extension Trainer {
  /// Writes the parameters and buffers of ``judgedModel`` as safetensors; see
  /// ``ApusNN/Module/save(_:allowingNonFinite:layout:)``. Of several processes the first writes.
  public func save(_ path: String) throws {
    if company.isFirst { try judgedModel.save(path) }
  }

  /// Reads the model's parameters and buffers; see ``ApusNN/Module/load(_:strict:layout:renaming:except:)``. A moving
  /// average begins with them.
  @discardableResult
  public func load(
    _ path: String, strict: Bool = true, layout: WeightLayout = .channelsLast,
    renaming: KeyValuePairs<String, String> = [:], except: [String] = []
  ) throws -> LoadReport {
    let report = try model.load(
      path, strict: strict, layout: layout, renaming: renaming, except: except)
    try average?.copyParameters(from: model)
    return report
  }
}
