// Checkpoints of steps of one's own: they go on to the bits of an uninterrupted run, or say what does not fit.

import Apus
import Foundation
import Testing

private struct MLP: Module {
  let first: Linear
  let last: Linear
  init(_ inputs: Int, _ hidden: Int, _ outputs: Int) {
    first = Linear(inputs, hidden)
    last = Linear(hidden, outputs)
  }
  func callAsFunction(_ x: Tensor) -> Tensor { last(tanh(first(x))) }
}

/// Two networks that are trained against each other, each by a step of its own.
private struct GAN: Module {
  let generator: MLP
  let discriminator = MLP(2, 8, 1)
  init(hidden: Int = 8) { generator = MLP(3, hidden, 2) }
}

private struct GANRun {
  let gan: GAN
  let discriminate, generate: TrainingStep

  init(
    _ gan: GAN = GAN(), seed: UInt64 = 1, rate: Double = 0.02, beta1: Double = 0.5
  ) throws {
    self.gan = gan
    try gan.initialize(seed: seed)
    discriminate = try TrainingStep(seed: seed) { step, batch in
      let noise = Tensor.randomNormal([batch.real.shape[0], 3])
      let real = gan.discriminator(batch.real)
      let fake = gan.discriminator(gan.generator(noise).stopGradient())
      let loss = bceWithLogits(real, real.onesLike()) + bceWithLogits(fake, fake.zerosLike())
      step.minimize(
        loss, over: gan.discriminator,
        with: Adam(learningRate: .constant(rate), beta1: .constant(beta1)))
    }
    generate = try TrainingStep(seed: seed + 1) { step, batch in
      let score = gan.discriminator(gan.generator(.randomNormal([batch.real.shape[0], 3])))
      step.minimize(
        bceWithLogits(score, score.onesLike()), over: gan.generator,
        with: AdamW(learningRate: 0.01, weightDecay: 0.1))
    }
  }

  var checkpoint: Checkpoint {
    Checkpoint(gan, steps: ["discriminator": discriminate, "generator": generate])
  }

  /// Steps until `count` of them, of batches of two sizes.
  func run(to count: Int) throws {
    while generate.count < count {
      let batch = Self.batch(generate.count)
      try discriminate.run(batch)
      try generate.run(batch)
    }
  }

  static func batch(_ index: Int) -> Batch {
    let rows = index % 3 == 2 ? 5 : 8
    return Batch([
      "real": NDArray((0..<2 * rows).map { Float(($0 + index) % 7) / 7 }, shape: [rows, 2])
    ])
  }
}

@Suite struct StepCheckpointTests {
  private let folder: URL
  private var path: String { folder.appendingPathComponent("c.safetensors").path }

  init() throws { folder = try LifeCycle.folder() }

  /// All that a run holds, as the bytes of a file.
  private func everything(_ checkpoint: Checkpoint) throws -> Data {
    let url = folder.appendingPathComponent("now.safetensors")
    try checkpoint.save(url.path)
    return try Data(contentsOf: url)
  }

  /// What a load that must fail says; nothing may have changed.
  private func refusal(_ path: String, _ checkpoint: Checkpoint) throws -> ApusError {
    let before = try everything(checkpoint)
    let error = #expect(throws: ApusError.self) { try checkpoint.load(path) }
    #expect(try everything(checkpoint) == before)
    return try #require(error)
  }

  /// The file at `path` with another header and other arrays.
  private func damaged(
    _ change: (inout [String: NDArray], inout [String: String]) -> Void
  ) throws -> String {
    let file = try SafetensorsFile(path)
    var arrays = Dictionary(uniqueKeysWithValues: try file.arrays().map { $0 }),
      metadata = file.metadata
    change(&arrays, &metadata)
    let target = folder.appendingPathComponent("d.safetensors").path
    try SafetensorsFile.write(arrays, metadata: metadata, to: target)
    return target
  }

