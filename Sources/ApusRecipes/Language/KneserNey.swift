// Counting what followed what: the strongest model of language without learning, beside which others are put.

import Apus
import Foundation

/// Interpolated modified Kneser–Ney smoothing: Chen and Goodman 1999, "An Empirical Study of Smoothing Techniques for
/// Language Modeling", after Kneser and Ney 1995.
///
///     p(w | h) = (c(h w) - D(c(h w))) / c(h) + γ(h) · p(w | h without its first token)
///     γ(h)     = (D₁ N₁(h) + D₂ N₂(h) + D₃ N₃₊(h)) / c(h)
///
/// The longest sequences count as often as they stand in the text, shorter ones by the number of different tokens that
/// stand before them. N₁, N₂ and N₃₊ are the numbers of tokens that follow `h` once, twice and more often. The single
/// token's probability is interpolated with 1 / vocabulary. The discounts D of each length are
///
///     Y = n₁ / (n₁ + 2 n₂)      D₁ = 1 - 2 Y n₂/n₁      D₂ = 2 - 3 Y n₃/n₂      D₃₊ = 3 - 4 Y n₄/n₃
///
/// of the numbers n of sequences with these counts; ½, 1 and 1½ where a text is too small to tell.
struct KneserNey {
  /// Tokens of the longest sequences.
  let order: Int
  let vocabulary: Int
  /// The nodes of a tree of sequences: node and token → the node of the sequence with the token behind it. 0 is the
  /// empty one.
  private var children: [UInt64: Int32] = [:]
  /// Of each node the sequence without its first token.
  private var suffix: [Int32] = [0]
  private var nodes: [Node] = [Node()]

  private struct Node {
    /// How often it counts.
    var count: Int32 = 0
    /// Of what follows it: the sum of counts, and how many count once, twice, more often.
    var total = 0
    var followers: (Int32, Int32, Int32) = (0, 0, 0)
    /// What is taken from a count of 1, 2, more; of sequences one longer.
    var depth: UInt8 = 0
  }

  private var discounts: [(Double, Double, Double)] = []

  /// - `tokens`: 0 ..< vocabulary each.
  /// - `order`: 1 to 16.
  init(_ tokens: [Int], order: Int, vocabulary: Int) {
    precondition((1...16).contains(order) && vocabulary >= 1)
    self.order = order
    self.vocabulary = vocabulary
    children.reserveCapacity(tokens.count)
    // The sequences of 1 to `order` tokens that end before each place.
    var ending = [Int32](repeating: 0, count: order + 1)
    for (place, token) in tokens.enumerated() {
      precondition((0..<vocabulary).contains(token))
      // From long to short, since a sequence stems from the one before it that is one shorter.
      for length in (1...order).reversed() where length <= place + 1 {
        ending[length] = child(of: ending[length - 1], token)
      }
      for length in 1...order where length <= place + 1 {
        nodes[Int(ending[length])].depth = UInt8(length)
        if length > 1 { suffix[Int(ending[length])] = ending[length - 1] }
      }
      // Of the longest each time counts; of shorter ones the first time behind another token, or at the text's beginning.
      var isNew = true
      for length in (1...order).reversed() where length <= place + 1 {
        let node = Int(ending[length])
        let isFirst = nodes[node].count == 0
        if length == order || length == place + 1 || isNew { nodes[node].count += 1 }
        isNew = isFirst
      }
    }
    gather()
  }

  private mutating func child(of node: Int32, _ token: Int) -> Int32 {
    let key = UInt64(UInt32(node)) << 32 | UInt64(token)
    if let found = children[key] { return found }
    let new = Int32(nodes.count)
    children[key] = new
    nodes.append(Node())
    suffix.append(0)
    return new
  }

  /// Sums up what follows each sequence, and the discounts.
  private mutating func gather() {
    var counts = [[Double]](repeating: [0, 0, 0, 0, 0], count: order + 1)
    for (key, child) in children {
      let count = nodes[Int(child)].count
      let parent = Int(key >> 32)
      nodes[parent].total += Int(count)
      switch count {
      case 1: nodes[parent].followers.0 += 1
      case 2: nodes[parent].followers.1 += 1
      default: nodes[parent].followers.2 += 1
      }
      if count <= 4 { counts[Int(nodes[Int(child)].depth)][Int(count)] += 1 }
    }
    discounts = counts.map { n in
      guard n[1] > 0, n[2] > 0, n[3] > 0, n[4] > 0 else { return (0.5, 1, 1.5) }
      let y = n[1] / (n[1] + 2 * n[2])
      let found = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
      guard (0...1).contains(found.0), (0...2).contains(found.1), (0...3).contains(found.2) else {
        return (0.5, 1, 1.5)
      }
      return found
    }
  }

  /// The probability of a token behind others, of which the last `order - 1` count.
  func probability(of token: Int, after context: some BidirectionalCollection<Int>) -> Double {
    // The longest end of the context that stands in the text.
    var node: Int32 = 0
    var rest = Array(context.suffix(order - 1))[...]
    while !rest.isEmpty {
      if let found = find(rest), nodes[Int(found)].total > 0 {
        node = found
        break
      }
      rest = rest.dropFirst()
    }
    return probability(of: token, in: node)
  }

  private func find(_ tokens: ArraySlice<Int>) -> Int32? {
    var node: Int32 = 0
    for token in tokens {
      guard let next = children[UInt64(UInt32(node)) << 32 | UInt64(token)] else { return nil }
      node = next
    }
    return node
  }

  private func probability(of token: Int, in context: Int32) -> Double {
    var weight = 1.0, result = 0.0
    var context = context
    while true {
      let node = nodes[Int(context)]
      let discount = discounts[Int(node.depth) + 1]
      let total = Double(node.total)
      if total > 0 {
        let key = UInt64(UInt32(context)) << 32 | UInt64(token)
        if let child = children[key] {
          let count = nodes[Int(child)].count
          let taken = count == 1 ? discount.0 : count == 2 ? discount.1 : discount.2
          result += weight * max(Double(count) - taken, 0) / total
        }
        let (once, twice, more) = node.followers
        weight *=
          (discount.0 * Double(once) + discount.1 * Double(twice) + discount.2 * Double(more))
          / total
      }
      if context == 0 { break }
      context = suffix[Int(context)]
    }
    return result + weight / Double(vocabulary)
  }

  /// Bits that a text takes where each token is told by those before it.
  func bits(of tokens: [Int]) -> Double {
    tokens.indices.reduce(0.0) { bits, place in
      let context = tokens[max(place - order + 1, 0)..<place]
      return bits - log2(probability(of: tokens[place], after: context))
    }
  }
}
