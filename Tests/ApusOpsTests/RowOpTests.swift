// The row ops beyond their specs: the gradients that training takes (one result, one operand) against
// those of the decomposition, sugar, bad indices.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusRuntime
import TestSupport
import Testing

@Suite struct RowOpTests {
  /// The gradient of `Σ w·f(x…)` for each operand, f the op's first result, and the gradient of the
  /// squared length of that.
  private func gradients(
    _ types: [TensorType], _ domain: OpSpec, of f: ([Tensor]) throws -> Tensor
  ) throws -> [NDArray] {
    let graph = try traced(types) { operands in
      let y = try f(operands)
      let weights = y.trace.constant(
        NDArray(doubles: (0..<y.type.count).map { Double($0 % 7) - 2.5 }, type: y.type))
      let targets = operands.filter { $0.dtype.isFloat }
      let first = ApusAutodiff.gradients(of: (y * weights).sum(), withRespectTo: targets)
      var length = y.trace.constant(0, .f64)
      for gradient in first { length = length + (gradient * gradient).sum() }
      return first + ApusAutodiff.gradients(of: length, withRespectTo: targets)
    }
    return try graph.interpret(inputs: domain.operands(types)).outputs
  }

  /// Gradients through the op's own rule and through its decomposition.
  private func expectSameGradients(_ op: some CompositeOp, _ types: [TensorType]) throws {
    let spec = OpSpec(
      op, .uniform(-2...2), op is CrossEntropy ? .integers(0...4) : .uniform(0.5...2),
      .uniform(0.5...2), on: [types])
    let types = types.map { $0.with($0.dtype.widened) }
    let count = try op.resultTypes(types).count
    let own = try gradients(types, spec) {
      Tensor.applyAll(op, to: $0, resultCount: count)[0]
    }
    let through = try gradients(types, spec) { try op.decompose($0)[0] }
    for (a, b) in zip(own, through) {
      let problem = OpSpec.difference(a, b, relative: 1e-9, absolute: 1e-9)
      #expect(problem == nil, "\(spec): \(problem ?? "")")
    }
  }

  @Test func ownGradientsAgreeWithThoseOfTheDecomposition() throws {
    try expectSameGradients(Softmax(axis: 1), [.f32(3, 5)])
    try expectSameGradients(LogSoftmax(axis: 1), [.f32(3, 5)])
    try expectSameGradients(LayerNorm(), [.f32(3, 5)])
    try expectSameGradients(LayerNorm(), [.f32(3, 5), .f32(5)])
    try expectSameGradients(LayerNorm(), [.f32(2, 3, 5), .f32(5), .f32(5)])
    try expectSameGradients(RMSNorm(), [.f32(3, 5)])
    try expectSameGradients(RMSNorm(), [.f32(2, 3, 5), .f32(5)])
    for reduction in LossReduction.allCases {
      try expectSameGradients(
        CrossEntropy(.init(reduction: reduction, smoothing: 0.1, ignoreIndex: 1)),
        [.f32(6, 5), .i64(6)])
    }
  }

