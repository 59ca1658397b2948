// What is trained: frozen and cut parameters are left alone, whatever was compiled before.

import Apus
import Testing

@Suite struct FreezingTests {
  @Test func unfreezing_isObeyedByTheNextStep_ofEverySize() throws {
    let trainer = try Trainer(
      TwoLayers(), optimizer: AdamW(learningRate: 0.05, weightDecay: 0.1), loss: LifeCycle.loss)
    let model = trainer.model
    func moves(_ rows: Int) throws -> (a: Bool, b: Bool) {
      let before = try LifeCycle.values(model)
      try trainer.train(on: LifeCycle.batch(rows))
      let after = try LifeCycle.values(model)
      return (after["a.weight"] != before["a.weight"], after["b.weight"] != before["b.weight"])
    }
    #expect(try model.freeze("a.*") == 2)
    #expect(try moves(6) == (false, true))
    #expect(try moves(4) == (false, true))
    model.unfreeze()
    #expect(try moves(6) == (true, true))
    #expect(try moves(4) == (true, true))
    model.b.freeze()
    #expect(try moves(6) == (true, false))
    try model.unfreeze("*.weight")
    #expect(try moves(4) == (true, true))
    #expect(model.b.bias?.isTrainable == false)
  }

  /// What is frozen outside of the model that is trained changes what the step computes, too.
  @Test func freezingANormalisation_outsideOfTheModelThatIsTrained_isObeyed() throws {
    struct Parts: Module {
      let backbone = BatchNorm(2)
      let bare = BatchNorm(2, affine: false)
      let head = Linear(2, 1)
    }
    let model = Parts()
    try model.initialize(seed: 1)
    // Means that are not 0, for the second to move towards.
    try model.backbone.bias?.set(NDArray([0.5, -1], shape: [2]))
    let step = try TrainingStep { step, batch in
      let y = model.head(model.bare(model.backbone(batch.x)))
      step.minimize(square(y).mean(), over: model.head, with: SGD(learningRate: 0.01))
    }
    func estimates() throws -> [NDArray] { try model.buffers.map { try $0.buffer.value() } }
    let batch = Batch(["x": NDArray([0, 1, 2, 5, 4, 3], shape: [3, 2])])
    func moves() throws -> [Bool] {
      let before = try estimates()
      try step.run(batch)
      return zip(before, try estimates()).map { $0 != $1 }
    }
    let all = [true, true, true], none = [false, false, false]
    #expect(try moves() == all + all)
    model.backbone.freeze()
    #expect(try moves() == none + all)
    model.bare.freeze()
    #expect(try moves() == none + none)
    try model.unfreeze("*.weight")
    try model.unfreeze("backbone.running_*")
    #expect(try moves() == [true, true, false] + none)
    model.unfreeze()
    #expect(try moves() == all + all)
  }

