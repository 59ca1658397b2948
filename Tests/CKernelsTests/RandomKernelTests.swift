// Philox against its published vector and a scalar form, and the distributions made of its bits.

import CKernels
import Foundation
import Testing

@Suite struct RandomKernelTests {
  let table = entries(ck_random_entries)
  static let counts = Array(0...34) + [63, 64, 65, 127, 4095, 4096, 4097, 20001]

  static func philox(_ counter: [UInt32], _ key: [UInt32]) -> [UInt32] {
    var out = [UInt32](repeating: 0, count: 4)
    ck_philox(&out, counter, key)
    return out
  }

  /// Word i mod 4 of block i / 4.
  static func word(_ i: Int, key: UInt64, step: UInt64, stream: UInt64) -> UInt32 {
    let c = stream << 40 + UInt64(i / 4)
    let block = philox(
      [
        UInt32(truncatingIfNeeded: c), UInt32(c >> 32), UInt32(truncatingIfNeeded: step),
        UInt32(step >> 32),
      ], [UInt32(truncatingIfNeeded: key), UInt32(key >> 32)])
    return block[i % 4]
  }

  static func uniform(_ word: UInt32) -> Double { Double(word >> 8) / 16_777_216 }

  /// Runs `op` every way and checks each element against `expected(words, i)`.
  func check<E: BitwiseCopyable>(
    _ op: ck_random_op, _: E.Type, count: Int, key: UInt64 = 0x1234_5678_9ABC_DEF0,
    step: UInt64 = 0x3_0000_0005, stream: UInt64 = 0xABCDEF, p: Float = 0, x: [Float] = [],
    scale: Float = 0, shift: Float = 0,
    empty: E,
    _ isRight: @escaping (E, [UInt32], Int) -> Bool
  ) {
    let words = (0..<(count + 1)).map {
      Self.word($0, key: key, step: step, stream: stream)
    }
    everyWay(table, op, "\(count) elements") { run in
      let state = Guarded([Int64(bitPattern: key), Int64(bitPattern: step)])
      let input = Guarded(x)
      let out = Guarded(empty, count: count)
      var args = ck_random_args()
      args.out = UnsafeMutableRawPointer(out.pointer)
      args.x = UnsafePointer(input.pointer)
      args.state = UnsafePointer(state.pointer)
      args.count = Int64(count)
      args.stream = Int64(bitPattern: stream)
      args.p = p
      (args.scale, args.shift) = (scale, shift)
      run(args)
      let values = out.array
      let wrong = values.indices.first { !isRight(values[$0], words, $0) }
      #expect(wrong == nil, "\(run.name)")
      #expect(out.isIntact, "\(run.name)")
      return out.bytes
    }
  }

