// The callback that notes a run: what it notes, what it costs where it fails, and that resumed runs read as one.

import Apus
import Foundation
import Synchronization
import Testing

@testable import ApusTraining

@Suite struct RunRecorderTests {
  private final class Memory: RecordWriter {
    let records = Mutex<[RunRecord]>([])
    let begins = Mutex<[Int]>([])
    let isFull = Mutex(false)
    func begin(at step: Int, time: Double) { begins.withLock { $0.append(step) } }
    func write(_ new: [RunRecord]) throws {
      if isFull.withLock({ $0 }) { throw ApusError(.io, "the disk is full", at: "memory") }
      records.withLock { $0 += new }
    }
    func steps(_ tag: String) -> [Int] {
      records.withLock { $0.filter { $0.tag == tag }.map(\.step) }
    }
  }

  @Test func itNotesEverySoManySteps_andEveryEpoch() throws {
    let memory = Memory()
    let recorder = try RunRecorder([memory], every: 3, histogramsEvery: 2)
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    let trainer = try TrainerTests.trainer()
    try trainer.fit(data, validation: data, epochs: 3, callbacks: [recorder])
    #expect(memory.begins.withLock { $0 } == [0])
    #expect(memory.steps("loss/step") == [1, 3, 6, 9, 12, 15])
    #expect(memory.steps("learning_rate") == [1, 3, 6, 9, 12, 15])
    #expect(memory.steps("loss/training") == [5, 10, 15])
    #expect(memory.steps("accuracy/validation") == [5, 10, 15])
    #expect(memory.steps("accuracy/training").isEmpty && memory.steps("gradient_norm").isEmpty)
    #expect(memory.steps("parameters/hidden.weight") == [10])
    #expect(memory.steps("step") == [0])
    // A second call goes on; one that went back begins again.
    let path = try TrainerTests.folder().appendingPathComponent("c").path
    try trainer.saveCheckpoint(path)
    try trainer.fit(data, epochs: 1, callbacks: [recorder])
    try trainer.resume(from: path)
    try trainer.fit(data, epochs: 1, callbacks: [recorder])
    #expect(memory.begins.withLock { $0 } == [0, 15])
    #expect(memory.steps("loss/training") == [5, 10, 15, 20, 20])
  }

  @Test func clippedStepsTellTheirNorm_asMeasured() throws {
    let memory = Memory()
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    for options in [StepOptions(clipNorm: 1e-3), StepOptions(reportsGradientNorm: true)] {
      memory.records.withLock { $0 = [] }
      let trainer = try Trainer(
        Linear(2, 3), optimizer: SGD(learningRate: 0), options: options
      ) { crossEntropy($0($1.points), $1.labels) }
      let norms = try GradientNorms(trainer.model) { crossEntropy($0($1.points), $1.labels) }
      let batch = try #require(try data.makeIterator(epoch: 0).next())
      let wanted = try norms.measure(batch).joint
      #expect(abs(try #require(try trainer.train(on: batch).gradientNorm) - wanted) < 1e-5 * wanted)
      try trainer.fit(data, epochs: 1, callbacks: [RunRecorder([memory], every: 1)])
      #expect(memory.steps("gradient_norm").count == 5)
    }
    let plain = try TrainerTests.trainer()
    let batch = try #require(try data.makeIterator(epoch: 0).next())
    #expect(try plain.train(on: batch).gradientNorm == nil)
  }

  @Test func gradientsAreNotedAsTheyAre() throws {
    let memory = Memory()
    let trainer = try TrainerTests.trainer()
    let norms = try GradientNorms(trainer.model, loss: RingClassifier.loss)
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    let batch = try #require(try data.makeIterator(epoch: 0).next())
    let recorder = try RunRecorder([memory], histogramsEvery: 1) { try norms.gradients(batch) }
    try trainer.fit(data, epochs: 1, callbacks: [recorder])
    let report = try norms.measure(batch), whole = try norms.gradients(batch)
    #expect(whole.map(\.path) == report.parameters.map(\.path))
    for ((path, gradient), (_, norm)) in zip(whole, report.parameters) {
      let squares = gradient.doubles.reduce(0) { $0 + $1 * $1 }
      #expect(abs(squares.squareRoot() - norm) < 1e-5 * norm)
      #expect(memory.steps("gradients/\(path)") == [5])
      let noted = memory.records.withLock { $0.first { $0.tag == "gradients/\(path)" } }
      guard case .histogram(let histogram)? = noted?.value else {
        Issue.record("no histogram of \(path)")
        continue
      }
      #expect(abs(histogram.sumOfSquares - squares) < 1e-9 * squares)
      #expect(histogram.count == gradient.count)
    }
  }

