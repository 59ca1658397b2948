// Cosines, and the rows that are nearest.

import Apus
import ApusLanguage
import TestSupport
import Testing

@Suite struct SentenceSearchTests {
  private func random(_ seed: UInt64, _ n: Int, _ width: Int) -> NDArray {
    var generator = SplitMix(seed: seed)
    let values = (0..<n * width).map { _ in Float(generator.next() >> 40) / 0x1p24 - 0.5 }
    return NDArray(values, shape: [n, width])
  }

  private func cosine(_ a: ArraySlice<Double>, _ b: ArraySlice<Double>) -> Double {
    let dot = zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    let norms = [a, b].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    return dot / (norms[0] * norms[1])
  }

  @Test func cosinesAreThoseOfTheRows() throws {
    let (a, b) = (random(1, 5, 7), random(2, 9, 7))
    let found = try cosineSimilarities(a, b)
    #expect(found.shape == [5, 9])
    for row in 0..<5 {
      for column in 0..<9 {
        let expected = cosine(
          a.doubles[row * 7..<row * 7 + 7], b.doubles[column * 7..<column * 7 + 7])
        #expect(abs(found.doubles[row * 9 + column] - expected) < 1e-6)
      }
    }
    let zero = try cosineSimilarities(
      NDArray([0, 0], shape: [1, 2]), NDArray([1, 2], shape: [1, 2]))
    #expect(zero.floats == [0])
    #expect(try cosineSimilarities(NDArray(zeros: .f32(0, 7)), b).shape == [0, 9])
  }

  @Test func theNearestRowsAreFound_acrossBlocks() throws {
    let corpus = random(3, 5000, 4), queries = random(4, 3, 4)
    let found = try mostSimilarRows(to: queries, in: corpus, count: 12)
    let cosines = try cosineSimilarities(queries, corpus).floats
    for query in 0..<3 {
      let scores = cosines[query * 5000..<(query + 1) * 5000]
      let best = scores.enumerated().sorted {
        ($1.element, $0.offset) < ($0.element, $1.offset)
      }.prefix(12)
      #expect(found[query].map(\.row) == best.map(\.offset))
      for (hit, expected) in zip(found[query], best) {
        #expect(abs(hit.score - expected.element) < 1e-6)
      }
    }
  }

  @Test func equalRowsComeInOrder_andFewerThanAskedFor() throws {
    let corpus = NDArray([1, 0, 0, 1, 2, 0, 3, 0], shape: [4, 2])
    let found = try mostSimilarRows(to: NDArray([1, 0], shape: [1, 2]), in: corpus, count: 9)
    #expect(found[0].map(\.row) == [0, 2, 3, 1])
    #expect(try mostSimilarRows(to: corpus, in: corpus, count: 0) == [[], [], [], []])
    #expect(
      try mostSimilarRows(to: corpus, in: NDArray(zeros: .f32(0, 2)), count: 3)
        == [[], [], [], []])
  }

  @Test func mistakesAreTold() {
    let a = random(1, 2, 3)
    expectError(.shapeMismatch, "one width") { _ = try cosineSimilarities(a, random(1, 2, 4)) }
    expectError(.shapeMismatch) { _ = try cosineSimilarities(a, NDArray([1, 2, 3], shape: [3])) }
    expectError(.dtypeMismatch, "f32") { _ = try cosineSimilarities(a, a.cast(to: .f64)) }
    expectError(.invalidArgument, "-1 rows") {
      _ = try mostSimilarRows(to: a, in: a, count: -1)
    }
    expectError(.nonFinite, "row 1") {
      let broken = NDArray([1, 2, 3, .nan, 0, 0], shape: [2, 3])
      _ = try mostSimilarRows(to: a, in: broken, count: 1)
    }
  }
}
