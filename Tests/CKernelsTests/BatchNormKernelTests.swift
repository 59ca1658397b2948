// Statistics of channels and batch normalisation's backward pass, against plain loops in double.

import CKernels
import Foundation
import Testing

@Suite struct BatchNormKernelTests {
  let table = entries(ck_batch_norm_entries)
  static let widths = Array(1...33) + [64, 65, 511, 512, 513, 1025]
  static let heights = [1, 2, 3, 5, 16, 17, 63, 64, 65, 130, 1027]

  /// Mean and variance of each column.
  private func moments(_ x: [Float], cols: Int) -> [(mean: Double, variance: Double)] {
    (0..<cols).map { c in
      let column = stride(from: c, to: x.count, by: cols).map { Double(x[$0]) }
      let mean = column.reduce(0, +) / Double(column.count)
      let squares = column.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      return (mean, squares / Double(column.count))
    }
  }

  /// The kernel's mean and variance of rows, the same every way; bf16 where `narrow`.
  private func found(
    _ x: [Float], rows: Int, cols: Int, narrow: Bool = false, _ what: String = ""
  ) -> (mean: [Float], variance: [Float]) {
    var last: (mean: [Float], variance: [Float]) = ([], [])
    everyWay(table, CK_BATCH_NORM_MOMENTS, "of \(rows) x \(cols) \(what)") { run in
      let (wide, halves) = (Guarded(x), Guarded(x.map(rounded)))
      let (mean, variance) = (Guarded(Float(9), count: cols), Guarded(Float(9), count: cols))
      var args = ck_moments_args()
      args.rows = Int64(rows)
      args.cols = Int64(cols)
      args.x_dtype = Int32((narrow ? CK_BF16 : CK_F32).rawValue)
      args.x = narrow ? UnsafeRawPointer(halves.pointer) : UnsafeRawPointer(wide.pointer)
      args.mean = mean.pointer
      args.variance = variance.pointer
      let workspace = Guarded(
        Float.nan, count: ck_moments_workspace_bytes(&args) / 4, offset: 0)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      run(args)
      #expect(mean.isIntact && variance.isIntact && workspace.isIntact, "\(run.name)")
      last = (mean.array, variance.array)
      return mean.bytes + variance.bytes
    }
    return last
  }

  private func checkMoments(rows: Int, cols: Int, mean: Float = 0.5, narrow: Bool = false) {
    var numbers = TestNumbers(seed: UInt64(rows * 7000 + cols))
    var x = numbers.floats(rows * cols, scale: 2).map { $0 + mean }
    if narrow { x = x.map { widened(rounded($0)) } }
    let expected = moments(x, cols: cols)
    let result = found(x, rows: rows, cols: cols, narrow: narrow)
    #expect(isClose(result.mean, expected.map(\.mean), 1e-6), "\(rows) x \(cols)")
    #expect(isClose(result.variance, expected.map(\.variance), 2e-6), "\(rows) x \(cols)")
  }

  @Test(arguments: widths, [false, true]) func moments_ofAllWidths(cols: Int, narrow: Bool) {
    for rows in [1, 5, 130] { checkMoments(rows: rows, cols: cols, narrow: narrow) }
  }

  @Test(arguments: heights) func moments_ofAllHeights(rows: Int) {
    for cols in [1, 16, 19] { checkMoments(rows: rows, cols: cols) }
  }

  @Test func aLargeMean_costsNoPrecision() {
    for rows in [17, 300, 5000] {
      var numbers = TestNumbers(seed: UInt64(rows))
      let x = numbers.floats(rows * 3, scale: 2).map { $0 + 10_000 }
      let expected = moments(x, cols: 3)
      let result = found(x, rows: rows, cols: 3)
      #expect(isClose(result.mean, expected.map(\.mean), 1e-7))
      #expect(isClose(result.variance, expected.map(\.variance), 1e-5))
    }
  }

  @Test func anOutlierInARunsFirstRow_costsNoPrecision() {
    var numbers = TestNumbers(seed: 3)
    var x = numbers.floats(4096)
    for i in stride(from: 0, to: 4096, by: 64) { x[i] = 1000 }
    let expected = moments(x, cols: 1)
    let result = found(x, rows: 4096, cols: 1)
    #expect(abs(Double(result.variance[0]) / expected[0].variance - 1) < 1e-5)
  }

  @Test func equalNumbers_haveNoVariance_andAreTheirMean() {
    for value in [0.1, 3e7, -1e-30] as [Float] {
      let result = found([Float](repeating: value, count: 997 * 5), rows: 997, cols: 5)
      #expect(result.mean == Array(repeating: value, count: 5))
      #expect(result.variance == Array(repeating: 0, count: 5))
    }
  }

  @Test func noRows_haveNoMoments() {
    let result = found([], rows: 0, cols: 20)
    #expect((result.mean + result.variance).filter(\.isNaN).count == 40)
  }

  @Test func whatIsNotFinite_staysInItsColumn() {
    for bad in [Float.nan, .infinity, -.infinity] {
      for place in [0, 40, 199] {
        var numbers = TestNumbers(seed: 4)
        var x = numbers.floats(200 * 21)
        x[place * 21 + 7] = bad
        let result = found(x, rows: 200, cols: 21)
        for c in 0..<21 {
          #expect(result.variance[c].isFinite == (c != 7), "\(bad) in row \(place)")
          #expect(result.mean[c].isFinite == (c != 7), "\(bad) in row \(place)")
        }
      }
    }
  }

  // MARK: Backward

  private struct Case {
    let rows, cols: Int
    var x, dy, gamma, mean, variance: [Float]
    let epsilon: Float = 1e-5

