// Text from a model: equal to the model on whole rows, told by a seed, and strict with what it is given.

import Apus
import Foundation
import Testing

@testable import ApusTraining

@Suite struct TokenGeneratorTests {
  private func gpt2() throws -> GPT2 { try GPT2(contentsOf: PretrainedCase.path("gpt2")) }

  /// The likeliest continuation, the whole row again for each token.
  private func uncached(_ model: some CausalLanguageModel, _ row: [Int], by count: Int) throws
    -> [Int]
  {
    let run = try Predictor(model) { ($0($1))[-1, axis: 1].argmax(axis: -1) }
    var row = row
    for _ in 0..<count {
      row.append(try run(NDArray(row.map(Int32.init), shape: [1, row.count])).integers[0])
    }
    return row
  }

  @Test func greedyTokens_areThoseOfTransformers() throws {
    for (name, model) in [
      ("gpt2", try gpt2() as any CausalLanguageModel),
      ("llama", try Llama(contentsOf: PretrainedCase.path("llama"))),
    ] {
      func check(_ model: some CausalLanguageModel) throws {
        let expected = try #require(PretrainedCase.named(name).generated)
        let generator = try TokenGenerator(model)
        #expect(try generator.continue([Array(expected[..<18])], by: 16) == [expected])
      }
      try check(model)
    }
  }

  @Test func severalRowsOfAnyLength_giveWhatEachGivesAlone() throws {
    let model = try gpt2()
    let rows = [[5], [3, 9, 27, 1], Array(0..<25)]
    let generator = try TokenGenerator(model)
    var heard: [[Int]] = [[], [], []]
    let found = try generator.continue(rows, by: 7) { heard[$1].append($0) }
    for (place, row) in rows.enumerated() {
      #expect(found[place] == (try uncached(model, row, by: 7)))
      #expect(heard[place] == Array(found[place].dropFirst(row.count)))
    }
    // What a run left in the caches does not count in the next.
    #expect(try generator.continue(rows, by: 7) == found)
    #expect(try generator.continue([[5]], by: 7) == [found[0]])
  }

