// The networks whose training steps are timed. Benchmarks/peers/train.py has the same.

import Apus

/// A network whose training step is timed, on one fixed batch of random data.
package struct TrainingWorkload: Sendable {
  enum Update: Sendable { case momentum, adam }

  package let name: String
  /// Features, the widths of the layers, classes. ReLU stands between the layers.
  let widths: [Int]
  package let batch: Int
  let update: Update

  /// All workloads, smallest first.
  package static let all = [
    // What calling a step costs: its products take less time than that.
    TrainingWorkload(name: "mlp_tiny", widths: [4, 64, 64, 2], batch: 1, update: .adam),
    TrainingWorkload(name: "mlp_small", widths: [784, 128, 10], batch: 64, update: .momentum),
    TrainingWorkload(
      name: "mlp_large", widths: [784, 1024, 1024, 10], batch: 256, update: .adam),
    TrainingWorkload(
      name: "mlp_wide", widths: [2048, 2048, 2048, 2048], batch: 512, update: .adam),
  ]

  /// The workload of that name.
  ///
  /// - Throws: `missing`, with the names there are.
  package static func named(_ name: String) throws -> TrainingWorkload {
    guard let workload = all.first(where: { $0.name == name }) else {
      throw ApusError(
        .missing, "there is no workload '\(name)'",
        expected: all.map(\.name).joined(separator: ", "))
    }
    return workload
  }

  /// Operations of the products of one step: forward, weights' gradients, and all but the first layer's
  /// operands' gradients.
  func flops(batch: Int) -> Double {
    let products = zip(widths, widths.dropFirst()).map { 2 * Double(batch * $0 * $1) }
    return 3 * products.reduce(0, +) - products[0]
  }
}

/// A batch's size where one is given.
///
/// - Throws: `invalidArgument` for less than 1.
func checked(_ batch: Int?) throws -> Int? {
  guard let batch else { return nil }
  guard batch >= 1 else {
    throw ApusError(.invalidArgument, "a batch of \(batch)", expected: "at least 1")
  }
  return batch
}