  @Test(arguments: [1, 3, 5]) func aGANOfTwoSteps_goesOnToTheBitsOfAnUninterruptedRun(cut: Int)
    throws
  {
    let whole = try GANRun()
    try whole.run(to: 8)
    let interrupted = try GANRun()
    try interrupted.run(to: cut)
    try interrupted.checkpoint.save(path, metadata: ["data": "rings"])
    // As in another process: other first values, and other random numbers until the file is read.
    let resumed = try GANRun(seed: 77)
    #expect(try resumed.checkpoint.load(path) == ["data": "rings"])
    #expect(resumed.generate.count == cut && resumed.discriminate.count == cut)
    #expect(try everything(resumed.checkpoint) == everything(interrupted.checkpoint))
    try resumed.run(to: 8)
    #expect(try everything(resumed.checkpoint) == everything(whole.checkpoint))
    // And one that has gone elsewhere since.
    try interrupted.run(to: 7)
    try interrupted.checkpoint.load(path)
    try interrupted.run(to: 8)
    #expect(try everything(interrupted.checkpoint) == everything(whole.checkpoint))
  }

  /// Tied weights, an average of weights, groups, clipping, and several rules in one step.
  private struct Tied: Module {
    let body = Linear(4, 4)
    let head: Linear
    let value = Linear(4, 1)
    let again: Parameter
    let mean: Linear
    init() {
      head = Linear(4, 3)
      again = body.weight.tied()
      mean = Linear(4, 1)
    }
  }

  private func tiedRun(
    _ seed: UInt64 = 1, frozen: Bool = false
  ) throws -> (Tied, TrainingStep, Checkpoint) {
    let model = Tied()
    try model.initialize(seed: seed)
    if frozen { try model.freeze("body.*") }
    let step = try TrainingStep(seed: seed) { step, batch in
      let hidden = tanh(model.body(batch.x)).matmul(model.again.tensor).dropout(0.2)
      step.minimize(
        crossEntropy(model.head(hidden), batch.y), over: model,
        with: AdamW(learningRate: 0.02, weightDecay: 0.1),
        groups: ["**.bias": SGD(learningRate: 0.1, momentum: 0.9)], named: "policy", clipNorm: 1)
      step.minimize(
        square(model.value(hidden.stopGradient())).mean(), over: model.value,
        with: SGD(learningRate: 0.05, momentum: 0.8), named: "critic")
      model.mean.follow(model.value, rate: 0.1)
    }
    return (model, step, Checkpoint(model, steps: ["all": step]))
  }

  @Test func oneStepOfSeveralOptimisers_andTiedWeights_goesOnToTheSameBits() throws {
    let (_, step, checkpoint) = try tiedRun()
    for _ in 0..<3 { try step.run(LifeCycle.batch()) }
    try checkpoint.save(path)
    for _ in 0..<3 { try step.run(LifeCycle.batch()) }
    let (model, resumed, other) = try tiedRun(5)
    try other.load(path)
    for _ in 0..<3 { try resumed.run(LifeCycle.batch()) }
    #expect(try everything(other) == everything(checkpoint))
    #expect(model.again === model.body.weight && resumed.count == 6)
    let file = try SafetensorsFile(path)
    #expect(try file.array("again") == file.array("body.weight"))
  }

  @Test func whatWasFrozenAtFirst_orIsFrozenNow_goesOnToTheSameBits() throws {
    func later(_ model: Tied, _ step: TrainingStep) throws {
      try step.run(LifeCycle.batch(4))
      model.unfreeze()
      for _ in 0..<2 { try step.run(LifeCycle.batch()) }
    }
    let (model, step, checkpoint) = try tiedRun(frozen: true)
    for _ in 0..<2 { try step.run(LifeCycle.batch()) }
    try checkpoint.save(path)
    try later(model, step)
    let (second, secondStep, secondCheckpoint) = try tiedRun(3, frozen: true)
    try secondCheckpoint.load(path)
    try later(second, secondStep)
    #expect(try everything(secondCheckpoint) == everything(checkpoint))
    // What is trained and then frozen keeps its slots in the file.
    try model.freeze("body.*")
    try step.run(LifeCycle.batch())
    try checkpoint.save(path)
    try later(model, step)
    let (third, thirdStep, thirdCheckpoint) = try tiedRun(4)
    try thirdCheckpoint.load(path)  // before it is frozen
    try third.freeze("body.*")
    try later(third, thirdStep)
    #expect(try everything(thirdCheckpoint) == everything(checkpoint))
  }

