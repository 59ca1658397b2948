// Samplers, splits and folds.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct WeightedSamplerTests {
  @Test func examplesComeInProportionToTheirWeights() throws {
    let weights = [1.0, 0, 3, 0.5, 0.5, 5]
    let sampler = try WeightedSampler(weights: weights, count: 100_000)
    var counts = [Double](repeating: 0, count: weights.count)
    for example in sampler.examples(seed: 1, epoch: 0) { counts[example] += 1 }
    #expect(counts[1] == 0)
    for (count, weight) in zip(counts, weights) {
      let expected = weight / 10 * 100_000
      // Five standard deviations.
      #expect(abs(count - expected) <= 5 * (expected * (1 - weight / 10)).squareRoot())
    }
  }

  @Test func withoutReplacementNoneComesTwice_andTheFirstIsInProportion() throws {
    let weights = [1.0, 2, 0, 3, 4]
    let sampler = try WeightedSampler(weights: weights, count: 4, replacement: false)
    var firsts = [Double](repeating: 0, count: 5)
    for epoch in 0..<20_000 {
      let drawn = sampler.examples(seed: 3, epoch: epoch)
      #expect(Set(drawn) == [0, 1, 3, 4])
      firsts[drawn[0]] += 1
    }
    for (count, weight) in zip(firsts, weights) {
      let expected = weight / 10 * 20_000
      #expect(abs(count - expected) <= 5 * (expected * (1 - weight / 10)).squareRoot())
    }
  }

  @Test func balancedClassesComeAlike() throws {
    let labels =
      [Int](repeating: 0, count: 900) + [Int](repeating: 7, count: 90)
      + [Int](repeating: -2, count: 10)
    let sampler = try WeightedSampler(balancing: labels, count: 30_000)
    var counts: [Int: Int] = [:]
    for example in sampler.examples(seed: 0, epoch: 5) { counts[labels[example], default: 0] += 1 }
    #expect(counts.values.allSatisfy { abs($0 - 10_000) < 450 } && counts.count == 3)
  }

  @Test func whatIsDrawnDependsOnSeedAndEpochAlone() throws {
    let sampler = try WeightedSampler(weights: [1, 2, 3, 4], count: 50)
    #expect(sampler.examples(seed: 1, epoch: 2) == sampler.examples(seed: 1, epoch: 2))
    #expect(sampler.examples(seed: 1, epoch: 2) != sampler.examples(seed: 1, epoch: 3))
    #expect(sampler.examples(seed: 1, epoch: 2) != sampler.examples(seed: 2, epoch: 2))
    let data = try ArrayDataset(["x": NDArray([0, 1, 2, 3], shape: [4])])
    let batches = try data.batched(8, sampler: sampler, seed: 1)
    #expect(batches.exampleCount == 50 && batches.batchCount == 7)
    let iterator = try batches.makeIterator(epoch: 2)
    var read: [Int] = []
    while let batch = try iterator.next() { read += batch.x!.integers }
    #expect(read == sampler.examples(seed: 1, epoch: 2))
    // A trainer's seed counts where none is given.
    let open = try data.batched(8, sampler: sampler).forTraining(seed: 1) as! Batches
    #expect(open.order(epoch: 2) == read)
    #expect(open.identity != (try data.batched(8)).identity)
  }

  @Test func weightsOfAnyMagnitudeCountByProportion() throws {
    for scale in [1e-300, 1e300] {
      let sampler = try WeightedSampler(weights: [scale, 3 * scale], count: 10_000)
      let ones = sampler.examples(seed: 1, epoch: 0).reduce(0, +)
      #expect(abs(ones - 7500) < 220)
    }
  }

  @Test func nonsenseIsRefused() throws {
    for weights in [[1, -1], [1, .nan], [1, .infinity], [0, 0], [1e308, 1e308]] as [[Double]] {
      #expect(error { _ = try WeightedSampler(weights: weights) }?.kind == .invalidArgument)
    }
    #expect(error { _ = try WeightedSampler(weights: [1], count: -1) }?.kind == .invalidArgument)
    let few = error { _ = try WeightedSampler(weights: [1, 0, 1], count: 3, replacement: false) }
    #expect(few?.expected?.hasPrefix("at most 2") == true)
    #expect(try WeightedSampler(weights: [], count: 0).examples(seed: 0, epoch: 0) == [])
    let data = try ArrayDataset(["x": NDArray([0, 1], shape: [2])])
    let sampler = try WeightedSampler(weights: [1, 1, 1])
    #expect(error { _ = try data.batched(2, sampler: sampler) }?.kind == .invalidArgument)
  }
}

@Suite struct SplitTests {
  private static func numbers(_ count: Int) throws -> ArrayDataset {
    try ArrayDataset(["x": NDArray((0..<count).map { Int32($0) }, shape: [count])])
  }

  private static func read(_ set: any Dataset) throws -> [Int] {
    guard set.count > 0 else { return [] }
    return try #require(try set.batched(set.count, shuffle: nil).makeIterator(epoch: 0).next())
      .x!.integers
  }

