// Gradients that the user gives, regions that are computed twice, and mistakes.

import ApusAutodiff
import ApusGraph
import ApusOps
import TestSupport
import Testing

@Suite struct CustomGradientTests {
  @Test func theStraightThroughEstimatorRoundsForwardsAndPassesBackwards() throws {
    let x = NDArray(doubles: [0.4, 1.6, -2.7], type: .f64(3))
    let found = try values([x]) { t in
      let y = withGradient(t) {
        round($0[0])
      } gradient: {
        [$0.gradient]
      }
      return [y] + gradients(of: square(y).sum(), withRespectTo: t)
    }
    #expect(found[0].doubles == [0, 2, -3])
    #expect(found[1].doubles == [0, 4, -6])
  }

  @Test func theRuleReplacesTheGradientOfWhatIsWithin() throws {
    let x = random(.f64(3), "x")
    let found = try values([x]) { t in
      let y = withGradient(t) {
        exp($0[0])
      } gradient: { context in
        [context.gradient * 7]
      }
      return gradients(of: y.sum(), withRespectTo: t)
    }
    #expect(found[0].doubles == [7, 7, 7])
  }

  @Test func theRuleSeesInputsResultAndGradientAndCanBeDifferentiated() throws {
    // The right rule for exp(x)·y, written with the result: both orders must agree with differences.
    try checkGradients([random(.f64(4), "x"), random(.f64(4), "y")], order: 2) { t in
      withGradient(t) {
        exp($0[0]) * $0[1]
      } gradient: { context in
        [context.gradient * context.result, context.gradient * exp(context.operands[0])]
      }
    }
  }

  @Test func aRuleMayLeaveAnInputWithoutGradient() throws {
    let found = try values([random(.f64(2), "x"), random(.f64(2), "y")]) { t in
      let y = withGradient(t) {
        $0[0] * $0[1]
      } gradient: {
        [$0.gradient, nil]
      }
      return gradients(of: y.sum(), withRespectTo: t)
    }
    #expect(found.map(\.doubles) == [[1, 1], [0, 0]])
  }

  @Test func twoRulesInOneTraceDoNotMix() throws {
    let found = try values([random(.f64(2), "x")]) { t in
      let a = withGradient(t) {
        $0[0]
      } gradient: {
        [$0.gradient * 2]
      }
      let b = withGradient(t) {
        $0[0]
      } gradient: {
        [$0.gradient * 5]
      }
      return gradients(of: a.sum(), withRespectTo: t) + gradients(of: b.sum(), withRespectTo: t)
    }
    #expect(found.map(\.doubles) == [[2, 2], [5, 5]])
  }

  @Test func clippingTheGradientOnItsWayLeavesTheValueAlone() throws {
    let x = NDArray(doubles: [1, 100], type: .f64(2))
    let found = try values([x]) { t in
      let y = withGradient(t) {
        $0[0]
      } gradient: {
        [clamp($0.gradient, low: -1, high: 1)]
      }
      return [y] + gradients(of: square(y).sum(), withRespectTo: t)
    }
    #expect(found.map(\.doubles) == [[1, 100], [1, 1]])
  }
}

@Suite struct CheckpointTests {
  private func block(_ x: Tensor) -> Tensor { tanh(exp(x) * 0.3) * sigmoid(x) }

  private func both(_ usesCheckpoint: Bool) throws -> Graph {
    try traced([.f64(5)]) { t in
      let y = usesCheckpoint ? checkpoint(t[0], block) : block(t[0])
      return [y] + gradients(of: square(y).sum(), withRespectTo: t)
    }
  }

  @Test func checkpointGivesTheSameBits() throws {
    let x = random(.f64(5), "x")
    let plain = try both(false).interpret(inputs: [x]).outputs
    #expect(try both(true).interpret(inputs: [x]).outputs == plain)
  }