  @Test func aStepThatHasNotRun_isSavedAndLoaded() throws {
    let fresh = try GANRun()
    try fresh.checkpoint.save(path)
    let trained = try GANRun(seed: 4)
    try trained.run(to: 3)
    try trained.checkpoint.load(path)
    #expect(trained.generate.count == 0)
    try trained.run(to: 4)
    try fresh.run(to: 4)
    #expect(try everything(trained.checkpoint) == everything(fresh.checkpoint))
    // One of two has run.
    let half = try GANRun()
    try half.discriminate.run(GANRun.batch(0))
    try half.checkpoint.save(path)
    let other = try GANRun(seed: 4)
    try other.checkpoint.load(path)
    #expect(other.discriminate.count == 1 && other.generate.count == 0)
    try other.run(to: 3)
    try half.run(to: 3)
    #expect(try everything(other.checkpoint) == everything(half.checkpoint))
  }

  @Test func anotherOptimiserModelOrSetOfSteps_isRefusedWithBothSidesNamed() throws {
    let run = try GANRun()
    try run.run(to: 3)
    try run.checkpoint.save(path)

    let rule = try refusal(path, GANRun(beta1: 0.7).checkpoint)
    #expect("\(rule)".contains("'discriminator'") && rule.kind == .invalidArgument)
    #expect("\(rule)".contains("beta1: 0.5") && "\(rule)".contains("beta1: 0.7"))
    // The rate may be another.
    try GANRun(rate: 0.5).checkpoint.load(path)

    let shape = try refusal(path, GANRun(GAN(hidden: 9)).checkpoint)
    #expect(shape.kind == .shapeMismatch)
    #expect("\(shape)".contains("f32[8,3]") && "\(shape)".contains("f32[9,3]"))

    let model = try refusal(path, Checkpoint(TwoLayers.made(), steps: [:]))
    #expect("\(model)".contains("'discriminator', 'generator'") && "\(model)".contains("none"))
    let names = try refusal(
      path, Checkpoint(run.gan, steps: ["discriminator": run.discriminate, "gen": run.generate]))
    #expect("\(names)".contains("'generator'") && "\(names)".contains("'gen'"))
    let fresh = try GANRun()
    let other = try refusal(
      path,
      Checkpoint(
        TwoLayers.made(), steps: ["discriminator": fresh.discriminate, "generator": fresh.generate])
    )
    #expect(other.kind == .missing && "\(other)".contains("the file has no 'a.weight'"))
    #expect("\(other)".contains("the model has no 'discriminator.first.bias'"))
  }

