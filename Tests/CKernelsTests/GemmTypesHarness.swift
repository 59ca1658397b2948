// A matrix product of any element types and precision: its operands on unaligned memory between
// canaries, the call on a team, and what it should give in double.

import CKernels
import Testing

/// A product's shape, types and options; what is not said is dense, f32 and plain.
struct TypedProduct: CustomStringConvertible {
  var M: Int, N: Int, K: Int
  var a = CK_F32, b = CK_F32, c = CK_F32
  var precision = CK_GEMM_HIGHEST
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
  /// Whether A starts on a cache line, rather than off any alignment.
  var alignsA = false
  /// What each element meets at its place in another matrix of that type, whose rows have one element
  /// more.
  var combination = CK_ALONE
  var other = CK_F32
  /// Whether that matrix is C as it was before.
  var isInPlace = false
  /// Whether only the first rows or terms are there, and how many.
  var limit = CK_GEMM_WHOLE
  var live = 0

  var description: String {
    "\(M)x\(N)x\(K) types \(a.rawValue) \(b.rawValue) \(c.rawValue) precision \(precision.rawValue)"
      + " \(transposeA ? "T" : "N")\(transposeB ? "T" : "N") gap \(gap) step \(step)"
      + " matrices \(matrices) alpha \(alpha) accumulates \(accumulates) bias \(hasBias)"
      + " relu \(hasReLU) packed \(isPacked) aligned \(alignsA)"
      + " combination \(combination.rawValue) \(other.rawValue) in place \(isInPlace)"
      + " live \(limit.rawValue) \(live)"
  }
}

/// Elements of one type, starting one element off any alignment, or on a cache line.
final class TypedElements {
  let type: ck_dtype
  let count: Int
  private let memory: UnsafeMutableRawPointer
  private let isAligned: Bool

  init(_ type: ck_dtype, count: Int, aligned: Bool = false) {
    self.type = type
    isAligned = aligned
    self.count = count
    memory = .allocate(byteCount: (count + 1) * 4, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: (count + 1) * 4)
  }

  deinit { memory.deallocate() }

  var size: Int { type == CK_F32 ? 4 : 2 }
  var start: UnsafeMutableRawPointer { memory + (isAligned ? 0 : size) }
  /// As the argument block wants it, whatever the type.
  var pointer: UnsafeMutablePointer<Float> {
    UnsafeMutablePointer(bitPattern: Int(bitPattern: start))!
  }

  func bits(_ index: Int) -> UInt32 {
    size == 4
      ? start.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)
      : UInt32(start.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
  }

  func setBits(_ index: Int, _ bits: UInt32) {
    if size == 4 {
      start.storeBytes(of: bits, toByteOffset: index * 4, as: UInt32.self)
    } else {
      start.storeBytes(
        of: UInt16(truncatingIfNeeded: bits), toByteOffset: index * 2, as: UInt16.self)
    }
  }

  var allBits: [UInt32] { (0..<count).map(bits) }

  subscript(_ index: Int) -> Double {
    get { TypedElements.value(bits(index), type) }
    set { setBits(index, TypedElements.rounded(Float(newValue), type)) }
  }

  /// The value of an element's bits.
  static func value(_ bits: UInt32, _ type: ck_dtype) -> Double {
    switch type {
    case CK_F32: return Double(Float(bitPattern: bits))
    case CK_BF16: return Double(Float(bitPattern: bits << 16))
    default:
      let sign: Double = bits & 0x8000 == 0 ? 1 : -1
      let (exponent, fraction) = (Int(bits >> 10 & 0x1f), Double(bits & 0x3ff))
      if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
      if exponent == 0 { return sign * fraction * 0x1p-24 }
      return sign * (1 + fraction / 1024)
        * Double(sign: .plus, exponent: exponent - 15, significand: 1)
    }
  }

  /// The bits of a number, to the nearest even; finite numbers in the type's normal range, or bf16.
  static func rounded(_ value: Float, _ type: ck_dtype) -> UInt32 {
    let bits = value.bitPattern
    switch type {
    case CK_F32: return bits
    case CK_BF16:
      if value.isNaN { return bits >> 16 | 0x40 }
      return (bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16
    default:
      if value == 0 { return bits >> 16 }
      let rest = bits & 0x7fff_ffff
      precondition(rest >= 0x3880_0000 && rest < 0x477f_f000, "outside f16's normal range")
      return (bits >> 16 & 0x8000) | (rest &- 112 << 23 &+ 0xfff &+ (rest >> 13 & 1)) >> 13
    }
  }
}

/// Reproducible numbers.
struct ProductNoise {
  var state: UInt64

