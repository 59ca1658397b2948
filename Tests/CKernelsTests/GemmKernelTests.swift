// The matrix products: the reference against plain loops in double, every other row of the list
// against the reference bit for bit, over all tails of the tiles, strides, epilogues and teams.

import CKernels
import Testing

@Suite struct GemmKernelTests {
  @Test func listEndsWithTheReferenceAndNamesItsRows() {
    #expect(gemmRows.last.map(gemmName) == "ck_gemm_f32_ref")
    #expect(gemmRows.last?.isa == CK_ISA_REF)
    #expect(Set(gemmRows.map(gemmName)).count == gemmRows.count)
  }

  @Test func referenceAgreesWithLoopsInDouble() throws {
    var shapes = [
      GemmCase(M: 3, N: 5, K: 7), GemmCase(M: 2, N: 3, K: 0), GemmCase(M: 4, N: 6, K: 1030),
    ]
    shapes.append(GemmCase(M: 5, N: 4, K: 9, transposeA: true, gap: 2, matrices: 3))
    shapes.append(GemmCase(M: 5, N: 4, K: 9, transposeB: true, step: 2, matrices: 2, sharesB: true))
    for index in shapes.indices {
      for options in 0..<16 {
        shapes[index].alpha = options & 1 == 0 ? 1 : 0.75
        shapes[index].accumulates = options & 2 != 0
        shapes[index].hasBias = options & 4 != 0
        shapes[index].hasReLU = options & 8 != 0
        let problem = GemmProblem(shapes[index])
        let result = try problem.run(gemmRows.last!, threads: 1)
        for t in 0..<problem.shape.matrices {
          for i in 0..<problem.shape.M {
            for j in 0..<problem.shape.N {
              let (value, magnitude) = problem.expected(t, i, j)
              let error = abs(Double(result[problem.place(t, i, j)]) - value)
              #expect(error <= 1e-6 * magnitude, "\(problem.shape) at \(t), \(i), \(j)")
            }
          }
        }
      }
    }
  }

  @Test func everyWidthUpToTwoTilesGivesTheReferencesBits() throws {
    for N in 1...66 {
      try expectAllGemmRowsAgree(GemmCase(M: N % 5 * 4 + 1, N: N, K: N % 7 * 5 + 1, gap: N % 3))
    }
  }

  @Test func everyHeightUpToTwoTilesGivesTheReferencesBits() throws {
    for M in 1...30 {
      try expectAllGemmRowsAgree(GemmCase(M: M, N: 37, K: 11, transposeA: M % 2 == 0, gap: 1))
    }
  }

  @Test func everyDepthAroundTheBlocksGivesTheReferencesBits() throws {
    for K in [0, 1, 7, 8, 9, 15, 16, 17, 511, 512, 513, 520, 1024, 1025, 1537] {
      for transposes in [false, true] {
        try expectAllGemmRowsAgree(
          GemmCase(
            M: 9, N: 21, K: K, transposeA: !transposes, transposeB: transposes, accumulates: true,
            hasBias: true),
          threads: [1, 2])
      }
    }
  }

  @Test func everyTransposeStrideAndOptionGivesTheReferencesBits() throws {
    for options in 0..<256 {
      func bit(_ index: Int) -> Bool { options >> index & 1 == 1 }
      try expectAllGemmRowsAgree(
        GemmCase(
          M: 29 + options % 3, N: 34 + options % 5, K: 19, transposeA: bit(0), transposeB: bit(1),
          gap: bit(2) ? 3 : 0, step: bit(3) ? 2 : 1, matrices: bit(4) ? 3 : 1, sharesB: bit(4),
          alpha: bit(5) ? -1.5 : 1, accumulates: bit(6), hasBias: bit(7), hasReLU: bit(5),
          isPacked: bit(2)), threads: [1, 7])
    }
  }

  @Test func combinedProductsAgreeWithLoopsInDouble() throws {
    for combination in [CK_ADD, CK_GATE] {
      for options in 0..<4 {
        var shape = GemmCase(M: 5, N: 4, K: 9, gap: 2, matrices: 3, hasBias: options & 1 != 0)
        (shape.hasReLU, shape.combination) = (options & 2 != 0, combination)
        let problem = GemmProblem(shape)
        let result = try problem.run(gemmRows.last!, threads: 1)
        for (t, i, j) in (0..<60).map({ ($0 / 20, $0 / 4 % 5, $0 % 4) }) {
          let (value, magnitude) = problem.expected(t, i, j)
          let error = abs(Double(result[problem.place(t, i, j)]) - value)
          #expect(error <= 1e-6 * magnitude, "\(shape) at \(t), \(i), \(j)")
        }
      }
    }
  }