    init(rows: Int, cols: Int) {
      (self.rows, self.cols) = (rows, cols)
      var numbers = TestNumbers(seed: UInt64(cols + rows * 5000))
      x = numbers.floats(rows * cols, scale: 3).map { widened(rounded($0 + 0.5)) }
      dy = numbers.floats(rows * cols).map { widened(rounded($0)) }
      gamma = numbers.floats(cols).map { $0 + 1 }
      mean = numbers.floats(cols)
      variance = numbers.floats(cols).map { $0 + 1.5 }
    }

    func expected(hasGamma: Bool) -> (
      dx: [Double], dgamma: [Double], dbeta: [Double]
    ) {
      var dx = [Double](repeating: 0, count: x.count)
      var (dgamma, dbeta): ([Double], [Double]) = ([], [])
      for c in 0..<cols {
        let rstd = 1 / (Double(variance[c]) + Double(epsilon)).squareRoot()
        let places = Array(stride(from: c, to: x.count, by: cols))
        let g = places.map { Double(dy[$0]) }
        let n = places.map { (Double(x[$0]) - Double(mean[c])) * rstd }
        let (sum, product) = (g.reduce(0, +), zip(g, n).reduce(0) { $0 + $1.0 * $1.1 })
        dbeta.append(sum)
        dgamma.append(product)
        let r = Double(rows)
        for (i, place) in places.enumerated() {
          dx[place] =
            (hasGamma ? Double(gamma[c]) : 1) * rstd * (g[i] - sum / r - n[i] * product / r)
        }
      }
      return (dx, dgamma, dbeta)
    }
  }

  /// Where dx goes, and what is stored as bf16.
  private struct Form {
    var hasGamma = true
    var inPlace = false
    var dx = false
    var dy = false
    var x = false
  }

  private func check(_ c: Case, _ form: Form) {
    let expected = c.expected(hasGamma: form.hasGamma)
    func type(_ narrow: Bool) -> Int32 { Int32((narrow ? CK_BF16 : CK_F32).rawValue) }
    everyWay(table, CK_BATCH_NORM_BACKWARD, "of \(c.rows) x \(c.cols), \(form)") { run in
      let stored = [(c.dy, form.dy), (c.x, form.x)].map {
        (wide: Guarded($0.0), narrow: Guarded($0.0.map(rounded)), isNarrow: $0.1)
      }
      let pointers = stored.map {
        $0.isNarrow ? UnsafeRawPointer($0.narrow.pointer) : UnsafeRawPointer($0.wide.pointer)
      }
      let dx = (Guarded(Float(9), count: c.x.count), Guarded(UInt16(9), count: c.x.count))
      let (gamma, mean) = (Guarded(c.gamma), Guarded(c.mean))
      let variance = Guarded(c.variance)
      let (dgamma, dbeta) = (Guarded(Float(9), count: c.cols), Guarded(Float(9), count: c.cols))
      var args = ck_batch_norm_backward_args()
      args.rows = Int64(c.rows)
      args.cols = Int64(c.cols)
      args.epsilon = c.epsilon
      (args.dx_dtype, args.dy_dtype) = (type(form.dx), type(form.dy))
      args.x_dtype = type(form.x)
      (args.dy, args.x) = (pointers[0], pointers[1])
      args.mean = UnsafePointer(mean.pointer)
      args.variance = UnsafePointer(variance.pointer)
      args.gamma = form.hasGamma ? UnsafePointer(gamma.pointer) : nil
      (args.dgamma, args.dbeta) = (dgamma.pointer, dbeta.pointer)
      args.dx =
        form.inPlace
        ? UnsafeMutableRawPointer(mutating: pointers[0])
        : form.dx
          ? UnsafeMutableRawPointer(dx.1.pointer) : UnsafeMutableRawPointer(dx.0.pointer)
      let workspace = Guarded(
        Float.nan, count: ck_batch_norm_backward_workspace_bytes(&args) / 4, offset: 0)
      args.workspace = UnsafeMutableRawPointer(workspace.pointer)
      run(args)
      let own = form.inPlace ? (stored[0].wide, stored[0].narrow) : dx
      let found = form.dx ? own.1.array.map(widened) : own.0.array
      #expect(isClose(found, expected.dx, form.dx ? 4e-3 : 3e-6), "\(run.name)")
      let tolerance = 1e-6 * max(1, Double(c.rows).squareRoot())
      #expect(isClose(dgamma.array, expected.dgamma, tolerance), "\(run.name)")
      #expect(isClose(dbeta.array, expected.dbeta, tolerance), "\(run.name)")
      let isIntact =
        own.0.isIntact && own.1.isIntact && dgamma.isIntact && dbeta.isIntact
        && workspace.isIntact
      #expect(isIntact, "\(run.name)")
      return own.0.bytes + own.1.bytes + dgamma.bytes + dbeta.bytes
    }
  }

  @Test(arguments: widths) func backward_ofAllWidths(cols: Int) {
    for rows in [5, 70] {
      let c = Case(rows: rows, cols: cols)
      check(c, Form())
      check(c, Form(hasGamma: false, inPlace: true))
    }
  }

  @Test(arguments: heights) func backward_ofAllHeights(rows: Int) {
    check(Case(rows: rows, cols: 19), Form(hasGamma: false))
  }

  @Test(arguments: 0..<8) func backward_ofAllTypes(types: Int) {
    let bits = (0..<3).map { types >> $0 & 1 == 1 }
    for (rows, cols) in [(37, 21), (64, 32)] {
      let c = Case(rows: rows, cols: cols)
      let form = Form(dx: bits[0], dy: bits[1], x: bits[2])
      check(c, form)
      if bits[0] == bits[1] {
        var own = form
        own.inPlace = true
        check(c, own)
      }
    }
  }

  @Test func backwardOfNothing_hasSumsOfZero() { check(Case(rows: 0, cols: 5), Form()) }
}
