// The precision of a compilation reaches the kernels, and narrow products run.

import ApusGraph
import ApusOps
import CKernels
import Testing

@testable import ApusRuntime

@Suite struct PrecisionTests {
  private let m = 40, k = 70, n = 50
  private let a: [Float] = Self.numbers(40 * 70, period: 1009)
  private let b: [Float] = Self.numbers(70 * 50, period: 997)

  private static func numbers(_ count: Int, period: Int) -> [Float] {
    (0..<count).map { index -> Float in
      let step = index &* 7919 % period
      return Float(step) / Float(period) - 0.5
    }
  }

  private func product(_ precision: Precision, _ isa: ISA, dtype: DType = .f32) throws -> [Float] {
    let trace = Trace()
    let x = trace.input("x", .f32(m, k)), w = trace.input("w", .f32(k, n))
    trace.output("y", x.cast(to: dtype).matmul(w.cast(to: dtype)).cast(to: .f32))
    let executable = try Executable(
      trace.finish(), options: CompileOptions(isa: isa, precision: precision))
    let inputs = [NDArray(a, shape: [m, k]), NDArray(b, shape: [k, n])]
    return try executable.run(inputs)[0].floats
  }

  /// The greatest error, relative to the sum of absolute products.
  private func error(_ result: [Float]) -> Double {
    var greatest = 0.0
    for i in 0..<m {
      for j in 0..<n {
        var (sum, magnitude) = (0.0, 0.0)
        for p in 0..<k {
          let product = Double(a[i * k + p]) * Double(b[p * n + j])
          sum += product
          magnitude += abs(product)
        }
        greatest = max(greatest, abs(Double(result[i * n + j]) - sum) / magnitude)
      }
    }
    return greatest
  }

  @Test func everyPrecisionIsAsExactAsItSays() throws {
    for isa in Environment.availableISAs {
      #expect(error(try product(.highest, isa)) < 2e-6, "\(isa)")
      #expect(error(try product(.high, isa)) < 0x1p-14, "\(isa)")
      #expect(error(try product(.mixed, isa)) < 0x1p-7, "\(isa)")
    }
  }

  @Test func mixedRoundsWhereThatGains() throws {
    for isa in Environment.availableISAs {
      let rounds = isa == .amx || isa == .avx512bf16 && ck_multiplies_bf16_pairs_fast()
      #expect((error(try product(.mixed, isa)) > 1e-5) == rounds, "\(isa)")
    }
  }

  @Test func narrowProductsRun() throws {
    for isa in Environment.availableISAs {
      for (dtype, bound) in [(DType.bf16, 0x1p-6), (.f16, 0x1p-9)] {
        let error = error(try product(.highest, isa, dtype: dtype))
        #expect(error > 1e-5 && error < bound, "\(isa), \(dtype): \(error)")
      }
    }
  }
}
