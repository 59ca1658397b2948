// Models from and to folders of Hugging Face.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime
import Foundation

extension PretrainedModel {
  /// The model of a folder with `config.json` and weights as safetensors, in one file or several that
  /// `model.safetensors.index.json` lists.
  ///
  ///     let gpt = try GPT2(contentsOf: "gpt2")
  ///
  /// Floats of another type are converted. Arrays that no model needs (tables of masks) are left out; all others must
  /// be the model's, and the model's must all be there.
  ///
  /// - Throws: `io` naming a file that is not there; `parse` and `invalidFile` with the byte offset of what is damaged
  ///   or cut short; `unsupported` for another kind of model or setting and `invalidArgument` for an impossible one,
  ///   naming the key; `shapeMismatch` and `missing` naming the array where configuration and weights contradict each
  ///   other; `dtypeMismatch` for integers where floats belong.
  public init(contentsOf folder: String) throws {
    let files = try PretrainedFolder(folder)
    let text = try TextFile.contents(
      files.configurationPath, limit: 1 << 22, expected: "the model's configuration")
    let said = try Configuration(json: text, at: files.configurationPath)
    let arrays = try PretrainedArrays(files, pathOf: Self.path(ofStored:))
    self.init(Self.adapted(said, to: Set(arrays.stored.keys.map(\.text))))
    try arrays.give(to: self, json: (try? JSON(parsing: text)) ?? .null)
  }

  /// Writes `config.json` and the weights as safetensors into a folder, which is made where it is not there. Python
  /// reads it: `AutoModel.from_pretrained("tuned")`. Each file replaces the old one whole; the configuration is written
  /// last. Arrays that stand in two places are written once. What low-rank adapters add is written as part of the weights.
  ///
  ///     try gpt.save(folder: "tuned", shardBytes: 2 << 30)
  ///
  /// - `shardBytes`: the most bytes of arrays in a file, unless one array has more; all in one file by default.
  /// - `allowingNonFinite`: writes weights that hold a NaN or an infinity too.
  /// - Throws: `missing` before the model has values, `nonFinite` naming a parameter, `invalidArgument` for a model or
  ///   size that makes no sense and for a folder that has weights of the other form, which would be taken for these;
  ///   `io` where the files cannot be written.
  public func save(
    folder: String, shardBytes: Int? = nil, allowingNonFinite: Bool = false
  ) throws {
    if let shardBytes, shardBytes < 1 {
      throw ApusError(
        .invalidArgument, "files of \(shardBytes) bytes", at: folder, expected: "at least 1")
    }
    let tree = ModelTree(self)
    try tree.check()
    var arrays: [(key: String, value: NDArray)] = []
    let weights = MergedWeights(of: self)
    for (name, state) in tree.states {
      guard let array = try weights.value(of: state) else { continue }
      guard allowingNonFinite || array.isFinite else {
        throw ApusError(
          .nonFinite, "\(state.kind) '\(name)' holds a NaN or an infinity and is not saved",
          at: folder, expected: "finite values, or allowingNonFinite: true")
      }
      arrays.append((name, array))
    }
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw ApusError(.io, "cannot make the folder: \(error.localizedDescription)", at: folder)
    }
    let other =
      shardBytes == nil ? PretrainedFolder.indexName : PretrainedFolder.weightsName
    guard !TextFile.exists("\(folder)/\(other)") else {
      throw ApusError(
        .invalidArgument, "the folder has weights of another form", at: "\(folder)/\(other)",
        expected: shardBytes == nil ? "an empty folder, or shardBytes:" : "an empty folder")
    }
    if let shardBytes {
      try writeShards(arrays, shardBytes, to: folder)
    } else {
      try SafetensorsFile.write(
        arrays, metadata: ["format": "pt"], to: "\(folder)/\(PretrainedFolder.weightsName)")
    }
    try AtomicFile.write(
      configuration.json + "\n", to: "\(folder)/\(PretrainedFolder.configurationName)")
  }

  /// Files of so many bytes, and their index.
  private func writeShards(
    _ arrays: [(key: String, value: NDArray)], _ limit: Int, to folder: String
  ) throws {
    var shards: [[(key: String, value: NDArray)]] = []
    var room = 0, total = 0
    for entry in arrays {
      let size = entry.value.type.byteCount
      if shards.isEmpty || size > room {
        shards.append([])
        room = limit
      }
      shards[shards.count - 1].append(entry)
      room -= min(size, room)
      total += size
    }
    func padded(_ number: Int) -> String {
      let digits = "\(number)"
      return String(repeating: "0", count: max(5 - digits.count, 0)) + digits
    }
    var map: [(String, JSON)] = []
    for (place, shard) in shards.enumerated() {
      let name = "model-\(padded(place + 1))-of-\(padded(shards.count)).safetensors"
      try SafetensorsFile.write(shard, metadata: ["format": "pt"], to: "\(folder)/\(name)")
      map += shard.map { ($0.key, .string(name)) }
    }
    let index = JSON.object([
      ("metadata", .object([("total_size", .integer(total))])),
      ("weight_map", .object(map.sorted { $0.0 < $1.0 })),
    ])
    try AtomicFile.write(index.text + "\n", to: "\(folder)/\(PretrainedFolder.indexName)")
  }
}

