// Products of as many rows or terms as are known at run time: those that are there have the bits of the whole
// product's, the rest is not read, and becomes zeros.

import CKernels
import Testing

@Suite struct GemmLiveTests {
  private let rows: [ck_gemm_row] = {
    var count = 0
    let rows = UnsafeBufferPointer(start: ck_gemm_rows(&count), count: count)
    return rows.filter {
      ($0.emulated ? CK_ISA_AVX512 : $0.isa).rawValue <= ck_isa_best().rawValue
    }
  }()

  /// No rows, few, all, and numbers that cannot be.
  private static func numbers(_ all: Int) -> [Int] {
    [-3, 0, 1, all / 3, all - 1, all + 5]
  }

  private static let types: [(ck_dtype, ck_dtype, ck_dtype, ck_gemm_precision)] = [
    (CK_F32, CK_F32, CK_F32, CK_GEMM_HIGHEST), (CK_F32, CK_F32, CK_F32, CK_GEMM_MIXED),
    (CK_BF16, CK_F32, CK_BF16, CK_GEMM_MIXED), (CK_BF16, CK_BF16, CK_F32, CK_GEMM_HIGHEST),
    (CK_F16, CK_F32, CK_F32, CK_GEMM_HIGHEST),
  ]

  private func nan(_ type: ck_dtype) -> UInt32 {
    type == CK_F32 ? 0x7fc0_0000 : type == CK_BF16 ? 0x7fc0 : 0x7e00
  }

  @Test func rowsThatAreThereHaveTheWholeProductsBits() throws {
    let shapes = [
      (M: 45, N: 40, K: 33), (M: 210, N: 33, K: 20), (M: 9, N: 1, K: 40), (M: 33, N: 5, K: 530),
      (M: 1, N: 50, K: 20),
    ]
    for (a, b, c, precision) in Self.types {
      for (M, N, K) in shapes {
        for isPacked in [false, true] {
          var shape = TypedProduct(M: M, N: N, K: K, a: a, b: b, c: c, precision: precision)
          shape.gap = 3
          shape.transposeB = M % 2 == 0
          (shape.hasBias, shape.isPacked) = (N > 1, isPacked)
          try checkRows(shape)
        }
      }
    }
  }

  private func checkRows(_ shape: TypedProduct) throws {
    let whole = TypedProblem(shape)
    for row in rows {
      let all = try whole.run(row, threads: 1)
      for live in Self.numbers(shape.M) {
        var limited = shape
        (limited.limit, limited.live) = (CK_GEMM_LIVE_ROWS, live)
        let problem = TypedProblem(limited)
        let rest = min(max(0, live), shape.M)..<shape.M
        for i in rest {
          for p in 0..<shape.K { problem.a.setBits(problem.placeInA(i, p), nan(shape.a)) }
        }
        var wanted = all
        for i in rest { for j in 0..<shape.N { wanted[problem.place(0, i, j)] = 0 } }
        for threads in [1, 2, 7] {
          let found = try problem.run(row, threads: threads)
          #expect(found == wanted, "\(String(cString: row.name)) \(threads): \(limited)")
        }
      }
    }
  }

  /// As if zeros stood where no terms are.
  @Test func termsThatAreNotThereAreNotRead() throws {
    let shapes = [
      (M: 20, N: 40, K: 33), (M: 10, N: 33, K: 1100), (M: 9, N: 1, K: 45), (M: 1, N: 3, K: 4500),
    ]
    for (a, b, c, precision) in Self.types {
      for (M, N, K) in shapes {
        for transposeA in [true, false] {
          var shape = TypedProduct(M: M, N: N, K: K, a: a, b: b, c: c, precision: precision)
          (shape.gap, shape.transposeA) = (transposeA ? 5 : 0, transposeA)
          shape.hasReLU = M == 20
          try checkTerms(shape)
        }
      }
    }
  }

  private func checkTerms(_ shape: TypedProduct) throws {
    func fill(_ problem: TypedProblem, from live: Int, _ a: UInt32, _ b: UInt32) {
      for p in min(max(0, live), shape.K)..<shape.K {
        for i in 0..<shape.M { problem.a.setBits(problem.placeInA(i, p), a) }
        for j in 0..<shape.N { problem.b.setBits(problem.placeInB(p, j), b) }
      }
    }
    for live in Self.numbers(shape.K) {
      let whole = TypedProblem(shape)
      fill(whole, from: live, 0, 0)
      var limited = shape
      (limited.limit, limited.live) = (CK_GEMM_LIVE_TERMS, live)
      let problem = TypedProblem(limited)
      fill(problem, from: live, nan(shape.a), nan(shape.b))
      for row in rows {
        let wanted = try whole.run(row, threads: 1)
        var first: [UInt32]?
        for threads in [1, 2, 7] {
          let found = try problem.run(row, threads: threads)
          first = first ?? found
          // Lanes along K, where they are whole, sum in another order; so do the words of pairs.
          let isSame = zip(found, wanted).allSatisfy { x, y in
            x == y || isNear(x, y, shape.c, Double(shape.K))
          }
          #expect(isSame, "\(String(cString: row.name)) \(threads): \(limited)")
          #expect(found == first)
        }
      }
    }
  }

  private func isNear(_ x: UInt32, _ y: UInt32, _ type: ck_dtype, _ terms: Double) -> Bool {
    let (x, y) = (TypedElements.value(x, type), TypedElements.value(y, type))
    return abs(x - y) <= (type == CK_F32 ? 1e-6 : 1e-2) * terms.squareRoot()
  }
}
