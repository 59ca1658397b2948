// The likeliest rows of tokens, looked for among several at once.

import ApusGraph
import Foundation

/// Beam search: the rows of tokens that are likeliest as a whole, of the `width` best that are kept at each token.
///
///     let rows = try generator.search([5, 17], by: 40, beams: BeamSearch(width: 4), ends: [0])
///
/// A row that has ended is judged by `log p / length ^ lengthPenalty`: Wu et al. 2016, "Google's Neural Machine
/// Translation System". Settings and decisions are those of `num_beams`, `length_penalty` and `early_stopping` in Hugging
/// Face's `generate`.
///
/// Any decoder can be searched through, not only a ``CausalLanguageModel``: see
/// ``hypotheses(after:by:ends:next:)``.
public struct BeamSearch: Sendable, Hashable {
  /// When a search ends before its rows are full.
  public enum Stopping: Sendable, Hashable {
    /// When as many rows have ended as are kept.
    case whenFull
    /// When besides none that goes on is better than the worst of those that have ended, if it ended now.
    case byScore
    /// When none that goes on could still become better.
    case never
  }

  /// Rows that are kept at each token.
  public var width: Int
  /// The power of the length that a row's logarithm is divided by. Above 0 longer rows are wanted.
  public var lengthPenalty: Double
  public var stopping: Stopping

  public init(width: Int = 4, lengthPenalty: Double = 1, stopping: Stopping = .byScore) {
    self.width = width
    self.lengthPenalty = lengthPenalty
    self.stopping = stopping
  }

  /// A row that was found.
  public struct Hypothesis: Sendable, Hashable {
    /// What comes after the start; the token that ends it is the last, if one came.
    public let tokens: [Int]
    /// The logarithm of its probability, divided as ``BeamSearch/lengthPenalty`` says.
    public let score: Double
  }

  /// Where a search stands: what a decoder is to be given next.
  public struct Step: Sendable {
    /// The newest token of each row, `width` rows for each start.
    public let tokens: [Int]
    /// The row before from which each row goes on. Its states are to be taken before the token is given.
    public let parents: [Int]
    /// Whether each row goes on from itself.
    public var keepsRows: Bool { parents.enumerated().allSatisfy { $0.offset == $0.element } }
  }

  /// The best rows after each of some first tokens, the best first; `width` of each start where there are as many.
  ///
  /// - `starts`: the first token of each row; what stands before it the decoder knows already.
  /// - `count`: the most tokens that come after the start.
  /// - `ends`: tokens that end a row.
  /// - `next`: gives the logits `[rows, vocabulary]` of the token after each row's newest.
  ///
  ///       let found = try BeamSearch(width: 4).hypotheses(after: starts, by: 30, ends: [end]) { step in
  ///         if !step.keepsRows { state = state.taking(step.parents) }
  ///         return try decoder(step.tokens, &state)
  ///       }
  ///
  /// - Throws: `invalidArgument` for a width or a penalty that makes no sense, `shapeMismatch` for logits of other
  ///   extents, `nonFinite` where no token has a score, and what `next` throws.
  public func hypotheses(
    after starts: [Int], by count: Int, ends: Set<Int> = [], next: (Step) throws -> NDArray
  ) throws -> [[Hypothesis]] {
    try validate()
    guard count >= 0 else {
      throw ApusError(.invalidArgument, "\(count) tokens more", expected: "0 or more")
    }
    var searches = starts.map { SearchOfOne(self, start: $0, limit: count, ends: ends) }
    var step = Step(
      tokens: searches.flatMap(\.newest), parents: Array(0..<width * starts.count))
    for length in 0..<count where searches.contains(where: { !$0.isDone }) {
      let logits = try next(step)
      guard logits.shape.rank == 2, logits.shape[0] == width * starts.count, logits.shape[1] > 0
      else {
        throw ApusError(
          .shapeMismatch, "the search has got logits \(logits.shape)",
          expected: "[\(width * starts.count), vocabulary]: \(starts.count) starts of \(width) rows"
        )
      }
      let scores = logits.floats, vocabulary = logits.shape[1]
      var parents: [Int] = []
      for index in searches.indices {
        let first = index * width
        let rows = (first..<first + width).map {
          scores[$0 * vocabulary..<($0 + 1) * vocabulary]
        }
        parents += try searches[index].advance(rows, length: length).map { first + $0 }
      }
      step = Step(tokens: searches.flatMap(\.newest), parents: parents)
    }
    return searches.map { $0.best() }
  }

