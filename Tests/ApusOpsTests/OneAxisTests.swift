// Reductions over one axis, twins of functions and methods, random tensors.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusRuntime
import Testing

@Suite struct OneAxisTests {
  nonisolated(unsafe) private static let pairs: [(String, (Tensor) -> Tensor, (Tensor) -> Tensor)] =
    [
      ("sum", { $0.sum(axis: -1) }, { $0.sum(axes: [1]) }),
      ("mean", { $0.mean(axis: 0, keepDims: true) }, { $0.mean(axes: [0], keepDims: true) }),
      ("max", { $0.max(axis: 1) }, { $0.max(axes: [1]) }),
      ("min", { $0.min(axis: 1) }, { $0.min(axes: [1]) }),
      ("product", { $0.product(axis: 0) }, { $0.product(axes: [0]) }),
      ("any", { $0.any(axis: 0) }, { $0.any(axes: [0]) }),
      ("all", { $0.all(axis: 0) }, { $0.all(axes: [0]) }),
      (
        "variance", { $0.variance(axis: 1, correction: 0) },
        { $0.variance(axes: [1], correction: 0) }
      ),
      ("std", { $0.std(axis: 0, keepDims: true) }, { $0.std(axes: [0], keepDims: true) }),
      ("logsumexp", { $0.logsumexp(axis: -2) }, { $0.logsumexp(axes: [0]) }),
      ("norm", { $0.norm(order: 3, axis: -1) }, { $0.norm(order: 3, axes: [-1]) }),
      ("flipped", { $0.flipped(axis: -1) }, { $0.flipped(axes: [1]) }),
      (
        "squeezed", { $0.expandingDims(at: 1).squeezed(axis: 1) },
        { $0.expandingDims(at: 1).squeezed(axes: [1]) }
      ),
      ("softmax", { $0.softmax(axis: 0) }, { softmax($0, axis: 0) }),
      ("logSoftmax", { $0.logSoftmax() }, { logSoftmax($0) }),
      ("matmul", { $0.matmul($0.transposed()) }, { matmul($0, $0.transposed()) }),
    ]

  @Test func oneAxis_isTheListOfOne_andTwinsAgree() throws {
    let x = NDArray([1, -2, 0, 4, 5, -6], shape: [2, 3])
    for (name, one, other) in Self.pairs {
      let graph = try traced([x.type]) { [one($0[0]), other($0[0])] }
      let outputs = try graph.interpret(inputs: [x]).outputs
      #expect(outputs[0] == outputs[1], "\(name)")
    }
  }

  @Test func dropout_isTheMethod() throws {
    for mode in [Mode.training, .evaluation] {
      let trace = Trace()
      trace.mode = mode
      let x = trace.input("x", .f32(3))
      trace.output("function", dropout(x, 0.5))
      trace.output("method", x.dropout(0.5))
      let ops = try trace.finish().nodes.map(\.op.mnemonic)
      #expect(ops == (mode == .training ? ["dropout", "dropout"] : []))
    }
  }

  @Test func norms_haveGradient0At0() throws {
    for order in [1, 1.5, 2, 3, .infinity] as [Double] {
      let zero = NDArray(zeros: .f64(2, 3))
      let graph = try traced([zero.type]) { inputs in
        gradients(of: inputs[0].norm(order: order, axis: -1).sum(), withRespectTo: inputs)
      }
      let found = try graph.interpret(inputs: [zero]).outputs[0]
      #expect(found == zero, "order \(order)")
    }
  }

  @Test func norms_ofAnyOrderAreNumPys() throws {
    let x = NDArray(doubles: [3, -4, 12], type: .f64(3))
    for (order, expected) in [
      (1, 19), (2, 13), (3, 12.207054953820636), (.infinity, 12), (-.infinity, 3),
      (-1, 1 / (1 / 3.0 + 1 / 4.0 + 1 / 12.0)),
    ] as [(Double, Double)] {
      let graph = try traced([x.type]) { [$0[0].norm(order: order)] }
      let found = try graph.interpret(inputs: [x]).outputs[0].scalar
      #expect(abs(found - expected) < 1e-12, "order \(order): \(found)")
    }
  }
}

@Suite struct RandomTensorTests {
  private func draw(_ body: @escaping () -> Tensor) throws -> NDArray {
    let trace = Trace()
    Trace.$current.withValue(trace) { trace.output("x", body()) }
    let store = StateStore()
    try store.set(Trace.randomKeyState, NDArray([5, 0] as [Int64], shape: [2]))
    return try Executable(trace.finish(), states: store).run([])[0]
  }

  @Test func normalNumbers_haveTheirMoments() throws {
    let values = try draw { Tensor.randomNormal([100, 200], mean: 3, deviation: 2) }.doubles
    let mean = values.reduce(0, +) / 20_000
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20_000
    #expect(abs(mean - 3) < 0.07 && abs(variance - 4) < 0.2)
  }

  @Test(arguments: [DType.f32, .bf16, .f16])
  func uniformNumbers_stayBelowTheUpperBound(dtype: DType) throws {
    for range in [0..<1, 1..<2, -3..<(-1), -1..<0] as [Range<Double>] {
      let array = try draw { Tensor.randomUniform([300, 300], in: range, dtype: dtype) }
      #expect(array.type == TensorType(dtype, [300, 300]))
      let values = array.doubles
      #expect(values.allSatisfy(range.contains), "\(range)")
      let mean = values.reduce(0, +) / 90_000
      #expect(abs(mean - (range.lowerBound + range.upperBound) / 2) < 0.01)
    }
  }

  @Test func bools_areTrueWithTheirProbability() throws {
    let share = try draw { Tensor.randomBernoulli([100, 100], p: 0.3).cast(to: .f32).mean() }.scalar
    #expect(abs(share - 0.3) < 0.03)
  }

  @Test func twoCallsOfOneStep_differ() throws {
    let difference = try draw { Tensor.randomNormal([8]) - Tensor.randomNormal([8]) }
    #expect(difference.floats.allSatisfy { $0 != 0 })
  }

  @Test func deviation0_isTheMean() throws {
    #expect(
      try draw { Tensor.randomNormal([3], mean: 2, deviation: 0) }.floats == [2, 2, 2])
  }
}
