// How the next token is chosen from scores.

import ApusGraph
import Foundation

/// How the next token is chosen from a model's logits.
///
///     .greedy                                          // the likeliest
///     TokenSampling(temperature: 0.8, topK: 40)
///     TokenSampling(topP: 0.9)
public struct TokenSampling: Sendable, Hashable {
  /// What logits are divided by; 0 for the likeliest token, the first of equal ones.
  public var temperature: Double
  /// Only so many of the likeliest tokens may be chosen.
  public var topK: Int?
  /// Only the likeliest tokens may be chosen which together are at least this likely: Holtzman et al. 2020, "The
  /// Curious Case of Neural Text Degeneration".
  public var topP: Double?

  public init(temperature: Double = 1, topK: Int? = nil, topP: Double? = nil) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
  }

  /// The likeliest token, always.
  public static let greedy = TokenSampling(temperature: 0)

  /// - Throws: `invalidArgument` for numbers that make no sense.
  func validate() throws {
    guard temperature >= 0, temperature.isFinite else {
      throw ApusError(
        .invalidArgument, "temperature is \(temperature)", expected: "a finite number from 0 on")
    }
    if let topK, topK < 1 {
      throw ApusError(.invalidArgument, "topK is \(topK)", expected: "at least 1")
    }
    if let topP, !(topP > 0 && topP <= 1) {
      throw ApusError(.invalidArgument, "topP is \(topP)", expected: "above 0, at most 1")
    }
  }

  /// One token of a row of logits. Logits that are not a number are never chosen.
  ///
  /// - `uniform`: a random number in [0, 1).
  /// - Throws: `nonFinite` where no logit is a number above -∞.
  func token(of logits: ArraySlice<Float>, _ uniform: @autoclosure () -> Double) throws -> Int {
    let first = logits.startIndex
    var best = first
    for index in logits.indices where logits[index] > logits[best] || logits[best].isNaN {
      best = index
    }
    guard !logits.isEmpty, !logits[best].isNaN, logits[best] > -.infinity else {
      throw ApusError(
        .nonFinite, "no token has a score",
        expected: "logits that are numbers: the weights may hold NaN")
    }
    if temperature == 0 || topK == 1 || logits[best] == .infinity { return best - first }
    let greatest = Double(logits[best])
    var weights = logits.map { $0.isNaN ? 0 : exp((Double($0) - greatest) / temperature) }
    if topK != nil || topP != nil {
      // The likeliest first; of equally likely ones the first.
      let order = weights.indices.sorted {
        weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1
      }
      var count = min(topK ?? order.count, order.count)
      if let topP {
        let total = order[..<count].reduce(0) { $0 + weights[$1] }
        var sum = 0.0
        count =
          (order[..<count].firstIndex {
            sum += weights[$0]
            return sum >= topP * total
          } ?? count - 1) + 1
      }
      for index in order[count...] { weights[index] = 0 }
    }
    var rest = uniform() * weights.reduce(0, +)
    var last = best - first
    for (index, weight) in weights.enumerated() where weight > 0 {
      last = index
      rest -= weight
      if rest < 0 { break }
    }
    return last
  }
}
