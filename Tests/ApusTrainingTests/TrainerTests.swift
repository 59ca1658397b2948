// Training from data to weights: learning, reproducibility, errors.

import Apus
import Foundation
import Testing

/// A small classifier with dropout, on points of two rings.
struct RingClassifier: Module {
  let hidden = Linear(2, 16)
  let drop = Dropout(0.1)
  let output = Linear(16, 3)

  func callAsFunction(_ x: Tensor) -> Tensor { output(drop(relu(hidden(x)))) }

  static func loss(_ model: RingClassifier, _ batch: SymbolicBatch) -> Tensor {
    let logits = model(batch.points)
    batch.report("accuracy", accuracy(logits, batch.labels))
    return crossEntropy(logits, batch.labels)
  }

  /// `count` points, three classes by distance from the origin.
  static func data(_ count: Int, badLabel: Bool = false) throws -> ArrayDataset {
    var points: [Float] = []
    var labels: [Int32] = []
    for index in 0..<count {
      let radius = Float(index % 3) + 0.5, angle = Float(index) * 2.399
      points += [radius * cos(angle), radius * sin(angle)]
      labels.append(Int32(index % 3))
    }
    if badLabel { labels[count / 2] = 3 }
    return try ArrayDataset([
      "points": NDArray(points, shape: [count, 2]), "labels": NDArray(labels, shape: [count]),
    ])
  }
}

@Suite struct TrainerTests {
  static func trainer(
    seed: UInt64 = 7, threads: Int? = nil, rate: LearningRate = 0.02
  ) throws -> Trainer<RingClassifier> {
    var options = CompileOptions()
    options.threads = threads
    return try Trainer(
      RingClassifier(), optimizer: Adam(learningRate: rate), seed: seed, compile: options,
      loss: RingClassifier.loss)
  }

  static func weights(_ trainer: Trainer<RingClassifier>) throws -> [NDArray] {
    try trainer.model.parameters.map { try $0.parameter.value() }
  }

  static func folder() throws -> URL {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url
  }

  @Test func model_learns_andPartialBatchesCount() throws {
    let trainer = try Self.trainer()
    // 100 = 3·32 + 4: the last batch has a shape of its own.
    let data = try RingClassifier.data(100).batched(32, shuffle: 1)
    let history = try trainer.fit(data, validation: data, epochs: 60, callbacks: [])
    #expect(history.allSatisfy { $0.steps == 4 })
    #expect(trainer.step == 240)
    let first = try #require(history.first?.training.loss)
    let last = try #require(history.last)
    #expect(last.training.loss < 0.4 * first)
    #expect(try #require(last.validation?["accuracy"]) > 0.9)
  }

  @Test func equalSeeds_giveEqualBits_onAnyNumberOfThreads() throws {
    let data = try RingClassifier.data(50).batched(16, shuffle: 1)
    let results = try [1, 2, 7].map { threads in
      let trainer = try Self.trainer(threads: threads)
      try trainer.fit(data, epochs: 3, callbacks: [])
      return try Self.weights(trainer)
    }
    #expect(results[0] == results[1])
    #expect(results[0] == results[2])
    let other = try Self.trainer(seed: 8)
    try other.fit(data, epochs: 3, callbacks: [])
    #expect(try Self.weights(other) != results[0])
  }

  @Test func resumedRun_givesTheBitsOfAnUninterruptedOne() throws {
    let data = try RingClassifier.data(50).batched(16, shuffle: 1)
    let path = try Self.folder().appendingPathComponent("run.safetensors").path
    let whole = try Self.trainer(rate: .cosine(from: 0.02, steps: 24))
    try whole.fit(data, epochs: 6, callbacks: [])
    let half = try Self.trainer(rate: .cosine(from: 0.02, steps: 24))
    try half.fit(data, epochs: 3, callbacks: [])
    try half.saveCheckpoint(path)
    let resumed = try Self.trainer(seed: 99, rate: .cosine(from: 0.02, steps: 24))
    try resumed.resume(from: path)
    #expect(resumed.step == 12 && resumed.epoch == 3)
    try resumed.fit(data, epochs: 3, callbacks: [])
    #expect(try Self.weights(resumed) == Self.weights(whole))
  }

