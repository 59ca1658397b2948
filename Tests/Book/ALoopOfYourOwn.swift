// The examples of Docs/ALoopOfYourOwn.md.

import Apus
import Testing

@Suite struct ALoopOfYourOwn {
  struct Classifier: Module {
    let hidden = Linear(8, 8)
    let mean = RunningMean()
    let output = Linear(8, 3)
    func callAsFunction(_ x: Tensor) -> Tensor { output(mean(tanh(hidden(x)))) }
  }

  struct GAN: Module {
    let generator = Sequential {
      Linear(4, 16)
      Tanh()
      Linear(16, 2)
    }
    let discriminator = Sequential {
      Linear(2, 16)
      Tanh()
      Linear(16, 1)
    }
  }

  struct SignDescent: Optimizer {
    var learningRate: LearningRate = 1e-4

    func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
      let rate = learningRate
      let m = state["momentum"] * 0.9 + g * 0.1
      state["momentum"] = m
      return p - sign(m) * state.scalar("rate") { rate.value(at: $0.step) }
    }
  }

  struct RunningMean: Layer {
    let scope = Scope()
    let mean = Buffer([8], .zeros)

    func forward(_ x: Tensor) -> Tensor {
      guard x.trace.mode == .training else { return x - mean }
      let now = x.mean(axis: 0)
      mean.update(to: mean.tensor * 0.9 + now * 0.1)
      return x - now
    }
  }

  static let x = NDArray((0..<512).map { Float($0 * 7 % 19) / 10 - 1 }, shape: [64, 8])
  static let y = NDArray((0..<64).map { Int32($0 % 3) }, shape: [64])

  static func values(_ model: some Module) throws -> [NDArray] {
    try model.parameters.map { try $0.parameter.value() }
  }

  @Test func aStep_andWhatItCanBe() throws {
    let data = try ArrayDataset(["x": Self.x, "y": Self.y])
    let model = Classifier()
    try model.initialize(seed: 1)
    let step = try TrainingStep { step, batch in
      let logits = model(batch.x)
      step.report("accuracy", accuracy(logits, batch.y))
      step.minimize(crossEntropy(logits, batch.y), over: model, with: Adam(learningRate: 0.01))
    }
    for epoch in 0..<5 {
      let batches = try data.batched(16, shuffle: 7).makeIterator(epoch: epoch)
      while let batch = try batches.next() {
        let result = try step.run(batch)
        print(step.count, result.loss, result["accuracy"]!)
      }
    }
    #expect(step.count == 20)
    let batch = Batch(["x": Self.x, "y": Self.y])
    do {
      let careful = try TrainingStep { step, batch in
        let loss = crossEntropy(model(batch.x), batch.y)
        let learnt = step.minimize(
          loss, over: model, with: AdamW(learningRate: 1e-3, weightDecay: 0.1),
          groups: ["*.bias": AdamW(learningRate: 1e-3, weightDecay: 0)], clipNorm: 1)
        step.report("gradient norm", learnt.gradientNorm)
        step.output("gradient", learnt["output.weight"]!)
      }
      let result = try careful.run(batch)
      print(result["gradient norm"]!, result.arrays["gradient"]!.shape)
      #expect(result["gradient norm"]! > 0 && result.arrays["gradient"]!.shape == [3, 8])
    }
    for (index, part) in [batch, batch, batch, batch].enumerated() {
      if index < 3 { try step.accumulate(part) } else { try step.run(part) }
    }
    #expect(step.count == 21)
    let patient = try TrainingStep(nonFinite: .skip) { step, batch in
      step.minimize(crossEntropy(model(batch.x), batch.y), over: model, with: Adam())
    }
    let outcome = try patient.run(batch)
    if let reason = outcome.nonFinite { print("left out: \(reason)") }
    #expect(outcome.nonFinite == nil && patient.count == 1)
    let before = try Self.values(model)
    try model.freeze("hidden.*")
    try step.run(batch)
    #expect(try Self.values(model)[0] == before[0])
    #expect(try Self.values(model)[2] != before[2])
    try model.freeze("hidden.*")  // by path; model.hidden.freeze() is the same
    try step.run(batch)  // trains the rest
    model.unfreeze()
    try step.run(batch)  // trains all of it
    #expect(try Self.values(model)[0] != before[0])
    let target = try model.copy()
    let following = try TrainingStep { step, batch in
      step.minimize(crossEntropy(model(batch.x), batch.y), over: model, with: Adam())
      target.follow(model, rate: 0.01)
    }
    try following.run(batch)
    try target.copyParameters(from: model)  // all the way, between steps
    #expect(try Self.values(target) == Self.values(model))
    #expect(try target.mean.mean.value() == model.mean.mean.value())
    #expect(try model.mean.mean.value().floats.contains { $0 != 0 })
  }

  @Test func twoOptimisersInTwoSteps() throws {
    let batches = (0..<3).map { shift in
      Batch(["real": NDArray((0..<32).map { Float(($0 + shift) % 5) / 5 }, shape: [16, 2])])
    }
    let gan = GAN()
    try gan.initialize(seed: 1)
    let discriminate = try TrainingStep(seed: 1) { step, batch in
      let noise = Tensor.randomNormal([batch.real.shape[0], 4])
      let real = gan.discriminator(batch.real)
      let fake = gan.discriminator(gan.generator(noise).stopGradient())
      let loss = bceWithLogits(real, real.onesLike()) + bceWithLogits(fake, fake.zerosLike())
      step.minimize(loss, over: gan.discriminator, with: Adam(learningRate: 2e-3, beta1: 0.5))
    }
    let generate = try TrainingStep(seed: 2) { step, batch in
      let score = gan.discriminator(gan.generator(.randomNormal([batch.real.shape[0], 4])))
      step.minimize(
        bceWithLogits(score, score.onesLike()), over: gan.generator,
        with: Adam(learningRate: 2e-3, beta1: 0.5))
    }
    for batch in batches {
      print(try discriminate.run(batch).loss, try generate.run(batch).loss)
    }
    #expect(discriminate.count == 3 && generate.count == 3)
  }

  @Test func twoOptimisersInOneStep() throws {
    let actor = Linear(4, 2), critic = Linear(4, 1)
    try actor.initialize(seed: 1)
    try critic.initialize(seed: 2)
    let batch = Batch([
      "state": NDArray((0..<32).map { Float($0 % 5) / 5 }, shape: [8, 4]),
      "action": NDArray((0..<8).map { Int32($0 % 2) }, shape: [8, 1]),
      "reward": NDArray((0..<8).map { Float($0) / 8 }, shape: [8, 1]),
    ])
    let before = try (Self.values(actor), Self.values(critic))
    let critique = try TrainingStep { step, batch in
      let value = critic(batch.state)
      let advantage = (batch.reward - value).stopGradient()
      let policy = logSoftmax(actor(batch.state), axis: -1).takeAlong(batch.action, axis: 1)
      let regret = -(policy * advantage).mean()
      step.minimize(mse(value, batch.reward), over: critic, with: Adam(), named: "critic")
      step.minimize(regret, over: actor, with: Adam(learningRate: 1e-4), named: "actor")
    }
    let result = try critique.run(batch)
    print(result.loss, result["actor"]!)
    #expect(try Self.values(actor) != before.0 && Self.values(critic) != before.1)
  }

  @Test func ratesAndRulesOfYourOwn() throws {
    let warm = LearningRate.warmUp(steps: 100, then: .cosine(from: 1e-3, steps: 2000))
    let halving = LearningRate.schedule { step in step < 500 ? 1e-3 : 5e-4 }
    let optimizers: [any Optimizer] = [Adam(learningRate: warm), SGD(learningRate: halving)]
    #expect(warm.value(at: 99) == 1e-3 && halving.value(at: 500) == 5e-4)
    let model = Classifier()
    for optimizer in optimizers + [SignDescent(learningRate: 1e-2)] {
      try model.initialize(seed: 1, reinitialize: true)
      let step = try TrainingStep { step, batch in
        step.minimize(crossEntropy(model(batch.x), batch.y), over: model, with: optimizer)
      }
      let losses = try (0..<30).map { _ in try step.run(Batch(["x": Self.x, "y": Self.y])).loss }
      #expect(losses[29] < losses[0], "\(optimizer)")
    }
  }
}
