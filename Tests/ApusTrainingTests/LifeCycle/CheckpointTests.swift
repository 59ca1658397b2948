// Checkpoints and weight files: nothing is lost, and nothing wrong is taken without a word.

import Apus
import Foundation
import Testing

@Suite struct CheckpointTests {
  struct SaveAt: Callback {
    let step: Int
    let path: String
    func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
      if case .stepEnded(step, _) = event { try run.saveCheckpoint(path, metadata: [:]) }
      return .goOn
    }
  }

  static func trainer(
    _ optimizer: some Optimizer = SGD(learningRate: 0.1, momentum: 0.9), seed: UInt64 = 1
  ) throws -> Trainer<TwoLayers> {
    try Trainer(TwoLayers(), optimizer: optimizer, seed: seed, loss: LifeCycle.loss)
  }

  static func data(_ rows: Int = 6) throws -> ArrayDataset {
    let batch = LifeCycle.batch(rows)
    return try ArrayDataset(["x": batch.x!, "y": batch.y!])
  }

  @Test(arguments: 1...3)
  func aRunResumedAtAnyBatch_givesTheBitsOfAnUninterruptedOne(step: Int) throws {
    let path = try LifeCycle.folder().appendingPathComponent("c.safetensors").path
    let data = try Self.data().batched(2)
    let whole = try Self.trainer()
    try whole.fit(data, epochs: 2, callbacks: [])
    let cut = try Self.trainer()
    try cut.fit(data, epochs: 1, callbacks: [SaveAt(step: step, path: path)])
    let resumed = try Self.trainer(seed: 1)
    try resumed.resume(from: path)
    let left = step == 3 ? 1 : 2
    let history = try resumed.fit(data, epochs: left, callbacks: [])
    #expect(history.map(\.steps) == (step == 3 ? [3] : [3 - step, 3]))
    #expect(resumed.step == 6 && resumed.epoch == 2)
    #expect(try LifeCycle.values(resumed.model) == LifeCycle.values(whole.model))
  }

  /// What a resume of a damaged or other file says; nothing may have changed.
  private func refusal(
    _ path: String, _ trainer: Trainer<TwoLayers>, then fit: (any BatchSource)? = nil
  ) throws -> ApusError {
    let before = try LifeCycle.values(trainer.model)
    let error = #expect(throws: ApusError.self) {
      try trainer.resume(from: path)
      if let fit { try trainer.fit(fit, epochs: 1, callbacks: []) }
    }
    if fit == nil { #expect(try LifeCycle.values(trainer.model) == before) }
    return error!
  }

  @Test func aCheckpointOfAnotherRun_isRefusedWithBothSidesNamed() throws {
    let folder = try LifeCycle.folder()
    let path = folder.appendingPathComponent("c.safetensors").path
    let trainer = try Self.trainer()
    try trainer.fit(Self.data().batched(2), epochs: 1, callbacks: [SaveAt(step: 2, path: path)])

    let optimizer = try refusal(path, Self.trainer(Adam()))
    #expect("\(optimizer)".contains("SGD(momentum: 0.9") && "\(optimizer)".contains("Adam("))

    let size = try refusal(path, Self.trainer(), then: Self.data().batched(3))
    #expect("\(size)".contains("batches of 3") && "\(size)".contains("batches of 2"))
    let length = try refusal(path, Self.trainer(), then: Self.data(9).batched(2))
    #expect("\(length)".contains("9 examples") && "\(length)".contains("6 examples"))
    let seed = try refusal(path, Self.trainer(), then: Self.data().batched(2, shuffle: 8))
    #expect("\(seed)".contains("seed 8") && "\(seed)".contains("seed 1"))
    let order = try refusal(path, Self.trainer(), then: Self.data().batched(2, shuffle: nil))
    #expect("\(order)".contains("in order"))

    struct Larger: Module {
      let a = Linear(4, 4)
      let b = Linear(4, 3)
      let c = Linear(3, 3)
    }
    let larger = try Trainer(Larger(), optimizer: SGD(learningRate: 0.1, momentum: 0.9)) {
      $0.c($0.b($0.a($1.x))).sum()
    }
    let model = #expect(throws: ApusError.self) { try larger.resume(from: path) }
    #expect("\(model!)".contains("'c.weight', 'c.bias'"))
    let weights = folder.appendingPathComponent("w.safetensors").path
    try trainer.save(weights)
    #expect(try refusal(weights, Self.trainer()).kind == .invalidFile)
  }

  @Test func aCheckpointWithoutASlotOrTheKey_isRefused() throws {
    let folder = try LifeCycle.folder()
    let path = folder.appendingPathComponent("c.safetensors").path
    let trainer = try Self.trainer(Adam())
    try trainer.fit(Self.data().batched(2), epochs: 1, callbacks: [])
    try trainer.saveCheckpoint(path)
    let file = try SafetensorsFile(path)
    var arrays: [String: NDArray] = [:]
    for name in file.names { arrays[name] = try file.array(name) }
    let damaged = folder.appendingPathComponent("d.safetensors").path
    for name in file.names {
      for rename in [false, true] {
        var fewer = arrays
        let array = fewer.removeValue(forKey: name)
        if rename { fewer["x." + name] = array }
        try SafetensorsFile.write(fewer, metadata: file.metadata, to: damaged)
        let error = try refusal(damaged, Self.trainer(Adam()))
        #expect(error.kind == .missing, "\(name)")
      }
    }
    let steps = try #require(file.metadata["apus.steps"])
    for (key, value) in [
      ("apus.step", "9223372036854775807"), ("apus.epoch", "-1"), ("apus.batches_done", "x"),
      ("apus.epoch", "9007199254740992"),
      ("apus.steps", steps.replacing("\"count\":3", with: "\"count\":-3")),
      ("apus.steps", steps.replacing("\"count\":3", with: "\"count\":9007199254740992")),
      // Updated more often than there were steps.
      ("apus.steps", steps.replacing("\"count\":3}", with: "\"count\":4}")),
    ] {
      try SafetensorsFile.write(
        arrays, metadata: file.metadata.merging([key: value]) { $1 }, to: damaged)
      #expect(file.metadata[key] != value)
      #expect(try refusal(damaged, Self.trainer(Adam())).kind == .invalidFile)
    }
    // Moments whose age is not known.
    let index = try JSON(parsing: steps)
    let step = try #require(index["steps"]?.elements?.first?.members)
    let ageless = JSON.object([
      ("ties", index["ties"]!),
      ("steps", .array([.object(step.map { ($0.0, $0.0 == "updates" ? .array([]) : $0.1) })])),
    ])
    try SafetensorsFile.write(
      arrays, metadata: file.metadata.merging(["apus.steps": ageless.text]) { $1 }, to: damaged)
    let error = try refusal(damaged, Self.trainer(Adam()))
    #expect(error.kind == .missing && error.what.contains("how often 'a."), "\(error)")
  }

  @Test func resumingWithinATrainerThatHasTrained_replacesItsSlots() throws {
    let path = try LifeCycle.folder().appendingPathComponent("c.safetensors").path
    let data = try Self.data().batched(2)
    let whole = try Self.trainer(Adam())
    try whole.fit(data, epochs: 2, callbacks: [])
    let trainer = try Self.trainer(Adam())
    try trainer.fit(data, epochs: 1, callbacks: [])
    try trainer.saveCheckpoint(path)
    try trainer.fit(data, epochs: 3, callbacks: [])
    try trainer.resume(from: path)
    try trainer.fit(data, epochs: 1, callbacks: [])
    #expect(try LifeCycle.values(trainer.model) == LifeCycle.values(whole.model))
  }

  @Test func loading_reportsWhatWasMissingSurplusAndConverted() throws {
    let path = try LifeCycle.folder().appendingPathComponent("w.safetensors").path
    let model = TwoLayers()
    try model.initialize()
    let weight = try model.a.weight.value()
    try SafetensorsFile.write(
      [
        "a.weight": weight.cast(to: .bf16), "a.bias": NDArray(zeros: .f32(4)),
        "c.bias": NDArray(zeros: .f32(2)),
      ], metadata: [:], to: path)
    let report = try model.load(path, strict: false)
    #expect(report.loaded == ["a.weight", "a.bias"])
    #expect(report.missing == ["b.weight", "b.bias"])
    #expect(report.unexpected == ["c.bias"])
    #expect(report.converted.count == 1 && report.converted[0].contains("a.weight"))
    let error = #expect(throws: ApusError.self) { try model.load(path) }
    #expect("\(error!)".contains("'b.weight', 'b.bias'") && "\(error!)".contains("'c.bias'"))
    try SafetensorsFile.write(
      ["a.weight": NDArray(zeros: .i64(4, 4))], metadata: [:], to: path)
    #expect(throws: ApusError.self) { try model.load(path, strict: false) }
  }

  @Test func namesOfOtherBytes_areOtherNames_whateverUnicodeSays() throws {
    struct Named: Module { let parts: [String: Linear] }
    let path = try LifeCycle.folder().appendingPathComponent("names.safetensors").path
    let model = Named(parts: ["\u{e9}": Linear(2, 2, bias: false)])
    try model.initialize()
    try SafetensorsFile.write(
      ["parts.e\u{301}.weight": NDArray(zeros: .f32(2, 2))], metadata: [:], to: path)
    let report = try model.load(path, strict: false)
    #expect(report.loaded.isEmpty)
    #expect(report.missing.map { Array($0.utf8) } == [Array("parts.\u{e9}.weight".utf8)])
    #expect(report.unexpected.map { Array($0.utf8) } == [Array("parts.e\u{301}.weight".utf8)])
  }

  @Test func weightsThatAreNoNumbers_doNotReplaceAGoodFile() throws {
    let path = try LifeCycle.folder().appendingPathComponent("w.safetensors").path
    let trainer = try Self.trainer()
    try trainer.save(path)
    let good = try Data(contentsOf: URL(fileURLWithPath: path))
    try trainer.model.b.bias!.set(NDArray([1, .nan, 2], shape: [3]))
    for attempt in [{ try trainer.save(path) }, { try trainer.saveCheckpoint(path) }] {
      let error = #expect(throws: ApusError.self) { try attempt() }
      #expect(error?.kind == .nonFinite && "\(error!)".contains("'b.bias'"))
      #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == good)
    }
    try trainer.model.save(path, allowingNonFinite: true)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) != good)
  }

  @Test func callbacks_endARunAndKeepItsHistory() throws {
    let data = try Self.data().batched(2)
    let trainer = try Self.trainer(SGD(learningRate: 0))
    let history = try trainer.fit(
      data, validation: data, epochs: 50, callbacks: [EarlyStopping(patience: 2)])
    #expect(history.count == 3 && trainer.history.count == 3)
    #expect(trainer.stopReason?.contains("2 epochs") == true)

    struct Failing: Callback {
      func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
        if case .stepEnded = event, run.step == 5 { throw CancellationError() }
        return .goOn
      }
    }
    let failing = try Self.trainer()
    #expect(throws: CancellationError.self) {
      try failing.fit(data, epochs: 3, callbacks: [Failing()])
    }
    #expect(failing.history.count == 1 && failing.epoch == 1 && failing.batch == 2)
    struct StopAt: Callback {
      func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
        if case .stepEnded(2, _) = event { return .stop("enough") }
        return .goOn
      }
    }
    let stopped = try Self.trainer()
    #expect(try stopped.fit(data, epochs: 2, callbacks: [StopAt()]).isEmpty)
    #expect(stopped.step == 2 && stopped.batch == 2 && stopped.stopReason == "enough")
    let whole = try Self.trainer()
    try whole.fit(data, epochs: 1, callbacks: [])
    #expect(try stopped.fit(data, epochs: 1, callbacks: []).map(\.steps) == [1])
    #expect(try LifeCycle.values(stopped.model) == LifeCycle.values(whole.model))
  }

  @Test func earlyStopping_givesTheBestValuesBack() throws {
    let data = try Self.data().batched(6)
    let trainer = try Self.trainer(SGD(learningRate: .schedule { $0 < 3 ? 0.3 : -0.5 }))
    try trainer.fit(data, validation: data, epochs: 20, callbacks: [EarlyStopping(patience: 3)])
    let best = trainer.history.compactMap { $0.validation?.loss }.min()!
    #expect(trainer.history.count == 6)
    #expect(try trainer.evaluate(data).loss == best)
  }

  @Test func checkpointsAreWrittenWhileTraining() throws {
    let path = try LifeCycle.folder().appendingPathComponent("c.safetensors").path
    let trainer = try Self.trainer()
    try trainer.fit(
      Self.data().batched(2), epochs: 2, callbacks: [Checkpointing(path, every: .steps(4))])
    #expect(try SafetensorsFile(path).metadata["apus.step"] == "4")
  }

  @Test func trainingShufflesByDefault_evaluationDoesNot() throws {
    let batches = try Self.data(20).batched(20)
    let first = try batches.makeIterator(epoch: 0).next()!
    #expect(first.y == LifeCycle.batch(20).y)
    let training = batches.forTraining(seed: 1)
    let shuffled = try training.makeIterator(epoch: 0).next()!
    #expect(shuffled.y != first.y)
    let again = try batches.forTraining(seed: 1).makeIterator(epoch: 1).next()!
    #expect(again.y != shuffled.y)
    let fixed = try Self.data(20).batched(20, shuffle: nil).forTraining(seed: 1)
    #expect(try fixed.makeIterator(epoch: 0).next()!.y == first.y)
  }
}
