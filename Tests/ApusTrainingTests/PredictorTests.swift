// A trained model in use: values, shapes, mistakes.

import Apus
import Foundation
import Testing

@Suite struct PredictorTests {
  static func trained() throws -> Trainer<RingClassifier> {
    let trainer = try TrainerTests.trainer()
    try trainer.fit(
      RingClassifier.data(96).batched(32), epochs: 30, callbacks: [])
    return trainer
  }

  static func points(_ count: Int) -> NDArray {
    NDArray((0..<2 * count).map { Float($0 % 7) / 4 - 0.8 }, shape: [count, 2])
  }

  @Test func itPredictsWhatTheModelComputes_forEveryBatchSize() throws {
    let trainer = try Self.trained()
    let logits = try Predictor(trainer.model) { $0($1) }
    let all = try logits(Self.points(40)).floats
    for count in [2, 7, 40, 2] {
      let some = try logits(Self.points(count))
      #expect(some.shape == [count, 3])
      // A product's element has the same bits whatever the number of rows, from two on.
      #expect(some.floats == Array(all.prefix(count * 3)))
    }
    let one = try logits(Self.points(1)).floats
    for (got, among) in zip(one, all) { #expect(abs(got - among) < 1e-5) }
  }

  @Test func itSeesTheNewestWeights_andDropsNothing() throws {
    let trainer = try Self.trained()
    let logits = try Predictor(trainer.model) { $0($1) }
    let before = try logits(Self.points(5))
    #expect(try logits(Self.points(5)) == before)
    try trainer.model.output.bias?.set(NDArray([100, 0, 0], shape: [3]))
    let after = try logits(Self.points(5)).floats
    #expect(after[0] > before.floats[0] + 50)
    _ = try trainer.fit(RingClassifier.data(96).batched(32), epochs: 1, callbacks: [])
    #expect(try logits(Self.points(5)).floats != after)
  }

  @Test func severalArgumentsAndResults() throws {
    let trainer = try Self.trained()
    let both = try Predictor(trainer.model) { model, x in
      let logits = model(x[0] + x[1])
      return [logits.argmax(axis: -1), softmax(logits, axis: -1)]
    }
    let results = try both.run([Self.points(4), NDArray(zeros: .f32(4, 2))])
    #expect(results.map(\.shape) == [[4], [4, 3]])
    #expect(throws: ApusError.self) { _ = try both(Self.points(4), Self.points(4)) as NDArray }
  }

  @Test func moreShapesThanAreKept() throws {
    let trainer = try Self.trained()
    let logits = try Predictor(trainer.model) { $0($1) }
    let first = try logits(Self.points(3))
    for count in 1...20 { _ = try logits(Self.points(count)) }
    #expect(try logits(Self.points(3)) == first)
    // Kept: the same object for the same types.
    #expect(
      try logits.executable(for: [.f32(3, 2)]) === logits.executable(for: [.f32(3, 2)]))
  }

  @Test func mistakes() throws {
    let model = RingClassifier()
    #expect(throws: ApusError.self) { _ = try Predictor(model) { $0($1) } }
    let trainer = try Self.trained()
    let logits = try Predictor(trainer.model) { $0($1) }
    let error = #expect(throws: ApusError.self) { _ = try logits(NDArray(zeros: .f32(4, 3))) }
    #expect(error?.kind == .shapeMismatch && "\(error!)".contains("hidden"))
    let two = #expect(throws: ApusError.self) {
      _ = try logits(Self.points(1), Self.points(1)) as NDArray
    }
    #expect(two?.kind == .invalidArgument)
  }

  /// Tensors do not travel between closures: the mistake is thrown, not computed with.
  @Test func tensorsFromElsewhereAreMistakes() throws {
    let trainer = try Self.trained()
    let outside = trainer.model.hidden.weight.tensor
    for use: (RingClassifier, Tensor) throws -> Tensor in [
      { _, _ in outside }, { _, x in x.matmul(outside.transposed()) }, { _, _ in outside + 1 },
    ] {
      let predict = try Predictor(trainer.model, function: use)
      let error = #expect(throws: ApusError.self) { _ = try predict(Self.points(1)) }
      #expect("\(error!)".contains("outside of a recorded closure"))
    }
    var kept: Tensor?
    _ = try compile(.f32(2)) { x in
      kept = x
      return x
    }
    let foreign = try #require(kept)
    let error = #expect(throws: ApusError.self) {
      _ = try TrainingStep(trainer.model, optimizer: SGD(learningRate: 0.1)) { _, _ in
        (foreign * foreign).sum()
      }.graph(for: [BatchField("points", .f32(4, 2))])
    }
    #expect("\(error!)".contains("another trace"))
  }
}
