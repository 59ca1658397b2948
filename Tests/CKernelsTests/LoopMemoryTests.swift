// How the tile machine reads and writes memory: stored types, strides of every kind, any alignment,
// places of the domain as operands, outputs past the cache.

import CKernels
import Foundation
import Testing

@Suite struct LoopMemoryTests {
  /// `count` numbers that the type holds exactly, neighbours different.
  static func numbers(_ dtype: ck_dtype, _ count: Int) -> [Number] {
    (0..<count).map { index in
      let mixed = Int64(index) &* 2_654_435_761 &+ 12345
      switch dtype {
      case CK_F32, CK_BF16, CK_F16: return .real(Double(mixed % 251) / 8)
      case CK_I64: return .whole(mixed &* 1_000_003)
      case CK_I32: return .whole(Int64(Int32(truncatingIfNeeded: mixed)))
      case CK_U8: return .whole(mixed & 255)
      default: return .whole(mixed >> 3 & 1)
      }
    }
  }

  /// The class's operation that changes the value and stays in the type.
  static func changed(_ dtype: ck_dtype, _ slot: UInt8, _ program: inout LoopProgram) -> UInt8 {
    switch dtype {
    case CK_F32, CK_BF16, CK_F16: program.apply("neg_f32", [slot])
    case CK_I64: program.apply("sub_i64", [slot, program.apply("const_i64", [], 1)])
    case CK_BOOL: program.apply("not_bool", [slot])
    default: program.apply("not_i32", [slot])
    }
  }

  /// An array that the domain sees with the given strides, wherever they lead.
  static func operand(_ dtype: ck_dtype, _ extents: [Int], _ strides: [Int], room: Bool)
    -> LoopOperand
  {
    var (low, high) = (0, 0)
    for (extent, stride) in zip(extents, strides) where extent > 0 {
      low += min(0, (extent - 1) * stride)
      high += max(0, (extent - 1) * stride)
    }
    let count = high - low + 1
    return room
      ? LoopOperand(dtype, strides, room: count, origin: -low)
      : LoopOperand(dtype, strides, numbers(dtype, count), origin: -low)
  }

  /// Copies, and stores what it changed, from one layout to another.
  static func checkCopy(
    _ dtype: ck_dtype, _ extents: [Int], from: [Int], to: [Int], teams: [Int] = [0, 1]
  ) {
    var program = LoopProgram(extents)
    let x = program.load(operand(dtype, extents, from, room: false))
    let y = changed(dtype, x, &program)
    program.store(x, to: operand(dtype, extents, to, room: true))
    program.store(y, to: operand(dtype, extents, to, room: true))
    check(program, "\(dtype) \(extents) from strides \(from) to \(to)", teams: teams)
  }

  // MARK: - Conversions

  @Test func everyBF16AndF16_isLoadedExactly() {
    for dtype in [CK_BF16, CK_F16] {
      var program = LoopProgram([65536])
      let bits = (0..<65536).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
      var operand = LoopOperand(dtype, [1], room: 65536)
      operand.bytes = bits
      let x = program.load(operand)
      program.store(x, to: LoopOperand(CK_F32, [1], room: 65536))
      program.store(x, to: LoopOperand(dtype, [1], room: 65536))
      let results = runEverywhere(program, "\(dtype)", teams: [0])
      // Exactly: denormals too, of which f16's are normal floats.
      let wide = CK_F32.decode(results[1] ?? []).map(\.real)
      let back = dtype.decode(results[2] ?? []).map(\.real)
      for (index, number) in operand.numbers.enumerated() {
        let x = number.real
        let isSame = { (y: Double) in x.isNaN ? y.isNaN : x == y && x.sign == y.sign }
        if !isSame(wide[index]) || !isSame(back[index]) {
          Issue.record("\(dtype) \(x) is loaded as \(wide[index]), stored as \(back[index])")
          break
        }
      }
    }
  }

