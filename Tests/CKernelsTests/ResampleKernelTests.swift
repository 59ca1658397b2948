// Resampling along an axis, against plain loops in double.

import CKernels
import Foundation
import Testing

@Suite struct ResampleKernelTests {
  let table = entries(ck_resample_entries)

  /// A result's place without taps, one with one, and ones with several.
  private static let taps: [[(index: Int, weight: Float)]] = [
    [(2, 1)], [], [(0, 0.25), (1, 0.75)], [(1, -0.1), (0, 1.2), (3, 0.5), (3, 0.25)], [(3, 1)],
  ]

  private func check(
    outer: Int, inner: Int, x xType: ck_dtype = CK_F32, y yType: ck_dtype = CK_F32,
    _ change: (inout [Float]) -> Void = { _ in }
  ) {
    let (extent, taps) = (4, Self.taps)
    var numbers = TestNumbers(seed: UInt64(inner + outer * 1000))
    var x = numbers.floats(outer * extent * inner).map { widened(rounded($0)) }
    change(&x)
    var expected: [Double] = []
    for o in 0..<outer {
      for row in taps {
        for i in 0..<inner {
          expected.append(
            row.reduce(0) {
              $0 + Double($1.weight) * Double(x[(o * extent + $1.index) * inner + i])
            })
        }
      }
    }
    let header = MemoryLayout<ck_resample_args>.size
    let flat = taps.flatMap { $0 }
    var first = [Int64(0)]
    for row in taps { first.append(first.last! + Int64(row.count)) }
    everyWay(table, CK_RESAMPLE_AXIS, "\(outer) x \(inner), \(xType) to \(yType)") { run in
      let (wide, halves) = (Guarded(x), Guarded(x.map(rounded)))
      let results = (
        Guarded(Float(9), count: expected.count), Guarded(UInt16(9), count: expected.count)
      )
      let bytes = header + first.count * 8 + flat.count * MemoryLayout<ck_resample_tap>.size
      let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
      defer { block.deallocate() }
      var args = ck_resample_args()
      (args.outer, args.extent) = (Int64(outer), Int64(extent))
      (args.results, args.inner) = (Int64(taps.count), Int64(inner))
      (args.x_dtype, args.y_dtype) = (Int32(xType.rawValue), Int32(yType.rawValue))
      args.x = xType == CK_F32 ? UnsafeRawPointer(wide.pointer) : UnsafeRawPointer(halves.pointer)
      args.y =
        yType == CK_F32
        ? UnsafeMutableRawPointer(results.0.pointer) : UnsafeMutableRawPointer(results.1.pointer)
      block.storeBytes(of: args, as: ck_resample_args.self)
      for (index, value) in first.enumerated() {
        block.storeBytes(of: value, toByteOffset: header + index * 8, as: Int64.self)
      }
      for (index, tap) in flat.enumerated() {
        block.storeBytes(
          of: ck_resample_tap(index: Int32(tap.index), weight: tap.weight),
          toByteOffset: header + first.count * 8 + index * MemoryLayout<ck_resample_tap>.size,
          as: ck_resample_tap.self)
      }
      run.onBlock(block)
      let found = yType == CK_F32 ? results.0.array : results.1.array.map(widened)
      #expect(isClose(found, expected, yType == CK_F32 ? 1e-6 : 4e-3), "\(run.name)")
      #expect(results.0.isIntact && results.1.isIntact, "\(run.name)")
      return results.0.bytes + results.1.bytes
    }
  }

  @Test(arguments: Array(0...33) + [64, 65, 1003]) func allTails(inner: Int) {
    for outer in [1, 3] { check(outer: outer, inner: inner) }
  }

  @Test func allTypes() {
    for (x, y) in [(CK_BF16, CK_BF16), (CK_BF16, CK_F32), (CK_F32, CK_BF16)] {
      for inner in [1, 15, 16, 37] { check(outer: 2, inner: inner, x: x, y: y) }
    }
  }

  @Test func nothing_isMadeOfNothing() { check(outer: 0, inner: 5) }

  @Test func whatIsNotFinite_goesWhereItIsRead() {
    for bad in [Float.nan, .infinity] { check(outer: 2, inner: 19) { $0[3 * 19 + 4] = bad } }
  }
}
