// Rows at the edges: normalisations and losses of what is equal, far from 1 or masked; sums that are long;
// the order of what is no number.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusRuntime
import Foundation
import Testing

@Suite struct NormalisationEdgeTests {
  @Test(arguments: [(1, 5.1), (6, 7.3), (13, 0.1), (768, 10000.1), (1023, 100_000.1), (4096, 1e8)])
  func aRowOfEqualNumbers_isZero_andSoIsItsGradient(columns: Int, number: Float) throws {
    let x = row(Array(repeating: number, count: columns))
    let zeros = [Double](repeating: 0, count: columns)
    for epsilon in [1e-5, 0] {
      expect(try everyWay(x) { layerNorm($0, epsilon: epsilon) }, zeros)
      expect(
        try everyWay(x) { x in gradient(x) { pow(layerNorm($0, epsilon: epsilon), 3) } }, zeros)
    }
    let beta = NDArray([Float](repeating: 2, count: columns), shape: [columns])
    let runs = try everyWay([x, beta]) { [layerNorm($0[0], gamma: $0[1], beta: $0[1])] }
    expect(runs, zeros.map { $0 + 2 })
  }

  @Test func zeros_areZero_withoutAnEpsilon() throws {
    let zeros = row([0, 0, 0])
    expect(try everyWay(zeros) { rmsNorm($0, epsilon: 0) }, [0, 0, 0])
    expect(try everyWay(zeros) { x in gradient(x) { rmsNorm($0, epsilon: 0) } }, [0, 0, 0])
  }

  @Test func aLargeMean_costsNoDigits() throws {
    let values = (0..<8192).map { Float($0 % 16) / 1000 + 10000 }
    let mean = values.reduce(0) { $0 + Double($1) } / 8192
    let variance = values.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / 8192
    let expected = values.map { (Double($0) - mean) / (variance + 1e-5).squareRoot() }
    expect(try everyWay(row(values)) { layerNorm($0) }, expected, within: 1e-4)
    expect(try everyWay(row(values)) { $0.variance(correction: 0) }, [variance], within: 1e-5)
    expect(
      try everyWay(vector([1e7, 1e7 + 1, 1e7 + 2, 1e7 + 5])) { $0.variance() }, [14.0 / 3],
      within: 1e-6)
  }

  @Test(arguments: [1e20, 1e-20, 1e37, 1e-36, -1e25]) func farRows_areNormalised(unit: Float) throws
  {
    let x = row([1, 2, 3, 4, 5.5].map { $0 * unit })
    // With an epsilon that is small beside the squares, or 0.
    let sign: Double = unit < 0 ? -1 : 1
    let layer = [-2.1, -1.1, -0.1, 0.9, 2.4].map { sign * $0 / (2.44).squareRoot() }
    expect(try everyWay(x) { layerNorm($0, epsilon: 0) }, layer, within: 2e-5)
    expect(
      try everyWay(x) { rmsNorm($0, epsilon: 0) },
      [1, 2, 3, 4, 5.5].map { sign * $0 / (12.05).squareRoot() }, within: 2e-5)
    if abs(unit) > 1 { expect(try everyWay(x) { layerNorm($0) }, layer, within: 2e-5) }
  }

  @Test func rowsBeyondTheirOwnSpread_areNormalised() throws {
    // (x - mean)² is beyond f32, and so is x - mean.
    let x = row([3e38, -3e38, 3e38, -3e38])
    for run in try everyWay(x, { layerNorm($0) }).dropFirst() {
      #expect(run.results[0].doubles == [1, -1, 1, -1], "\(run.name)")
    }
  }

  @Test func sixteenBitRows_areComputedInSingle() throws {
    let x = NDArray(doubles: [300, 600, 900, 1200], type: .f16(1, 4))
    let expected = [-1.3416, -0.4472, 0.4472, 1.3416]
    expect(try everyWay(x) { layerNorm($0) }, expected, within: 1e-3)
    expect(try everyWay(x) { rmsNorm($0) }, [0.3651, 0.7303, 1.0954, 1.4606], within: 1e-3)
    let gamma = NDArray(doubles: [1, 1, 2, 2], type: .f16(4))
    expect(
      try everyWay([x, gamma]) { [layerNorm($0[0], gamma: $0[1])] },
      [-1.3416, -0.4472, 0.8944, 2.6832], within: 1e-3)
  }

  @Test func aRowWithANaN_staysInItsRow() throws {
    let x = NDArray([1, 2, .nan, 1, 2, 3, infinity, 1, 1], shape: [3, 3])
    let runs = try everyWay(x) { layerNorm($0) }
    for run in runs.dropFirst() {
      let y = run.results[0].doubles
      #expect(y[..<3].allSatisfy { $0.isNaN } && y[6...].allSatisfy { $0.isNaN }, "\(run.name)")
      #expect(abs(y[3] + 1.2247) < 1e-3 && y[4] == 0, "\(run.name)")
    }
  }
}

