// The reverse walk: compositions, higher derivatives, what flows where.

import ApusAutodiff
import ApusGraph
import ApusOps
import TestSupport
import Testing

func random(_ type: TensorType, _ name: String, _ range: ClosedRange<Double> = -2...2) -> NDArray {
  var generator = SplitMix(name)
  let values = (0..<type.count).map { _ in generator.uniform(range) }
  return NDArray(doubles: values, type: type.with(.f64))
}

func values(_ inputs: [NDArray], _ body: ([Tensor]) throws -> [Tensor]) throws -> [NDArray] {
  try traced(inputs.map(\.type), body).interpret(inputs: inputs).outputs
}

@Suite struct GradientTests {
  @Test func aTwoLayerNetworkHasTheGradientsOfDifferences() throws {
    let arguments = [
      random(.f64(5, 4), "x"), random(.f64(4, 3), "w"), random(.f64(3), "b"),
      random(.f64(3, 2), "v"),
    ]
    try checkGradients(arguments, order: 2, directions: 3) { t in
      tanh(t[0].matmul(t[1]) + t[2]).matmul(t[3]).logsumexp(axes: [1]).mean()
    }
  }

  @Test func softmaxWrittenInPrimitivesHasTheGradientsOfDifferences() throws {
    try checkGradients([random(.f64(4, 7), "x"), random(.f64(4, 7), "w")], order: 2) { t in
      let e = exp(t[0] - t[0].max(axes: [1], keepDims: true))
      return e / e.sum(axes: [1], keepDims: true) * t[1]
    }
  }

  @Test func statisticsHaveTheGradientsOfDifferences() throws {
    let x = random(.f64(3, 6), "x")
    try checkGradients([x], order: 2) { $0[0].variance(axes: [1]) }
    try checkGradients([x], order: 2) { $0[0].variance(axes: [0], correction: 0) }
    try checkGradients([x], order: 2) { $0[0].std(keepDims: true) }
    try checkGradients([x], order: 2) { $0[0].logsumexp(axes: [0], keepDims: true) }
    try checkGradients([x], order: 2) { $0[0].norm(axes: [1]) }
    try checkGradients([x], order: 1) { $0[0].norm(order: 1) }
    try checkGradients([x], order: 2) { $0[0].norm(order: 3, axes: [0]) }
    try checkGradients([x], order: 1) { $0[0].norm(order: .infinity) }
    try checkGradients([x]) { $0[0].mean(axes: [0]) }
  }

  @Test func structuralSugarHasTheGradientsOfDifferences() throws {
    let x = random(.f64(3, 4), "x")
    try checkGradients([x]) { $0[0].flipped() * $0[0].rolled(by: 1, axis: 1) }
    try checkGradients([x]) { $0[0][1..<3, axis: 1] * $0[0][..<2, axis: 1] }
    try checkGradients([x]) { $0[0][-1, axis: 0] * $0[0][0, axis: 0] }
    try checkGradients([x]) { square($0[0].sliced(axis: 1, from: -1, step: -2)) }
    try checkGradients([x]) { square($0[0].repeated(3, axis: 0)) }
    try checkGradients([x]) { square($0[0].tiled([2, 3])) }
    try checkGradients([x]) { square($0[0].lowerTriangle()) + $0[0].upperTriangle(diagonal: 1) }
    try checkGradients([x]) { stack($0[0].split([1, 3], axis: 1).map { $0.sum(axes: [1]) }) }
    try checkGradients([x]) { concat([square($0[0]), $0[0].transposed().reshaped([3, 4])]) }
    try checkGradients([x]) { $0[0].swappingAxes(0, 1).matmul($0[0].movingAxis(1, to: 1)) }
  }

