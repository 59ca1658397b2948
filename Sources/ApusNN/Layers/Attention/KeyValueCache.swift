// What an attention keeps of earlier tokens while text is generated.

import ApusGraph
import ApusOps

/// Keys and values of the tokens so far, for one attention: `[batch, length, heads, width]` each, zeros at first.
///
/// Its length is fixed, so that one compiled step serves every token. Who generates holds one for each attention
/// of the model beside it; it is no part of the model's weights.
public struct KeyValueCache: Module, Sendable {
  let scope = Scope()
  let keys: Buffer
  let values: Buffer

  /// How many tokens it holds.
  public var length: Int { keys.shape[1] }

  /// - `batch`: rows that are continued side by side.
  /// - `length`: the most tokens of a row.
  /// - `heads`: those of the keys.
  /// - `width`: of one head.
  public init(batch: Int, length: Int, heads: Int, width: Int, dtype: DType = .f32) {
    keys = Buffer([batch, length, heads, width], dtype: dtype)
    values = Buffer([batch, length, heads, width], dtype: dtype)
  }

  /// All keys and values, those of the new tokens at their places.
  ///
  /// - `key`, `value`: `[batch, count, heads, width]`.
  /// - `position`: `i32[]`, the place of the first new token.
  func appending(
    _ key: Tensor, _ value: Tensor, at position: Tensor
  ) -> (keys: Tensor, values: Tensor) {
    let count = key.shape[1]
    // The number of the new token that belongs to each place, or a number outside of them.
    let place = Tensor.arange(to: Double(length)) - position
    let column: Shape = [1, length, 1, 1]
    let isNew =
      count == 1
      ? place .== 0 : logicalAnd(place .>= 0, place .< Double(count))
    func updated(_ buffer: Buffer, _ new: Tensor) -> Tensor {
      let old = buffer.tensor
      let spread =
        count == 1
        ? new : new.take(minimum(maximum(place, 0), Double(count - 1)), axis: 1)
      let all = `where`(isNew.reshaped(column), spread.cast(to: old.dtype), old)
      buffer.update(to: all)
      return all
    }
    return (updated(keys, key), updated(values, value))
  }
}
