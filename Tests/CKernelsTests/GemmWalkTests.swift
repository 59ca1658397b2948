// Products of few rows with a matrix that no core's caches keep: the rows walk along it, and their sums wait in memory
// meanwhile. Every row of the list against the reference, bit for bit.

import CKernels
import Testing

@Suite struct GemmWalkTests {
  // 2^18 elements and more, at least as wide as both levels ask for.
  private static let wide = (N: 1100, K: 260)

  @Test(arguments: [2, 6, 7, 14, 15, 28, 29, 64])
  func everyNumberOfRowsGivesTheReferencesBits(rows: Int) throws {
    try expectAllGemmRowsAgree(
      GemmCase(M: rows, N: Self.wide.N, K: Self.wide.K), threads: [1, 7])
  }

  @Test(arguments: [(512, 513), (513, 600), (528, 1030), (1023, 257), (1024, 256), (2077, 129)])
  func everyWidthAndLengthGivesTheReferencesBits(N: Int, K: Int) throws {
    for rows in [3, 20] {
      try expectAllGemmRowsAgree(GemmCase(M: rows, N: N, K: K, hasBias: true), threads: [2])
    }
  }

  @Test func rowsOfAThatCollideArePacked() throws {
    // A kilobyte's multiple apart: more rows than the first cache has ways.
    for rows in [9, 30] {
      for transposes in [false, true] {
        try expectAllGemmRowsAgree(
          GemmCase(M: rows, N: 600, K: 1024, transposeA: transposes), threads: [2])
      }
    }
  }

  @Test func everyOptionGivesTheReferencesBits() throws {
    for options in [0, 1, 3, 4, 8, 17, 22, 29, 36, 43, 50, 63] {
      func bit(_ index: Int) -> Bool { options >> index & 1 == 1 }
      try expectAllGemmRowsAgree(
        GemmCase(
          M: 4 + options % 14, N: 1040, K: 270, gap: bit(0) ? 3 : 0, matrices: bit(1) ? 2 : 1,
          sharesB: bit(1) && bit(0), alpha: bit(2) ? -1.5 : 1, accumulates: bit(3), hasBias: bit(4),
          hasReLU: bit(5), combination: bit(2) && !bit(1) ? CK_ADD : CK_ALONE), threads: [2])
    }
  }

  @Test func notANumberReachesItsOwnColumn() throws {
    var problem = GemmProblem(GemmCase(M: 8, N: Self.wide.N, K: Self.wide.K))
    problem.b[1 + 200 * Self.wide.N + 777] = .nan
    for row in gemmRows {
      let result = try problem.run(row, threads: 2)
      for j in 0..<Self.wide.N {
        #expect(result[problem.place(0, 3, j)].isNaN == (j == 777), "\(gemmName(row)): \(j)")
      }
    }
  }
}