  @Test func itWritesWithTheNewestWeights_andLeavesTheModelAsItIs() throws {
    let model = try gpt2()
    let generator = try TokenGenerator(model)
    let before = try generator.continue([[1, 2]], by: 5)
    let paths = model.parameters.map(\.path)
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 0.1)) {
      crossEntropy($0($1.tokens), $1.tokens)
    }
    for _ in 0..<3 { try step.run(Batch(["tokens": NDArray(zeros: .i32(2, 5))])) }
    #expect(try generator.continue([[1, 2]], by: 5) == [uncached(model, [1, 2], by: 5)])
    #expect(try generator.continue([[1, 2]], by: 5) != before)
    #expect(model.parameters.map(\.path) == paths && model.parameters[0].parameter.path == paths[0])
  }

  @Test func sampling_isToldByItsSeed() throws {
    let generator = try TokenGenerator(gpt2())
    let sampling = TokenSampling(temperature: 1.5)
    let first = try generator.continue([[1], [1]], by: 20, sampling: sampling, seed: 3)
    #expect(first == (try generator.continue([[1], [1]], by: 20, sampling: sampling, seed: 3)))
    #expect(first != (try generator.continue([[1], [1]], by: 20, sampling: sampling, seed: 4)))
    #expect(first[0] != first[1])
    #expect(first[0] == (try generator.continue([[1]], by: 20, sampling: sampling, seed: 3))[0])
    let end = first[0][5]
    let ended = try generator.continue([[1]], by: 20, sampling: sampling, seed: 3, ends: [end])[0]
    #expect(ended == Array(first[0][...(first[0].dropFirst().firstIndex(of: end)!)]))
  }

  @Test func samplingFollowsTheProbabilities() throws {
    let logits: [Float] = [1, 3, .nan, 2, -.infinity]
    func counts(_ sampling: TokenSampling) throws -> [Double] {
      var counts = [Double](repeating: 0, count: 5)
      for place in 0..<1000 {
        counts[try sampling.token(of: logits[...], (Double(place) + 0.5) / 1000)] += 0.001
      }
      return counts
    }
    func expect(_ found: [Double], _ expected: [Double]) {
      for (a, b) in zip(found, expected) { #expect(abs(a - b) < 0.002, "\(found)") }
    }
    let e = exp(1.0)
    let sum = 1 + e + e * e
    expect(try counts(TokenSampling()), [1 / sum, e * e / sum, 0, e / sum, 0])
    expect(try counts(.greedy), [0, 1, 0, 0, 0])
    expect(try counts(TokenSampling(topK: 1)), [0, 1, 0, 0, 0])
    expect(try counts(TokenSampling(topK: 2)), [0, e / (1 + e), 0, 1 / (1 + e), 0])
    expect(try counts(TokenSampling(topP: 0.6)), [0, 1, 0, 0, 0])
    expect(try counts(TokenSampling(topP: 0.7)), [0, e / (1 + e), 0, 1 / (1 + e), 0])
    expect(try counts(TokenSampling(temperature: 1e-6)), [0, 1, 0, 0, 0])
    let half = (1 + exp(0.5) + e)
    expect(try counts(TokenSampling(temperature: 2)), [1 / half, e / half, 0, exp(0.5) / half, 0])
    for bad in [[Float.nan, -.infinity], []] {
      #expect(throws: ApusError.self) { _ = try TokenSampling.greedy.token(of: bad[...], 0) }
    }
  }

  @Test func mistakes_areTold() throws {
    let model = try gpt2()
    let generator = try TokenGenerator(model, length: 8)
    func error(_ body: () throws -> Void) -> String? {
      #expect(throws: ApusError.self, performing: body)?.description
    }
    #expect(error { _ = try generator.continue([[]], by: 1) }?.contains("no tokens") == true)
    #expect(error { _ = try generator.continue([[1], [48]], by: 1) }?.contains("48") == true)
    #expect(error { _ = try generator.continue([[1]], by: 8) }?.contains("8 at most") == true)
    #expect(error { _ = try generator.continue([[1]], by: .max) }?.contains("8 at most") == true)
    #expect(error { _ = try generator.continue([[1]], by: -1) }?.contains("-1") == true)
    for sampling in [
      TokenSampling(temperature: -1), TokenSampling(temperature: .nan), TokenSampling(topK: 0),
      TokenSampling(topP: 0), TokenSampling(topP: 1.1),
    ] {
      #expect(error { _ = try generator.continue([[1]], by: 1, sampling: sampling) } != nil)
    }
    #expect(error { _ = try TokenGenerator(model, length: 41) }?.contains("40") == true)
    #expect(error { _ = try TokenGenerator(GPT2(.init(layers: 1))) }?.contains("value") == true)
    #expect(try generator.continue([], by: 3).isEmpty)
    #expect(try generator.continue([[4]], by: 0) == [[4]])
  }

  @Test func perplexity_doesNotDependOnTheBatches() throws {
    let model = try gpt2()
    let evaluation = try EvaluationStep(model) { model, batch in
      let loss = crossEntropy(model(batch.tokens), batch.next)
      batch.reportPerplexity(loss)
      return loss
    }
    // Of 6 rows some tokens do not count, of each row as many as its number.
    let ids = PretrainedCase.tokens(1, below: 48, [6, 9])
    let next = NDArray(
      PretrainedCase.tokens(2, below: 48, [6, 9]).integers.enumerated().map { place, token in
        place % 9 < place / 9 ? -100 : Int32(token)
      }, shape: [6, 9])
    let data = try ArrayDataset(["tokens": ids, "next": next])
    let whole = try evaluation.run(over: data.batched(6))
    #expect(abs(whole["perplexity"]! - exp(whole.loss)) < 1e-9 * exp(whole.loss))
    for size in [1, 2, 4] {
      let parts = try evaluation.run(over: data.batched(size))
      #expect(abs(parts["perplexity"]! / whole["perplexity"]! - 1) < 1e-5)
    }
  }
}
