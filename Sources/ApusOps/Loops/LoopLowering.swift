// From single elementwise ops and reductions to the tile machine: each is a loop of one instruction.

import ApusGraph

/// Builds argument blocks of the tile machine (`ck_loop`).
enum LoopLowering {
  static func elementwise(_ op: some ElementwiseOp, _ site: LoweringSite) throws -> KernelCall {
    let program = LoopProgram(
      [.init(.apply(op), site.operands.indices.map { .operand($0) })], outputs: [0])
    return try Loop(domain: site.results[0].shape, reducedAxes: [], program: program).lower(site)
  }

  static func reduction(_ op: some ReductionOp, _ site: LoweringSite) throws -> KernelCall {
    let program = LoopProgram([.init(.reduce(type(of: op)), [.operand(0)])], outputs: [0])
    let loop = Loop(domain: site.operands[0].shape, reducedAxes: op.axes, program: program)
    // The result's bytes are the same with the folded axes kept.
    var kept = site
    kept.results[0].shape = loop.domain.reducing(op.axes, keepDims: true)
    return try loop.lower(kept)
  }
}
