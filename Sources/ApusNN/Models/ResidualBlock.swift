// The block of residual networks.

import ApusGraph
import ApusOps

/// `relu(f(x) + shortcut(x))`, `f` two or three convolutions, each with a batch normalisation: He et al. 2015,
/// "Deep residual learning for image recognition".
///
///     ResidualBlock(64, 128, stride: 2)                  // 3x3, 3x3
///     ResidualBlock(256, 64, expansion: 4)               // 1x1, 3x3, 1x1 → 256 channels
///
/// `[n, h, w, inputs]` → `[n, h / stride, w / stride, width · expansion]`. The stride is that of the 3x3
/// convolution, in a bottleneck too. Where extents or channels change, the shortcut is a 1x1 convolution with a
/// batch normalisation, else `x` itself. Parameters are named as torchvision's: `conv1.weight`, `bn1.weight`,
/// `downsample.0.weight`.
public struct ResidualBlock: Layer, Sendable {
  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let conv2: Conv2d
  public let bn2: BatchNorm
  public let conv3: Conv2d?
  public let bn3: BatchNorm?
  let downsample: Chain?

  /// - `width`: channels of the 3x3 convolutions.
  /// - `expansion`: above 1, the block is a bottleneck with so many times the channels at its end.
  public init(_ inputs: Int, _ width: Int, stride: Int = 1, expansion: Int = 1) {
    let outputs = Shape.product(width, expansion)
    let isBottleneck = expansion != 1
    conv1 =
      isBottleneck
      ? .ofResiduals(inputs, width, 1) : .ofResiduals(inputs, width, 3, stride: stride)
    bn1 = BatchNorm(width)
    conv2 = .ofResiduals(width, width, 3, stride: isBottleneck ? stride : 1)
    bn2 = BatchNorm(width)
    conv3 = isBottleneck ? .ofResiduals(width, outputs, 1) : nil
    bn3 = isBottleneck ? BatchNorm(outputs) : nil
    let isPlain = stride == 1 && inputs == outputs
    downsample =
      isPlain
      ? nil
      : Chain([.ofResiduals(inputs, outputs, 1, stride: stride) as Conv2d, BatchNorm(outputs)])
  }

  public func forward(_ x: Tensor) -> Tensor {
    var y = bn2(conv2(relu(bn1(conv1(x)))))
    if let conv3, let bn3 { y = bn3(conv3(relu(y))) }
    return relu(y + (downsample?(x) ?? x))
  }
}

extension Conv2d {
  /// Without a bias, which the normalisation after it would take away, of the same extents but for the stride;
  /// first values are N(0, 2 / fanOut), as torchvision's.
  static func ofResiduals(
    _ inputs: Int, _ outputs: Int, _ size: Int, stride: Int = 1, groups: Int = 1
  ) -> Conv2d {
    let fanOut = max(Shape.product(Shape.product(size, size), outputs), 1)
    return Conv2d(
      inputs, outputs, PerAxis(size), stride: PerAxis(stride), padding: .all(size / 2),
      groups: groups, bias: false,
      initializer: .normal(mean: 0, deviation: (2 / Double(fanOut)).squareRoot()))
  }
}
