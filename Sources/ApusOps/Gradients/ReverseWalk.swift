// Reverse-mode differentiation as a graph-to-graph transformation.
//
// Only the walk is here; the rules stand with the ops. Since gradients are ordinary nodes of the same
// trace, they can be differentiated again (Griewank & Walther, "Evaluating Derivatives", ch. 3). It stands
// below the ops so that an op's own rule can walk what the op is made of.

import ApusGraph

/// A walk from outputs back to targets, which sums what flows into each value.
///
///     var walk = ReverseWalk(trace, to: [x])
///     try walk.run(from: [(loss, one)])
///     let dx = walk.gradient(of: x)
package struct ReverseWalk {
  private let trace: Trace
  private let targets: Set<ValueID>
  /// The first node of the way; what was recorded before is not looked at.
  private let start: Int
  /// The sum of what has flowed into each value so far.
  private var accumulated: [ValueID: Tensor] = [:]
  /// Where the sum is 0 because `where` took the other branch; only of values that nobody else uses.
  private var masks: [ValueID: BranchMask] = [:]
  /// Copies of checkpointed values, by region and value.
  private var recomputed: [Int: [ValueID: Tensor]] = [:]
  private var recomputations = 0
  /// The nodes of each checkpointed region, in order; made when one is asked for.
  private lazy var regions: [Int: [Int]] = trace.checkpointRegions.keys.sorted().reduce(into: [:]) {
    $0[trace.checkpointRegions[$1]!, default: []].append($1)
  }

  /// - `targets`: tensors whose gradients are wanted.
  /// - `start`: the number of the first node that can lie between them and the outputs. A rule that walks
  ///   what it has just recorded says so, or differentiating a graph would take quadratic time.
  package init(_ trace: Trace, to targets: [Tensor], startingAt start: Int = 0) {
    self.trace = trace
    self.targets = Set(targets.compactMap(\.value))
    self.start = start
  }

  /// What has flowed into `tensor`; nil where nothing has.
  package func gradient(of tensor: Tensor) -> Tensor? { tensor.value.flatMap { accumulated[$0] } }

  /// Walks from `outputs`, each with the gradient that flows into it from outside.
  ///
  /// - Throws: what a gradient rule throws, at the place of its node, and `invalidGraph` where a rule gives
  ///   another number of gradients than the op has operands.
  package mutating func run(from outputs: [(output: Tensor, seed: Tensor)]) throws {
    let nodes = trace.graph.nodes
    let way = Way(
      trace.graph, from: targets, to: outputs.compactMap(\.output.value), startingAt: start)
    for (output, seed) in outputs {
      guard let value = output.value, way.isActive(value) else { continue }
      accumulate(seed, into: value)
    }
    for index in way.nodes {
      let node = nodes[index]
      guard node.results.contains(where: { accumulated[$0] != nil }) else { continue }
      // A parameter after its update is a new beginning: nobody differentiates through an optimiser.
      if node.results.contains(where: trace.isDetached) { continue }
      let isNeeded = node.operands.map { way.isActive($0.value) }
      try visit(node, region: trace.closedCheckpoint(of: index), nodes: nodes, isNeeded: isNeeded)
    }
  }

  private mutating func visit(
    _ node: Node, region: Int?, nodes: [Node], isNeeded: [Bool]
  ) throws {
    let origin = node.origins.first
    var operands = node.operands.map { trace.tensor($0.value) }
    var results = node.results.map { trace.tensor($0) }
    if let region {
      try recompute(region, nodes)
      operands = operands.map { recomputed[region]![$0.value!] ?? $0 }
      results = results.map { recomputed[region]![$0.value!] ?? $0 }
    }
    let context = GradientContext(
      operands: operands, results: results, gradients: node.results.map { accumulated[$0] },
      isNeeded: isNeeded)
    let gradients: [Tensor?] = try trace.withOrigin(origin) {
      do {
        return try node.op.gradient(context)
      } catch let error as ApusError {
        throw error.located(at: origin?.description ?? "")
      }
    }
    guard gradients.count == node.operands.count else {
      throw ApusError(
        .invalidGraph, "\(node.op.mnemonic): its gradient rule gives \(gradients.count) gradients",
        expected: "one for each of \(node.operands.count) operands")
    }
    trace.withOrigin(origin) {
      let mask = node.op is any ElementwiseOp ? masks[node.results[0]] : nil
      for (position, gradient) in gradients.enumerated() where isNeeded[position] {
        guard let gradient else { continue }
        let kept = mask?.applied(to: gradient, of: node.op) ?? gradient
        let own = BranchMask(mask, of: node.op, position, context)
        accumulate(kept, into: node.operands[position].value, own)
      }
    }
  }

  /// Adds `flow`, which may have been broadcast or promoted on its way, to what `value` has received.
  private mutating func accumulate(
    _ flow: Tensor, into value: ValueID, _ mask: BranchMask? = nil
  ) {
    let type = trace.graph.type(of: value)
    // A mask goes on while shapes stay as they are and nothing else flows here.
    let isFirst = accumulated[value] == nil
    masks[value] = isFirst && flow.shape == type.shape ? mask : nil
    let flow = flow.sum(to: type.shape).cast(to: type.dtype)
    accumulated[value] = accumulated[value].map { $0 + flow } ?? flow
  }

  /// Records the nodes of a checkpointed region again, once, for the backward pass to read.
  private mutating func recompute(_ region: Int, _ nodes: [Node]) throws {
    guard recomputed[region] == nil else { return }
    recomputations += 1
    var copies: [ValueID: Tensor] = [:]
    let saved = trace.recomputation
    trace.recomputation = saved + recomputations
    defer { trace.recomputation = saved }
    for index in regions[region] ?? [] {
      let node = nodes[index]
      let operands = node.operands.map { copies[$0.value] ?? trace.tensor($0.value) }
      let results = trace.withOrigin(node.origins.first) {
        Tensor.applyAll(node.op, to: operands, resultCount: node.results.count)
      }
      for (value, copy) in zip(node.results, results) { copies[value] = copy }
    }
    recomputed[region] = copies
  }
}

