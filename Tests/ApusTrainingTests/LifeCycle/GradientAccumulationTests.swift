// Batches that share an update: it is that of one batch which holds them all.

import Apus
import Foundation
import Testing

@Suite struct GradientAccumulationTests {
  private static func batch(_ rows: Range<Int>, ignoring ignored: Set<Int> = []) -> Batch {
    var x: [Float] = [], y: [Int32] = []
    for row in rows {
      for column in 0..<4 { x.append(Float((row * 29 + column * 7) % 23) / 9 - 1) }
      y.append(ignored.contains(row) ? -100 : Int32(row * 5 % 3))
    }
    return Batch(["x": NDArray(x, shape: [rows.count, 4]), "y": NDArray(y, shape: [rows.count])])
  }

  private static func near(
    _ a: [String: NDArray], _ b: [String: NDArray], _ tolerance: Double = 2e-6
  ) -> Bool {
    a.keys == b.keys
      && a.allSatisfy { name, array in
        zip(array.doubles, b[name]!.doubles).allSatisfy { abs($0 - $1) <= tolerance }
      }
  }

  private static func model() throws -> TwoLayers {
    let model = TwoLayers()
    try model.initialize(seed: 3)
    return model
  }

  private static func step(
    _ model: TwoLayers, _ optimizer: any Optimizer = SGD(learningRate: 0.5, momentum: 0.9),
    options: StepOptions = StepOptions()
  ) throws -> TrainingStep {
    try TrainingStep(model, optimizer: optimizer, options: options, loss: LifeCycle.loss)
  }

  @Test(arguments: [
    StepOptions(), StepOptions(clipNorm: 0.05), StepOptions(clipValue: 0.01),
    StepOptions(groups: ["*.bias": Adam(learningRate: 0.1)], reportsGradientNorm: true),
  ]) func unlikeBatches_makeTheUpdateOfOneThatHoldsThem(options: StepOptions) throws {
    let (whole, parts) = (try Self.model(), try Self.model())
    let (large, small) = (
      try Self.step(whole, options: options), try Self.step(parts, options: options)
    )
    // Labels that are ignored make the batches' means unlike in weight, too.
    let ignored: Set = [1, 2, 8, 14, 15, 16]
    for round in 0..<4 {
      let first = round * 20
      let expected = try large.run(
        Self.batch(first..<first + 20, ignoring: Set(ignored.map { $0 + first })))
      let before = try LifeCycle.values(parts)
      for (begin, end) in [(0, 3), (3, 8), (8, 17)] {
        try small.accumulate(
          Self.batch(first + begin..<first + end, ignoring: Set(ignored.map { $0 + first })))
        #expect(try LifeCycle.values(parts) == before)
      }
      #expect(small.accumulatedBatches == 3 && small.count == round)
      let result = try small.run(Self.batch(first + 17..<first + 20))
      #expect(small.accumulatedBatches == 0 && small.count == round + 1)
      #expect(Self.near(try LifeCycle.values(parts), try LifeCycle.values(whole)))
      #expect(try LifeCycle.values(parts) != before)
      if let norm = expected.gradientNorm {
        #expect(abs(result.gradientNorm! - norm) < 1e-6)
      }
    }
  }

  @Test func anUpdateOfOneBatch_isTheSameAfterOneOfSeveral() throws {
    let (model, twin) = (try Self.model(), try Self.model())
    let (step, other) = (try Self.step(model), try Self.step(twin))
    try step.accumulate(Self.batch(0..<5))
    try step.run(Self.batch(5..<10))
    try other.run(Self.batch(0..<10))
    for round in 1..<4 {
      try step.run(Self.batch(round * 10..<round * 10 + 10))
      try other.run(Self.batch(round * 10..<round * 10 + 10))
    }
    #expect(Self.near(try LifeCycle.values(model), try LifeCycle.values(twin)))
  }

  @Test func whatIsDiscardedIsForgotten_andABadBatchIsNotKept() throws {
    let (model, twin) = (try Self.model(), try Self.model())
    let (step, other) = (try Self.step(model), try Self.step(twin))
    try step.accumulate(Self.batch(30..<40))
    step.discardAccumulated()
    try step.accumulate(Self.batch(0..<4))
    var bad = Self.batch(4..<8)
    bad = Batch(["x": NDArray([Float](repeating: .nan, count: 16), shape: [4, 4]), "y": bad.y!])
    let error = #expect(throws: ApusError.self) { try step.accumulate(bad) }
    #expect(error?.kind == .nonFinite)
    #expect(step.accumulatedBatches == 1)
    try step.run(Self.batch(4..<8))
    try other.run(Self.batch(0..<8))
    #expect(Self.near(try LifeCycle.values(model), try LifeCycle.values(twin)))
  }

