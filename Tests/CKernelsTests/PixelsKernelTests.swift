// Bytes as floats: the very quotients, of any rows, wherever they lie.

import CKernels
import Testing

@Suite struct PixelsKernelTests {
  let table = entries(ck_pixels_entries)

  private static func expected(_ byte: UInt8, _ op: ck_pixels_op) -> Float {
    let unit = Float(byte) / 255
    return op == CK_PIXELS_UNIT ? unit : (unit - 0.2860) / 0.3530
  }

  private func check(
    _ op: ck_pixels_op, rows: [Int64]?, count: Int, size: Int, offset: Int = 3
  ) {
    let total = (rows?.max() ?? Int64(count - 1)) + 1
    var numbers = TestNumbers(seed: UInt64(size + 1))
    let bytes = (0..<Int(max(total, 0)) * size).map { _ in
      UInt8(truncatingIfNeeded: numbers.next())
    }
    let expected = (0..<count).flatMap { row in
      (0..<size).map {
        Self.expected(bytes[Int(rows?[row] ?? Int64(row)) * size + $0], op)
      }
    }
    everyWay(table, op, "\(count) rows of \(size)") { run in
      let from = Guarded(bytes)
      let to = Guarded(Float.nan, count: count * size, offset: offset)
      let order = Guarded(rows ?? [0])
      var args = ck_pixels_args()
      args.out = to.pointer
      args.bytes = UnsafePointer(from.pointer)
      args.rows = rows == nil ? nil : UnsafePointer(order.pointer)
      (args.count, args.size) = (Int64(count), Int64(size))
      (args.mean, args.deviation) = (0.2860, 0.3530)
      run(args)
      #expect(to.array == expected && to.isIntact && from.isIntact, "\(run.name)")
      return to.bytes
    }
  }

  @Test(arguments: [CK_PIXELS_UNIT, CK_PIXELS_NORMAL].map(\.rawValue))
  func rowsOfEverySize_areTheQuotients(op: UInt32) {
    for size in 0...40 { check(ck_pixels_op(op), rows: nil, count: 5, size: size) }
    for size in [1, 3, 48, 784, 3072, 5000] {
      check(ck_pixels_op(op), rows: [4, 0, 8, 8, 3, 1, 0], count: 7, size: size)
    }
    check(ck_pixels_op(op), rows: nil, count: 0, size: 9)
    // So many that they go past the cache, where they begin at a line and where they do not.
    for size in [784, 789] { check(ck_pixels_op(op), rows: nil, count: 21, size: size, offset: 0) }
  }

  @Test(arguments: [CK_PIXELS_UNIT, CK_PIXELS_NORMAL].map(\.rawValue))
  func everyByteIsItsQuotient(op: UInt32) {
    let bytes = (0...255).map { UInt8($0) }
    everyWay(table, ck_pixels_op(op)) { run in
      let from = Guarded(bytes), to = Guarded(Float.nan, count: 256)
      var args = ck_pixels_args()
      (args.out, args.bytes) = (to.pointer, UnsafePointer(from.pointer))
      (args.count, args.size, args.mean, args.deviation) = (1, 256, 0.2860, 0.3530)
      run(args)
      #expect(to.array == bytes.map { Self.expected($0, ck_pixels_op(op)) }, "\(run.name)")
      return to.bytes
    }
  }
}
