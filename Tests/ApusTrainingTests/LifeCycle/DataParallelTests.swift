// Training by several processes, each a thread here: against training by one, which sees the whole batch.

import Apus
import ApusData
import ApusGraph
import ApusRuntime
import ApusTraining
import Foundation
import Testing
import TestSupport

@Suite struct DataParallelTests {
  private struct Net: Module {
    let hidden = Linear(6, 32)
    let output = Linear(32, 4)
    func callAsFunction(_ x: Tensor) -> Tensor { output(tanh(hidden(x))) }
  }

  /// `count` examples of six numbers and a class; every `ignored`-th label does not count.
  private static func data(_ count: Int, ignored: Int? = nil) throws -> ArrayDataset {
    var random = SplitMix(seed: 5)
    let x = (0..<6 * count).map { _ in Float(random.uniform(-1...1)) }
    let labels = (0..<count).map { index -> Int32 in
      if let ignored, index.isMultiple(of: ignored) { return -100 }
      return Int32(random.next() % 4)
    }
    return try ArrayDataset([
      "x": NDArray(x, shape: [count, 6]), "labels": NDArray(labels, shape: [count]),
    ])
  }

  private static func trainer(
    _ processes: ProcessGroup?, _ optimizer: any Optimizer = Adam(learningRate: 1e-2),
    options: StepOptions = StepOptions(trainingMetrics: true), threads: Int? = nil
  ) throws -> Trainer<Net> {
    try Trainer(
      Net(), optimizer: optimizer, seed: 3, options: options,
      compile: CompileOptions(threads: threads, processes: processes)
    ) { model, batch in
      let logits = model(batch.x)
      batch.report("accuracy", accuracy(logits, batch.labels))
      return crossEntropy(logits, batch.labels)
    }
  }

  private struct Outcome: Equatable {
    var weights: [String: [Double]]
    var losses: [Double]
    var metrics: [Double]
  }

  private static func outcome<M: Module>(_ trainer: Trainer<M>) throws -> Outcome {
    var weights: [String: [Double]] = [:]
    for (path, state) in ModelTree(trainer.model).states {
      weights[path] = try state.value().doubles
    }
    return Outcome(
      weights: weights, losses: trainer.history.map(\.training.loss),
      metrics: trainer.history.flatMap {
        [$0.validation?.loss ?? 0] + ($0.validation?.metrics.map(\.value) ?? [])
      })
  }

