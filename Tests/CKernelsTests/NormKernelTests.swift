// Layer and RMS normalisation and their gradients, against plain loops in double.

import CKernels
import Foundation
import Testing

@Suite struct NormKernelTests {
  let table = entries(ck_norm_entries)
  static let widths = Array(1...34) + [48, 63, 64, 65, 130, 768, 1023]

  struct Case {
    let rows: Int
    let cols: Int
    var x: [Float]
    let dy, gamma, beta: [Float]
    let epsilon: Float = 1e-5

    init(rows: Int, cols: Int) {
      self.rows = rows
      self.cols = cols
      var numbers = TestNumbers(seed: UInt64(cols + rows * 5000))
      x = numbers.floats(rows * cols, scale: 3).map { $0 + 0.5 }
      dy = numbers.floats(rows * cols)
      gamma = numbers.floats(cols).map { $0 + 1 }
      beta = numbers.floats(cols)
    }

    func statistics(_ h: [Double], centered: Bool) -> (mean: Double, rstd: Double) {
      let n = Double(cols)
      let mean = centered ? h.reduce(0, +) / n : 0
      let variance = h.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / n
      return (mean, 1 / sqrt(variance + Double(epsilon)))
    }
  }

  @Test(arguments: widths) func forward_matchesPlainLoops(cols: Int) {
    let c = Case(rows: 5, cols: cols)
    for (op, centered) in [(CK_NORM_LAYER_FORWARD, true), (CK_NORM_RMS_FORWARD, false)] {
      for (hasGamma, hasBeta) in [(true, true), (true, false), (false, false), (false, true)] {
        everyWay(table, op, "at \(cols)") { run in
          let x = Guarded(c.x)
          let (gamma, beta) = (Guarded(c.gamma), Guarded(c.beta))
          let y = Guarded(Float(9), count: c.rows * cols)
          let (mean, rstd) = (Guarded(Float(9), count: c.rows), Guarded(Float(9), count: c.rows))
          var args = ck_norm_args()
          args.y = UnsafeMutableRawPointer(y.pointer)
          args.mean = mean.pointer
          args.rstd = rstd.pointer
          args.x = UnsafeRawPointer(x.pointer)
          args.gamma = hasGamma ? UnsafePointer(gamma.pointer) : nil
          args.beta = hasBeta ? UnsafePointer(beta.pointer) : nil
          args.rows = Int64(c.rows)
          args.cols = Int64(cols)
          args.x_stride = Int64(cols)
          args.epsilon = c.epsilon
          run(args)
          for i in 0..<c.rows {
            let range = i * cols..<(i + 1) * cols
            let h = range.map { Double(c.x[$0]) }
            let s = c.statistics(h, centered: centered)
            let expected = h.indices.map { j in
              (h[j] - s.mean) * s.rstd * (hasGamma ? Double(c.gamma[j]) : 1)
                + (hasBeta ? Double(c.beta[j]) : 0)
            }
            // One column has no spread: all that is left of it is rounding over sqrt(epsilon).
            let tolerance = cols == 1 ? 1e-4 : 1e-5
            #expect(isClose(Array(y.array[range]), expected, tolerance), "\(run.name)")
            #expect(isClose([rstd.array[i]], [s.rstd], 1e-5), "\(run.name)")
            #expect(isClose([mean.array[i]], centered ? [s.mean] : [9]), "\(run.name)")
          }
          #expect(y.isIntact && mean.isIntact && rstd.isIntact, "\(run.name)")
          return y.bytes + mean.bytes + rstd.bytes
        }
      }
    }
  }

