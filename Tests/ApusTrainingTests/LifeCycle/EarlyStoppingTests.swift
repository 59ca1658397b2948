// Early stopping and the file of the best epoch, in runs that are interrupted anywhere.

import Apus
import Foundation
import Testing

/// A run with all that may decide its course: two optimisers, a plateau, early stopping, dropout, the best epoch's file.
struct EventfulRun {
  let trainer: Trainer<RingClassifier>
  let plateau = ReduceOnPlateau(from: 0.05, factor: 0.5, patience: 1, threshold: .absolute(0.01))
  let stopping = EarlyStopping(patience: 4, delta: 0.002)
  let best: BestCheckpoint
  let checkpoint: String

  static let epochs = 60

  /// - `folder`: of its files.
  init(_ folder: String) throws {
    checkpoint = "\(folder)/c.safetensors"
    best = BestCheckpoint("\(folder)/best.safetensors", on: "accuracy", .larger)
    trainer = try Trainer(
      RingClassifier(), optimizer: AdamW(learningRate: plateau.rate), seed: 7,
      options: StepOptions(
        clipNorm: 5, groups: ["*.bias": SGD(learningRate: plateau.rate, momentum: 0.9)]),
      loss: RingClassifier.loss)
  }

  /// Trains up to the end, from the checkpoint where there is one.
  ///
  /// - `callbacks`: more, before and after those of the run.
  func run(
    every: Checkpointing.Interval? = nil, before: [any Callback] = [], after: [any Callback] = []
  ) throws {
    if let newest = try? Checkpoint.newestWhole(checkpoint) { try trainer.resume(from: newest) }
    let data = try RingClassifier.data(60).batched(16, shuffle: 1)
    let test = try RingClassifier.data(33).batched(11)
    try trainer.fit(
      data, validation: test, epochs: Self.epochs - trainer.epoch,
      callbacks: before + [stopping] + (every.map { [Checkpointing(checkpoint, every: $0)] } ?? [])
        + [plateau, best] + after)
  }

  /// All that must be as in a run that nothing happened to.
  struct Outcome: Equatable {
    var weights: [NDArray]
    var plateau: [String: Double]
    var stopping: [String: Double]
    var reason: String?
    var step: Int
    var best: Data
  }

  func outcome() throws -> Outcome {
    let folder = URL(filePath: checkpoint).deletingLastPathComponent()
    return Outcome(
      weights: try TrainerTests.weights(trainer), plateau: plateau.state, stopping: stopping.state,
      reason: trainer.stopReason, step: trainer.step,
      best: try Data(contentsOf: folder.appending(path: "best.safetensors")))
  }

  /// That of a run that nothing happened to.
  static let whole = Result {
    let run = try EventfulRun(LifeCycle.folder().path)
    try run.run()
    return try run.outcome()
  }
}