  private static func expect(_ a: Outcome, near b: Outcome, _ tolerance: Double) {
    #expect(a.weights.keys == b.weights.keys)
    for (path, values) in a.weights {
      let off = zip(values, b.weights[path] ?? []).map { abs($0 - $1) }.max() ?? .infinity
      #expect(off < tolerance, "\(path) is off by \(off)")
    }
    for (own, other) in [(a.losses, b.losses), (a.metrics, b.metrics)] {
      #expect(own.count == other.count)
      for (x, y) in zip(own, other) { #expect(abs(x - y) < tolerance, "\(x) for \(y)") }
    }
  }

  // MARK: The same as one process

  /// Batches of 10, the last of 3, of which a part of four processes has none.
  @Test(arguments: [1, 2, 3, 4]) func severalTrainAsOneDoesOnTheWholeBatch(size: Int) throws {
    @Sendable func run(_ processes: ProcessGroup?) throws -> Outcome {
      let trainer = try Self.trainer(processes, options: StepOptions(trainingMetrics: true))
      try trainer.fit(
        Self.data(43).batched(10), validation: Self.data(17).batched(5), epochs: 3, callbacks: [])
      return try Self.outcome(trainer)
    }
    let one = try run(nil)
    let all = try ThreadTransport.run(size) { try run($0) }
    for other in all { #expect(other == all[0], "all processes have the same bits") }
    Self.expect(all[0], near: one, 1e-5)
    let again = try ThreadTransport.run(size) { try run($0) }
    #expect(again == all, "and every run has them")
    if size == 1 { #expect(all[0] == one) }
  }

  @Test func labelsThatDoNotCountWeighNothing() throws {
    @Sendable func run(_ processes: ProcessGroup?) throws -> Outcome {
      let trainer = try Self.trainer(processes, SGD(learningRate: 0.1))
      try trainer.fit(
        Self.data(24, ignored: 3).batched(7), validation: Self.data(9, ignored: 2).batched(4),
        epochs: 2,
        callbacks: [])
      return try Self.outcome(trainer)
    }
    let one = try run(nil)
    let all = try ThreadTransport.run(3) { try run($0) }
    // Means over an epoch weigh a batch by its labels there and by its examples here.
    Self.expect(
      Outcome(weights: all[1].weights, losses: [], metrics: all[1].metrics),
      near: Outcome(weights: one.weights, losses: [], metrics: one.metrics), 1e-5)
  }

  @Test func clippingLooksAtTheWholeGradient() throws {
    @Sendable func run(_ processes: ProcessGroup?) throws -> [Double] {
      let trainer = try Self.trainer(
        processes, SGD(learningRate: 1), options: StepOptions(clipNorm: 0.01))
      let source = try Self.data(20).batched(10).forTraining(seed: 1)
      let part = processes.map { source.part($0.rank, of: $0.size) } ?? source
      let iterator = try part.makeIterator(epoch: 0)
      var norms: [Double] = []
      while let batch = try iterator.next() {
        norms.append(try trainer.train(on: batch).gradientNorm!)
      }
      return norms + (try trainer.model.hidden.weight.value().doubles)
    }
    let one = try run(nil)
    for own in try ThreadTransport.run(2, run) {
      for (x, y) in zip(own, one) { #expect(abs(x - y) < 1e-6 * max(1, abs(y))) }
    }
  }

  @Test func batchesThatShareAnUpdateAreThoseOfAll() throws {
    @Sendable func run(_ processes: ProcessGroup?) throws -> Outcome {
      let trainer = try Trainer(
        Net(), optimizer: Adam(learningRate: 1e-2), accumulating: 3, seed: 3,
        compile: CompileOptions(processes: processes)
      ) { model, batch in crossEntropy(model(batch.x), batch.labels) }
      try trainer.fit(Self.data(43, ignored: 4).batched(6), epochs: 2, callbacks: [])
      return Outcome(weights: try Self.outcome(trainer).weights, losses: [], metrics: [])
    }
    let one = try run(nil)
    let all = try ThreadTransport.run(3) { try run($0) }
    #expect(all[0] == all[2])
    Self.expect(all[0], near: one, 1e-5)
  }

  @Test func stepsThatAreNotFiniteAreSkippedByAll() throws {
    let all = try ThreadTransport.run(2) { processes -> [String?] in
      let trainer = try Self.trainer(processes, options: StepOptions(nonFinite: .skip))
      let good = try Self.data(8).batched(8).makeIterator(epoch: 0).next()!
      var bad = good
      if processes.rank == 0 {
        bad.arrays[0] = NDArray([Float](repeating: .nan, count: 48), shape: [8, 6])
      }
      return try [good, bad, bad, good].map { try trainer.train(on: $0).nonFinite?.what }
    }
    for (rank, errors) in all.enumerated() {
      #expect(errors.map { $0 == nil } == [true, false, false, true])
      #expect(errors[1]?.hasPrefix("in process 0: ") == (rank == 1))
    }
  }

  @Test func threadsOfAProcessDoNotChangeBits() throws {
    @Sendable func run(_ processes: ProcessGroup) throws -> Outcome {
      let trainer = try Self.trainer(processes)
      try trainer.fit(Self.data(64).batched(16), epochs: 1, callbacks: [])
      return try Self.outcome(trainer)
    }
    let one = try ThreadTransport.run(2, threads: 1, run)
    #expect(try ThreadTransport.run(2, threads: 2, run) == one)
    #expect(try ThreadTransport.run(2, threads: 3, run) == one)
  }

  // MARK: While backward runs

  private struct Deep: Module {
    let layers = (0..<4).map { _ in Linear(520, 520) }
    func callAsFunction(_ x: Tensor) -> Tensor { layers.reduce(x) { tanh($1($0)) } }
  }

  @Test(arguments: [1, 2]) func sumsBeginBeforeBackwardEndsAndEndBehindIt(threads: Int) throws {
    let plans = try ThreadTransport.run(2, threads: threads) { processes -> [String] in
      let trainer = try Trainer(
        Deep(), optimizer: SGD(learningRate: 0.1), compile: CompileOptions(processes: processes)
      ) { model, batch in square(model(batch.x)).mean() }
      let batch = Batch(["x": NDArray([Float](repeating: 0.5, count: 2 * 520), shape: [2, 520])])
      return try trainer.trainingStep.executable(for: batch).plan.steps.map(\.mnemonic)
    }
    for steps in plans {
      let starts = steps.indices.filter { steps[$0] == "all_reduce_start" }
      let ends = steps.indices.filter { steps[$0] == "all_reduce_end" }
      let products = steps.indices.filter {
        steps[$0].hasPrefix("matmul") || steps[$0].hasPrefix("fused_matmul")
      }
      // A weight a bucket, the biases with them, and the numbers that are reported.
      #expect(starts.count == 6 && ends.count == 6, "\(steps)")
      // Four products forwards, and backwards two a layer but for the first: each weight's is sent before the next.
      try #require(products.count == 11, "\(steps)")
      for (layer, start) in starts.prefix(3).enumerated() {
        #expect(start < products[6 + 2 * layer], "\(steps)")
      }
      #expect(ends.allSatisfy { $0 > products[10] } && ends[0] > starts[3], "\(steps)")
    }
  }

  // MARK: Layers

  private struct Normed: Module {
    let first = Linear(6, 8)
    let norm = BatchNorm(8)
    let drop = Dropout(0.5)
    let last = Linear(8, 4)
    func callAsFunction(_ x: Tensor) -> Tensor { last(drop(norm(first(x)))) }
  }

  @Test func statisticsAreThoseOfAllAndRandomNumbersEachOnes() throws {
    let all = try ThreadTransport.run(2) { processes in
      let model = Normed()
      let trainer = try Trainer(
        model, optimizer: SGD(learningRate: 0), seed: 3,
        compile: CompileOptions(processes: processes)
      ) { model, batch in crossEntropy(model(batch.x), batch.labels) }
      // Both have the same examples.
      let batch = try Self.data(8).batched(8).makeIterator(epoch: 0).next()!
      let dropped = try TrainingStep(seed: 3, compile: CompileOptions(processes: processes)) {
        step, batch in
        step.output("dropped", dropout(batch.x, 0.5))
        step.minimize(
          crossEntropy(model(batch.x), batch.labels), over: model, with: SGD(learningRate: 0))
      }
      let outcome = try dropped.run(batch).arrays["dropped"]!.doubles
      try trainer.train(on: batch)
      return (outcome, try Self.outcome(trainer))
    }
    #expect(all[0].0 != all[1].0, "each drops other elements")
    #expect(all[0].1 == all[1].1)
    let alone = Normed()
    try alone.initialize(seed: 3)
    let batch = try Self.data(8).batched(8).makeIterator(epoch: 0).next()!
    for seed in [3, 3] as [UInt64] {
      let step = try TrainingStep(alone, optimizer: SGD(learningRate: 0), seed: seed) {
        crossEntropy($0($1.x), $1.labels)
      }
      try step.run(batch)
    }
    // Each process has seen the batch twice; so has this one.
    for (path, values) in all[0].1.weights where path.hasPrefix("norm.") {
      let state = ModelTree(alone).states.first { $0.path == path }!.state
      for (x, y) in zip(values, try state.value().doubles) { #expect(abs(x - y) < 1e-6) }
    }
  }

  // MARK: Mistakes

  @Test func whatIsWrongInOneChangesNothingInAny() throws {
    let all = try ThreadTransport.run(2) { processes -> ([ApusError], Bool, Int) in
      let trainer = try Self.trainer(processes)
      let good = try Self.data(8).batched(8).makeIterator(epoch: 0).next()!
      try trainer.train(on: good)
      let before = try Self.outcome(trainer)
      var bad = good, wrong = good, ignored = good
      if processes.rank == 1 {
        bad.arrays[0] = NDArray([Float](repeating: .nan, count: 48), shape: [8, 6])
        wrong.arrays[1] = NDArray([Int32](repeating: 7, count: 8), shape: [8])
      }
      ignored.arrays[1] = NDArray([Int32](repeating: -100, count: 8), shape: [8])
      var errors: [ApusError] = []
      for batch in [bad, wrong] {
        do {
          try trainer.train(on: batch)
        } catch let error as ApusError { errors.append(error) }
      }
      let skipped = try trainer.train(on: ignored)
      let isSame = try Self.outcome(trainer) == before && skipped.wasSkipped
      // One has nothing to learn from, the other goes on.
      let mixed = processes.rank == 0 ? ignored : good
      #expect(try !trainer.train(on: mixed).wasSkipped)
      return (errors, isSame, trainer.step)
    }
    for (rank, (errors, isSame, step)) in all.enumerated() {
      #expect(errors.map(\.kind) == [.nonFinite, .outOfRange])
      #expect(errors.allSatisfy { $0.what.hasPrefix("in process 1: ") == (rank == 0) }, "\(errors)")
      #expect(errors[0].what.contains("'x' holds a NaN in row 0"))
      #expect(errors[1].what.contains("hold 7"))
      #expect(isSame && step == 2)
    }
  }

  @Test func aProcessThatFailsAloneGoesNoFurther() throws {
    #expect {
      _ = try ThreadTransport.run(2) { processes in
        let trainer = try Self.trainer(processes)
        let batch = try Self.data(8).batched(8).makeIterator(epoch: 0).next()!
        if processes.rank == 0 {
          let empty = Batch(["x": NDArray([Float](), shape: [0, 6])])
          #expect(throws: ApusError.self) { try trainer.train(on: empty) }
        }
        try trainer.train(on: batch)
      }
    } throws: {
      ($0 as? ApusError)?.what.hasPrefix("process 0 has failed alone") ?? false
    }
  }

  @Test func runsThatDifferAreRefusedBeforeTheFirstStep() throws {
    for difference in ["weights", "data"] {
      #expect {
        _ = try ThreadTransport.run(2) { processes in
          let trainer = try Self.trainer(processes)
          if difference == "weights", processes.rank == 1 {
            try trainer.model.hidden.bias!.set(
              NDArray([Float](repeating: 1, count: 32), shape: [32]))
          }
          try trainer.fit(
            Self.data(difference == "data" ? 8 + processes.rank : 8).batched(4), epochs: 1,
            callbacks: [])
        }
      } throws: { ($0 as? ApusError)?.what.contains("differ between processes") ?? false }
    }
  }

  @Test func lbfgsIsRefused() throws {
    #expect {
      _ = try ThreadTransport.run(2) { processes in
        _ = try LBFGS(Net(), compile: CompileOptions(processes: processes)) { model, batch in
          square(model(batch.x)).mean()
        }
      }
    } throws: { ($0 as? ApusError)?.kind == .unsupported }
  }

  @Test func updatesOfRowsAreRefused() throws {
    #expect {
      _ = try ThreadTransport.run(2) { processes in
        let table = Embedding(10, 4)
        try table.initialize(seed: 1)
        let step = try TrainingStep(
          table, optimizer: Adam(learningRate: 0.1, lazy: true),
          compile: CompileOptions(processes: processes)
        ) { model, batch in square(model(batch.ids)).mean() }
        try step.run(Batch(["ids": NDArray([1, 2] as [Int32], shape: [2])]))
      }
    } throws: { ($0 as? ApusError)?.kind == .unsupported }
  }

  // MARK: The course of a run

  /// Stops when it hears of a step.
  private struct StopAt: Callback {
    let step: Int
    func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
      if case .stepEnded = event, run.step == step { return .stop("enough") }
      return .goOn
    }
  }

