// Cumulative operations and the place of the extreme, along any axis, against plain loops.

import CKernels
import Testing

@Suite struct ScanKernelTests {
  let table = entries(ck_scan_entries)

  static let shapes: [[Int]] =
    (1...34).map { [3, $0, 1] }
    + [
      [1, 1000, 1], [2, 5, 1], [2, 7, 3], [3, 9, 16], [2, 4, 17], [1, 6, 64], [2, 5, 131],
      [2, 0, 3],
    ]

  /// `combine` along the middle axis of a dense [outer, axis, inner].
  func scan<E>(
    _ x: [E], _ shape: [Int], exclusive: Bool, reverse: Bool, _ start: E, _ combine: (E, E) -> E
  ) -> [E] {
    var y = x
    for o in 0..<shape[0] {
      for i in 0..<shape[2] {
        var sum = start
        for k in 0..<shape[1] {
          let at = (o * shape[1] + (reverse ? shape[1] - 1 - k : k)) * shape[2] + i
          let next = combine(sum, x[at])
          y[at] = exclusive ? sum : next
          sum = next
        }
      }
    }
    return y
  }

  func check<E: BitwiseCopyable>(
    _ op: ck_scan_op, _ kind: ck_scan_kind, _ x: [E], _ shape: [Int], exclusive: Bool,
    reverse: Bool, _ isRight: @escaping ([E]) -> Bool
  ) {
    everyWay(table, op, "\(shape) \(kind) \(exclusive) \(reverse)") { run in
      let input = Guarded(x)
      let y = Guarded(x, offset: 3)
      var args = ck_scan_args()
      args.y = UnsafeMutableRawPointer(y.pointer)
      args.x = UnsafeRawPointer(input.pointer)
      (args.outer, args.axis, args.inner) = (Int64(shape[0]), Int64(shape[1]), Int64(shape[2]))
      args.kind = Int32(kind.rawValue)
      args.exclusive = exclusive ? 1 : 0
      args.reverse = reverse ? 1 : 0
      run(args)
      #expect(isRight(y.array), "\(run.name)")
      #expect(y.isIntact, "\(run.name)")
      return y.bytes
    }
  }

