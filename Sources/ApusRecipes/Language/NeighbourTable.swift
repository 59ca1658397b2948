// What a token's two neighbours tell of it by counting alone, beside which models that tell hidden tokens are put.

import Foundation

/// The probability of a token between two others, by how often it stood there.
///
/// Where both neighbours were seen around a token, counts of the three are interpolated with what each neighbour tells by
/// itself, by the weights of Witten & Bell 1991: a context that n tokens of m kinds were seen in counts n / (n + m), and
/// what backs it off the rest.
///
///     p(w | l, r)  from counts of (l, w, r), backed off to  p(w | l)·p(w | r) / p(w), made to sum to 1
///     p(w | l)     from counts of (l, w),    backed off to  p(w)
///     p(w)         (c(w) + 1) / (n + vocabulary)
///
/// The product holds where, given the token between them, the neighbours have nothing to do with each other.
struct NeighbourTable {
  /// Of each token, (c(w) + 1) / (n + vocabulary).
  let shares: [Double]
  private var behind: [Int: Seen] = [:]
  private var before: [Int: Seen] = [:]
  private var between: [Int: Seen] = [:]

  /// What was seen in a context.
  private struct Seen {
    var total = 0
    var counts: [Int32: Int] = [:]

    mutating func add(_ token: Int32) {
      total += 1
      counts[token, default: 0] += 1
    }

    /// What its counts weigh against what backs them off.
    var weight: Double { Double(total) / Double(total + counts.count) }
  }

  /// - `tokens`: 0 ..< vocabulary each.
  init(_ tokens: [Int32], vocabulary: Int) {
    precondition(vocabulary >= 1)
    var counts = [Int](repeating: 1, count: vocabulary)
    for token in tokens { counts[Int(token)] += 1 }
    shares = counts.map { Double($0) / Double(tokens.count + vocabulary) }
    for place in tokens.indices {
      let token = tokens[place]
      let left = place > 0 ? tokens[place - 1] : nil
      let right = place + 1 < tokens.count ? tokens[place + 1] : nil
      if let left { behind[Int(left), default: Seen()].add(token) }
      if let right { before[Int(right), default: Seen()].add(token) }
      if let left, let right { between[key(left, right), default: Seen()].add(token) }
    }
  }

  private func key(_ left: Int32, _ right: Int32) -> Int { Int(left) << 32 | Int(right) }

  /// The probabilities of all tokens between two.
  func probabilities(between left: Int32, and right: Int32) -> [Double] {
    func told(by seen: Seen?) -> [Double] {
      guard let seen else { return shares }
      var result = shares.map { (1 - seen.weight) * $0 }
      for (token, count) in seen.counts {
        result[Int(token)] += seen.weight * Double(count) / Double(seen.total)
      }
      return result
    }
    let a = told(by: behind[Int(left)]), b = told(by: before[Int(right)])
    var result = shares.indices.map { a[$0] * b[$0] / shares[$0] }
    let sum = result.reduce(0, +)
    for token in result.indices { result[token] /= sum }
    if let seen = between[key(left, right)] {
      for token in result.indices { result[token] *= 1 - seen.weight }
      for (token, count) in seen.counts {
        result[Int(token)] += seen.weight * Double(count) / Double(seen.total)
      }
    }
    return result
  }
}