  /// All tails of the tiles, sums of one block and of several, few rows, many blocks of rows.
  @Test func combinedProductsGiveTheReferencesBits() throws {
    for combination in [CK_ADD, CK_GATE] {
      for N in 2...66 {
        try expectAllGemmRowsAgree(
          GemmCase(
            M: N % 29 + 2, N: N, K: N % 7 * 5 + 1, transposeB: N % 2 == 0, gap: N % 3,
            hasBias: N % 4 == 0, hasReLU: N % 3 == 0, combination: combination), threads: [1, 7])
      }
      for (M, N, K) in [(300, 330, 10), (290, 70, 530), (6, 200, 1030), (29, 1030, 33)] {
        for isPacked in [false, true] {
          try expectAllGemmRowsAgree(
            GemmCase(
              M: M, N: N, K: K, matrices: 2, hasBias: true, isPacked: isPacked,
              combination: combination))
        }
      }
    }
  }

  @Test func updatesWithMomentumAgreeWithLoopsInDouble() throws {
    let problem = GemmProblem(
      GemmCase(M: 5, N: 4, K: 9, gap: 2, hasBias: true, combination: CK_MOMENTUM))
    let result = try problem.run(gemmRows.last!, threads: 1)
    let (velocities, weights) = (result.prefix(result.count / 2), result.suffix(result.count / 2))
    for (i, j) in (0..<20).map({ ($0 / 4, $0 % 4) }) {
      let (value, magnitude) = problem.expected(0, i, j)
      let place = problem.place(0, i, j)
      #expect(abs(Double(velocities[place]) - value) <= 1e-6 * magnitude)
      let weight = Double(problem.weight[problem.otherPlace(0, i, j)]) - Double(gemmRate[0]) * value
      #expect(abs(Double(weights[weights.startIndex + place]) - weight) <= 1e-6 * magnitude)
    }
  }

  /// All tails of the tiles, few rows, many blocks of rows; B packed on the way, before, or in place.
  @Test func updatesWithMomentumGiveTheReferencesBits() throws {
    for N in 2...66 {
      try expectAllGemmRowsAgree(
        GemmCase(
          M: N % 29 + 2, N: N, K: N % 7 * 5 + 1, transposeA: N % 2 == 0, gap: N % 3,
          hasBias: N % 4 == 0, combination: CK_MOMENTUM), threads: [1, 7])
    }
    for (M, N, K) in [(300, 330, 10), (128, 784, 64), (6, 200, 30), (29, 1030, 512)] {
      for isPacked in [false, true] {
        try expectAllGemmRowsAgree(
          GemmCase(
            M: M, N: N, K: K, transposeA: true, isPacked: isPacked,
            combination: CK_MOMENTUM))
      }
    }
  }