  @Test(arguments: shapes) func scans_matchPlainLoops(shape: [Int]) {
    var numbers = TestNumbers(seed: UInt64(shape[1] * 7 + shape[2]))
    let floats = numbers.floats(shape.reduce(1, *)).map { $0 < 0 ? $0 - 0.5 : $0 + 0.5 }
    let doubles = floats.map(Double.init)
    let ints = floats.map { Int32($0 * 1e9) }
    let longs = floats.map { Int64($0 * 4e18) }
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
      let kinds: [(ck_scan_kind, Double, (Double, Double) -> Double)] = [
        (CK_SCAN_SUM, 0, { $0 + $1 }), (CK_SCAN_PRODUCT, 1, { $0 * $1 }),
        (CK_SCAN_MAX, -.infinity, { max($0, $1) }), (CK_SCAN_MIN, .infinity, { min($0, $1) }),
      ]
      for (kind, start, combine) in kinds {
        let expected = scan(
          doubles, shape, exclusive: exclusive, reverse: reverse, start, combine)
        check(CK_SCAN_F32, kind, floats, shape, exclusive: exclusive, reverse: reverse) {
          isClose($0, expected, 1e-5)
        }
      }
      let wrapping:
        [(ck_scan_kind, Int32, Int64, (Int32, Int32) -> Int32, (Int64, Int64) -> Int64)] = [
          (CK_SCAN_SUM, 0, 0, { $0 &+ $1 }, { $0 &+ $1 }),
          (CK_SCAN_PRODUCT, 1, 1, { $0 &* $1 }, { $0 &* $1 }),
          (CK_SCAN_MAX, .min, .min, { max($0, $1) }, { max($0, $1) }),
          (CK_SCAN_MIN, .max, .max, { min($0, $1) }, { min($0, $1) }),
        ]
      for (kind, start, longStart, combine, longCombine) in wrapping {
        let expected = scan(ints, shape, exclusive: exclusive, reverse: reverse, start, combine)
        check(CK_SCAN_I32, kind, ints, shape, exclusive: exclusive, reverse: reverse) {
          $0 == expected
        }
        let long = scan(
          longs, shape, exclusive: exclusive, reverse: reverse, longStart, longCombine)
        check(CK_SCAN_I64, kind, longs, shape, exclusive: exclusive, reverse: reverse) {
          $0 == long
        }
      }
    }
  }

  @Test(arguments: [[1, 777, 1], [3, 600, 17], [2, 700, 2], [1, 530, 65]])
  func longSums_matchPlainLoops(shape: [Int]) {
    var numbers = TestNumbers(seed: UInt64(shape[1]))
    let x = numbers.floats(shape.reduce(1, *))
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
      let expected = scan(
        x.map(Double.init), shape, exclusive: exclusive, reverse: reverse, 0, { $0 + $1 })
      check(CK_SCAN_F32, CK_SCAN_SUM, x, shape, exclusive: exclusive, reverse: reverse) {
        isClose($0, expected, 1e-5)
      }
    }
  }

  @Test(arguments: [1, 2, 17]) func sums_doNotDrift(inner: Int) {
    let axis = 100_000
    let tenth = Double(Float(0.1))
    check(
      CK_SCAN_F32, CK_SCAN_SUM, [Float](repeating: 0.1, count: axis * inner), [1, axis, inner],
      exclusive: false, reverse: false
    ) { y in
      [999, 5000, axis - 1].allSatisfy { k in
        abs(Double(y[k * inner]) / (Double(k + 1) * tenth) - 1) < 1e-6
      }
    }
  }

  @Test(arguments: [1, 20]) func nan_staysOnceMet(inner: Int) {
    let axis = 40
    var x = [Float](repeating: 2, count: axis * inner)
    for i in 0..<inner { x[17 * inner + i] = .nan }
    for kind in [CK_SCAN_SUM, CK_SCAN_PRODUCT, CK_SCAN_MAX, CK_SCAN_MIN] {
      check(CK_SCAN_F32, kind, x, [1, axis, inner], exclusive: false, reverse: false) { y in
        y[..<(17 * inner)].allSatisfy { $0.isFinite } && y[(17 * inner)...].allSatisfy { $0.isNaN }
      }
    }
  }

  func checkArg(_ x: [Float], _ shape: [Int]) {
    for (op, greatest) in [(CK_SCAN_ARGMAX, true), (CK_SCAN_ARGMIN, false)] {
      var expected: [Int] = []
      for o in 0..<shape[0] {
        for i in 0..<shape[2] {
          var best = 0
          for k in 1..<max(1, shape[1]) {
            let a = x[(o * shape[1] + k) * shape[2] + i]
            let b = x[(o * shape[1] + best) * shape[2] + i]
            if (greatest ? a > b : a < b) || a.isNaN && !b.isNaN { best = k }
          }
          expected.append(best)
        }
      }
      for wide in [true, false] {
        everyWay(table, op, "\(shape)") { run in
          let input = Guarded(x)
          let long = Guarded(Int64(-9), count: expected.count)
          let short = Guarded(Int32(-9), count: expected.count)
          var args = ck_arg_args()
          args.indices =
            wide ? UnsafeMutableRawPointer(long.pointer) : UnsafeMutableRawPointer(short.pointer)
          args.x = UnsafePointer(input.pointer)
          (args.outer, args.axis, args.inner) = (Int64(shape[0]), Int64(shape[1]), Int64(shape[2]))
          args.index_dtype = Int32((wide ? CK_I64 : CK_I32).rawValue)
          run(args)
          let found = wide ? long.array.map(Int.init) : short.array.map(Int.init)
          #expect(found == expected, "\(run.name)")
          #expect(long.isIntact && short.isIntact, "\(run.name)")
          return long.bytes + short.bytes
        }
      }
    }
  }

  @Test(arguments: shapes.filter { $0[1] > 0 }) func arg_isTheFirstExtreme(shape: [Int]) {
    var numbers = TestNumbers(seed: UInt64(shape[1]))
    let count = shape.reduce(1, *)
    checkArg(numbers.floats(count), shape)
    // Few distinct values: ties everywhere. Then NaN, and nothing but the worst.
    var tied = numbers.floats(count).map { ($0 * 2).rounded() }
    checkArg(tied, shape)
    for i in stride(from: 5, to: count, by: 11) { tied[i] = .nan }
    checkArg(tied, shape)
    checkArg(Array(repeating: -.infinity, count: count), shape)
    checkArg(Array(repeating: .infinity, count: count), shape)
  }
}
