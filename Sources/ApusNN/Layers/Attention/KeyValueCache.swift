// What an attention keeps of earlier tokens while text is generated.

import ApusGraph
import ApusOps

/// Keys and values of the tokens so far, for one attention: `[batch, length, heads, width]` each, zeros at first.
///
/// Its length is fixed, so that one compiled step serves every token, and what a token adds is written into its
/// memory: a step costs the same however much is kept. Who generates holds one for each attention of the model
/// beside it; it is no part of the model's weights.
public struct KeyValueCache: Module, Sendable {
  let scope = Scope()
  /// A row for each place of each sequence, so that new ones are rows that are set.
  let keys: Buffer
  let values: Buffer
  /// Sequences that are continued side by side.
  public let batch: Int
  /// How many tokens it holds of each.
  public let length: Int
  private let heads, width: Int

  /// - `batch`: rows that are continued side by side.
  /// - `length`: the most tokens of a row.
  /// - `heads`: those of the keys.
  /// - `width`: of one head.
  public init(batch: Int, length: Int, heads: Int, width: Int, dtype: DType = .f32) {
    (self.batch, self.length, self.heads, self.width) = (batch, length, heads, width)
    keys = Buffer([batch * length, heads * width], dtype: dtype)
    values = Buffer([batch * length, heads * width], dtype: dtype)
  }

  /// All keys and values, those of the new tokens at their places. A place behind the last one is noticed when the
  /// step runs (`outOfRange`), before anything is written.
  ///
  /// - `key`, `value`: `[batch, count, heads, width]`.
  /// - `position`: `i32[]`, the place of the first new token.
  func appending(
    _ key: Tensor, _ value: Tensor, at position: Tensor
  ) -> (keys: Tensor, values: Tensor) {
    let count = key.shape[1]
    // The table is there to be looked up in: a place outside is an error.
    let place = Tensor.arange(to: Double(length)).take(
      Tensor.arange(to: Double(count)) + position, axis: 0)
    let first = Tensor.arange(to: Double(batch)).reshaped([batch, 1]) * Double(length)
    let rows = (first + place.reshaped([1, count])).reshaped([batch * count])
    func updated(_ buffer: Buffer, _ new: Tensor) -> Tensor {
      let old = buffer.tensor
      let all = old.settingRows(
        rows, to: new.cast(to: old.dtype).reshaped([batch * count, heads * width]))
      buffer.update(to: all)
      return all.reshaped([batch, length, heads, width])
    }
    return (updated(keys, key), updated(values, value))
  }

  /// Makes sequence `i` that which was number `rows[i]`, `i32[batch]`: what a beam search goes on with.
  package func reorder(by rows: Tensor) {
    for buffer in [keys, values] {
      let old = buffer.tensor.reshaped([batch, length * heads * width])
      buffer.update(to: old.take(rows, axis: 0).reshaped([batch * length, heads * width]))
    }
  }
}
