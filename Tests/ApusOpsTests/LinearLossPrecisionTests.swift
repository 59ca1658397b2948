// The last layer and its loss in one kernel, in every precision: within bounds that follow from how its
// products may round, around the reference in double.

import ApusGraph
import ApusOps
import ApusRuntime
import CKernels
import Foundation
import TestSupport
import Testing

@Suite struct LinearLossPrecisionTests {
  /// Two chunks of rows, and sizes at which products of bf16 are worth it.
  static let rows = 300, depth = 40, classes = 70
  static let smoothing = 0.1
  static let ignored = 1
  static let op = LinearCrossEntropy(
    CrossEntropyRule(smoothing: smoothing, ignoreIndex: ignored), transposeW: true,
    hasBias: true, gradients: .init(x: true, weight: true, bias: true))

  static let levels: [ISA] = Environment.availableISAs

  /// x, W, bias, the loss's gradient and the labels.
  static let operands: [NDArray] = {
    var generator = SplitMix("linear loss")
    func uniform(_ type: TensorType, _ range: ClosedRange<Double>) -> NDArray {
      NDArray(doubles: (0..<type.count).map { _ in generator.uniform(range) }, type: type)
    }
    return [
      uniform(.f32(rows, depth), -1...1), uniform(.f32(classes, depth), -0.5...0.5),
      uniform(.f32(classes), -1...1), NDArray([0.75], shape: []),
      NDArray((0..<rows).map { Int32(($0 * 7 + $0 / 11) % classes) }, shape: [rows]),
    ]
  }()

  /// The loss, dX, dW and the bias's gradient.
  static func reference() throws -> [[Double]] {
    let wide = operands.map { array in
      array.dtype == .f32
        ? NDArray(doubles: array.doubles, type: TensorType(.f64, array.shape)) : array
    }
    return try op.reference(wide, results: op.resultTypes(wide.map(\.type))).map(\.doubles)
  }

  /// How far each result may be off where a product of two numbers may be off by `unit` of itself.
  ///
  /// A logit is then off by no more than e, `unit` times the sum of its absolute products; a probability
  /// by a factor between exp(-2e) and exp(2e), the row's log-sum by e; and the products of the gradient G
  /// carry both G's error and their own.
  static func bounds(unit: Double) -> [[Double]] {
    let (x, w, b) = (operands[0].doubles, operands[1].doubles, operands[2].doubles)
    let labels = operands[4].doubles.map { Int($0) }
    // Sums in f32 of so many terms, and the rest of the arithmetic.
    let sum = Double(max(rows, depth, classes)) * 0x1p-24
    let unit = unit + sum
    let valid = labels.count { $0 != ignored }
    let scale = operands[3].doubles[0] / Double(valid)
    var loss = 0.0
    var dx = [Double](repeating: 0, count: rows * depth)
    var dw = [Double](repeating: 0, count: classes * depth)
    var db = [Double](repeating: 0, count: classes)
    for i in 0..<rows where labels[i] != ignored {
      var logits = b
      var magnitudes = b.map { abs($0) * sum / unit }
      for j in 0..<classes {
        for p in 0..<depth {
          logits[j] += x[i * depth + p] * w[j * depth + p]
          magnitudes[j] += abs(x[i * depth + p] * w[j * depth + p])
        }
      }
      let e = unit * magnitudes.max()! + 1e-6
      loss += 2 * e / Double(valid)
      let exponentials = logits.map { exp($0) }
      let total = exponentials.reduce(0, +)
      for j in 0..<classes {
        let probability = exponentials[j] / total
        let target = smoothing / Double(classes) + (j == labels[i] ? 1 - smoothing : 0)
        let error = scale * (probability * (exp(2 * e) - 1) + 1e-6)
        let carried = error + unit * (scale * abs(probability - target) + error)
        db[j] += error + sum * scale * abs(probability - target)
        for p in 0..<depth {
          dx[i * depth + p] += carried * abs(w[j * depth + p])
          dw[j * depth + p] += carried * abs(x[i * depth + p])
        }
      }
    }
    return [[loss], dx, dw, db]
  }

  /// What a product of two operands may lose: nothing, three of four products of 8-bit halves, or the
  /// roundings of both to 8 bits.
  static func unit(_ precision: Precision) -> Double {
    switch precision {
    case .highest: 0
    case .high: 3 * 0x1p-16
    case .mixed: 0x1p-8 + 0x1p-18
    }
  }

  /// The greatest ratio of an error and its bound.
  private func worst(_ found: [NDArray], _ wanted: [[Double]], _ bounds: [[Double]]) -> Double {
    var worst = 0.0
    for (array, (wanted, bounds)) in zip(found, zip(wanted, bounds)) {
      for (got, (want, bound)) in zip(array.doubles, zip(wanted, bounds)) {
        // Rows that are ignored have exact zeros.
        let ratio = got == want ? 0 : abs(got - want) / bound
        worst = max(worst, ratio.isNaN ? .infinity : ratio)
      }
    }
    return worst
  }

  @Test(arguments: levels)
  func resultsStayWithinTheirBounds(isa: ISA) throws {
    let wanted = try Self.reference()
    for precision in Precision.allCases {
      let bounds = Self.bounds(unit: Self.unit(precision))
      var bits: [NDArray]?
      for threads: Int32 in [1, 2, 7] {
        let found = try KernelRunner.run(
          Self.op, Self.operands, isa: isa, threads: threads, precision: precision)
        let worst = worst(found, wanted, bounds)
        #expect(worst <= 1, "\(precision), \(isa), \(threads) threads: \(worst) of the bound")
        #expect(found == bits ?? found, "\(precision), \(isa): other bits on \(threads) threads")
        bits = found
      }
    }
  }

  @Test("Where mixed gains it rounds: the bounds of highest do not hold", arguments: levels)
  func mixedRounds(isa: ISA) throws {
    let rounds = isa == .amx || isa == .avx512bf16 && ck_multiplies_bf16_pairs_fast()
    let found = try KernelRunner.run(Self.op, Self.operands, isa: isa, precision: .mixed)
    let worst = worst(found, try Self.reference(), Self.bounds(unit: 0))
    #expect((worst > 1) == rounds, "\(isa): \(worst)")
  }
}
