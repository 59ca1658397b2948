// Attention as users call it.

import ApusGraph

/// Scaled dot product attention: each query's average of the values, weighted by the softmax of its products
/// with the keys (Vaswani et al., 2017).
///
/// No array of queries by keys is ever stored, forwards or backwards (<doc:Attention>).
///
///     let (q, k, v) = (x.matmul(wq), x.matmul(wk), x.matmul(wv))   // f32[8,128,768] each
///     func heads(_ x: Tensor) -> Tensor { x.reshaped([8, 128, 12, 64]) }
///     let y = scaledDotProductAttention(heads(q), heads(k), heads(v), isCausal: true)   // f32[8,128,12,64]
///
/// - `query`: `[batch, queries, heads, width]`.
/// - `key`: `[batch, keys, keyHeads, width]`; `value`: `[batch, keys, keyHeads, valueWidth]`. Where there are
///   fewer heads of keys, each serves `heads / keyHeads` neighbouring heads of queries.
/// - `mask`: bool, where true is seen, or floats that are added to the scores; it broadcasts to
///   `[batch, heads, queries, keys]`. A mask of floats that needs a gradient gets one, at the price of an
///   array of queries by keys.
/// - `isCausal`: query i sees keys j ≤ i.
/// - `window`: query i sees keys with `i - window < j`, and `j < i + window` where not causal.
/// - `lengths`: integers `[batch]`, 0 to the number of keys; keys at or beyond them are not seen. Others are
///   noticed when the step runs (`outOfRange`).
/// - `alibi`: slopes `[heads]` (``alibiSlopes(heads:)``); `slope (j - i)` is added to the scores.
/// - `scale`: what products are multiplied by; `1 / sqrt(width)` by default.
/// - `dropout`: the share of probabilities that become 0, in training only; nothing of it is stored.
///
/// Returns `[batch, queries, heads, valueWidth]`. A query that sees no key gives zeros, and its gradients are 0.
/// Shapes that do not fit are reported when the graph is compiled: `shapeMismatch`.
public func scaledDotProductAttention(
  _ query: Tensor, _ key: Tensor, _ value: Tensor, mask: Tensor? = nil, isCausal: Bool = false,
  window: Int? = nil, lengths: Tensor? = nil, alibi: Tensor? = nil, scale: Float? = nil,
  dropout: Float = 0, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  scaledDotProductAttention(
    query, key, value, mask: mask, isCausal: isCausal, window: window, lengths: lengths,
    cutsLengths: false, alibi: alibi, scale: scale, dropout: dropout, file: file, line: line)
}

/// The same; with `cutsLengths` lengths beyond the keys are taken as all of them, and nothing is noticed.
package func scaledDotProductAttention(
  _ query: Tensor, _ key: Tensor, _ value: Tensor, mask: Tensor? = nil, isCausal: Bool = false,
  window: Int? = nil, lengths: Tensor?, cutsLengths: Bool, alibi: Tensor? = nil,
  scale: Float? = nil, dropout: Float = 0, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  query.located(file, line) {
    let type = DType.promoted(DType.promoted(query.dtype, key.dtype), value.dtype)
    let wide = DType.attentionArithmetic([type])
    let trace = query.trace
    let drops = trace.mode == .training && dropout != 0
    let width = query.shape[-1]
    let rule = AttentionRule(
      scale: scale.map(Double.init) ?? (width > 0 ? 1 / Double(width).squareRoot() : 1),
      isCausal: isCausal, window: window, hasMask: mask != nil, hasLengths: lengths != nil,
      cutsLengths: cutsLengths, hasAlibi: alibi != nil, dropout: drops ? Double(dropout) : 0,
      stream: drops ? trace.nextRandomStream() : 0)
    guard (0...1).contains(dropout) else {
      throw ApusError(
        .invalidArgument, "scaledDotProductAttention: dropout \(dropout) is not a probability",
        expected: "0 to 1")
    }
    let added = mask.map { $0.dtype.isFloat ? $0.cast(to: wide, file: file, line: line) : $0 }
    let rows = [query, key, value].map { $0.cast(to: type, file: file, line: line) }
    let slopes = alibi?.cast(to: wide, file: file, line: line)
    let extras = [added, lengths, slopes, drops ? trace.randomKey : nil].compactMap { $0 }
    return Tensor.applyAll(
      Attention(rule), to: rows + extras, resultCount: 2,
      location: sourceLocation(file, line))[0]
  }
}
