// One data set, one figure: evaluation does not depend on the size of batches; random numbers have seeds.

import Apus
import Foundation
import Testing

private struct Bias: Module { let w = Parameter([2]) }

/// Tags of sequences of their own lengths.
private struct RaggedTagger: Module {
  let words = Embedding(11, 5)
  let lstm = LSTM(5, 6, isBidirectional: true)
  let head = Linear(12, 4)
  func callAsFunction(_ ids: Tensor, _ lengths: Tensor) -> Tensor {
    head(lstm(words(ids), lengths: lengths).outputs)
  }
}

@Suite struct EvaluationTests {
  private static func trainer(weights: [Float]? = nil, ignoring: Bool) throws -> Trainer<Bias> {
    try Trainer(Bias(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      let logits = batch.x + model.w
      batch.report("accuracy", accuracy(logits, batch.y))
      return crossEntropy(
        logits, batch.y, weights: weights.map { .constant(NDArray($0, shape: [2])) })
    }
  }

  private static func data(_ labels: [Int32]) throws -> ArrayDataset {
    let x: [Float] = (0..<2 * labels.count).map { Float(($0 * 5) % 7) }
    return try ArrayDataset([
      "x": NDArray(x, shape: [labels.count, 2]), "y": NDArray(labels, shape: [labels.count]),
    ])
  }

  @Test func ignoredLabelsAndClassWeights_countTheSameInBatchesOfAnySize() throws {
    for weights in [nil, [0.2, 3]] as [[Float]?] {
      let trainer = try Self.trainer(weights: weights, ignoring: true)
      let data = try Self.data([1, -100, 0, 0, -100, -100, 1, 0])
      let whole = try trainer.evaluate(data.batched(8)).loss
      for size in [1, 2, 3, 4, 5] {
        let loss = try trainer.evaluate(data.batched(size)).loss
        #expect(abs(loss - whole) < 1e-6 * abs(whole), "batches of \(size)")
      }
    }
  }

  /// Rows with one label weigh less than rows with nine, whichever rows share a batch.
  @Test func tokensOfRaggedSequences_countTheSameInBatchesOf1_7And32() throws {
    let (rows, time) = (40, 9)
    let lengths = (0..<rows).map { Int32(1 + $0 * 7 % time) }
    let tags = (0..<rows * time).map { place -> Int32 in
      place % time < Int(lengths[place / time]) ? Int32(place * 3 % 4) : -100
    }
    let data = try ArrayDataset([
      "ids": NDArray((0..<rows * time).map { Int32($0 * 5 % 11) }, shape: [rows, time]),
      "lengths": NDArray(lengths, shape: [rows]), "tags": NDArray(tags, shape: [rows, time]),
    ])
    let model = RaggedTagger()
    try model.initialize(seed: 4)
    let evaluation = try EvaluationStep(model) { model, batch in
      let scores = model(batch.ids, batch.lengths)
      let loss = crossEntropy(scores, batch.tags)
      batch.report("accuracy", accuracy(scores, batch.tags, ignoring: -100))
      batch.report("bits", loss / log(2))
      batch.reportPerplexity(loss)
      return loss
    }
    let whole = try evaluation.run(over: data.batched(rows))
    for size in [1, 7, 32] {
      let parts = try evaluation.run(over: data.batched(size))
      #expect(abs(parts.loss / whole.loss - 1) < 1e-6, "batches of \(size)")
      for (name, value) in whole.metrics {
        #expect(value > 0 && abs(parts[name]! / value - 1) < 1e-6, "\(name), batches of \(size)")
      }
    }
    #expect(abs(whole["bits"]! * log(2) / whole.loss - 1) < 1e-6)
    #expect(abs(log(whole["perplexity"]!) / whole.loss - 1) < 1e-6)
  }

  @Test func theMeanOverValidRows_isPyTorchs() throws {
    // torch: cross_entropy of [[9, 0], [0, 0], [0, 0], [0, 0]] with labels 1, -100, 0, 0.
    let set = try ArrayDataset([
      "x": NDArray([9, 0, 0, 0, 0, 0, 0, 0], shape: [4, 2]),
      "y": NDArray([1, -100, 0, 0] as [Int32], shape: [4]),
    ])
    let trainer = try Self.trainer(ignoring: true)
    for size in 1...4 {
      #expect(abs(try trainer.evaluate(set.batched(size)).loss - 3.4621395) < 1e-5)
    }
  }

  @Test func nothingToEvaluate_isAnError() throws {
    let trainer = try Self.trainer(ignoring: false)
    let error = #expect(throws: ApusError.self) {
      try trainer.evaluate(Self.data([1, 0]).subset(0..<0).batched(2))
    }
    #expect(error?.kind == .invalidArgument)
  }