  /// Multiples of 1/4096 in -1 ..< 1, within the normal range of f16.
  mutating func next() -> Float { (Float(raw() & 0x1fff) - 4096) / 4096 }

  /// Uniform in 0 ..< 1, with the 24 bits of an f32.
  mutating func uniform() -> Double { Double(raw() & 0xff_ffff) / 0x100_0000 }

  /// Standard normal, by Box and Muller.
  mutating func normal() -> Double {
    let (u, v) = (uniform() + 0x1p-26, uniform())
    return (-2 * naturalLogarithm(u)).squareRoot() * cosineOfTurns(v)
  }

  private mutating func raw() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state >> 33
  }

  // Without Foundation: series that are exact enough for test data.
  private func naturalLogarithm(_ x: Double) -> Double {
    let y = (x.significand - 1) / (x.significand + 1)
    var (power, sum) = (y, 0.0)
    for k in 0..<20 {
      sum += power / Double(2 * k + 1)
      power *= y * y
    }
    return 2 * sum + Double(x.exponent) * 0.693147180559945309
  }

  private func cosineOfTurns(_ turns: Double) -> Double {
    let x = (turns - 0.5) * 2 * Double.pi
    var (term, sum) = (1.0, 0.0)
    for k in 0..<16 {
      sum += term
      term *= -x * x / Double((2 * k + 1) * (2 * k + 2))
    }
    return -sum
  }
}

/// One thread of a team whose others stay away. Products have no barriers inside.
private struct LoneThread {
  var kernel: ck_kernel
  var args: UnsafePointer<ck_gemm_args>
  var index: Int32
  var count: Int32
}

private let runLoneThread: ck_kernel = { args, thread in
  let lone = args!.assumingMemoryBound(to: LoneThread.self).pointee
  var own = thread!.pointee
  (own.index, own.count) = (lone.index, lone.count)
  lone.kernel(lone.args, &own)
}

/// The operands of a product, and how to run it.
final class TypedProblem {
  static let margin = 19
  let shape: TypedProduct
  let a: TypedElements, b: TypedElements, bias: TypedElements, other: TypedElements
  private let c: [UInt32]
  private let live: UnsafeMutablePointer<Int32>
  private let aWidth: Int, bWidth: Int, cWidth: Int
  private let aSize: Int, bSize: Int, cSize: Int

  /// - Parameter fill: whether A and B get numbers, else the caller writes them.
  init(_ shape: TypedProduct, fill: Bool = true) {
    self.shape = shape
    live = .allocate(capacity: 1)
    live.initialize(to: Int32(shape.live))
    aWidth = ((shape.transposeA ? shape.M : shape.K) + shape.gap) * shape.step
    bWidth = ((shape.transposeB ? shape.K : shape.N) + shape.gap) * shape.step
    cWidth = shape.N + shape.gap
    aSize = aWidth * (shape.transposeA ? shape.K : shape.M)
    bSize = bWidth * (shape.transposeB ? shape.N : shape.K)
    cSize = cWidth * shape.M
    a = TypedElements(shape.a, count: aSize * shape.matrices, aligned: shape.alignsA)
    b = TypedElements(shape.b, count: bSize * (shape.sharesB ? 1 : shape.matrices))
    bias = TypedElements(CK_F32, count: shape.N)
    other = TypedElements(shape.other, count: (shape.N + 1) * shape.M * shape.matrices)
    var noise = ProductNoise(state: UInt64(shape.M * 7919 + shape.N * 104_729 + shape.K + 1))
    if fill {
      for index in 0..<a.count { a[index] = Double(noise.next()) }
      for index in 0..<b.count { b[index] = Double(noise.next()) }
    }
    for index in 0..<bias.count { bias[index] = Double(noise.next()) }
    for index in 0..<other.count { other[index] = Double(noise.next()) }
    // A NaN's bits are the canary: whoever reads one spoils its result.
    var start = [UInt32](
      repeating: shape.c == CK_F32 ? 0x7fc5_4321 : 0x7fc5,
      count: cSize * shape.matrices + 2 * Self.margin)
    if shape.accumulates || shape.isInPlace {
      for t in 0..<shape.matrices {
        for i in 0..<shape.M {
          for j in 0..<shape.N {
            start[Self.margin + t * cSize + i * cWidth + j] = TypedElements.rounded(
              noise.next(), shape.c)
          }
        }
      }
    }
    c = start
  }

