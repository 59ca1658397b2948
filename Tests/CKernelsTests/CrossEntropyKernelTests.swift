// Cross-entropy: loss, gradient and both at once, against plain loops in double, in every
// combination of labels, smoothing, weights and reduction.

import CKernels
import Foundation
import Testing

@Suite struct CrossEntropyKernelTests {
  let table = entries(ck_cross_entropy_entries)

  struct Case {
    var rows: Int
    var cols: Int
    var soft = false
    var smoothing: Float = 0
    var weighted = false
    var reduction = CK_REDUCTION_MEAN
    var logits: [Float]
    var targets: [Float]
    var labels: [Int]
    var weights: [Float]
    var upstream: [Float]

    init(rows: Int, cols: Int) {
      self.rows = rows
      self.cols = cols
      var numbers = TestNumbers(seed: UInt64(rows * 1000 + cols))
      logits = numbers.floats(rows * cols, scale: 6)
      targets = numbers.floats(rows * cols).map { abs($0) / Float(cols) }
      labels = (0..<rows).map { _ in Int.random(in: 0..<cols, using: &numbers) }
      weights = numbers.floats(cols).map { abs($0) + 0.5 }
      upstream = numbers.floats(rows)
    }

    /// Loss, gradient and log-sum by the equations of ck_cross_entropy.h.
    func expected() -> (loss: [Double], gradient: [Double], logSum: [Double]) {
      var losses: [Double] = []
      var gradient: [Double] = []
      var logSums: [Double] = []
      var divisor = 0.0
      let epsilon = Double(smoothing)
      for i in 0..<rows {
        let x = logits[i * cols..<(i + 1) * cols].map(Double.init)
        let m = x.max()!
        let logSum = m + log(x.map { exp($0 - m) }.reduce(0, +))
        logSums.append(logSum)
        let counts = soft || labels[i] >= 0 && labels[i] < cols
        guard counts else {
          losses.append(0)
          gradient += Array(repeating: 0, count: cols)
          continue
        }
        let q = (0..<cols).map { c -> Double in
          let t = soft ? Double(targets[i * cols + c]) : labels[i] == c ? 1 : 0
          return (weighted ? Double(weights[c]) : 1) * ((1 - epsilon) * t + epsilon / Double(cols))
        }
        let total = q.reduce(0, +)
        losses.append(zip(q, x).map { $0 * (logSum - $1) }.reduce(0, +))
        gradient += zip(q, x).map { total * exp($1 - logSum) - $0 }
        divisor += soft || !weighted ? 1 : Double(weights[labels[i]])
      }
      let u = upstream.map(Double.init)
      let scale = reduction == CK_REDUCTION_MEAN ? 1 / divisor : 1
      for i in 0..<rows {
        for c in 0..<cols {
          let counts = soft || labels[i] >= 0 && labels[i] < cols
          gradient[i * cols + c] *=
            counts ? (reduction == CK_REDUCTION_NONE ? u[i] : u[0]) * scale : 1
        }
      }
      if reduction != CK_REDUCTION_NONE { losses = [losses.reduce(0, +) * scale] }
      return (losses, gradient, logSums)
    }
  }

