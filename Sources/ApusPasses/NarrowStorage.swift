// Stores activations and their gradients as bf16.
//
// Assumes:    loops and products with epilogues are made: what still crosses between nodes is stored.
// Guarantees: arithmetic stays f32, and so does what is assigned to states, returned, computed for an
//             update (the gradients of parameters), or made by a reduction (statistics, losses). A value
//             is stored as bf16 where its producer rounds on storing and every reader widens on loading;
//             values differ by that rounding alone, to nearest even.
//
//     %1 = exp(%0) : f32[64]                %1 = loop(%0) {…, program=["v0 = exp(a0)",
//     %2 = sum(%1) {axes=[0], …} : f32[]  →   "v1 = cast(v0) {to=bf16}"], outputs=[1]} : bf16[64]
//     output "y" = %2                       %2 = loop(%1) {…, program=["v0 = cast(a0) {to=f32}",
//                                             "v1 = sum(v0)"], outputs=[1]} : f32[1]
//                                           %3 = reshape(%2) {shape=[]} : f32[]
//                                           output "y" = %3

import ApusGraph
import ApusOps

/// Halves the memory of values that only loops and matrix products read. Runs where it is asked for,
/// which `Precision.mixed` does.
public struct NarrowStorage: Pass {
  public static let name = "narrow-storage"
  public static let isOptional = true

  /// The type in which values are stored.
  static let storage = DType.bf16

  public init() {}

  public func run(on graph: inout Graph) throws -> Statistics {
    let narrow = NarrowValues(graph).values
    var statistics = Statistics()
    guard !narrow.isEmpty else { return statistics }
    var rewriter = GraphRewriter(graph)
    for node in graph.nodes {
      let touches =
        node.operands.contains { narrow.contains($0.value) }
        || node.results.contains { narrow.contains($0) }
      if touches && !(node.op is any ViewOp) {
        try emit(NarrowedNode(node, graph, narrow), &rewriter)
      } else {
        try rewriter.copy(node)
      }
      for result in node.results where narrow.contains(result) {
        let type = graph.type(of: result)
        statistics["values"] += 1
        statistics["bytes"] += type.byteCount - type.with(Self.storage).byteCount
      }
    }
    graph = rewriter.finish()
    return statistics
  }

  private func emit(_ narrowed: NarrowedNode, _ rewriter: inout GraphRewriter) throws {
    let node = narrowed.node
    let results = try rewriter.emit(
      narrowed.op, node.operands.map { rewriter.map($0) }, origins: node.origins,
      recomputation: node.recomputation)
    for (old, new) in zip(node.results, results) {
      var value = new
      // A loop keeps the axes that a reduction drops.
      let shape = rewriter.source.type(of: old).shape
      if rewriter.result.type(of: new).shape != shape {
        value = try rewriter.emit(
          Reshape(shape), [Operand(new)], origins: node.origins,
          recomputation: node.recomputation)[0]
      }
      rewriter.replace(old, by: Operand(value))
    }
  }
}

/// A node that reads or makes narrow values, in the form that does so.
private struct NarrowedNode {
  let node: Node
  let graph: Graph
  let narrow: Set<ValueID>
  let op: any Op

  /// - Precondition: `NarrowValues` lets the node have narrow values.
  init(_ node: Node, _ graph: Graph, _ narrow: Set<ValueID>) {
    self.node = node
    self.graph = graph
    self.narrow = narrow
    let types = node.operands.map { graph.type(of: $0) }
    func rewritten(_ program: LoopProgram, skippedOperands: Int = 0) -> LoopProgram {
      let first = skippedOperands
      return program.storingNarrow(
        operands: node.operands.indices.dropFirst(first).map { index in
          narrow.contains(node.operands[index].value) ? types[index].dtype : nil
        }, offset: first == 0 ? 0 : 1, outputs: node.results.map { narrow.contains($0) })
    }
    switch node.op {
    case let product as MatMul:
      let wide = graph.type(of: node.results[0]).dtype
      op = product.giving(narrow.contains(node.results[0]) ? NarrowStorage.storage : wide)
    case let fused as FusedMatMul:
      let reads = node.operands.prefix(2).contains { narrow.contains($0.value) }
      op = FusedMatMul(
        reads ? fused.product.giving(fused.product.result ?? types[0].dtype) : fused.product,
        program: rewritten(fused.program, skippedOperands: 2))
    case let loop as Loop:
      op = Loop(
        domain: loop.domain, reducedAxes: loop.reducedAxes, program: rewritten(loop.program))
    case let elementwise as any ElementwiseOp:
      let program = LoopProgram(
        [.init(.apply(elementwise), node.operands.indices.map { .operand($0) })], outputs: [0])
      op = Loop(
        domain: graph.type(of: node.results[0]).shape, reducedAxes: [],
        program: rewritten(program))
    case let reduction as any ReductionOp:
      let program = LoopProgram(
        [.init(.reduce(type(of: reduction)), [.operand(0)])], outputs: [0])
      op = Loop(
        domain: types[0].shape, reducedAxes: reduction.axes, program: rewritten(program))
    default: preconditionFailure("\(node.op.mnemonic) has no narrow form")
    }
  }
}

extension MatMul {
  fileprivate func giving(_ type: DType) -> MatMul {
    MatMul(transposeA: transposeA, transposeB: transposeB, result: type)
  }
}

extension LoopProgram {
  /// The program that widens some operands before it uses them, and rounds some outputs.
  ///
  /// - Parameters:
  ///   - operands: the element type to which each operand is widened; nil for one that is not narrow.
  ///   - offset: the program's number of the first of them: 1 for a product's epilogue, whose operand 0
  ///     is the product.
  ///   - outputs: whether each output is rounded.
  fileprivate func storingNarrow(operands: [DType?], offset: Int, outputs isRounded: [Bool])
    -> LoopProgram
  {
    var casts: [Instruction] = []
    var widened: [Int: Int] = [:]
    for (index, type) in operands.enumerated() {
      guard let type else { continue }
      widened[index + offset] = casts.count
      casts.append(Instruction(.apply(Cast(to: type)), [.operand(index + offset)]))
    }
    let shift = casts.count
    var instructions =
      casts
      + self.instructions.map { instruction in
        Instruction(
          instruction.action,
          instruction.arguments.map { argument in
            switch argument {
            case .operand(let index): widened[index].map { .value($0) } ?? argument
            case .value(let index): .value(index + shift)
            }
          })
      }
    var outputs = self.outputs.map { $0 + shift }
    for index in outputs.indices where isRounded[index] {
      instructions.append(
        Instruction(.apply(Cast(to: NarrowStorage.storage)), [.value(outputs[index])]))
      outputs[index] = instructions.count - 1
    }
    return LoopProgram(instructions, outputs: outputs)
  }
}
