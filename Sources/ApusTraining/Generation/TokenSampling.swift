// How the next token is chosen from scores.

import ApusGraph
import Foundation

/// How the next token is chosen from a model's logits.
///
///     .greedy                                          // the likeliest
///     TokenSampling(temperature: 0.8, topK: 40)
///     TokenSampling(topP: 0.9, repetitionPenalty: 1.1)
///     TokenSampling(temperature: 1.2, minP: 0.1)
///
/// What is given holds together, in the order of Hugging Face's `generate`: the penalty, the temperature, `topK`,
/// `topP`, `minP`.
public struct TokenSampling: Sendable, Hashable {
  /// What logits are divided by; 0 for the likeliest token, the first of equal ones.
  public var temperature: Double
  /// Only so many of the likeliest tokens may be chosen.
  public var topK: Int?
  /// Only the likeliest tokens may be chosen which together are at least this likely: Holtzman et al. 2020, "The
  /// Curious Case of Neural Text Degeneration".
  public var topP: Double?
  /// Only tokens may be chosen that are at least this times as likely as the likeliest: Nguyen et al. 2024, "Turning
  /// Up the Heat: Min-p Sampling".
  public var minP: Double?
  /// What logits of tokens that the row already has are divided by where they are positive, and multiplied by where
  /// they are not: Keskar et al. 2019, "CTRL". 1 leaves them as they are.
  public var repetitionPenalty: Double

  public init(
    temperature: Double = 1, topK: Int? = nil, topP: Double? = nil, minP: Double? = nil,
    repetitionPenalty: Double = 1
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repetitionPenalty = repetitionPenalty
  }

  /// The likeliest token, always.
  public static let greedy = TokenSampling(temperature: 0)

  /// - Throws: `invalidArgument` for numbers that make no sense.
  func validate() throws {
    func require(_ holds: Bool, _ what: String, _ expected: String) throws {
      guard holds else { throw ApusError(.invalidArgument, what, expected: expected) }
    }
    try require(
      temperature >= 0 && temperature.isFinite, "temperature is \(temperature)",
      "a finite number from 0 on")
    if let topK { try require(topK >= 1, "topK is \(topK)", "at least 1") }
    if let topP { try require(topP > 0 && topP <= 1, "topP is \(topP)", "above 0, at most 1") }
    if let minP { try require(minP >= 0 && minP <= 1, "minP is \(minP)", "0 to 1") }
    try require(
      repetitionPenalty > 0 && repetitionPenalty.isFinite,
      "repetitionPenalty is \(repetitionPenalty)", "a finite number above 0")
  }

  /// One token of a row of logits. Logits that are not a number are never chosen.
  ///
  /// - `tokens`: those that the row has.
  /// - `uniform`: a random number in [0, 1).
  /// - Throws: `nonFinite` where no logit is a number above -∞.
  func token(
    of logits: ArraySlice<Float>, after tokens: [Int] = [], _ uniform: @autoclosure () -> Double
  ) throws -> Int {
    var logits = logits
    if repetitionPenalty != 1 { penalize(&logits, tokens) }
    return try logits.withUnsafeBufferPointer { logits in
      guard let best = Self.likeliest(logits) else {
        throw ApusError(
          .nonFinite, "no token has a score",
          expected: "logits that are numbers: the weights may hold NaN")
      }
      if temperature == 0 || topK == 1 || logits[best] == .infinity { return best }
      let (tokens, weights) = candidates(logits, greatest: logits[best])
      var rest = uniform() * weights.reduce(0, +)
      var last = best
      for (token, weight) in zip(tokens, weights) where weight > 0 {
        last = token
        rest -= weight
        if rest < 0 { break }
      }
      return last
    }
  }

  private func penalize(_ logits: inout ArraySlice<Float>, _ tokens: [Int]) {
    for token in Set(tokens) where token >= 0 && token < logits.count {
      let place = logits.startIndex + token
      let factor = Float(repetitionPenalty)
      logits[place] = logits[place] > 0 ? logits[place] / factor : logits[place] * factor
    }
  }

  /// The first of the greatest numbers; nil where there is none above -∞.
  private static func likeliest(_ logits: UnsafeBufferPointer<Float>) -> Int? {
    var best: Int?
    var greatest = -Float.infinity
    for (index, logit) in logits.enumerated() where logit > greatest {
      (best, greatest) = (index, logit)
    }
    return best
  }

  /// The tokens that may be chosen, by their numbers, and how likely each is beside the likeliest.
  private func candidates(
    _ logits: UnsafeBufferPointer<Float>, greatest: Float
  ) -> (tokens: [Int], weights: [Double]) {
    func weight(_ token: Int) -> Double {
      let logit = logits[token]
      return logit.isNaN ? 0 : exp((Double(logit) - Double(greatest)) / temperature)
    }
    var tokens: [Int]
    var weights: [Double]
    if let topK, topK < logits.count {
      tokens = placesOfLargest(topK, of: logits)
      weights = tokens.map(weight)
    } else {
      tokens = Array(logits.indices)
      weights = tokens.map(weight)
    }
    if let topP { (tokens, weights) = Self.nucleus(tokens, weights, topP) }
    if let minP {
      let kept = weights.indices.filter { weights[$0] >= minP }
      (tokens, weights) = (kept.map { tokens[$0] }, kept.map { weights[$0] })
    }
    return (tokens, weights)
  }

  /// The fewest of the likeliest tokens that together have the share `topP` of all, by their numbers.
  private static func nucleus(
    _ tokens: [Int], _ weights: [Double], _ topP: Double
  ) -> (tokens: [Int], weights: [Double]) {
    let goal = topP * weights.reduce(0, +)
    // A nucleus is small as a rule: it is looked for among few, and then among more.
    var count = min(64, tokens.count)
    while true {
      let first = weights.withUnsafeBufferPointer { placesOfLargest(count, of: $0) }
        .sorted { weights[$0] != weights[$1] ? weights[$0] > weights[$1] : $0 < $1 }
      var sum = 0.0
      let end = first.firstIndex { place in
        sum += weights[place]
        return sum >= goal
      }
      if let end {
        let kept = first[...end].sorted()
        return (kept.map { tokens[$0] }, kept.map { weights[$0] })
      }
      if count == tokens.count { return (tokens, weights) }
      count = min(8 * count, tokens.count)
    }
  }
}
