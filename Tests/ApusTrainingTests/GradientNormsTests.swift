// How large gradients are: of parameters, and through time. A network of one linear unit has them in closed form.

import Apus
import Foundation
import TestSupport
import Testing

/// One unit without bias: h' = relu(x + u h).
private struct Unit: Module {
  let rnn: RNN

  init(isBidirectional: Bool = false) {
    rnn = RNN(1, 1, nonlinearity: .relu, isBidirectional: isBidirectional, bias: false)
  }

  static func make(_ u: Float, isBidirectional: Bool = false) throws -> Unit {
    let unit = Unit(isBidirectional: isBidirectional)
    try unit.initialize(seed: 0)
    for (path, parameter) in unit.parameters {
      try parameter.set(NDArray([path.contains("weight_ih") ? 1 : u] as [Float], shape: [1, 1]))
    }
    return unit
  }
}

private struct Reader: Module {
  let words = Embedding(9, 4)
  let lstm = LSTM(4, 6, layers: 2, isBidirectional: true, dropout: 0.3)
  let gru = GRU(12, 5)
  let norm = BatchNorm(5)
  let head = Linear(5, 3)

  func callAsFunction(_ ids: Tensor, _ lengths: Tensor? = nil) -> Tensor {
    head(norm(gru(lstm(words(ids), lengths: lengths).outputs, lengths: lengths).state[0, axis: 0]))
  }
}

@Suite struct GradientNormsTests {
  private func ones(_ rows: Int, _ steps: Int) -> NDArray {
    NDArray([Float](repeating: 1, count: rows * steps), shape: [rows, steps, 1])
  }

  private func expectClose(
    _ a: [Double], _ b: [Double], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(a.count == b.count, sourceLocation: sourceLocation)
    for (x, y) in zip(a, b) {
      #expect(abs(x - y) <= 1e-5 * max(1, abs(y)), "\(a), not \(b)", sourceLocation: sourceLocation)
    }
  }

  private func readers(_ model: Reader) throws -> (GradientNorms<Reader>, Batch) {
    let batch = Batch([
      "ids": NDArray((0..<24).map { Int32($0 * 5 % 9) }, shape: [4, 6]),
      "lengths": NDArray([6, 2, 5, 3] as [Int32], shape: [4]),
      "labels": NDArray([0, 2, 1, 0] as [Int32], shape: [4]),
    ])
    return (try GradientNorms(model, seed: 3) { try Self.loss($0, $1) }, batch)
  }

  private static func loss(_ model: Reader, _ batch: SymbolicBatch) throws -> Tensor {
    crossEntropy(model(batch.ids, batch.lengths), batch.labels)
  }

  // MARK: Through time

  @Test(arguments: [Float(0.5), 2])
  func whatComesBackFromTheLastStep_fallsOrGrowsByTheWeightOfTheState(u: Float) throws {
    let unit = try Unit.make(u)
    let powers = (0..<6).reversed().map { pow(Double(u), Double($0)) }
    let last = try GradientNorms(unit) { $0.rnn($1.x).outputs[-1, axis: 1].sum() }
    let report = try last.measure(Batch(["x": ones(1, 6)]))
    #expect(report.steps.map(\.name) == ["rnn.l0"])
    expectClose(report.steps[0].ofLoss, powers)
    expectClose(report.steps[0].fromLast, powers)
    let state = try GradientNorms(unit) { $0.rnn($1.x).state.sum() }
    #expect(try state.measure(Batch(["x": ones(1, 6)])).steps == report.steps)

    // Of a loss at each step all later ones come back, and what the last says is told apart.
    let all = try GradientNorms(unit) { $0.rnn($1.x).outputs.sum() }
    let steps = try all.measure(Batch(["x": ones(1, 6)])).steps(of: "rnn.l0")
    expectClose(steps.ofLoss, powers.indices.map { powers[$0...].reduce(0, +) })
    expectClose(steps.fromLast, powers)
    // Over the rows of a batch it is a norm.
    let rows = try all.measure(Batch(["x": ones(4, 6)])).steps(of: "rnn.l0")
    expectClose(rows.fromLast, powers.map { 2 * $0 })
  }

