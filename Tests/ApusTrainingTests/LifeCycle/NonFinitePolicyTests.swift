// What becomes of steps whose numbers are not finite: an error, a batch that is left out, or the end of the run.

import Apus
import Foundation
import Testing

@Suite struct NonFinitePolicyTests {
  /// 30 examples, those of batch 2 and 4 of five with a NaN or an infinity in them.
  private static func data(spoiled: Bool = true) throws -> Batches {
    var x = (0..<120).map { Float(($0 * 7) % 11) / 5 - 1 }
    if spoiled {
      x[12 * 4 + 1] = .nan
      x[26 * 4] = -.infinity
    }
    return try ArrayDataset([
      "x": NDArray(x, shape: [30, 4]),
      "y": NDArray((0..<30).map { Int32($0 % 3) }, shape: [30]),
    ]).batched(6, shuffle: nil)
  }

  private static func trainer(
    _ policy: NonFinitePolicy, accumulating: Int = 1
  ) throws -> Trainer<TwoLayers> {
    try Trainer(
      TwoLayers(), optimizer: Adam(learningRate: 0.1), accumulating: accumulating, seed: 2,
      options: StepOptions(nonFinite: policy), loss: LifeCycle.loss)
  }

  @Test func skipping_leavesTheBatchesOut_andCountsThem() throws {
    let trainer = try Self.trainer(.skip), twin = try Self.trainer(.raise)
    let log = SkipLog()
    let epochs = try trainer.fit(Self.data(), epochs: 2, callbacks: [log])
    // The same but for those batches.
    for _ in 0..<2 {
      let iterator = try Self.data().makeIterator(epoch: 0)
      while let batch = try iterator.next() {
        if batch.x!.floats.allSatisfy(\.isFinite) { try twin.train(on: batch) }
      }
    }
    #expect(trainer.step == 6 && trainer.stopReason == nil)
    #expect(try LifeCycle.values(trainer.model) == LifeCycle.values(twin.model))
    #expect(epochs.map(\.skipped) == [2, 2] && epochs.map(\.steps) == [3, 3])
    #expect(epochs.allSatisfy { $0.training.loss.isFinite && $0.training.loss > 0 })
    #expect(log.reasons.count == 4)
    #expect(log.reasons[0].contains("'x' holds a NaN in row 0"))
    #expect(log.reasons[1].contains("'x' holds -inf in row 2"))
  }

  @Test func stopping_endsTheRun_withTheReason() throws {
    let trainer = try Self.trainer(.stop)
    let epochs = try trainer.fit(Self.data(), epochs: 2, callbacks: [])
    #expect(epochs.isEmpty && trainer.step == 2)
    #expect(try #require(trainer.stopReason).contains("'x' holds a NaN in row 0"))
    // It can go on behind that batch.
    try trainer.fit(Self.data(spoiled: false), epochs: 1, callbacks: [])
    #expect(trainer.step == 4)
  }

  @Test func raising_isTheDefault() throws {
    let trainer = try Self.trainer(StepOptions().nonFinite)
    let error = #expect(throws: ApusError.self) {
      try trainer.fit(Self.data(), epochs: 1, callbacks: [])
    }
    #expect(error?.kind == .nonFinite && trainer.step == 2)
  }

  @Test func ofSeveralBatchesOfAnUpdate_theGoodOnesCount() throws {
    let trainer = try Self.trainer(.skip, accumulating: 5)
    let epochs = try trainer.fit(Self.data(), epochs: 1, callbacks: [])
    #expect(epochs[0].skipped == 2)
    // The last batch is bad, so that the update waits for the first one of the next epoch.
    #expect(trainer.step == 0 && trainer.trainingStep.accumulatedBatches == 3)
    try trainer.fit(Self.data(spoiled: false), epochs: 1, callbacks: [])
    #expect(trainer.step == 2 && trainer.trainingStep.accumulatedBatches == 0)
  }

  @Test func aBatchOfIgnoredLabels_isNoneOfThem() throws {
    let trainer = try Self.trainer(.skip)
    let batch = Batch([
      "x": LifeCycle.batch().x!, "y": NDArray([Int32](repeating: -100, count: 6), shape: [6]),
    ])
    for _ in 0..<2 {
      let result = try trainer.train(on: batch)
      #expect(result.wasSkipped && result.nonFinite == nil)
    }
  }

  @Test func theRecordTellsOfEach() throws {
    let folder = try LifeCycle.folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "records.jsonl").path
    let recorder = try RunRecorder(
      [JSONLinesWriter(path)], every: 100, histogramsEvery: nil)
    try Self.trainer(.skip).fit(Self.data(), epochs: 1, callbacks: [recorder])
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
    #expect(
      lines.filter { $0.contains("\"skipped\"") && $0.contains("holds a NaN in row 0") }.count == 1)
    #expect(lines.filter { $0.contains("\"skipped\"") }.count == 3)
  }
}

private final class SkipLog: Callback {
  var reasons: [String] = []
  func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
    if case .stepEnded(_, let result) = event, let reason = result.nonFinite {
      reasons.append(reason.description)
    }
    return .goOn
  }
}
