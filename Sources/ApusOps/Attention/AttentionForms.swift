// Attention in plain loops and in other ops: what the references and the decompositions share.

import ApusGraph
import Glibc

/// The scores of each query in double, for the references.
struct AttentionWalk {
  /// A query of a head, and its place in `[B, T, H]`.
  struct Row {
    let batch, query, head, place: Int
  }

  let extents: AttentionExtents
  let q, k, v: [Double]
  private let rule: AttentionRule
  private let mask: [Double]?
  private let isBool: Bool
  private let lengths: [Int]?
  private let slopes: [Double]?
  private let words: [UInt32]?

  /// - Throws: `outOfRange` for a length that is negative or beyond the keys, unless the rule cuts it.
  init(_ op: some Op, _ rule: AttentionRule, _ rows: [NDArray], _ extras: [NDArray]) throws {
    let e = AttentionExtents(rows[0].shape, rows[1].shape, rows[2].shape)
    (q, k, v) = (rows[0].doubles, rows[1].doubles, rows[2].doubles)
    extents = e
    self.rule = rule
    let mask = rule.maskPlace.map { extras[$0] }
    isBool = mask?.dtype == .bool
    self.mask = mask.map {
      $0.viewed(through: View(dense: $0.shape).broadcast(to: e.scores)).doubles
    }
    lengths = rule.lengthsPlace.map { place in
      extras[place].integers.map { rule.cutsLengths ? min(max($0, 0), e.keys) : $0 }
    }
    for (row, length) in (lengths ?? []).enumerated() where !(0...e.keys).contains(length) {
      throw ApusError(
        .outOfRange, "\(op.mnemonic): length \(length) at position \(row) is out of range",
        expected: "a length in 0..<\(e.keys + 1)")
    }
    slopes = rule.alibiPlace.map { extras[$0].doubles }
    words = rule.keyPlace.map {
      RandomWords.draw(e.draws.count, state: extras[$0], stream: rule.stream)
    }
  }

  /// All rows, in the order of their places.
  var rows: [Row] {
    let e = extents
    return (0..<e.rows.count).map { place in
      Row(
        batch: place / (e.heads * e.queries), query: place / e.heads % e.queries,
        head: place % e.heads, place: place)
    }
  }

  /// Where the row's key j begins among the keys, and its value among the values.
  func keyStart(_ row: Row, _ j: Int) -> Int { vector(row, j) * extents.width }
  func valueStart(_ row: Row, _ j: Int) -> Int { vector(row, j) * extents.valueWidth }
  private func vector(_ row: Row, _ j: Int) -> Int {
    (row.batch * extents.keys + j) * extents.keyHeads + row.head / extents.group
  }

  /// What the row's probability of key j is multiplied by.
  func kept(_ row: Row, _ j: Int) -> Double {
    guard let words else { return 1 }
    let place = ((row.batch * extents.heads + row.head) * extents.queries + row.query)
    let word = words[place * extents.draws[3] + j]
    return RandomWords.uniform(word) < rule.keep ? rule.keptScale : 0
  }

  /// The scores of a row, -∞ where it does not see the key.
  func scores(_ row: Row) -> [Double] {
    let e = extents
    let start = ((row.batch * e.heads + row.head) * e.queries + row.query) * e.keys
    let length = lengths?[row.batch] ?? e.keys
    return (0..<e.keys).map { j in
      guard j < length, rule.sees(row.query, j) else { return -.infinity }
      let key = keyStart(row, j)
      var score = 0.0
      for d in 0..<e.width { score += q[row.place * e.width + d] * k[key + d] }
      score *= rule.scale
      if let slopes { score += slopes[row.head] * Double(j - row.query) }
      if let mask {
        score = isBool ? (mask[start + j] != 0 ? score : -.infinity) : score + mask[start + j]
      }
      return score
    }
  }

  /// A softmax and the logarithm of its denominator; zeros where all scores are -∞.
  static func probabilities(_ scores: [Double]) -> ([Double], Double) {
    let m = scores.reduce(-.infinity, greatest)
    if m == -.infinity { return (scores.map { _ in 0 }, 0) }
    let e = scores.map { exp($0 - m) }
    let sum = e.reduce(0, +)
    return (e.map { $0 / sum }, m + log(sum))
  }