  @Test func trainingStep_takesTheOnePassGradient() throws {
    let graph = try traced([.f32(6, 5), .i64(6)]) { operands in
      let loss = crossEntropy(operands[0], operands[1])
      return [loss] + ApusAutodiff.gradients(of: loss, withRespectTo: [operands[0]])
    }
    let names = graph.nodes.map { $0.op.mnemonic }
    #expect(
      names.filter { $0.hasPrefix("cross_entropy") } == ["cross_entropy", "cross_entropy_gradient"])
    #expect(!names.contains("exp"))
  }

  @Test func trainingStep_runsLossAndGradientAtOnce() throws {
    let graph = try traced([.f32(40, 10), .u8(40)]) { operands in
      let loss = crossEntropy(operands[0], operands[1], ignoreIndex: 3, labelSmoothing: 0.1)
      return [loss] + ApusAutodiff.gradients(of: loss, withRespectTo: [operands[0]])
    }
    let inputs = OpSpec(CrossEntropy(), .uniform(-4...4), .integers(0...9), on: [])
      .operands([.f32(40, 10), .u8(40)])
    let executable = try Executable(graph, options: CompileOptions(threads: 2))
    #expect(executable.plan.steps.map(\.mnemonic) == ["cross_entropy_with_gradient"])
    for (got, want) in zip(try executable.run(inputs), try graph.interpret(inputs: inputs).outputs)
    {
      #expect(OpSpec.difference(got, want, relative: 2e-6, absolute: 1e-7) == nil)
    }
    #expect(throws: ApusError.self) {
      try executable.run([inputs[0], NDArray([UInt8](repeating: 10, count: 40), shape: [40])])
    }
  }

  @Test func badIndex_isAnErrorThatNamesIt() throws {
    let x = NDArray([1, 2, 3, 4, 5, 6], shape: [3, 2])
    for isa in KernelRunner.levels {
      let cases: [(any Op, [NDArray])] = [
        (Gather(axis: 0), [x, NDArray([0, 3] as [Int64], shape: [2])]),
        (Gather(axis: 0, result: .bf16), [x, NDArray([0, -1] as [Int64], shape: [2])]),
        (ScatterAdd(axis: 0, extent: 2), [x, NDArray([0, -1, 5] as [Int32], shape: [3])]),
        (OneHot(depth: 3), [NDArray([0, 3] as [UInt8], shape: [2])]),
        (CrossEntropy(), [x, NDArray([0, 2, 1] as [Int64], shape: [3])]),
      ]
      for (op, operands) in cases {
        #expect(throws: ApusError.self) {
          try KernelRunner.run(op, operands, isa: isa, threads: 2)
        }
        #expect(throws: ApusError.self) {
          let wide = operands.map { $0.cast(to: $0.dtype.widened) }
          _ = try op.reference(wide, results: try op.resultTypes(wide.map(\.type)))
        }
      }
    }
  }

  @Test func badLabel_isPlacedAmongAllRows() throws {
    var labels = [Int32](repeating: 2, count: 700)
    labels[640] = 33
    labels[650] = -1
    let op = LinearCrossEntropy(.init(reduction: .sum), transposeW: true)
    let zeros = [NDArray(zeros: .f32(700, 4)), NDArray(zeros: .f32(33, 4))]
    for isa in KernelRunner.levels {
      let error = #expect(throws: ApusError.self) {
        try KernelRunner.run(op, zeros + [NDArray(labels, shape: [700])], isa: isa, threads: 2)
      }
      #expect(error?.what.contains("33") == true && error?.what.contains("640") == true)
    }
  }

  @Test func dropout_isTheIdentityInEvaluation() throws {
    let trace = Trace()
    trace.mode = .evaluation
    let x = trace.input("x", .f32(3))
    #expect(x.dropout(0.5).value == x.value)
    trace.mode = .training
    let first = x.dropout(0.5), second = x.dropout(0.5)
    trace.output("0", first)
    trace.output("1", second)
    let streams = try trace.finish().nodes.compactMap { ($0.op as? Dropout)?.stream }
    #expect(Set(streams).count == 2)
  }

  @Test func randomNumbers_changeWithKeyAndStep() throws {
    func draw(_ key: Int64, _ step: Int64) throws -> NDArray {
      try KernelRunner.run(
        RandomUniform([64], stream: 1), [NDArray([key, step], shape: [2])], isa: .ref)[0]
    }
    let first = try draw(1, 0)
    #expect(try draw(1, 0) == first)
    #expect(try draw(2, 0) != first)
    #expect(try draw(1, 1) != first)
    #expect(first.floats.allSatisfy { $0 >= 0 && $0 < 1 })
  }

  @Test func sugar_countsAxesFromTheEndAndRecordsMistakes() throws {
    let graph = try traced([.f32(2, 3, 4), .i64(2, 3, 1), .f32(3, 4), .i32(5)]) { x in
      [
        softmax(x[0], axis: -2), x[0].takeAlong(x[1]), embedding(x[3], x[2]), x[0].argmax(axis: 1),
        x[0].topK(2).indices, x[0].sorted(axis: 0).values, x[0].cumulativeSum(),
        x[2].scatterAdd(x[2].take(x[3]), at: x[3]), layerNorm(x[0]), rmsNorm(x[0]),
        x[3].oneHot(7), x[0].cast(to: .bf16).cumulativeSum(axis: 0),
      ]
    }
    let types = graph.outputs.map { graph.type(of: $0.operand.value) }
    #expect(
      types == [
        .f32(2, 3, 4), .f32(2, 3, 1), .f32(5, 4), .i64(2, 4), .i64(2, 3, 2), .f32(2, 3, 4),
        .f32(2, 3, 4), .f32(3, 4), .f32(2, 3, 4), .f32(2, 3, 4), .f32(5, 7), .bf16(2, 3, 4),
      ])
    for mistake in [
      { softmax($0, axis: 2) }, { $0.take($0) }, { $0.topK(9).values }, { $0.argmax(axis: -4) },
      { crossEntropy($0, $0.cast(to: .i32)) }, { layerNorm($0, beta: $0) },
      { $0.scatterAdd($0, at: $0.cast(to: .i32).argmax(axis: 0)) }, { $0.dropout(2) },
    ] as [(Tensor) -> Tensor] {
      #expect(throws: ApusError.self) { try traced([.f32(2, 3)]) { [mistake($0[0])] } }
    }
  }
}
