// A hundred steps of a small GPT-2 and a small BERT from the same files, beside PyTorch's
// (Tests/reference/transformer_vectors.py).

import Apus
import Foundation
import Testing

@Suite struct TransformerCurveTests {
  /// `[8, 4, 21]` tokens, of which most follow the one before.
  private static let stream: [[[Int32]]] = {
    func tokens(_ seed: UInt64, _ limit: Int, _ shape: Shape) -> [Int] {
      PretrainedCase.tokens(seed, below: limit, shape).integers
    }
    let drawn = tokens(11, 48, [8, 4, 21])
    var rows = (0..<32).map { row in (0..<21).map { Int32(drawn[row * 21 + $0]) } }
    for at in 1...20 {
      let follows = tokens(UInt64(20 + at), 4, [8, 4])
      for row in 0..<32 where follows[row] > 0 { rows[row][at] = (rows[row][at - 1] + 1) % 48 }
    }
    return (0..<8).map { Array(rows[4 * $0..<4 * $0 + 4]) }
  }()

  private func array(_ rows: [ArraySlice<Int32>]) -> NDArray {
    NDArray(rows.flatMap { $0 }, shape: [rows.count, rows[0].count])
  }

  private func expectClose(_ curve: [Double], _ expected: [Double]) {
    #expect(curve.count == 100 && expected.count == 100)
    let distance = zip(curve, expected).map { abs($0 - $1) }.max() ?? .nan
    #expect(distance < 1e-4, "greatest distance \(distance)")
    #expect(abs(curve[99] - curve[0]) > 0.1)
  }

  @Test func gpt2_followsPyTorch() throws {
    let model = try GPT2(contentsOf: PretrainedCase.path("gpt2"))
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 2e-3)) { model, batch in
      crossEntropy(model(batch.tokens), batch.next)
    }
    let losses = try (0..<100).map { number in
      let rows = Self.stream[number % 8]
      return try step.run(
        Batch([
          "tokens": array(rows.map { $0[..<20] }), "next": array(rows.map { $0[1...] }),
        ])
      ).loss
    }
    expectClose(losses, try #require(PretrainedCase.named("gpt2").curve))
  }

  @Test func bert_followsPyTorch() throws {
    let model = try BERT(contentsOf: PretrainedCase.path("bert"))
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 2e-3)) { model, batch in
      crossEntropy(model.tokenLogits(model(batch.tokens)), batch.labels)
    }
    let losses = try (0..<100).map { number in
      // Token 0 is padding to `transformers`, which does not learn its vector.
      let rows = Self.stream[number % 8].map { $0[..<20].map { max($0, 1) } }
      let drawn = PretrainedCase.tokens(UInt64(60 + number), below: 5, [4, 20]).integers
      let ids = rows.flatMap { $0 }
      let hidden = zip(ids, drawn).map { $1 == 0 ? 3 : $0 }
      let labels = zip(ids, drawn).map { $1 == 0 ? $0 : -100 }
      return try step.run(
        Batch([
          "tokens": NDArray(hidden, shape: [4, 20]), "labels": NDArray(labels, shape: [4, 20]),
        ])
      ).loss
    }
    expectClose(losses, try #require(PretrainedCase.named("bert").curve))
  }

  /// Less than a second where the library is built for release; here it is not, and the machine may be busy. What
  /// compiles takes processor time of this thread alone.
  @Test func aGPTOfTwelveBlocks_compilesInLittleTime() throws {
    let model = GPT2(.init(vocabulary: 96, length: 64, width: 48, layers: 12, heads: 4))
    try model.initialize()
    let step = try TrainingStep(model, optimizer: AdamW()) { model, batch in
      crossEntropy(model(batch.tokens), batch.next)
    }
    let ids = NDArray(zeros: .i32(2, 64))
    func seconds() -> Double { Double(threadNanoseconds()) / 1e9 }
    let start = seconds()
    _ = try step.executable(for: Batch(["tokens": ids, "next": ids]))
    let taken = seconds() - start
    #expect(taken > 0 && taken < 30, "\(taken) s")
  }

  private func threadNanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}
