// What skip-gram with negative sampling learns from: words, a neighbour of each, and words that are none.

import Apus
import Foundation

/// Batches of `words` i32[n] and `neighbours` i32[n, 1 + negatives], the true one first: Mikolov et al. 2013, "Distributed
/// Representations of Words and Phrases and their Compositionality".
///
/// Each epoch draws anew: a word stays in its line with probability √(t/f) + t/f of its frequency f, as word2vec has it; of
/// what is left each word is paired with those at most r places away, r drawn from 1 to the window; pairs are shuffled.
/// Negatives are drawn by counts to the power of ¾. An epoch has as many whole batches as one draw has pairs for; where
/// another has fewer its first pairs come again.
struct SkipGramPairs: BatchSource {
  let lines: [[Int]]
  let window: Int
  let negatives: Int
  let batch: Int
  let seed: UInt64
  let batchCount: Int
  private let kept: [Double]
  private let sampler: AliasTable

  var exampleCount: Int { batchCount * batch }
  var identity: String {
    "\(batchCount) batches of \(batch) pairs of \(lines.count) lines, window \(window), "
      + "\(negatives) negatives, seed \(seed)"
  }

  /// - `counts`: of each word in the text that is learnt from.
  /// - `threshold`: t; words more frequent than this are thinned out.
  init(
    _ lines: [[Int]], counts: [Int], window: Int, negatives: Int, batch: Int,
    threshold: Double = 1e-3, seed: UInt64
  ) {
    self.init(
      lines, Self.kept(counts, threshold: threshold),
      AliasTable(counts.map { pow(Double($0), 0.75) }), window, negatives, batch,
      seed, batchCount: nil)
  }

  /// With which probability a word stays, by its number: √(t/f) + t/f of its frequency f, 1 at most.
  ///
  /// - `counts`: of each word in the text.
  /// - `threshold`: t.
  static func kept(_ counts: [Int], threshold: Double) -> [Double] {
    let all = Double(counts.reduce(0, +))
    return counts.map { count in
      let ratio = count > 0 ? threshold * all / Double(count) : 1
      return min(ratio.squareRoot() + ratio, 1)
    }
  }

  /// What is left of a line when frequent words are thinned out.
  static func thinned(
    _ line: [Int], _ kept: [Double], _ random: inout RecipeRandom
  ) -> [Int] {
    line.filter { kept[$0] >= 1 || random.uniform() < kept[$0] }
  }

  private init(
    _ lines: [[Int]], _ kept: [Double], _ sampler: AliasTable, _ window: Int, _ negatives: Int,
    _ batch: Int, _ seed: UInt64, batchCount: Int?
  ) {
    self.lines = lines
    self.kept = kept
    self.sampler = sampler
    self.window = window
    self.negatives = negatives
    self.batch = batch
    self.seed = seed
    self.batchCount =
      batchCount
      ?? max(Self.pairs(lines, kept, window, RecipeRandom(seed: 0)).count / batch, 1)
  }

  func forTraining(seed: UInt64) -> any BatchSource {
    SkipGramPairs(
      lines, kept, sampler, window, negatives, batch, seed, batchCount: batchCount)
  }

  func makeIterator(epoch: Int) throws -> any BatchIterator {
    try makeIterator(epoch: epoch, startingAt: 0)
  }

  func makeIterator(epoch: Int, startingAt batch: Int) throws -> any BatchIterator {
    Iterator(self, epoch: epoch, next: batch)
  }

  /// A word in the upper half of a number, its neighbour in the lower one; shuffled.
  private static func pairs(
    _ lines: [[Int]], _ kept: [Double], _ window: Int, _ random: RecipeRandom
  ) -> [UInt64] {
    var random = random
    var pairs: [UInt64] = []
    for line in lines {
      let left = thinned(line, kept, &random)
      for place in left.indices {
        let reach = 1 + random.below(window)
        for other in max(place - reach, 0)..<min(place + reach + 1, left.count)
        where other != place {
          pairs.append(UInt64(left[place]) << 32 | UInt64(left[other]))
        }
      }
    }
    pairs.shuffle(using: &random)
    return pairs
  }

  private final class Iterator: BatchIterator {
    private let source: SkipGramPairs
    private let epoch: Int
    private let pairs: [UInt64]
    private var batch: Int

    init(_ source: SkipGramPairs, epoch: Int, next batch: Int) {
      self.source = source
      self.epoch = epoch
      self.batch = batch
      pairs = SkipGramPairs.pairs(
        source.lines, source.kept, source.window,
        RecipeRandom(seed: source.seed, stream: UInt64(epoch) << 32))
    }

    func next() throws -> Batch? {
      guard batch < source.batchCount, !pairs.isEmpty else { return nil }
      var random = RecipeRandom(
        seed: source.seed, stream: UInt64(epoch) << 32 | UInt64(batch + 1))
      var words: [Int32] = [], neighbours: [Int32] = []
      for place in batch * source.batch..<(batch + 1) * source.batch {
        let pair = pairs[place % pairs.count]
        words.append(Int32(pair >> 32))
        neighbours.append(Int32(pair & 0xffff_ffff))
        for _ in 0..<source.negatives {
          neighbours.append(Int32(source.sampler.draw(&random)))
        }
      }
      batch += 1
      return Batch(
        names: ["words", "neighbours"],
        arrays: [
          try NDArray(checking: words, shape: [words.count]),
          try NDArray(checking: neighbours, shape: [words.count, 1 + source.negatives]),
        ])
    }
  }
}

/// Draws numbers by given weights in constant time: Walker 1977, in Vose's form (1991).
struct AliasTable: Sendable {
  private var threshold: [Double]
  private var alias: [Int]

  /// - `weights`: 0 or more each, one above 0 at least; without that each is as likely.
  init(_ weights: [Double]) {
    let total = weights.reduce(0, +)
    let count = weights.count
    var scaled = weights.map { total > 0 ? $0 * Double(count) / total : 1 }
    threshold = [Double](repeating: 1, count: count)
    alias = Array(0..<count)
    var small = scaled.indices.filter { scaled[$0] < 1 }
    var large = scaled.indices.filter { scaled[$0] >= 1 }
    while let low = small.popLast(), let high = large.last {
      threshold[low] = scaled[low]
      alias[low] = high
      scaled[high] -= 1 - scaled[low]
      if scaled[high] < 1 { small.append(large.removeLast()) }
    }
  }

  func draw(_ random: inout RecipeRandom) -> Int {
    let place = random.below(threshold.count)
    return random.uniform() < threshold[place] ? place : alias[place]
  }
}
