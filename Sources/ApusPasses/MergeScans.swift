// One loop in place of several over the same operands.
//
// Assumes: bodies as they were recorded; views in them are nodes.
// Guarantees: of scans with the same operands, length, direction and recomputation, whose carries go the same way,
// one is left, which stacks what any of them stacks.
//
// The gradient of a scan records the scan again, with values that the backward pass reads among what is stacked.
// The two run the same turns.
//
//     %2, %3 = scan(%0, %1) {… output "carry0" = %2  output "output0" = %2 …}
//     %4, %5, %6 = scan(%0, %1) {… output "carry0" = %2  output "output0" = %2  output "saved0" = %3 …}
//
//       =>   %2, %3, %4 = scan(%0, %1) {… output "carry0" = %2  output "output0" = %2  output "output1" = %3 …}

import ApusGraph
import ApusOps

/// Makes loops that run the same turns one.
package struct MergeScans: Pass {
  package static let name = "merge-scans"

  package init() {}

  /// What makes two loops run over the same things.
  private struct Key: Hashable {
    var operands: [Operand]
    var recomputation: Int
    var carries: Int
    var slices: Int
    var length: Int
    var isReversed: Bool
  }

  package func run(on graph: inout Graph) throws -> Statistics {
    var groups: [Key: [Int]] = [:]
    for (index, node) in graph.nodes.enumerated() {
      guard let scan = node.op as? Scan else { continue }
      let key = Key(
        operands: node.operands, recomputation: node.recomputation, carries: scan.carries,
        slices: scan.slices, length: scan.length, isReversed: scan.isReversed)
      groups[key, default: []].append(index)
    }
    var statistics = Statistics()
    /// By the first node of a group: the loop that stands for all.
    var merged: [Int: Merged] = [:]
    for nodes in groups.values where nodes.count > 1 {
      if let one = try merge(nodes.map { graph.nodes[$0].op as! Scan }) {
        merged[nodes[0]] = Merged(scan: one.scan, places: one.places, nodes: nodes)
        statistics["scans"] += nodes.count - 1
      }
    }
    guard !merged.isEmpty else { return statistics }
    let gone = Set(merged.values.flatMap { $0.nodes.dropFirst() })
    var rewriter = GraphRewriter(graph)
    for (index, node) in graph.nodes.enumerated() where !gone.contains(index) {
      guard let one = merged[index] else {
        try rewriter.copy(node)
        continue
      }
      let origins = one.nodes.flatMap { graph.nodes[$0].origins }.unique()
      let results = try rewriter.emit(
        one.scan, node.operands.map { rewriter.map($0) }, origins: origins,
        recomputation: node.recomputation)
      for (member, places) in zip(one.nodes, one.places) {
        for (old, place) in zip(graph.nodes[member].results, places) {
          rewriter.replace(old, by: Operand(results[place]))
        }
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  private struct Merged {
    var scan: Scan
    /// By member: which results of the one loop its results are.
    var places: [[Int]]
    var nodes: [Int]
  }

  /// One loop for several, and where their results are among its own; nil where their carries differ.
  private func merge(_ scans: [Scan]) throws -> (scan: Scan, places: [[Int]])? {
    let first = scans[0], carries = first.carries
    let types = first.body.inputs.map { first.body.type(of: $0.value) }
    var union = try traced(types, names: first.body.inputs.map(\.name)) { inputs in
      try scans.flatMap { scan in
        let values = try inputs[0].trace.inline(scan.body, inputs)
        return scan.body.outputs.map { inputs[0].trace.tensor(values[$0.operand.value.index]!) }
      }
    }
    _ = try CommonSubexpressions().run(on: &union)
    var outputs: [[Operand]] = []
    var rest = union.outputs.map(\.operand)[...]
    for scan in scans {
      outputs.append(Array(rest.prefix(scan.body.outputs.count)))
      rest = rest.dropFirst(scan.body.outputs.count)
    }
    guard outputs.allSatisfy({ $0.prefix(carries) == outputs[0].prefix(carries) }) else {
      return nil
    }
    var stacks: [Operand] = []
    let places = outputs.map { outputs in
      outputs.indices.map { index -> Int in
        if index < carries { return index }
        if let known = stacks.firstIndex(of: outputs[index]) { return carries + known }
        stacks.append(outputs[index])
        return carries + stacks.count - 1
      }
    }
    union.outputs =
      outputs[0].prefix(carries).enumerated().map {
        GraphOutput(name: "carry\($0)", operand: $1)
      } + stacks.enumerated().map { GraphOutput(name: "output\($0)", operand: $1) }
    union.compact()
    return (first.replacingRegions([union]), places)
  }
}
