// From views to the strided copy.

import ApusGraph

/// Builds argument blocks of the strided copy (`ck_copy`).
enum CopyLowering {
  /// The result, dense, from operand 0 read through `view`.
  static func copy(_ site: LoweringSite, through view: View) throws -> KernelCall {
    throw ApusError(.unsupported, "copies have no kernel yet", expected: "a later commit")
  }
}
