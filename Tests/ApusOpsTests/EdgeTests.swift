// Gradients at the edges: of what is equal, zero, far from 1 or masked. Values by mathematics and PyTorch,
// in the interpreter and compiled at every level.

import ApusAutodiff
import ApusGraph
import ApusOps
import Testing

@Suite struct GradientEdgeTests {
  @Test func aStandardDeviationOfZero_hasTheGradientZero() throws {
    let x = NDArray([3, 3, 3, 3, 1, 2, 3, 4], shape: [2, 4])
    for correction in [0.0, 1] {
      let runs = try everyWay(x) { x in
        gradient(x) { $0.std(axes: [1], correction: correction) }
      }
      let n = 4 - correction
      let spread = (5 / n).squareRoot()
      expect(runs, [0, 0, 0, 0] + [-1.5, -0.5, 0.5, 1.5].map { $0 / n / spread })
    }
    let equal = vector(Array(repeating: 10000.1, count: 300))
    expect(try everyWay(equal) { $0.std() }, [0])
    expect(
      try everyWay(equal) { x in gradient(x) { $0.std() } }, [Double](repeating: 0, count: 300))
    expect(try everyWay(vector([7])) { x in gradient(x) { $0.std(correction: 0) } }, [0])
  }

  @Test(arguments: [0.5, 1, 1.5, 2, 3, 10, -1, -2, .infinity, -.infinity])
  func aNormOfZero_hasTheGradientZero(order: Double) throws {
    let zeros = NDArray([0, 0, 0, 0, 0, 0], shape: [2, 3])
    expect(try everyWay(zeros) { $0.norm(order: order, axes: [1]) }, [0, 0])
    let runs = try everyWay(zeros) { x in gradient(x) { $0.norm(order: order, axes: [1]) } }
    expect(runs, [0, 0, 0, 0, 0, 0])
    expect(try everyWay(vector([0, 0])) { x in gradient(x) { $0.norm(order: order) } }, [0, 0])
  }

  @Test func normsOfEveryOrder_followPyTorch() throws {
    func check(_ order: Double, _ x: [Float], _ norm: Double, _ slope: [Double]) throws {
      for axes in [[0, 1], [1]] {
        expect(
          try everyWay(row(x)) { $0.norm(order: order, axes: axes) }, [norm], within: 2e-5)
        let runs = try everyWay(row(x)) { x in gradient(x) { $0.norm(order: order, axes: axes) } }
        expect(runs, slope, within: 2e-4)
      }
    }
    try check(-.infinity, [3, -0.5, 2], 0.5, [0, -1, 0])
    try check(0.5, [0, 2, 8], 18, [0, 3, 1.5])
    try check(3, [1, 2, 3], 3.3019273, [0.09172, 0.36689, 0.8255])
    try check(-2, [1, -2, 3], 0.85714287, [0.62974, -0.078717, 0.023324])
    try check(-2, [1, 0, 3], 0, [0, 0, 0])
    try check(2, [3, 0, -4], 5, [0.6, 0, -0.8])
  }

  @Test func normsAreScaled_againstOverflowAndUnderflow() throws {
    for axes in [[0, 1], [1]] {
      func norm(_ x: Tensor, _ order: Double = 2) -> Tensor { x.norm(order: order, axes: axes) }
      expect(try everyWay(row([1e20, 1, 1])) { norm($0) }, [1e20])
      expect(
        try everyWay(row([1e20, 1, 1])) { x in gradient(x) { norm($0) } }, [1, 1e-20, 1e-20],
        within: 1e-5)
      expect(try everyWay(row([1e-20, 0])) { norm($0) }, [1e-20])
      expect(try everyWay(row([1e-20, 0])) { x in gradient(x) { norm($0) } }, [1, 0])
      expect(try everyWay(row([3e-36, 4e-36])) { norm($0) }, [5e-36])
      expect(try everyWay(row([2e38, 2e38])) { norm($0) }, [(8.0).squareRoot() * 1e38])
      expect(try everyWay(row([-infinity, 1])) { norm($0) }, [.infinity])
      expect(try everyWay(row([1e30, 1e30])) { norm($0, 3) }, [1.2599210e30], within: 1e-5)
      expect(
        try everyWay(row([1e30, 1e30])) { x in gradient(x) { norm($0, 3) } }, [0.62996, 0.62996],
        within: 1e-4)
      expect(try everyWay(row([1, infinity])) { norm($0, 3) }, [.infinity])
      expect(try everyWay(row([2, 1])) { norm($0, 200) }, [2])
      expect(try everyWay(row([1e-30, 2e-30])) { norm($0, -1) }, [2e-30 / 3], within: 1e-5)
    }
    expect(try everyWay(NDArray(zeros: .f32(0))) { $0.norm() }, [0])
    let halves = NDArray(doubles: [300, 400], type: .f16(2))
    expect(try everyWay(halves) { $0.norm() }, [500])
  }

  @Test func aMaskedRow_hasNoGradient() throws {
    let x = NDArray([-infinity, -infinity, 1, 2], shape: [2, 2])
    let (p, q) = (0.26894143, 0.7310586)
    expect(try everyWay(x) { $0.logsumexp(axes: [1]) }, [-.infinity, 2.3132617])
    expect(try everyWay(x) { x in gradient(x) { $0.logsumexp(axes: [1]) } }, [0, 0, p, q])
    expect(try everyWay(x) { softmax($0) }, [0, 0, p, q])
    expect(
      try everyWay(x) { logSoftmax($0) }, [-.infinity, -.infinity, -1.3132617, -0.3132617])
    let weights = NDArray([1, 2, 3, 5], shape: [2, 2])
    let runs = try everyWay([x, weights]) { t in
      [gradient(t[0]) { softmax($0) * t[1] }]
    }
    expect(runs, [0, 0, -2 * p * q, 2 * p * q], within: 1e-5)
    let second = NDArray([0, 0, 3, 5], shape: [2, 2])
    let logs = try everyWay([x, second]) { t in
      let y = logSoftmax(t[0])
      return [gradients(of: (where2(y) * t[1]).sum(), withRespectTo: [t[0]])[0]]
    }
    expect(logs, [0, 0, 3 - 8 * p, 5 - 8 * q], within: 1e-5)
  }

