// The matrix products: the reference against plain loops in double, every other row of the list
// against the reference bit for bit, over all tails of the tiles, strides, epilogues and teams.

import CKernels
import Testing

/// A product's shape, strides and options; what is not said is dense and plain.
private struct Case: CustomStringConvertible {
  var M: Int, N: Int, K: Int
  var transposeA = false
  var transposeB = false
  /// Elements between a matrix's rows beyond its width.
  var gap = 0
  /// Distance of neighbouring elements in a row of A and B.
  var step = 1
  var matrices = 1
  /// Whether all matrices share one B.
  var sharesB = false
  var alpha: Float = 1
  var accumulates = false
  var hasBias = false
  var hasReLU = false
  var isPacked = false

  var description: String {
    "\(M)x\(N)x\(K) \(transposeA ? "T" : "N")\(transposeB ? "T" : "N") gap \(gap) step \(step)"
      + " matrices \(matrices) alpha \(alpha) accumulates \(accumulates) bias \(hasBias)"
      + " relu \(hasReLU) packed \(isPacked)"
  }
}

/// Reproducible numbers in -1 ..< 1.
private struct Noise {
  var state: UInt64

  mutating func next() -> Float {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Float(Int32(truncatingIfNeeded: state >> 33) & 0xff_ffff) / 0x80_0000 - 1
  }

  mutating func array(_ count: Int) -> [Float] { (0..<count).map { _ in next() } }
}

private let canary: Float = -12345.5
/// Floats kept free before and after C.
private let margin = 19

/// The operands of a case; all begin one float off any alignment.
private struct Problem {
  let shape: Case
  var a: [Float]
  var b: [Float]
  var bias: [Float]
  var c: [Float]
  let aWidth: Int, bWidth: Int, cWidth: Int
  let aSize: Int, bSize: Int, cSize: Int

  init(_ shape: Case) {
    self.shape = shape
    aWidth = ((shape.transposeA ? shape.M : shape.K) + shape.gap) * shape.step
    bWidth = ((shape.transposeB ? shape.K : shape.N) + shape.gap) * shape.step
    cWidth = shape.N + shape.gap
    aSize = aWidth * (shape.transposeA ? shape.K : shape.M)
    bSize = bWidth * (shape.transposeB ? shape.N : shape.K)
    cSize = cWidth * shape.M
    var noise = Noise(state: UInt64(shape.M * 7919 + shape.N * 104_729 + shape.K + 1))
    a = noise.array(aSize * shape.matrices + 1)
    b = noise.array(bSize * (shape.sharesB ? 1 : shape.matrices) + 1)
    bias = noise.array(shape.N + 1)
    c = [Float](repeating: canary, count: cSize * shape.matrices + 2 * margin)
    for t in 0..<shape.matrices {
      for i in 0..<shape.M {
        for j in 0..<shape.N { c[place(t, i, j)] = noise.next() }
      }
    }
  }

  func place(_ t: Int, _ i: Int, _ j: Int) -> Int { margin + t * cSize + i * cWidth + j }

  /// C as the row computes it on a team of that size, all of its buffer.
  func run(_ row: ck_gemm_row, threads: Int) throws -> [Float] {
    var result = c
    var packed = [Float]()
    if shape.isPacked {
      packed = [Float](
        repeating: .nan,
        count: Int(ck_gemm_packed_floats(Int64(shape.K), Int64(shape.N), row.isa)) * shape.matrices
          + 16)
    }
    let team = try #require(ck_team_create(Int32(threads), 64))
    defer { ck_team_destroy(team) }
    try a.withUnsafeBufferPointer { a in
      try b.withUnsafeBufferPointer { b in
        try bias.withUnsafeBufferPointer { bias in
          try result.withUnsafeMutableBufferPointer { c in
            try packed.withUnsafeMutableBufferPointer { packed in
              var args = arguments(a: a, b: b, bias: bias, c: c)
              if shape.isPacked { pack(&args, into: packed, row, team) }
              let scratch = ck_gemm_scratch_bytes(&args, row.isa)
              try #require(ck_team_reserve_scratch(team, scratch))
              #expect(ck_gemm_workspace_bytes(&args, row.isa) == 0)
              withUnsafePointer(to: &args) { args in
                var step = ck_step(kernel: row.kernel, args: args, threads: 0, barrier: 1)
                ck_run(team, &step, 1)
              }
            }
          }
        }
      }
    }
    return result
  }

