// The classifier that `apus train fashion-mnist` trains.

import Apus

/// 784-128-10 with a ReLU: the multilayer perceptron of every first lesson.
struct FashionClassifier: Module {
  let hidden = Linear(784, 128)
  let output = Linear(128, 10)

  func callAsFunction(_ images: Tensor) -> Tensor {
    output(relu(hidden(images.flattened(from: 1))))
  }

  /// Mean cross-entropy; reports the accuracy.
  static func loss(_ model: FashionClassifier, _ batch: SymbolicBatch) -> Tensor {
    let logits = model(batch.images)
    metric("accuracy", accuracy(logits, batch.labels))
    return crossEntropy(logits, batch.labels)
  }
}
