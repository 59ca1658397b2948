// Reverse-mode differentiation as a graph-to-graph transformation.
//
// Only the walk is here; the rules stand with the ops. Since gradients are ordinary nodes of the same
// trace, they can be differentiated again (Griewank & Walther, "Evaluating Derivatives", ch. 3).

import ApusGraph
import ApusOps

/// The gradients of `output` with respect to each of `inputs`, recorded in their trace.
///
///     let dx = gradients(of: loss, withRespectTo: [x])[0]
///
/// - `output`: a scalar float tensor, or any float tensor where `seed` is given.
/// - `inputs`: float tensors. One that `output` does not depend on gets zeros.
/// - `seed`: the gradient of the loss with respect to `output`, of its shape; 1 by default.
/// - Returns: a tensor of the shape and type of each input. Mistakes are recorded in the trace.
public func gradients(
  of output: Tensor, withRespectTo inputs: [Tensor], seed: Tensor? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> [Tensor] {
  let trace = output.trace
  let location = sourceLocation(file, line)
  do {
    guard output.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(output.type) has no gradient", expected: "a float output")
    }
    guard seed != nil || output.type.count == 1 else {
      throw ApusError(
        .shapeMismatch, "gradients of an output of shape \(output.shape) need a seed",
        expected: "a scalar output, or a seed of the output's shape")
    }
    if let bad = inputs.first(where: { !$0.dtype.isFloat }) {
      throw ApusError(
        .dtypeMismatch, "a gradient with respect to \(bad.type) does not exist",
        expected: "float inputs")
    }
    if let seed, !seed.isPoisoned, seed.shape != output.shape || !seed.dtype.isFloat {
      throw ApusError(
        .shapeMismatch, "the seed of a gradient is \(seed.type)",
        expected: "a float of shape \(output.shape), the output's")
    }
    guard !output.isPoisoned, !inputs.contains(where: \.isPoisoned) else { return inputs }
    var walk = ReverseWalk(trace: trace, targets: inputs.compactMap(\.value))
    try walk.run(from: output, seed: seed ?? output.scalar(1).broadcast(to: output.shape))
    return inputs.map { walk.gradient(of: $0) ?? $0.scalar(0).broadcast(to: $0.shape) }
  } catch {
    let error = error as? ApusError ?? ApusError(.invalidArgument, "\(error)")
    trace.record(error, location: location)
    return inputs.map { Tensor(trace: trace, value: nil, type: $0.type) }
  }
}

/// The gradients of a scalar with respect to tensors, nil for those that it does not depend on, or only
/// through what lets no gradient through (`stopGradient`, `argmax`, integers): what a step must leave alone.
///
/// - Throws: what gradient rules throw.
package func flows(of output: Tensor, into inputs: [Tensor]) throws -> [Tensor?] {
  var walk = ReverseWalk(trace: output.trace, targets: inputs.compactMap(\.value))
  try walk.run(from: output, seed: output.scalar(1).broadcast(to: output.shape))
  return inputs.map { walk.gradient(of: $0) }
}

/// What lies between the targets and the output.
private struct Way {
  /// Nodes that the output depends on and that read what depends on a target, the last first.
  private(set) var nodes: [Int] = []
  /// By value: whether it depends on a target, and so gets a gradient.
  private var active: [Bool]

  func isActive(_ value: ValueID) -> Bool { active[value.index] }

  init(_ graph: Graph, from targets: Set<ValueID>, to output: ValueID) {
    var isWanted = [Bool](repeating: false, count: graph.types.count)
    isWanted[output.index] = true
    var wanted: [Int] = []
    for index in graph.nodes.indices.reversed()
    where graph.nodes[index].results.contains(where: { isWanted[$0.index] }) {
      wanted.append(index)
      for operand in graph.nodes[index].operands { isWanted[operand.value.index] = true }
    }
    active = [Bool](repeating: false, count: graph.types.count)
    // One of another trace may have any number.
    for target in targets where target.index < active.count { active[target.index] = true }
    for index in wanted.reversed()
    where graph.nodes[index].operands.contains(where: { active[$0.value.index] }) {
      nodes.append(index)
      for result in graph.nodes[index].results where graph.type(of: result).dtype.isFloat {
        active[result.index] = true
      }
    }
    nodes.reverse()
  }
}

private struct ReverseWalk {
  let trace: Trace
  let targets: Set<ValueID>
  /// The sum of what has flowed into each value so far.
  private var accumulated: [ValueID: Tensor] = [:]
  /// Copies of checkpointed values, by region and value.
  private var recomputed: [Int: [ValueID: Tensor]] = [:]
  private var recomputations = 0
  /// The nodes of each checkpointed region, in order; made when one is asked for.
  private lazy var regions: [Int: [Int]] = trace.checkpointRegions.keys.sorted().reduce(into: [:]) {
    $0[trace.checkpointRegions[$1]!, default: []].append($1)
  }

  init(trace: Trace, targets: [ValueID]) {
    self.trace = trace
    self.targets = Set(targets)
  }

  func gradient(of input: Tensor) -> Tensor? { accumulated[input.value!] }

  mutating func run(from output: Tensor, seed: Tensor) throws {
    let nodes = trace.graph.nodes
    let way = Way(trace.graph, from: targets, to: output.value!)
    guard way.isActive(output.value!) else { return }
    accumulated[output.value!] = seed.cast(to: output.dtype)
    for index in way.nodes {
      let node = nodes[index]
      guard node.results.contains(where: { accumulated[$0] != nil }) else { continue }
      // A parameter after its update is a new beginning: nobody differentiates through an optimiser.
      if node.results.contains(where: trace.isDetached) { continue }
      let isNeeded = node.operands.map { way.isActive($0.value) }
      try visit(node, region: trace.checkpointRegions[index], nodes: nodes, isNeeded: isNeeded)
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
    let flows = node.results.map { accumulated[$0] }
    let context = GradientContext(
      operands: operands, results: results, gradients: flows, isNeeded: isNeeded)
    let rule: (GradientContext) throws -> [Tensor?] =
      if let custom = node.op as? CustomGradientOp, let rule = trace.customGradients[custom.id] {
        { context in try custom.check(rule(context), context) }
      } else {
        { context in try node.op.gradient(context) }
      }
    let gradients: [Tensor?] = try trace.withOrigin(origin) {
      do {
        return try rule(context)
      } catch let error as ApusError {
        throw error.located(at: origin?.description ?? "")
      }
    }
    guard gradients.count == node.operands.count else {
      throw ApusError(
        .invalidGraph, "\(node.op.mnemonic): its gradient rule gives \(gradients.count) gradients",
        expected: "one for each of \(node.operands.count) operands")
    }
    for (position, gradient) in gradients.enumerated() where isNeeded[position] {
      guard let gradient else { continue }
      let value = node.operands[position].value
      let type = trace.graph.type(of: value)
      trace.withOrigin(origin) {
        let flow = gradient.sum(to: type.shape).cast(to: type.dtype)
        accumulated[value] = accumulated[value].map { $0 + flow } ?? flow
      }
    }
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