@Suite struct LossEdgeTests {
  @Test(arguments: [3, 16, 17, 100, 9000]) func aClassWithoutWeight_mayBeMasked(classes: Int) throws
  {
    var logits = [Float](repeating: 0, count: 8 * classes)
    var target = logits
    for row in 0..<8 {
      logits[row * classes] = 1
      logits[row * classes + 1] = -infinity
      logits[row * classes + 2] = 2
      target[row * classes] = 0.5
      target[row * classes + 2] = 0.5
    }
    let x = NDArray(logits, shape: [8, classes]), q = NDArray(target, shape: [8, classes])
    let others = Double(classes - 3)
    let loss = log1p(exp(1.0) + exp(2.0) + others - 1) - 1.5
    expect(try everyWay([x, q]) { [crossEntropy($0[0], $0[1])] }, [loss], within: 1e-5)
    // With the gradient at once, and for the distribution.
    let both = try everyWay([x, q]) { t in
      let loss = crossEntropy(t[0], t[1])
      return [loss] + gradients(of: loss, withRespectTo: [t[0]])
    }
    expect(both, [loss], within: 1e-5)
    for run in both {
      #expect(run.results[1].doubles.allSatisfy { $0.isFinite }, "\(run.name)")
      #expect(run.results[1].doubles[1] == 0, "\(run.name)")
    }
    for run in try everyWay(
      [x, q],
      { t in
        gradients(of: crossEntropy(t[0], t[1]), withRespectTo: [t[1]])
      })
    {
      #expect(run.results[0].doubles.allSatisfy { $0.isFinite }, "\(run.name)")
    }
    // Class weights of 0, with and without smoothing.
    let labels = NDArray([Int32](repeating: 0, count: 8), shape: [8])
    var weights = [Float](repeating: 1, count: classes)
    weights[1] = 0
    let w = NDArray(weights, shape: [classes])
    for smoothing in [0.0, 0.1] {
      let runs = try everyWay([x, labels, w]) { t in
        let loss = crossEntropy(t[0], t[1], weights: t[2], labelSmoothing: smoothing)
        return [loss] + gradients(of: loss, withRespectTo: [t[0]])
      }
      for run in runs {
        #expect(run.results[0].scalar.isFinite, "\(run.name)")
        #expect(abs(run.results[0].scalar - runs[0].results[0].scalar) < 1e-4, "\(run.name)")
        #expect(run.results[1].doubles.allSatisfy { $0.isFinite }, "\(run.name)")
      }
    }
  }

  @Test(arguments: [5, 40]) func aMeanOfNothingThatCounts_isNaN_withoutAGradient(classes: Int)
    throws
  {
    let x = NDArray((0..<2 * classes).map { Float($0 % 3) }, shape: [2, classes])
    let labels = NDArray([1, 1] as [Int32], shape: [2])
    var weights = [Float](repeating: 1, count: classes)
    weights[1] = 0
    let w = NDArray(weights, shape: [classes])
    let zeros = [Double](repeating: 0, count: 2 * classes)
    let runs = try everyWay([x, labels, w]) { t in
      let loss = crossEntropy(t[0], t[1], weights: t[2])
      return gradients(of: loss, withRespectTo: [t[0]]) + [loss]
    }
    expect(runs, zeros)
    #expect(runs.allSatisfy { $0.results[1].scalar.isNaN })
    expect(
      try everyWay([x, labels]) { t in
        gradients(of: crossEntropy(t[0], t[1], ignoreIndex: 1), withRespectTo: [t[0]])
      }, zeros)
  }
}