  @Test func sequencesOfTheirOwnLengths_haveTheirOwnLastSteps() throws {
    let unit = try Unit.make(0.5)
    let gradients = try GradientNorms(unit) {
      $0.rnn($1.x, lengths: $1.lengths).outputs.sum()
    }
    let report = try gradients.measure(
      Batch(["x": ones(2, 5), "lengths": NDArray([2, 4] as [Int32], shape: [2])]))
    let (short, long) = ([0.5, 1, 0, 0, 0], [0.125, 0.25, 0.5, 1, 0])
    expectClose(
      report.steps[0].fromLast, zip(short, long).map { ($0 * $0 + $1 * $1).squareRoot() })
  }

  @Test func backwardDirections_endAtTheFirstStep() throws {
    let unit = try Unit.make(0.5, isBidirectional: true)
    let gradients = try GradientNorms(unit) { $0.rnn($1.x).outputs.sum() }
    let report = try gradients.measure(Batch(["x": ones(1, 4)]))
    #expect(report.steps.map(\.name) == ["rnn.l0", "rnn.l0_reverse"])
    expectClose(report.steps[0].fromLast, [0.125, 0.25, 0.5, 1])
    expectClose(report.steps[1].fromLast, [1, 0.5, 0.25, 0.125])
  }

  @Test func aModuleThatIsAppliedAgain_hasANumber() throws {
    let unit = try Unit.make(0.5)
    let gradients = try GradientNorms(unit) {
      let (_, state) = $0.rnn($1.x)
      return $0.rnn($1.x, initial: state).state.sum()
    }
    let report = try gradients.measure(Batch(["x": ones(1, 2)]))
    #expect(report.steps.map(\.name) == ["rnn.l0", "rnn.l0 (2)"])
    expectClose(report.steps.flatMap(\.ofLoss), [0.125, 0.25, 0.5, 1])
  }