  deinit { live.deallocate() }

  func place(_ t: Int, _ i: Int, _ j: Int) -> Int { Self.margin + t * cSize + i * cWidth + j }
  func placeInA(_ i: Int, _ p: Int) -> Int {
    shape.transposeA ? i * shape.step + p * aWidth : i * aWidth + p * shape.step
  }
  func placeInB(_ p: Int, _ j: Int) -> Int {
    shape.transposeB ? p * shape.step + j * bWidth : p * bWidth + j * shape.step
  }

  /// Whether the row takes the combination.
  func combines(_ row: ck_gemm_row) -> Bool {
    var args = arguments(TypedElements(shape.c, count: c.count))
    args.b_packed = shape.isPacked ? 1 : 0
    return !row.emulated && ck_gemm_combines(&args, false, row.isa)
  }

  /// C as the row computes it on a team of that size, all of its buffer.
  ///
  /// - Parameter lone: the thread that alone takes part, nil where all do.
  func run(_ row: ck_gemm_row, threads: Int, lone: Int? = nil) throws -> [UInt32] {
    let result = TypedElements(shape.c, count: c.count)
    for index in c.indices { result.setBits(index, c[index]) }
    var args = arguments(result)
    var pack = packing(args)
    let packedFloats = Int(ck_gemm_packed_bytes(&pack, row.isa)) / 4
    let matrices = shape.sharesB ? 1 : shape.matrices
    let packed = UnsafeMutableBufferPointer<Float>.allocate(capacity: packedFloats * matrices + 32)
    defer { packed.deallocate() }
    packed.initialize(repeating: .nan)
    let team = try #require(ck_team_create(lone == nil ? Int32(threads) : 1, 64))
    defer { ck_team_destroy(team) }
    if shape.isPacked {
      pack.packed = UnsafeMutablePointer(
        bitPattern: (Int(bitPattern: packed.baseAddress!) + 63) & ~63)
      withUnsafePointer(to: &pack) { pack in
        var step = ck_step(
          kernel: ck_gemm_pack_b(row.isa), args: pack, threads: 0, barrier: 1, condition: nil)
        ck_run(team, &step, 1)
      }
      args.b = UnsafePointer(pack.packed)
      args.b_packed = 1
      args.b_batch.1 = shape.sharesB ? 0 : Int64(packedFloats)
    }
    try #require(ck_team_reserve_scratch(team, ck_gemm_scratch_bytes(&args, row.isa)))
    withUnsafePointer(to: &args) { args in
      guard let lone else {
        var step = ck_step(kernel: row.kernel, args: args, threads: 0, barrier: 1, condition: nil)
        ck_run(team, &step, 1)
        return
      }
      var one = LoneThread(
        kernel: row.kernel, args: args, index: Int32(lone), count: Int32(threads))
      withUnsafePointer(to: &one) {
        var step = ck_step(kernel: runLoneThread, args: $0, threads: 0, barrier: 1, condition: nil)
        ck_run(team, &step, 1)
      }
    }
    return result.allBits
  }

  /// What the row says a thread writes, as runs of places in C's buffer.
  func part(_ row: ck_gemm_row, thread: Int, of threads: Int) -> [Range<Int>] {
    var args = arguments(TypedElements(shape.c, count: 0))
    args.b_packed = shape.isPacked ? 1 : 0
    let part = withUnsafePointer(to: row) {
      ck_gemm_row_part_of($0, &args, Int32(thread), Int32(threads))
    }
    guard part.row < part.row_end, part.column < part.column_end else { return [] }
    return (Int(part.row)..<Int(part.row_end)).map { row in
      let start = place(row / shape.M, row % shape.M, 0)
      return start + Int(part.column)..<start + Int(part.column_end)
    }
  }

  func scratchBytes(_ row: ck_gemm_row) -> Int {
    var args = arguments(TypedElements(shape.c, count: 0))
    return ck_gemm_scratch_bytes(&args, row.isa)
  }

