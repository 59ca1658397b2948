// The elementary functions over the whole range of floats, in units in the last place.
//
// Every 40009th bit pattern (a prime, so that all exponents and signs are met with changing fractions),
// against the double-precision function; the same bits at every level.

import ApusGraph
import ApusOps
import Foundation
import TestSupport
import Testing

@Suite struct AccuracyTests {
  /// The ops whose error is promised, each with its bound.
  static let bounds: [(op: any ElementwiseOp, ulp: Double)] = [
    (Exp(), 2), (Log(), 2), (Tanh(), 2), (Sigmoid(), 2), (Erf(), 4), (Expm1(), 2), (Log1p(), 2),
    (Sin(), 2), (Cos(), 2), (Tan(), 2), (Asin(), 2), (Acos(), 2), (Atan(), 2), (Sinh(), 2),
    (Cosh(), 2), (Asinh(), 2), (Acosh(), 2), (Atanh(), 2), (Sqrt(), 0.51), (Rsqrt(), 2),
    (Softplus(), 2), (Gelu(), 3),
  ]

  static let patterns: [Float] = stride(from: UInt32(0), to: UInt32.max - 40_009, by: 40_009).map {
    Float(bitPattern: $0)
  }.filter { !$0.isSubnormal }

  @Test(arguments: bounds.indices)
  func errorIsWithinItsBound_overAllFloats(index: Int) throws {
    let (op, bound) = Self.bounds[index]
    let x = NDArray(Self.patterns, shape: [Self.patterns.count])
    let results = try KernelRunner.levels.map { try KernelRunner.run(op, [x], isa: $0)[0] }
    for (isa, result) in zip(KernelRunner.levels, results) {
      #expect(result == results[0], "\(op.mnemonic): other bits at \(isa.name)")
    }
    var worst = (ulp: 0.0, at: Float(0), got: Float(0))
    for (input, got) in zip(Self.patterns, results[0].floats) {
      let exact = op.evaluate([Double(input)])
      if exact.isNaN || got.isNaN {
        #expect(exact.isNaN && got.isNaN, "\(op.mnemonic)(\(input)) is \(got), expected \(exact)")
        continue
      }
      let rounded = Float(exact)
      if rounded == got { continue }
      // Results below the smallest normal number may be flushed to zero.
      if abs(exact) < Double(Float.leastNormalMagnitude) && (got == 0 || got.isSubnormal) {
        continue
      }
      let unit = Double(rounded.isInfinite ? Float.greatestFiniteMagnitude.ulp : rounded.ulp)
      let error =
        got.isInfinite && !rounded.isInfinite
        ? (Double(Float.greatestFiniteMagnitude) - abs(exact)) / unit + 1
        : abs(Double(got) - exact) / unit
      if error > worst.ulp { worst = (error, input, got) }
    }
    #expect(worst.ulp <= bound, "\(op.mnemonic)(\(worst.at)) is \(worst.got): \(worst.ulp) ulp")
  }

  @Test func powersOfPairs_areWithinFourUlp() throws {
    var random = SplitMix("pow")
    let bases = (0..<100_000).map { _ in Float(exp(random.uniform(-60...60))) }
    let exponents = bases.map { base in
      Float(random.uniform(-1...1) * 80 / max(abs(log(Double(base))), 0.1))
    }
    let shape: Shape = [bases.count]
    let got = try KernelRunner.run(
      Power(), [NDArray(bases, shape: shape), NDArray(exponents, shape: shape)],
      isa: KernelRunner.levels.last!)[0].floats
    var worst = 0.0
    for ((x, y), result) in zip(zip(bases, exponents), got) {
      let exact = pow(Double(x), Double(y))
      worst = max(worst, abs(Double(result) - exact) / Double(Float(exact).ulp))
    }
    #expect(worst <= 4, "\(worst) ulp")
  }
}
