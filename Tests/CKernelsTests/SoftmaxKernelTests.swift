// Softmax, log-softmax and their gradients: every level and team against plain loops in double.

import CKernels
import Foundation
import Testing

@Suite struct SoftmaxKernelTests {
  let table = entries(ck_softmax_entries)
  static let widths = Array(1...34) + [47, 48, 63, 64, 65, 127, 130, 1000, 4099]

  /// Rows of `cols` with a gap between them, so that a wrong stride shows.
  struct Case {
    let rows: Int
    let cols: Int
    let stride: Int
    var x: [Float]
    var dy: [Float]

    init(cols: Int, scale: Float = 8) {
      self.cols = cols
      // Short rows are taken sixteen together, then fewer, the last ones alone: by how many depends on
      // the team.
      rows = cols <= CK_SHORT_COLUMNS + 2 ? 41 : 5
      stride = cols + 3
      var numbers = TestNumbers(seed: UInt64(cols))
      x = numbers.floats(rows * stride, scale: scale)
      dy = numbers.floats(rows * stride)
    }

    func row(_ values: [Float], _ i: Int) -> [Double] {
      values[i * stride..<i * stride + cols].map(Double.init)
    }
  }

  func softmax(_ x: [Double]) -> [Double] {
    let m = x.max()!
    let e = x.map { exp($0 - m) }
    let sum = e.reduce(0, +)
    return e.map { $0 / sum }
  }

  func arguments(_ c: Case, _ out: Guarded<Float>) -> ck_softmax_args {
    var args = ck_softmax_args()
    args.out = UnsafeMutableRawPointer(out.pointer)
    args.rows = Int64(c.rows)
    args.cols = Int64(c.cols)
    args.out_stride = Int64(c.stride)
    args.x_stride = Int64(c.stride)
    args.y_stride = Int64(c.stride)
    args.dy_stride = Int64(c.stride)
    return args
  }

  /// Runs `op` every way; `expected` gives a row. The gaps between rows must stay.
  func check(
    _ op: ck_softmax_op, _ c: Case, y: [Float]? = nil, tolerance: Double = 2e-6,
    _ expected: (Int) -> [Double]
  ) {
    everyWay(table, op, "at \(c.cols) columns") { run in
      let x = Guarded(c.x)
      let dy = Guarded(c.dy, offset: 2)
      let saved = Guarded(y ?? c.x, offset: 3)
      let out = Guarded(Float(7), count: c.rows * c.stride)
      var args = arguments(c, out)
      args.x = UnsafeRawPointer(x.pointer)
      args.dy = UnsafeRawPointer(dy.pointer)
      args.y = UnsafeRawPointer(saved.pointer)
      run(args)
      for i in 0..<c.rows {
        let row = Array(out.array[i * c.stride..<i * c.stride + c.cols])
        #expect(isClose(row, expected(i), tolerance), "\(run.name), row \(i)")
        #expect(out.array[(i * c.stride + c.cols)..<((i + 1) * c.stride)].allSatisfy { $0 == 7 })
      }
      #expect(out.isIntact, "\(run.name)")
      return out.bytes
    }
  }

  @Test(arguments: widths) func softmax_matchesPlainLoops(cols: Int) {
    let c = Case(cols: cols)
    check(CK_SOFTMAX_FORWARD, c) { softmax(c.row(c.x, $0)) }
    check(CK_SOFTMAX_LOG_FORWARD, c) { i in
      let x = c.row(c.x, i)
      let m = x.max()!
      let logSum = log(x.map { exp($0 - m) }.reduce(0, +))
      return x.map { $0 - m - logSum }
    }
  }

  @Test(arguments: widths) func gradients_matchPlainLoops(cols: Int) {
    let c = Case(cols: cols)
    var y = [Float](repeating: 0, count: c.x.count)
    for i in 0..<c.rows {
      for (j, v) in softmax(c.row(c.x, i)).enumerated() { y[i * c.stride + j] = Float(v) }
    }
    check(CK_SOFTMAX_BACKWARD, c, y: y) { i in
      let (p, d) = (c.row(y, i), c.row(c.dy, i))
      let dot = zip(p, d).map(*).reduce(0, +)
      return zip(p, d).map { $0 * ($1 - dot) }
    }
    check(CK_SOFTMAX_BACKWARD_OF_LOGITS, c) { i in
      let (p, d) = (softmax(c.row(c.x, i)), c.row(c.dy, i))
      let dot = zip(p, d).map(*).reduce(0, +)
      return zip(p, d).map { $0 * ($1 - dot) }
    }
    let logs = y.map { $0 > 0 ? Foundation.log($0) : 0 }
    check(CK_SOFTMAX_LOG_BACKWARD, c, y: logs, tolerance: 2e-5) { i in
      let (l, d) = (c.row(logs, i), c.row(c.dy, i))
      let sum = d.reduce(0, +)
      return zip(l, d).map { $1 - exp($0) * sum }
    }
  }

