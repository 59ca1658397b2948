// Low-rank adapters from and to folders, in the format of Hugging Face's package peft.
//
//     adapter_config.json          {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": […], …}
//     adapter_model.safetensors    base_model.model.encoder.layer.0.attention.self.query.lora_A.weight, …

import ApusData
import ApusGraph
import ApusNN
import Foundation

/// Names of the files and of what stands in them.
private enum AdapterFiles {
  static let configuration = "adapter_config.json"
  static let weights = "adapter_model.safetensors"
  static let prefix = "base_model.model."
  static let parts = (down: ".lora_A.weight", up: ".lora_B.weight")
  /// Settings that change what an adapter computes, by the values that they may have here.
  static let plain: [(key: String, allowed: [JSON])] = [
    ("bias", ["none"]), ("use_dora", [false]), ("use_rslora", [false]), ("modules_to_save", [[]]),
    ("rank_pattern", [.object([])]), ("alpha_pattern", [.object([])]),
    ("layer_replication", [[]]), ("trainable_token_indices", [[]]), ("lora_bias", [false]),
    ("target_parameters", [[]]), ("alora_invocation_tokens", [[]]), ("use_qalora", [false]),
    ("use_bdlora", [false]), ("arrow_config", []), ("kasa_config", []), ("monteclora_config", []),
    ("velora_config", []),
  ]
}

