// VGG: the plain deep networks of 3x3 convolutions.

import ApusGraph
import ApusOps

/// VGG: images `[n, h, w, channels]` → `[n, classes]` logits, by 3x3 convolutions with poolings between them.
///
///     let model = VGG.vgg16(classes: 10)
///
/// Simonyan & Zisserman 2014, "Very deep convolutional networks for large-scale image recognition".
/// Parameters are named as torchvision's (`features.0.weight`, `classifier.6.bias`); its linear layers fit as they
/// are, its convolutions with the second axis of the weight at the end. Convolutions start in
/// N(0, 2 / fanOut), linear layers in N(0, 0.01²). Images of at least 32 x 32 are taken.
public struct VGG: ImageClassifier, Sendable {
  private let convolutions: Chain
  private var classifier: Chain

  /// The last of the three linear layers.
  public var head: Linear {
    get { classifier.head }
    set { classifier.head = newValue }
  }

  /// Named as torchvision's.
  public var parts: [(name: String, value: Any)] {
    [("features", convolutions), ("classifier", classifier)]
  }

  /// Eight convolutions; 132,863,336 parameters of a thousand classes.
  public static func vgg11(
    classes: Int = 1000, channels: Int = 3, batchNorm: Bool = false, dropout: Double = 0.5
  ) -> VGG {
    VGG(
      stages: [[64], [128], [256, 256], [512, 512], [512, 512]], classes, channels, batchNorm,
      dropout)
  }

  /// Thirteen convolutions; 138,357,544 parameters of a thousand classes.
  ///
  /// - `batchNorm`: whether a normalisation follows each convolution.
  /// - `dropout`: of the two hidden linear layers.
  public static func vgg16(
    classes: Int = 1000, channels: Int = 3, batchNorm: Bool = false, dropout: Double = 0.5
  ) -> VGG {
    VGG(
      stages: [[64, 64], [128, 128], [256, 256, 256], [512, 512, 512], [512, 512, 512]], classes,
      channels, batchNorm, dropout)
  }

  /// - `stages`: channels of the convolutions before each pooling.
  private init(
    stages: [[Int]], _ classes: Int, _ channels: Int, _ batchNorm: Bool, _ dropout: Double
  ) {
    var layers: [any Layer & Sendable] = []
    var inputs = channels
    for stage in stages {
      for width in stage {
        let deviation = (2 / Double(9 * width)).squareRoot()
        layers.append(
          Conv2d(inputs, width, 3, padding: 1, initializer: .normal(mean: 0, deviation: deviation)))
        if batchNorm { layers.append(BatchNorm(width)) }
        layers.append(ReLU())
        inputs = width
      }
      layers.append(MaxPool2d(2))
    }
    convolutions = Chain(layers)
    func linear(_ inputs: Int, _ outputs: Int) -> Linear {
      Linear(inputs, outputs, initializer: .normal(mean: 0, deviation: 0.01))
    }
    classifier = Chain([
      linear(7 * 7 * 512, 4096), ReLU(), Dropout(dropout), linear(4096, 4096), ReLU(),
      Dropout(dropout), linear(4096, classes),
    ])
  }

  /// What the head classifies: `[n, 4096]`.
  public func features(_ images: Tensor) -> Tensor {
    let pooled = adaptiveAveragePool(convolutions(images), to: 7)
    // Channel by channel, as torchvision's linear layers have been trained.
    return classifier.body(pooled.movingAxis(-1, to: 1).flattened(from: 1))
  }
}