  /// Each number of a type of 16 bits, the middle to the next one, and the floats around that.
  @Test(arguments: [CK_BF16, CK_F16]) func stores_roundToNearestEven(dtype: ck_dtype) {
    var floats: [Float] = [0, .infinity, .nan, .greatestFiniteMagnitude]
    for bits in stride(from: UInt16(1), to: 0x7fff, by: TestSize.isReduced ? 61 : 3) {
      func value(_ bits: UInt16) -> Double {
        dtype == CK_F16 ? Half.value(bits) : Double(Float(bitPattern: UInt32(bits) << 16))
      }
      let (x, next) = (value(bits), value(bits + 1))
      guard x.isFinite, x >= Double(Float.leastNormalMagnitude) else { continue }
      let middle = Float(next.isFinite ? (x + next) / 2 : x + (x - value(bits - 1)) / 2)
      floats += [Float(x), middle.nextDown, middle, middle.nextUp]
    }
    floats = floats.enumerated().map { $0.offset % 2 == 0 ? $0.element : -$0.element }
    var program = LoopProgram([floats.count])
    let x = program.load(LoopOperand([1], floats))
    program.store(x, to: LoopOperand(dtype, [1], room: floats.count))
    let results = runEverywhere(program, "rounding to \(dtype)", teams: [0, 1])
    for (x, got) in zip(floats, dtype.decode(results[1] ?? [])) {
      let expected = dtype.rounded(.real(Double(x))).real
      let isRight =
        expected.isNaN
        ? got.real.isNaN : got.real == expected && got.real.sign == expected.sign
      if !isRight {
        Issue.record("\(x) is stored as \(dtype) \(got.real), expected \(expected)")
        break
      }
    }
  }

  /// Loading and storing moves bits: denormals, NaNs of any payload.
  @Test func loadsAndStoresOfOneType_keepTheBits() {
    for dtype in [CK_F32, CK_I32, CK_I64, CK_U8] {
      var random = TestNumbers(seed: 5)
      var program = LoopProgram([600])
      var operand = LoopOperand(dtype, [1], room: 600)
      operand.bytes = (0..<600 * dtype.size).map { _ in UInt8.random(in: 0...255, using: &random) }
      if dtype == CK_F32 {
        for (place, bits) in [(3, UInt32(1)), (4, 0x8000_0001), (5, 0x7fc1_2345), (6, 0xffc0_0000)]
        {
          withUnsafeBytes(of: bits) { bits in
            for k in 0..<4 { operand.bytes[4 * place + k] = bits[k] }
          }
        }
      }
      program.store(program.load(operand), to: LoopOperand(dtype, [1], room: 600))
      #expect(runEverywhere(program, "\(dtype)")[1] == operand.bytes, "\(dtype)")
    }
  }

  @Test func truthIsAnyByteButZero_andStoredAsOne() {
    var program = LoopProgram([256])
    var operand = LoopOperand(CK_BOOL, [1], room: 256)
    operand.bytes = (0..<256).map { UInt8($0) }
    let x = program.load(operand)
    program.store(x, to: LoopOperand(CK_BOOL, [1], room: 256))
    program.store(program.apply("not_bool", [x]), to: LoopOperand(CK_BOOL, [1], room: 256))
    let results = runEverywhere(program, "truth")
    #expect(results[1] == (0..<256).map { $0 == 0 ? 0 : 1 })
    #expect(results[2] == (0..<256).map { $0 == 0 ? 1 : 0 })
  }

  @Test func doublesAreRefused() {
    var load = LoopProgram([4])
    let x = load.load(LoopOperand(CK_F64, [1], room: 4))
    load.store(x, to: LoopOperand(CK_F64, [1], room: 4))
    #expect(!LoopBlock(load).isPrepared)
    var store = LoopProgram([4])
    store.store(store.apply("const_f32", [], 1), to: LoopOperand(CK_F64, [1], room: 4))
    #expect(!LoopBlock(store).isPrepared)
    #expect(ck_class_of(CK_F64) == CK_CLASS_NONE)
  }

  // MARK: - Alignment and length

