// Residual networks: the deep ones of ImageNet and the small ones of CIFAR.

import ApusGraph
import ApusOps

/// A residual network: images `[n, h, w, channels]` → `[n, classes]` logits.
///
///     let model = ResNet.resNet18(classes: 10)
///     let small = ResNet.cifar(blocks: 3)          // ResNet-20
///
/// He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition". Parameters and buffers are named
/// as torchvision's (`layer1.0.conv1.weight`, `layer2.0.downsample.1.running_mean`, `fc.bias`); a weight of a
/// convolution is torchvision's with the second axis at the end. Normalisations start at 1 and 0, convolutions
/// in N(0, 2 / fanOut).
public struct ResNet: ImageClassifier, Sendable {
  public let conv1: Conv2d
  public let bn1: BatchNorm
  public let layer1: Stack<ResidualBlock>
  public let layer2: Stack<ResidualBlock>
  public let layer3: Stack<ResidualBlock>
  /// Nil in the networks of CIFAR.
  public let layer4: Stack<ResidualBlock>?
  /// The head, which may be replaced: `model.fc = Linear(512, 37)`.
  public var fc: Linear
  public var head: Linear {
    get { fc }
    set { fc = newValue }
  }
  /// Whether the network begins with a stride and a pooling, for large images.
  private let halvesTwice: Bool

  /// ResNet-18: 11,689,512 parameters of a thousand classes.
  ///
  /// Images of 224 x 224 are what it was made for; any of at least one pixel are taken.
  public static func resNet18(classes: Int = 1000, channels: Int = 3) -> ResNet {
    ResNet(blocks: [2, 2, 2, 2], width: 64, classes: classes, channels: channels)
  }

  /// ResNet-34: 21,797,672 parameters of a thousand classes.
  public static func resNet34(classes: Int = 1000, channels: Int = 3) -> ResNet {
    ResNet(blocks: [3, 4, 6, 3], width: 64, classes: classes, channels: channels)
  }

  /// ResNet-50, of bottlenecks: 25,557,032 parameters of a thousand classes.
  ///
  /// The stride stands at the 3x3 convolution, as in torchvision (where the paper has it at the first 1x1).
  public static func resNet50(classes: Int = 1000, channels: Int = 3) -> ResNet {
    ResNet(blocks: [3, 4, 6, 3], width: 64, expansion: 4, classes: classes, channels: channels)
  }

  /// The networks of the paper's section on CIFAR-10, with projections as shortcuts: three stages of `width`,
  /// twice and four times as many channels; 6 · `blocks` + 2 layers.
  ///
  ///     ResNet.cifar(blocks: 3)                             // ResNet-20 on [n, 32, 32, 3]
  ///     ResNet.cifar(blocks: 2, classes: 10, channels: 1)   // ResNet-14 on grey images
  ///
  /// - `blocks`: of each stage.
  public static func cifar(
    blocks: Int, width: Int = 16, classes: Int = 10, channels: Int = 3
  ) -> ResNet {
    ResNet(
      blocks: [blocks, blocks, blocks], width: width, classes: classes, channels: channels,
      halvesTwice: false)
  }

  /// - `blocks`: of each of three or four stages, whose width doubles from one to the next.
  private init(
    blocks: [Int], width: Int, expansion: Int = 1, classes: Int, channels: Int,
    halvesTwice: Bool = true
  ) {
    self.halvesTwice = halvesTwice
    conv1 = .ofResiduals(channels, width, halvesTwice ? 7 : 3, stride: halvesTwice ? 2 : 1)
    bn1 = BatchNorm(width)
    var inputs = width
    let stages = blocks.enumerated().map { stage, count in
      let width = Shape.product(width, 1 << stage)
      var stride = stage == 0 ? 1 : 2
      return Stack(count) {
        defer {
          inputs = Shape.product(width, expansion)
          stride = 1
        }
        return ResidualBlock(inputs, width, stride: stride, expansion: expansion)
      }
    }
    layer1 = stages[0]
    layer2 = stages[1]
    layer3 = stages[2]
    layer4 = stages.count > 3 ? stages[3] : nil
    fc = Linear(inputs, classes)
  }

  /// What the head classifies: `[n, h, w, channels]` → `[n, features]`, the mean of each channel.
  public func features(_ images: Tensor) -> Tensor {
    var x = relu(bn1(conv1(images)))
    if halvesTwice { x = maxPool(x, 3, stride: 2, padding: 1) }
    x = layer3(layer2(layer1(x)))
    if let layer4 { x = layer4(x) }
    return globalAveragePool(x)
  }
}
