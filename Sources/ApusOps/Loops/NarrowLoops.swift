// Loops, and the elementwise ops and reductions that become loops, with 16-bit operands and results:
// the program says itself, by casts, what it widens and what it rounds.

import ApusGraph

extension Loop: NarrowableOp {
  /// What the loop repeats over its domain is small, and stays as it is.
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    node.operands[index].count == domain.count
  }

  /// What a reduction makes stays as it is.
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    node.results[index].count == domain.count
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Loop(
      domain: domain, reducedAxes: reducedAxes,
      program: program.storing(operands: operands, results: results, of: node))
  }
}

extension ElementwiseOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    Loop.supports(self, node.operands) && node.operands[index].count == node.results[0].count
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    Loop.supports(self, node.operands)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    let program = LoopProgram(
      [.init(.apply(self), node.operands.indices.map { .operand($0) })], outputs: [0])
    return Loop(domain: node.results[0].shape, reducedAxes: [], program: program)
      .storing(operands: operands, results: results, of: node)
  }
}

extension ReductionOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    Loop.supports(self, node.operands)
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { false }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    let program = LoopProgram([.init(.reduce(type(of: self)), [.operand(0)])], outputs: [0])
    return Loop(domain: node.operands[0].shape, reducedAxes: axes, program: program)
      .storing(operands: operands, results: results, of: node)
  }
}

extension LoopProgram {
  /// The program that widens operands before it uses them and rounds outputs, where the types in memory
  /// are others than the node's.
  ///
  /// - `offset`: the program's number of the first operand: 1 for a product's epilogue, whose
  ///   operand 0 is the product.
  func storing(operands: [DType], results: [DType], of node: NodeTypes, offset: Int = 0)
    -> LoopProgram
  {
    var casts: [Instruction] = []
    var widened: [Int: Int] = [:]
    for (index, (stored, type)) in zip(operands, node.operands).enumerated()
    where stored != type.dtype {
      widened[index + offset] = casts.count
      casts.append(Instruction(.apply(Cast(to: type.dtype)), [.operand(index + offset)]))
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
    for (index, (stored, type)) in zip(results, node.results).enumerated()
    where stored != type.dtype {
      instructions.append(Instruction(.apply(Cast(to: stored)), [.value(outputs[index])]))
      outputs[index] = instructions.count - 1
    }
    return LoopProgram(instructions, outputs: outputs)
  }
}
