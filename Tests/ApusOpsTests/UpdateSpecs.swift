// Specs of the optimisers' update rules.

import ApusGraph
import ApusOps
import TestSupport

/// Operands of an update of parameters of the given shapes, with so many scalars.
private func update(_ shapes: Shape..., slots: Int, scalars: Int, dtype: DType = .f32)
  -> [TensorType]
{
  shapes.flatMap { Array(repeating: TensorType(dtype, $0), count: 2 + slots) }
    + Array(repeating: TensorType(dtype, []), count: scalars)
}

private func momentum(_ shapes: Shape..., scalars: Int = 1) -> [[TensorType]] {
  shapes.map { update($0, slots: 1, scalars: scalars) }
}
private func adam(_ shapes: Shape..., scalars: Int = 2) -> [[TensorType]] {
  shapes.map { update($0, slots: 2, scalars: scalars) }
}

private let momentumSpecs: [OpSpec] = [
  OpSpec(
    MomentumStep(momentum: 0.9),
    on: momentum([17], [], [3, 5], [0], [1003]) + [update([5], slots: 1, scalars: 1, dtype: .f64)],
    rejects: [
      [.f32(3), .f32(3), .f32(3)], [.f32(3), .f32(3), .f32(4), .f32()],
      [.f32(3), .f32(3), .f32(3), .f32(1)], [.i32(3), .i32(3), .i32(3), .i32()],
      [.f32(3), .bf16(3), .f32(3), .f32()],
    ],
    examples: [
      // PyTorch's SGD(lr=0.5, momentum=0.9) of p = 1, g = 2, after a step that left v = 10.
      .init(
        [
          NDArray([1], shape: [1]), NDArray([2], shape: [1]), NDArray([10], shape: [1]),
          NDArray(0.5),
        ],
        gives: [NDArray([-4.5], shape: [1]), NDArray([11], shape: [1])])
    ]),
  OpSpec(
    MomentumStep(momentum: 0.8, nesterov: true, weightDecay: 0.1, isScaled: true),
    on: momentum([17], [3, 5], scalars: 2), rejects: momentum([17])),
  OpSpec(
    MomentumStep(momentum: 0.8, parameters: 3),
    on: [
      update([3], [40, 17], [1], slots: 1, scalars: 1),
      update([513], [0], [2000], slots: 1, scalars: 1),
    ],
    rejects: [
      update([3], [40, 17], slots: 1, scalars: 1), update([3], [4], [5], slots: 1, scalars: 2),
    ]),
  OpSpec(MomentumStep(momentum: 0.8, parameters: 0), on: [], rejects: [[.f32()], []]),
  OpSpec(MomentumStep(momentum: 0.8, parameters: .max), on: [], rejects: momentum([3])),
]

private let adamSpecs: [OpSpec] = [
  OpSpec(
    AdamStep(beta1: 0.9, beta2: 0.99, epsilon: 1e-3), .uniform(-2...2), .uniform(-2...2),
    .uniform(-2...2), .uniform(0.5...2), .uniform(0.1...1),
    on: adam([17], [], [3, 5], [0], [1003]) + [update([5], slots: 2, scalars: 2, dtype: .f64)],
    rejects: [
      [.f32(3), .f32(3), .f32(3), .f32(), .f32()],
      [.f32(3), .f32(3), .f32(3), .f32(4), .f32(), .f32()],
      [.f32(3), .f32(3), .f32(3), .f32(3), .f32(), .f32(1)],
    ]),
  OpSpec(
    AdamStep(
      beta1: 0.8, beta2: 0.9, epsilon: 1e-2, weightDecay: 0.1, shrinks: true, isScaled: true),
    .uniform(-2...2), .uniform(-2...2), .uniform(-2...2), .uniform(0.5...2), .uniform(0.1...1),
    on: adam([17], [3, 5], scalars: 4), rejects: adam([17], scalars: 3)),
  OpSpec(
    AdamStep(beta1: 0.9, beta2: 0.99, epsilon: 1e-3, parameters: 2), .uniform(0.5...2),
    on: [update([3], [40, 17], slots: 2, scalars: 2), update([600], [5], slots: 2, scalars: 2)],
    rejects: [update([3], slots: 2, scalars: 2)]),
]

