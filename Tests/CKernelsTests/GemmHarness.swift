// What the tests of the matrix products share: a case, its operands between canaries, and the
// comparison of every row of the list with the reference, bit for bit.

import CKernels
import Testing

/// A product's shape, strides and options; what is not said is dense and plain.
struct GemmCase: CustomStringConvertible {
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
  /// What each element meets at its place in another matrix, whose rows have one element more.
  var combination = CK_ALONE

  var description: String {
    "\(M)x\(N)x\(K) \(transposeA ? "T" : "N")\(transposeB ? "T" : "N") gap \(gap) step \(step)"
      + " matrices \(matrices) alpha \(alpha) accumulates \(accumulates) bias \(hasBias)"
      + " relu \(hasReLU) packed \(isPacked)"
      + " combination \(combination.rawValue)"
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

let gemmCanary: Float = -12345.5
/// Floats kept free before and after C.
let gemmMargin = 19

/// What a weight is updated by, where the combination is CK_MOMENTUM.
let gemmMomentum: Float = 0.9
let gemmRate: [Float] = [0.25]

/// The operands of a case; all begin one float off any alignment.
struct GemmProblem {
  let shape: GemmCase
  var a: [Float]
  var b: [Float]
  var bias: [Float]
  var other: [Float]
  /// Updated with momentum: rows lie as those of `other`, the new ones as C's.
  var weight: [Float]
  var c: [Float]
  let aWidth: Int, bWidth: Int, cWidth: Int
  let aSize: Int, bSize: Int, cSize: Int

  init(_ shape: GemmCase) {
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
    other = noise.array((shape.N + 1) * shape.M * shape.matrices + 1)
    weight = noise.array(other.count)
    c = [Float](repeating: gemmCanary, count: cSize * shape.matrices + 2 * gemmMargin)
    for t in 0..<shape.matrices {
      for i in 0..<shape.M {
        for j in 0..<shape.N { c[place(t, i, j)] = noise.next() }
      }
    }
  }

  func otherPlace(_ t: Int, _ i: Int, _ j: Int) -> Int {
    1 + (t * shape.M + i) * (shape.N + 1) + j
  }

  func place(_ t: Int, _ i: Int, _ j: Int) -> Int { gemmMargin + t * cSize + i * cWidth + j }

  /// C as the row computes it on a team of that size, all of its buffer; and the new weight, where
  /// there is one.
  func run(_ row: ck_gemm_row, threads: Int) throws -> [Float] {
    var result = c
    let updates = shape.combination == CK_MOMENTUM
    var newWeight = updates ? [Float](repeating: gemmCanary, count: c.count) : []
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
              try other.withUnsafeBufferPointer { other in
                combine(&args, other)
                if shape.isPacked { pack(&args, into: packed, row, team) }
                if updates {
                  try update(&args, &newWeight) { try run(&$0, row, team) }
                } else {
                  try run(&args, row, team)
                }
              }
            }
          }
        }
      }
    }
    return result + newWeight
  }

  private func run(_ args: inout ck_gemm_args, _ row: ck_gemm_row, _ team: OpaquePointer) throws {
    try #require(ck_team_reserve_scratch(team, ck_gemm_scratch_bytes(&args, row.isa)))
    withUnsafePointer(to: &args) { args in
      var step = ck_step(kernel: row.kernel, args: args, threads: 0, barrier: 1, condition: nil)
      ck_run(team, &step, 1)
    }
  }

  private func update(
    _ args: inout ck_gemm_args, _ newWeight: inout [Float],
    _ body: (inout ck_gemm_args) throws -> Void
  ) throws {
    args.epilogue.momentum = gemmMomentum
    try weight.withUnsafeBufferPointer { weight in
      try newWeight.withUnsafeMutableBufferPointer { newWeight in
        try gemmRate.withUnsafeBufferPointer { rate in
          args.epilogue.weight = weight.baseAddress! + 1
          args.epilogue.new_weight = newWeight.baseAddress! + gemmMargin
          args.epilogue.rate = rate.baseAddress!
          try body(&args)
        }
      }
    }
  }

  private func arguments(
    a: UnsafeBufferPointer<Float>, b: UnsafeBufferPointer<Float>, bias: UnsafeBufferPointer<Float>,
    c: UnsafeMutableBufferPointer<Float>
  ) -> ck_gemm_args {
    var args = ck_gemm_args()
    args.a = a.baseAddress! + 1
    args.b = b.baseAddress! + 1
    args.c = c.baseAddress! + gemmMargin
    args.epilogue.bias = shape.hasBias ? bias.baseAddress! + 1 : nil
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
    args.epilogue.relu = shape.hasReLU ? 1 : 0
    return args
  }

  private func combine(_ args: inout ck_gemm_args, _ other: UnsafeBufferPointer<Float>) {
    args.epilogue.other = other.baseAddress! + 1
    args.epilogue.other_row = Int64(shape.N + 1)
    args.epilogue.other_matrix = Int64((shape.N + 1) * shape.M)
    args.epilogue.combination = Int32(shape.combination.rawValue)
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
      var step = ck_step(
        kernel: ck_gemm_pack_b(row.isa), args: pack, threads: 0, barrier: 1, condition: nil)
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
    let met = Double(other[otherPlace(t, i, j)])
    if shape.combination == CK_ADD { sum += met }
    if shape.combination == CK_GATE, met <= 0 { sum = 0 }
    if shape.combination == CK_MOMENTUM { sum += Double(gemmMomentum) * met }
    return (shape.hasReLU ? max(0, sum) : sum, magnitude * abs(Double(shape.alpha)) + 1)
  }
}

/// The rows that this machine runs, the reference last. A constant table, so any thread may read it.
nonisolated(unsafe) let gemmRows: [ck_gemm_row] = {
  var count = 0
  let table = ck_gemm_rows(&count)!
  return (0..<count).map { table[$0] }.filter { $0.isa.rawValue <= ck_isa_best().rawValue }
}()

func gemmName(_ row: ck_gemm_row) -> String { String(cString: row.name) }

/// Every row gives the reference's bits on 1, 2 and 7 threads, and nothing outside C is written.
func expectAllGemmRowsAgree(_ shape: GemmCase, threads: [Int] = [1, 2, 7]) throws {
  let problem = GemmProblem(shape)
  let reference = try problem.run(gemmRows.last!, threads: 1).map(\.bitPattern)
  for row in gemmRows where row.consistent {
    for count in threads {
      let result = try problem.run(row, threads: count).map(\.bitPattern)
      let place = zip(result, reference).enumerated().first { $0.element.0 != $0.element.1 }?.offset
      #expect(
        place == nil, "\(gemmName(row)), \(count) threads, \(shape): element \(place ?? 0) differs")
    }
  }
}