  @Test func aBroadcastOperandGetsTheSumOfItsGradient() throws {
    let (a, b) = (random(.f64(3, 1), "a"), random(.f64(4), "b"))
    let found = try values([a, b]) { gradients(of: ($0[0] * $0[1]).sum(), withRespectTo: $0) }
    let sumOfB = b.doubles.reduce(0, +), sumOfA = a.doubles.reduce(0, +)
    #expect(found[0].shape == [3, 1] && found[1].shape == [4])
    #expect(found[0].doubles.allSatisfy { abs($0 - sumOfB) < 1e-12 })
    #expect(found[1].doubles.allSatisfy { abs($0 - sumOfA) < 1e-12 })
  }

  @Test func aValueThatIsReadTwiceGetsBothGradients() throws {
    let x = random(.f64(5), "x")
    let found = try values([x]) { t in
      let y = square(t[0])
      return gradients(of: (y * y + y).sum(), withRespectTo: [t[0]])
    }
    for (x, g) in zip(x.doubles, found[0].doubles) {
      #expect(abs(g - (4 * x * x * x + 2 * x)) < 1e-12)
    }
  }

  @Test func aTieOfMaximaSharesTheGradient() throws {
    let x = NDArray(doubles: [1, 3, 3, 0], type: .f64(4))
    let shares = try values([x]) { gradients(of: $0[0].max(), withRespectTo: $0) }
    #expect(shares[0].doubles == [0, 0.5, 0.5, 0])
    let halves = try values([x]) { gradients(of: maximum($0[0], 3).sum(), withRespectTo: $0) }
    #expect(halves[0].doubles == [0, 0.5, 0.5, 0])
  }

  @Test func aProductWithOneZeroStillHasItsGradient() throws {
    let one = NDArray(doubles: [2, 0, 5], type: .f64(3))
    let found = try values([one]) { gradients(of: $0[0].product(), withRespectTo: $0) }
    #expect(found[0].doubles == [0, 10, 0])
    let two = NDArray(doubles: [0, 0, 5], type: .f64(3))
    let none = try values([two]) { gradients(of: $0[0].product(), withRespectTo: $0) }
    #expect(none[0].doubles == [0, 0, 0])
    try checkGradients([one, two], order: 2) { $0[0].product() * $0[1].product() + $0[1].product() }
  }

  @Test func theNormHasNoNaNAtZero() throws {
    let found = try values([NDArray(zeros: .f64(3))]) {
      gradients(of: $0[0].norm(), withRespectTo: $0)
    }
    #expect(found[0].doubles == [0, 0, 0])
  }

  @Test func powersHaveNoNaNAtZero() throws {
    let (a, b) = (NDArray(zeros: .f64(2)), NDArray(doubles: [2, 3], type: .f64(2)))
    let found = try values([a, b]) { gradients(of: pow($0[0], $0[1]).sum(), withRespectTo: $0) }
    #expect(found[0].doubles == [0, 0])
    #expect(found[1].doubles == [0, 0])
  }

  // MARK: Higher orders

  @Test func aHessianVectorProductIsTheOneOfTheFormula() throws {
    // f = Σ exp(x)·y: H_xx v = exp(x)·y·v and H_yx v = exp(x)·v.
    let (x, y, v) = (random(.f64(6), "x"), random(.f64(6), "y"), random(.f64(6), "v"))
    let found = try values([x, y, v]) { t in
      let f = (exp(t[0]) * t[1]).sum()
      let slope = gradients(of: f, withRespectTo: [t[0]])[0]
      return gradients(of: (slope * t[2]).sum(), withRespectTo: [t[0], t[1]])
    }
    for i in 0..<6 {
      let e = Double.exp(x.doubles[i])
      #expect(abs(found[0].doubles[i] - e * y.doubles[i] * v.doubles[i]) < 1e-12)
      #expect(abs(found[1].doubles[i] - e * v.doubles[i]) < 1e-12)
    }
  }

