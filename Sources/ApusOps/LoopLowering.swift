// From single elementwise ops and reductions to the tile machine.

import ApusGraph

/// Builds argument blocks of the tile machine (`ck_loop`).
enum LoopLowering {
  static func elementwise(_ op: some ElementwiseOp, _ site: LoweringSite) throws -> KernelCall {
    throw ApusError(.unsupported, "\(op.mnemonic) has no kernel yet", expected: "a later commit")
  }

  static func reduction(_ op: some ReductionOp, _ site: LoweringSite) throws -> KernelCall {
    throw ApusError(.unsupported, "\(op.mnemonic) has no kernel yet", expected: "a later commit")
  }
}

/// Builds argument blocks of the strided copy (`ck_copy`).
enum CopyLowering {
  /// The result, dense, from operand 0 read through `view`.
  static func copy(_ site: LoweringSite, through view: View) throws -> KernelCall {
    throw ApusError(.unsupported, "copies have no kernel yet", expected: "a later commit")
  }
}
