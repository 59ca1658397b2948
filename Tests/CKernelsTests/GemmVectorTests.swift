// Products with one row or one column, which are summed in lanes: every row of the list against the
// reference bit for bit, and the reference against the order that ck_gemm.h states.

import CKernels
import Testing

@Suite struct GemmVectorTests {
  private func expectBothVectorsAgree(_ shape: GemmCase, threads: [Int] = [1, 2, 7]) throws {
    for (transposeA, transposeB) in [(false, false), (false, true), (true, false), (true, true)] {
      var shape = shape
      (shape.transposeA, shape.transposeB) = (transposeA, transposeB)
      try expectAllGemmRowsAgree(shape, threads: threads)
      swap(&shape.M, &shape.N)
      try expectAllGemmRowsAgree(shape, threads: threads)
    }
  }

  @Test func everyLengthAroundTheLanesGivesTheReferencesBits() throws {
    for K in Array(0...35) + [63, 64, 65, 79, 80, 127, 128, 129, 143, 144, 257] {
      try expectBothVectorsAgree(GemmCase(M: 1, N: K % 3 * 17 + 3, K: K), threads: [1, 2])
    }
  }

  @Test func everyWidthGivesTheReferencesBits() throws {
    for N in Array(1...35) + [511, 512, 513, 1030] {
      try expectBothVectorsAgree(GemmCase(M: 1, N: N, K: N < 40 ? 70 : 21, gap: N % 3))
    }
  }

  @Test func blocksOfTermsAreFoldedAlike() throws {
    for K in [4095, 4096, 4097, 4112, 8192, 8211] {
      try expectBothVectorsAgree(GemmCase(M: 1, N: 19, K: K, accumulates: K % 2 == 0), threads: [2])
    }
  }

  @Test func everyOptionGivesTheReferencesBits() throws {
    for options in 0..<128 {
      func bit(_ index: Int) -> Bool { options >> index & 1 == 1 }
      try expectBothVectorsAgree(
        GemmCase(
          M: 1, N: 23 + options % 5, K: bit(6) ? 90 : 37, gap: bit(0) ? 3 : 0, step: bit(1) ? 2 : 1,
          matrices: bit(2) ? 3 : 1, sharesB: bit(2) && bit(0), alpha: bit(3) ? -1.5 : 1,
          accumulates: bit(4), hasBias: bit(5), hasReLU: bit(3)), threads: [1, 7])
    }
  }

  @Test func packedVectorsGiveTheReferencesBits() throws {
    for (N, K) in [(1, 40), (9, 530), (33, 17), (70, 513), (100, 4100), (64, 4096), (300, 1030)] {
      for matrices in [1, 3] {
        try expectBothVectorsAgree(
          GemmCase(
            M: 1, N: N, K: K, matrices: matrices, alpha: 0.5, accumulates: true, isPacked: true))
      }
    }
  }

  @Test func manyRowsAndColumnsAreSharedOut() throws {
    try expectBothVectorsAgree(GemmCase(M: 1, N: 2100, K: 300, hasBias: true, hasReLU: true))
    try expectBothVectorsAgree(GemmCase(M: 1, N: 40, K: 66, matrices: 40))
  }

  /// The sum is formed here as ck_gemm.h says: 4096 terms to a block, 16 lanes, a tree.
  @Test func theReferenceSumsInLanes() throws {
    let problem = GemmProblem(GemmCase(M: 1, N: 2, K: 5000, accumulates: true))
    let result = try problem.run(gemmRows.last!, threads: 1)
    for j in 0..<2 {
      var value = problem.c[problem.place(0, 0, j)]
      for begin in stride(from: 0, to: 5000, by: 4096) {
        var lanes = [Float](repeating: 0, count: 16)
        for p in begin..<min(begin + 4096, 5000) {
          lanes[(p - begin) % 16].addProduct(problem.a[1 + p], problem.b[1 + p * 2 + j])
        }
        for half in [8, 4, 2, 1] {
          for lane in 0..<half { lanes[lane] += lanes[lane + half] }
        }
        value += lanes[0]
      }
      #expect(result[problem.place(0, 0, j)] == value)
    }
  }

  /// A special number reaches its own element and no other, also where lanes have no term.
  @Test func notANumberAndInfinityTakeTheirCourse() throws {
    for K in [3, 16, 21, 70, 150] {
      for transposes in [false, true] {
        var problem = GemmProblem(GemmCase(M: 1, N: 37, K: K, transposeB: transposes))
        problem.b[transposes ? 1 + 5 * K + 2 : 1 + 2 * 37 + 5] = .nan
        problem.b[transposes ? 1 + 9 * K + 1 : 1 + 1 * 37 + 9] = .infinity
        problem.a[2] = 1
        for row in gemmRows {
          let result = try problem.run(row, threads: 2)
          for j in 0..<37 {
            let value = result[problem.place(0, 0, j)]
            switch j {
            case 5: #expect(value.isNaN, "\(gemmName(row))")
            case 9: #expect(value == .infinity, "\(gemmName(row))")
            default: #expect(value.isFinite, "\(gemmName(row)): column \(j), K \(K)")
            }
          }
        }
      }
    }
  }

  /// Zeros keep the sign that the reference gives them.
  @Test func negativeZerosHaveTheReferencesSign() throws {
    for K in [1, 5, 17] {
      var problem = GemmProblem(GemmCase(M: 1, N: 20, K: K, transposeB: true, alpha: -1))
      for index in problem.a.indices { problem.a[index] = 0 }
      let reference = try problem.run(gemmRows.last!, threads: 1).map(\.bitPattern)
      for row in gemmRows {
        #expect(try problem.run(row, threads: 1).map(\.bitPattern) == reference)
      }
    }
  }
}