@Suite struct EarlyStoppingTests {
  private struct Died: Error {}
  private final class Death: Callback {
    let step: Int
    let atEpochsEnd: Bool
    init(_ step: Int, atEpochsEnd: Bool) {
      self.step = step
      self.atEpochsEnd = atEpochsEnd
    }
    func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
      switch event {
      case .stepEnded where !atEpochsEnd && run.step == step: throw Died()
      case .epochEnded where atEpochsEnd && run.step >= step: throw Died()
      default: return .goOn
      }
    }
  }

  @Test func theWholeRunIsEventful() throws {
    let whole = try EventfulRun.whole.get()
    #expect(whole.reason?.contains("no better loss for 4 epochs") == true)
    #expect(try #require(whole.plateau["rate"]) < 0.05)
    #expect(whole.step < 4 * EventfulRun.epochs && whole.step > 24)
  }

  /// Checkpoints after every step, also the last of an epoch, whose validation is not in them yet.
  @Test func aRunThatDiesAfterAnyStep_isResumedToTheSameBits() throws {
    let whole = try EventfulRun.whole.get()
    for step in Array(1...13) + Array(whole.step - 6...whole.step) {
      for atEpochsEnd in step.isMultiple(of: 4) ? [false, true] : [false] {
        let folder = try LifeCycle.folder().path
        #expect(throws: Died.self) {
          try EventfulRun(folder).run(
            every: .steps(1), after: [Death(step, atEpochsEnd: atEpochsEnd)])
        }
        let resumed = try EventfulRun(folder)
        try resumed.run()
        #expect(try resumed.outcome() == whole, "died after step \(step), end: \(atEpochsEnd)")
      }
    }
  }

  @Test(arguments: [Checkpointing.Interval.epochs(1), .epochs(3), .steps(7)])
  func aRunThatDiesAgainAndAgain_endsWithTheSameBits(every: Checkpointing.Interval) throws {
    let whole = try EventfulRun.whole.get()
    let folder = try LifeCycle.folder().path
    for step in stride(from: 9, to: whole.step, by: 23) {
      let run = try EventfulRun(folder)
      #expect(throws: Died.self) {
        try run.run(every: every, after: [Death(step, atEpochsEnd: false)])
      }
    }
    let last = try EventfulRun(folder)
    try last.run(every: every)
    #expect(try last.outcome() == whole)
    // And once it is over, it is over: nothing is trained any more.
    let again = try EventfulRun(folder)
    try again.run()
    #expect(try again.outcome() == whole)
  }

  /// All epochs are behind the checkpoint, but for the end of the last.
  @Test func noEpochsAreLeft_andTheEndIsHeardAllTheSame() throws {
    let data = try RingClassifier.data(60).batched(16, shuffle: 1)
    func run() throws -> (Trainer<RingClassifier>, EarlyStopping) {
      (
        try TrainerTests.trainer(rate: .schedule { $0 < 8 ? 0.05 : -0.2 }),
        EarlyStopping(patience: 9)
      )
    }
    let (whole, _) = try run()
    try whole.fit(data, validation: data, epochs: 5, callbacks: [EarlyStopping(patience: 9)])
    let path = try LifeCycle.folder().appendingPathComponent("c").path
    let (cut, stopping) = try run()
    #expect(throws: Died.self) {
      try cut.fit(
        data, validation: data, epochs: 5,
        callbacks: [
          stopping, Checkpointing(path, every: .steps(20)), Death(20, atEpochsEnd: false),
        ])
    }
    let (resumed, other) = try run()
    try resumed.resume(from: path)
    #expect(resumed.epoch == 5 && resumed.batch == 0)
    #expect(try resumed.fit(data, validation: data, epochs: 0, callbacks: [other]).isEmpty)
    #expect(resumed.history.count == 1 && resumed.step == 20)
    #expect(try TrainerTests.weights(resumed) == TrainerTests.weights(whole))
    #expect(other.state == stopping.state || other.bestValue != nil)
    #expect(throws: ApusError.self) { try resumed.fit(data, epochs: 0) }
  }

  @Test func theMeansOfAResumedEpoch_areThoseOfAllItsSteps() throws {
    let data = try RingClassifier.data(60).batched(16, shuffle: 1)
    let whole = try TrainerTests.trainer()
    let history = try whole.fit(data, epochs: 2, callbacks: [])
    for step in 1...8 {
      let path = try LifeCycle.folder().appendingPathComponent("c").path
      let cut = try TrainerTests.trainer()
      #expect(throws: Died.self) {
        try cut.fit(
          data, epochs: 2,
          callbacks: [Checkpointing(path, every: .steps(1)), Death(step, atEpochsEnd: false)])
      }
      let resumed = try TrainerTests.trainer()
      try resumed.resume(from: path)
      try resumed.fit(data, epochs: 2 - resumed.epoch, callbacks: [])
      let losses = resumed.history.map(\.training.loss)
      #expect(losses == history.suffix(losses.count).map(\.training.loss), "step \(step)")
      #expect(losses.count == (step <= 4 ? 2 : 1))
    }
  }

  @Test func aCheckpointOfOtherSettings_isRefused() throws {
    let data = try RingClassifier.data(60).batched(16, shuffle: 1)
    let path = try LifeCycle.folder().appendingPathComponent("c").path
    let first = try TrainerTests.trainer()
    try first.fit(
      data, epochs: 1, callbacks: [EarlyStopping(restoresBest: false), Checkpointing(path)])
    let second = try TrainerTests.trainer()
    try second.resume(from: path)
    let error = #expect(throws: ApusError.self) {
      try second.fit(data, epochs: 1, callbacks: [EarlyStopping()])
    }
    #expect(error?.kind == .invalidArgument && error?.expected?.contains("restoresBest") == true)
    for damage in [#"{"EarlyStopping":{"epochsSince":-1}}"#, #"{"EarlyStopping":{"best":1}}"#] {
      let file = try SafetensorsFile(path)
      let damaged = path + ".damaged"
      try SafetensorsFile.write(
        file.arrays(), metadata: file.metadata.merging(["apus.callbacks": damage]) { $1 },
        to: damaged)
      let other = try TrainerTests.trainer()
      try other.resume(from: damaged)
      #expect(throws: ApusError.self) {
        try other.fit(data, epochs: 1, callbacks: [EarlyStopping(restoresBest: false)])
      }
    }
    for damage in [
      "{", #"{"whole":true}"#, #"{"whole":1,"sums":[]}"#, #"{"whole":true,"sums":[1]}"#,
    ] {
      let file = try SafetensorsFile(path)
      let damaged = path + ".damaged"
      try SafetensorsFile.write(
        file.arrays(), metadata: file.metadata.merging(["apus.epoch_progress": damage]) { $1 },
        to: damaged)
      let error = #expect(throws: ApusError.self) {
        try TrainerTests.trainer().resume(from: damaged)
      }
      #expect(error?.kind == .invalidFile)
    }
  }

  @Test func aNaNIsNeverTheBest() throws {
    let run = try TrainerTests.trainer()
    let stopping = EarlyStopping(patience: 2)
    func end(_ loss: Double) throws -> Verdict {
      try stopping.handle(
        .epochEnded(
          EpochSummary(
            epoch: 0, steps: 1, seconds: 1, training: StepResult(loss: loss), validation: nil)),
        in: run)
    }
    #expect(try end(.nan) == .goOn && stopping.bestValue == nil)
    #expect(try end(3) == .goOn && stopping.bestValue?.value == 3)
    #expect(try end(.nan) == .goOn)
    #expect(try end(2) == .goOn && stopping.bestValue?.epochsAgo == 0)
    #expect(try end(.infinity) == .goOn)
    #expect(try end(.nan) != .goOn)
  }

  @Test func theBestEpochsFile_isThatOfTheBestEpoch() throws {
    let folder = try LifeCycle.folder()
    let path = folder.appendingPathComponent("best").path
    let data = try RingClassifier.data(60).batched(16, shuffle: 1)
    let trainer = try TrainerTests.trainer(rate: .schedule { $0 < 12 ? 0.05 : -0.2 })
    let best = BestCheckpoint(path)
    try trainer.fit(data, validation: data, epochs: 6, callbacks: [best])
    let losses = trainer.history.compactMap { $0.validation?.loss }
    #expect(best.best?.value == losses.min())
    #expect(best.best?.epoch == losses.firstIndex(of: losses.min()!)! + 1)
    #expect(losses.last! > losses.min()!)
    let other = try TrainerTests.trainer()
    try other.model.load(path)
    #expect(try other.evaluate(data).loss == losses.min())
    // A whole checkpoint can be gone on from.
    let again = try TrainerTests.trainer()
    try again.fit(
      data, validation: data, epochs: 2, callbacks: [BestCheckpoint(path, content: .checkpoint)])
    let resumed = try TrainerTests.trainer()
    try resumed.resume(from: path)
    try resumed.fit(data, epochs: 1, callbacks: [BestCheckpoint(path, content: .checkpoint)])
    for wrong in ["/nowhere/best", "/tmp"] {
      let fresh = try TrainerTests.trainer()
      let error = #expect(throws: ApusError.self) {
        try fresh.fit(data, epochs: 1, callbacks: [BestCheckpoint(wrong)])
      }
      #expect(error?.kind == .io && fresh.step == 0)
    }
    let error = #expect(throws: ApusError.self) {
      try trainer.fit(
        data, validation: data, epochs: 1, callbacks: [BestCheckpoint(path, on: "f1", .larger)])
    }
    #expect(error?.kind == .missing && error?.expected?.contains("accuracy") == true)
  }

  @Test func spaceIsKeptForTheBestWeights_too() throws {
    final class Sizes: Callback {
      let path: String
      var kept = 0
      init(_ path: String) { self.path = path }
      func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
        let sized = try #require(run as? any SizedRun)
        if case .epochBegan = event { kept = sized.checkpointBytes(metadata: [:]) }
        try run.saveCheckpoint(path, metadata: [:])
        #expect(try Data(contentsOf: URL(filePath: path)).count <= kept)
        return .goOn
      }
    }
    let path = try LifeCycle.folder().appendingPathComponent("c").path
    let trainer = try Trainer(Linear(256, 512), optimizer: SGD(learningRate: 0.1)) {
      mse($0($1.x), $1.y)
    }
    let data = try ArrayDataset([
      "x": NDArray(zeros: .f32(8, 256)), "y": NDArray(zeros: .f32(8, 512)),
    ])
    try trainer.fit(data.batched(4), epochs: 2, callbacks: [EarlyStopping(), Sizes(path)])
    #expect(try SafetensorsFile(path).names.contains("apus.callbacks.EarlyStopping.weight"))
  }
}
