// The examples of Docs/SavingLoadingResuming.md.

import Apus
import Foundation
import Testing

@Suite struct SavingLoadingResuming {
  struct Network: Module {
    let first = Linear(4, 8)
    let last = Linear(8, 3)
    func callAsFunction(_ x: Tensor) -> Tensor { last(tanh(first(x))) }
  }

  struct Larger: Module {
    let first = Linear(4, 8)
    let middle = Linear(8, 8)
  }

  struct Classifier: Module {
    let body: Linear
    let head = Linear(8, 3)
  }

  struct GAN: Module {
    let generator = Linear(4, 2)
    let discriminator = Linear(2, 1)
  }

  static func values(_ model: some Module) throws -> [NDArray] {
    try model.parameters.map { try $0.parameter.value() }
  }

  @Test func weights() throws {
    let folder = try Book.folder()
    let model = Network()
    try model.initialize(seed: 1)
    try model.save("\(folder)/model.safetensors")

    let other = Network()
    try other.load("\(folder)/model.safetensors")
    #expect(try Self.values(other) == Self.values(model))
    let larger = Larger()
    let report = try larger.load("\(folder)/model.safetensors", strict: false)
    print(report.loaded, report.missing, report.unexpected, report.converted)
    try larger.initialize(seed: 2)  // first values for what is still without
    #expect(report.loaded == ["first.weight", "first.bias"])
    #expect(report.missing == ["middle.weight", "middle.bias"])
    #expect(report.unexpected == ["last.bias", "last.weight"] && report.converted.isEmpty)
    #expect(larger.middle.weight.isInitialized)
    let file = try SafetensorsFile("\(folder)/model.safetensors")
    try larger.first.weight.set(file.array("first.weight"))
    #expect(try larger.first.weight.value() == model.first.weight.value())
  }

  @Test func checkpoints_andParts() throws {
    let folder = try Book.folder()
    let data = try ArrayDataset([
      "x": NDArray((0..<96).map { Float($0 % 7) / 5 }, shape: [24, 4]),
      "y": NDArray((0..<24).map { Int32($0 % 3) }, shape: [24]),
    ])
    let loss: LossFunction<Network> = { crossEntropy($0($1.x), $1.y) }
    let trainer = try Trainer(Network(), optimizer: Adam(learningRate: 1e-2), seed: 3, loss: loss)
    try trainer.fit(
      data.batched(8), epochs: 2,
      callbacks: [Checkpointing("\(folder)/run.safetensors", every: .steps(5))])
    let whole = try Self.values(trainer.model)
    let again = try Trainer(Network(), optimizer: Adam(learningRate: 1e-2), seed: 3, loss: loss)
    try again.resume(from: "\(folder)/run.safetensors")
    try again.fit(data.batched(8), epochs: 1, callbacks: [])
    #expect(again.step == 6 && trainer.step == 6)
    #expect(try Self.values(again.model) == whole)
    let best = try trainer.model.snapshot()
    try trainer.fit(data.batched(8), epochs: 1, callbacks: [])
    try trainer.model.restore(best)
    #expect(try Self.values(trainer.model) == whole)
    let classifier = Classifier(body: trainer.model.first)
    classifier.body.freeze()
    let tuning = try Trainer(classifier, optimizer: Adam(learningRate: 1e-2)) { model, batch in
      crossEntropy(model.head(tanh(model.body(batch.x))), batch.y)
    }
    try tuning.fit(data.batched(8), epochs: 1, callbacks: [])
    #expect(try trainer.model.first.weight.value() == whole[0])
    #expect(classifier.head.weight.isInitialized)
  }

  @Test func whenTheWorldFails() throws {
    let folder = try Book.folder()
    let path = "\(folder)/epochs.safetensors"
    let data = try ArrayDataset([
      "x": NDArray((0..<96).map { Float($0 % 7) / 5 }, shape: [24, 4]),
      "y": NDArray((0..<24).map { Int32($0 % 3) }, shape: [24]),
    ])
    let loss: LossFunction<Network> = { crossEntropy($0($1.x), $1.y) }
    let trainer = try Trainer(Network(), optimizer: Adam(learningRate: 1e-2), seed: 3, loss: loss)
    let saving = Checkpointing("\(folder)/long.safetensors", every: .time(.seconds(300)))
    let often = Checkpointing("\(folder)/often.safetensors", every: .steps(4))
    try trainer.fit(data.batched(8), epochs: 2, callbacks: [saving, often, Checkpointing(path)])
    print(often.savedStep ?? 0)  // the step of its last checkpoint
    #expect(often.savedStep == 4 && saving.savedStep == nil)
    #expect(try SafetensorsFile(path).metadata["apus.step"] == "6")
    let next = try Trainer(Network(), optimizer: Adam(learningRate: 1e-2), seed: 3, loss: loss)
    try next.resume(from: Checkpoint.newestWhole("\(folder)/often.safetensors"))
    try next.fit(data.batched(8), epochs: 1, callbacks: [])
    #expect(try Self.values(next.model) == Self.values(trainer.model))
  }

  /// Trains a GAN up to so many steps, or goes on from the file.
  private func train(_ steps: Int, _ path: String, seed: UInt64) throws -> [NDArray] {
    let data = try ArrayDataset([
      "real": NDArray((0..<40).map { Float($0 % 7) / 5 }, shape: [20, 2])
    ]).batched(8, shuffle: 3)
    let gan = GAN()
    try gan.initialize(seed: seed)
    let discriminate = try TrainingStep(seed: seed) { step, batch in
      let noise = Tensor.randomNormal([batch.real.shape[0], 4])
      let real = gan.discriminator(batch.real)
      let fake = gan.discriminator(gan.generator(noise).stopGradient())
      let loss = bceWithLogits(real, real.onesLike()) + bceWithLogits(fake, fake.zerosLike())
      step.minimize(loss, over: gan.discriminator, with: Adam(learningRate: 2e-3))
    }
    let generate = try TrainingStep(seed: seed + 1) { step, batch in
      let score = gan.discriminator(gan.generator(.randomNormal([batch.real.shape[0], 4])))
      step.minimize(
        bceWithLogits(score, score.onesLike()), over: gan.generator, with: Adam())
    }
    let checkpoint = Checkpoint(
      gan, steps: ["discriminator": discriminate, "generator": generate])
    if FileManager.default.fileExists(atPath: path) { try checkpoint.load(path) }
    while generate.count < steps {
      let done = generate.count
      let (epoch, place) = (done / data.batchCount, done % data.batchCount)
      let batches = try data.makeIterator(epoch: epoch, startingAt: place)
      while generate.count < steps, let batch = try batches.next() {
        try discriminate.run(batch)
        try generate.run(batch)
        if generate.count % 2 == 0 { try checkpoint.save(path) }
      }
    }
    return try Self.values(gan)
  }

  @Test func checkpointsOfALoopOfYourOwn() throws {
    let folder = try Book.folder()
    let whole = try train(10, "\(folder)/whole.safetensors", seed: 1)
    _ = try train(5, "\(folder)/gan.safetensors", seed: 1)
    // From step 4, whatever the first values were.
    #expect(try train(10, "\(folder)/gan.safetensors", seed: 9) == whole)
  }
}
