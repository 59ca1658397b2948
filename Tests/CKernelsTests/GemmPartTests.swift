// What every row says that a thread writes, against what the thread writes when it is alone.

import CKernels
import Testing

/// The rows that this machine runs, the emulated ones among them.
private nonisolated(unsafe) let rows: [ck_gemm_row] = {
  var count = 0
  let table = ck_gemm_rows(&count)!
  return (0..<count).map { table[$0] }.filter {
    ($0.emulated ? CK_ISA_AVX512 : $0.isa).rawValue <= ck_isa_best().rawValue
  }
}()

/// Each thread writes its part and nothing else, the bits that the whole team gives there; the parts
/// of a team are disjoint and cover C.
private func expectPartsHold(_ problem: TypedProblem, teams: [Int] = [1, 2, 3, 7]) throws {
  for row in rows {
    let whole = try problem.run(row, threads: 1)
    for threads in teams {
      var covered = problem.before
      var count = 0
      for thread in 0..<threads {
        var expected = problem.before
        for run in problem.part(row, thread: thread, of: threads) {
          expected.replaceSubrange(run, with: whole[run])
          covered.replaceSubrange(run, with: whole[run])
          count += run.count
        }
        let result = try problem.run(row, threads: threads, lone: thread)
        #expect(
          result == expected,
          "\(gemmName(row)), \(problem.shape): not the part of thread \(thread) of \(threads)")
      }
      let shape = problem.shape
      #expect(
        covered == whole && count == shape.matrices * shape.M * shape.N,
        "\(gemmName(row)), \(shape): not all of C, or some of it twice, by \(threads) threads")
    }
  }
}

private func expectPartsHold(_ shape: TypedProduct, teams: [Int] = [1, 2, 3, 7]) throws {
  try expectPartsHold(TypedProblem(shape), teams: teams)
}

private let kinds = [
  (CK_F32, CK_F32, CK_F32), (CK_BF16, CK_BF16, CK_BF16), (CK_F32, CK_BF16, CK_F32),
  (CK_F16, CK_F32, CK_BF16),
]

@Suite struct GemmPartTests {
  /// Where layers around them are cut by columns too, nothing crosses between threads.
  @Test func fewRowsStayTogetherWhereThereAreColumnsForAll() {
    func part(_ columns: Int64, _ threads: Int32) -> ck_gemm_part {
      var args = ck_gemm_args()
      (args.M, args.N, args.K) = (10, columns, 64)
      (args.a_row, args.a_col, args.b_row, args.b_col) = (1, 10, columns, 1)
      args.batch = (1, 1, 1, 1, 1, 1)
      return ck_gemm_part_of(&args, CK_ISA_AVX512, 0, threads)
    }
    let wide = part(128, 2)
    #expect(wide.row == 0 && wide.row_end == 10 && wide.column == 0 && wide.column_end == 64)
    #expect(part(16, 2).row_end == 5)
    #expect(part(128, 7).row_end < 10)
  }

  @Test func threadsWriteTheirPartsOfOneMatrix() throws {
    for (M, N, K) in [
      (1, 1, 1), (1, 70, 9), (70, 1, 9), (5, 7, 3), (31, 33, 20), (33, 65, 40), (64, 128, 33),
      (130, 10, 17), (10, 300, 8), (97, 97, 34),
    ] {
      for (a, b, c) in kinds {
        var shape = TypedProduct(M: M, N: N, K: K, a: a, b: b, c: c)
        try expectPartsHold(shape, teams: [2, 3, 7])
        shape.precision = CK_GEMM_MIXED
        try expectPartsHold(shape, teams: [2])
        shape.isPacked = true
        try expectPartsHold(shape, teams: [3])
      }
    }
  }

  @Test func threadsWriteTheirPartsOfManyMatrices() throws {
    for (matrices, M, N, K) in [(2, 1, 40, 5), (3, 40, 1, 6), (5, 33, 20, 7), (2, 70, 90, 12)] {
      for (a, b, c) in kinds {
        var shape = TypedProduct(
          M: M, N: N, K: K, a: a, b: b, c: c, precision: CK_GEMM_MIXED, matrices: matrices)
        try expectPartsHold(shape)
        (shape.transposeB, shape.gap, shape.hasBias) = (true, 3, true)
        try expectPartsHold(shape, teams: [3, 7])
      }
    }
  }

  @Test func oneColumnThatIsBetterTransposed() throws {
    // Vectors lie along the rows of C, over the bounds of matrices.
    for matrices in [1, 2, 3, 7] {
      for M in [2, 15, 16, 17, 100, 1100] {
        try expectPartsHold(
          TypedProduct(
            M: M, N: 1, K: 6, a: CK_BF16, b: CK_BF16, c: CK_BF16, matrices: matrices,
            sharesB: matrices == 3))
      }
    }
  }

  @Test func guardsThatTripMoveNothing() throws {
    // By tiles or by multiply-adds: panel by panel, whichever, the same thread writes.
    for (precision, isPacked) in [(CK_GEMM_HIGHEST, false), (CK_GEMM_HIGH, true)] {
      let problem = TypedProblem(
        TypedProduct(M: 130, N: 100, K: 40, precision: precision, isPacked: isPacked))
      problem.a[problem.placeInA(40, 7)] = .infinity
      problem.a[problem.placeInA(129, 3)] = 1e-38
      problem.b[problem.placeInB(2, 70)] = 1e-37
      try expectPartsHold(problem)
    }
  }

  @Test func partsAndScratchDoNotWaitForTheBias() throws {
    // A plan asks before it binds pointers.
    for (M, N) in [(300, 1), (1, 300), (40, 50)] {
      var shape = TypedProduct(M: M, N: N, K: 700, a: CK_BF16, b: CK_BF16, c: CK_BF16)
      shape.hasBias = true
      let bound = TypedProblem(shape)
      shape.hasBias = false
      let open = TypedProblem(shape)
      for row in rows {
        #expect(bound.scratchBytes(row) == open.scratchBytes(row), "\(gemmName(row)), \(shape)")
        for thread in 0..<3 {
          #expect(
            bound.part(row, thread: thread, of: 3) == open.part(row, thread: thread, of: 3),
            "\(gemmName(row)), \(shape)")
        }
      }
    }
  }

  @Test func emptyProductsHaveEmptyParts() throws {
    for (M, N, matrices) in [(0, 5, 1), (5, 0, 1), (4, 1, 0), (3, 3, 0)] {
      try expectPartsHold(
        TypedProduct(M: M, N: N, K: 3, a: CK_BF16, b: CK_BF16, c: CK_BF16, matrices: matrices))
    }
  }
}
