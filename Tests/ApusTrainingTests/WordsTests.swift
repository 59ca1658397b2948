// What users are told of their mistakes: the name, both sides, the line of their own, and what to do.

import Apus
import Foundation
import Synchronization
import Testing

@Suite struct WordsTests {
  private static let here = "ApusTrainingTests/WordsTests.swift:"

  /// The error of a mistake, which must stand at a line of this file.
  private func mistake(
    _ kind: ApusError.Kind, _ words: [String], location: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
  ) {
    let error = #expect(throws: ApusError.self, sourceLocation: location) { try body() }
    guard let error else { return }
    #expect(error.kind == kind, "\(error)", sourceLocation: location)
    for word in words + [Self.here] {
      #expect("\(error)".contains(word), "'\(word)' in \(error)", sourceLocation: location)
    }
  }

  private var x: NDArray { LifeCycle.batch().x! }
  private func labels(_ values: [Int32]) -> NDArray { NDArray(values, shape: [values.count]) }

  @Test func doublesInAPredictorOrAStep_nameTheInputBothTypesAndWhatToDo() throws {
    let model = try TwoLayers.made()
    let doubles = x.cast(to: .f64)
    let predict = try Predictor(model) { model, x in model.a(x) }
    mistake(.dtypeMismatch, ["'argument0' is f64[6,4]", "f32[6,4]", "array.cast(to: .f32)"]) {
      _ = try predict(doubles)
    }
    let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1)) {
      crossEntropy($0.b($0.a($1.x)), $1.y)
    }
    mistake(.dtypeMismatch, ["'x' is f64[6,4]", "f32[6,4]", "array.cast(to: .f32)"]) {
      try step.run(Batch(["x": doubles, "y": LifeCycle.batch().y!]))
    }
    _ = try predict(doubles.cast(to: .f32))
    let error = #expect(throws: ApusError.self) {
      _ = try predict.executable(for: [.f32(6, 4)]).run([doubles])
    }
    #expect("\(error!)".contains("f32[6,4]: array.cast(to: .f32)"))
  }

  @Test func aNameThatTheBatchLacks_standsAtTheClosuresLine() throws {
    let model = try TwoLayers.made()
    let batch = Batch(["xx": x, "y": LifeCycle.batch().y!])
    let words = ["the batch has no 'x'", "one of xx, y"]
    let step = try TrainingStep { step, batch in
      step.minimize(model.b(model.a(batch.x)).sum(), over: model, with: SGD(learningRate: 0.1))
    }
    mistake(.missing, words) { try step.run(batch) }
    let evaluation = try EvaluationStep(model) { crossEntropy($0($1.x), $1.y) }
    mistake(.missing, words) { _ = try evaluation.run(batch) }
    mistake(.missing, ["1 names for 2 arrays"]) {
      try step.run(Batch(names: ["x"], arrays: batch.arrays))
    }
    let two = try Predictor(model) { $0($1) }
    mistake(.invalidArgument, ["2 arrays for a predictor of one"]) { _ = try two(x, x) }
  }

  @Test func whatAStepDoesNotReadOfItsBatches_isSaidOnce() throws {
    let model = try TwoLayers.made()
    let said = Mutex<[String]>([])
    let standard = Warnings.handler
    defer { Warnings.handler = standard }
    // Another test may set the handler between the two lines.
    for _ in 0..<20 where said.withLock({ $0.isEmpty }) {
      Warnings.handler = { text in
        if text.contains("'surplus'") { said.withLock { $0.append(text) } }
      }
      let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1)) {
        crossEntropy($0($1.x), $1.y)
      }
      for rows in [6, 4] {
        let batch = LifeCycle.batch(rows)
        try step.run(Batch(["surplus": x, "x": batch.x!, "y": batch.y!]))
      }
    }
    let text = try #require(said.withLock { $0 }.first)
    #expect(said.withLock { $0 }.count == 1)
    #expect(text.contains("a training step does not read 'surplus'") && text.contains(Self.here))
  }

  @Test func aBadLabel_isOneOfCrossEntropy_withValueRowAndRange() throws {
    struct Wide: Module { let a = Linear(4, 2000) }
    let model = try TwoLayers.made()
    let wide = Wide()
    try wide.initialize(seed: 1)
    let bad = Batch(["x": x, "y": labels([0, 1, 2, 2, 9999, 1])])
    let words = ["crossEntropy: 'y' i32[6] hold 9999 at row 4"]
    let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1)) {
      crossEntropy($0($1.x), $1.y)
    }
    mistake(.outOfRange, words + ["0..<3"]) { try step.run(bad) }
    let large = try TrainingStep(wide, optimizer: SGD(learningRate: 0.1)) {
      crossEntropy($0.a($1.x), $1.y)
    }
    mistake(.outOfRange, words + ["0..<2000"]) { try large.run(bad) }
    let evaluation = try EvaluationStep(model) { crossEntropy($0($1.x), $1.y) }
    mistake(.outOfRange, words + ["0..<3"]) { _ = try evaluation.run(bad) }
    let likelihood = try EvaluationStep(model) { nll(logSoftmax($0($1.x)), $1.y) }
    mistake(.outOfRange, ["a lookup (", "nll", "9999"]) { _ = try likelihood.run(bad) }
  }

  @Test func operatorsOnInputs_standAtTheClosuresLine() throws {
    let operators: [(Tensor, Tensor) -> Tensor] = [
      { $0 + $1 }, { $0 * 2.0 - $1 }, { -$0 / $1 }, { $0 .> $1 }, { ($0 * $0) * $1 },
    ]
    for apply in operators {
      mistake(.shapeMismatch, ["[3,4]", "[5]"]) {
        _ = try compile(.f32(3, 4), .f32(5)) { apply($0, $1) }
      }
    }
    let model = try TwoLayers.made()
    mistake(.shapeMismatch, ["[6,4]", "[3]"]) {
      _ = try Predictor(model) { model, x in x + model.b.bias! }(x)
    }
    // A line that is known is nearer.
    let line = #line + 3
    mistake(.shapeMismatch, ["WordsTests.swift:\(line)"]) {
      _ = try compile(.f32(3, 4), .f32(5)) { x, y in
        tanh(x) + y
      }
    }
  }

  @Test func tiesAndModelsWithoutValues_standAtTheUsersLine() throws {
    struct Pair: Module {
      let a = Linear(4, 3)
      let b: Linear
      init() { b = a }
    }
    let words = ["'a.weight' and 'b.weight' are one parameter"]
    mistake(.invalidArgument, words) { try Pair().initialize() }
    mistake(.invalidArgument, words) { _ = try Pair().copy() }
    mistake(.invalidArgument, words) {
      _ = try Trainer(Pair(), optimizer: SGD(learningRate: 0.1)) { $0.a($1.x).sum() }
    }
    mistake(.invalidArgument, words) { _ = try Predictor(Pair()) { $0.a($1) } }
    mistake(.missing, ["'a.weight' has no value"]) { _ = try Predictor(TwoLayers()) { $0($1) } }
    mistake(.missing, ["'a.weight' has no value"]) {
      _ = try EvaluationStep(TwoLayers(), loss: LifeCycle.loss)
    }
    mistake(.missing, ["has no value"]) {
      let scale = Parameter([4])
      _ = try compile(.f32(2, 4)) { $0 * scale }
    }
  }

  @Test func inputsThatNoArrayCanBe_areErrors() {
    mistake(.invalidArgument, ["'argument0'", "f32[3,-4]", "negative extent"]) {
      _ = try compile(.f32(3, -4)) { $0 }
    }
    mistake(.resource, ["'argument1'", "more elements than memory can hold"]) {
      _ = try compile([.f32(2), .f32(1 << 40, 1 << 40)]) { [$0[0]] }
    }
  }

  @Test func anyOptimizer_isTakenWhereverOneIsTaken() throws {
    let optimizers: [any Optimizer] = [
      SGD(learningRate: 0.1, momentum: 0.9), Adam(), AdamW(weightDecay: 0.1),
    ]
    for optimizer in optimizers {
      let trainer = try Trainer(TwoLayers(), optimizer: optimizer) { model, batch in
        crossEntropy(model(batch.x), batch.y)
      }
      let before = try LifeCycle.values(trainer.model)
      try trainer.train(on: LifeCycle.batch())
      #expect(try LifeCycle.values(trainer.model) != before)
      let model = try TwoLayers.made()
      let own = try TrainingStep { step, batch in
        step.minimize(LifeCycle.loss(model, batch), over: model, with: optimizer, clipNorm: 1)
      }
      try own.run(LifeCycle.batch())
      let step = try TrainingStep(model, optimizer: optimizer, loss: LifeCycle.loss)
      try step.run(LifeCycle.batch())
      #expect(own.count == 1 && step.count == 1)
    }
    for isPlain in [true, false] {
      _ = try Trainer(
        TwoLayers(), optimizer: isPlain ? SGD(learningRate: 0.1) : Adam(), loss: LifeCycle.loss)
    }
  }

  @Test func earlyStopping_knowsBeforeTheFirstStepWhatIsMissing() throws {
    let data = try CheckpointTests.data().batched(2)
    func trainer(_ trainingMetrics: Bool) throws -> Trainer<TwoLayers> {
      try Trainer(
        TwoLayers(), optimizer: SGD(learningRate: 0),
        options: StepOptions(trainingMetrics: trainingMetrics)
      ) { model, batch in
        let logits = model(batch.x)
        batch.report("accuracy", accuracy(logits, batch.y))
        return crossEntropy(logits, batch.y)
      }
    }
    // The loss of training, where there is no validation.
    let plain = try trainer(false)
    #expect(
      try plain.fit(data, epochs: 9, callbacks: [EarlyStopping(on: "loss", patience: 2)])
        .count == 3)
    for (metrics, validation, name, isThere) in [
      (false, nil, "accuracy", false), (true, nil, "accuracy", true),
      (false, data, "accuracy", true), (true, data, "recall", false),
    ] as [(Bool, (any BatchSource)?, String, Bool)] {
      let trainer = try trainer(metrics)
      let stopping = EarlyStopping(on: name, .larger, patience: 1)
      let error: ApusError? =
        switch Result(catching: {
          try trainer.fit(data, validation: validation, epochs: 3, callbacks: [stopping])
        }) {
        case .success: nil
        case .failure(let error): error as? ApusError
        }
      #expect((error == nil) == isThere, "\(error as Any)")
      if let error {
        #expect(trainer.step == 0 && error.kind == .missing)
        #expect("\(error)".contains("'\(name)'") && "\(error)".contains("trainingMetrics: true"))
      }
    }
  }

  @Test func layers_areSendable() async throws {
    struct Network: Module, Sendable {
      let body = Stack(2) { Linear(4, 4) }
      let norm = LayerNorm(4)
      let scale = RMSNorm(4)
      let drop = Dropout(0.1)
      let table = Embedding(3, 4)
      let flat = Flatten()
      let relu = ReLU()
      let gelu = GELU()
    }
    let network = Network()
    try network.initialize(seed: 1)
    let count = await Task.detached { network.parameterCount }.value
    #expect(count == 2 * 20 + 8 + 4 + 12)
  }
}