  /// Runs all three operations every way.
  func check(
    _ c: Case, labels dtype: ck_dtype = CK_I64, firstBad: (Int, Int)? = nil, _ what: String
  ) {
    let expected = c.expected()
    let operations = [
      CK_CROSS_ENTROPY_FORWARD, CK_CROSS_ENTROPY_BACKWARD, CK_CROSS_ENTROPY_COMBINED,
    ]
    for op in operations {
      everyWay(table, op, what) { run in
        let logits = Guarded(c.logits)
        let targets = Guarded(c.targets)
        let wide = Guarded(c.labels.map(Int64.init))
        let narrow = Guarded(c.labels.map(Int32.init))
        let bytes = Guarded(c.labels.map { UInt8(truncatingIfNeeded: $0) })
        let weights = Guarded(c.weights)
        let upstream = Guarded(c.upstream)
        let loss = Guarded(Float(9), count: c.reduction == CK_REDUCTION_NONE ? c.rows : 1)
        let backward = op == CK_CROSS_ENTROPY_BACKWARD
        let logSum = Guarded(
          backward ? expected.logSum.map(Float.init) : Array(repeating: 9, count: c.rows))
        let gradient = Guarded(Float(9), count: c.rows * c.cols)
        let error = Guarded([Int64(-1), 0])
        var args = ck_cross_entropy_args()
        args.loss = loss.pointer
        args.log_sum = logSum.pointer
        args.gradient = UnsafeMutableRawPointer(gradient.pointer)
        args.logits = UnsafeRawPointer(logits.pointer)
        if c.soft {
          args.targets = UnsafePointer(targets.pointer)
        } else {
          switch dtype {
          case CK_I32: args.labels = UnsafeRawPointer(narrow.pointer)
          case CK_U8: args.labels = UnsafeRawPointer(bytes.pointer)
          default: args.labels = UnsafeRawPointer(wide.pointer)
          }
        }
        args.class_weights = c.weighted ? UnsafePointer(weights.pointer) : nil
        args.upstream = UnsafePointer(upstream.pointer)
        args.error = error.pointer
        args.rows = Int64(c.rows)
        args.cols = Int64(c.cols)
        args.logits_stride = Int64(c.cols)
        args.gradient_stride = Int64(c.cols)
        args.targets_stride = Int64(c.cols)
        args.ignore_index = -100
        args.smoothing = c.smoothing
        args.label_dtype = Int32(dtype.rawValue)
        args.reduction = Int32(c.reduction.rawValue)
        let workspace = Guarded(Double(0), count: ck_cross_entropy_workspace_bytes(&args) / 8)
        args.workspace = UnsafeMutableRawPointer(workspace.pointer)
        run(args)
        if op != CK_CROSS_ENTROPY_BACKWARD {
          #expect(isClose(loss.array, expected.loss, 1e-5), "\(run.name)")
          #expect(isClose(logSum.array, expected.logSum), "\(run.name)")
        }
        if op != CK_CROSS_ENTROPY_FORWARD {
          #expect(isClose(gradient.array, expected.gradient, 5e-6), "\(run.name)")
        }
        #expect(
          loss.isIntact && logSum.isIntact && gradient.isIntact && workspace.isIntact
            && error.isIntact, "\(run.name)")
        #expect(error.pointer[0] == Int64(firstBad?.0 ?? -1), "\(run.name)")
        #expect(error.pointer[1] == Int64(firstBad?.1 ?? 0), "\(run.name)")
        return loss.bytes + logSum.bytes + gradient.bytes + error.bytes
      }
    }
  }

  @Test(arguments: Array(1...34) + [64, 100, 1000])
  func labels_atAnyWidth_matchPlainLoops(cols: Int) {
    // Short rows are taken sixteen together, then eight, and one alone.
    for rows in [9, 24, 33] { check(Case(rows: rows, cols: cols), "\(rows) of \(cols) classes") }
  }

  @Test func labels_ofEachType_matchPlainLoops() {
    for dtype in [CK_U8, CK_I32, CK_I64] {
      check(Case(rows: 41, cols: 10), labels: dtype, "labels of type \(dtype)")
    }
  }

  @Test(
    arguments: [false, true], [CK_REDUCTION_NONE, CK_REDUCTION_SUM, CK_REDUCTION_MEAN])
  func everyCombination_matchesPlainLoops(soft: Bool, reduction: ck_reduction) {
    for smoothing in [Float(0), 0.1] {
      for weighted in [false, true] {
        for cols in [10, 21] {
          var c = Case(rows: 37, cols: cols)
          c.soft = soft
          c.reduction = reduction
          c.smoothing = smoothing
          c.weighted = weighted
          if !soft { c.labels[3] = -100 }
          check(
            c, labels: CK_I32,
            "\(cols) classes \(soft) \(reduction) smoothing \(smoothing) \(weighted)")
        }
      }
    }
  }

  @Test func manyRows_areCutIntoBlocks() {
    var c = Case(rows: 2003, cols: 10)
    for i in stride(from: 0, to: c.rows, by: 7) { c.labels[i] = -100 }
    c.weighted = true
    check(c, "many rows")
  }

  @Test func badLabels_areNotedAndCountForNothing() {
    var c = Case(rows: 1500, cols: 10)
    c.labels[1400] = -1
    c.labels[800] = 10
    c.labels[801] = Int(Int32.max)
    check(c, firstBad: (800, 10), "bad labels")
    check(c, labels: CK_I32, firstBad: (800, 10), "bad labels")
  }

  @Test func everyRowIgnored_isNaNWithoutGradient() {
    var c = Case(rows: 3, cols: 5)
    c.labels = [-100, -100, -100]
    check(c, "all ignored")
  }

  /// Logits of bf16 and a gradient of it: the bits that f32 has, the gradient's rounded once.
  @Test(arguments: [1, 10, 33, 130, 1000]) func narrowLogits_haveTheBitsOfWideOnes(cols: Int) {
    for isSoft in [false, true] {
      var c = Case(rows: 41, cols: cols)
      c.logits = c.logits.map { widened(rounded($0)) }
      c.labels[5] = -100
      let wide = NarrowRun(c, isSoft: isSoft, isIn: false, isOut: false)
      let combined = CK_CROSS_ENTROPY_COMBINED
      wide.run { TestTeams.shared.run(ck_cross_entropy(combined, CK_ISA_REF), $0, team: 0) }
      for op in [CK_CROSS_ENTROPY_FORWARD, CK_CROSS_ENTROPY_BACKWARD, combined] {
        for types in op == CK_CROSS_ENTROPY_FORWARD ? 0..<2 : 0..<4 {
          everyWay(table, op, "\(cols) classes, types \(types), distribution \(isSoft)") { run in
            let narrow = NarrowRun(c, isSoft: isSoft, isIn: types & 1 != 0, isOut: types & 2 != 0)
            if op == CK_CROSS_ENTROPY_BACKWARD { narrow.take(logSums: wide) }
            narrow.run { run($0) }
            if op != CK_CROSS_ENTROPY_BACKWARD {
              #expect(narrow.loss.holds(wide.loss.array), "\(run.name)")
              #expect(narrow.logSum.holds(wide.logSum.array), "\(run.name)")
            }
            if op == combined {
              #expect(narrow.hasGradient(of: wide), "\(run.name)")
            } else if op == CK_CROSS_ENTROPY_BACKWARD {
              #expect(narrow.hasGradient(near: wide), "\(run.name)")
            }
            return narrow.loss.bytes + narrow.logSum.bytes + narrow.gradientBytes
          }
        }
      }
    }
  }

  @Test func narrowGradients_ofLongRowsAreAsExact() {
    let c = Case(rows: 3, cols: 8200)
    let wide = NarrowRun(c, isSoft: false, isIn: false, isOut: false)
    wide.run {
      TestTeams.shared.run(ck_cross_entropy(CK_CROSS_ENTROPY_COMBINED, CK_ISA_REF), $0, team: 0)
    }
    everyWay(table, CK_CROSS_ENTROPY_COMBINED, "long rows") { run in
      let narrow = NarrowRun(c, isSoft: false, isIn: false, isOut: true)
      narrow.run { run($0) }
      #expect(narrow.hasGradient(near: wide), "\(run.name)")
      return narrow.gradientBytes
    }
  }
}

