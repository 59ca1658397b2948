// Steps that fail change nothing, and say why.

import Apus
import Testing

@Suite struct UnchangedTests {
  /// Everything that a step may change.
  private static func all(_ trainer: Trainer<TwoLayers>) throws -> [NDArray] {
    let batch = LifeCycle.batch()
    let states = try trainer.trainingStep.executable(for: batch).states
    return try states.names.filter { !$0.hasPrefix("optimizer.") || $0.contains("moment") }
      .map(states.array)
  }

  private static func trainer(
    clip: Double? = nil, _ optimizer: some Optimizer = Adam(learningRate: 0.1)
  ) throws -> Trainer<TwoLayers> {
    try Trainer(
      TwoLayers(), optimizer: optimizer, options: StepOptions(clipNorm: clip), loss: LifeCycle.loss)
  }

  private static func spoiled(_ change: (inout [Float], inout [Int32]) -> Void) -> Batch {
    let batch = LifeCycle.batch()
    var x = batch.x!.floats, y = batch.y!.integers.map { Int32($0) }
    change(&x, &y)
    return Batch(["x": NDArray(x, shape: [6, 4]), "y": NDArray(y, shape: [6])])
  }

  @Test(arguments: [nil, 1.0] as [Double?])
  func aStepThatFails_changesNothing_andTheCounterAgrees(clip: Double?) throws {
    let trainer = try Self.trainer(clip: clip)
    let twin = try Self.trainer(clip: clip)
    try trainer.train(on: LifeCycle.batch())
    try twin.train(on: LifeCycle.batch())
    let before = try Self.all(trainer)
    for (batch, kind, words) in [
      (Self.spoiled { x, _ in x[9] = .nan }, .nonFinite, "'x' holds a NaN in row 2"),
      (Self.spoiled { x, _ in x[4] = .infinity }, .nonFinite, "'x' holds inf in row 1"),
      (Self.spoiled { _, y in y[3] = 7 }, .outOfRange, "'y' i32[6] hold 7 at row 3"),
      (Self.spoiled { _, y in y[0] = -5 }, .outOfRange, "0..<3"),
    ] as [(Batch, ApusError.Kind, String)] {
      let error = #expect(throws: ApusError.self) { try trainer.train(on: batch) }
      #expect(error?.kind == kind && "\(error!)".contains(words), "\(error!)")
      #expect(try Self.all(trainer) == before)
      #expect(trainer.step == 1)
    }
    // What follows is what would have followed without.
    try trainer.train(on: LifeCycle.batch())
    try twin.train(on: LifeCycle.batch())
    #expect(try LifeCycle.values(trainer.model) == LifeCycle.values(twin.model))
  }

  @Test func aBatchOfNothingButIgnoredLabels_hasLoss0_andChangesNothing() throws {
    for clip in [nil, 1.0] as [Double?] {
      let trainer = try Self.trainer(clip: clip, AdamW(learningRate: 0.1, weightDecay: 0.5))
      try trainer.train(on: LifeCycle.batch())
      let before = try Self.all(trainer)
      let result = try trainer.train(on: Self.spoiled { _, y in y = y.map { _ in -100 } })
      #expect(result.loss == 0 && result.wasSkipped && trainer.step == 1)
      #expect(try Self.all(trainer) == before)
    }
  }

  @Test func aGradientThatIsNoNumber_changesNothing_thoughTheLossIsFinite() throws {
    // √ at 0: the loss is 1, its gradient infinite, and 0 · ∞ further back a NaN.
    struct Root: Module {
      let w = Parameter([2], .zeros)
      let other = Linear(4, 4)
    }
    for clip in [nil, 1.0] as [Double?] {
      for optimizer in [SGD(learningRate: 0.1, momentum: 0.9), Adam()] as [any Optimizer] {
        let trainer = try Trainer(
          Root(), optimizer: optimizer, options: StepOptions(clipNorm: clip)
        ) { model, batch in
          sqrt(square(model.w.tensor)).sum() + square(model.other(batch.x)).mean()
        }
        let before = try LifeCycle.values(trainer.model)
        let error = #expect(throws: ApusError.self) { try trainer.train(on: LifeCycle.batch()) }
        #expect(error?.kind == .nonFinite)
        #expect("\(error!)".contains("the loss is finite, but the gradient of 'w' holds a NaN"))
        #expect("\(error!)".contains("at the first step look at"))
        #expect("\(error!)".contains("UnchangedTests.swift"))
        #expect(try LifeCycle.values(trainer.model) == before)
      }
    }
  }

  @Test func aParameterThatIsNoNumber_isNamed() throws {
    let trainer = try Self.trainer()
    try trainer.model.b.bias!.set(NDArray([0, .nan, 0], shape: [3]))
    let error = #expect(throws: ApusError.self) { try trainer.train(on: LifeCycle.batch()) }
    #expect("\(error!)".contains("parameter 'b.bias' holds a NaN"))
  }

  @Test func aBatchWithoutExamples_isAnError() throws {
    let trainer = try Self.trainer()
    let batch = Batch(["x": NDArray(zeros: .f32(0, 4)), "y": NDArray(zeros: .i32(0))])
    let error = #expect(throws: ApusError.self) { try trainer.train(on: batch) }
    #expect(error?.kind == .shapeMismatch && "\(error!)".contains("0 examples"))
  }

  @Test func aLossThatIsNoScalar_namesTheClosuresLine() throws {
    let trainer = try Trainer(TwoLayers(), optimizer: SGD(learningRate: 1)) { $0($1.x) }
    let error = #expect(throws: ApusError.self) { try trainer.train(on: LifeCycle.batch()) }
    #expect("\(error!)".contains("f32[6,3]") && "\(error!)".contains("UnchangedTests.swift"))
    let evaluation = #expect(throws: ApusError.self) {
      try trainer.evaluate(CheckpointTests.data().batched(6))
    }
    #expect("\(evaluation!)".contains("UnchangedTests.swift"))
  }
}
