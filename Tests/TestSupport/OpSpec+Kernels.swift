// An op's kernel against its reference: every level, several team sizes, unaligned buffers.

import ApusGraph
import ApusOps

extension OpSpec {
  /// What is wrong with the kernels of the op, for the spec's cases; empty where all is well, or where
  /// the op has no kernel and says so by decomposing.
  package func problemsOfKernels() -> [String] {
    guard isCompiled else { return [] }
    var problems: [String] = []
    for types in cases where !types.contains(where: { $0.dtype == .f64 }) {
      if let composite = op as? any CompositeOp, !composite.hasKernel(types) { continue }
      do {
        problems += try kernelProblems(types).map { "\(types): \($0)" }
      } catch {
        problems.append("\(types): \(error)")
      }
    }
    return problems
  }

  private func kernelProblems(_ types: [TensorType]) throws -> [String] {
    var problems: [String] = []
    let inputs = operands(types)
    let results = try op.resultTypes(types)
    let expected = try op.reference(
      inputs.map { $0.cast(to: $0.dtype.widened) },
      results: results.map { $0.with($0.dtype.widened) })
    var first: [NDArray]?
    for isa in KernelRunner.levels {
      let alone = try KernelRunner.run(op, inputs, isa: isa)
      for (index, (got, wanted)) in zip(alone, expected).enumerated() {
        if let difference = difference(got, wanted) {
          problems.append("result \(index) at \(isa.name): \(difference)")
        }
      }
      for (threads, offset) in [(2, 0), (7, 0), (3, 8)] as [(Int32, Int)]
      where try KernelRunner.run(op, inputs, isa: isa, threads: threads, offset: offset) != alone {
        problems.append("other bits with \(threads) threads at offset \(offset), \(isa.name)")
      }
      if let first, isConsistent, first != alone {
        problems.append("other bits at \(isa.name) than at \(KernelRunner.levels[0].name)")
      }
      first = first ?? alone
    }
    return problems
  }

  /// The worst element beyond the spec's tolerance, as text; nil where there is none.
  private func difference(_ got: NDArray, _ wanted: NDArray) -> String? {
    let a = got.doubles, b = wanted.doubles
    let scale = b.lazy.filter(\.isFinite).map(abs).max() ?? 0
    var worst: (excess: Double, index: Int)?
    for (index, (x, y)) in zip(a, b).enumerated() {
      if x == y || x.isNaN && y.isNaN { continue }
      let allowed = relativeTolerance * max(abs(y), scale) + absoluteTolerance
      // What f32 cannot hold becomes infinite or is flushed to zero.
      if x.isInfinite && abs(y) > 3.4e38 { continue }
      let excess = abs(x - y) / allowed
      if !(excess <= 1), excess.isNaN || excess > worst?.excess ?? 1 { worst = (excess, index) }
    }
    return worst.map { "element \($0.index) is \(a[$0.index]), expected \(b[$0.index])" }
  }
}
