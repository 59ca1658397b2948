// Which keys a query of an attention sees.

import ApusGraph
import ApusOps

/// Which keys a query sees, and how their scores are shifted: what every layer of a transformer is told.
///
///     attention(x, seeing: .causal)
///     encoder(x, seeing: .lengths(batch.lengths))
///     decoder(x, memory: memory, seeing: AttentionPattern(isCausal: true, window: 128))
///
/// All that is given holds together: a key is seen where each of them lets it be seen. A query that sees no key
/// gets zeros.
public struct AttentionPattern {
  /// Of bools, true for a key that is seen; of floats, what is added to the scores. Broadcasts to
  /// `[batch, heads, queries, keys]`.
  public var mask: Tensor?
  /// Query `i` sees keys up to `i`.
  public var isCausal: Bool
  /// Query `i` sees keys closer than this.
  public var window: Int?
  /// Integers `[batch]`: keys from there on are padding.
  public var lengths: Tensor?
  /// Slopes `[heads]`, times the distance to the key: Press, Smith & Lewis 2022.
  public var alibi: Tensor?

  public init(
    mask: Tensor? = nil, isCausal: Bool = false, window: Int? = nil, lengths: Tensor? = nil,
    alibi: Tensor? = nil
  ) {
    self.mask = mask
    self.isCausal = isCausal
    self.window = window
    self.lengths = lengths
    self.alibi = alibi
  }

  /// Every query sees every key.
  public static var all: AttentionPattern { AttentionPattern() }
  /// Query `i` sees keys up to `i`.
  public static var causal: AttentionPattern { AttentionPattern(isCausal: true) }
  /// Keys within each row's length are seen: integers `[batch]`.
  public static func lengths(_ lengths: Tensor) -> AttentionPattern {
    AttentionPattern(lengths: lengths)
  }
  /// Keys are seen where the mask is true, or with what a mask of floats adds.
  public static func mask(_ mask: Tensor) -> AttentionPattern { AttentionPattern(mask: mask) }

  /// The attention of heads: `[n, queries, heads, width]` → `[n, queries, heads, width of values]`.
  func attend(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, dropout: Double = 0
  ) -> Tensor {
    scaledDotProductAttention(
      query, key, value, mask: mask, isCausal: isCausal, window: window, lengths: lengths,
      alibi: alibi, dropout: Float(dropout))
  }

  /// The attention of tokens that follow those of a cache, which are kept there too.
  ///
  /// - `position`: `i32[]`, of the first query.
  func attend(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, through cache: KeyValueCache,
    at position: Tensor
  ) -> Tensor {
    guard mask == nil, lengths == nil, alibi == nil, isCausal else {
      return .poisoned(
        ApusError(
          .unsupported, "attention through a cache has a mask, lengths or slopes, or is not causal",
          expected: "a causal pattern, with a window or without"), like: query)
    }
    let (keys, values) = cache.appending(key, value, at: position)
    let (batch, count, length) = (query.shape[0], query.shape[1], cache.length)
    // Keys from there on are neither seen nor read. The cache has looked at the places.
    let lengths = (position.reshaped([1]) + Double(count)).broadcast(to: [batch])
    if count == 1, window == nil {
      return scaledDotProductAttention(query, keys, values, lengths: lengths, cutsLengths: true)
    }
    let row = Tensor.iota([count, length], axis: 0) + position
    let column = Tensor.iota([count, length], axis: 1)
    var isSeen = column .<= row
    if let window { isSeen = logicalAnd(isSeen, column .> (row - Double(window))) }
    return scaledDotProductAttention(
      query, keys, values, mask: isSeen.reshaped([1, 1, count, length]), lengths: lengths,
      cutsLengths: true)
  }
}