/// The arrays of a folder by the paths that they have in a model.
struct PretrainedArrays {
  private let files: PretrainedFolder
  /// Names in the files by paths in the model.
  private(set) var stored: [ByteName: String] = [:]

  /// - Throws: `invalidFile` where two arrays have one path.
  init(_ files: PretrainedFolder, pathOf: (String) -> String?) throws {
    self.files = files
    for name in files.names {
      guard let path = pathOf(name) else { continue }
      if let other = stored.updateValue(name, forKey: ByteName(path)) {
        throw ApusError(
          .invalidFile, "'\(other)' and '\(name)' are both '\(path)'",
          at: try files.path(of: name), expected: "one of them")
      }
    }
  }

  /// Gives a model that has no values yet all of them.
  ///
  /// - `json`: of the configuration, to say which key asks for what does not fit.
  func give(to model: any PretrainedModel, json: JSON) throws {
    let tree = ModelTree(model)
    try tree.check(at: files.configurationPath)
    try checkNames(tree, json)
    var aliases: [ObjectIdentifier: [String]] = [:]
    for (path, state) in tree.places { aliases[ObjectIdentifier(state), default: []].append(path) }
    // All shapes before the first bytes: a large file takes long to read.
    var found: [(state: ModelState, names: [String])] = []
    for (path, state) in tree.states {
      let names = (aliases[ObjectIdentifier(state)] ?? [path]).compactMap { stored[ByteName($0)] }
      for name in names { try checkShape(of: name, state, json) }
      found.append((state, names))
    }
    tree.name()
    let lock = StateLock()
    for (state, names) in found {
      let array = try array(names[0], for: state)
      for name in names.dropFirst() where try self.array(name, for: state) != array {
        throw ApusError(
          .invalidFile, "'\(names[0])' and '\(name)' are not equal",
          at: try files.path(of: name),
          expected: "one array, or \"tie_word_embeddings\": false in config.json")
      }
      try state.give(array, lock: lock)
    }
  }

  private func array(_ name: String, for state: ModelState) throws -> NDArray {
    let array = try files.array(name)
    guard array.dtype.isFloat == state.type.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "'\(name)' is \(array.type)", at: try files.path(of: name),
        expected: "\(state.type)")
    }
    return array.cast(to: state.type.dtype)
  }

  /// - Throws: `missing` naming what either side lacks, and what the configuration says of layers.
  private func checkNames(_ tree: ModelTree, _ json: JSON) throws {
    var report = LoadReport()
    let known = Set(tree.places.map { ByteName($0.path) })
    report.unexpected = stored.filter { !known.contains($0.key) }.map(\.value).sorted()
    var isFound: [ObjectIdentifier: Bool] = [:]
    for (path, state) in tree.places {
      isFound[ObjectIdentifier(state), default: false] =
        isFound[ObjectIdentifier(state), default: false] || stored[ByteName(path)] != nil
    }
    report.missing = tree.states.filter { isFound[ObjectIdentifier($0.state)] != true }.map(\.path)
    let layers = (json.members ?? []).filter { $0.0.contains("layer") && $0.1.integer != nil }
    try report.requireComplete(
      at: files.path,
      expected: "the arrays of the model that config.json describes"
        + (layers.isEmpty
          ? "" : ", where " + layers.map { "\($0.0) is \($0.1.text)" }.joined(separator: ", ")))
  }

  /// - Throws: `shapeMismatch` naming the array and the keys of the configuration that ask for another shape.
  private func checkShape(of name: String, _ state: ModelState, _ json: JSON) throws {
    let shape = try files.shape(of: name)
    guard shape != state.shape else { return }
    var keys: [String] = []
    for axis in 0..<state.shape.rank where shape.rank <= axis || shape[axis] != state.shape[axis] {
      for (key, value) in json.members ?? [] where value.integer == state.shape[axis] {
        let text = "'\(key)' is \(state.shape[axis])"
        if !keys.contains(text) { keys.append(text) }
      }
    }
    throw ApusError(
      .shapeMismatch, "'\(name)' has shape \(shape)", at: try files.path(of: name),
      expected: "\(state.shape), as config.json says"
        + (keys.isEmpty ? "" : ": " + keys.joined(separator: ", ")))
  }
}