  @Test func aPredictorInTraining_noticesWhatIsFrozen() throws {
    let norm = BatchNorm(2)
    try norm.initialize()
    let predict = try Predictor(norm, mode: .training) { $0($1) }
    let x = NDArray([0, 1, 2, 5, 4, 3], shape: [3, 2])
    let own = try predict(x)
    norm.freeze()
    try norm.runningMean?.set(NDArray([0, 0], shape: [2]))
    try norm.runningVariance?.set(NDArray([1, 1], shape: [2]))
    let kept = try predict(x)
    #expect(own != kept)
    for (a, b) in zip(kept.floats, x.floats) { #expect(abs(a - b) < 1e-4) }
    norm.unfreeze()
    #expect(try predict(x) == own)
  }

  @Test func aBufferOfOnesOwn_thatIsFrozen_keepsItsValue() throws {
    struct Counter: Module {
      let seen = Buffer([], .zeros)
      let w = Parameter([], .ones)
      func callAsFunction(_ x: Tensor) -> Tensor {
        seen.update(to: seen.tensor + 1)
        return x * w
      }
    }
    let trainer = try Trainer(Counter(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      model(batch.x).sum()
    }
    let batch = Batch(["x": NDArray([1], shape: [1])])
    try trainer.train(on: batch)
    trainer.model.seen.isFrozen = true
    try trainer.train(on: batch)
    #expect(try trainer.model.seen.value().doubles == [1])
    #expect(try trainer.model.freeze("s*") == 1)
    try trainer.model.unfreeze("seen")
    try trainer.train(on: batch)
    #expect(try trainer.model.seen.value().doubles == [2])
  }

  @Test func aPatternThatMatchesNothing_isAnError() throws {
    let error = #expect(throws: ApusError.self) { try TwoLayers().freeze("encoder.*") }
    #expect(error?.kind == .missing && "\(error!)".contains("a.weight"))
  }

  @Test func aWeightBehindStopGradient_isLeftAloneByDecayAndMomentum() throws {
    for optimizer in [
      SGD(learningRate: 0.1, momentum: 0.9, weightDecay: 0.1), AdamW(learningRate: 0.1),
    ] as [any Optimizer] {
      let trainer = try Trainer(TwoLayers(), optimizer: optimizer) { model, batch in
        crossEntropy(model.b(model.a(batch.x).stopGradient()), batch.y)
      }
      let before = try LifeCycle.values(trainer.model)
      for _ in 0..<3 { try trainer.train(on: LifeCycle.batch()) }
      let after = try LifeCycle.values(trainer.model)
      #expect(after["a.weight"] == before["a.weight"])
      #expect(after["b.weight"] != before["b.weight"])
    }
  }

  @Test func aLossThatTeachesNobody_isAnErrorWithTheReason() throws {
    let model = TwoLayers()
    try model.initialize()
    func mistake(_ learner: some Module, _ loss: @escaping (SymbolicBatch) -> Tensor) throws
      -> String
    {
      let step = try TrainingStep { step, batch in
        step.minimize(loss(batch), over: learner, with: SGD(learningRate: 0.1))
      }
      let error = #expect(throws: ApusError.self) { try step.run(LifeCycle.batch()) }
      #expect("\(error!)".contains("FreezingTests.swift"))
      return "\(error!)"
    }
    #expect(try mistake(model) { $0.x.sum() }.contains("uses none of the parameters"))
    #expect(
      try mistake(model) { model($0.x).argmax(axis: -1).cast(to: .f32).mean() }
        .contains("no gradient of the loss reaches"))
    #expect(try mistake(ReLU()) { model($0.x).sum() }.contains("has no parameters"))
    let copy = try model.copy()
    #expect(try mistake(copy) { model($0.x).sum() }.contains("uses none of the parameters"))
    model.freeze()
    #expect(try mistake(model) { model($0.x).sum() }.contains("all 4 parameters"))
  }

  @Test func parameterGroups_followTheirPatterns() throws {
    let decayed = SGD(learningRate: 0.1, weightDecay: 0.5)
    let trainer = try Trainer(
      TwoLayers(), optimizer: decayed,
      options: StepOptions(groups: ["*.bias": SGD(learningRate: 0), "b.*": SGD(learningRate: 0.1)]),
      loss: LifeCycle.loss)
    let plain = try Trainer(TwoLayers(), optimizer: SGD(learningRate: 0.1), loss: LifeCycle.loss)
    let before = try LifeCycle.values(trainer.model)
    try trainer.train(on: LifeCycle.batch())
    try plain.train(on: LifeCycle.batch())
    let (after, other) = (try LifeCycle.values(trainer.model), try LifeCycle.values(plain.model))
    #expect(after["a.bias"] == before["a.bias"] && after["b.bias"] == before["b.bias"])
    #expect(after["b.weight"] == other["b.weight"] && after["b.weight"] != before["b.weight"])
    #expect(after["a.weight"] != other["a.weight"])
    let wrong = try Trainer(
      TwoLayers(), optimizer: decayed, options: StepOptions(groups: ["*.biass": decayed]),
      loss: LifeCycle.loss)
    let error = #expect(throws: ApusError.self) { try wrong.train(on: LifeCycle.batch()) }
    #expect("\(error!)".contains("*.biass"))
  }

  @Test func slotsBelongToTheStep_notToTheWeight() throws {
    func run(_ shared: Bool) throws -> [String: NDArray] {
      let model = TwoLayers()
      try model.initialize(seed: 1)
      func step(_ sign: Double) throws -> TrainingStep {
        try TrainingStep(model, optimizer: Adam(learningRate: 0.01)) {
          LifeCycle.loss($0, $1) * sign
        }
      }
      let first = try step(1), second = try step(1)
      for index in 0..<4 {
        let chosen = shared || index % 2 == 0 ? first : second
        try chosen.run(LifeCycle.batch())
      }
      return try LifeCycle.values(model)
    }
    // Two Adams that each see every other step are not one Adam that sees all.
    #expect(try run(true) != run(false))
  }

  @Test func updatesOfOneStep_composeInOrder() throws {
    struct Scale: Module {
      let w = Parameter([], .ones)
      func callAsFunction(_ x: Tensor) -> Tensor { x * w }
    }
    let model = Scale()
    try model.initialize()
    let step = try TrainingStep { step, batch in
      // d/dw (2 w) = 2: w goes from 1 to 0.8; then d/dw (w²) at 0.8 is 1.6: to 0.64.
      let first = model(batch.x.sum())
      step.minimize(first, over: model, with: SGD(learningRate: 0.1), named: "first")
      let second = square(model.w.tensor)
      step.minimize(second, over: model, with: SGD(learningRate: 0.1), named: "second")
    }
    let result = try step.run(Batch(["x": NDArray([2], shape: [1])]))
    #expect(abs(try model.w.value().doubles[0] - 0.64) < 1e-6)
    #expect(abs(result.loss - 2) < 1e-6 && abs(result["second"]! - 0.64) < 1e-6)
  }

  @Test func twoOptimisersOfOneName_areAnError() throws {
    let model = TwoLayers()
    try model.initialize()
    let step = try TrainingStep { step, batch in
      let loss = LifeCycle.loss(model, batch)
      step.minimize(loss, over: model.a, with: SGD(learningRate: 0.1), named: "sgd")
      step.minimize(loss, over: model.b, with: SGD(learningRate: 0.2), named: "sgd")
    }
    let error = #expect(throws: ApusError.self) { try step.run(LifeCycle.batch()) }
    #expect("\(error!)".contains("'sgd'"))
  }

  @Test func aRateOfYourOwn_changesBetweenSteps() throws {
    final class Rate: @unchecked Sendable { var value = 0.1 }
    struct Scale: Module { let w = Parameter([], .zeros) }
    let rate = Rate()
    let trainer = try Trainer(
      Scale(), optimizer: SGD(learningRate: .schedule { _ in rate.value })
    ) { model, batch in (batch.x * model.w).sum() }
    let batch = Batch(["x": NDArray([1], shape: [1])])
    try trainer.train(on: batch)
    rate.value = 0.5
    try trainer.train(on: batch)
    #expect(abs(try trainer.model.w.value().doubles[0] + 0.6) < 1e-6)
    rate.value = .nan
    #expect(throws: ApusError.self) { try trainer.train(on: batch) }
    #expect(trainer.step == 2)
  }

  @Test func gradientsAndTheirNorm_canBeRead() throws {
    struct Scale: Module { let w = Parameter([2], .zeros) }
    let model = Scale()
    try model.initialize()
    let step = try TrainingStep { step, batch in
      let learnt = step.minimize(
        (batch.x * model.w).sum(), over: model, with: SGD(learningRate: 1), clipNorm: 1)
      step.report("gradient_norm", learnt.gradientNorm)
      step.output("gradient", learnt["w"]!)
    }
    let result = try step.run(Batch(["x": NDArray([3, 4], shape: [2])]))
    #expect(result["gradient_norm"] == 5)
    #expect(result.arrays["gradient"]?.floats == [3, 4])
    for (moved, wanted) in zip(try model.w.value().floats, [-0.6, -0.8] as [Float]) {
      #expect(abs(moved - wanted) < 1e-5)
    }
  }
}
