// What searches and samplers choose, beside Hugging Face's: Tests/reference/generation.py has made the file.

import Apus
import Foundation
import TestSupport
import Testing

@testable import ApusTraining

private struct GenerationFile: Decodable {
  struct Search: Decodable {
    var prompt: [Int], width: Int, penalty: Double, stopping: String, ends: [Int]
    var rows: [[Int]], scores: [Double]

    var beams: BeamSearch {
      let stoppings: [String: BeamSearch.Stopping] = ["True": .whenFull, "False": .byScore]
      return BeamSearch(
        width: width, lengthPenalty: penalty, stopping: stoppings[stopping] ?? .never)
    }
  }
  struct Repetition: Decodable {
    var prompt: [Int], penalty: Double, row: [Int]
  }
  struct Model: Decodable {
    var searches: [Search], repetitions: [Repetition]
  }
  struct Filter: Decodable {
    var temperature: Double, k: Int?, p: Double?, least: Double?, probabilities: [Double]
  }
  struct Filters: Decodable {
    var logits: [Float], cases: [Filter]
  }
  var gpt2: Model, llama: Model, filters: Filters

  static func read() throws -> GenerationFile {
    let url = URL(fileURLWithPath: PretrainedCase.path("generation.json"))
    return try JSONDecoder().decode(GenerationFile.self, from: Data(contentsOf: url))
  }
}