/// Where a gradient is 0 because `where` took the other branch.
///
/// `where(x > 0, sqrt(x), x)` has the derivative 1 at -1, whatever the root has there. Its slope, NaN, times
/// the 0 that flows into it is NaN all the same: so the mask goes along with the gradient, and what ops
/// whose slopes may be infinite make of it is masked again. That is right because the function does not
/// depend on a branch where it is not taken; a rule that 0 times anything is 0 would not be.
private struct BranchMask {
  /// Conditions, of the gradient's shape, and whether the branch is taken where they hold.
  private var conditions: [(condition: Tensor, isTakenWhereTrue: Bool)] = []

  /// Elementwise ops whose derivatives are infinite or NaN somewhere.
  private static let steep: Set<String> = [
    Acos.mnemonic, Acosh.mnemonic, Asin.mnemonic, Atanh.mnemonic, Atan2.mnemonic, Cosh.mnemonic,
    Divide.mnemonic, Exp.mnemonic, Exp2.mnemonic, Expm1.mnemonic, Log.mnemonic, Log10.mnemonic,
    Log1p.mnemonic, Log2.mnemonic, Multiply.mnemonic, Power.mnemonic, Reciprocal.mnemonic,
    Rsqrt.mnemonic, Sinh.mnemonic, Sqrt.mnemonic, Square.mnemonic, Tan.mnemonic,
  ]

  /// Of the gradient for an operand of an elementwise op whose result has that mask; nil where all counts.
  init?(_ mask: BranchMask?, of op: any Op, _ position: Int, _ context: GradientContext) {
    if let mask { self = mask }
    if op is Select, position > 0, context.operands[0].shape == context.result.shape {
      conditions.append((context.operands[0], position == 1))
    }
    if conditions.isEmpty { return nil }
  }

  /// The gradient for an operand of `op`, before it is added up over repeated elements.
  func applied(to gradient: Tensor, of op: any Op) -> Tensor {
    guard Self.steep.contains(op.mnemonic) else { return gradient }
    return conditions.reduce(gradient) { flow, entry in
      guard flow.shape == entry.condition.shape else { return flow }
      return entry.isTakenWhereTrue
        ? `where`(entry.condition, flow, 0) : `where`(entry.condition, 0, flow)
    }
  }
}

/// What lies between the targets and the outputs.
private struct Way {
  /// Nodes that an output depends on and that read what depends on a target, the last first.
  private(set) var nodes: [Int] = []
  /// Whether a value depends on a target, and so gets a gradient.
  private var active: Marks

  func isActive(_ value: ValueID) -> Bool { active[value] }

  init(_ graph: Graph, from targets: Set<ValueID>, to outputs: [ValueID], startingAt start: Int) {
    // Values are numbered as they are made: those of the nodes looked at have the highest numbers.
    let first = start < graph.nodes.count ? graph.nodes[start].results.first?.index ?? 0 : 0
    var wanted = Marks(first..<graph.types.count)
    for output in outputs { wanted[output] = true }
    var way: [Int] = []
    for index in (start..<max(start, graph.nodes.count)).reversed()
    where graph.nodes[index].results.contains(where: { wanted[$0] }) {
      way.append(index)
      for operand in graph.nodes[index].operands { wanted[operand.value] = true }
    }
    active = Marks(first..<graph.types.count)
    for target in targets { active[target] = true }
    for index in way.reversed()
    where graph.nodes[index].operands.contains(where: { active[$0.value] }) {
      nodes.append(index)
      for result in graph.nodes[index].results where graph.type(of: result).dtype.isFloat {
        active[result] = true
      }
    }
    nodes.reverse()
  }
}

/// A set of values, quick for those of a range and right for all others.
private struct Marks {
  private let first: Int
  private var dense: [Bool]
  private var others: Set<ValueID> = []

  init(_ range: Range<Int>) {
    first = range.lowerBound
    dense = Array(repeating: false, count: range.count)
  }

  subscript(value: ValueID) -> Bool {
    get {
      let place = value.index - first
      return dense.indices.contains(place) ? dense[place] : others.contains(value)
    }
    set {
      let place = value.index - first
      if dense.indices.contains(place) {
        dense[place] = newValue
      } else if newValue {
        others.insert(value)
      } else {
        others.remove(value)
      }
    }
  }
}