@Suite struct SumEdgeTests {
  @Test func runningSums_doNotDrift() throws {
    let count = 2_000_000
    let tenths = [Float](repeating: 0.1, count: count)
    let exact = Double(Float(0.1))
    for (shape, axis): (Shape, Int) in [([count], 0), ([count / 2, 2], 0), ([1, count], 1)] {
      let length = shape[axis]
      for isReverse in [false, true] {
        var options = CompileOptions()
        options.threads = 2
        let sums = try compile(TensorType(.f32, shape), options: options) {
          $0.cumulativeSum(axis: axis, isReverse: isReverse)
        }
        let y = try sums(NDArray(tenths, shape: shape)).doubles
        let last = isReverse ? y[0] : y[y.count - 1]
        #expect(abs(last / (Double(length) * exact) - 1) < 1e-6, "\(shape)")
      }
    }
    // An infinity stays one.
    let runs = try everyWay(vector([1, infinity] + [Float](repeating: 1, count: 700))) {
      $0.cumulativeSum()
    }
    for run in runs { #expect(run.results[0].doubles.last == .infinity, "\(run.name)") }
  }

  @Test func oneBin_goesOnCounting() throws {
    let count = (1 << 24) + 5000
    let ones = NDArray([Float](repeating: 1, count: count), shape: [count])
    let places = NDArray([UInt8](repeating: 1, count: count), shape: [count])
    let sums = try compile(ones.type, places.type) { updates, places in
      Tensor.apply(ScatterAdd(axis: 0, extent: 3), to: updates, places)
    }
    #expect(try sums(ones, places).doubles == [0, Double(count), 0])
  }

  @Test func sixteenBitSums_areAddedUpInSingle() throws {
    for dtype in [DType.bf16, .f16] {
      let many = NDArray(
        doubles: [Double](repeating: 1, count: 3000), type: TensorType(dtype, [3000]))
      let sum: Double = dtype == .bf16 ? 3008 : 3000  // the nearest number
      // The interpreter rounds nothing.
      func compiled(_ runs: [EdgeRun]) -> [EdgeRun] { Array(runs.dropFirst()) }
      expect(compiled(try everyWay(many) { $0.sum() }), [sum])
      for run in compiled(try everyWay(many) { $0.cumulativeSum() }) {
        #expect(run.results[0].doubles.last == sum, "\(run.name)")
      }
      let places = NDArray([UInt8](repeating: 0, count: 3000), shape: [3000])
      let runs = try everyWay([many, places]) { t in
        [ScatterAddProbe.added(t[0], t[1])]
      }
      expect(compiled(runs), [sum])
    }
  }

  @Test func meansOfManyHalves_areRight() throws {
    for value in [0.5, 2.0] {
      let x = NDArray(doubles: [Double](repeating: value, count: 100_000), type: .f16(100_000))
      expect(try everyWay(x) { $0.mean() }, [value])
      expect(try everyWay(x) { $0.variance() }, [0])
    }
    let x = NDArray(doubles: [Double](repeating: 0.5, count: 100_000), type: .f16(100_000))
    let runs = try everyWay(x) { x in gradient(x) { $0.mean() * 1000 } }
    for run in runs { #expect(abs(run.results[0].doubles[7] - 0.01) < 1e-4, "\(run.name)") }
    let one = NDArray(doubles: [0.5], type: .f16(1))
    expect(try everyWay(one) { $0.broadcast(to: [100_000]).mean() }, [0.5])
  }
}

/// The gradient of a lookup is what users reach `ScatterAdd` by.
private enum ScatterAddProbe {
  static func added(_ updates: Tensor, _ places: Tensor) -> Tensor {
    let table = Tensor.zeros([1], updates.dtype)
    return gradients(of: (table.take(places) * updates).sum(), withRespectTo: [table])[0]
  }
}

@Suite struct OrderEdgeTests {
  @Test func nanHasOnePlace() throws {
    let x = row([10, -1, .nan, 3, .nan])
    let best = try everyWay(x) { $0.argmax() }
    expect(best, [2])
    expect(try everyWay(x) { $0.topK(1).indices }, [2])
    expect(try everyWay(x) { $0.argmin() }, [2])
    expect(try everyWay(x) { $0.max() }, [.nan])
    expect(try everyWay(x) { $0.min() }, [.nan])
    expect(try everyWay(x) { $0.sorted().indices }, [1, 3, 0, 2, 4])
    expect(try everyWay(x) { $0.sorted(isDescending: true).indices }, [2, 4, 0, 3, 1])
    expect(try everyWay(x) { $0.topK(2, isLargest: false).indices }, [1, 3])
  }

  @Test func theSignOfWhatIsFlushed_isZero() throws {
    // In the interpreter nothing is.
    let tiny = Float(bitPattern: 71362)
    for run in try everyWay(vector([tiny, -tiny, 0, 2, -3]), { sign($0) }).dropFirst() {
      #expect(run.results[0].doubles == [0, 0, 0, 1, -1], "\(run.name)")
    }
    for run in try everyWay(vector([tiny]), { x in gradient(x) { abs($0) } }).dropFirst() {
      #expect(run.results[0].doubles == [0], "\(run.name)")
    }
    for run in try everyWay(vector([.nan]), { sign($0) }) {
      #expect(run.results[0].scalar.isNaN, "\(run.name)")
    }
  }

  @Test func theExtremeOfIntegers_needsNoMemory_howeverMany() throws {
    let graph = try traced([.u8(1 << 32)]) { [$0[0].argmax()] }
    let types = (operands: [TensorType.u8(1 << 32)], results: [TensorType.i64()])
    let op = try #require(graph.nodes.first?.op as? ArgMax)
    let call = try op.lower(
      LoweringSite(
        operands: types.operands, views: [nil], results: types.results, isa: .ref))
    #expect(call.scratchBytesPerThread == 0)
    #expect(throws: ApusError.self) {
      try ArgMax(axis: 0).lower(
        LoweringSite(
          operands: [.f32(1 << 31)], views: [nil], results: [.i64()], isa: .ref))
    }
    expect(try everyWay(NDArray([3, 9, 9, 1] as [UInt8], shape: [4])) { $0.argmax() }, [1])
    expect(try everyWay(NDArray([3, -9, -9, 1] as [Int64], shape: [4])) { $0.argmin() }, [1])
  }
}