  private func arguments(
    a: UnsafeBufferPointer<Float>, b: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>,
    c: UnsafeMutableBufferPointer<Float>
  ) -> ck_gemm_args {
    var args = ck_gemm_args()
    args.a = a.baseAddress! + 1
    args.b = b.baseAddress! + 1
    args.c = c.baseAddress! + margin
    args.bias = shape.hasBias ? bias.baseAddress! + 1 : nil
    (args.M, args.N, args.K) = (Int64(shape.M), Int64(shape.N), Int64(shape.K))
    (args.a_row, args.a_col) = (Int64(aWidth), Int64(shape.step))
    if shape.transposeA { swap(&args.a_row, &args.a_col) }
    (args.b_row, args.b_col) = (Int64(bWidth), Int64(shape.step))
    if shape.transposeB { swap(&args.b_row, &args.b_col) }
    args.c_row = Int64(cWidth)
    args.batch = (1, Int64(shape.matrices), 1, 1, 1, 1)
    args.a_batch.1 = Int64(aSize)
    args.b_batch.1 = shape.sharesB ? 0 : Int64(bSize)
    args.c_batch.1 = Int64(cSize)
    args.alpha = shape.alpha
    args.accumulate = shape.accumulates ? 1 : 0
    args.relu = shape.hasReLU ? 1 : 0
    return args
  }

  private func pack(
    _ args: inout ck_gemm_args, into packed: UnsafeMutableBufferPointer<Float>, _ row: ck_gemm_row,
    _ team: OpaquePointer
  ) {
    let size = Int64(ck_gemm_packed_floats(args.K, args.N, row.isa))
    let address = (Int(bitPattern: packed.baseAddress!) + 63) & ~63
    var pack = ck_gemm_pack_args()
    pack.packed = UnsafeMutablePointer(bitPattern: address)
    pack.b = args.b
    (pack.K, pack.N) = (args.K, args.N)
    (pack.b_row, pack.b_col) = (args.b_row, args.b_col)
    pack.count = shape.sharesB ? 1 : Int64(shape.matrices)
    pack.b_batch = args.b_batch.1
    withUnsafePointer(to: &pack) { pack in
      var step = ck_step(kernel: ck_gemm_pack_b(row.isa), args: pack, threads: 0, barrier: 1)
      ck_run(team, &step, 1)
    }
    args.b = UnsafePointer(pack.packed)
    args.b_packed = 1
    args.b_batch.1 = shape.sharesB ? 0 : size
  }

  /// C in double, and the sum of the absolute products of each element.
  func expected(_ t: Int, _ i: Int, _ j: Int) -> (value: Double, magnitude: Double) {
    var sum = 0.0
    var magnitude = 0.0
    let aBase = 1 + t * aSize, bBase = 1 + (shape.sharesB ? 0 : t * bSize)
    for p in 0..<shape.K {
      let (ai, ap) = shape.transposeA ? (shape.step, aWidth) : (aWidth, shape.step)
      let (bp, bj) = shape.transposeB ? (shape.step, bWidth) : (bWidth, shape.step)
      let product =
        Double(a[aBase + i * ai + p * ap]) * Double(b[bBase + p * bp + j * bj])
      sum += product
      magnitude += abs(product)
    }
    sum *= Double(shape.alpha)
    if shape.accumulates { sum += Double(c[place(t, i, j)]) }
    if shape.hasBias { sum += Double(bias[1 + j]) }
    return (shape.hasReLU ? max(0, sum) : sum, magnitude * abs(Double(shape.alpha)) + 1)
  }
}

/// The rows that this machine runs, the reference last. A constant table, so any thread may read it.
private nonisolated(unsafe) let rows: [ck_gemm_row] = {
  var count = 0
  let table = ck_gemm_rows(&count)!
  return (0..<count).map { table[$0] }.filter { $0.isa.rawValue <= ck_isa_best().rawValue }
}()

private func name(_ row: ck_gemm_row) -> String { String(cString: row.name) }

/// Every row gives the reference's bits on 1, 2 and 7 threads, and nothing outside C is written.
private func expectAllRowsAgree(_ shape: Case, threads: [Int] = [1, 2, 7]) throws {
  let problem = Problem(shape)
  let reference = try problem.run(rows.last!, threads: 1).map(\.bitPattern)
  for row in rows where row.consistent {
    for count in threads {
      let result = try problem.run(row, threads: count).map(\.bitPattern)
      let place = zip(result, reference).enumerated().first { $0.element.0 != $0.element.1 }?.offset
      #expect(
        place == nil, "\(name(row)), \(count) threads, \(shape): element \(place ?? 0) differs")
    }
  }
}

@Suite struct GemmKernelTests {
  @Test func listEndsWithTheReferenceAndNamesItsRows() {
    #expect(rows.last.map(name) == "ck_gemm_f32_ref")
    #expect(rows.last?.isa == CK_ISA_REF)
    #expect(Set(rows.map(name)).count == rows.count)
  }

