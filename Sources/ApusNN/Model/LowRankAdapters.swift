// Adding low-rank adapters to a model's layers, and making them part of the weights.

import ApusGraph
import ApusOps

extension Module {
  /// Gives fully connected layers low-rank adapters, and freezes all else: steps train adapters alone.
  ///
  ///     let paths = try bert.addLowRankAdapters(to: ["*.query", "*.value"], rank: 8, alpha: 16)
  ///     try head.unfreeze()                        // whatever else is to learn
  ///
  /// The model gives what it gave before, until a step has trained the adapters. See ``LowRankAdapter``.
  ///
  /// - `patterns`: paths of ``Linear`` layers; `*` stands for any run of characters, dots included, and `?` for one.
  /// - `rank`: at most the lesser of a layer's inputs and outputs.
  /// - `alpha`: the product is multiplied by `alpha/rank`.
  /// - `dropout`: the probability with which an element that goes into an adapter is dropped in training.
  /// - `seed`: of the adapters' first values.
  /// - Returns: the paths of the layers.
  /// - Throws: `missing` where a pattern matches no layer, naming some that there are; `invalidArgument` for a rank, an
  ///   alpha or a dropout that makes no sense, and for layers that have an adapter or share their weight, naming them.
  ///   Nothing is changed then.
  @discardableResult
  public func addLowRankAdapters(
    to patterns: [String], rank: Int = 8, alpha: Double = 16, dropout: Double = 0,
    seed: UInt64 = 0, file: StaticString = #fileID, line: UInt = #line
  ) throws -> [String] {
    let location = sourceLocation(file, line)
    try ModelTree(self).check(at: location)
    let layers = try linearLayers(matching: patterns, location)
    try attachAdapters(
      layers.map { ($0.path, $0.layer, rank) }, alpha: alpha, dropout: dropout, seed: seed, location
    )
    return layers.map(\.path)
  }

  /// - `layers`: with the rank of each one's adapter.
  package func attachAdapters(
    _ layers: [(path: String, layer: Linear, rank: Int)], alpha: Double, dropout: Double,
    seed: UInt64, _ location: String
  ) throws {
    func refused(_ what: String, _ expected: String) -> ApusError {
      ApusError(.invalidArgument, "low-rank adapters: \(what)", at: location, expected: expected)
    }
    guard alpha > 0, alpha.isFinite else { throw refused("alpha is \(alpha)", "a number above 0") }
    guard (0..<1).contains(dropout) else {
      throw refused("dropout is \(dropout)", "0 ≤ dropout < 1")
    }
    var made: [(slot: LowRankSlot, adapter: LowRankAdapter)] = []
    for (path, layer, rank) in layers {
      let most = min(layer.weight.shape[0], layer.weight.shape[1])
      guard (1...max(most, 1)).contains(rank) else {
        throw refused(
          "the rank is \(rank) for '\(path)', whose weight is \(layer.weight.type)",
          "1 to \(most)")
      }
      guard layer.lowRank.adapter == nil else {
        throw refused(
          "'\(path)' has an adapter",
          "layers without: mergeLowRankAdapters() or "
            + "removeLowRankAdapters() first")
      }
      guard !layer.weight.isTied else {
        throw refused("'\(path)' shares its weight", "layers with a weight of their own")
      }
      let adapter = LowRankAdapter(layer.weight, rank: rank, alpha: alpha, dropout: dropout)
      let first = adapter.down
      try first.set(
        first.initializer.makeArray(first.type, seed: seed, path: "\(path).lora_A.weight"))
      try adapter.up.set(NDArray(checking: adapter.up.type))
      made.append((layer.lowRank, adapter))
    }
    // Adapters that there are already are trained on.
    let older = Set(
      lowRankAdapters.flatMap {
        [ObjectIdentifier($0.adapter.down), ObjectIdentifier($0.adapter.up)]
      })
    for (_, state) in ModelTree(self).states where !older.contains(ObjectIdentifier(state)) {
      state.isKept = true
    }
    for (slot, adapter) in made { slot.adapter = adapter }
    ModelTree(self).name()
  }

  /// The layers whose paths match, each once, in the order of the model.
  private func linearLayers(
    matching patterns: [String], _ location: String
  ) throws -> [(path: String, layer: Linear)] {
    let all = linearLayers
    let matchers = patterns.map { PathPattern($0) }
    for (pattern, matcher) in zip(patterns, matchers)
    where !all.contains(where: { matcher.matches($0.path) }) {
      throw ApusError(
        .missing, "no path of a fully connected layer matches '\(pattern)'", at: location,
        expected: all.isEmpty
          ? "a model with Linear layers" : all.prefix(6).map(\.path).joined(separator: ", "))
    }
    guard !patterns.isEmpty else {
      throw ApusError(
        .invalidArgument, "no patterns of layers", at: location, expected: "one at least")
    }
    return all.filter { layer in matchers.contains { $0.matches(layer.path) } }
  }

  /// All fully connected layers, by their paths.
  package var linearLayers: [(path: String, layer: Linear)] {
    ModelTree(self).modules.compactMap { path, module in (module as? Linear).map { (path, $0) } }
  }

  /// The adapters that layers have, by the layers' paths.
  public var lowRankAdapters: [(path: String, adapter: LowRankAdapter)] {
    linearLayers.compactMap { path, layer in layer.lowRank.adapter.map { (path, $0) } }
  }

  /// Adds what the adapters add to the layers' weights, and takes the adapters away: the model gives the same up to
  /// roundings, without more work than before. What is frozen stays so.
  ///
  /// - Returns: how many there were.
  /// - Throws: `missing` where there are none; `resource` where memory is short. Nothing is changed then.
  @discardableResult
  public func mergeLowRankAdapters(
    file: StaticString = #fileID, line: UInt = #line
  ) throws -> Int {
    let layers = linearLayers.filter { $0.layer.lowRank.adapter != nil }
    guard !layers.isEmpty else {
      throw ApusError(
        .missing, "no layer has a low-rank adapter", at: sourceLocation(file, line),
        expected: "addLowRankAdapters(to:) before")
    }
    let merged = try layers.map { _, layer in
      (layer, try layer.lowRank.adapter!.merged(into: layer.weight))
    }
    for (layer, weight) in merged {
      try layer.weight.set(weight)
      layer.lowRank.adapter = nil
    }
    return merged.count
  }

  /// Takes the adapters away; the model gives what it gave without them.
  ///
  /// - Returns: how many there were.
  @discardableResult
  public func removeLowRankAdapters() -> Int {
    let layers = linearLayers.filter { $0.layer.lowRank.adapter != nil }
    for (_, layer) in layers { layer.lowRank.adapter = nil }
    return layers.count
  }
}

/// What a model is without its adapters: the values of its weights with what the adapters add.
package struct MergedWeights {
  private var adapters: [ObjectIdentifier: LowRankAdapter] = [:]
  private var own: Set<ObjectIdentifier> = []

  package init(of model: any Module) {
    for (_, layer) in model.linearLayers {
      guard let adapter = layer.lowRank.adapter else { continue }
      adapters[ObjectIdentifier(layer.weight)] = adapter
      own.formUnion([ObjectIdentifier(adapter.down), ObjectIdentifier(adapter.up)])
    }
  }

  /// The value of a state; nil for one of an adapter.
  package func value(of state: ModelState) throws -> NDArray? {
    if own.contains(ObjectIdentifier(state)) { return nil }
    guard let parameter = state as? Parameter, let adapter = adapters[ObjectIdentifier(state)]
    else { return try state.value() }
    return try adapter.merged(into: parameter)
  }
}