  @Test func allRecurrentLayersAreMeasured() throws {
    let model = Reader()
    try model.initialize(seed: 1)
    let (gradients, batch) = try readers(model)
    let report = try gradients.measure(batch)
    #expect(
      report.steps.map(\.name) == [
        "lstm.l0", "lstm.l0_reverse", "lstm.l1", "lstm.l1_reverse", "gru.l0",
      ])
    for steps in report.steps {
      #expect(steps.ofLoss.count == 6 && steps.ofLoss.allSatisfy { $0 > 0 && $0.isFinite })
    }
    // The loss reads the last state alone.
    let last = try report.steps(of: "gru.l0")
    #expect(last.ofLoss == last.fromLast)
  }

  // MARK: Parameters

  @Test func normsAreThoseOfTheStepsGradients() throws {
    let model = Reader()
    try model.initialize(seed: 1)
    let (gradients, batch) = try readers(model)
    let report = try gradients.measure(batch)
    #expect(report.parameters.map(\.path) == model.parameters.map(\.path))
    let step = try TrainingStep(seed: 3) { step, batch in
      let learnt = step.minimize(
        try Self.loss(model, batch), over: model, with: SGD(learningRate: 0))
      step.report("joint", learnt.gradientNorm)
      for (path, gradient) in learnt.gradients { step.report(path, gradient.norm()) }
    }
    let result = try step.run(batch)
    #expect(abs(report.loss - result.loss) < 1e-6)
    expectClose(report.parameters.map(\.norm), report.parameters.map { result[$0.path] ?? .nan })
    #expect(abs(report.joint / result["joint"]! - 1) < 1e-5)
    #expect(report["head.weight"] == report.parameters.first { $0.path == "head.weight" }?.norm)
    #expect(report["head.wait"] == nil)
  }

  @Test func measuringChangesNothing_andGivesTheSameAgain() throws {
    let model = Reader()
    try model.initialize(seed: 1)
    let (gradients, batch) = try readers(model)
    func buffers() throws -> [NDArray] { try model.buffers.map { try $0.buffer.value() } }
    func weights() throws -> [NDArray] { try model.parameters.map { try $0.parameter.value() } }
    let before = (try buffers(), try weights())
    let first = try gradients.measure(batch), second = try gradients.measure(batch)
    #expect(first.parameters.map(\.norm) == second.parameters.map(\.norm))
    #expect(first.steps == second.steps)
    #expect(try buffers() == before.0 && weights() == before.1 && !before.0.isEmpty)
    try model.freeze("head.*")
    let frozen = try gradients.measure(batch)
    #expect(frozen["head.weight"] == nil && frozen["gru.weight_hh_l0"] == first["gru.weight_hh_l0"])
  }

  @Test func aLogMeasuresEverLessOften() throws {
    let unit = try Unit.make(0.5)
    let x = NDArray((0..<120).map { Float($0 % 7) }, shape: [40, 3, 1])
    let trainer = try Trainer(unit, optimizer: SGD(learningRate: 1e-5)) {
      square($0.rnn($1.x).outputs).mean()
    }
    let gradients = try GradientNorms(trainer.model) { square($0.rnn($1.x).outputs).mean() }
    var heard: [Int] = []
    let log = GradientLog(gradients, on: Batch(["x": x])) { step, _ in heard.append(step) }
    try trainer.fit(ArrayDataset(["x": x]).batched(2), epochs: 2, callbacks: [log])
    #expect(log.history.map(\.step) == [0, 1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 24, 30, 38, 40])
    #expect(heard == log.history.map(\.step))
    #expect(log.history.first!.report.joint > log.history.last!.report.joint)
  }

  // MARK: Mistakes

  @Test func mistakesAreToldWithWhatIsExpected() throws {
    func error(_ body: () throws -> Void) -> ApusError? {
      #expect(throws: ApusError.self, performing: body)
    }
    let unit = try Unit.make(0.5), other = try Unit.make(0.5)
    let batch = Batch(["x": ones(1, 2)])
    let report = try GradientNorms(unit) { $0.rnn($1.x).outputs.sum() }.measure(batch)
    let unknown = error { _ = try report.steps(of: "rnn.l1") }
    #expect(unknown?.kind == .missing && unknown?.expected == "one of rnn.l0")
    let plain = Linear(2, 3)
    let blank = error { _ = try GradientNorms(plain) { $0($1.x).sum() } }
    #expect(blank?.kind == .missing && blank?.location?.contains("GradientNormsTests") == true)
    try plain.initialize(seed: 0)
    let flat = try GradientNorms(plain) { $0($1.x).sum() }.measure(
      Batch(["x": NDArray([1, 2] as [Float], shape: [1, 2])]))
    #expect(flat.steps.isEmpty && flat.parameters.count == 2)
    let none = error { _ = try flat.steps(of: "rnn.l0") }
    #expect(none?.expected?.contains("an RNN, a GRU or an LSTM") == true)
    let copy = error {
      _ = try GradientNorms(unit) {
        other.rnn($1.x).outputs.sum() + 0 * $0.rnn($1.x).outputs.stopGradient().sum()
      }
      .measure(batch)
    }
    #expect(copy?.kind == .invalidArgument && copy?.what.contains("reaches") == true)
    let several = error { _ = try GradientNorms(unit) { $0.rnn($1.x).outputs }.measure(batch) }
    #expect(several?.kind == .shapeMismatch && several?.what.contains("f32[1,2,1]") == true)
    let empty = error {
      _ = try GradientNorms(unit) { $0.rnn($1.x).outputs.sum() }.measure(
        Batch(["x": NDArray(zeros: .f32(0, 2, 1))]))
    }
    #expect(empty?.kind == .shapeMismatch)
    let field = error { _ = try GradientNorms(unit) { $0.rnn($1.y).outputs.sum() }.measure(batch) }
    #expect(field?.what.contains("'y'") == true)
  }
}
