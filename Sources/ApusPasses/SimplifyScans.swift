// Loops without what they need not do.
//
// Assumes: views in bodies are nodes.
// Guarantees: a scan stacks only what is read, each value once; it carries only what changes and matters; it reads
// only what its body reads, each operand once. What a body computes of constants alone is computed before the
// loop.
//
//     %3, %4, %5 = scan(%0, %1, %2) {carries=1, slices=1, …        %3 = exp(%2)
//       %3 = exp(%2)                                        =>     %4, %5 = scan(%0, %1, %3) {carries=1, slices=1, …
//       …                                                            …

import ApusGraph
import ApusOps

/// Takes out of loops what is not read and what does not change.
package struct SimplifyScans: Pass {
  package static let name = "simplify-scans"

  package init() {}

  package func run(on graph: inout Graph) throws -> Statistics {
    var statistics = Statistics()
    guard graph.nodes.contains(where: { $0.op is Scan }) else { return statistics }
    let uses = graph.useCounts
    var rewriter = GraphRewriter(graph)
    for node in graph.nodes {
      guard let scan = node.op as? Scan else {
        try rewriter.copy(node)
        continue
      }
      var loop = LoopParts(scan, node.operands.map { rewriter.map($0) })
      let before = statistics
      try loop.hoist(&statistics) { op, operands, origins in
        try rewriter.emit(op, operands, origins: origins, recomputation: node.recomputation)
      }
      let places = loop.prune(node.results.map { uses[$0.index] > 0 }, &statistics)
      if statistics == before {
        try rewriter.copy(node)
        continue
      }
      let results =
        loop.isEmpty
        ? []
        : try rewriter.emit(
          loop.scan, loop.operands, origins: node.origins, recomputation: node.recomputation)
      for (old, place) in zip(node.results, places) {
        switch place {
        case .result(let index): rewriter.replace(old, by: Operand(results[index]))
        case .operand(let operand): rewriter.replace(old, by: operand)
        case nil: break
        }
      }
    }
    guard !statistics.isEmpty else { return statistics }
    graph = rewriter.finish()
    return statistics
  }
}

/// A scan and its operands, taken apart.
private struct LoopParts {
  private let given: Scan
  private(set) var operands: [Operand]
  private var body: Graph
  private var carries: Int
  private var slices: Int

  var scan: Scan {
    Scan(
      body, carries: carries, slices: slices, length: given.length, isReversed: given.isReversed,
      recomputes: given.recomputes)
  }

  /// Whether nothing is left to run.
  var isEmpty: Bool { body.outputs.isEmpty }

  init(_ scan: Scan, _ operands: [Operand]) {
    given = scan
    body = scan.body
    carries = scan.carries
    slices = scan.slices
    self.operands = operands
  }

  /// Where a result of the given scan is.
  enum Place {
    case result(Int)
    case operand(Operand)
  }

  // MARK: What is the same in each turn

  /// Takes out the nodes that depend on constants alone.
  ///
  /// - `emit`: puts a node before the loop.
  mutating func hoist(
    _ statistics: inout Statistics, _ emit: (any Op, [Operand], [Origin]) throws -> [ValueID]
  ) rethrows {
    var outside: [ValueID: Operand] = [:]
    for index in carries + slices..<body.inputs.count {
      outside[body.inputs[index].value] = operands[index]
    }
    for index in 0..<carries where body.outputs[index].operand == Operand(body.inputs[index].value)
    {
      outside[body.inputs[index].value] = operands[index]
    }
    /// Values that the body now takes from outside.
    var taken: [ValueID] = []
    var kept: [Node] = []
    for node in body.nodes {
      // What reads a constant of the body's own stays: that stands nowhere outside.
      guard !node.operands.isEmpty,
        node.operands.allSatisfy({ outside[$0.value] != nil && $0.view == nil })
      else {
        kept.append(node)
        continue
      }
      let results = try emit(node.op, node.operands.map { outside[$0.value]! }, node.origins)
      for (inner, outer) in zip(node.results, results) {
        outside[inner] = Operand(outer)
        taken.append(inner)
      }
      statistics["hoisted"] += 1
    }
    body.nodes = kept
    for value in taken {
      body.inputs.append(GraphInput(name: "hoisted", value: value))
      operands.append(outside[value]!)
    }
  }