private let rmsSpecs: [OpSpec] = [
  OpSpec(
    RMSStep(alpha: 0.9, epsilon: 1e-3), .uniform(-2...2), .uniform(-2...2), .uniform(0.5...2),
    on: momentum([17], [], [3, 5], [0], [1003]) + [update([5], slots: 1, scalars: 1, dtype: .f64)],
    rejects: [
      [.f32(3), .f32(3), .f32(3)], [.f32(3), .f32(3), .f32(4), .f32()],
      [.f32(3), .f32(3), .f32(3), .f32(1)], [.i32(3), .i32(3), .i32(3), .i32()],
    ]),
  OpSpec(
    RMSStep(alpha: 0.75, epsilon: 0), .uniform(0.5...2), on: momentum([3]), rejects: [],
    examples: [
      // PyTorch's RMSprop(lr=0.5, alpha=0.75, eps=0) of p = 1, g = 2, after a step that left v = 4.
      .init(
        [
          NDArray([1], shape: [1]), NDArray([2], shape: [1]), NDArray([4], shape: [1]),
          NDArray(0.5),
        ],
        gives: [NDArray([0.5], shape: [1]), NDArray([4], shape: [1])])
    ]),
  OpSpec(
    RMSStep(alpha: nil, epsilon: 1e-2, weightDecay: 0.1, isScaled: true), .uniform(-2...2),
    .uniform(-2...2), .uniform(0.5...2), on: momentum([17], [3, 5], scalars: 2),
    rejects: momentum([17])),
  OpSpec(
    RMSStep(alpha: nil, epsilon: 1e-3, parameters: 3), .uniform(0.5...2),
    on: [
      update([3], [40, 17], [1], slots: 1, scalars: 1),
      update([513], [0], [2000], slots: 1, scalars: 1),
    ],
    rejects: [update([3], [40, 17], slots: 1, scalars: 1)]),
]

// The sign of a mean of gradients and momenta that are all above 0 has a derivative.
private let lionSpecs: [OpSpec] = [
  OpSpec(
    LionStep(beta1: 0.9, beta2: 0.99), .uniform(-2...2), .uniform(0.5...2), .uniform(0.5...2),
    on: momentum([17], [], [3, 5], [0], [1003]) + [update([5], slots: 1, scalars: 1, dtype: .f64)],
    rejects: [
      [.f32(3), .f32(3), .f32(3)], [.f32(3), .f32(3), .f32(4), .f32()],
      [.f32(3), .f32(3), .f32(3), .f32(1)], [.i32(3), .i32(3), .i32(3), .i32()],
    ]),
  OpSpec(
    LionStep(beta1: 0.8, beta2: 0.9, shrinks: true, isScaled: true), .uniform(0.5...2),
    on: momentum([17], [3, 5], scalars: 3), rejects: momentum([17], scalars: 2)),
  OpSpec(
    LionStep(beta1: 0.9, beta2: 0.99, parameters: 3), .uniform(0.5...2),
    on: [
      update([3], [40, 17], [1], slots: 1, scalars: 1),
      update([513], [0], [2000], slots: 1, scalars: 1),
    ],
    rejects: [update([3], [40, 17], slots: 1, scalars: 1)]),
]

private let productSpecs: [OpSpec] = [
  OpSpec(
    MatMulMomentumStep(MatMul(transposeA: true), MomentumStep(momentum: 0.9)),
    on: [
      [.f32(6, 40), .f32(6, 33), .f32(40, 33), .f32(40, 33), .f32()],
      [.f32(1, 2), .f32(1, 5), .f32(2, 5), .f32(2, 5), .f32()],
    ],
    rejects: [
      [.f32(6, 40), .f32(6, 33), .f32(40, 33), .f32(40, 33)],
      [.f32(6, 40), .f32(6, 33), .f32(33, 40), .f32(33, 40), .f32()],
      // Sums of two blocks; a product of one row; several matrices.
      [.f32(600, 4), .f32(600, 3), .f32(4, 3), .f32(4, 3), .f32()],
      [.f32(6, 1), .f32(6, 3), .f32(1, 3), .f32(1, 3), .f32()],
      [.f32(2, 6, 4), .f32(2, 6, 3), .f32(2, 4, 3), .f32(2, 4, 3), .f32()],
    ], smoothness: .unchecked),
  OpSpec(
    MatMulMomentumStep(MatMul(), MomentumStep(momentum: 0.9, nesterov: true)), on: [],
    rejects: [[.f32(6, 4), .f32(4, 3), .f32(6, 3), .f32(6, 3), .f32()]]),
]

let updateSpecs = momentumSpecs + adamSpecs + rmsSpecs + lionSpecs + productSpecs
