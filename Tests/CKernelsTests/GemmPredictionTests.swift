// What plans are told of a product's time.

import CKernels
import Testing

private func nanoseconds(
  _ m: Int64, _ n: Int64, _ k: Int64, _ isa: ck_isa, precision: Int16 = 0, packed: Int32 = 0,
  batch: Int64 = 1
) -> Double {
  var args = ck_gemm_args()
  args.M = m
  args.N = n
  args.K = k
  args.a_row = k
  args.a_col = 1
  args.b_row = n
  args.b_col = 1
  args.c_row = n
  args.batch = (batch, 1, 1, 1, 1, 1)
  args.precision = precision
  args.b_packed = packed
  return ck_gemm_nanoseconds(&args, isa)
}

@Suite struct GemmPredictionTests {
  private static let levels = (0...ck_isa_best().rawValue).map { ck_isa($0) }

  @Test(arguments: levels)
  func growsWithTheProductAndShrinksWithPacking(isa: ck_isa) {
    let one = nanoseconds(64, 64, 64, isa)
    #expect(one > 0)
    for other in [
      nanoseconds(128, 64, 64, isa), nanoseconds(64, 128, 64, isa), nanoseconds(64, 64, 128, isa),
    ] {
      #expect(other > 1.4 * one && other <= 2.01 * one)
    }
    #expect(abs(nanoseconds(64, 64, 64, isa, batch: 3) - 3 * one) < 1e-6 * one)
    if isa != CK_ISA_REF { #expect(nanoseconds(64, 64, 64, isa, packed: 1) < one) }
    #expect(nanoseconds(0, 64, 64, isa) < 0.5 * one)
  }

  @Test func pairsTakeHalfTheTimeWhereTheyAreFast() {
    guard ck_isa_best().rawValue >= CK_ISA_AVX512BF16.rawValue else { return }
    let isa = CK_ISA_AVX512BF16
    let f32 = nanoseconds(512, 512, 512, isa), mixed = nanoseconds(512, 512, 512, isa, precision: 2)
    if ck_multiplies_bf16_pairs_fast() {
      #expect(mixed < 0.6 * f32 && mixed > 0.4 * f32)
    } else {
      #expect(mixed == f32)
    }
  }

  /// The prediction by tiles is that of the choice between them and multiply-adds: at most as long.
  @Test func aLevelWithTilesIsPredictedNoSlower() {
    for size: Int64 in [16, 64, 128, 512, 2048] {
      let tiles = nanoseconds(size, size, size, CK_ISA_AMX)
      #expect(tiles <= nanoseconds(size, size, size, CK_ISA_AVX512BF16) * 1.1 + 1e3)
    }
  }
}