  @Test func derivativesOfAnyOrderCompose() throws {
    let x = random(.f64(4), "x")
    let found = try values([x]) { t in
      var y = square(square(t[0])).sum()
      var all: [Tensor] = []
      for _ in 0..<4 {
        let slope = gradients(of: y, withRespectTo: t)[0]
        all.append(slope)
        y = slope.sum()
      }
      return all
    }
    for (i, x) in x.doubles.enumerated() {
      #expect(abs(found[0].doubles[i] - 4 * x * x * x) < 1e-10)
      #expect(abs(found[1].doubles[i] - 12 * x * x) < 1e-10)
      #expect(abs(found[2].doubles[i] - 24 * x) < 1e-10)
      #expect(abs(found[3].doubles[i] - 24) < 1e-10)
    }
  }

  @Test func aGradientPenaltyCanBeTrained() throws {
    let (x, w) = (random(.f64(3, 4), "x"), random(.f64(4, 2), "w"))
    try checkGradients([x, w], order: 1, directions: 2) { t in
      let score = softplus(t[0].matmul(t[1])).sum()
      let slope = gradients(of: score, withRespectTo: [t[0]])[0]
      return square(slope.norm(axes: [1]) - 1).mean()
    }
  }

  @Test func aStepOfGradientDescentCanBeDifferentiated() throws {
    // Meta-learning: the derivative of the loss after a step with respect to where the step began.
    try checkGradients([random(.f64(4), "w"), random(.f64(4), "x")]) { t in
      let loss = square(tanh(t[0] * t[1])).sum()
      let w = t[0] - 0.1 * gradients(of: loss, withRespectTo: [t[0]])[0]
      return square(tanh(w * t[1])).sum()
    }
  }

  // MARK: What flows where

  @Test func anInputThatTheOutputDoesNotDependOnGetsZeros() throws {
    let found = try values([random(.f64(2), "x"), random(.f64(3, 2), "y")]) {
      gradients(of: $0[0].sum(), withRespectTo: [$0[1]])
    }
    #expect(found[0] == NDArray(zeros: .f64(3, 2)))
  }

  @Test func theGradientOfAValueWithRespectToItselfIsTheSeed() throws {
    let found = try values([random(.f64(3), "x"), random(.f64(3), "seed")]) {
      gradients(of: $0[0], withRespectTo: [$0[0]], seed: $0[1])
    }
    #expect(found[0] == random(.f64(3), "seed"))
  }

  @Test func anIntermediateValueHasAGradientToo() throws {
    let found = try values([random(.f64(3), "x")]) { t in
      let y = exp(t[0])
      return gradients(of: (3 * y).sum(), withRespectTo: [y])
    }
    #expect(found[0].doubles == [3, 3, 3])
  }

  @Test func stopGradientKeepsTheValueAndStopsTheGradient() throws {
    let x = random(.f64(3), "x")
    let found = try values([x]) { t in
      let y = t[0] * t[0].stopGradient()
      return [y] + gradients(of: y.sum(), withRespectTo: t)
    }
    #expect(found[0].doubles == x.doubles.map { $0 * $0 })
    #expect(found[1].doubles == x.doubles)
  }

  @Test func gradientsKeepTheTypeOfTheirInput() throws {
    let graph = try traced([.bf16(3), .f32(3)]) { t in
      gradients(of: (t[0] * t[1]).sum(), withRespectTo: t)
    }
    #expect(graph.outputs.map { graph.type(of: $0.operand) } == [.bf16(3), .f32(3)])
  }

  @Test func theNodesOfAGradientNameTheOpTheyComeFrom() throws {
    let trace = Trace()
    let x = trace.input("x", .f32(3))
    let y = trace.withScope(path: "model.head") { exp(x, file: "Head.swift", line: 7) }
    let g = gradients(of: y.sum(), withRespectTo: [x])
    trace.output("g", g[0])
    let graph = try trace.finish()
    let products = graph.nodes.filter { $0.op is Multiply }
    #expect(!products.isEmpty)
    #expect(products.allSatisfy { $0.origins.first?.description == "model.head (Head.swift:7)" })
  }
}

extension Double {
  fileprivate static func exp(_ x: Double) -> Double { Exp().evaluate([x]) }
}