  @Test func recordingChangesNoBit() throws {
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    let plain = try TrainerTests.trainer(), noted = try TrainerTests.trainer()
    try plain.fit(data, epochs: 2, callbacks: [])
    let folder = try TrainerTests.folder().path
    try noted.fit(
      data, epochs: 2, callbacks: [RunRecorder(folder, every: 1, histogramsEvery: 1)])
    #expect(try TrainerTests.weights(plain) == TrainerTests.weights(noted))
  }

  @Test func aRunThatIsResumed_readsAsOneThatWasNeverInterrupted() throws {
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    func curves(_ folder: String) throws -> [String: [RunHistory.Curve.Point]] {
      let history = try RunHistory(folder)
      return Dictionary(
        uniqueKeysWithValues: history.curves.filter { $0.tag != "steps_per_second" }.map {
          ($0.tag, $0.points.map { .init(step: $0.step, time: 0, value: $0.value) })
        })
    }
    let whole = try TrainerTests.folder().path
    try TrainerTests.trainer().fit(
      data, validation: data, epochs: 3, callbacks: [RunRecorder(whole, every: 2)])
    struct Stop: Error {}
    final class Interrupt: Callback {
      let step: Int
      init(_ step: Int) { self.step = step }
      func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
        if case .stepEnded = event, run.step == step { throw Stop() }
        return .goOn
      }
    }
    for (saved, died) in [(4, 7), (5, 8), (6, 6), (10, 14)] {
      let folder = RunFolder(try TrainerTests.folder().path)
      let first = try TrainerTests.trainer()
      #expect(throws: Stop.self) {
        try first.fit(
          data, validation: data, epochs: 3,
          callbacks: [
            RunRecorder(folder.path, every: 2),
            Checkpointing(folder.checkpoint, every: .steps(saved)), Interrupt(died),
          ])
      }
      let second = try TrainerTests.trainer()
      try second.resume(from: folder.checkpoint)
      try second.fit(
        data, validation: data, epochs: 3 - second.epoch,
        callbacks: [RunRecorder(folder.path, every: 2)])
      #expect(try curves(folder.path) == curves(whole), "saved after \(saved), died after \(died)")
      #expect(try RunHistory(folder.path).resumedAt == [saved])
    }
  }

  @Test func whatCannotBeWritten_isSaidOnce_andCostsNothing() throws {
    let memory = Memory()
    let words = Mutex<[String]>([])
    let recorder = try RunRecorder(
      [memory], every: 1, histogramsEvery: nil, recordsGraph: false, hyperparameters: [:],
      gradients: nil,
      warn: { text in words.withLock { $0.append(text) } })
    final class Fill: Callback {
      let memory: Memory
      let recorder: RunRecorder
      init(_ memory: Memory, _ recorder: RunRecorder) {
        self.memory = memory
        self.recorder = recorder
      }
      func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
        recorder.settle()
        if case .stepEnded = event { memory.isFull.withLock { $0 = (3...5).contains(run.step) } }
        return .goOn
      }
    }
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    try TrainerTests.trainer().fit(
      data, epochs: 2, callbacks: [Fill(memory, recorder), recorder])
    #expect(memory.steps("loss/step") == [1, 2, 6, 7, 8, 9, 10])
    let said = words.withLock { $0 }
    #expect(said.count == 1 && said[0].contains("step 3") && said[0].contains("disk is full"))
  }

  @Test func whatMakesNoSense_isAnError() throws {
    for (steps, epochs) in [(0, nil), (-1, nil), (Int.min, nil), (1, 0), (1, Int.min)] {
      let error = #expect(throws: ApusError.self) {
        _ = try RunRecorder("/nowhere", every: steps, histogramsEvery: epochs)
      }
      #expect(error?.kind == .invalidArgument)
    }
    let data = try RingClassifier.data(40).batched(8, shuffle: 1)
    let trainer = try TrainerTests.trainer()
    for place in ["/proc/nowhere", "/dev/null"] {
      let error = #expect(throws: ApusError.self) {
        try trainer.fit(data, epochs: 1, callbacks: [RunRecorder(place)])
      }
      #expect(error?.kind == .io && trainer.step == 0)
    }
    let memory = Memory()
    let recorder = try RunRecorder([memory])
    #expect(throws: ApusError.self) { try recorder.scalar("x", 1, at: 1) }
    #expect(throws: ApusError.self) { try recorder.begin(at: .min) }
    #expect(throws: ApusError.self) { try recorder.begin(at: .max) }
    try recorder.begin(at: 4)
    try recorder.scalar("x", 1, at: 5)
    try recorder.scalar("x", 1, at: 1 << 52)
    #expect(throws: ApusError.self) { try recorder.scalar("x", 1, at: .max) }
    let error = #expect(throws: ApusError.self) { try recorder.scalar("x", 1, at: 5) }
    #expect(error?.kind == .invalidArgument)
    recorder.settle()
    #expect(memory.steps("x") == [5, 1 << 52])
  }
}
