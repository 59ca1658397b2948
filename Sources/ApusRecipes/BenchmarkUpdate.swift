// What the recipes of benchmarks have in common.

import Apus

/// The update rule of a recipe that is timed.
enum BenchmarkUpdate: Sendable {
  case momentum, adam, adamW

  /// So small that thousands of steps on one batch do not run into gradients of zero.
  var learningRate: Double { self == .momentum ? 1e-3 : 1e-5 }

  func optimizer(_ learningRate: Double) -> any Optimizer {
    switch self {
    case .momentum: SGD(learningRate: .constant(learningRate), momentum: 0.9)
    case .adam: Adam(learningRate: .constant(learningRate))
    case .adamW: AdamW(learningRate: .constant(learningRate))
    }
  }
}

/// Mean cross-entropy of a classifier's logits; reports the accuracy.
func classificationLoss(_ logits: Tensor, _ batch: SymbolicBatch) -> Tensor {
  batch.report("accuracy", accuracy(logits, batch.labels))
  return crossEntropy(logits, batch.labels)
}