  @Test func arraysThatAreMissingSurplusOrOfAnotherType_areRefused() throws {
    let run = try GANRun()
    try run.run(to: 3)
    try run.checkpoint.save(path)
    let other = try GANRun(seed: 9)
    for name in try SafetensorsFile(path).names {
      let fewer = try refusal(damaged { arrays, _ in arrays[name] = nil }, other.checkpoint)
      #expect(fewer.kind == .missing && "\(fewer)".contains("'\(name)'"))
      let type = try refusal(
        damaged { arrays, _ in arrays[name] = NDArray(zeros: .f32(7)) }, other.checkpoint)
      #expect(type.kind == .shapeMismatch && "\(type)".contains("[7]"), "\(type)")
    }
    let more = try refusal(
      damaged { arrays, _ in arrays["x"] = NDArray(zeros: .f32(1)) }, other.checkpoint)
    #expect(more.kind == .missing && "\(more)".contains("'x'"))
    for text in ["", "{}", "[1]", "{\"ties\":[],\"steps\":[{\"name\":\"generator\"}]}"] {
      let error = try refusal(
        damaged { _, metadata in metadata["apus.steps"] = text }, other.checkpoint)
      #expect(error.kind == .invalidFile, "\(text)")
    }
    // An index that lacks a slot which has been updated.
    let index = try refusal(
      damaged { arrays, metadata in
        let slot = "apus.slots.generator.optimizer.first_moment.generator.last.bias"
        arrays[slot] = nil
        metadata["apus.steps"] = metadata["apus.steps"]!.replacing(
          try! Regex(
            #"\{"name":"optimizer.first_moment","parameter":"generator.last.bias"[^}]*\},"#),
          with: "")
      }, other.checkpoint)
    #expect(index.kind == .missing)
    #expect("\(index)".contains("'optimizer.first_moment' of 'generator.last.bias'"))
    let weights = folder.appendingPathComponent("w.safetensors").path
    try run.gan.save(weights)
    #expect(try refusal(weights, other.checkpoint).kind == .invalidFile)
    let bare = GAN()
    let unmade = try TrainingStep { _, _ in }
    let fresh = Checkpoint(bare, steps: ["discriminator": unmade, "generator": run.generate])
    let error = #expect(throws: ApusError.self) { try fresh.load(path) }
    #expect(error?.kind == .missing && "\(error!)".contains("not initialised"))
  }

  @Test func tiesThatAreOthers_areRefused() throws {
    struct Pair: Module {
      let a = Linear(4, 4, bias: false)
      let b: Linear
      init(tied: Bool) { b = tied ? a.tied() : Linear(4, 4, bias: false) }
    }
    func run(_ tied: Bool) throws -> Checkpoint {
      let pair = Pair(tied: tied)
      try pair.initialize(seed: 1)
      let step = try TrainingStep(pair, optimizer: Adam()) { $0.b($0.a($1.x)).mean() }
      try step.run(LifeCycle.batch())
      return Checkpoint(pair, steps: ["s": step])
    }
    for tied in [true, false] {
      try run(tied).save(path)
      let error = try refusal(path, run(!tied))
      #expect("\(error)".contains("a.weight and b.weight") && "\(error)".contains("none"))
    }
  }

  @Test func whatAStepChangesOutsideTheModel_isRefusedByBothNames() throws {
    let model = try TwoLayers.made()
    let target = try TwoLayers.made()
    let following = try TrainingStep { step, batch in
      step.minimize(LifeCycle.loss(model, batch), over: model, with: SGD(learningRate: 0.1))
      target.b.follow(model.b, rate: 0.1)
    }
    try following.run(LifeCycle.batch())
    let part = try TrainingStep(model, optimizer: Adam(), loss: LifeCycle.loss)
    try part.run(LifeCycle.batch())
    for checkpoint in [
      Checkpoint(model, steps: ["s": following]), Checkpoint(model.a, steps: ["s": part]),
    ] {
      let error = #expect(throws: ApusError.self) { try checkpoint.save(path) }
      #expect("\(error!)".contains("'s'") && "\(error!)".contains("'b.weight"), "\(error!)")
      #expect("\(error!)".contains("TwoLayers") || "\(error!)".contains("Linear"))
    }
    // A trainer of one part, whose step trains another.
    let trainer = try Trainer(model.a, optimizer: Adam(), training: model.b) {
      crossEntropy(model.b($0($1.x)), $1.y)
    }
    try trainer.train(on: LifeCycle.batch())
    let error = #expect(throws: ApusError.self) { try trainer.saveCheckpoint(path) }
    #expect("\(error!)".contains("'training'") && "\(error!)".contains("Linear"))
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func namesOfSteps_andBadWeights_areLookedAtBeforeTheFile() throws {
    let run = try GANRun()
    try run.run(to: 1)
    try run.checkpoint.save(path)
    let good = try Data(contentsOf: URL(fileURLWithPath: path))
    try run.gan.generator.first.bias!.set(NDArray([Float](repeating: .nan, count: 8), shape: [8]))
    let bad = #expect(throws: ApusError.self) { try run.checkpoint.save(path) }
    #expect(bad?.kind == .nonFinite && "\(bad!)".contains("'generator.first.bias'"))
    let twice = Checkpoint(run.gan, steps: ["a": run.generate, "a": run.discriminate])
    let same = Checkpoint(run.gan, steps: ["a": run.generate, "b": run.generate])
    for (checkpoint, words) in [(twice, "two steps are named 'a'"), (same, "'a' and 'b'")] {
      let error = #expect(throws: ApusError.self) { try checkpoint.save(path) }
      #expect("\(error!)".contains(words))
    }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == good)
    try run.checkpoint.save(path, allowingNonFinite: true)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) != good)
  }

  /// Files as trainers wrote them before steps had checkpoints.
  @Test func filesOfTheVersionBefore_areRead() throws {
    let data = try CheckpointTests.data().batched(2)
    let whole = try CheckpointTests.trainer(Adam())
    try whole.fit(data, epochs: 2, callbacks: [])
    let trainer = try CheckpointTests.trainer(Adam())
    try trainer.fit(data, epochs: 1, callbacks: [])
    try trainer.saveCheckpoint(path)
    let old = try damaged { arrays, metadata in
      arrays["random.key"] = arrays.removeValue(forKey: "apus.random_key.training")
      for name in arrays.keys where name.hasPrefix("apus.slots.training.") {
        arrays[String(name.dropFirst("apus.slots.training.".count))] = arrays[name]
        arrays[name] = nil
      }
      for path in ["a.weight", "a.bias", "b.weight", "b.bias"] {
        arrays["optimizer.updates.\(path)"] = NDArray([3] as [Int64], shape: [])
      }
      metadata["apus.steps"] = nil
      metadata["apus.checkpoint"] = "2"
      metadata["apus.slots"] = "12"
    }
    let resumed = try CheckpointTests.trainer(Adam(), seed: 1)
    try resumed.resume(from: old)
    try resumed.saveCheckpoint(path)  // before it has run
    try resumed.fit(data, epochs: 1, callbacks: [])
    #expect(try LifeCycle.values(resumed.model) == LifeCycle.values(whole.model))
    let again = try CheckpointTests.trainer(Adam(), seed: 1)
    try again.resume(from: path)
    try again.fit(data, epochs: 1, callbacks: [])
    #expect(try LifeCycle.values(again.model) == LifeCycle.values(whole.model))
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: old, toPath: path)
    for (name, kind) in [
      ("optimizer.updates.a.bias", .missing), ("random.key", .missing),
      ("optimizer.first_moment.b.weight", .missing),
    ] as [(String, ApusError.Kind)] {
      let bad = try damaged { arrays, _ in arrays[name] = nil }
      let error = #expect(throws: ApusError.self) {
        try CheckpointTests.trainer(Adam()).resume(from: bad)
      }
      #expect(error?.kind == kind)
    }
    let negative = try damaged { arrays, _ in
      arrays["optimizer.updates.a.bias"] = NDArray([-1] as [Int64], shape: [])
    }
    let error = #expect(throws: ApusError.self) {
      try CheckpointTests.trainer(Adam()).resume(from: negative)
    }
    #expect(error?.kind == .invalidFile)
  }
}

extension TwoLayers {
  /// One that has values.
  static func made() throws -> TwoLayers {
    let model = TwoLayers()
    try model.initialize(seed: 1)
    return model
  }
}
