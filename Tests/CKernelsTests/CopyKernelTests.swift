// Strided copies, padding and concatenation: exactly the right bytes and no other, for every
// element size.

import CKernels
import Testing

@Suite struct CopyKernelTests {
  let table = entries(ck_copy_entries)

  /// Every index tuple below `sizes`, row-major.
  static func indices(_ sizes: [Int]) -> [[Int]] {
    sizes.reduce([[]]) { tuples, n in tuples.flatMap { t in (0..<n).map { t + [$0] } } }
  }

  static func offset(_ index: [Int], _ strides: [Int]) -> Int {
    zip(index, strides).map(*).reduce(0, +)
  }

  static func dense(_ sizes: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: sizes.count)
    for d in stride(from: sizes.count - 2, through: 0, by: -1) {
      strides[d] = strides[d + 1] * sizes[d + 1]
    }
    return strides
  }

  static func set<T>(_ tuple: inout T, _ values: [Int]) {
    withUnsafeMutableBytes(of: &tuple) {
      let slots = $0.bindMemory(to: Int64.self)
      for (i, v) in values.enumerated() { slots[i] = Int64(v) }
    }
  }

  func check<E: FixedWidthInteger & BitwiseCopyable>(
    _: E.Type, sizes: [Int], dst: [Int], dstOffset: Int = 0, dstCount: Int, src: [Int],
    srcOffset: Int = 0, srcCount: Int
  ) {
    let source = (0..<srcCount).map { E(truncatingIfNeeded: $0 &* 2_654_435_761 &+ 12345) }
    var expected = [E](repeating: 77, count: dstCount)
    for index in Self.indices(sizes) {
      expected[dstOffset + Self.offset(index, dst)] = source[srcOffset + Self.offset(index, src)]
    }
    everyWay(table, CK_COPY_STRIDED, "\(E.self) \(sizes) \(dst) \(src)") { run in
      let from = Guarded(source)
      let to = Guarded(E(77), count: dstCount, offset: 3)
      var args = ck_copy_args()
      args.dst = UnsafeMutableRawPointer(to.pointer)
      args.src = UnsafeRawPointer(from.pointer)
      args.dst_offset = Int64(dstOffset)
      args.src_offset = Int64(srcOffset)
      args.element_size = Int32(MemoryLayout<E>.size)
      args.rank = Int32(sizes.count)
      Self.set(&args.sizes, sizes)
      Self.set(&args.dst_strides, dst)
      Self.set(&args.src_strides, src)
      run(args)
      #expect(to.array == expected, "\(run.name)")
      #expect(to.isIntact, "\(run.name)")
      return to.bytes
    }
  }

  func check<E: FixedWidthInteger & BitwiseCopyable>(all type: E.Type) {
    for (m, n) in [(1, 1), (3, 5), (8, 8), (7, 70), (65, 33), (130, 17), (64, 128), (16, 9)] {
      // A transpose, and one of each of three matrices.
      check(type, sizes: [n, m], dst: [m, 1], dstCount: m * n, src: [1, n], srcCount: m * n)
      check(
        type, sizes: [3, n, m], dst: [m * n, m, 1], dstCount: 3 * m * n, src: [m * n, 1, n],
        srcCount: 3 * m * n)
    }
    for n in Array(1...34) + [100, 20000] {
      check(type, sizes: [n], dst: [1], dstCount: n, src: [1], srcCount: n)
      check(type, sizes: [n], dst: [1], dstCount: n, src: [-1], srcOffset: n - 1, srcCount: n)
      check(type, sizes: [3, n], dst: [n, 1], dstCount: 3 * n, src: [1, 0], srcCount: 3)
      check(type, sizes: [3, n], dst: [n, 1], dstCount: 3 * n, src: [0, 1], srcCount: n)
      check(type, sizes: [2, n], dst: [n, 1], dstCount: 2 * n, src: [2 * n, 2], srcCount: 4 * n)
      check(
        type, sizes: [2, n], dst: [3 * n + 1, 3], dstOffset: 2, dstCount: 6 * n + 4, src: [n, 1],
        srcCount: 2 * n)
    }
    // Heads in front of positions, a permutation of four axes, a slice into a larger array.
    check(
      type, sizes: [2, 3, 5, 40], dst: Self.dense([2, 3, 5, 40]), dstCount: 1200,
      src: [600, 40, 120, 1], srcCount: 1200)
    check(
      type, sizes: [5, 4, 3, 2], dst: Self.dense([5, 4, 3, 2]), dstCount: 120,
      src: [1, 5, 20, 60], srcCount: 120)
    check(
      type, sizes: [4, 6], dst: [10, 1], dstOffset: 13, dstCount: 60, src: [6, 1], srcCount: 24)
    check(type, sizes: [], dst: [], dstCount: 1, src: [], srcCount: 1)
    check(type, sizes: [3, 0, 2], dst: [2, 2, 1], dstCount: 4, src: [2, 2, 1], srcCount: 4)
  }

  @Test func strided_ofBytes() { check(all: UInt8.self) }
  @Test func strided_ofTwoBytes() { check(all: UInt16.self) }
  @Test func strided_ofFourBytes() { check(all: UInt32.self) }
  @Test func strided_ofEightBytes() { check(all: UInt64.self) }

  func checkPad<E: FixedWidthInteger & BitwiseCopyable>(
    _: E.Type, from src: [Int], to dst: [Int], low: [Int], step: [Int]
  ) {
    let source = (0..<src.reduce(1, *)).map { E(truncatingIfNeeded: $0 + 1) }
    let fill = E(truncatingIfNeeded: 0x7B7A_7978_7776_7574 as UInt64)
    var expected = [E](repeating: fill, count: dst.reduce(1, *))
    let (from, to) = (Self.dense(src), Self.dense(dst))
    for index in Self.indices(src) {
      let place = index.indices.map { low[$0] + step[$0] * index[$0] }
      guard zip(place, dst).allSatisfy({ $0 >= 0 && $0 < $1 }) else { continue }
      expected[Self.offset(place, to)] = source[Self.offset(index, from)]
    }
    everyWay(table, CK_COPY_PAD, "\(src) \(dst) \(low) \(step)") { run in
      let input = Guarded(source)
      let output = Guarded(E(1), count: expected.count)
      var args = ck_pad_args()
      args.dst = UnsafeMutableRawPointer(output.pointer)
      args.src = UnsafeRawPointer(input.pointer)
      args.fill = 0x7B7A_7978_7776_7574
      args.element_size = Int32(MemoryLayout<E>.size)
      args.rank = Int32(src.count)
      Self.set(&args.dst_sizes, dst)
      Self.set(&args.src_sizes, src)
      Self.set(&args.low, low)
      Self.set(&args.step, step)
      run(args)
      #expect(output.array == expected, "\(run.name)")
      #expect(output.isIntact, "\(run.name)")
      return output.bytes
    }
  }

  func checkPads<E: FixedWidthInteger & BitwiseCopyable>(_ type: E.Type) {
    checkPad(type, from: [5], to: [9], low: [2], step: [1])
    checkPad(type, from: [5], to: [3], low: [-1], step: [1])
    checkPad(type, from: [5], to: [14], low: [1], step: [3])
    checkPad(type, from: [5], to: [6], low: [-4], step: [3])
    checkPad(type, from: [5], to: [4], low: [10], step: [1])
    checkPad(type, from: [0], to: [4], low: [0], step: [1])
    checkPad(type, from: [3, 4], to: [7, 40], low: [1, 17], step: [2, 5])
    checkPad(type, from: [2, 3, 4], to: [4, 5, 6], low: [1, 0, 2], step: [1, 2, 1])
    checkPad(type, from: [2, 0, 4], to: [4, 5, 6], low: [1, 0, 2], step: [1, 2, 1])
  }

  @Test func pad_fillsAndDilates() {
    checkPads(UInt8.self)
    checkPads(UInt16.self)
    checkPads(UInt32.self)
    checkPads(UInt64.self)
  }

  @Test(arguments: [0, 1, 63, 4095, 4096, 4097, 70_001])
  func bytes_areCopiedAsTheyLie(count: Int) {
    let source = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }
    everyWay(table, CK_COPY_BYTES, "\(count)") { run in
      let input = Guarded(source)
      let output = Guarded(UInt8(1), count: count, offset: 3)
      run(ck_bytes_args(dst: output.pointer, src: input.pointer, count: Int64(count)))
      #expect(output.holds(source) && output.isIntact && input.isIntact, "\(run.name)")
      return output.bytes
    }
  }

  @Test(arguments: [[3], [1, 5], [4, 0, 8], [100_000, 7, 70_001]])
  func concat_joinsRuns(bytes: [Int]) {
    for outer in [1, 2, 5] {
      let sources = bytes.enumerated().map { k, n in
        (0..<outer * n).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ k &* 101) }
      }
      var expected: [UInt8] = []
      for o in 0..<outer {
        for (k, n) in bytes.enumerated() { expected += sources[k][o * n..<(o + 1) * n] }
      }
      everyWay(table, CK_COPY_CONCAT, "\(outer) of \(bytes)") { run in
        let inputs = sources.map { Guarded($0) }
        let output = Guarded(UInt8(0), count: expected.count)
        var args = ck_concat_args()
        args.dst = UnsafeMutableRawPointer(output.pointer)
        args.outer = Int64(outer)
        args.count = Int32(bytes.count)
        Self.set(&args.bytes, bytes)
        Self.set(&args.src, inputs.map { Int(bitPattern: $0.pointer) })
        run(args)
        #expect(output.array == expected && output.isIntact, "\(run.name)")
        return output.bytes
      }
    }
  }
}
