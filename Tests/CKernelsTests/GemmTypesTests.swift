// Products of bf16 and f16 operands and results, and of rounded operands: every row of the list
// against double, the levels of fused multiply-adds against the reference bit for bit, and every row
// against itself on 1, 2 and 7 threads.

import CKernels
import Testing

/// The rows that this machine runs, the emulated ones among them, the reference last. A constant
/// table, so any thread may read it.
private nonisolated(unsafe) let rows: [ck_gemm_row] = {
  var count = 0
  let table = ck_gemm_rows(&count)!
  return (0..<count).map { table[$0] }.filter {
    ($0.emulated ? CK_ISA_AVX512 : $0.isa).rawValue <= ck_isa_best().rawValue
  }
}()

private func name(_ row: ck_gemm_row) -> String { String(cString: row.name) }

/// Whether the row computes as the reference does: the levels up to avx512 always.
private func isByFusedMultiplyAdds(_ row: ck_gemm_row) -> Bool {
  row.isa.rawValue <= CK_ISA_AVX512.rawValue
}

private func expectAllRowsAgree(_ shape: TypedProduct, threads: [Int] = [1, 2, 7]) throws {
  let problem = TypedProblem(shape)
  let reference = try problem.run(rows.last!, threads: 1)
  problem.expectClose(reference, "reference")
  for row in rows {
    let first = try problem.run(row, threads: threads[0])
    if isByFusedMultiplyAdds(row) {
      #expect(first == reference, "\(name(row)), \(shape): other bits than the reference")
    } else {
      problem.expectClose(first, name(row))
    }
    for count in threads.dropFirst() {
      let result = try problem.run(row, threads: count)
      #expect(result == first, "\(name(row)), \(shape): other bits with \(count) threads")
    }
  }
}

private let types = [CK_F32, CK_BF16, CK_F16]

@Suite struct GemmTypesTests {
  @Test func emulatedRowsAreNeverChosen() {
    for row in rows where row.emulated {
      for level in CK_ISA_REF.rawValue..<CK_ISA_COUNT.rawValue {
        let chosen = unsafeBitCast(ck_gemm(ck_isa(rawValue: level)), to: Int.self)
        #expect(chosen != unsafeBitCast(row.kernel, to: Int.self))
      }
    }
  }

  @Test func everyTripleOfPrecisionAndShapeOfPanels() throws {
    for precision in [CK_GEMM_HIGHEST, CK_GEMM_HIGH, CK_GEMM_MIXED] {
      for (M, N, K) in [(1, 1, 1), (31, 32, 33), (33, 31, 64), (64, 65, 95), (200, 40, 530)] {
        for isPacked in [false, true] {
          try expectAllRowsAgree(
            TypedProduct(
              M: M, N: N, K: K, precision: precision, transposeA: isPacked, transposeB: !isPacked,
              accumulates: true, isPacked: isPacked))
        }
      }
    }
  }

  @Test func everyTripleOfTypesAndPrecision() throws {
    for a in types {
      for b in types {
        for c in types {
          for precision in [CK_GEMM_HIGHEST, CK_GEMM_HIGH, CK_GEMM_MIXED] {
            var shape = TypedProduct(M: 17, N: 37, K: 21, a: a, b: b, c: c, precision: precision)
            try expectAllRowsAgree(shape, threads: [1, 2])
            shape.isPacked = true
            shape.transposeA = true
            try expectAllRowsAgree(shape, threads: [1, 2])
          }
        }
      }
    }
  }

  @Test func everyTransposeStrideAndOption() throws {
    for options in 0..<256 {
      func bit(_ index: Int) -> Bool { options >> index & 1 == 1 }
      try expectAllRowsAgree(
        TypedProduct(
          M: 13 + options % 6, N: 30 + options % 5, K: 18 + options % 3,
          a: bit(0) ? CK_BF16 : CK_F32, b: bit(1) ? CK_BF16 : CK_F32, c: bit(2) ? CK_BF16 : CK_F32,
          precision: CK_GEMM_MIXED, transposeA: bit(3), transposeB: bit(4), gap: bit(5) ? 3 : 0,
          step: bit(6) ? 2 : 1, matrices: bit(5) ? 2 : 1, sharesB: bit(6), alpha: bit(3) ? -1.5 : 1,
          accumulates: bit(4), hasBias: bit(5), hasReLU: bit(6), isPacked: bit(7)), threads: [1, 7])
    }
  }