/// The memory of one run with logits, or a gradient, of bf16.
private final class NarrowRun {
  let c: CrossEntropyKernelTests.Case
  let isIn: Bool
  let isOut: Bool
  let isSoft: Bool
  let loss = Guarded(Float(9), count: 1)
  let logSum: Guarded<Float>
  private let logits: Guarded<Float>
  private let narrowLogits: Guarded<UInt16>
  private let gradient: Guarded<Float>
  private let narrowGradient: Guarded<UInt16>
  private let targets: Guarded<Float>
  private let labels: Guarded<Int64>

  init(_ c: CrossEntropyKernelTests.Case, isSoft: Bool, isIn: Bool, isOut: Bool) {
    self.c = c
    self.isIn = isIn
    self.isOut = isOut
    self.isSoft = isSoft
    logSum = Guarded(Float(9), count: c.rows)
    logits = Guarded(c.logits)
    narrowLogits = Guarded(c.logits.map(rounded), offset: 3)
    gradient = Guarded(Float(9), count: c.logits.count)
    narrowGradient = Guarded(UInt16(9), count: c.logits.count, offset: 5)
    targets = Guarded(c.targets)
    labels = Guarded(c.labels.map(Int64.init))
  }

  func take(logSums other: NarrowRun) {
    logSum.pointer.update(from: other.logSum.pointer, count: c.rows)
  }

  func run(_ kernel: (ck_cross_entropy_args) -> Void) {
    var args = ck_cross_entropy_args()
    args.loss = loss.pointer
    args.log_sum = logSum.pointer
    args.gradient =
      isOut
      ? UnsafeMutableRawPointer(narrowGradient.pointer) : UnsafeMutableRawPointer(gradient.pointer)
    args.logits =
      isIn ? UnsafeRawPointer(narrowLogits.pointer) : UnsafeRawPointer(logits.pointer)
    if isSoft {
      args.targets = UnsafePointer(targets.pointer)
    } else {
      args.labels = UnsafeRawPointer(labels.pointer)
    }
    args.rows = Int64(c.rows)
    args.cols = Int64(c.cols)
    args.logits_stride = args.cols
    args.gradient_stride = args.cols
    args.targets_stride = args.cols
    args.ignore_index = -100
    args.smoothing = 0.1
    args.label_dtype = Int32(CK_I64.rawValue)
    args.reduction = Int32(CK_REDUCTION_MEAN.rawValue)
    args.logits_dtype = Int32((isIn ? CK_BF16 : CK_F32).rawValue)
    args.gradient_dtype = Int32((isOut ? CK_BF16 : CK_F32).rawValue)
    let workspace = Guarded(Double(0), count: ck_cross_entropy_workspace_bytes(&args) / 8)
    args.workspace = UnsafeMutableRawPointer(workspace.pointer)
    kernel(args)
    #expect(
      loss.isIntact && logSum.isIntact && gradient.isIntact && narrowGradient.isIntact
        && workspace.isIntact)
  }

  var gradientBytes: [UInt8] { isOut ? narrowGradient.bytes : gradient.bytes }

  func hasGradient(of wide: NarrowRun) -> Bool {
    isOut
      ? narrowGradient.holds(wide.gradient.array.map(rounded))
      : gradient.holds(wide.gradient.array)
  }

  /// Within what another exponential and one rounding change.
  func hasGradient(near wide: NarrowRun) -> Bool {
    let values = isOut ? narrowGradient.array.map(widened) : gradient.array
    return zip(values, wide.gradient.array).allSatisfy { a, b in
      abs(a - b) <= 1e-6 + (isOut ? 0x1p-8 : 1e-5) * abs(b)
    }
  }
}