  /// -∞ would make the loss one.
  private func where2(_ y: Tensor) -> Tensor { `where`(isFinite(y), y, 0) }

  @Test(arguments: [3, 17, 70]) func maskedRows_ofAnyWidth(columns: Int) throws {
    // Eight rows are taken together where they are short.
    let masked = NDArray(
      [Float](repeating: -infinity, count: 8 * columns), shape: [8, columns])
    let dy = NDArray((0..<8 * columns).map { Float($0 % 7) - 3 }, shape: [8, columns])
    let zeros = [Double](repeating: 0, count: 8 * columns)
    expect(try everyWay(masked) { softmax($0) }, zeros)
    expect(
      try everyWay([masked, dy]) { t in
        [Tensor.apply(LogSoftmaxGradient(axis: 1), to: logSoftmax(t[0]), t[1])]
      }, zeros)
    expect(
      try everyWay([masked, dy]) { t in
        [Tensor.apply(SoftmaxGradient(axis: 1, ofLogits: true), to: t[0], t[1])]
      }, zeros)
    let withNaN = NDArray(
      [Float](repeating: -infinity, count: columns - 1) + [.nan], shape: [1, columns])
    for run in try everyWay(withNaN, { softmax($0) }) {
      #expect(run.results[0].doubles.allSatisfy { $0.isNaN }, "\(run.name)")
    }
  }

  @Test func noElement_hasALogsumexpOfMinusInfinity() throws {
    expect(
      try everyWay(NDArray(zeros: .f32(2, 0))) { $0.logsumexp(axes: [1]) },
      [-.infinity, -.infinity])
  }

  @Test func powersAtZero() throws {
    let a = vector([0, 0, 0, 2]), b = vector([2, 0.5, -1, 3])
    let forExponents = try everyWay([a, b]) { t in
      [gradients(of: pow(t[0], t[1]).sum(), withRespectTo: [t[1]])[0]]
    }
    expect(forExponents, [0, 0, 0, 5.5451774])
    let forBases = try everyWay([vector([0, 3, 0]), vector([0, 0, 2])]) { t in
      [gradients(of: pow(t[0], t[1]).sum(), withRespectTo: [t[0]])[0]]
    }
    expect(forBases, [0, 0, 0])
    let twice = try everyWay([vector([0, 0]), vector([0, 2])]) { t in
      let first = gradients(of: pow(t[0], t[1]).sum(), withRespectTo: [t[0]])[0]
      return [gradients(of: first.sum(), withRespectTo: [t[0]])[0]]
    }
    expect(twice, [0, 2])
  }

  @Test func productsWhoseFactorsCancel() throws {
    let halves = [Float](repeating: 0.5, count: 130), twos = [Float](repeating: 2, count: 130)
    let x = vector(halves + twos)
    expect(try everyWay(x) { $0.product() }, [1])
    expect(
      try everyWay(x) { x in gradient(x) { $0.product() } },
      [Double](repeating: 2, count: 130) + [Double](repeating: 0.5, count: 130))
    let far = vector((0..<16).map { $0 % 2 == 0 ? 1e20 : 1e-20 })
    expect(try everyWay(far) { $0.product() }, [1], within: 1e-5)
    expect(
      try everyWay(vector([1e-30, 1e-30])) { x in gradient(x) { $0.product() } }, [1e-30, 1e-30])
    expect(
      try everyWay(vector([2, 0, 3, 4])) { x in gradient(x) { $0.product() } }, [0, 24, 0, 0])
    expect(try everyWay(vector([2, 0, 3, 0])) { x in gradient(x) { $0.product() } }, [0, 0, 0, 0])
    let numbers = NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3])
    expect(try everyWay(numbers) { $0.product(axes: [0]) }, [4, 10, 18])
  }

  @Test func theBranchOfWhereThatIsNotTaken_hasNoSlope() throws {
    let x = vector([-1, 0, 4])
    func check(_ expected: [Double], _ body: (Tensor) -> Tensor) throws {
      expect(try everyWay(x) { x in gradient(x) { body($0) } }, expected)
    }
    try check([1, 1, 0.25]) { `where`($0 .> 0, sqrt($0), $0) }
    try check([2, 2, 0.5]) { `where`($0 .<= 0, 2 * $0, 2 * sqrt(1 * $0)) }
    try check([0, 0, 0.25]) { `where`($0 .> 0, log($0), 0) }
    try check([0, 0, -0.0625]) { `where`($0 .> 0, 1 / $0, 0) }
    try check([0, 0, 1.5 * 2]) { `where`($0 .> 0, pow($0, 1.5), 0) }
    // Nested.
    try check([0, 0, 0.25]) { `where`($0 .> 3, `where`($0 .< 9, sqrt($0), 1), 0) }
    // The function of a branch where it is taken keeps its slope, infinite or not.
    let zero = try everyWay(vector([0])) { x in gradient(x) { `where`($0 .>= 0, sqrt($0), 0) } }
    expect(zero, [.infinity])
  }
}