  private func arguments(_ result: TypedElements) -> ck_gemm_args {
    var args = ck_gemm_args()
    args.a = UnsafePointer(a.pointer)
    args.b = UnsafePointer(b.pointer)
    args.c = UnsafeMutablePointer(
      bitPattern: Int(bitPattern: result.start) + Self.margin * result.size)
    args.epilogue.bias = shape.hasBias ? UnsafePointer(bias.pointer) : nil
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
    args.a_type = Int16(shape.a.rawValue)
    args.b_type = Int16(shape.b.rawValue)
    args.c_type = Int16(shape.c.rawValue)
    args.precision = Int16(shape.precision.rawValue)
    args.limit = Int32(shape.limit.rawValue)
    args.live = shape.limit == CK_GEMM_WHOLE ? nil : UnsafePointer(live)
    args.epilogue.combination = Int32(shape.combination.rawValue)
    args.epilogue.other_type = Int32(shape.other.rawValue)
    args.epilogue.other = shape.isInPlace ? UnsafePointer(args.c) : UnsafePointer(other.pointer)
    args.epilogue.other_row = Int64(shape.isInPlace ? cWidth : shape.N + 1)
    args.epilogue.other_matrix = Int64(shape.isInPlace ? cSize : (shape.N + 1) * shape.M)
    return args
  }

  private func packing(_ args: ck_gemm_args) -> ck_gemm_pack_args {
    var pack = ck_gemm_pack_args()
    pack.b = args.b
    (pack.K, pack.N) = (args.K, args.N)
    (pack.b_row, pack.b_col) = (args.b_row, args.b_col)
    pack.count = shape.sharesB ? 1 : Int64(shape.matrices)
    pack.b_batch = args.b_batch.1
    (pack.a_type, pack.b_type, pack.precision) = (args.a_type, args.b_type, args.precision)
    return pack
  }

  /// C in double, and the sum of the absolute products of each element.
  func expected(_ t: Int, _ i: Int, _ j: Int) -> (value: Double, magnitude: Double) {
    var sum = 0.0
    var magnitude = 0.0
    let aBase = t * aSize, bBase = shape.sharesB ? 0 : t * bSize
    for p in 0..<shape.K {
      let product = a[aBase + placeInA(i, p)] * b[bBase + placeInB(p, j)]
      sum += product
      magnitude += abs(product)
    }
    sum *= Double(shape.alpha)
    if shape.accumulates { sum += TypedElements.value(c[place(t, i, j)], shape.c) }
    if shape.hasBias { sum += bias[j] }
    let met =
      shape.isInPlace
      ? TypedElements.value(c[place(t, i, j)], shape.c)
      : other[(t * shape.M + i) * (shape.N + 1) + j]
    if shape.combination == CK_ADD { sum += met }
    if shape.combination == CK_GATE, met <= 0 { sum = 0 }
    return (shape.hasReLU ? max(0, sum) : sum, magnitude * abs(Double(shape.alpha)) + 1)
  }

  /// All of C's buffer as it is before a run.
  var before: [UInt32] { c }

  /// Whether the place in C's buffer belongs to C.
  var isInside: [Bool] {
    var inside = [Bool](repeating: false, count: c.count)
    for t in 0..<shape.matrices {
      for i in 0..<shape.M {
        for j in 0..<shape.N { inside[place(t, i, j)] = true }
      }
    }
    return inside
  }

  /// The result agrees with double, as closely as the types and the precision promise, and nothing
  /// outside C has been written.
  func expectClose(_ result: [UInt32], _ what: String) {
    for (index, isInside) in isInside.enumerated() where !isInside {
      #expect(result[index] == c[index], "\(what), \(shape): wrote at \(index), outside C")
    }
    let operands: Double
    switch shape.precision {
    case CK_GEMM_MIXED: operands = 0x1p-7
    case CK_GEMM_HIGH: operands = 0x1p-14
    default: operands = 1e-6
    }
    let rounding = shape.c == CK_BF16 ? 0x1p-8 : shape.c == CK_F16 ? 0x1p-11 : 0
    for t in 0..<shape.matrices {
      for i in 0..<shape.M {
        for j in 0..<shape.N {
          let (value, magnitude) = expected(t, i, j)
          let error = abs(TypedElements.value(result[place(t, i, j)], shape.c) - value)
          let bound = operands * magnitude + rounding * (abs(value) + operands * magnitude)
          #expect(error <= bound, "\(what), \(shape): \(error) off at \(t), \(i), \(j)")
        }
      }
    }
  }
}