  /// - Throws: `invalidArgument`.
  func validate() throws {
    guard width >= 1, width <= 4096 else {
      throw ApusError(.invalidArgument, "\(width) beams", expected: "1 to 4096")
    }
    guard lengthPenalty.isFinite else {
      throw ApusError(
        .invalidArgument, "a length penalty of \(lengthPenalty)", expected: "a finite number")
    }
  }

  fileprivate func score(_ logarithm: Double, _ length: Int) -> Double {
    logarithm / pow(Double(length), lengthPenalty)
  }
}

/// The search after one start.
private struct SearchOfOne {
  private struct Row {
    var tokens: [Int]
    var logarithm: Double
  }
  private let search: BeamSearch
  private let start, limit: Int
  private let ends: Set<Int>
  private var running: [Row]
  private var finished: [BeamSearch.Hypothesis] = []
  private(set) var isDone = false

  init(_ search: BeamSearch, start: Int, limit: Int, ends: Set<Int>) {
    self.search = search
    self.start = start
    self.limit = limit
    self.ends = ends
    // All rows are one at first.
    running = (0..<search.width).map { Row(tokens: [], logarithm: $0 == 0 ? 0 : -.infinity) }
  }

  /// The newest token of each row; rows that there are not have some token.
  var newest: [Int] { running.map { $0.tokens.last ?? start } }

  /// Takes the scores of all rows' next tokens. Returns the row before of each.
  mutating func advance(_ scores: [ArraySlice<Float>], length: Int) throws -> [Int] {
    if isDone { return Array(0..<search.width) }
    // So many that there are enough to go on with, even if each row's best ones end it.
    let wanted = max(2, 1 + ends.count) * search.width
    var candidates: [(parent: Int, token: Int, logarithm: Double)] = []
    for (parent, row) in running.enumerated() where row.logarithm > -.infinity {
      let denominator = try logSumExp(scores[parent])
      scores[parent].withUnsafeBufferPointer { logits in
        for token in placesOfLargest(wanted, of: logits) where logits[token] > -.infinity {
          candidates.append(
            (parent, token, row.logarithm + Double(logits[token]) - denominator))
        }
      }
    }
    candidates.sort {
      $0.logarithm != $1.logarithm
        ? $0.logarithm > $1.logarithm : ($0.parent, $0.token) < ($1.parent, $1.token)
    }
    var next: [Row] = []
    var parents: [Int] = []
    for (rank, candidate) in candidates.prefix(wanted).enumerated() where next.count < search.width
    {
      let tokens = running[candidate.parent].tokens + [candidate.token]
      if ends.contains(candidate.token) || length + 1 == limit {
        // An end behind the best rows says nothing about the best.
        if rank < search.width { finish(tokens, candidate.logarithm) }
        if length + 1 < limit { continue }
      }
      next.append(Row(tokens: tokens, logarithm: candidate.logarithm))
      parents.append(candidate.parent)
    }
    while next.count < search.width {
      next.append(Row(tokens: [start], logarithm: -.infinity))
      parents.append(0)
    }
    running = next
    isDone = length + 1 == limit || !canImprove(length + 1)
    return parents
  }

  private mutating func finish(_ tokens: [Int], _ logarithm: Double) {
    finished.append(
      BeamSearch.Hypothesis(tokens: tokens, score: search.score(logarithm, tokens.count)))
    // The first of equal ones stays.
    if finished.count > search.width {
      let worst = finished.indices.reversed().min { finished[$0].score < finished[$1].score }!
      finished.remove(at: worst)
    }
  }

  private func canImprove(_ length: Int) -> Bool {
    guard let best = running.map(\.logarithm).max(), best > -.infinity else { return false }
    guard finished.count == search.width else { return true }
    let worst = finished.map(\.score).min()!
    switch search.stopping {
    case .whenFull: return false
    case .byScore: return search.score(best, length) > worst
    case .never: return search.score(best, search.lengthPenalty > 0 ? limit : length) > worst
    }
  }

  func best() -> [BeamSearch.Hypothesis] {
    // Nothing was looked for.
    if limit == 0 { return [BeamSearch.Hypothesis(tokens: [], score: 0)] }
    return finished.enumerated().sorted {
      $0.element.score != $1.element.score
        ? $0.element.score > $1.element.score : $0.offset < $1.offset
    }.map(\.element)
  }

  private func logSumExp(_ logits: ArraySlice<Float>) throws -> Double {
    let greatest = logits.reduce(-Float.infinity) { $1 > $0 ? $1 : $0 }
    guard greatest.isFinite else {
      throw ApusError(
        .nonFinite, "no token has a score",
        expected: "finite logits: the weights may hold NaN")
    }
    let sum = logits.reduce(0.0) { $1.isNaN ? $0 : $0 + exp(Double($1) - Double(greatest)) }
    return Double(greatest) + log(sum)
  }
}
