// Sequences of their own lengths between a padded array and packed rows, both ways, every level and team.

import CKernels
import Testing

@Suite struct PackedRowsTests {
  private struct Case {
    let lengths: [Int]
    let time, width: Int
    var isOrdered = false

    var order: [Int] { lengths.indices.sorted { (lengths[$1], $0) < (lengths[$0], $1) } }
    var offsets: [Int32] {
      (0...time).map { step in Int32(lengths.reduce(0) { $0 + min($1, step) }) }
    }
    /// For each packed row, its place among the rows of the padded array.
    var places: [Int] {
      (0..<time).flatMap { step in
        order.enumerated().filter { lengths[$1] > step }.map { place, sequence in
          isOrdered ? step * lengths.count + place : sequence * time + step
        }
      }
    }
  }

  private func check(_ c: Case, from: ck_dtype, to: ck_dtype, unpacks: Bool) {
    let rows = c.lengths.count * c.time
    let numbers = (0..<rows * c.width).map { Float($0 % 251) - 120 }
    var wanted = [Float](repeating: 0, count: numbers.count)
    for (packed, padded) in c.places.enumerated() {
      let (source, target) = unpacks ? (packed, padded) : (padded, packed)
      for j in 0..<c.width { wanted[target * c.width + j] = numbers[source * c.width + j] }
    }
    everyWay(
      entries(ck_gather_entries), CK_GATHER_PACKED_ROWS, "\(c.lengths) \(c.width) \(unpacks)"
    ) { run in
      func source<E: BitwiseCopyable>(_ value: (Float) -> E) -> Guarded<E> {
        Guarded(numbers.map(value))
      }
      let wide = source { $0 }, narrow = source(rounded)
      let wideResult = Guarded(Float(9), count: numbers.count)
      let narrowResult = Guarded(UInt16(9), count: numbers.count)
      let order = Guarded(c.order.map(Int64.init)), offsets = Guarded(c.offsets)
      var args = ck_packed_rows_args()
      args.src =
        from == CK_F32 ? UnsafeRawPointer(wide.pointer) : UnsafeRawPointer(narrow.pointer)
      args.dst =
        to == CK_F32
        ? UnsafeMutableRawPointer(wideResult.pointer)
        : UnsafeMutableRawPointer(narrowResult.pointer)
      if !c.isOrdered { args.order = UnsafeRawPointer(order.pointer) }
      args.order_dtype = Int32(CK_I64.rawValue)
      args.offsets = UnsafePointer(offsets.pointer)
      (args.steps, args.batch) = (Int64(c.time), Int64(c.lengths.count))
      args.width = Int64(c.width)
      args.sequence_stride = c.isOrdered ? 1 : Int64(c.time)
      args.step_stride = c.isOrdered ? Int64(c.lengths.count) : 1
      args.unpacks = unpacks ? 1 : 0
      (args.src_type, args.dst_type) = (Int32(from.rawValue), Int32(to.rawValue))
      run(args)
      // Small whole numbers are the same in either type.
      let found = to == CK_F32 ? wideResult.array : narrowResult.array.map(widened)
      #expect(found == wanted && wideResult.isIntact && narrowResult.isIntact, "\(run.name)")
      return wideResult.bytes + narrowResult.bytes
    }
  }

  @Test func rowsLieStepByStepTheLongestSequenceFirst() {
    let cases = [
      Case(lengths: [3, 1, 2], time: 3, width: 1), Case(lengths: [4, 4, 4], time: 4, width: 5),
      Case(lengths: [1, 1, 1, 1, 1], time: 6, width: 16), Case(lengths: [5], time: 7, width: 33),
      Case(lengths: (0..<40).map { 1 + $0 * 7 % 30 }, time: 31, width: 18),
      Case(lengths: [], time: 4, width: 3), Case(lengths: [2, 1], time: 2, width: 0),
    ]
    for c in cases {
      for isOrdered in [false, true] {
        let c = Case(lengths: c.lengths, time: c.time, width: c.width, isOrdered: isOrdered)
        for unpacks in [false, true] {
          for (from, to) in [
            (CK_F32, CK_F32), (CK_BF16, CK_BF16), (CK_F32, CK_BF16), (CK_BF16, CK_F32),
          ] {
            check(c, from: from, to: to, unpacks: unpacks)
          }
        }
      }
    }
  }

  /// Nothing outside the arrays is touched, whatever the offsets and the order say.
  @Test func whatCannotBeIsLeftOut() {
    for offsets: [Int32] in [[0, 9, 3, 2], [-4, 100, 7, 5], [6, 5, 4, 3], [5, -5, 5, -5]] {
      for unpacks in [false, true] {
        everyWay(entries(ck_gather_entries), CK_GATHER_PACKED_ROWS, "\(offsets)") { run in
          let source = Guarded(Float(1), count: 6 * 4), result = Guarded(Float(0), count: 6 * 4)
          let order = Guarded([Int32(7), -1]), offsets = Guarded(offsets)
          var args = ck_packed_rows_args()
          args.src = UnsafeRawPointer(source.pointer)
          args.dst = UnsafeMutableRawPointer(result.pointer)
          args.order = UnsafeRawPointer(order.pointer)
          args.order_dtype = Int32(CK_I32.rawValue)
          args.offsets = UnsafePointer(offsets.pointer)
          (args.steps, args.batch, args.width) = (3, 2, 4)
          (args.sequence_stride, args.step_stride) = (3, 1)
          args.unpacks = unpacks ? 1 : 0
          run(args)
          #expect(result.isIntact && result.array.allSatisfy { $0 == 0 }, "\(run.name)")
          return result.bytes
        }
      }
    }
  }
}