  @Test func referenceAgreesWithLoopsInDouble() throws {
    var shapes = [Case(M: 3, N: 5, K: 7), Case(M: 2, N: 3, K: 0), Case(M: 4, N: 6, K: 1030)]
    shapes.append(Case(M: 5, N: 4, K: 9, transposeA: true, gap: 2, matrices: 3))
    shapes.append(Case(M: 5, N: 4, K: 9, transposeB: true, step: 2, matrices: 2, sharesB: true))
    for index in shapes.indices {
      for options in 0..<16 {
        shapes[index].alpha = options & 1 == 0 ? 1 : 0.75
        shapes[index].accumulates = options & 2 != 0
        shapes[index].hasBias = options & 4 != 0
        shapes[index].hasReLU = options & 8 != 0
        let problem = Problem(shapes[index])
        let result = try problem.run(rows.last!, threads: 1)
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
      try expectAllRowsAgree(Case(M: N % 5 * 4 + 1, N: N, K: N % 7 * 5 + 1, gap: N % 3))
    }
  }

  @Test func everyHeightUpToTwoTilesGivesTheReferencesBits() throws {
    for M in 1...30 {
      try expectAllRowsAgree(Case(M: M, N: 37, K: 11, transposeA: M % 2 == 0, gap: 1))
    }
  }

  @Test func everyDepthAroundTheBlocksGivesTheReferencesBits() throws {
    for K in [0, 1, 7, 8, 9, 15, 16, 17, 511, 512, 513, 520, 1024, 1025, 1537] {
      for transposes in [false, true] {
        try expectAllRowsAgree(
          Case(
            M: 9, N: 21, K: K, transposeA: !transposes, transposeB: transposes, accumulates: true,
            hasBias: true),
          threads: [1, 2])
      }
    }
  }

  @Test func everyTransposeStrideAndOptionGivesTheReferencesBits() throws {
    for options in 0..<256 {
      func bit(_ index: Int) -> Bool { options >> index & 1 == 1 }
      try expectAllRowsAgree(
        Case(
          M: 29 + options % 3, N: 34 + options % 5, K: 19, transposeA: bit(0), transposeB: bit(1),
          gap: bit(2) ? 3 : 0, step: bit(3) ? 2 : 1, matrices: bit(4) ? 3 : 1, sharesB: bit(4),
          alpha: bit(5) ? -1.5 : 1, accumulates: bit(6), hasBias: bit(7), hasReLU: bit(5),
          isPacked: bit(2)), threads: [1, 7])
    }
  }

  @Test func packedPathsGiveTheReferencesBits() throws {
    for shape in [
      Case(M: 300, N: 290, K: 40), Case(M: 290, N: 300, K: 530, transposeB: true),
      Case(M: 64, N: 300, K: 600, transposeA: true, isPacked: true),
      Case(M: 30, N: 1100, K: 17, hasReLU: true), Case(M: 40, N: 10, K: 1024),
      Case(M: 400, N: 1, K: 70), Case(M: 1, N: 400, K: 70, transposeB: true),
    ] { try expectAllRowsAgree(shape) }
  }

  @Test func manySmallMatricesGiveTheReferencesBits() throws {
    for matrices in [2, 5, 16] {
      try expectAllRowsAgree(Case(M: 6, N: 20, K: 5, transposeB: true, matrices: matrices))
      try expectAllRowsAgree(
        Case(M: 1, N: 33, K: 5, matrices: matrices, sharesB: true, isPacked: true))
    }
  }

  @Test func emptyProductsWriteNothingAndEmptySumsWriteZero() throws {
    for shape in [
      Case(M: 0, N: 5, K: 3), Case(M: 5, N: 0, K: 3), Case(M: 2, N: 2, K: 2, matrices: 0),
    ] {
      try expectAllRowsAgree(shape, threads: [1, 2])
    }
    let problem = Problem(Case(M: 2, N: 3, K: 0))
    for row in rows {
      let result = try problem.run(row, threads: 1)
      #expect((0..<6).allSatisfy { result[margin + $0] == 0 })
    }
  }

  @Test func notANumberAndInfinityTakeTheirCourse() throws {
    for (special, other) in [(Float.nan, Float(2)), (.infinity, 0), (.infinity, 3)] {
      var problem = Problem(Case(M: 17, N: 35, K: 20, hasReLU: true))
      problem.a[1 + 3 * 20 + 5] = special
      for j in 0..<35 { problem.b[1 + 5 * 35 + j] = other }
      for row in rows {
        let result = try problem.run(row, threads: 2)
        for i in 0..<17 {
          for j in 0..<35 {
            let value = result[problem.place(0, i, j)]
            if i == 3 {
              #expect(other == 3 ? value == .infinity : value.isNaN, "\(name(row))")
            } else {
              #expect(value.isFinite, "\(name(row)): row \(i) saw row 3's \(special)")
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