  @Test(arguments: (0..<16).map { 4 * $0 }) func everyOffset(bytes: Int) {
    for dtype in ck_dtype.ofLoops {
      for count in [1, 15, 16, 33, 500, 513, 1100] {
        var program = LoopProgram([count])
        let x = program.load(Self.operand(dtype, [count], [1], room: false))
        program.store(
          Self.changed(dtype, x, &program), to: Self.operand(dtype, [count], [1], room: true))
        check(program, "\(dtype) \(count) at offset \(bytes)", teams: [0], offset: bytes)
      }
    }
  }

  @Test(arguments: ck_dtype.ofLoops) func everyLength(dtype: ck_dtype) {
    for count in Array(0...33) + [511, 512, 513, 1023, 1024, 1025, 4097] {
      Self.checkCopy(dtype, [count], from: [1], to: [1], teams: count > 500 ? [0, 1, 2] : [0])
    }
  }

  // MARK: - Strides

  @Test(arguments: ck_dtype.ofLoops) func stridesOfOneDimension(dtype: ck_dtype) {
    for count in [1, 16, 17, 70, 600] {
      for (from, to) in [(2, 1), (1, 3), (-1, 1), (1, -1), (-2, 5), (0, 1), (0, -3), (7, 7)] {
        Self.checkCopy(dtype, [count], from: [from], to: [to], teams: [0])
      }
    }
  }

  @Test(arguments: ck_dtype.ofLoops) func matrices_turnedAndBroadcastAndWithGaps(dtype: ck_dtype) {
    for (rows, columns) in [(1, 1), (3, 5), (16, 16), (17, 15), (33, 34), (2, 600)] {
      let extents = [rows, columns]
      let dense = [columns, 1], turned = [1, rows], gapped = [columns + 3, 1]
      for (from, to) in [
        (turned, dense), (dense, turned), (turned, turned), (gapped, dense), (dense, gapped),
        ([0, 1], dense), ([1, 0], dense), ([0, 0], gapped), ([0, 1], turned),
        ([2 * columns, 2], dense), ([-columns, 1], dense), ([columns, -1], gapped),
        ([1, -rows], dense),
      ] {
        Self.checkCopy(dtype, extents, from: from, to: to)
      }
    }
  }

  @Test(arguments: [CK_F32, CK_BF16, CK_I64, CK_BOOL]) func dimensionsInAnyOrder(dtype: ck_dtype) {
    Self.checkCopy(dtype, [5, 6, 7], from: [1, 35, 5], to: [42, 7, 1])
    Self.checkCopy(dtype, [5, 6, 7], from: [42, 7, 1], to: [6, 1, 30])
    Self.checkCopy(dtype, [4, 1, 20, 18], from: [0, 9, 1, 20], to: [360, 360, 18, 1])
    Self.checkCopy(
      dtype, [2, 3, 2, 3, 4, 5], from: [3, 1, 144, 288, 6, 24], to: [360, 120, 60, 20, 5, 1])
    Self.checkCopy(
      dtype, [2, 3, 2, 3, 4, 5], from: [0, 20, 0, 60, 5, 1], to: [360, 120, 60, 20, 5, 1])
    Self.checkCopy(dtype, [1, 1, 1, 1, 1, 1], from: [9, 9, 9, 9, 9, 9], to: [0, 0, 0, 0, 0, 0])
    for place in 0..<3 {
      var extents = [3, 4, 5]
      extents[place] = 0
      Self.checkCopy(dtype, extents, from: [20, 5, 1], to: [20, 5, 1])
    }
  }

