// Sequences of their own lengths in padded batches.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct LengthBatchesTests {
  /// `count` sequences with 1 to 40 steps; sequence i holds i+1 everywhere.
  private static func data(_ count: Int) throws -> SequenceDataset {
    var random = SplitMix64(state: 5)
    let lengths = (0..<count).map { _ in Int.random(in: 1...40, using: &random) }
    return try SequenceDataset(
      [
        "words": .tokens(lengths.enumerated().map { [Int](repeating: $0 + 1, count: $1) }),
        "tags": .labels(lengths.enumerated().map { [Int](repeating: $0 % 3, count: $1) }),
      ], fixed: ["class": NDArray((0..<count).map { Int32($0) }, shape: [count])])
  }

  private static func all(_ iterator: any BatchIterator) throws -> [Batch] {
    var batches: [Batch] = []
    while let batch = try iterator.next() { batches.append(batch) }
    return batches
  }

  @Test(arguments: [0, 3]) func everyExampleComesOnce_paddedToItsBucket(prefetch: Int) throws {
    let data = try Self.data(101)
    let batches = try data.batched(
      8, lengths: [40, 10, 20], shuffle: 3, mask: true, prefetch: prefetch)
    let made = try Self.all(try batches.makeIterator(epoch: 1))
    #expect(made.count == batches.batchCount && batches.lengths == [10, 20, 40])
    #expect(made[0].names == ["words", "tags", "class", "lengths", "mask"])
    var seen: [Int] = []
    for batch in made {
      let (words, tags) = (batch.words!.integers, batch.tags!.integers)
      let length = batch.words!.shape[1]
      #expect([10, 20, 40].contains(length) && batch.count <= 8)
      for (row, example) in batch.class!.integers.enumerated() {
        seen.append(example)
        let own = data.lengths[example]
        #expect(own <= length && (length == 10 || own > length / 2))
        #expect(batch.lengths!.integers[row] == own)
        let line = row * length..<(row + 1) * length
        let there = [Int](repeating: 1, count: own) + [Int](repeating: 0, count: length - own)
        #expect(Array(words[line]) == there.map { $0 * (example + 1) })
        #expect(Array(tags[line]) == there.map { $0 == 1 ? example % 3 : -100 })
        #expect(Array(batch.mask!.integers[line]) == there)
      }
    }
    #expect(seen.sorted() == Array(0..<101))
    // Each bucket has one batch at most that is not full.
    for length in [10, 20, 40] {
      #expect(made.count { $0.words!.shape[1] == length && $0.count < 8 } <= 1)
    }
  }

  @Test func theOrderDependsOnSeedAndEpochAlone_alsoFromAMiddle() throws {
    let data = try Self.data(64)
    for lengths in [[20, 40], []] {
      func order(_ seed: UInt64, _ epoch: Int) throws -> [[Int]] {
        try data.batched(5, lengths: lengths, shuffle: .seed(seed)).order(epoch: epoch)
      }
      #expect(try order(1, 0) == order(1, 0))
      #expect(try order(1, 0) != order(1, 1) && order(1, 0) != order(2, 0))
      #expect(try order(1, 0).flatMap { $0 }.sorted() == Array(0..<64))
      let batches = try data.batched(5, lengths: lengths, shuffle: 1, prefetch: 2)
      let whole = try Self.all(try batches.makeIterator(epoch: 4)).map(\.arrays)
      let rest = try Self.all(try batches.makeIterator(epoch: 4, startingAt: 6)).map(\.arrays)
      #expect(rest == Array(whole[6...]))
    }
  }

  @Test func withoutLengths_aBatchIsAsLongAsItsLongest_andNeighboursAreAlike() throws {
    let data = try Self.data(400)
    let shuffled = try data.batched(8, shuffle: 1)
    var padding = 0
    for batch in try Self.all(try shuffled.makeIterator(epoch: 0)) {
      let lengths = batch.lengths!.integers
      #expect(batch.words!.shape[1] == lengths.max())
      padding += lengths.reduce(0) { $0 + batch.words!.shape[1] - $1 }
    }
    let all = data.lengths.reduce(0, +)
    #expect(padding * 20 < all, "\(padding) steps of padding for \(all)")
    let ordered = try data.batched(8, shuffle: nil)
    #expect(ordered.order(epoch: 3).flatMap { $0 } == Array(0..<400))
  }

  @Test func aBudgetOfStepsGivesSizes() throws {
    let batches = try Self.data(100).batched(tokens: 100, lengths: [10, 40])
    #expect(batches.sizes == [10, 2])
    for batch in try Self.all(try batches.makeIterator(epoch: 0)) {
      #expect(batch.words!.count <= 100)
    }
  }

  @Test func fieldsOfOtherLengthsHaveLengthsOfTheirOwn() throws {
    let data = try SequenceDataset([
      "source": .tokens([[1, 2, 3], [4]]), "target": .tokens([[5], [6, 7, 8, 9]], padding: 77),
      "vectors": .arrays(
        [
          NDArray([1, 2, 3, 4, 5, 6], shape: [3, 2]), NDArray([7, 8], shape: [1, 2]),
        ], padding: -1),
    ])
    #expect(data.lengths == [3, 4])
    let batch = try #require(
      try data.batched(2, shuffle: nil, mask: true).makeIterator(epoch: 0).next())
    #expect(
      batch.names == [
        "source", "target", "vectors", "lengths", "targetLengths", "mask", "targetMask",
      ])
    #expect(batch.source!.integers == [1, 2, 3, 0, 4, 0, 0, 0])
    #expect(batch.target!.integers == [5, 77, 77, 77, 6, 7, 8, 9])
    #expect(batch.vectors!.type == .f32(2, 4, 2))
    #expect(batch.vectors!.integers == [1, 2, 3, 4, 5, 6, -1, -1, 7, 8, -1, -1, -1, -1, -1, -1])
    #expect(batch.lengths!.integers == [3, 1] && batch.targetLengths!.integers == [1, 4])
    #expect(batch.targetMask!.integers == [1, 0, 0, 0, 1, 1, 1, 1])
  }

  @Test func selectionsAndTruncationsAreSetsOfTheirOwn() throws {
    let data = try SequenceDataset(
      ["x": .tokens([[1, 2, 3], [4], [5, 6]])], fixed: ["y": NDArray([7, 8, 9], shape: [3])])
    let part = try data.selecting([2, 0]).truncated(to: 2)
    #expect(part.count == 2 && part.lengths == [2, 2])
    let batch = try #require(try part.batched(4, shuffle: nil).makeIterator(epoch: 0).next())
    #expect(batch.x!.integers == [5, 6, 1, 2] && batch.y!.integers == [9, 7])
    let folds = try Self.data(20).folds(4, seed: 1)
    #expect(folds.map(\.validation.count) == [5, 5, 5, 5])
    #expect(try Self.data(20).split([0.75, 0.25]).map(\.count) == [15, 5])
  }

  @Test func timeSeriesBecomeSequences() throws {
    let series = try LabeledSeries(
      series: [NDArray([1, 2], shape: [2, 1]), NDArray([3], shape: [1, 1])], labels: [1, 0],
      channels: 1, classNames: ["a", "b"])
    let batch = try #require(
      try series.sequences().batched(2, shuffle: nil).makeIterator(epoch: 0).next())
    #expect(batch.series!.integers == [1, 2, 3, 0] && batch.labels!.integers == [1, 0])
  }

  @Test func mistakesAreNamed() throws {
    let data = try Self.data(10)
    let longest = data.lengths.max()!
    let failure = error { _ = try data.batched(4, lengths: [2, longest - 1]) }
    #expect(failure?.what.contains("has \(longest) steps") == true)
    #expect(error { _ = try data.batched(0) }?.kind == .invalidArgument)
    #expect(error { _ = try data.batched(4, lengths: [0, 50]) }?.kind == .invalidArgument)
    #expect(error { _ = try data.batched(tokens: 100, lengths: []) }?.kind == .invalidArgument)
    #expect(error { _ = try data.batched(4, prefetch: -1) }?.kind == .invalidArgument)
    #expect(error { _ = try data.truncated(to: 0) }?.kind == .invalidArgument)
    #expect(
      error { _ = try data.selecting([10]) }?.what
        == "example 10, at 0 of a selection, does not exist")
    #expect(
      error { _ = try SequenceDataset(["x": .tokens([[1], []])]) }?.what
        == "sequence 1 of 'x' is empty")
    #expect(error { _ = try SequenceDataset([:]) }?.kind == .invalidArgument)
    #expect(
      error { _ = try SequenceDataset(["lengths": .tokens([[1]])]) }?.what.contains("'lengths'")
        == true)
    #expect(
      error { _ = try SequenceDataset(["x": .tokens([[1]]), "y": .tokens([[1], [2]])]) }?.kind
        == .shapeMismatch)
    #expect(error { _ = try SequenceDataset(["x": .tokens([[1 << 40]])]) }?.kind == .outOfRange)
    let arrays = [NDArray([1], shape: [1, 1]), NDArray([1, 2], shape: [1, 2])]
    #expect(error { _ = try Sequences.arrays(arrays) }?.kind == .shapeMismatch)
    #expect(
      error { _ = try Sequences.arrays([NDArray([1] as [UInt8], shape: [1])], padding: 0.5) }?.kind
        == .outOfRange)
  }

  @Test func theLargestBatchThereIsDoesNotOverflow() throws {
    let batches = try Self.data(10).batched(.max, shuffle: nil)
    #expect(batches.batchCount == 1)
    #expect(try Self.all(try batches.makeIterator(epoch: 0)).map(\.count) == [10])
    let plain = try ArrayDataset(["x": NDArray([1, 2], shape: [2])]).batched(.max)
    #expect(try plain.batchCount == 1 && plain.makeIterator(epoch: 0).next()?.count == 2)
  }
}
