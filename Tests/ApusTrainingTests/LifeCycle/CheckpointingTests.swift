// Checkpoints while training goes on: when they are written, and what happens where they cannot be.

import Apus
import Foundation
import Testing

@Suite struct CheckpointingTests {
  private static func step(_ path: String) throws -> String? {
    try SafetensorsFile(path).metadata["apus.step"]
  }

  /// Notes after each step which step the file is of.
  private final class Watch: Callback {
    let path: String
    var steps: [String?] = []
    var body: (Int) throws -> Void = { _ in }
    init(_ path: String) { self.path = path }
    func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
      if case .stepEnded = event {
        steps.append(try? CheckpointingTests.step(path))
        try body(run.step)
      }
      return .goOn
    }
  }

  private static func path() throws -> String {
    try LifeCycle.folder().appendingPathComponent("c.safetensors").path
  }

  private static func fit(_ callbacks: [any Callback], epochs: Int = 2) throws {
    try CheckpointTests.trainer().fit(
      CheckpointTests.data().batched(2), epochs: epochs, callbacks: callbacks)
  }

  @Test func theyAreWrittenEverySoManySteps_epochsOrSeconds() throws {
    var path = try Self.path(), watch = Watch(path)
    let steps = Checkpointing(path, every: .steps(2))
    try Self.fit([steps, watch])
    #expect(watch.steps == [nil, "2", "2", "4", "4", "6"])
    #expect(steps.savedStep == 6)
    #expect(try Self.step("\(path).previous") == "4")

    path = try Self.path()
    watch = Watch(path)
    try Self.fit([Checkpointing(path, every: .epochs(2)), watch], epochs: 3)
    #expect(watch.steps == [nil, nil, nil, nil, nil, nil, "6", "6", "6"])
    #expect(try Self.step(path) == "6")

    // A clock that goes on by 40 seconds each time it is looked at.
    path = try Self.path()
    watch = Watch(path)
    var now = ContinuousClock.now
    let minutes = Checkpointing(
      path, every: .time(.seconds(100)), warn: { _ in false },
      now: {
        now += .seconds(40)
        return now
      })
    try Self.fit([minutes, watch])
    #expect(watch.steps == [nil, nil, "3", "3", "3", "6"])
  }

  @Test(arguments: [
    Checkpointing.Interval.steps(0), .steps(-3), .epochs(0), .time(.zero), .time(.seconds(-1)),
  ])
  func intervalsWithoutMeaning_areErrorsBeforeTheFirstStep(interval: Checkpointing.Interval) throws
  {
    let watch = Watch("")
    let error = try #require(
      #expect(throws: ApusError.self) {
        try Self.fit([Checkpointing(Self.path(), every: interval), watch])
      })
    #expect(error.kind == .invalidArgument && watch.steps.isEmpty)
  }

  @Test func whereTheyCannotBeWritten_isAnErrorBeforeTheFirstStep() throws {
    for path in ["/nowhere/c", "/proc/c", "/tmp"] {
      let watch = Watch("")
      let error = #expect(throws: ApusError.self) { try Self.fit([Checkpointing(path), watch]) }
      #expect(error?.kind == .io && watch.steps.isEmpty)
    }
  }

  @Test func oneThatCannotBeWritten_keepsTheLastGoodFileAndTheRun() throws {
    let folder = try LifeCycle.folder()
    let place = folder.appendingPathComponent("place").path
    let away = folder.appendingPathComponent("away").path
    let manager = FileManager.default
    try manager.createDirectory(atPath: place, withIntermediateDirectories: true)
    let path = "\(place)/c.safetensors"
    var words: [String] = []
    let checkpointing = Checkpointing(
      path, every: .steps(1),
      warn: {
        words.append($0)
        return true
      })
    // The folder is away at the steps 3 and 4, and at the end.
    let watch = Watch(path)
    watch.body = { step in
      if step == 2 || step == 5 { try manager.moveItem(atPath: place, toPath: away) }
      if step == 4 { try manager.moveItem(atPath: away, toPath: place) }
    }
    try Self.fit([checkpointing, watch])
    #expect(watch.steps == ["1", "2", nil, nil, "5", nil])
    #expect(checkpointing.savedStep == 5)
    #expect(try Self.step("\(away)/c.safetensors") == "5")
    #expect(try Self.step("\(away)/c.safetensors.previous") == "2")
    // Once for each time that it begins, and once more at the end.
    #expect(words.count == 3, "\(words)")
    for (text, parts) in zip(
      words,
      [["step 3", "of step 2", "tried"], ["step 6", "of step 5"], ["step 6", "of step 5"]])
    {
      for part in parts { #expect(text.contains(part), "\(text)") }
    }
  }

  @Test func badWeights_endTheRunAllTheSame() throws {
    let trainer = try CheckpointTests.trainer()
    try trainer.model.a.bias!.set(NDArray([Float](repeating: .nan, count: 4), shape: [4]))
    let path = try Self.path()
    let error = #expect(throws: ApusError.self) { try trainer.saveCheckpoint(path) }
    #expect(error?.kind == .nonFinite)
    #expect(throws: ApusError.self) {
      _ = try Checkpointing(path, every: .steps(1)).handle(
        .stepEnded(step: 1, StepResult(loss: 1)), in: trainer)
    }
  }

  @Test func theNewestWholeFileIsFound() throws {
    let path = try Self.path()
    try Self.fit([Checkpointing(path, every: .steps(1))])
    #expect(try Checkpoint.newestWhole(path) == path)
    let whole = try Data(contentsOf: URL(filePath: path))
    for damaged in [whole.dropLast(1), whole.prefix(100), Data()] {
      try damaged.write(to: URL(filePath: path))
      #expect(try Checkpoint.newestWhole(path) == "\(path).previous")
    }
    try SafetensorsFile.write(["x": NDArray(1)], to: path)
    #expect(try Checkpoint.newestWhole(path) == "\(path).previous")
    try FileManager.default.removeItem(atPath: path)
    let found = try Checkpoint.newestWhole(path)
    #expect(found == "\(path).previous")
    let trainer = try CheckpointTests.trainer()
    try trainer.resume(from: found)
    #expect(trainer.step == 5)
    try FileManager.default.removeItem(atPath: found)
    let error = #expect(throws: ApusError.self) { try Checkpoint.newestWhole(path) }
    #expect(error?.kind == .io && error?.location == path)
  }

  @Test func theSpaceThatIsKept_isEnoughForTheFiles() throws {
    final class Sizes: Callback {
      let path: String
      var kept = 0
      init(_ path: String) { self.path = path }
      func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
        let metadata = [
          "apus.option.\"quoted\"": "\u{1}\u{2} \(String(repeating: "x", count: 900))"
        ]
        let sized = try #require(run as? any SizedRun)
        if case .epochBegan = event { kept = sized.checkpointBytes(metadata: metadata) }
        try run.save(path)
        let weights = try Data(contentsOf: URL(filePath: path)).count
        #expect(sized.weightBytes >= weights)
        try run.saveCheckpoint(path, metadata: metadata)
        let written = try Data(contentsOf: URL(filePath: path)).count
        #expect(kept >= written && kept < written + (1 << 17))
        return .goOn
      }
    }
    for optimizer in [SGD(learningRate: 0.1, momentum: 0.9), AdamW()] as [any Optimizer] {
      let trainer = try Trainer(TwoLayers(), optimizer: optimizer, loss: LifeCycle.loss)
      try trainer.fit(
        CheckpointTests.data().batched(2), epochs: 2, callbacks: [Sizes(Self.path())])
    }
  }
}