extension Module {
  /// Writes the low-rank adapters alone into a folder, which is made where it is not there: a few megabytes for a model
  /// of gigabytes. The Python package `peft` reads it: `PeftModel.from_pretrained(model, "tuned")`.
  ///
  ///     try bert.saveLowRankAdapters(folder: "tuned", renaming: ["bert.": ""])   // for AutoModel's names
  ///
  /// - `baseModel`: what the file says the adapters are for: a name or a folder.
  /// - `renaming`: beginnings of paths and what stands for them in the file.
  /// - Throws: `missing` where there are no adapters; `unsupported` where they have several ranks, scales or dropouts;
  ///   `nonFinite` naming one; `invalidArgument` for a beginning that no layer has, and where two get one name; `io`
  ///   where the files cannot be written.
  public func saveLowRankAdapters(
    folder: String, baseModel: String? = nil, renaming: KeyValuePairs<String, String> = [:]
  ) throws {
    let all = lowRankAdapters
    guard let first = all.first?.adapter else {
      throw ApusError(
        .missing, "no layer has a low-rank adapter", at: folder,
        expected: "addLowRankAdapters(to:) before")
    }
    if let other = all.first(where: {
      ($0.adapter.rank, $0.adapter.alpha, $0.adapter.dropout)
        != (first.rank, first.alpha, first.dropout)
    }) {
      throw ApusError(
        .unsupported, "the adapters of '\(all[0].path)' and '\(other.path)' are not of one kind",
        at: folder, expected: "one rank, one alpha and one dropout")
    }
    for (old, _) in renaming where !all.contains(where: { $0.path.hasPrefix(old) }) {
      throw ApusError(
        .invalidArgument, "no layer's path begins with '\(old)'", at: folder,
        expected: all.prefix(3).map(\.path).joined(separator: ", "))
    }
    var arrays: [(key: String, value: NDArray)] = []
    var names: [String] = []
    for (path, adapter) in all {
      let pair = renaming.first { path.hasPrefix($0.key) }
      let name = pair.map { $0.value + path.dropFirst($0.key.count) } ?? path
      guard !names.contains(name) else {
        throw ApusError(
          .invalidArgument, "two layers are named '\(name)' in the file", at: folder,
          expected: "a renaming that keeps them apart")
      }
      names.append(name)
      for (part, parameter) in [
        (AdapterFiles.parts.down, adapter.down), (AdapterFiles.parts.up, adapter.up),
      ] {
        let array = try parameter.value()
        guard array.isFinite else {
          throw ApusError(
            .nonFinite, "'\(path)\(part)' holds a NaN or an infinity and is not saved", at: folder,
            expected: "finite values")
        }
        arrays.append((AdapterFiles.prefix + name + part, array))
      }
    }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw ApusError(.io, "cannot make the folder: \(error.localizedDescription)", at: folder)
    }
    try SafetensorsFile.write(
      arrays, metadata: ["format": "pt"], to: "\(folder)/\(AdapterFiles.weights)")
    let json = JSON.object([
      ("peft_type", "LORA"), ("task_type", .null),
      ("base_model_name_or_path", baseModel.map { .string($0) } ?? .null),
      ("r", .integer(first.rank)), ("lora_alpha", .number(first.alpha)),
      ("lora_dropout", .number(first.dropout)),
      ("target_modules", .array(names.map { .string($0) })), ("bias", "none"),
      ("fan_in_fan_out", false), ("use_rslora", false), ("use_dora", false),
      ("modules_to_save", .null), ("init_lora_weights", true), ("inference_mode", true),
    ])
    try AtomicFile.write(json.text + "\n", to: "\(folder)/\(AdapterFiles.configuration)")
  }

  /// Gives layers the adapters of a folder that ``saveLowRankAdapters(folder:baseModel:renaming:)`` or the Python package
  /// `peft` has written, and freezes all else. Weights that are bf16 or f16 there become f32.
  ///
  ///     let bert = try BERT(contentsOf: "all-MiniLM-L6-v2")
  ///     try bert.loadLowRankAdapters(folder: "tuned")
  ///     try bert.mergeLowRankAdapters()                       // where it is not to be trained any more
  ///
  /// Names in the file are the layers' paths; a beginning that one side alone has, such as `bert.`, is left out.
  ///
  /// - Returns: the paths of the layers.
  /// - Throws: `io` for a file that is not there; `invalidFile` for what is damaged; `unsupported` naming a setting that
  ///   is not known here; `missing` naming an array whose layer the model has not, or that lacks its other half;
  ///   `shapeMismatch` naming one that does not fit; and as
  ///   ``ApusNN/Module/addLowRankAdapters(to:rank:alpha:dropout:seed:file:line:)``. Nothing is changed then.
  @discardableResult
  public func loadLowRankAdapters(
    folder: String, file: StaticString = #fileID, line: UInt = #line
  ) throws -> [String] {
    let (alpha, dropout) = try AdapterFiles.settings("\(folder)/\(AdapterFiles.configuration)")
    let stored = try SafetensorsFile("\(folder)/\(AdapterFiles.weights)")
    let layers = linearLayers
    var found: [(path: String, layer: Linear, rank: Int)] = []
    var values: [(down: NDArray, up: NDArray)] = []
    for name in stored.names.sorted() where !name.hasSuffix(AdapterFiles.parts.up) {
      guard name.hasPrefix(AdapterFiles.prefix), name.hasSuffix(AdapterFiles.parts.down) else {
        throw ApusError(
          .unsupported, "'\(name)' is no part of a low-rank adapter of a product",
          at: stored.path,
          expected: "\(AdapterFiles.prefix)…\(AdapterFiles.parts.down) and \(AdapterFiles.parts.up)"
        )
      }
      let inner = String(
        name.dropFirst(AdapterFiles.prefix.count).dropLast(AdapterFiles.parts.down.count))
      let (path, layer) = try AdapterFiles.layer(inner, of: layers, stored.path)
      let upName = AdapterFiles.prefix + inner + AdapterFiles.parts.up
      guard stored.entry(upName) != nil else {
        throw ApusError(
          .missing, "there is no '\(upName)'", at: stored.path, expected: "both parts")
      }
      let (down, up) = (try stored.array(name), try stored.array(upName))
      let (outputs, inputs) = (layer.weight.shape[0], layer.weight.shape[1])
      let rank = down.shape.rank == 2 ? down.shape[0] : 0
      guard rank >= 1, down.shape == [rank, inputs], up.shape == [outputs, rank],
        down.dtype.isFloat, up.dtype.isFloat
      else {
        throw ApusError(
          .shapeMismatch, "'\(inner)' has an adapter of \(down.type) and \(up.type)",
          at: stored.path, expected: "[rank,\(inputs)] and [\(outputs),rank] for '\(path)'")
      }
      found.append((path, layer, rank))
      values.append((down.cast(to: .f32), up.cast(to: .f32)))
    }
    for name in stored.names where name.hasSuffix(AdapterFiles.parts.up) {
      let other = name.dropLast(AdapterFiles.parts.up.count) + AdapterFiles.parts.down
      guard stored.entry(String(other)) != nil else {
        throw ApusError(.missing, "there is no '\(other)'", at: stored.path, expected: "both parts")
      }
    }
    guard !found.isEmpty else {
      throw ApusError(.invalidFile, "the file has no adapters", at: stored.path, expected: "some")
    }
    try attachAdapters(
      found, alpha: alpha, dropout: dropout, seed: 0, sourceLocation(file, line))
    let adapters = Dictionary(
      lowRankAdapters.map { ($0.path, $0.adapter) }, uniquingKeysWith: { a, _ in a })
    for (layer, (down, up)) in zip(found, values) {
      // Their shapes have been compared.
      try adapters[layer.path]!.down.set(down)
      try adapters[layer.path]!.up.set(up)
    }
    return found.map(\.path)
  }
}

