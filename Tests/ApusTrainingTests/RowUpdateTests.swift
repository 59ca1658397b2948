// Updates of the rows that a batch has looked up: the bits of a whole update, PyTorch's lazy Adam, and a step
// that does not grow with the table.

import Apus
import ApusOps
import ApusRuntime
import TestSupport
import Testing

@Suite struct RowUpdateTests {
  private struct Words: Module {
    let scope = Scope()
    let table: Embedding
    let output = Linear(3, 2)

    init(_ count: Int) { table = Embedding(count, 3) }
  }

  /// A rule that is told to update all of every table.
  private struct Whole<Base: Optimizer>: Optimizer {
    let base: Base
    var rowUpdates: RowUpdates { .never }
    func update(_ p: Tensor, _ g: Tensor, _ state: inout UpdateState) -> Tensor {
      base.update(p, g, &state)
    }
  }

  private static func ids(_ step: Int, _ count: Int, of rows: Int) -> NDArray {
    var numbers = SplitMix(seed: UInt64(step + 1))
    // Of few rows, so that some meet.
    return NDArray(
      (0..<count).map { _ in Int32.random(in: 0..<Int32(rows / 8), using: &numbers) * 8 + 5 },
      shape: [count])
  }

  /// The parameters after some steps in which rows meet; every third batch has another size.
  private func train(
    _ optimizer: some Optimizer, clipNorm: Double? = nil, lookups: Int = 1, rows: Int = 96
  ) throws -> [[Float]] {
    let model = Words(rows)
    let trainer = try Trainer(
      model, optimizer: optimizer, seed: 4, options: StepOptions(clipNorm: clipNorm)
    ) { model, batch in
      var h = model.table(batch.first)
      if lookups > 1 { h = h * model.table(batch.second) }
      return mse(tanh(model.output(h)), 0.25)
    }
    for step in 0..<12 {
      let count = step % 3 == 2 ? 5 : 11
      try trainer.train(
        on: Batch([
          "first": Self.ids(step, count, of: rows), "second": Self.ids(step + 50, count, of: rows),
        ]))
    }
    return try [model.table.weight, model.output.weight].map { try $0.value().floats }
  }