  @Test func philox_givesThePublishedVectors() {
    #expect(
      Self.philox([0, 0, 0, 0], [0, 0]) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
    let ones = UInt32.max
    #expect(
      Self.philox([ones, ones, ones, ones], [ones, ones])
        == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
    #expect(
      Self.philox(
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0])
        == [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1])
  }

  @Test(arguments: counts) func bits_areTheWordsInOrder(count: Int) {
    check(CK_RANDOM_BITS, UInt32.self, count: count, empty: 1) { $0 == $1[$2] }
  }

  @Test(arguments: counts) func uniform_isTheUpperBitsOfEachWord(count: Int) {
    check(CK_RANDOM_UNIFORM, Float.self, count: count, empty: 9) {
      Double($0) == Self.uniform($1[$2])
    }
  }

  @Test(arguments: counts) func normal_isBoxMullerOfPairs(count: Int) {
    check(CK_RANDOM_NORMAL, Float.self, count: count, empty: 9) { value, words, i in
      let pair = i & ~1
      guard pair + 1 < words.count else { return value.isFinite }
      let radius = sqrt(-2 * log((Double(words[pair]) + 0.5) * 0x1p-32))
      let angle = 2 * Double.pi * Self.uniform(words[pair + 1])
      let expected = radius * (i % 2 == 0 ? cos(angle) : sin(angle))
      return abs(Double(value) - expected) < 3e-6
    }
  }

  @Test(arguments: counts) func scaledUniform_isRoundedOnce(count: Int) {
    let (scale, shift): (Float, Float) = (0.3, -0.15)
    check(
      CK_RANDOM_SCALED_UNIFORM, Float.self, count: count, scale: scale, shift: shift, empty: 9
    ) { $0 == shift.addingProduct(scale, Float(Self.uniform($1[$2]))) }
  }

  @Test(arguments: counts) func scaledNormal_isTheNormalNumberRoundedOnce(count: Int) {
    var plain: [Float] = []
    check(CK_RANDOM_NORMAL, Float.self, count: count, empty: 9) { value, _, i in
      if i == 0 { plain = [] }
      plain.append(value)
      return true
    }
    let (scale, shift): (Float, Float) = (0.02, 1)
    check(
      CK_RANDOM_SCALED_NORMAL, Float.self, count: count, scale: scale, shift: shift, empty: 9
    ) { $0 == shift.addingProduct(scale, plain[$2]) }
  }

  /// Beyond the cache numbers are written past it.
  @Test func scaledUniform_ofALargeArray_isTheSameNumbers() {
    let count = Int(ck_cache_bytes()) / 4 + 16 * 5 - 16
    var out = [Float](repeating: 9, count: count + 16)
    let state: [Int64] = [7, 11]
    out.withUnsafeMutableBufferPointer { out in
      state.withUnsafeBufferPointer { state in
        var args = ck_random_args()
        // On a line, or nothing is streamed.
        let address = UInt(bitPattern: out.baseAddress!)
        let start = Int((64 - address % 64) % 64 / 4)
        args.out = UnsafeMutableRawPointer(out.baseAddress! + start)
        args.state = state.baseAddress
        args.count = Int64(count)
        (args.scale, args.shift) = (1, 0)
        TestTeams.shared.run(ck_random(CK_RANDOM_SCALED_UNIFORM, ck_isa_best()), args, team: 1)
        for i in stride(from: 0, to: count, by: 997) {
          let word = Self.word(i, key: 7, step: 11, stream: 0)
          #expect(Double(out[start + i]) == Self.uniform(word))
        }
      }
    }
  }

  @Test func normal_hasTheMomentsOfANormal() {
    let n = 1 << 20
    var out = [Float](repeating: 0, count: n)
    let state: [Int64] = [42, 0]
    out.withUnsafeMutableBufferPointer { out in
      state.withUnsafeBufferPointer { state in
        var args = ck_random_args()
        args.out = UnsafeMutableRawPointer(out.baseAddress)
        args.state = state.baseAddress
        args.count = Int64(n)
        TestTeams.shared.run(ck_random(CK_RANDOM_NORMAL, ck_isa_best()), args, team: 1)
      }
    }
    let values = out.map(Double.init)
    let moments = (1...4).map { k in values.map { pow($0, Double(k)) }.reduce(0, +) / Double(n) }
    // Six standard errors: sqrt(1, 2, 15, 96) / 1024.
    #expect(abs(moments[0]) < 0.006)
    #expect(abs(moments[1] - 1) < 0.009)
    #expect(abs(moments[2]) < 0.023)
    #expect(abs(moments[3] - 3) < 0.058)
    #expect(values.map(abs).max()! > 4.5)
  }

  @Test(arguments: [Float(0), 0.1, 0.5, 0.999, 1]) func bernoulli_isUniformLessThanP(p: Float) {
    for count in [1, 15, 16, 17, 100, 5000] {
      check(CK_RANDOM_BERNOULLI, UInt8.self, count: count, p: p, empty: 9) {
        $0 == (Self.uniform($1[$2]) < Double(p) ? 1 : 0)
      }
    }
  }

  @Test(arguments: [Float(0), 0.1, 0.5, 1]) func dropout_scalesWhatItKeeps(p: Float) {
    for count in Self.counts {
      var numbers = TestNumbers()
      let x = numbers.floats(count, scale: 3)
      let keep = 1 - Double(p)
      check(CK_RANDOM_DROPOUT, Float.self, count: count, p: p, x: x, empty: 9) { value, words, i in
        Self.uniform(words[i]) < keep ? value == x[i] * Float(1 / keep) : value == 0
      }
    }
  }
}
