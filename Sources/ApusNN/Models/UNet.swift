// U-Net: a class for each pixel.

import ApusGraph
import ApusOps

/// U-Net: images `[n, h, w, channels]` → `[n, h, w, classes]` logits, one set for each pixel.
///
///     let model = UNet(classes: 2, channels: 1)
///
/// Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image segmentation", with
/// padded convolutions and batch normalisation, so that the result has the image's extents. Each of `depth` steps
/// down halves the extents and doubles the channels; each step up is a transposed convolution, joined with what
/// stood at that height. Extents must be multiples of 2^depth: others are reported where the halves are joined.
/// Parameters are `encoder.0.conv1.weight`, `up.0.weight`, `decoder.0.bn2.bias`, `output.weight` and so on.
public struct UNet: Layer, Sendable {
  let encoder: [DoubleConvolution]
  let bottom: DoubleConvolution
  let up: [ConvTranspose2d]
  let decoder: [DoubleConvolution]
  let output: Conv2d

  /// - `width`: channels at full extents.
  /// - `depth`: steps down, and up again; from 1 to 8, and another number is taken as the nearer of these.
  public init(classes: Int, channels: Int = 3, width: Int = 64, depth: Int = 4) {
    let widths = (0...min(max(depth, 1), 8)).map { Shape.product(width, 1 << $0) }
    encoder = zip([channels] + widths, widths.dropLast()).map { DoubleConvolution($0, $1) }
    bottom = DoubleConvolution(widths[widths.count - 2], widths[widths.count - 1])
    let steps = Array(zip(widths.dropFirst(), widths)).reversed()
    up = steps.map { ConvTranspose2d($0, $1, 2, stride: 2) }
    decoder = steps.map { DoubleConvolution($0, $1) }
    output = Conv2d(width, classes, 1)
  }

  public func forward(_ images: Tensor) -> Tensor {
    var x = images
    var heights: [Tensor] = []
    for step in encoder {
      heights.append(step(x))
      x = maxPool(heights[heights.count - 1], 2)
    }
    x = bottom(x)
    for ((rise, step), height) in zip(zip(up, decoder), heights.reversed()) {
      x = step(concat([height, rise(x)], axis: -1))
    }
    return output(x)
  }
}

/// Two 3x3 convolutions, each with a batch normalisation and a ReLU.
struct DoubleConvolution: Layer, Sendable {
  let conv1: Conv2d
  let bn1: BatchNorm
  let conv2: Conv2d
  let bn2: BatchNorm

  init(_ inputs: Int, _ outputs: Int) {
    conv1 = .ofResiduals(inputs, outputs, 3)
    bn1 = BatchNorm(outputs)
    conv2 = .ofResiduals(outputs, outputs, 3)
    bn2 = BatchNorm(outputs)
  }

  func forward(_ x: Tensor) -> Tensor {
    relu(bn2(conv2(relu(bn1(conv1(x))))))
  }
}