  @Test func updatesAreOfOneMatrixAndOneBlock() {
    var args = ck_gemm_args()
    (args.M, args.N, args.K) = (8, 8, 512)
    args.batch = (1, 1, 1, 1, 1, 1)
    args.epilogue.combination = Int32(CK_MOMENTUM.rawValue)
    #expect(
      ck_gemm_combines(&args, false, CK_ISA_REF) && ck_gemm_combines(&args, false, CK_ISA_AVX2))
    args.K = 520
    #expect(!ck_gemm_combines(&args, false, CK_ISA_AVX2))
    args.K = 512
    args.batch.3 = 2
    #expect(!ck_gemm_combines(&args, false, CK_ISA_AVX2))
    args.batch.3 = 1
    args.epilogue.relu = 1
    #expect(!ck_gemm_combines(&args, false, CK_ISA_AVX2))
  }

  @Test func packedPathsGiveTheReferencesBits() throws {
    for shape in [
      GemmCase(M: 300, N: 290, K: 40), GemmCase(M: 290, N: 300, K: 530, transposeB: true),
      GemmCase(M: 64, N: 300, K: 600, transposeA: true, isPacked: true),
      GemmCase(M: 30, N: 1100, K: 17, hasReLU: true), GemmCase(M: 40, N: 10, K: 1024),
      GemmCase(M: 400, N: 1, K: 70), GemmCase(M: 1, N: 400, K: 70, transposeB: true),
    ] { try expectAllGemmRowsAgree(shape) }
  }

  /// Tiles of every height pack A's contiguous columns a few steps at a time, where steps lie far apart.
  // Which are read in place, a few at a time or packed, as the ways of the first cache say.
  @Test func rowsPartsOfAPageApartGiveTheReferencesBits() throws {
    #expect((4...64).contains(ck_first_cache_ways()))
    for K in [256, 512, 1024] {
      for (N, transposes) in [(20, false), (70, false), (270, false), (270, true)] {
        try expectAllGemmRowsAgree(
          GemmCase(M: transposes ? K : 31, N: N, K: transposes ? 31 : K, transposeA: transposes),
          threads: [1, 2])
      }
    }
  }

  @Test func transposedLeftOperandsArePackedInSteps() throws {
    for M in 2...31 {
      try expectAllGemmRowsAgree(
        GemmCase(M: M, N: 260, K: [15, 16, 17, 33][M % 4], transposeA: true, gap: 510 + M % 3),
        threads: [1, 2])
    }
  }

  /// The first tile of a panel reads B in place and copies it for the tiles below.
  @Test func firstTilesPackTheRightOperand() throws {
    for (M, N, K) in [
      (29, 32, 9), (30, 33, 40), (31, 64, 1), (43, 47, 17), (57, 96, 515), (300, 128, 20),
      (290, 1056, 33),
    ] {
      try expectAllGemmRowsAgree(GemmCase(M: M, N: N, K: K, gap: K % 2, accumulates: true))
      try expectAllGemmRowsAgree(GemmCase(M: M, N: N, K: K, transposeA: true, matrices: 2))
    }
  }

  @Test func manySmallMatricesGiveTheReferencesBits() throws {
    for matrices in [2, 5, 16] {
      try expectAllGemmRowsAgree(GemmCase(M: 6, N: 20, K: 5, transposeB: true, matrices: matrices))
      try expectAllGemmRowsAgree(
        GemmCase(M: 1, N: 33, K: 5, matrices: matrices, sharesB: true, isPacked: true))
    }
  }

  @Test func emptyProductsWriteNothingAndEmptySumsWriteZero() throws {
    for shape in [
      GemmCase(M: 0, N: 5, K: 3), GemmCase(M: 5, N: 0, K: 3),
      GemmCase(M: 2, N: 2, K: 2, matrices: 0),
    ] {
      try expectAllGemmRowsAgree(shape, threads: [1, 2])
    }
    let problem = GemmProblem(GemmCase(M: 2, N: 3, K: 0))
    for row in gemmRows {
      let result = try problem.run(row, threads: 1)
      #expect((0..<6).allSatisfy { result[gemmMargin + $0] == 0 })
    }
  }

  @Test func notANumberAndInfinityTakeTheirCourse() throws {
    for (special, other) in [(Float.nan, Float(2)), (.infinity, 0), (.infinity, 3)] {
      var problem = GemmProblem(GemmCase(M: 17, N: 35, K: 20, hasReLU: true))
      problem.a[1 + 3 * 20 + 5] = special
      for j in 0..<35 { problem.b[1 + 5 * 35 + j] = other }
      for row in gemmRows {
        let result = try problem.run(row, threads: 2)
        for i in 0..<17 {
          for j in 0..<35 {
            let value = result[problem.place(0, i, j)]
            if i == 3 {
              #expect(other == 3 ? value == .infinity : value.isNaN, "\(gemmName(row))")
            } else {
              #expect(value.isFinite, "\(gemmName(row)): row \(i) saw row 3's \(special)")
            }
          }
        }
      }
    }
  }

  @Test func blocksOfKAreEqualAndAtMost512() {
    for K in 1...3000 {
      let block = Int(ck_gemm_k_block(Int64(K)))
      #expect(block <= 512 && block >= 1)
      let blocks = (K + block - 1) / block
      #expect(blocks == (K + 511) / 512, "K \(K) is cut into blocks of \(block)")
    }
  }
}