  @Test func oneStopsAllAfterTheSameStep() throws {
    let all = try ThreadTransport.run(3) { processes -> (Int, String?) in
      let trainer = try Self.trainer(processes)
      try trainer.fit(
        Self.data(60).batched(6), epochs: 4,
        callbacks: processes.rank == 1 ? [StopAt(step: 13)] : [])
      return (trainer.step, trainer.stopReason)
    }
    #expect(all.map(\.0) == [14, 14, 14])
    #expect(
      all.map(\.1) == ["another process ended the run", "enough", "another process ended the run"])
  }

  /// Interrupted within an epoch; another number of processes goes on at the same example.
  @Test(arguments: [1, 2, 3]) func anyNumberGoesOnFromTheFirstsCheckpoint(size: Int) throws {
    let path = FileManager.default.temporaryDirectory
      .appending(path: "apus-parallel-\(size)-\(UInt64.random(in: 0...(.max))).safetensors").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    @Sendable func data() throws -> Batches { try Self.data(40).batched(6) }
    let whole = try ThreadTransport.run(2) { processes in
      let trainer = try Self.trainer(processes)
      try trainer.fit(data(), epochs: 3, callbacks: [])
      return try Self.outcome(trainer)
    }
    _ = try ThreadTransport.run(2) { processes in
      let trainer = try Self.trainer(processes)
      try trainer.fit(data(), epochs: 3, callbacks: [StopAt(step: 9)])
      try trainer.saveCheckpoint(path)
    }
    @Sendable func goOn(_ processes: ProcessGroup?) throws -> Outcome {
      let trainer = try Self.trainer(processes)
      try trainer.resume(from: path)
      #expect(trainer.step == 10)
      try trainer.fit(data(), epochs: 2, callbacks: [])
      return try Self.outcome(trainer)
    }
    let resumed = try ThreadTransport.run(size, goOn)
    if size == 2 {
      #expect(resumed[0].weights == whole[0].weights, "two go on to the same bits")
    } else {
      Self.expect(
        Outcome(weights: resumed[0].weights, losses: [], metrics: []),
        near: Outcome(weights: whole[0].weights, losses: [], metrics: []), 1e-4)
    }
  }
}