  @Test(arguments: [1, 2], [nil, 0.01] as [Double?])
  func exactRules_byRows_giveTheBitsOfWholeUpdates(lookups: Int, clipNorm: Double?) throws {
    func check(_ optimizer: some Optimizer) throws {
      #expect(optimizer.rowUpdates == .exact)
      let rows = try train(optimizer, lookups: lookups)
      let whole = try train(Whole(base: optimizer), lookups: lookups)
      #expect(rows == whole, "\(optimizer.rule)")
      guard let clipNorm else { return }
      // The joint norm is added up in another order.
      let clipped = try train(optimizer, clipNorm: clipNorm, lookups: lookups)
      let wholeClipped = try train(Whole(base: optimizer), clipNorm: clipNorm, lookups: lookups)
      #expect(clipped != rows)
      for (a, b) in zip(clipped.joined(), wholeClipped.joined()) { #expect(abs(a - b) < 1e-6) }
    }
    try check(SGD(learningRate: 0.5))
    try check(SGD(learningRate: .linear(from: 0.5, to: 0.1, steps: 12)).decayingMatricesOnly())
    try check(Adagrad(learningRate: 0.3, rateDecay: 0.1))
    try check(Adagrad(learningRate: 0.3, initialAccumulator: 0.2))
  }

  @Test func rulesThatMoveEveryRow_areNotByRows() {
    let rules: [any Optimizer] = [
      SGD(learningRate: 0.1, momentum: 0.9), SGD(learningRate: 0.1, weightDecay: 0.1), Adam(),
      AdamW(), RMSProp(), Lion(), Adagrad(weightDecay: 0.1), Adagrad(epsilon: 0),
    ]
    for rule in rules { #expect(rule.rowUpdates == .never, "\(rule.rule)") }
    #expect(Adam(lazy: true).rowUpdates == .always)
  }

  @Test func lazyAdam_isPyTorchsSparseAdam() throws {
    let table = Embedding(6, 2)
    try table.weight.set(NDArray((0..<12).map { Float($0) / 8 - 0.5 }, shape: [6, 2]))
    let target = NDArray([1, -0.5] as [Float], shape: [1, 2])
    let trainer = try Trainer(table, optimizer: Adam(learningRate: 0.1, lazy: true)) {
      table, batch in
      let error = table(batch.ids) - .constant(target)
      return (error * error).mean()
    }
    for ids in [[0, 3, 3], [3, 5, 3], [0, 1, 5], [2, 2, 2]] as [[Int32]] {
      try trainer.train(on: Batch(["ids": NDArray(ids, shape: [3])]))
    }
    // torch 2.13.0: SparseAdam(lr=0.1) on Embedding(6, 2, sparse=True).
    let expected: [Float] = [
      -0.314359069, -0.543937087, -0.186118692, -0.188881189, 0.058112815, 0.0668871850,
      0.449374318, 0.175498635, 0.5, 0.625, 0.908205390, 0.714897752,
    ]
    for (a, b) in zip(try table.weight.value().floats, expected) { #expect(abs(a - b) < 1e-6) }
  }

  @Test func anIndexBeyondTheTable_changesNothing() throws {
    let model = Words(96)
    let trainer = try Trainer(model, optimizer: SGD(learningRate: 0.5), seed: 4) { model, batch in
      mse(model.output(model.table(batch.ids)), 1)
    }
    let before = try model.table.weight.value()
    #expect(throws: ApusError.self) {
      try trainer.train(on: Batch(["ids": NDArray([3, 96, 4] as [Int32], shape: [3])]))
    }
    #expect(try model.table.weight.value() == before)
    #expect(trainer.step == 0)
  }

  @Test func stepOverALargeTable_hasNoArrayOfItsSize() throws {
    func plan(_ optimizer: some Optimizer, clipNorm: Double? = nil) throws -> Plan {
      let trainer = try Trainer(
        Words(40_000), optimizer: optimizer, options: StepOptions(clipNorm: clipNorm)
      ) { model, batch in mse(model.output(model.table(batch.ids)), 1) }
      let batch = Batch(["ids": Self.ids(1, 32, of: 40_000)])
      return try trainer.trainingStep.executable(for: batch).plan
    }
    let bytes = 40_000 * 3 * 4
    for clipNorm in [nil, 1.0] as [Double?] {
      #expect(try plan(SGD(learningRate: 1), clipNorm: clipNorm).memory.arena < bytes / 10)
      #expect(try plan(Adagrad(), clipNorm: clipNorm).memory.arena < bytes / 10)
      #expect(try plan(Adam(lazy: true), clipNorm: clipNorm).memory.arena < bytes / 10)
    }
    #expect(try plan(Adam()).memory.arena >= bytes)
  }

  @Test func stepOfFewRows_costsLessThanAHundredthOfAWholeUpdate() throws {
    func seconds(_ optimizer: some Optimizer, steps: Int) throws -> Double {
      let table = Embedding(250_000, 64, initializer: .zeros)
      let trainer = try Trainer(table, optimizer: optimizer) { table, batch in
        let y = table(batch.ids) - 1
        return (y * y).mean()
      }
      let batch = Batch(["ids": Self.ids(1, 32, of: 250_000)])
      try trainer.train(on: batch)
      let times = try (0..<steps).map { _ in
        let start = ContinuousClock.now
        try trainer.train(on: batch)
        return (ContinuousClock.now - start) / .seconds(1)
      }
      return times.min()!
    }
    // Thousands of times on a machine that does nothing else.
    let (rows, whole) = try (
      seconds(SGD(learningRate: 1), steps: 30), seconds(Whole(base: SGD(learningRate: 1)), steps: 3)
    )
    #expect(rows < whole / 100, "\(rows) s by rows, \(whole) s as a whole")
  }
}