  @Test func weights_surviveTheFile_andBadFilesChangeNothing() throws {
    let folder = try Self.folder()
    let path = folder.appendingPathComponent("w.safetensors").path
    let a = try Self.trainer(), b = try Self.trainer(seed: 8)
    try a.save(path)
    let before = try Self.weights(b)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    let broken = folder.appendingPathComponent("broken.safetensors")
    for length in stride(from: 0, to: bytes.count, by: 37) {
      try bytes.prefix(length).write(to: broken)
      #expect(throws: ApusError.self) { try b.load(broken.path) }
    }
    #expect(try Self.weights(b) == before)
    #expect(
      try b.load(path).loaded.sorted() == [
        "hidden.bias", "hidden.weight", "output.bias", "output.weight",
      ])
    #expect(try Self.weights(b) == Self.weights(a))
    #expect(throws: ApusError.self) { try b.resume(from: path) }
  }

  /// Evaluation keeps weights in the form that its kernels want: whatever changes them must be seen.
  @Test func evaluation_seesEveryChangeOfTheWeights() throws {
    let folder = try Self.folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let data = try RingClassifier.data(50).batched(50)
    let trainer = try Self.trainer()
    /// What a trainer that has never evaluated before finds with the same weights.
    func expected() throws -> Double {
      let file = folder.appendingPathComponent("fresh.safetensors").path
      try trainer.save(file)
      let fresh = try Self.trainer(seed: 99)
      try fresh.load(file)
      return try fresh.evaluate(data).loss
    }
    let saved = folder.appendingPathComponent("saved.safetensors").path
    let checkpoint = folder.appendingPathComponent("checkpoint.safetensors").path
    let initial = try trainer.evaluate(data).loss
    #expect(try initial == expected())
    try trainer.save(saved)
    try trainer.fit(data, epochs: 2, callbacks: [])
    let trained = try trainer.evaluate(data).loss
    #expect(try trained != initial && trained == expected())
    try trainer.saveCheckpoint(checkpoint)
    try trainer.load(saved)
    #expect(try trainer.evaluate(data).loss == initial)
    try trainer.resume(from: checkpoint)
    #expect(try trainer.evaluate(data).loss == trained)
    let weight = trainer.model.hidden.weight
    try weight.set(NDArray(zeros: weight.type))
    #expect(try trainer.evaluate(data).loss == expected())
  }

  @Test func weightsOfAnotherModel_areRefusedByName() throws {
    struct Other: Module {
      let hidden = Linear(2, 8)
    }
    let path = try Self.folder().appendingPathComponent("w.safetensors").path
    let other = Other()
    try other.initialize()
    try other.save(path)
    let trainer = try Self.trainer()
    let error = #expect(throws: ApusError.self) { try trainer.load(path) }
    #expect(error?.description.contains("hidden") == true)
    #expect(throws: ApusError.self) { try trainer.load(path, strict: false) }
  }

  @Test func labelOutsideTheClasses_endsTheRun() throws {
    let data = try RingClassifier.data(20, badLabel: true).batched(20)
    let error = #expect(throws: ApusError.self) {
      try Self.trainer().fit(data, epochs: 1, callbacks: [])
    }
    #expect(error?.kind == .outOfRange)
    #expect(error?.description.contains("3") == true)
  }

  @Test func lossThatIsNoNumber_endsTheRun() throws {
    let points = NDArray([Float](repeating: .infinity, count: 8), shape: [4, 2])
    let data = try ArrayDataset([
      "points": points, "labels": NDArray([0, 1, 2, 0] as [Int32], shape: [4]),
    ])
    let error = #expect(throws: ApusError.self) {
      try Self.trainer().fit(data.batched(4), epochs: 1, callbacks: [])
    }
    #expect(error?.kind == .nonFinite)
  }

  @Test func mistakesInTheModel_areThrownWithTheirPlace() throws {
    struct Nested: Module {
      let blocks = [RingClassifier(), RingClassifier()]
    }
    let trainer = try Trainer(Nested(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      model.blocks[1].output(batch.points).sum()
    }
    let data = try RingClassifier.data(8).batched(8)
    let error = #expect(throws: ApusError.self) {
      try trainer.fit(data, epochs: 1, callbacks: [])
    }
    #expect(error?.kind == .shapeMismatch)
    #expect(error?.description.contains("blocks.1.output") == true)
    let missing = try Trainer(RingClassifier(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      model(batch.images).sum()
    }
    let second = #expect(throws: ApusError.self) {
      try missing.fit(data, epochs: 1, callbacks: [])
    }
    #expect(second?.description.contains("points, labels") == true)
  }

  @Test func senselessSettings_areRefused() throws {
    let data = try RingClassifier.data(8).batched(8)
    #expect(throws: ApusError.self) { try Self.trainer().fit(data, epochs: 0) }
    #expect(throws: ApusError.self) { try Self.trainer(rate: -1) }
    #expect(throws: ApusError.self) {
      try Trainer(
        RingClassifier(), optimizer: SGD(learningRate: 1), options: StepOptions(clipNorm: 0),
        loss: RingClassifier.loss)
    }
  }

  @Test func clippedGradients_haveTheNormAskedFor() throws {
    struct Scale: Module {
      let weight = Parameter([3], .zeros)
    }
    let trainer = try Trainer(
      Scale(), optimizer: SGD(learningRate: 1), options: StepOptions(clipNorm: 0.5)
    ) { model, batch in (model.weight.tensor * batch.x).sum() }
    try trainer.train(on: Batch(["x": NDArray([3, 0, 4], shape: [3])]))
    // The gradient is (3, 0, 4) of norm 5.
    let moved = try trainer.model.weight.value().doubles
    for (got, wanted) in zip(moved, [-0.3, 0, -0.4]) { #expect(abs(got - wanted) < 1e-6) }
  }

  /// The square of such a gradient is beyond f32.
  @Test(arguments: [1e20, 1e30] as [Float])
  func aGradientFarFromOne_isClippedLikeAnyOther(unit: Float) throws {
    struct Two: Module {
      let weight = Parameter([2], .zeros)
      let bias = Parameter([1], .zeros)
    }
    let trainer = try Trainer(
      Two(), optimizer: SGD(learningRate: 1), options: StepOptions(clipNorm: 0.5)
    ) { model, batch in
      (model.weight.tensor * batch.x).sum() + (model.bias.tensor * batch.y).sum()
    }
    try trainer.train(
      on: Batch([
        "x": NDArray([3 * unit, 1], shape: [2]), "y": NDArray([-4 * unit], shape: [1]),
      ]))
    let moved = try trainer.model.weight.value().doubles + trainer.model.bias.value().doubles
    for (got, wanted) in zip(moved, [-0.3, 0, 0.4]) { #expect(abs(got - wanted) < 1e-6) }
  }
}

@Suite struct ProgressBarTests {
  final class Log {
    var text = ""
    var time = 0.0
  }

  /// The second of five epochs.
  static func run(
    isTerminal: Bool, hasColor: Bool = false, columns: Int? = nil, steps: Int = 100,
    secondsEach: Double = 0.11, _ log: Log
  ) {
    let bar = ProgressBar(
      isTerminal: isTerminal, hasColor: hasColor, columns: { columns },
      output: {
        log.text += $0
        return true
      }, now: { log.time })
    bar.show(.epochBegan(epoch: 1, of: 5, batches: steps))
    for step in 1...steps {
      log.time += secondsEach
      bar.show(.stepEnded(step: step, StepResult(loss: 0.5)))
    }
    bar.show(
      .epochEnded(
        EpochSummary(
          epoch: 1, steps: steps, seconds: Double(steps) * secondsEach,
          training: StepResult(loss: 0.5),
          validation: StepResult(loss: 0.25, metrics: [("accuracy", 0.75)]))))
  }

  @Test func terminal_seesOneLineRedrawn() {
    let log = Log()
    Self.run(isTerminal: true, log)
    #expect(log.text.filter { $0 == "\n" }.count == 1)
    #expect(log.text.filter { $0 == "\r" }.count == 101)
    #expect(log.text.contains("epoch 2/5") && log.text.contains("9.1 steps/s"))
    #expect(log.text.contains("loss 0.5000") && log.text.contains("eta"))
    #expect(!log.text.contains("\u{1b}"))
  }

  @Test(arguments: [10, 20, 40, 60, 200])
  func lines_fitTheTerminal(columns: Int) {
    let log = Log()
    Self.run(
      isTerminal: true, hasColor: true, columns: columns, steps: 3, secondsEach: 2.5, log)
    let lines = log.text.replacing(/\u{1b}\[\d+m/, with: "").split { $0 == "\r" || $0 == "\n" }
    #expect(lines.count == 4)
    #expect(lines.allSatisfy { $0.count < max(columns, 12) }, "\(lines)")
    if columns == 200 {
      #expect(lines[1].contains("2/3  2.50 s/step  loss 0.5000  5.0 s, eta 2.5 s"), "\(lines)")
      #expect(lines[1].contains("━"))
    }
  }

  @Test func speed_isAMovingMean() {
    let log = Log()
    let bar = ProgressBar(
      isTerminal: true,
      output: {
        log.text = $0
        return true
      }, now: { log.time })
    bar.show(.epochBegan(epoch: 0, of: 1, batches: 100))
    // Ten steps a second, then one.
    for step in 1...10 {
      log.time += 0.1001
      bar.show(.stepEnded(step: step, StepResult(loss: 0.5)))
    }
    #expect(log.text.contains("10.0 steps/s"))
    log.time += 1
    bar.show(.stepEnded(step: 11, StepResult(loss: 0.5)))
    // 0.3 x 1 + 0.7 x 10.
    #expect(log.text.contains("7.3 steps/s"), "\(log.text)")
  }

  @Test func file_seesPlainLines() {
    let log = Log()
    Self.run(isTerminal: false, log)
    #expect(!log.text.contains("\r"))
    #expect(log.text.split(separator: "\n").count == 3)
    #expect(log.text.contains("validation loss 0.2500  accuracy 0.7500"))
  }
}
