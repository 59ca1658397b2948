// Rows of a table that updates meet: added up at the first of them, and written back.

import CKernels
import Testing

@Suite struct RowKernelTests {
  private let table = entries(ck_gather_entries)

  private func checkCoalesce(
    axis: Int, _ indices: [Int], inner: Int, type: ck_dtype = CK_F32, bad: (Int, Int)? = nil
  ) {
    let count = indices.count
    // Halves of small whole numbers: bf16 holds them, and no sum is rounded in a way of its own.
    let updates = (0..<count * inner).map { Float($0 * 37 % 101) / 2 - 20 }
    var rows = [Int32](repeating: -1, count: count)
    var sums = [Float](repeating: 0, count: count * inner)
    var first: [Int: Int] = [:]
    for (k, index) in indices.enumerated() where (0..<axis).contains(index) {
      let place = first[index] ?? k
      first[index] = place
      rows[place] = Int32(index)
      for i in 0..<inner { sums[place * inner + i] += updates[k * inner + i] }
    }
    everyWay(table, CK_GATHER_COALESCE, "\(axis) \(count) \(inner)") { run in
      let floats = Guarded(updates)
      let halves = Guarded(updates.map { UInt16(truncatingIfNeeded: $0.bitPattern >> 16) })
      let places = Guarded(indices.map(Int64.init))
      let (toRows, toSums) = (Guarded(Int32(7), count: count), Guarded(Float(9), count: sums.count))
      let error = Guarded([Int64(-1), 0])
      var args = ck_coalesce_args()
      args.rows = toRows.pointer
      args.sums = toSums.pointer
      args.updates =
        type == CK_F32 ? UnsafeRawPointer(floats.pointer) : UnsafeRawPointer(halves.pointer)
      args.indices = UnsafeRawPointer(places.pointer)
      args.error = error.pointer
      (args.axis, args.count, args.inner) = (Int64(axis), Int64(count), Int64(inner))
      args.index_dtype = Int32(CK_I64.rawValue)
      args.update_dtype = Int32(type.rawValue)
      let workspace = Guarded(UInt64.max, count: ck_coalesce_workspace_bytes(&args) / 8)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      run(args)
      #expect(toRows.array == rows && toRows.isIntact, "\(run.name)")
      #expect(toSums.array == sums && toSums.isIntact && workspace.isIntact, "\(run.name)")
      #expect(error.pointer[0] == Int64(bad?.0 ?? -1), "\(run.name)")
      #expect(error.pointer[1] == Int64(bad?.1 ?? 0) && error.isIntact, "\(run.name)")
      return toRows.bytes + toSums.bytes + error.bytes
    }
  }

  @Test(arguments: [1, 2, 15, 16, 17, 33, 64]) func coalesce_addsRowsThatMeet(inner: Int) {
    var numbers = TestNumbers(seed: UInt64(inner))
    // To both sides of 48, up to which another sort is taken; rows beyond one byte and two.
    for (axis, count) in [(5, 40), (5, 49), (300, 200), (1 << 20, 100), (1, 7), (9, 0)] {
      let indices = (0..<count).map { _ in Int.random(in: 0..<axis, using: &numbers) }
      checkCoalesce(axis: axis, indices, inner: inner)
      checkCoalesce(axis: axis, indices, inner: inner, type: CK_BF16)
    }
  }

  @Test func coalesce_leavesBadIndicesOut() {
    var indices = (0..<200).map { $0 * 7 % 40 }
    indices[150] = 40
    indices[31] = -1
    indices[32] = Int(Int32.max)
    checkCoalesce(axis: 40, indices, inner: 3, bad: (31, -1))
    checkCoalesce(axis: 40, [0, Int(UInt32.max), 1 << 40], inner: 3, bad: (1, Int(UInt32.max)))
  }

  @Test func coalesce_addsInTheOrderOfUpdates() {
    // 1 is lost beside 1e8, and counts where the large ones have gone.
    everyWay(table, CK_GATHER_COALESCE) { run in
      let updates = Guarded([Float(1e8), 1, -1e8, 1])
      let indices = Guarded([UInt8(3), 3, 3, 3])
      let (rows, sums) = (Guarded(Int32(7), count: 4), Guarded(Float(9), count: 4))
      let workspace = Guarded(UInt64.max, count: 8)
      var args = ck_coalesce_args()
      args.rows = rows.pointer
      args.sums = sums.pointer
      args.updates = UnsafeRawPointer(updates.pointer)
      args.indices = UnsafeRawPointer(indices.pointer)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      (args.axis, args.count, args.inner) = (4, 4, 1)
      args.index_dtype = Int32(CK_U8.rawValue)
      args.update_dtype = Int32(CK_F32.rawValue)
      run(args)
      #expect(sums.array == [1, 0, 0, 0] && rows.array == [3, -1, -1, -1], "\(run.name)")
      return sums.bytes
    }
  }

  @Test(arguments: [0, 1, 4, 63, 64, 65, 300], [false, true])
  func setRows_writesThoseAlone(bytes: Int, inPlace: Bool) {
    let axis = 50
    let old = (0..<axis * bytes).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let rows: [Int32] = [49, -1, 0, 7, .min, 50, 31, .max]
    let values = (0..<rows.count * bytes).map { UInt8(truncatingIfNeeded: $0 &* 29 &+ 5) }
    var expected = old
    for (k, row) in rows.enumerated() where row >= 0 && row < axis {
      for i in 0..<bytes { expected[Int(row) * bytes + i] = values[k * bytes + i] }
    }
    everyWay(table, CK_GATHER_SET_ROWS, "\(bytes) \(inPlace)") { run in
      let (from, to) = (Guarded(old), Guarded(UInt8(3), count: old.count))
      let (places, new) = (Guarded(rows), Guarded(values))
      var args = ck_set_rows_args()
      args.dst = UnsafeMutableRawPointer(inPlace ? from.pointer : to.pointer)
      args.src = UnsafeRawPointer(from.pointer)
      args.rows = UnsafePointer(places.pointer)
      args.values = UnsafeRawPointer(new.pointer)
      (args.axis, args.count, args.row_bytes) = (Int64(axis), Int64(rows.count), Int64(bytes))
      run(args)
      let result = inPlace ? from : to
      #expect(result.array == expected && result.isIntact, "\(run.name)")
      if !inPlace { #expect(from.array == old, "\(run.name)") }
      return result.bytes
    }
  }
}
