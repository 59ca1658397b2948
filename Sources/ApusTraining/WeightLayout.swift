// Convolutions' weights as PyTorch's files have them, and back.

import ApusGraph

/// Where channels lie in a file's weights of convolutions.
///
///     try model.load("resnet18.safetensors", layout: .channelsFirst)   // torchvision's
///
/// What counts as such a weight is every state of three to five axes: that of a convolution of one to three
/// spatial axes, transposed ones among them.
public enum WeightLayout: String, Sendable, Hashable, CaseIterable {
  /// As models have them: `[outputs, window…, inputs / groups]`.
  case channelsLast
  /// As PyTorch has them: `[outputs, inputs / groups, window…]`.
  case channelsFirst

  /// The shape in a file of what has this shape in a model.
  func stored(_ shape: Shape) -> Shape {
    guard moves(shape) else { return shape }
    let window = shape.dimensions[1..<shape.rank - 1]
    return Shape([shape[0], shape[-1]] + window)
  }

  /// The file's array in the model's shape.
  func loaded(_ array: NDArray, _ shape: Shape) throws -> NDArray {
    guard moves(shape) else { return array }
    let moved = try Self.exchanged(array, shape[0], shape[-1], shape.count)
    return try moved.reshaped(shape)
  }

  /// The model's array as the file has it.
  func saved(_ array: NDArray) throws -> NDArray {
    guard moves(array.shape) else { return array }
    let (outputs, inputs) = (array.shape[0], array.shape[-1])
    let taps = array.count / max(outputs * inputs, 1)
    let moved = try Self.exchanged(array, outputs, taps, array.count)
    return try moved.reshaped(stored(array.shape))
  }

  private func moves(_ shape: Shape) -> Bool {
    self == .channelsFirst && (3...5).contains(shape.rank)
  }

  /// `[outputs, rows, columns]` → `[outputs, columns, rows]`, of `count` elements, by bytes.
  private static func exchanged(
    _ array: NDArray, _ outputs: Int, _ rows: Int, _ count: Int
  ) throws -> NDArray {
    guard count > 0 else { return array }
    let columns = count / (outputs * rows), size = array.dtype.byteCount
    var result = try NDArray(checking: array.type)
    array.withUnsafeBytes { source in
      result.withUnsafeMutableBytes { target in
        guard let from = source.baseAddress, let to = target.baseAddress else { return }
        for output in 0..<outputs {
          let start = output * rows * columns
          for row in 0..<rows {
            for column in 0..<columns {
              (to + (start + column * rows + row) * size).copyMemory(
                from: from + (start + row * columns + column) * size, byteCount: size)
            }
          }
        }
      }
    }
    return result
  }
}
