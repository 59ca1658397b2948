// A trainer's moving average of the weights: its values, what looks at it, and that it is resumed.

import Apus
import Foundation
import Testing

@Suite struct MovingAverageTests {
  private struct Line: Module {
    let layer = Linear(3, 1)
    let norm = BatchNorm(1)
    func callAsFunction(_ x: Tensor) -> Tensor { norm(layer(x)) }
  }

  private static func data() throws -> Batches {
    let x = (0..<60).map { Float(($0 * 7) % 11) / 11 - 0.4 }
    let y = (0..<20).map { Float(($0 * 5) % 7) / 7 }
    return try ArrayDataset([
      "x": NDArray(checking: x, shape: [20, 3]), "y": NDArray(checking: y, shape: [20, 1]),
    ]).batched(8)
  }

  private static func trainer(_ decay: Double?) throws -> Trainer<Line> {
    try Trainer(Line(), optimizer: Adam(learningRate: 0.05), movingAverage: decay, seed: 4) {
      mse($0($1.x), $1.y)
    }
  }

  private static func values(_ model: Line) throws -> [Double] {
    try model.layer.weight.value().doubles + model.norm.runningMean!.value().doubles
  }

  @Test func theAverageFollowsEachStep_asItsRuleSays() throws {
    let decay = 0.8
    let (plain, averaged) = (try Self.trainer(nil), try Self.trainer(decay))
    #expect(plain.average == nil && plain.judgedModel.layer.weight === plain.model.layer.weight)
    let average = try #require(averaged.average)
    var expected = try Self.values(plain.model)
    #expect(try Self.values(average) == expected)
    let iterator = try Self.data().makeIterator(epoch: 0)
    while let batch = try iterator.next() {
      try plain.train(on: batch)
      try averaged.train(on: batch)
      let now = try Self.values(plain.model)
      #expect(try Self.values(averaged.model) == now)
      for place in 0..<3 { expected[place] = decay * expected[place] + (1 - decay) * now[place] }
      // Estimates of a normalisation are the model's own.
      expected[3] = now[3]
      let found = try Self.values(average)
      #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(found) \(expected)")
      #expect(found[0] != now[0])
    }
  }

  @Test func evaluationAndWeightsAreTheAverages() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let trainer = try Self.trainer(0.9)
    try trainer.fit(Self.data(), epochs: 3, callbacks: [])
    let path = folder.appending(path: "w.safetensors").path
    try trainer.save(path)
    let model = Line()
    try model.load(path)
    #expect(try Self.values(model) == Self.values(trainer.judgedModel))
    #expect(try Self.values(model) != Self.values(trainer.model))
    let loss = try EvaluationStep(model) { mse($0($1.x), $1.y) }.run(over: Self.data()).loss
    #expect(try trainer.evaluate(Self.data()).loss == loss)
  }

  @Test func aResumedRunHasTheSameAverage_andAnotherDecayIsRefused() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).safetensors").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let whole = try Self.trainer(0.9)
    try whole.fit(Self.data(), epochs: 4, callbacks: [])
    let first = try Self.trainer(0.9)
    try first.fit(Self.data(), epochs: 2, callbacks: [])
    try first.saveCheckpoint(path)
    let second = try Self.trainer(0.9)
    try second.resume(from: path)
    try second.fit(Self.data(), epochs: 2, callbacks: [])
    #expect(try Self.values(second.judgedModel) == Self.values(whole.judgedModel))
    #expect(try Self.values(second.model) == Self.values(whole.model))
    for other in [nil, 0.5] {
      let error = #expect(throws: ApusError.self) { try Self.trainer(other).resume(from: path) }
      #expect(error?.kind == .invalidArgument && error?.what.contains("0.9") == true)
    }
    // What is stopped early gets the average of its best epoch back.
    let stopped = try Self.trainer(0.9)
    try stopped.fit(
      Self.data(), validation: Self.data(), epochs: 3,
      callbacks: [EarlyStopping(on: nil, .larger, patience: 1)])
    let best = try Self.trainer(0.9)
    try best.fit(Self.data(), epochs: 1, callbacks: [])
    #expect(try Self.values(stopped.judgedModel) == Self.values(best.judgedModel))
  }

  @Test func adecayThatMakesNoSenseIsRefused_andLoadedWeightsAreItsBeginning() throws {
    for decay in [1, -0.1, .nan] {
      let error = #expect(throws: ApusError.self) { try Self.trainer(decay) }
      #expect(error?.kind == .invalidArgument && error?.location?.contains(".swift") == true)
    }
    let path = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).safetensors").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let other = try Self.trainer(nil)
    try other.fit(Self.data(), epochs: 1, callbacks: [])
    try other.save(path)
    let trainer = try Self.trainer(0.9)
    try trainer.load(path)
    #expect(try Self.values(trainer.judgedModel) == Self.values(other.model))
  }
}