  @Test func theBackwardPassReadsRecomputedValuesOnly() throws {
    let (plain, twice) = (try both(false), try both(true))
    let copies = twice.nodes.filter { $0.recomputation != 0 }
    #expect(!plain.nodes.contains { $0.recomputation != 0 })
    #expect(copies.map(\.op.mnemonic).contains("tanh"))
    #expect(twice.nodes.count == plain.nodes.count + copies.count)
    // Of the forward region's values only its result, the output, is read after the region.
    let region = twice.nodes.prefix(5).flatMap(\.results)
    let result = twice.outputs[0].operand.value
    let later = twice.nodes.dropFirst(5).flatMap(\.operands).map(\.value)
    #expect(region.filter { $0 != result && later.contains($0) }.isEmpty)
  }

  @Test func nothingIsRecomputedWithoutABackwardPass() throws {
    let graph = try traced([.f64(5)]) { [checkpoint($0[0], block)] }
    #expect(!graph.nodes.contains { $0.recomputation != 0 })
  }

  @Test func theRegionThatIsBeingRecordedIsNotRecomputed() throws {
    // A penalty on a gradient, within a region: softmax's second derivative walks its decomposition.
    func slope(_ x: Tensor) -> Tensor {
      gradients(of: square(softmax(x)).sum(), withRespectTo: [x])[0]
    }
    func penalty(_ x: Tensor) -> Tensor {
      square(gradients(of: square(slope(x)).sum(), withRespectTo: [x])[0])
    }
    let plain = try traced([.f64(5)]) { [penalty($0[0])] }
    let within = try traced([.f64(5)]) { [checkpoint($0[0], penalty)] }
    #expect(within.nodes.count == plain.nodes.count)
    let x = random(.f64(5), "x")
    #expect(
      try within.interpret(inputs: [x]).outputs == plain.interpret(inputs: [x]).outputs)
  }

  @Test func aCompositeMayContainAGradientOfItsUsers() throws {
    // A walk of its own decomposition asks such a rule as the walk of the whole graph does.
    struct Tripled: CompositeOp {
      static let mnemonic = "tripled"
      init() {}
      init(attributes: AttributeReader) {}
      var attributes: [Attribute] { [] }
      func resultTypes(_ operands: [TensorType]) -> [TensorType] { operands }
      func gradient(_ context: GradientContext) throws -> [Tensor?] {
        try gradientOfDecomposition(context)
      }
      func reference(_ operands: [NDArray], results: [TensorType]) -> [NDArray] { operands }
      func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
      func lower(_ site: LoweringSite) throws -> KernelCall {
        throw ApusError(.unsupported, "tripled has no kernel")
      }
      func hasKernel(_ operands: [TensorType]) -> Bool { false }
      func decompose(_ operands: [Tensor]) throws -> [Tensor] {
        [
          withGradient(operands) {
            $0[0]
          } gradient: {
            [$0.gradient * 3]
          }
        ]
      }
    }
    let found = try values([random(.f64(2), "x")]) { t in
      gradients(of: Tensor.apply(Tripled(), to: t[0]).sum(), withRespectTo: t)
    }
    #expect(found[0].doubles == [3, 3])
  }

  @Test func aRecomputedNodeKeepsItsOrigin() throws {
    let graph = try traced([.f64(5)]) { t in
      let y = checkpoint(t[0]) { exp($0, file: "Block.swift", line: 3) * $0 }
      return gradients(of: y.sum(), withRespectTo: t)
    }
    let copy = graph.nodes.first { $0.recomputation != 0 && $0.op is Exp }
    #expect(copy?.origins.first?.location == "Block.swift:3")
  }

  @Test func severalRegionsAndNestingHaveTheGradientsOfDifferences() throws {
    try checkGradients([random(.f64(4), "x")], order: 2) { t in
      let a = checkpoint(t[0]) { x in self.block(x) }
      let b = checkpoint(a) { x in checkpoint(x) { self.block($0) } + x }
      return checkpoint(b) { self.block($0) * a }
    }
  }
}

@Suite struct GradientMistakeTests {
  private func mistake(
    _ types: [TensorType], _ body: ([Tensor]) throws -> [Tensor]
  ) -> ApusError? {
    do {
      _ = try traced(types, body)
      return nil
    } catch {
      return error as? ApusError
    }
  }