  @Test func operandsOfEveryKindInOneProgram() {
    for (rows, columns) in [(7, 11), (33, 40), (3, 1000), (600, 3)] {
      var program = LoopProgram([rows, columns])
      let extents = [rows, columns]
      let dense = program.load(Self.operand(CK_F32, extents, [columns, 1], room: false))
      let turned = program.load(Self.operand(CK_F32, extents, [1, rows], room: false))
      let row = program.load(Self.operand(CK_F16, extents, [0, 1], room: false))
      let column = program.load(Self.operand(CK_BF16, extents, [1, 0], room: false))
      let scalar = program.load(Self.operand(CK_F32, extents, [0, 0], room: false))
      let mask = program.load(Self.operand(CK_BOOL, extents, [1, rows], room: false))
      let sum = program.apply("add_f32", [dense, turned])
      let product = program.apply("mul_add_f32", [row, column, scalar])
      let chosen = program.apply("select_f32", [mask, sum, product])
      program.store(chosen, to: Self.operand(CK_F32, extents, [columns, 1], room: true))
      program.store(product, to: Self.operand(CK_F32, extents, [1, rows], room: true))
      program.store(sum, to: Self.operand(CK_F32, extents, [columns + 1, 1], room: true))
      check(program, "operands of every kind over \(extents)")
    }
  }

  // MARK: - Places of the domain

  @Test(arguments: [CK_I32, CK_I64]) func placesOfTheDomain(dtype: ck_dtype) {
    for extents in [[1], [17], [700], [5, 9], [40, 33], [3, 600], [2, 3, 4, 5, 6, 7]] {
      for (start, scale) in [(0, 1), (-5, 3), (2_147_483_600, 7)] {
        for pattern in 0..<3 {
          var program = LoopProgram(extents)
          let strides = program.dense.map { [$0 * scale, pattern == 1 ? 0 : $0, -scale][pattern] }
          let place = program.load(.index(dtype, strides, start: start))
          program.store(place, to: LoopOperand(dtype, program.dense, room: program.points))
          check(program, "\(dtype) places of \(extents), strides \(strides)", teams: [0, 1])
        }
      }
    }
  }

  // MARK: - Past the cache

  /// Outputs of 24 MB and more may be stored around the cache; the bits are those of smaller loops.
  @Test(arguments: TestSize.isReduced ? [0, 4] : [0, 36]) func largeOutputs(offset: Int) {
    let count = 6_400_013, period = 8191
    let x = Guarded(Float(0), count: count, offset: (offset + 12) % 64 / 4)
    for index in 0..<period { x.pointer[index] = Float(index) }
    var filled = period
    while filled < count {
      let more = min(filled, count - filled)
      memcpy(x.pointer + filled, x.pointer, more * 4)
      filled += more
    }
    let y = Guarded(Float(0), count: count, offset: offset / 4)
    let small = Guarded(Float(-1), count: count, offset: 3)
    func loop(_ count: Int) -> LoopBlock {
      var program = LoopProgram([count])
      let a = program.load(LoopOperand(CK_F32, [1], room: 0))
      let sum = program.apply("mul_add_f32", [a, a, a])
      program.store(sum, to: LoopOperand(CK_F32, [1], room: 0))
      let block = LoopBlock(program)
      #expect(block.isPrepared)
      return block
    }
    func run(
      _ block: LoopBlock, _ row: ck_loop_kernel_row, _ team: Int, _ output: Guarded<Float>,
      _ first: Int
    ) {
      ck_loop_operands(block.args)![0].data = UnsafeMutableRawPointer(x.pointer + first)
      ck_loop_operands(block.args)![1].data = UnsafeMutableRawPointer(output.pointer + first)
      runGuarded(
        row.kernel, block.args, scratch: ck_loop_scratch_bytes(block.args), team: team, row.level,
        #_sourceLocation)
    }
    let piece = 70_001
    for first in stride(from: 0, to: count, by: piece) {
      run(loop(min(piece, count - first)), loopRows.last!, 0, small, first)
    }
    #expect((0..<1000).allSatisfy { small.pointer[$0] == Float($0 * $0 + $0) })
    let block = loop(count)
    for row in loopRows {
      for team in [0, 2] {
        memset(y.pointer, 0, count * 4)
        run(block, row, team, y, 0)
        #expect(
          memcmp(y.pointer, small.pointer, count * 4) == 0 && y.isIntact,
          "\(row.level) on \(TestTeams.sizes[team]) threads at offset \(offset)")
      }
    }
  }
}
