// The examples of Docs/Optimizers.md.

import Apus
import Testing

@Suite struct Optimizers {
  @Test func rulesGroupsAndSchedules() throws {
    let optimizer = AdamW(learningRate: 3e-4, weightDecay: 0.1)
    let spared = AdamW(learningRate: 3e-4, weightDecay: 0.1).decayingMatricesOnly()
    let rate = LearningRate.cosine(from: 1e-3, steps: 1000)
    let options = StepOptions(groups: ["*.bias": SGD(learningRate: rate.scaled(by: 0.1))])
    let warm = LearningRate.warmUp(steps: 100, then: .cosine(from: 3e-4, steps: 2000))
    let cycle = SGD(
      learningRate: .oneCycle(peak: 0.1, steps: 1000), momentum: .oneCycleMomentum(steps: 1000))
    let own = LearningRate.schedule { step in 1e-3 / Double(1 + step / 1000) }
    for rule in [optimizer, spared, cycle, Adam(learningRate: warm), Adam(learningRate: own)]
      as [any Optimizer]
    {
      let model = Sequential { Linear(2, 1) }
      let trainer = try Trainer(model, optimizer: rule, options: options) { model, batch in
        mse(model(batch.x), batch.y)
      }
      #expect(try trainer.train(on: Self.batch).loss.isFinite)
    }
    #expect(warm.value(at: 99) == 3e-4 && own.value(at: 1000) == 5e-4)
  }

  private struct Tagger: Module {
    let scope = Scope()
    let words = Embedding(1000, 4)
    let output = Linear(4, 3)

    func callAsFunction(_ ids: Tensor) -> Tensor { output(words(ids)) }
  }

  @Test func largeTables() throws {
    let words = try Trainer(
      Tagger(), optimizer: AdamW(learningRate: 1e-3),
      options: StepOptions(groups: ["words.*": Adam(learningRate: 1e-3, lazy: true)])
    ) { model, batch in crossEntropy(model(batch.words), batch.tags) }
    let before = try words.model.words.weight.value()
    try words.train(
      on: Batch([
        "words": NDArray([7, 9, 7] as [Int32], shape: [3]),
        "tags": NDArray([0, 1, 2] as [Int32], shape: [3]),
      ]))
    let after = try words.model.words.weight.value()
    let moved = try (0..<1000).filter { try before[$0] != after[$0] }
    #expect(moved == [7, 9])
  }

  @Test func plateausAndPenalties() throws {
    let model = Linear(2, 1)
    let data = try ArrayDataset(["x": Self.batch.arrays[0], "y": Self.batch.arrays[1]]).batched(2)
    let plateau = ReduceOnPlateau(from: 1e-2, factor: 0.5, patience: 1)
    let trainer = try Trainer(model, optimizer: Adam(learningRate: plateau.rate)) { model, batch in
      mse(model(batch.x), batch.y)
    }
    try trainer.fit(data, epochs: 4, callbacks: [plateau])
    let plain = try trainer.evaluate(data).loss
    let averaged = try Trainer(model, optimizer: Adam(), movingAverage: 0.999) { model, batch in
      mse(model(batch.x), batch.y)
    }
    let smooth = averaged.judgedModel
    #expect(try smooth.weight.value() == model.weight.value())
    let penalized = try Trainer(model, optimizer: SGD(learningRate: 0.1)) { model, batch in
      mse(model(batch.x), batch.y) + model.l2Penalty(1e-4, "*weight")
    }
    #expect(try penalized.evaluate(data).loss > plain)
  }

  @Test func curvature() throws {
    let model = Linear(2, 1)
    try model.initialize(seed: 1)
    let batch = Self.batch
    let lbfgs = try LBFGS(model, iterations: 50, lineSearch: .strongWolfe) { model, batch in
      mse(model(batch.x), batch.y)
    }
    let found = try lbfgs.run(batch)
    print(found.before, found.loss, found.evaluations, found.end)
    // What the least squares leave.
    #expect(abs(found.loss - 0.1) < 1e-5 && found.loss < found.before)
  }

  static let batch = Batch([
    "x": NDArray([1, 2, 3, 5, 1, 1, 2, 0], shape: [4, 2]),
    "y": NDArray([1, 2, 0, 1], shape: [4, 1]),
  ])
}
