// The models that the command line knows by name.

import Apus
import ArgumentParser

/// 784-128-10 with a ReLU: the multilayer perceptron of every first lesson.
struct FashionClassifier: Module {
  let hidden = Linear(784, 128)
  let output = Linear(128, 10)

  func callAsFunction(_ images: Tensor) -> Tensor {
    output(relu(hidden(images.flattened(from: 1))))
  }

  /// Mean cross-entropy; reports the accuracy.
  static func loss(_ model: FashionClassifier, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.images), batch)
  }
}

/// 784-1024-1024-10 with ReLUs: the benchmarks' large perceptron.
struct LargePerceptron: Module {
  let first = Linear(784, 1024)
  let second = Linear(1024, 1024)
  let output = Linear(1024, 10)

  func callAsFunction(_ images: Tensor) -> Tensor {
    output(relu(second(relu(first(images.flattened(from: 1))))))
  }

  /// Mean cross-entropy; reports the accuracy.
  static func loss(_ model: LargePerceptron, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.images), batch)
  }
}

private func classificationLoss(_ logits: Tensor, _ batch: SymbolicBatch) -> Tensor {
  batch.report("accuracy", accuracy(logits, batch.labels))
  return crossEntropy(logits, batch.labels)
}

/// What `apus train` trains.
enum TrainableModel: String, CaseIterable, ExpressibleByArgument {
  case fashionMNIST = "fashion-mnist"
}

/// What `apus dump` shows: what is trained, and the benchmarks' models.
enum DumpableModel: String, CaseIterable, ExpressibleByArgument {
  case fashionMNIST = "fashion-mnist"
  case small = "mlp_small"
  case large = "mlp_large"

  /// Examples a step, where the user says nothing.
  var batch: Int { self == .large ? 256 : 64 }

  /// The graphs of one step on a batch of that many examples.
  ///
  /// - Throws: what recording throws.
  func graphs(batch: Int) throws -> (forward: Graph, step: Graph) {
    let fields = [BatchField("images", .f32(batch, 28, 28, 1)), BatchField("labels", .i32(batch))]
    func record<Model: Module>(
      _ model: Model, _ optimizer: some Optimizer, _ loss: @escaping LossFunction<Model>
    ) throws -> (forward: Graph, step: Graph) {
      let trainer = try Trainer(model, optimizer: optimizer, loss: loss)
      return (
        try EvaluationStep(trainer.model, loss: loss).graph(for: fields),
        try trainer.trainingStep.graph(for: fields)
      )
    }
    switch self {
    case .fashionMNIST:
      return try record(
        FashionClassifier(), Adam(learningRate: 1e-3), FashionClassifier.loss)
    case .small:
      return try record(
        FashionClassifier(), SGD(learningRate: 0.01, momentum: 0.9), FashionClassifier.loss)
    case .large:
      return try record(LargePerceptron(), Adam(learningRate: 1e-3), LargePerceptron.loss)
    }
  }
}
