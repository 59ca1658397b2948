// Every operation of the tile machine, one at a time: every length up to two vectors and one, pairs
// of special values, scalars for operands, teams, in place. At every level, with the same bits.

import CKernels
import Testing

@Suite struct LoopOpTests {
  /// Floats at which something happens: signs, halves, powers of two, the ends of the integers, of
  /// the exponents and of the floats.
  static let floats: [Float] = [
    0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 3, -3, 6, 7.25, -0.3, 1e-3, 88.5, -88.5, 255.5,
    16_777_215, -16_777_218, 0x1p31, -0x1p31, 0x1.fffffep30, 0x1p63, -0x1p63, 0x1.fffffep62, 65519,
    65520, 1e20, -1e20, .leastNormalMagnitude, -.leastNormalMagnitude, 0x1p-133, -0x1p-133,
    .leastNonzeroMagnitude, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .infinity,
    -.infinity, .nan,
  ]
  static let integers: [Int64] = [
    0, 1, -1, 2, -2, 3, -7, 100, 255, 256, 46341, -46341, 65535, 0x7fff_ffff, 0x7fff_fffe,
    -0x8000_0000, -0x7fff_ffff, 0x8000_0000, 0x1_0000_0001, 3_037_000_500, -4_294_967_297, .max,
    .max - 1, .min, .min + 1,
  ]
  static let immediates: (Float, Float) = (-0.75, 2.5)

  static func specials(_ op: ck_class) -> [Number] {
    switch op {
    case CK_CLASS_F32: floats.map { .real(Double($0)) }
    case CK_CLASS_I32: integers.map { .whole(Int64(Int32(truncatingIfNeeded: $0))) }
    case CK_CLASS_I64: integers.map { .whole($0) }
    default: [.whole(0), .whole(1)]
    }
  }

  /// Numbers of moderate size, few of them special.
  static func ordinary(_ op: ck_class, _ count: Int, seed: UInt64) -> [Number] {
    var random = TestNumbers(seed: seed)
    return (0..<count).map { index in
      switch op {
      case CK_CLASS_F32: .real(Double(Float.random(in: -4...4, using: &random)))
      case CK_CLASS_I32: .whole(Int64.random(in: -50_000...50_000, using: &random))
      case CK_CLASS_I64: .whole(Int64.random(in: -5_000_000_000...5_000_000_000, using: &random))
      default: .whole(Int64.random(in: 0...1, using: &random))
      }
    }
  }

  /// `op` of dense arrays, those of `scalars` one element for all.
  static func program(_ name: String, _ arrays: [[Number]], count: Int, scalars: Int = 0)
    -> LoopProgram
  {
    let info = LoopOps.describe(name)
    var program = LoopProgram([count])
    let read = zip(info.operands, arrays).enumerated().map { place, operand in
      let isScalar = scalars >> place & 1 == 1
      return program.load(
        LoopOperand(
          operand.0.dtype, [isScalar ? 0 : 1], Array(operand.1.prefix(isScalar ? 1 : count))))
    }
    let result = program.apply(name, read, immediates.0, immediates.1)
    program.store(result, to: LoopOperand(info.result.dtype, [1], room: count))
    return program
  }

  /// Runs the program and compares each element with the model of the operation.
  static func check(
    _ name: String, _ program: LoopProgram, _ what: String, teams: [Int], offset: Int = 4,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let results = runEverywhere(
      program, "\(name) \(what)", teams: teams, offset: offset, sourceLocation: sourceLocation)
    guard let output = program.outputs.last, let bytes = results[output] else { return }
    let op = LoopOp(name)
    let operands = program.operands.dropLast().map { ($0.numbers, $0.strides[0]) }
    for (index, got) in program.operands[output].dtype.decode(bytes).enumerated() {
      let read = operands.map { $0.0[index * $0.1] }
      let expected = op.result(read, immediates.0, immediates.1)
      if !op.tolerance(read).accepts(got, for: expected) {
        Issue.record(
          "\(name)(\(read)) is \(got), expected \(expected): element \(index), \(what)",
          sourceLocation: sourceLocation)
        return
      }
    }
  }