  /// The kept examples of the folds, as scikit-learn numbers them (Tests/reference/data.py).
  @Test(arguments: ["even", "uneven", "names"], [2, 3, 5])
  func foldsAreScikitLearns(name: String, folds: Int) throws {
    let reference = try NPZ.read(fixture("folds.npz"))
    let labels = try #require(reference["\(name) labels"]).integers
    let data = try Self.numbers(labels.count)
    let plain = try #require(reference["\(name) plain \(folds)"]).integers
    let stratified = try #require(reference["\(name) stratified \(folds)"]).integers
    for (sets, numbers) in [
      (try data.folds(folds), plain), (try data.folds(folds, stratifiedBy: labels), stratified),
    ] {
      for (fold, set) in sets.enumerated() {
        #expect(try Self.read(set.validation) == numbers.indices.filter { numbers[$0] == fold })
        #expect(try Self.read(set.training) == numbers.indices.filter { numbers[$0] != fold })
      }
    }
    // Shuffled, each class has the same count in each fold as scikit-learn gives it.
    let shuffled = try data.folds(folds, stratifiedBy: labels, seed: 9)
    #expect(shuffled.flatMap(\.validation.examples).sorted() == Array(labels.indices))
    for (fold, set) in shuffled.enumerated() {
      for label in Set(labels) {
        let wanted = labels.indices.count { stratified[$0] == fold && labels[$0] == label }
        #expect(set.validation.examples.count { labels[$0] == label } == wanted)
      }
    }
    #expect(
      shuffled.map(\.validation.examples)
        != (try data.folds(folds, stratifiedBy: labels)).map(\.validation.examples))
  }

  @Test func aSplitHasPyTorchsSizes_andEveryExampleOnce() throws {
    // random_split([0.3, 0.3, 0.4]) of 11: 3, 3 and 4, and the one left over goes to the first.
    let parts = try Self.numbers(11).split([0.3, 0.3, 0.4], seed: 4)
    #expect(parts.map(\.count) == [4, 3, 4])
    #expect(try parts.flatMap { try Self.read($0) }.sorted() == Array(0..<11))
    #expect(
      try Self.numbers(11).split([0.3, 0.3, 0.4], seed: 4).map(\.examples) == parts.map(\.examples))
    #expect(
      try Self.numbers(11).split([0.3, 0.3, 0.4], seed: 5).map(\.examples) != parts.map(\.examples))
    #expect(try Self.numbers(3).split([1, 0]).map(\.count) == [3, 0])
    // Tenths add up to a little less than 1.
    #expect(
      try Self.numbers(100).split([Double](repeating: 0.1, count: 10)).map(\.count)
        == [Int](repeating: 10, count: 10))
  }

  @Test func aStratifiedSplitGivesEachClassItsShare() throws {
    var random = SplitMix64(state: 8)
    let labels = (0..<997).map { _ in [0, 0, 0, 0, 1, 1, 2].randomElement(using: &random)! }
    let fractions = [0.7, 0.2, 0.1]
    let parts = try Self.numbers(997).split(fractions, stratifiedBy: labels, seed: 1)
    let plain = try Self.numbers(997).split(fractions, seed: 1)
    #expect(parts.map(\.count) == plain.map(\.count))
    #expect(parts.flatMap(\.examples).sorted() == Array(0..<997))
    for label in 0...2 {
      let all = Double(labels.count { $0 == label })
      for (part, fraction) in zip(parts, fractions) {
        let count = Double(part.examples.count { labels[$0] == label })
        #expect(abs(count - all * fraction) < 2)
      }
    }
    // A part is mixed: no class stands in a block.
    let first = parts[0].examples.prefix(100).map { labels[$0] }
    #expect(Set(first).count == 3)
  }

  @Test func identitiesTellPartsApart() throws {
    let data = try Self.numbers(10)
    let parts = try data.split([0.5, 0.5], seed: 1)
    let sets: [any Dataset] =
      [data, try data.subset(0..<5), try data.subset(5..<10), try data.selecting([1, 2])]
      + parts + (try data.split([0.5, 0.5], seed: 2))
      + (try data.folds(2).flatMap { [$0.training, $0.validation] as [any Dataset] })
    #expect(Set(sets.map(\.identity)).count == sets.count)
    #expect(data.identity == "10 examples")
  }

  @Test func nonsenseIsRefused() throws {
    let data = try Self.numbers(6)
    for fractions in [[0.5, 0.6], [-0.5, 1.5], [.nan, 1], []] as [[Double]] {
      #expect(error { _ = try data.split(fractions) }?.kind == .invalidArgument)
    }
    for folds in [-1, 0, 1, 7] {
      #expect(error { _ = try data.folds(folds) }?.kind == .invalidArgument)
    }
    #expect(error { _ = try data.folds(3, stratifiedBy: [0, 1]) }?.kind == .invalidArgument)
    #expect(
      error { _ = try data.folds(3, stratifiedBy: [0, 1, 2, 0, 1, 2]) }?.kind == .invalidArgument)
    #expect(error { _ = try data.selecting([0, -1]) }?.kind == .outOfRange)
  }
}