  static func exponential(_ x: Double) -> Double { exp(x) }
}

/// The parts of attention in other ops.
///
/// Heads stand before time, split into those of keys and the queries' heads to each: `[B, K, G, T, …]`,
/// where keys and values have G = 1.
struct AttentionGraph {
  let extents: AttentionExtents
  /// The type that is computed in.
  let wide: DType
  let q, k, v: Tensor
  private let rule: AttentionRule
  private let extras: [Tensor]

  init(_ rule: AttentionRule, _ rows: [Tensor], _ extras: [Tensor]) {
    let e = AttentionExtents(rows[0].shape, rows[1].shape, rows[2].shape)
    wide = .attentionArithmetic(rows.map(\.dtype))
    extents = e
    self.rule = rule
    self.extras = extras
    let type = wide
    func split(_ x: Tensor, _ group: Int) -> Tensor {
      x.cast(to: type).transposed([0, 2, 1, 3])
        .reshaped([e.batch, e.keyHeads, group, x.shape[1], x.shape[3]])
    }
    (q, k, v) = (split(rows[0], e.group), split(rows[1], 1), split(rows[2], 1))
  }

  /// `[B, T, H, E]` to `[B, K, G, T, E]`.
  func heads(_ x: Tensor) -> Tensor {
    x.transposed([0, 2, 1, 3])
      .reshaped([extents.batch, extents.keyHeads, extents.group, x.shape[1], x.shape[3]])
  }

  /// `[B, H, T, S]` to `[B, K, G, T, S]`, and back.
  func grouped(_ x: Tensor) -> Tensor {
    x.reshaped([extents.batch, extents.keyHeads, extents.group, extents.queries, extents.keys])
  }
  func together(_ x: Tensor) -> Tensor { x.reshaped(extents.scores) }

  /// `[B, K, G, T, E]` to `[B, T, H, E]`.
  func ungrouped(_ x: Tensor) -> Tensor {
    x.reshaped([extents.batch, extents.heads, extents.queries, x.shape[4]])
      .transposed([0, 2, 1, 3])
  }

  /// The gradient of keys or values, `[B, K, G, S, E]` to `[B, S, K, E]`.
  func ofKeys(_ x: Tensor) -> Tensor { x.sum(axes: [2]).transposed([0, 2, 1, 3]) }

  /// `[B, H, T, S]`, -∞ where a key is not seen.
  var scores: Tensor {
    let trace = q.trace
    var scores = together(q.product(k, false, true)) * rule.scale
    let i = trace.indices(extents.queries).expandingDims(at: 1)
    let j = trace.indices(extents.keys)
    if let place = rule.alibiPlace {
      scores = scores + extras[place].reshaped([extents.heads, 1, 1]) * (j - i).cast(to: wide)
    }
    var conditions: [Tensor] = []
    if rule.isCausal { conditions.append(j .<= i) }
    if let window = rule.window, window < max(extents.queries, extents.keys) {
      let reach = i.scalar(Double(window))
      conditions.append(i - reach .< j)
      if !rule.isCausal { conditions.append(j - reach .< i) }
    }
    if let place = rule.lengthsPlace {
      // Lengths beyond the keys lie outside this table, which is noticed.
      let lengths =
        rule.cutsLengths ? extras[place] : trace.indices(extents.keys + 1).take(extras[place])
      conditions.append(j .< lengths.reshaped([extents.batch, 1, 1, 1]))
    }
    if let mask = rule.maskPlace.map({ extras[$0] }) {
      if mask.dtype == .bool { conditions.append(mask) } else { scores = scores + mask }
    }
    return conditions.reduce(scores) { `where`($1, $0, -.infinity) }
  }

  /// `[B, H, T, S]` with the dropout's factors.
  func dropped(_ x: Tensor) -> Tensor {
    guard let key = rule.keyPlace.map({ extras[$0] }) else { return x }
    let uniform = Tensor.apply(RandomUniform(extents.draws, stream: rule.stream), to: key)
      .sliced(axis: 3, to: extents.keys)
    return `where`(less(uniform, uniform.scalar(rule.keep)), x * rule.keptScale, 0)
  }
}
