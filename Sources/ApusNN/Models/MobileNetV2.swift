// MobileNetV2: inverted residuals with depthwise convolutions.

import ApusGraph
import ApusOps

/// MobileNetV2: images `[n, h, w, channels]` → `[n, classes]` logits, with few parameters and few operations.
///
///     let model = MobileNetV2(classes: 10)
///
/// Sandler, Howard, Zhu, Zhmoginov & Chen 2018, "MobileNetV2: inverted residuals and linear bottlenecks";
/// 3,504,872 parameters of a thousand classes. Parameters are named as torchvision's
/// (`features.1.conv.0.0.weight`, `classifier.1.bias`). Convolutions start in N(0, 2 / fanOut), the last layer as
/// `Linear` does. Images of any size are taken; 224 x 224 are what it was made for.
public struct MobileNetV2: ImageClassifier, Sendable {
  private let convolutions: Chain
  private var classifier: Chain

  /// The last layer.
  public var head: Linear {
    get { classifier.head }
    set { classifier.head = newValue }
  }

  /// Named as torchvision's.
  public var parts: [(name: String, value: Any)] {
    [("features", convolutions), ("classifier", classifier)]
  }

  /// - `dropout`: before the last layer.
  public init(classes: Int = 1000, channels: Int = 3, dropout: Double = 0.2) {
    var layers: [any Layer & Sendable] = [Chain.normalized(channels, 32, 3, stride: 2)]
    var inputs = 32
    // Expansion, channels, blocks, the first one's stride: table 2 of the paper.
    for (expansion, width, count, stride) in [
      (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
      (6, 320, 1, 1),
    ] {
      for block in 0..<count {
        layers.append(
          InvertedResidual(inputs, width, stride: block == 0 ? stride : 1, expansion: expansion))
        inputs = width
      }
    }
    layers.append(Chain.normalized(inputs, 1280, 1))
    convolutions = Chain(layers)
    classifier = Chain([Dropout(dropout), Linear(1280, classes)])
  }

  /// What the head classifies: `[n, 1280]`, the mean of each channel, after the dropout.
  public func features(_ images: Tensor) -> Tensor {
    classifier.body(globalAveragePool(convolutions(images)))
  }
}

/// 1x1 to `expansion` times the channels, 3x3 depthwise, 1x1 to the outputs, without an activation at the end;
/// added to its input where that has the same shape.
struct InvertedResidual: Layer, Sendable {
  let conv: Chain
  private let isAdded: Bool

  init(_ inputs: Int, _ outputs: Int, stride: Int, expansion: Int) {
    let width = inputs * expansion
    var layers: [any Layer & Sendable] = []
    if expansion != 1 { layers.append(Chain.normalized(inputs, width, 1)) }
    layers.append(Chain.normalized(width, width, 3, stride: stride, groups: width))
    layers.append(Conv2d.ofResiduals(width, outputs, 1))
    layers.append(BatchNorm(outputs))
    conv = Chain(layers)
    isAdded = stride == 1 && inputs == outputs
  }

  func forward(_ x: Tensor) -> Tensor { isAdded ? x + conv(x) : conv(x) }
}

extension Chain {
  /// A convolution, its normalisation, and ReLU6.
  fileprivate static func normalized(
    _ inputs: Int, _ outputs: Int, _ size: Int, stride: Int = 1, groups: Int = 1
  ) -> Chain {
    Chain([
      Conv2d.ofResiduals(inputs, outputs, size, stride: stride, groups: groups),
      BatchNorm(outputs), ReLU6(),
    ])
  }
}