  // MARK: What is not read

  /// Takes out what nobody reads, and what is there twice.
  ///
  /// - `isRead`: by result of the given scan.
  /// - Returns: where each result now is; nil for one that is not read.
  mutating func prune(_ isRead: [Bool], _ statistics: inout Statistics) -> [Place?] {
    let outputs = body.outputs.map(\.operand)
    let isFixed = (0..<carries).map { outputs[$0] == Operand(body.inputs[$0].value) }
    // A carry matters where it is read in the end, or by what matters.
    var isLive = (0..<carries).map { isRead[$0] && !isFixed[$0] }
    let stacks = (carries..<outputs.count).filter { isRead[$0] }
    var live = [Bool]()
    var hasGrown = true
    while hasGrown {
      hasGrown = false
      live = liveValues(
        stacks.map { outputs[$0] } + (0..<carries).filter { isLive[$0] }.map { outputs[$0] })
      for index in 0..<carries
      where !isLive[index] && !isFixed[index] && live[body.inputs[index].value.index] {
        isLive[index] = true
        hasGrown = true
      }
    }
    // Inputs, each operand once.
    var inputs: [GraphInput] = [], taken: [Operand] = []
    var substitutes: [ValueID: ValueID] = [:]
    let liveCarries = (0..<carries).filter { isLive[$0] }
    for index in liveCarries {
      inputs.append(GraphInput(name: "carry\(inputs.count)", value: body.inputs[index].value))
      taken.append(operands[index])
    }
    func take(_ indices: [Int], _ name: String) -> Int {
      var known: [Operand: ValueID] = [:]
      for index in indices where live[body.inputs[index].value.index] {
        if let other = known[operands[index]] {
          substitutes[body.inputs[index].value] = other
          continue
        }
        known[operands[index]] = body.inputs[index].value
        inputs.append(
          GraphInput(name: "\(name)\(known.count - 1)", value: body.inputs[index].value))
        taken.append(operands[index])
      }
      return known.count
    }
    let sliceCount = take(Array(carries..<carries + slices), "slice")
    _ = take(
      Array(carries + slices..<body.inputs.count) + (0..<carries).filter { isFixed[$0] }, "constant"
    )
    // Outputs, each value once.
    var unique: [Operand] = []
    var places = [Place?](repeating: nil, count: outputs.count)
    for (place, index) in liveCarries.enumerated() where isRead[index] {
      places[index] = .result(place)
    }
    for index in 0..<carries where isRead[index] && isFixed[index] {
      places[index] = .operand(operands[index])
    }
    for index in stacks {
      let place = unique.firstIndex(of: outputs[index]) ?? unique.count
      if place == unique.count { unique.append(outputs[index]) }
      places[index] = .result(liveCarries.count + place)
    }
    statistics["carries"] += carries - liveCarries.count
    statistics["inputs"] += max(0, body.inputs.count - inputs.count - (carries - liveCarries.count))
    statistics["outputs"] += outputs.count - carries - unique.count
    let hasChanged =
      carries != liveCarries.count || body.inputs.count != inputs.count
      || outputs.count - carries != unique.count
    guard hasChanged || body.nodes.count != given.body.nodes.count else { return places }
    func substituted(_ operand: Operand) -> Operand {
      Operand(substitutes[operand.value] ?? operand.value, view: operand.view)
    }
    body.inputs = inputs
    operands = taken
    body.nodes = body.nodes.filter { $0.results.contains { live[$0.index] } }
    for index in body.nodes.indices {
      body.nodes[index].operands = body.nodes[index].operands.map(substituted)
    }
    body.outputs =
      liveCarries.enumerated().map {
        GraphOutput(name: "carry\($0)", operand: substituted(outputs[$1]))
      } + unique.enumerated().map { GraphOutput(name: "output\($0)", operand: substituted($1)) }
    carries = liveCarries.count
    slices = sliceCount
    body.compact()
    return places
  }

  /// By value: whether one of these depends on it.
  private func liveValues(_ wanted: [Operand]) -> [Bool] {
    var live = [Bool](repeating: false, count: body.types.count)
    for operand in wanted { live[operand.value.index] = true }
    for node in body.nodes.reversed() where node.results.contains(where: { live[$0.index] }) {
      for operand in node.operands { live[operand.value.index] = true }
    }
    return live
  }
}
