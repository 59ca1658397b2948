// LeNets: the small networks that classify images of digits and clothes.

import ApusGraph
import ApusOps

/// A small convolutional network for images of 28 x 28: `[n, 28, 28, channels]` → `[n, classes]` logits.
///
///     conv 3x3 → 32, ReLU, max pooling 2 → conv 3x3 → 64, ReLU, max pooling 2 → 128, ReLU → classes
///
///     let model = LeNet()
///     crossEntropy(model(batch.images), batch.labels)
///
/// It is a modern LeCun et al. 1998 ("Gradient-based learning applied to document recognition"), with 421,642
/// parameters of ten classes. Parameters are `conv1.weight` … `fc2.bias`, as in PyTorch's example, where
/// `fc1` takes its inputs channel by channel and here pixel by pixel. Images of another size are reported where
/// `fc1` takes them.
public struct LeNet: ImageClassifier, Sendable {
  public let conv1: Conv2d
  public let conv2: Conv2d
  public let fc1: Linear
  /// The head, which may be replaced.
  public var fc2: Linear

  public var head: Linear {
    get { fc2 }
    set { fc2 = newValue }
  }

  public init(classes: Int = 10, channels: Int = 1) {
    conv1 = Conv2d(channels, 32, 3, padding: 1)
    conv2 = Conv2d(32, 64, 3, padding: 1)
    fc1 = Linear(7 * 7 * 64, 128)
    fc2 = Linear(128, classes)
  }

  /// What the head classifies: `[n, 128]`.
  public func features(_ images: Tensor) -> Tensor {
    let first = maxPool(relu(conv1(images)), 2)
    let second = maxPool(relu(conv2(first)), 2)
    return relu(fc1(second.flattened(from: 1)))
  }
}

/// LeNet-5 as of 1998, with ReLU and max pooling: `[n, 28, 28, channels]` → `[n, classes]` logits.
///
///     conv 5x5 → 6, pooling 2 → conv 5x5 → 16, pooling 2 → 120 → 84 → classes
///
/// LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition". The first
/// convolution pads by two pixels, which is what the paper's images of 32 x 32 did.
public struct LeNet5: ImageClassifier, Sendable {
  public let conv1: Conv2d
  public let conv2: Conv2d
  public let fc1: Linear
  public let fc2: Linear
  /// The head, which may be replaced.
  public var fc3: Linear

  public var head: Linear {
    get { fc3 }
    set { fc3 = newValue }
  }

  public init(classes: Int = 10, channels: Int = 1) {
    conv1 = Conv2d(channels, 6, 5, padding: 2)
    conv2 = Conv2d(6, 16, 5)
    fc1 = Linear(5 * 5 * 16, 120)
    fc2 = Linear(120, 84)
    fc3 = Linear(84, classes)
  }

  /// What the head classifies: `[n, 84]`.
  public func features(_ images: Tensor) -> Tensor {
    let first = maxPool(relu(conv1(images)), 2)
    let second = maxPool(relu(conv2(first)), 2)
    return relu(fc2(relu(fc1(second.flattened(from: 1)))))
  }
}
