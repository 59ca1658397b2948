// Models that tell the next token from those before.

import ApusGraph
import ApusOps

/// A model that gives each token's place scores of the token that follows.
///
///     let loss = crossEntropy(model(batch.tokens), batch.next)
public protocol CausalLanguageModel: Module {
  /// The number of different tokens.
  var vocabularySize: Int { get }
  /// The most tokens of a row.
  var maximumLength: Int { get }
  /// A cache for each attention.
  ///
  /// - `batch`: rows that are continued side by side.
  /// - `length`: the most tokens of a row.
  func makeCaches(batch: Int, length: Int) -> [KeyValueCache]
  /// Integers `[n, t]` → logits `[n, t, vocabularySize]`.
  func logits(_ tokens: Tensor) -> Tensor
  /// As ``logits(_:)``, of tokens that follow those of the caches.
  ///
  /// - `position`: `i32[]`, the number of tokens before these.
  func logits(_ tokens: Tensor, caches: [KeyValueCache], at position: Tensor) -> Tensor
}

extension CausalLanguageModel {
  /// Integers `[n, t]` → logits `[n, t, vocabularySize]`.
  public func callAsFunction(
    _ tokens: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    tokens.trace.withCallLocation(sourceLocation(file, line)) { logits(tokens) }
  }
}

/// Where a block's attention gets the tokens before from.
struct CachedPlace {
  let cache: KeyValueCache
  /// `i32[]`.
  let position: Tensor
}

/// Causal attention of heads, through a cache where there is one.
func causalAttention(
  _ query: Tensor, _ key: Tensor, _ value: Tensor, _ place: CachedPlace?, dropout: Double
) -> Tensor {
  guard let place else {
    return AttentionPattern.causal.attend(query, key, value, dropout: dropout)
  }
  return AttentionPattern.causal.attend(
    query, key, value, through: place.cache, at: place.position)
}
