// The best spans by the logits of their first and last tokens.

import ApusGraph

/// A span of tokens, and how good it is.
public struct AnswerSpan: Sendable, Hashable {
  /// Its tokens; one at least.
  public var tokens: Range<Int>
  /// The logit that it starts at its first token and the one that it ends at its last, together.
  public var score: Float

  public init(tokens: Range<Int>, score: Float) {
    self.tokens = tokens
    self.score = score
  }
}

/// The best spans of a row, the best first; of equally good ones the one that starts first, then the shorter one.
///
///     let best = try answerSpans(starts: row.starts, ends: row.ends, within: 9..<40, count: 5)
///
/// A span's score is the sum of two logits; its end does not lie before its start (Devlin et al. 2019, section 4.2).
/// Work grows with the tokens and `maximumLength`, not with the pairs of all tokens.
///
/// - `starts`, `ends`: a logit for each token.
/// - `tokens`: where spans may lie: the text that is asked. All tokens by default; none in an empty range.
/// - `maximumLength`: the most tokens of a span.
/// - `count`: the most spans.
/// - Throws: `shapeMismatch` where there are not as many of both logits, `outOfRange` for tokens that are not there,
///   `invalidArgument` for numbers below 1, `nonFinite` for a logit of that range that is not a number.
public func answerSpans(
  starts: [Float], ends: [Float], within tokens: Range<Int>? = nil, maximumLength: Int = 30,
  count: Int = 1, file: StaticString = #fileID, line: UInt = #line
) throws -> [AnswerSpan] {
  let location = sourceLocation(file, line)
  let tokens = tokens ?? starts.indices
  guard starts.count == ends.count else {
    throw ApusError(
      .shapeMismatch, "\(starts.count) logits of starts and \(ends.count) of ends", at: location,
      expected: "one of both for each token")
  }
  guard tokens.lowerBound >= 0, tokens.upperBound <= starts.count else {
    throw ApusError(
      .outOfRange, "tokens \(tokens) of \(starts.count)", at: location,
      expected: "a range within 0..<\(starts.count)")
  }
  guard maximumLength >= 1, count >= 1 else {
    throw ApusError(
      .invalidArgument, "\(count) spans of at most \(maximumLength) tokens", at: location,
      expected: "1 or more of both")
  }
  for token in tokens where starts[token].isNaN || ends[token].isNaN {
    throw ApusError(
      .nonFinite, "a logit of token \(token) is not a number", at: location,
      expected: "logits of a model whose weights are finite")
  }
  var best: [AnswerSpan] = []
  // What is too many is cut off now and then, so that memory and sorting stay small.
  let (room, isBeyond) = count.multipliedReportingOverflow(by: 2)
  let limit = isBeyond ? Int.max : max(room, 1024)
  func settle() {
    best.sort {
      ($1.score, $0.tokens.lowerBound, $0.tokens.count)
        < ($0.score, $1.tokens.lowerBound, $1.tokens.count)
    }
    if best.count > count { best.removeLast(best.count - count) }
  }
  for start in tokens {
    for end in start..<start + min(maximumLength, tokens.upperBound - start) {
      let sum = starts[start] + ends[end]
      // Infinities of both signs.
      best.append(AnswerSpan(tokens: start..<end + 1, score: sum.isNaN ? -.infinity : sum))
    }
    if best.count >= limit { settle() }
  }
  settle()
  return best
}