  @Test func everyWidthUpToTwoTiles() throws {
    for N in 1...66 {
      try expectAllRowsAgree(
        TypedProduct(
          M: N % 5 * 4 + 1, N: N, K: N % 7 * 5 + 1, a: CK_BF16, b: CK_BF16, c: CK_BF16, gap: N % 3,
          hasBias: true), threads: [1, 2])
    }
  }

  @Test func everyHeightUpToTwoTiles() throws {
    for M in 1...34 {
      try expectAllRowsAgree(
        TypedProduct(
          M: M, N: 37, K: 11, a: CK_BF16, b: CK_F32, c: CK_F32, precision: CK_GEMM_MIXED,
          transposeA: M % 2 == 0, gap: 1), threads: [1, 2])
    }
  }

  @Test func everyDepthAroundTheBlocks() throws {
    for K in [0, 1, 2, 31, 32, 33, 63, 64, 65, 511, 512, 513, 1023, 1024, 1025, 2049] {
      for isNarrow in [false, true] {
        try expectAllRowsAgree(
          TypedProduct(
            M: 5, N: 19, K: K, a: CK_BF16, b: CK_BF16, c: isNarrow ? CK_BF16 : CK_F32,
            transposeA: isNarrow, transposeB: !isNarrow, accumulates: !isNarrow, hasBias: true,
            isPacked: K % 2 == 0), threads: [1, 2])
      }
    }
  }

  @Test func productsOfManyBlocks() throws {
    for shape in [
      TypedProduct(M: 300, N: 40, K: 20, a: CK_BF16, b: CK_BF16, c: CK_BF16),
      TypedProduct(M: 20, N: 1100, K: 17, a: CK_BF16, b: CK_BF16, c: CK_F16, hasReLU: true),
      TypedProduct(M: 150, N: 70, K: 1030, a: CK_BF16, b: CK_BF16, c: CK_BF16, isPacked: true),
      TypedProduct(M: 290, N: 1, K: 70, a: CK_BF16, b: CK_BF16, c: CK_BF16),
      TypedProduct(M: 1, N: 290, K: 70, a: CK_BF16, b: CK_BF16, c: CK_BF16, transposeB: true),
    ] { try expectAllRowsAgree(shape) }
  }

  /// A's rows lie as words: the pairs' level reads them in place, lanes along K up to eight columns.
  @Test func fewColumnsOfAlignedRows() throws {
    for N in 1...9 {
      for (M, K) in [(1, 2), (5, 30), (33, 64), (6, 2110), (300, 34)] {
        for options in 0..<8 {
          try expectAllRowsAgree(
            TypedProduct(
              M: M, N: N, K: K, a: CK_BF16, b: options & 2 != 0 ? CK_F32 : CK_BF16,
              c: options & 1 != 0 ? CK_F32 : CK_BF16, transposeB: options & 2 != 0, gap: 2,
              matrices: M < 40 ? 2 : 1, accumulates: options & 4 != 0, hasBias: options == 3,
              hasReLU: options == 5, isPacked: options & 4 != 0, alignsA: true), threads: [1, 2])
        }
      }
    }
  }

  /// All tails of the tiles, and sums of one block and of several, which C is written after.
  @Test func pairsMeetAnotherMatrixInRegisters() throws {
    var shapes: [TypedProduct] = []
    for N in 2...66 {
      shapes.append(
        TypedProduct(
          M: N % 29 + 2, N: N, K: N % 7 * 5 + 1, transposeB: N % 2 == 0, gap: N % 3,
          alpha: N % 5 == 0 ? -1.5 : 1, hasBias: N % 4 == 0, hasReLU: N % 3 == 0))
    }
    for (M, N, K) in [(150, 33, 10), (16, 35, 2060), (145, 3, 2060), (3, 600, 33)] {
      for options in 0..<4 {
        shapes.append(
          TypedProduct(
            M: M, N: N, K: K, matrices: 2, accumulates: options & 1 != 0, hasBias: true,
            isPacked: options & 2 != 0))
      }
    }
    for (index, shape) in shapes.enumerated() {
      for (c, other) in [
        (CK_F32, CK_F32), (CK_F32, CK_BF16), (CK_BF16, CK_F32), (CK_BF16, CK_BF16),
      ] {
        var shape = shape
        (shape.a, shape.b, shape.c, shape.other) = (CK_BF16, CK_BF16, c, other)
        shape.combination = index % 2 == 0 ? CK_ADD : CK_GATE
        shape.isInPlace = c == CK_BF16 && other == CK_BF16 && index % 3 == 0 && !shape.accumulates
        let problem = TypedProblem(shape)
        for row in rows where problem.combines(row) {
          let first = try problem.run(row, threads: 1)
          problem.expectClose(first, name(row))
          #expect(try problem.run(row, threads: 7) == first, "\(name(row)), \(shape)")
        }
      }
    }
  }