  @Test func aLossThatIsNotAScalarNeedsASeed() {
    let error = mistake([.f32(3)]) { gradients(of: $0[0], withRespectTo: $0) }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.location?.contains("CustomGradientTests.swift") == true)
  }

  @Test func aSeedOfAnotherShapeIsRefused() {
    let error = mistake([.f32(3), .f32(2)]) {
      gradients(of: $0[0], withRespectTo: [$0[0]], seed: $0[1])
    }
    #expect(error?.kind == .shapeMismatch)
  }

  @Test func integersHaveNoGradients() {
    #expect(
      mistake([.i32()]) { gradients(of: $0[0], withRespectTo: $0) }?.kind == .dtypeMismatch)
    #expect(
      mistake([.i32(3)]) {
        gradients(of: $0[0].cast(to: .f32).sum(), withRespectTo: $0)
      }?.kind == .dtypeMismatch)
  }

  @Test func aCustomGradientOfAnotherShapeIsRefused() {
    let error = mistake([.f32(3)]) { t in
      let y = withGradient(t) {
        exp($0[0])
      } gradient: {
        [$0.gradient.sum()]
      }
      return gradients(of: y.sum(), withRespectTo: t)
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.what.contains("custom gradient") == true)
    #expect(error?.location?.contains("CustomGradientTests.swift") == true)
  }

  @Test func aCustomGradientOfTooFewInputsIsRefused() {
    let error = mistake([.f32(3), .f32(3)]) { t in
      let y = withGradient(t) {
        $0[0] * $0[1]
      } gradient: {
        [$0.gradient]
      }
      return gradients(of: y.sum(), withRespectTo: t)
    }
    #expect(error?.kind == .invalidArgument)
  }

  @Test func anErrorThrownByACustomGradientIsPassedOn() {
    let error = mistake([.f32(3)]) { t in
      let y = withGradient(t) {
        exp($0[0])
      } gradient: { _ in
        throw ApusError(.unsupported, "no rule today")
      }
      return gradients(of: y.sum(), withRespectTo: t)
    }
    #expect(error?.what == "no rule today")
  }

  @Test func aMistakeInTheForwardPassIsTheOneReported() {
    let error = mistake([.f32(3), .f32(4)]) { t in
      gradients(of: (t[0] + t[1]).sum(), withRespectTo: t)
    }
    #expect(error?.what.contains("[3] and [4]") == true)
  }
}

@Suite struct GradientCheckerTests {
  @Test func aWrongRuleIsFoundAndItsArgumentNamed() {
    let wrong: ([Tensor]) throws -> Tensor = { t in
      withGradient(t) {
        $0[0] * exp($0[1])
      } gradient: { context in
        // The factor exp(y) is missing in the second.
        [context.gradient * exp(context.operands[1]), context.gradient * context.operands[0]]
      }
    }
    let error = #expect(throws: ApusError.self) {
      try checkGradients([random(.f64(3), "x"), random(.f64(3), "y")], wrong)
    }
    #expect(error?.kind == .invalidGraph)
    #expect(error?.what.contains("order 1 with respect to argument 1") == true)
  }

  @Test func aRuleThatIsOnlyWrongInItsSecondOrderIsFound() throws {
    let wrong: ([Tensor]) throws -> Tensor = { t in
      withGradient(t) {
        exp($0[0])
      } gradient: { context in
        [context.gradient * context.result.stopGradient()]
      }
    }
    try checkGradients([random(.f64(3), "x")], order: 1, wrong)
    #expect(throws: ApusError.self) { try checkGradients([random(.f64(3), "x")], order: 2, wrong) }
  }

  @Test func integersAreNotDifferentiated() throws {
    let error = try checkGradients([
      random(.f64(3), "x"), NDArray([1, 0, 2] as [Int32], shape: [3]),
    ]) {
      exp($0[0]) * $0[1].cast(to: .f64)
    }
    #expect(error < 1e-9)
  }

  @Test func aNaNIsADifference() {
    #expect(throws: ApusError.self) {
      try checkGradients([NDArray(doubles: [-1], type: .f64(1))]) { log($0[0]) }
    }
  }
}