  @Test(arguments: LoopOps.elementwise)
  func everyLengthUpToTwoVectorsAndOne(name: String) {
    let classes = LoopOps.describe(name).operands
    let arrays = classes.enumerated().map { Self.ordinary($1, 33, seed: UInt64($0)) }
    for count in 0...33 {
      Self.check(
        name, Self.program(name, arrays, count: count), "of \(count) elements", teams: [0],
        offset: count * 4 % 64)
    }
  }

  @Test(arguments: LoopOps.elementwise)
  func specialValuesInEveryCombination(name: String) {
    let classes = LoopOps.describe(name).operands
    var tuples: [[Number]] = [[]]
    for operand in classes {
      // Three operands: every seventh combination of the first two, with all of the third.
      let some =
        tuples.count > 500 ? tuples.indices.filter { $0 % 7 == 0 }.map { tuples[$0] } : tuples
      tuples = some.flatMap { tuple in Self.specials(operand).map { tuple + [$0] } }
    }
    // fmod works on the bits, whether denormals count or not.
    if name == "rem_f32" { tuples.removeAll { $0.contains { $0.isDenormal } } }
    let arrays = classes.indices.map { place in tuples.map { $0[place] } }
    Self.check(
      name, Self.program(name, arrays, count: tuples.count), "of special values", teams: [0, 1])
  }

  @Test(arguments: LoopOps.elementwise)
  func scalarsForOperands_andManyTilesOnEveryTeam(name: String) {
    let classes = LoopOps.describe(name).operands
    let count = 1537
    let arrays = classes.enumerated().map { Self.ordinary($1, count, seed: UInt64($0 + 7)) }
    for scalars in 0..<1 << classes.count {
      let few = scalars == 0 ? count : 37
      Self.check(
        name, Self.program(name, arrays, count: few, scalars: scalars),
        "of \(few) elements, scalars \(scalars)", teams: scalars == 0 ? [0, 1, 2] : [0])
    }
  }

  @Test(arguments: LoopOps.elementwise)
  func resultInTheFirstOperandsMemory(name: String) {
    let info = LoopOps.describe(name)
    guard let first = info.operands.first, first == info.result else { return }
    for count in [16, 31, 512, 700] {
      let arrays = info.operands.enumerated().map { Self.ordinary($1, count, seed: UInt64($0 + 3)) }
      var program = Self.program(name, arrays, count: count)
      program.operands[info.operands.count].sharedWith = 0
      let results = runEverywhere(program, "\(name) of \(count) in place", teams: [0, 1])
      let apart = runEverywhere(
        Self.program(name, arrays, count: count), "\(name) of \(count)", teams: [0])
      #expect(
        results[info.operands.count] == apart[info.operands.count], "\(name) of \(count) in place")
    }
  }

  @Test func everyOperationIsDescribedAndFoundByItsName() {
    #expect(LoopOps.all.count == Set(LoopOps.all).count)
    for op in 0..<CK_OP_COUNT.number {
      let info = ck_op_describe(op).pointee
      #expect(ck_op_from_name(info.name) == op)
      #expect(info.reduces == String(cString: info.name).hasPrefix("reduce_"))
    }
    #expect(ck_op_from_name("nothing_f32") == -1)
    #expect(ck_op_describe(-1) == nil && ck_op_describe(CK_OP_COUNT.number) == nil)
  }

  @Test func constantsAreTheirImmediatesBits() {
    var program = LoopProgram([70])
    let wide: Int64 = -81_985_529_216_486_896
    for (op, x, y, dtype) in [
      ("const_f32", Float(0.1), Float(0), CK_F32), ("const_f32", -0.0, 0, CK_F32),
      ("const_i32", Float(bitPattern: 0xffab_cdef), 0, CK_I32),
      (
        "const_i64", Float(bitPattern: UInt32(truncatingIfNeeded: wide)),
        Float(bitPattern: UInt32(truncatingIfNeeded: wide >> 32)), CK_I64
      ),
      ("const_bool", 1, 0, CK_BOOL), ("const_bool", 0, 0, CK_BOOL),
    ] {
      let slot = program.apply(op, [], x, y)
      program.store(slot, to: LoopOperand(dtype, [1], room: 70))
    }
    CKernelsTests.check(program, "constants")
  }
}

extension Number {
  fileprivate var isDenormal: Bool {
    guard case .real(let x) = self else { return false }
    return x != 0 && abs(x) < Double(Float.leastNormalMagnitude)
  }
}