  /// Where pairs are fast they meet what f32 and bf16 results may; nothing else does.
  @Test func onlyWhatTilesCanCombineIsTaken() {
    for c in types {
      for other in types {
        var shape = TypedProduct(M: 17, N: 37, K: 40, a: CK_BF16, b: CK_BF16, c: c)
        (shape.combination, shape.other) = (CK_ADD, other)
        let problem = TypedProblem(shape)
        for row in rows where problem.combines(row) {
          #expect(row.isa == CK_ISA_AVX512BF16 && c != CK_F16 && other != CK_F16, "\(name(row))")
        }
        if ck_multiplies_bf16_pairs_fast(), c != CK_F16, other != CK_F16,
          ck_isa_best().rawValue == CK_ISA_AVX512BF16.rawValue
        {
          #expect(rows.contains { problem.combines($0) }, "\(shape)")
        }
      }
    }
  }

  @Test func manySmallMatrices() throws {
    for matrices in [2, 5, 16] {
      try expectAllRowsAgree(
        TypedProduct(
          M: 6, N: 20, K: 5, a: CK_BF16, b: CK_BF16, c: CK_BF16, transposeB: true,
          matrices: matrices))
    }
  }

  @Test func emptyProductsWriteNothing() throws {
    for shape in [
      TypedProduct(M: 0, N: 5, K: 3, a: CK_BF16, b: CK_BF16, c: CK_BF16),
      TypedProduct(M: 5, N: 0, K: 3, a: CK_BF16, b: CK_BF16, c: CK_BF16),
      TypedProduct(M: 2, N: 2, K: 2, a: CK_BF16, b: CK_BF16, c: CK_BF16, matrices: 0),
    ] { try expectAllRowsAgree(shape, threads: [1, 2]) }
  }

  @Test func resultsAreRoundedToTheNearestEven() throws {
    // 1 + 2^-8 lies half way between two bf16: to 1, which is even; 1 + 3 * 2^-8 to 1 + 2^-6.
    for (value, bits) in [(1 + 0x1p-8, 0x3f80), (1 + 3 * 0x1p-8, 0x3f82), (1 + 0x1p-7, 0x3f81)] {
      let problem = TypedProblem(
        TypedProduct(M: 1, N: 1, K: 1, a: CK_F32, b: CK_F32, c: CK_BF16), fill: false)
      problem.a[0] = value
      problem.b[0] = 1
      for row in rows {
        #expect(
          try problem.run(row, threads: 1)[problem.place(0, 0, 0)] == UInt32(bits), "\(name(row))")
      }
    }
  }

  @Test func notANumberAndInfinityTakeTheirCourse() throws {
    for (special, other) in [(Double.nan, 2.0), (.infinity, 0), (.infinity, 3)] {
      for precision in [CK_GEMM_HIGHEST, CK_GEMM_HIGH, CK_GEMM_MIXED] {
        for isPacked in [false, true] {
          var shape = TypedProduct(M: 17, N: 35, K: 20, precision: precision, isPacked: isPacked)
          for narrow in [false, true] {
            if narrow { (shape.a, shape.b, shape.c) = (CK_BF16, CK_BF16, CK_BF16) }
            let problem = TypedProblem(shape)
            problem.a[problem.placeInA(3, 5)] = special
            for j in 0..<35 { problem.b[problem.placeInB(5, j)] = other }
            for row in rows {
              let result = try problem.run(row, threads: 2)
              for i in 0..<17 {
                for j in 0..<35 {
                  let value = TypedElements.value(result[problem.place(0, i, j)], shape.c)
                  if i == 3 {
                    #expect(other == 3 ? value == .infinity : value.isNaN, "\(name(row)), \(shape)")
                  } else {
                    #expect(value.isFinite, "\(name(row)): row \(i) saw row 3's \(special)")
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}