@Suite struct GenerationTests {
  private func check(
    _ model: some CausalLanguageModel, _ expected: GenerationFile.Model
  ) throws {
    let generator = try TokenGenerator(model)
    var differing = 0
    for (place, search) in expected.searches.enumerated() {
      let found = try generator.search(
        search.prompt, by: 12, beams: search.beams, ends: Set(search.ends))
      #expect(found.count == search.rows.count, "search \(place)")
      for (rank, (hypothesis, row)) in zip(found, search.rows).enumerated() {
        let score = search.scores.isEmpty ? hypothesis.score : search.scores[rank]
        #expect(
          abs(hypothesis.score - score) < 1e-5 * max(1, abs(score)), "search \(place), \(rank)")
        // Of two rows whose logarithms are 2e-6 apart transformers keeps the worse: it adds them up as f32.
        #expect(
          hypothesis.tokens == row || rank == search.width - 1 && search.width > 1,
          "search \(place), \(rank)")
        differing += hypothesis.tokens == row ? 0 : 1
      }
    }
    for repetition in expected.repetitions {
      let sampling = TokenSampling(temperature: 0, repetitionPenalty: repetition.penalty)
      let found = try generator.continue([repetition.prompt], by: 20, sampling: sampling)[0]
      #expect(found == repetition.row, "penalty \(repetition.penalty)")
    }
    #expect(differing <= 1)
  }

  @Test func searchesAndPenalties_areThoseOfTransformers() throws {
    let file = try GenerationFile.read()
    #expect(file.gpt2.searches.count == 72)
    try check(GPT2(contentsOf: PretrainedCase.path("gpt2")), file.gpt2)
    try check(Llama(contentsOf: PretrainedCase.path("llama")), file.llama)
  }

  @Test func filteredProbabilities_areThoseOfTransformers() throws {
    let filters = try GenerationFile.read().filters
    for (place, filter) in filters.cases.enumerated() {
      let sampling = TokenSampling(
        temperature: filter.temperature, topK: filter.k, topP: filter.p, minP: filter.least)
      let count = 4000
      var found = [Double](repeating: 0, count: filters.logits.count)
      for draw in 0..<count {
        let token = try sampling.token(
          of: filters.logits[...], (Double(draw) + 0.5) / Double(count))
        found[token] += 1 / Double(count)
      }
      for (token, (a, b)) in zip(found, filter.probabilities).enumerated() {
        #expect(abs(a - b) < 1.01 / Double(count), "case \(place), token \(token): \(a), not \(b)")
      }
    }
  }

  @Test func largeVocabularies_giveTheSameTokensAsSortingThem() throws {
    var random = SplitMix(seed: 4)
    let logits = (0..<5000).map { _ in Float(random.next() >> 40) / 0x1p24 * 8 }
    let order = logits.indices.sorted { logits[$0] > logits[$1] }
    for k in [1, 2, 63, 64, 65, 600, 4999, 5000, 6000] {
      let places = logits.withUnsafeBufferPointer { placesOfLargest(k, of: $0) }
      #expect(places == order.prefix(k).sorted())
    }
    // Every tail of a nucleus, beyond the first few that are looked at.
    let weights = logits.map { exp(Double($0)) }
    let total = weights.reduce(0, +)
    for topP in [0.01, 0.2, 0.5, 0.9, 0.999] {
      var sum = 0.0
      let end = try #require(
        order.firstIndex {
          sum += weights[$0]; return sum >= topP * total
        })
      let kept = Set(order[...end])
      let sampling = TokenSampling(topP: topP)
      let drawn = try (0..<200).map { try sampling.token(of: logits[...], Double($0) / 200) }
      #expect(Set(drawn).isSubset(of: kept))
      #expect(try sampling.token(of: logits[...], 0) == kept.min())
      #expect(try sampling.token(of: logits[...], 0.999_999_9) == kept.max())
    }
    let equal = [Float](repeating: 1, count: 9) + [.nan, 2]
    #expect(equal.withUnsafeBufferPointer { placesOfLargest(3, of: $0) } == [0, 1, 10])
  }

  @Test func aSearchOfWidthOne_isGreedy_andReachesTheWholeContext() throws {
    let model = try GPT2(contentsOf: PretrainedCase.path("gpt2"))
    let generator = try TokenGenerator(model)
    for start in [[7], Array(0..<17), Array(0..<33)] {
      let count = generator.length - start.count
      let greedy = try generator.continue([start], by: count)[0]
      let found = try generator.search(start, by: count, beams: BeamSearch(width: 1))
      #expect(found.map(\.tokens) == [Array(greedy[start.count...])])
    }
    #expect(try generator.search([1], by: 0).map(\.tokens) == [[]])
  }

  /// The likeliest of all rows of three tokens, which a search of enough rows must find.
  @Test func aSearchOfEveryRow_findsTheLikeliestOfAll() throws {
    // Each token's scores depend on the two before.
    func logits(_ row: [Int]) -> [Float] {
      let seed = row.suffix(2).reduce(7) { $0 * 31 + $1 }
      var random = SplitMix(seed: UInt64(seed))
      return (0..<4).map { _ in Float(random.next() >> 40) / 0x1p24 * 3 }
    }
    func logarithm(_ row: [Int]) -> Double {
      (1..<row.count).reduce(0) { sum, place in
        let scores = logits(Array(row[..<place])).map(Double.init)
        return sum + scores[row[place]] - log(scores.reduce(0) { $0 + exp($1) })
      }
    }
    let all = (0..<64).map { [2, $0 / 16, $0 / 4 % 4, $0 % 4] }
    let best = try #require(all.max { logarithm($0) < logarithm($1) })
    var rows = [[Int]](repeating: [], count: 32)
    let found = try BeamSearch(width: 16, lengthPenalty: 0).hypotheses(after: [2, 2], by: 3) {
      step in
      rows = zip(step.parents, step.tokens).map { rows[$0] + [$1] }
      return NDArray(rows.flatMap(logits), shape: [32, 4])
    }
    for hypotheses in found {
      #expect(hypotheses.count == 16)
      #expect(hypotheses[0].tokens == Array(best.dropFirst()))
      #expect(abs(hypotheses[0].score - logarithm(best)) < 1e-5)
      #expect(hypotheses.map(\.score) == hypotheses.map(\.score).sorted(by: >))
    }
  }

  @Test func whoIsTold_canEndARun() throws {
    struct Enough: Error {}
    let generator = try TokenGenerator(GPT2(contentsOf: PretrainedCase.path("gpt2")))
    var heard: [Int] = []
    #expect(throws: Enough.self) {
      _ = try generator.continue([[1]], by: 20) { token, _ in
        heard.append(token)
        if heard.count == 5 { throw Enough() }
      }
    }
    #expect(heard == (try generator.continue([[1]], by: 5)[0]).suffix(5))
  }

  @Test func mistakesOfSearches_areTold() throws {
    let generator = try TokenGenerator(GPT2(contentsOf: PretrainedCase.path("gpt2")), length: 8)
    func error(_ body: () throws -> Void) -> String? {
      #expect(throws: ApusError.self, performing: body)?.description
    }
    for beams in [BeamSearch(width: 0), BeamSearch(width: -3), BeamSearch(lengthPenalty: .nan)] {
      #expect(error { _ = try generator.search([1], by: 2, beams: beams) } != nil)
    }
    #expect(error { _ = try generator.search([1], by: 8) }?.contains("8 at most") == true)
    #expect(error { _ = try generator.search([], by: 1) }?.contains("no tokens") == true)
    #expect(error { _ = try generator.search([48], by: 1) }?.contains("48") == true)
    let search = BeamSearch(width: 2)
    #expect(
      error {
        _ = try search.hypotheses(after: [1], by: 1) { _ in NDArray([0, 1], shape: [1, 2]) }
      }?.contains("[2, vocabulary]") == true)
    #expect(
      error {
        _ = try search.hypotheses(after: [1], by: 1) { _ in
          NDArray([Float](repeating: .nan, count: 6), shape: [2, 3])
        }
      }?.contains("no token") == true)
    #expect(error { _ = try search.hypotheses(after: [1], by: -1) { _ in NDArray(1) } } != nil)
    for sampling in [
      TokenSampling(minP: -0.1), TokenSampling(minP: 1.1), TokenSampling(repetitionPenalty: 0),
      TokenSampling(repetitionPenalty: .infinity),
    ] {
      #expect(error { _ = try generator.continue([[1]], by: 1, sampling: sampling) } != nil)
    }
  }
}