  @Test func aMetricOfItsOwnWeight_isAveragedByIt() throws {
    let model = Bias()
    try model.initialize()
    let evaluation = try EvaluationStep(model) { model, batch in
      batch.report("mean", batch.v.mean(), weight: batch.w.sum())
      return (batch.v * 0).sum() + model.w.tensor.sum()
    }
    let data = try ArrayDataset([
      "v": NDArray([1, 1, 5], shape: [3]), "w": NDArray([1, 2, 9], shape: [3]),
    ])
    let result = try evaluation.run(over: data.batched(2))
    #expect(abs(result["mean"]! - (1 * 3 + 5 * 9) / 12) < 1e-6)
  }

  @Test func namesAndShapesOfMetrics_areChecked() throws {
    let model = Bias()
    try model.initialize()
    for (name, message) in [("loss", "'loss'"), ("twice", "'twice'"), ("wide", "'wide' is f32[2]")]
    {
      let evaluation = try EvaluationStep(model) { model, batch in
        batch.report(name, name == "wide" ? model.w.tensor : batch.v.mean())
        batch.report("twice", batch.v.mean())
        return batch.v.mean()
      }
      let error = #expect(throws: ApusError.self) {
        try evaluation.run(Batch(["v": NDArray([1, 2], shape: [2])]))
      }
      #expect("\(error!)".contains(message) && "\(error!)".contains("EvaluationTests.swift"))
    }
  }

  // MARK: Random numbers

  private struct Noise: Module {
    let w = Parameter([4], .ones)
    let drop = Dropout(0.5)
    func callAsFunction(_ x: Tensor) -> Tensor { drop(x * w) }
  }

  @Test func aPredictorAndAFunction_drawOtherNumbersInEachCall_andRepeatBySeed() throws {
    let model = Noise()
    try model.initialize()
    let x = NDArray([Float](repeating: 1, count: 400), shape: [100, 4])
    func draws(_ seed: UInt64) throws -> [NDArray] {
      let predictor = try Predictor(model, mode: .training, seed: seed) { $0($1) }
      return try (0..<3).map { _ in try predictor(x) }
    }
    let first = try draws(1)
    #expect(first[0] != first[1] && first[1] != first[2])
    #expect(try draws(1) == first)
    #expect(try draws(2)[0] != first[0])
    let plain = try Predictor(model) { $0($1) }
    #expect(try plain(x) == x)

    let function = try compile(x.type, seed: 5) { $0.trace.randomNormal($0.shape) }
    let drawn: [NDArray] = try (0..<2).map { _ in try function(x) }
    #expect(drawn[0] != drawn[1])
    try function.reseed(5)
    let again: NDArray = try function(x)
    #expect(again == drawn[0])
  }

  @Test func evaluationOfAStochasticLoss_isTheSameEachTime_andOfTheSeed() throws {
    func evaluate(_ seed: UInt64) throws -> [Double] {
      let trainer = try Trainer(Noise(), optimizer: SGD(learningRate: 0), seed: seed) {
        model, batch in
        square(model(batch.x) + batch.x.trace.randomNormal(batch.x.shape)).mean()
      }
      let data = try ArrayDataset(["x": NDArray([Float](repeating: 1, count: 40), shape: [10, 4])])
      let before = try trainer.evaluate(data.batched(5)).loss
      try trainer.fit(data.batched(5), epochs: 1, callbacks: [])
      return [before, try trainer.evaluate(data.batched(5)).loss]
    }
    let one = try evaluate(1)
    #expect(one[0] == one[1])
    #expect(try evaluate(2) != one)
  }
}
