// Networks that may be taken apart: a backbone and the linear layer on top of it.

import ApusGraph

/// A network that classifies images by a linear layer on features: `[n, h, w, channels]` → `[n, classes]` logits.
///
/// The head may be replaced by one of other classes, and the features may have heads of other tasks beside it:
///
///     var model = ResNet.cifar(blocks: 2, channels: 1)
///     try model.load("pretrained.safetensors")
///     model.head = Linear(64, 5)                    // new classes; first values by initialize(seed:)
///     model.freeze()
///     model.head.unfreeze()
public protocol ImageClassifier: Layer {
  /// The last layer, from features to logits.
  var head: Linear { get set }
  /// What the head classifies: `[n, h, w, channels]` → `[n, features]`.
  func features(_ images: Tensor) -> Tensor
}

extension ImageClassifier {
  public func forward(_ images: Tensor) -> Tensor { head(features(images)) }

  /// The head's path within the model, as in the names of its parameters: `fc`.
  public var headPath: String {
    let weight = head.weight
    let place = ModelTree(self).places.first { $0.state === weight }?.path ?? ""
    return String(place.dropLast(".weight".count))
  }
}