extension AdapterFiles {
  /// What `adapter_config.json` says that a product is scaled by, and of dropout.
  static func settings(_ path: String) throws -> (alpha: Double, dropout: Double) {
    let json: JSON
    do { json = try JSON(parsing: TextFile.bytes(path, limit: 1 << 22)) } catch var error
      as ApusError
      where error.kind == .parse
    {
      error.kind = .invalidFile
      error.location = [path, error.location].compactMap { $0 }.joined(separator: ", ")
      throw error
    }
    guard json["peft_type"]?.string == "LORA" else {
      throw ApusError(
        .unsupported, "'peft_type' is \(json["peft_type"]?.text ?? "not there")", at: path,
        expected: "\"LORA\"")
    }
    for (key, allowed) in plain {
      guard let found = json[key], found != .null, !allowed.contains(found) else { continue }
      throw ApusError(
        .unsupported, "'\(key)' is \(found.text)", at: path,
        expected: (["null"] + allowed.map(\.text)).joined(separator: " or "))
    }
    guard let alpha = json["lora_alpha"]?.double, alpha > 0, alpha.isFinite else {
      throw ApusError(
        .invalidFile, "'lora_alpha' is \(json["lora_alpha"]?.text ?? "not there")", at: path,
        expected: "a number above 0")
    }
    let dropout = json["lora_dropout"]?.double ?? 0
    guard (0..<1).contains(dropout) else {
      throw ApusError(
        .invalidFile, "'lora_dropout' is \(dropout)", at: path, expected: "0 up to 1")
    }
    return (alpha, dropout)
  }

  /// The layer of that path, or the only one whose path differs by a beginning.
  static func layer(
    _ name: String, of layers: [(path: String, layer: Linear)], _ place: String
  ) throws -> (path: String, layer: Linear) {
    if let exact = layers.first(where: { $0.path == name }) { return exact }
    let near = layers.filter { $0.path.hasSuffix("." + name) || name.hasSuffix("." + $0.path) }
    guard near.count == 1 else {
      throw ApusError(
        .missing, "the adapter '\(name)' is for a layer that the model does not have", at: place,
        expected: layers.isEmpty
          ? "a model with Linear layers"
          : "one of \(layers.prefix(4).map(\.path).joined(separator: ", "))"
            + (layers.count > 4 ? ", …" : ""))
    }
    return near[0]
  }
}