  func checkBackward(_ c: Case, hasGamma: Bool = true) {
    let cols = c.cols
    for (op, centered) in [(CK_NORM_LAYER_BACKWARD, true), (CK_NORM_RMS_BACKWARD, false)] {
      var dx = [Double]()
      var dgamma = [Double](repeating: 0, count: cols)
      var dbeta = dgamma
      var means: [Float] = []
      var rstds: [Float] = []
      for i in 0..<c.rows {
        let h = c.x[i * cols..<(i + 1) * cols].map(Double.init)
        let d = c.dy[i * cols..<(i + 1) * cols].map(Double.init)
        let s = c.statistics(h, centered: centered)
        means.append(Float(s.mean))
        rstds.append(Float(s.rstd))
        let n = h.map { ($0 - s.mean) * s.rstd }
        let g = d.indices.map { d[$0] * (hasGamma ? Double(c.gamma[$0]) : 1) }
        let meanG = centered ? g.reduce(0, +) / Double(cols) : 0
        let meanGN = zip(g, n).map(*).reduce(0, +) / Double(cols)
        dx += g.indices.map { s.rstd * (g[$0] - meanG - n[$0] * meanGN) }
        for j in 0..<cols {
          dgamma[j] += d[j] * n[j]
          dbeta[j] += d[j]
        }
      }
      everyWay(table, op, "\(c.rows) rows of \(cols)") { run in
        let (x, dy, gamma) = (Guarded(c.x), Guarded(c.dy), Guarded(c.gamma))
        let (mean, rstd) = (Guarded(means), Guarded(rstds))
        let out = Guarded(Float(9), count: c.rows * cols)
        let (outGamma, outBeta) = (Guarded(Float(9), count: cols), Guarded(Float(9), count: cols))
        var args = ck_norm_backward_args()
        args.dx = UnsafeMutableRawPointer(out.pointer)
        args.dgamma = outGamma.pointer
        args.dbeta = outBeta.pointer
        args.dy = UnsafeRawPointer(dy.pointer)
        args.x = UnsafeRawPointer(x.pointer)
        args.mean = UnsafePointer(mean.pointer)
        args.rstd = UnsafePointer(rstd.pointer)
        args.gamma = hasGamma ? UnsafePointer(gamma.pointer) : nil
        args.rows = Int64(c.rows)
        args.cols = Int64(cols)
        args.x_stride = Int64(cols)
        args.dy_stride = Int64(cols)
        let workspace = Guarded(Float(0), count: ck_norm_workspace_bytes(&args) / 4)
        args.workspace = UnsafeMutableRawPointer(workspace.pointer)
        run(args)
        // One column: rstd is about 316, and multiplies what cancels.
        let tolerance = cols <= 2 ? 1e-3 : 2e-5
        #expect(isClose(out.array, dx, tolerance), "\(run.name)")
        #expect(isClose(outGamma.array, dgamma, tolerance * 4), "\(run.name)")
        #expect(isClose(outBeta.array, dbeta, 2e-5), "\(run.name)")
        #expect(
          out.isIntact && outGamma.isIntact && outBeta.isIntact && workspace.isIntact, "\(run.name)"
        )
        return out.bytes + outGamma.bytes + outBeta.bytes
      }
    }
  }

  @Test(arguments: widths) func backward_matchesPlainLoops(cols: Int) {
    checkBackward(Case(rows: 5, cols: cols))
  }

  @Test func backward_ofManyRows_sumsBlocksInOrder() {
    checkBackward(Case(rows: 1100, cols: 19))
    checkBackward(Case(rows: 33, cols: 40), hasGamma: false)
  }

  @Test(arguments: [1, 7, 16, 40, 65, 768])
  func backwardWithoutStatistics_hasTheBitsOfThoseThatForwardGives(cols: Int) {
    for (op, forward) in [
      (CK_NORM_LAYER_BACKWARD, CK_NORM_LAYER_FORWARD), (CK_NORM_RMS_BACKWARD, CK_NORM_RMS_FORWARD),
    ] {
      var c = Case(rows: 37, cols: cols)
      c.x[cols] = .infinity
      c.x[5 * cols] = .nan
      let (x, dy, gamma) = (Guarded(c.x), Guarded(c.dy), Guarded(c.gamma))
      let (mean, rstd) = (Guarded(Float(0), count: c.rows), Guarded(Float(0), count: c.rows))
      let y = Guarded(Float(9), count: c.rows * cols)
      var first = ck_norm_args()
      first.y = UnsafeMutableRawPointer(y.pointer)
      first.mean = mean.pointer
      first.rstd = rstd.pointer
      first.x = UnsafeRawPointer(x.pointer)
      first.rows = Int64(c.rows)
      first.cols = Int64(cols)
      first.x_stride = Int64(cols)
      first.epsilon = c.epsilon
      TestTeams.shared.run(ck_norm(forward, CK_ISA_REF), first, team: 1)
      everyWay(table, op, "at \(cols)") { run in
        let results = [false, true].map { isGiven in
          let out = Guarded(Float(9), count: c.rows * cols)
          let sums = [Guarded(Float(9), count: cols), Guarded(Float(9), count: cols)]
          var args = ck_norm_backward_args()
          args.dx = UnsafeMutableRawPointer(out.pointer)
          args.dgamma = sums[0].pointer
          args.dbeta = sums[1].pointer
          args.dy = UnsafeRawPointer(dy.pointer)
          args.x = UnsafeRawPointer(x.pointer)
          args.mean = isGiven ? UnsafePointer(mean.pointer) : nil
          args.rstd = isGiven ? UnsafePointer(rstd.pointer) : nil
          args.gamma = UnsafePointer(gamma.pointer)
          args.rows = Int64(c.rows)
          args.cols = Int64(cols)
          args.x_stride = Int64(cols)
          args.dy_stride = Int64(cols)
          args.epsilon = isGiven ? .nan : c.epsilon
          let workspace = Guarded(Float(0), count: ck_norm_workspace_bytes(&args) / 4)
          args.workspace = UnsafeMutableRawPointer(workspace.pointer)
          run(args)
          #expect(out.isIntact && sums.allSatisfy(\.isIntact) && workspace.isIntact, "\(run.name)")
          return (out.array + sums.flatMap(\.array)).map { $0.isNaN ? 1 : $0.bitPattern }
        }
        #expect(results[0] == results[1], "\(run.name)")
        return results[0].flatMap { bits in
          (0..<4).map { UInt8(truncatingIfNeeded: bits >> ($0 * 8)) }
        }
      }
    }
  }

  /// y, and the statistics, of rows that are not for the usual way.
  func forward(
    _ x: [Float], cols: Int, epsilon: Float, centered: Bool, _ isRight: @escaping ([Float]) -> Bool
  ) {
    let rows = x.count / cols
    everyWay(table, centered ? CK_NORM_LAYER_FORWARD : CK_NORM_RMS_FORWARD, "\(cols) \(x[0])") {
      run in
      let input = Guarded(x), y = Guarded(Float(9), count: x.count)
      let (mean, rstd) = (Guarded(Float(9), count: rows), Guarded(Float(9), count: rows))
      var args = ck_norm_args()
      args.y = UnsafeMutableRawPointer(y.pointer)
      args.mean = mean.pointer
      args.rstd = rstd.pointer
      args.x = UnsafeRawPointer(input.pointer)
      (args.rows, args.cols, args.x_stride) = (Int64(rows), Int64(cols), Int64(cols))
      args.epsilon = epsilon
      run(args)
      #expect(isRight(y.array), "\(run.name): \(y.array.prefix(8))")
      #expect(y.isIntact && mean.isIntact && rstd.isIntact, "\(run.name)")
      return y.bytes + mean.bytes + rstd.bytes
    }
  }

  @Test(arguments: [1, 6, 16, 33, 64, 768, 1023, 4096])
  func equalNumbers_haveNoDeviation(cols: Int) {
    for number in [0.1, 7.3, 10000.1, 1e8, -3e30, 1e-30] as [Float] {
      for epsilon in [1e-5, 0] as [Float] {
        forward(
          [Float](repeating: number, count: 2 * cols), cols: cols, epsilon: epsilon, centered: true
        ) {
          $0.allSatisfy { $0 == 0 }
        }
      }
    }
  }

  @Test(arguments: [2, 16, 50, 800]) func farRows_areScaled(cols: Int) {
    for unit in [1e19, 1e30, 1e38, 1e-25, 1e-36] as [Float] {
      for centered in [true, false] {
        // A usual row between two far ones.
        let signs = (0..<cols).map { Float($0 % 2 == 0 ? 1 : -1) }
        let x = signs.map { $0 * unit } + signs + signs.map { $0 * unit * -1 }
        let even = cols % 2 == 0 ? signs : []
        forward(x, cols: cols, epsilon: 0, centered: centered) { y in
          zip(y, even + even + even.map { -$0 }).allSatisfy { abs($0 - $1) < 1e-6 }
        }
      }
    }
  }

  @Test func theMeanOfAFirstPart_maySayLittle() {
    // The first sixteen are far from the rest.
    let x = (0..<400).map { $0 < 16 ? Float(1000) : Float($0 % 5) * 1e-2 }
    let mean = x.reduce(0) { $0 + Double($1) } / 400
    let variance = x.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / 400
    forward(x, cols: 400, epsilon: 1e-5, centered: true) { y in
      zip(x, y).allSatisfy {
        abs((Double($0) - mean) / (variance + 1e-5).squareRoot() - Double($1)) < 1e-6
      }
    }
  }

  @Test func nan_staysInItsRow() {
    var x = [Float](repeating: 1, count: 60)
    for i in x.indices { x[i] = Float(i % 7) }
    x[25] = .nan
    everyWay(table, CK_NORM_LAYER_FORWARD) { run in
      let input = Guarded(x)
      let y = Guarded(Float(0), count: 60)
      var args = ck_norm_args()
      args.y = UnsafeMutableRawPointer(y.pointer)
      args.x = UnsafeRawPointer(input.pointer)
      args.rows = 3
      args.cols = 20
      args.x_stride = 20
      args.epsilon = 1e-5
      run(args)
      #expect(y.array[20..<40].allSatisfy { $0.isNaN }, "\(run.name)")
      #expect(
        y.array[..<20].allSatisfy { $0.isFinite } && y.array[40...].allSatisfy { $0.isFinite })
      return (0..<60).map { y.array[$0].isNaN ? 1 : 0 }
    }
  }
}