  @Test(arguments: [13, 37]) func softmax_ofInfinitiesAndNaN_isAsInPyTorch_butZeroWhereAllIsMasked(
    cols: Int
  ) {
    var c = Case(cols: cols)
    let (first, second, third, fourth) = (0, c.stride, 2 * c.stride, 3 * c.stride)
    for j in 0..<c.cols { c.x[first + j] = -.infinity }  // nothing to choose from
    for j in 1..<c.cols { c.x[second + j] = -.infinity }  // all the weight on one
    c.x[third + 9] = .infinity
    c.x[fourth + cols - 1] = .nan
    check(CK_SOFTMAX_FORWARD, c) { i in
      switch i {
      case 0: return Array(repeating: 0, count: cols)
      case 2, 3: return Array(repeating: .nan, count: cols)
      case 1: return [1] + Array(repeating: 0, count: cols - 1)
      default: return softmax(c.row(c.x, i))
      }
    }
    check(CK_SOFTMAX_LOG_FORWARD, c) { i in
      switch i {
      case 0: return Array(repeating: -.infinity, count: cols)
      case 2, 3: return Array(repeating: .nan, count: cols)
      case 1: return [0] + Array(repeating: -.infinity, count: cols - 1)
      default: return softmax(c.row(c.x, i)).map(log)
      }
    }
  }

  @Test func softmax_ofHugeLogits_doesNotOverflow() {
    let c = Case(cols: 129, scale: 1e4)
    check(CK_SOFTMAX_FORWARD, c) { softmax(c.row(c.x, $0)) }
  }

  @Test func softmax_keepsDigitsOfSmallProbabilities() {
    var c = Case(cols: 1300)
    // Sixteenths, so that subtracting the greatest is exact; down to -81, and then what is 0.
    for i in 0..<c.rows {
      for j in 0..<c.cols {
        c.x[i * c.stride + j] = 3 - (j < 1297 ? Float(j) / 16 : Float(j))
      }
    }
    everyWay(table, CK_SOFTMAX_FORWARD) { run in
      let x = Guarded(c.x)
      let out = Guarded(Float(7), count: c.rows * c.stride)
      var args = arguments(c, out)
      args.x = UnsafeRawPointer(x.pointer)
      run(args)
      for i in 0..<c.rows {
        let expected = softmax(c.row(c.x, i))
        let worst = (0..<1297).map { j in
          abs(Double(out.array[i * c.stride + j]) / expected[j] - 1)
        }.max()!
        #expect(worst < 1e-6, "\(run.name), row \(i): \(worst)")
        #expect((1297..<1300).allSatisfy { out.array[i * c.stride + $0] == 0 }, "\(run.name)")
      }
      return out.bytes
    }
  }

  @Test(arguments: [7, 77]) func softmax_worksInPlace(cols: Int) {
    let c = Case(cols: cols)
    everyWay(table, CK_SOFTMAX_FORWARD) { run in
      let x = Guarded(c.x)
      var args = arguments(c, x)
      args.x = UnsafeRawPointer(x.pointer)
      run(args)
      for i in 0..<c.rows {
        let row = Array(x.array[i * c.stride..<i * c.stride + c.cols])
        #expect(isClose(row, softmax(c.row(c.x, i))))
      }
      return x.bytes
    }
  }

  /// Rows of bf16, read or made, in every combination: the bits that f32 has, rounded once.
  @Test(arguments: [1, 7, 16, 33, 130, 8200]) func narrowRows_haveTheBitsOfWideOnesRounded(
    cols: Int
  ) {
    var c = Case(cols: cols)
    c.x = c.x.map { widened(rounded($0)) }
    c.dy = c.dy.map { widened(rounded($0)) }
    let operations = [
      CK_SOFTMAX_FORWARD, CK_SOFTMAX_BACKWARD, CK_SOFTMAX_LOG_FORWARD, CK_SOFTMAX_LOG_BACKWARD,
      CK_SOFTMAX_BACKWARD_OF_LOGITS,
    ].filter { $0 != CK_SOFTMAX_BACKWARD_OF_LOGITS || cols <= CK_KEPT_COLUMNS }
    let (x, dy) = (Guarded(c.x), Guarded(c.dy))
    let narrowX = Guarded(c.x.map(rounded), offset: 3)
    let narrowDY = Guarded(c.dy.map(rounded), offset: 5)
    for op in operations {
      let wide = Guarded(Float(7), count: c.rows * c.stride)
      var args = arguments(c, wide)
      args.x = UnsafeRawPointer(x.pointer)
      args.y = args.x
      args.dy = UnsafeRawPointer(dy.pointer)
      TestTeams.shared.run(ck_softmax(op, CK_ISA_REF), args, team: 0)
      for types in 0..<8 {
        let (isIn, isDY, isOut) = (types & 1 != 0, types & 2 != 0, types & 4 != 0)
        everyWay(table, op, "at \(cols) columns, types \(types)") { run in
          let out = Guarded(Float(7), count: c.rows * c.stride)
          let narrow = Guarded(rounded(7), count: c.rows * c.stride)
          var args = arguments(c, out)
          if isOut { args.out = UnsafeMutableRawPointer(narrow.pointer) }
          args.x = isIn ? UnsafeRawPointer(narrowX.pointer) : UnsafeRawPointer(x.pointer)
          args.y = args.x
          args.dy = isDY ? UnsafeRawPointer(narrowDY.pointer) : UnsafeRawPointer(dy.pointer)
          args.out_dtype = Int32((isOut ? CK_BF16 : CK_F32).rawValue)
          args.x_dtype = Int32((isIn ? CK_BF16 : CK_F32).rawValue)
          args.y_dtype = args.x_dtype
          args.dy_dtype = Int32((isDY ? CK_BF16 : CK_F32).rawValue)
          run(args)
          #expect(out.isIntact && narrow.isIntact, "\(run.name)")
          #expect(
            isOut
              ? narrow.holds(wide.array.map(rounded)) : out.holds(wide.array),
            "\(run.name)")
          return isOut ? narrow.bytes : out.bytes
        }
      }
    }
  }
}