  @Test func averagesStayUntilTheUpdate_andBuffersMoveWithEachBatch() throws {
    struct Net: Module {
      let a = Linear(4, 5)
      let norm = BatchNorm(5)
      let b = Linear(5, 3)
      func callAsFunction(_ x: Tensor) -> Tensor { b(norm(a(x))) }
    }
    let model = Net()
    try model.initialize(seed: 1)
    let average = try model.copy()
    let step = try TrainingStep { step, batch in
      step.minimize(
        crossEntropy(model(batch.x), batch.y), over: model, with: SGD(learningRate: 0.1))
      average.follow(model, rate: 0.5)
    }
    let (before, mean) = (
      try LifeCycle.values(average), try model.norm.runningMean!.value()
    )
    try step.accumulate(Self.batch(0..<8))
    #expect(try LifeCycle.values(average) == before)
    let second = try model.norm.runningMean!.value()
    #expect(second != mean)
    try step.run(Self.batch(8..<16))
    #expect(try LifeCycle.values(average) != before)
    #expect(try model.norm.runningMean!.value() != second)
  }

  @Test func aRunThatIsResumedBetweenTwoBatchesOfAnUpdate_hasTheSameBits() throws {
    let folder = try LifeCycle.folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "c.safetensors").path
    func run(_ step: TrainingStep, from start: Int, to end: Int) throws {
      for index in start..<end {
        let batch = Self.batch(index * 6..<index * 6 + (index == 4 ? 3 : 6))
        if index % 3 < 2 { try step.accumulate(batch) } else { try step.run(batch) }
      }
    }
    let (whole, cut, resumed) = (try Self.model(), try Self.model(), try Self.model())
    let adam = Adam(learningRate: 0.05)
    let uninterrupted = try Self.step(whole, adam)
    try run(uninterrupted, from: 0, to: 9)
    let first = try Self.step(cut, adam)
    try run(first, from: 0, to: 5)
    #expect(first.accumulatedBatches == 2)
    try Checkpoint(cut, steps: ["s": first]).save(path)
    let second = try Self.step(resumed, adam)
    try Checkpoint(resumed, steps: ["s": second]).load(path)
    #expect(second.accumulatedBatches == 2)
    try run(second, from: 5, to: 9)
    #expect(try LifeCycle.values(resumed) == LifeCycle.values(whole))
    // A file of a whole update has none of it.
    try Checkpoint(resumed, steps: ["s": second]).save(path)
    #expect(!(try SafetensorsFile(path)).names.contains { $0.contains("gradient_sum") })
  }

  @Test func whatIsTrainedMayNotChangeWithinAnUpdate() throws {
    let model = try Self.model()
    let step = try Self.step(model)
    try step.accumulate(Self.batch(0..<4))
    model.a.freeze()
    let error = #expect(throws: ApusError.self) { try step.run(Self.batch(4..<8)) }
    #expect(error?.kind == .invalidArgument)
    #expect("\(error!)".contains("the first of 2 batches of one update"))
    model.a.unfreeze()
    try step.run(Self.batch(4..<8))
  }

  @Test func aRuleThatUpdatesRowsAlone_isRefused() throws {
    struct Words: Module {
      let table = Embedding(100, 3)
      func callAsFunction(_ ids: Tensor) -> Tensor { table(ids) }
    }
    let model = Words()
    try model.initialize(seed: 0)
    let batch = Batch([
      "ids": NDArray([3, 9, 3, 1] as [Int32], shape: [4]),
      "target": NDArray([Float](repeating: 1, count: 12), shape: [4, 3]),
    ])
    func step(_ optimizer: any Optimizer) throws -> TrainingStep {
      try TrainingStep(model, optimizer: optimizer) { mse($0($1.ids), $1.target) }
    }
    let error = #expect(throws: ApusError.self) {
      try step(Adam(lazy: true)).accumulate(batch)
    }
    #expect(error?.kind == .unsupported && "\(error!)".contains("'table.weight'"))
    // Exact ones update all rows, which is the same.
    let before = try model.table.weight.value()
    let exact = try step(SGD(learningRate: 0.1))
    try exact.accumulate(batch)
    try exact.run(batch)
    let sums = try model.table.weight.value()
    try model.table.weight.set(before)
    try step(SGD(learningRate: 0.1)).run(batch)
    let once = try model.table.weight.value()
    #expect(zip(sums.doubles, once.doubles).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  // MARK: Trainer

  private static func data(_ count: Int, _ size: Int) throws -> Batches {
    let all = batch(0..<count)
    return try ArrayDataset(["x": all.x!, "y": all.y!]).batched(size, shuffle: nil)
  }

  @Test func aTrainerThatAccumulates_trainsAsOneOfLargeBatches() throws {
    func trainer(_ batches: Int) throws -> Trainer<TwoLayers> {
      try Trainer(
        TwoLayers(), optimizer: AdamW(learningRate: 0.05), movingAverage: 0.9,
        accumulating: batches, seed: 5, loss: LifeCycle.loss)
    }
    let (whole, parts) = (try trainer(1), try trainer(4))
    // 46 examples: 11 batches of 4 and one of 2, in three updates, the last of which has 14 examples.
    let expected = try whole.fit(Self.data(46, 16), epochs: 3, callbacks: [])
    let log = StepLog()
    let found = try parts.fit(Self.data(46, 4), epochs: 3, callbacks: [log])
    #expect(whole.step == 9 && parts.step == 9)
    #expect(found.map(\.steps) == [3, 3, 3])
    #expect(Self.near(try LifeCycle.values(parts.model), try LifeCycle.values(whole.model)))
    #expect(
      Self.near(try LifeCycle.values(parts.average!), try LifeCycle.values(whole.average!)))
    for (a, b) in zip(found, expected) { #expect(abs(a.training.loss - b.training.loss) < 1e-6) }
    // An event for each update, at the epoch's batch and with the mean of all.
    #expect(log.steps == [4, 8, 12, 4, 8, 12, 4, 8, 12])
    #expect(abs(log.losses[0] - (try trainer(1).train(on: Self.batch(0..<16)).loss)) < 1e-6)
  }

  @Test func fewerThanOneBatchAnUpdate_isAnError() {
    let error = #expect(throws: ApusError.self) {
      try Trainer(
        TwoLayers(), optimizer: SGD(learningRate: 1), accumulating: 0, loss: LifeCycle.loss)
    }
    #expect("\(error!)".contains("accumulating 0 batches"))
  }

  // MARK: Clipping

  @Test func clippingByValue_isElementByElement() throws {
    struct Weights: Module { let w = Parameter([5], .zeros) }
    let model = Weights()
    try model.initialize(seed: 0)
    let step = try TrainingStep(
      model, optimizer: SGD(learningRate: 1), options: StepOptions(clipValue: 0.25)
    ) { ($0.w.tensor * $1.g).sum() }
    try step.run(Batch(["g": NDArray([0.1, -0.2, 3, -7, 0.25], shape: [5])]))
    #expect(try model.w.value().floats == [-0.1, 0.2, -0.25, 0.25, -0.25])
    // Beyond all values, but not beyond all numbers.
    let error = #expect(throws: ApusError.self) {
      try step.run(Batch(["g": NDArray([0, 0, .infinity, 0, 0], shape: [5])]))
    }
    #expect(error?.kind == .nonFinite)
    for options in [
      StepOptions(clipValue: 0), StepOptions(clipValue: -.infinity), StepOptions(clipValue: .nan),
      StepOptions(clipNorm: 1, clipValue: 1),
    ] {
      let error = #expect(throws: ApusError.self) {
        try TrainingStep(model, optimizer: SGD(learningRate: 1), options: options) { m, _ in
          m.w.tensor.sum()
        }
      }
      #expect(error?.kind == .invalidArgument)
    }
  }
}

/// The steps that are told of, with their losses.
private final class StepLog: Callback {
  var steps: [Int] = []
  var losses: [Double] = []
  func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
    if case .stepEnded(let step, let result) = event {
      steps.append(step)
      losses.append(result.loss)
    }
    return .goOn
  }
}
