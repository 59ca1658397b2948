// Pooling of images `[n, h, w, c]`; Benchmarks/peers has the same names.

import Apus

extension MemoryOperation {
  /// Pooling and its gradients, as convolutional networks have them.
  static let pools =
    pooling("max_2x2", halved) { maxPool($0, 2) }
    + pooling("max_3x3", halvedUp) { maxPool($0, 3, stride: 2, padding: 1) }
    + pooling("average_2x2", halved) { averagePool($0, 2) }
    + pooling("global_average", { [$0[0], $0[3]] }) { globalAveragePool($0) }

  /// The result of windows of 2 side by side.
  private static func halved(_ images: Shape) -> Shape {
    [images[0], images[1] / 2, images[2] / 2, images[3]]
  }

  /// That of windows of 3 that move by 2, with padding of 1.
  private static func halvedUp(_ images: Shape) -> Shape {
    [images[0], (images[1] + 1) / 2, (images[2] + 1) / 2, images[3]]
  }

  /// A function of images, and it together with its gradient of what arrives from above.
  private static func pooling(
    _ name: String, _ pooled: @escaping @Sendable (Shape) -> Shape,
    _ function: @escaping @Sendable (Tensor) -> Tensor
  ) -> [MemoryOperation] {
    [
      MemoryOperation(.pool, name, flops: 1, { [Operand($0)] }) { [function($0[0])] },
      MemoryOperation(
        .pool, "\(name)_gradient", flops: 2, { [Operand($0), Operand(pooled($0))] }
      ) {
        let y = function($0[0])
        return [y] + gradients(of: y, withRespectTo: [$0[0]], seed: $0[1])
      },
    ]
  }
}
