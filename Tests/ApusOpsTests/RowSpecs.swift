// Specs of the ops on rows: softmax, cross-entropy, normalisation.

import ApusGraph
import ApusOps
import TestSupport

private let rows: [[TensorType]] = [
  [.f32(3, 17)], [.f32(2, 1)], [.f32(4, 1003)], [.f32(9, 33)], [.f32(0, 3)], [.f32(3, 0)],
]
private let wrong: [[TensorType]] = [[.i32(3, 17)], [.f32(3)], [.f32()]]

private func twice(_ cases: [[TensorType]]) -> [[TensorType]] { cases.map { $0 + $0 } }

private let softmaxSpecs: [OpSpec] = [
  OpSpec(
    Softmax(axis: 1), .uniform(-8...8), on: rows, rejects: wrong,
    examples: [
      .init(
        [NDArray([0, 0, -infinity, 0], shape: [2, 2])],
        gives: [
          NDArray([0.5, 0.5, 0, 1], shape: [2, 2])
        ]),
      .init(
        [NDArray([-infinity, -infinity], shape: [1, 2])],
        gives: [
          NDArray([0, 0], shape: [1, 2])
        ]),
    ]),
  OpSpec(Softmax(axis: 1), on: [[.bf16(3, 4)]], relativeTolerance: 1e-2),
  OpSpec(Softmax(axis: 0), on: [[.f32(17)], [.f32(3, 17)], [.f32(5, 1, 1)], [.f32(2, 3, 4)]]),
  OpSpec(
    SoftmaxGradient(axis: 1), .uniform(0...0.5), .uniform(-2...2), on: twice(rows),
    rejects: twice(wrong) + [[.f32(3, 17), .f32(3, 16)]]),
  OpSpec(SoftmaxGradient(axis: 0), on: twice([[.f32(3, 17)], [.f32(5)]])),
  OpSpec(
    SoftmaxGradient(axis: 1, ofLogits: true), .uniform(-8...8), .uniform(-2...2),
    on: twice(rows + [[.f32(40, 9)], [.f32(2, 8193)]]), rejects: twice(wrong)),
  OpSpec(SoftmaxGradient(axis: 0, ofLogits: true), on: twice([[.f32(3, 17)]])),
  OpSpec(
    LogSoftmax(axis: 1), .uniform(-8...8), on: rows, rejects: wrong,
    examples: [
      .init(
        [NDArray([1e4, -infinity], shape: [1, 2])],
        gives: [
          NDArray([0, -infinity], shape: [1, 2])
        ])
    ]),
  OpSpec(LogSoftmax(axis: 1), on: [[.bf16(3, 4)]], relativeTolerance: 1e-2),
  OpSpec(LogSoftmax(axis: 0), on: [[.f32(17)], [.f32(3, 17)]]),
  OpSpec(
    LogSoftmaxGradient(axis: 1), .uniform(-3...0), .uniform(-2...2), on: twice(rows),
    rejects: twice(wrong)),
]

/// Rows of bf16, read or made: what is left of a result, or of the gradient for such rows, is one
/// rounding.
private let narrowSoftmaxSpecs: [OpSpec] = [
  OpSpec(
    Softmax(axis: 1, result: .bf16), .uniform(-8...8),
    on: [[.f32(3, 17)], [.bf16(40, 9)], [.bf16(4, 1003)], [.bf16(3, 0)]],
    rejects: [[.i32(3, 4)], [.bf16(3)]], relativeTolerance: 4e-3),
  OpSpec(
    Softmax(axis: 1, result: .f32), .uniform(-8...8), on: [[.bf16(3, 17)], [.f16(3, 17)]],
    relativeTolerance: 4e-3),
  OpSpec(Softmax(axis: 0, result: .bf16), on: [[.bf16(3, 17)]], relativeTolerance: 4e-3),
  OpSpec(Softmax(axis: 1, result: .i32), on: [], rejects: [[.f32(3, 17)]]),
  OpSpec(
    LogSoftmax(axis: 1, result: .bf16), .uniform(-8...8), on: [[.f32(3, 17)], [.bf16(40, 9)]],
    relativeTolerance: 4e-3),
  OpSpec(
    SoftmaxGradient(axis: 1, result: .bf16), .uniform(0...0.5), .uniform(-2...2),
    on: [[.f32(3, 17), .bf16(3, 17)], [.bf16(40, 9), .bf16(40, 9)]],
    rejects: [[.bf16(3, 4), .bf16(3, 5)], [.bf16(3, 4), .i32(3, 4)]], relativeTolerance: 8e-3),
  OpSpec(
    SoftmaxGradient(axis: 1, ofLogits: true, result: .f32), .uniform(-4...4), .uniform(-2...2),
    on: [[.bf16(3, 17), .f32(3, 17)]], relativeTolerance: 4e-3),
  OpSpec(
    LogSoftmaxGradient(axis: 1, result: .bf16), .uniform(-3...0), .uniform(-2...2),
    on: [[.bf16(3, 17), .f32(3, 17)]], relativeTolerance: 8e-3),
]

private func rule(
  _ reduction: LossReduction, smoothing: Double = 0, ignoring index: Int = -100
) -> CrossEntropyRule {
  CrossEntropyRule(reduction: reduction, smoothing: smoothing, ignoreIndex: index)
}

private let labelled: [[TensorType]] = [
  [.f32(6, 5), .i64(6)], [.f32(5), .u8()], [.f32(2, 3, 5), .i32(2, 3)], [.f32(700, 10), .u8(700)],
  [.f32(6, 5), .i64(6), .f32(5)], [.f32(33, 65), .i32(33), .f32(65)],
]
private let soft: [[TensorType]] = [
  [.f32(6, 5), .f32(6, 5)], [.f32(5), .f32(5)], [.f32(6, 17), .f32(6, 17), .f32(17)],
]
private let unfit: [[TensorType]] = [
  [.f32(6, 5), .i64(5)], [.f32(6, 5), .f32(6, 4)], [.i32(6, 5), .i64(6)], [.f32(), .i64()],
  [.f32(6, 5), .i64(6), .f32(6)], [.f32(6, 5), .bool(6)], [.f32(6, 0), .i64(6)],
]

private let crossEntropySpecs: [OpSpec] = [
  OpSpec(
    CrossEntropy(rule(.mean)), .uniform(-4...4), .integers(0...4), .uniform(0.5...2),
    on: labelled, rejects: unfit,
    examples: [
      .init(
        [NDArray([0, 0, 0, 0], shape: [2, 2]), NDArray([0, 1] as [Int64], shape: [2])],
        gives: [NDArray(0.6931472), NDArray([0.6931472, 0.6931472], shape: [2])])
    ]),
  OpSpec(
    CrossEntropy(rule(.sum, smoothing: 0.1, ignoring: 2)), .uniform(-4...4), .integers(0...4),
    .uniform(0.5...2), on: labelled),
  OpSpec(
    CrossEntropy(rule(.mean, smoothing: 0.2, ignoring: 2)), .uniform(-4...4), .integers(0...4),
    .uniform(0.5...2), on: labelled),
  OpSpec(
    CrossEntropy(rule(.none, smoothing: 0.1, ignoring: 1)), .uniform(-4...4), .integers(0...4),
    .uniform(0.5...2), on: labelled),
  OpSpec(
    CrossEntropy(rule(.mean, smoothing: 0.1)), .uniform(-4...4), .uniform(0.1...1),
    .uniform(0.5...2), on: soft),
  OpSpec(
    CrossEntropy(rule(.none)), .uniform(-4...4), .uniform(0.1...1), .uniform(0.5...2), on: soft),
  OpSpec(
    CrossEntropyGradient(rule(.mean)), .uniform(-2...2), .uniform(1...3), .uniform(-2...2),
    .integers(0...4), .uniform(0.5...2),
    on: labelled.map { gradientTypes($0, .mean) },
    rejects: unfit.map { gradientTypes($0, .mean) } + [
      [.f32(6, 5), .f32(5), .f32(), .i64(6)], [.f32(6, 5), .f32(6), .f32(6), .i64(6)],
    ]),
  OpSpec(
    CrossEntropyGradient(rule(.none, smoothing: 0.1, ignoring: 2)), .uniform(-2...2),
    .uniform(1...3), .uniform(-2...2), .integers(0...4), .uniform(0.5...2),
    on: labelled.map { gradientTypes($0, .none) }),
  OpSpec(
    CrossEntropyGradient(rule(.mean, smoothing: 0.1)), .uniform(-2...2), .uniform(1...3),
    .uniform(-2...2), .uniform(0.1...1), .uniform(0.5...2),
    on: soft.map { gradientTypes($0, .mean) }
  ),
  OpSpec(
    CrossEntropyWithGradient(rule(.mean, ignoring: 3)), .uniform(-4...4), .uniform(0.5...2),
    .integers(0...4), .uniform(0.5...2), on: labelled.map { [$0[0], .f32()] + $0.dropFirst() },
    rejects: unfit.map { [$0[0], .f32()] + $0.dropFirst() } + [[.f32(6, 5), .f32(6), .i64(6)]]),
  OpSpec(
    CrossEntropyWithGradient(rule(.sum, smoothing: 0.1)), .uniform(-4...4), .uniform(0.5...2),
    .uniform(0.1...1), .uniform(0.5...2), on: soft.map { [$0[0], .f32()] + $0.dropFirst() }),
]

/// Logits of bf16, or a gradient of it; losses, distributions and weights stay f32.
private let narrowCrossEntropySpecs: [OpSpec] = [
  OpSpec(
    CrossEntropy(rule(.mean, smoothing: 0.1), result: .f32), .uniform(-4...4), .integers(0...4),
    .uniform(0.5...2),
    on: [[.bf16(6, 5), .i64(6)], [.bf16(33, 65), .i32(33), .f32(65)]],
    rejects: [[.bf16(6, 5), .i64(6), .bf16(5)]], relativeTolerance: 4e-3),
  OpSpec(
    CrossEntropy(rule(.none), result: .f32), .uniform(-4...4), .uniform(0.1...1),
    on: [[.bf16(6, 17), .f32(6, 17)]], rejects: [[.bf16(6, 17), .bf16(6, 17)]],
    relativeTolerance: 4e-3),
  OpSpec(
    CrossEntropyGradient(rule(.mean), result: .bf16), .uniform(-2...2), .uniform(1...3),
    .uniform(-2...2), .integers(0...4),
    on: [[.bf16(6, 5), .f32(6), .f32(), .i64(6)]],
    rejects: [[.bf16(6, 5), .bf16(6), .bf16(), .i64(6)]], relativeTolerance: 4e-3),
  OpSpec(
    CrossEntropyWithGradient(rule(.mean, ignoring: 3), result: .bf16), .uniform(-4...4),
    .uniform(0.5...2), .integers(0...4),
    on: [
      [.bf16(40, 5), .f32(), .u8(40)], [.f32(6, 33), .f32(), .i64(6)],
      [.bf16(6, 65), .f32(), .i32(6)],
    ], rejects: [[.bf16(6, 5), .bf16(), .i64(6)]], relativeTolerance: 4e-3),
  OpSpec(
    CrossEntropyWithGradient(rule(.sum), result: .f32), .uniform(-4...4), .uniform(0.5...2),
    .integers(0...4), on: [[.bf16(6, 5), .f32(), .i64(6)]], relativeTolerance: 4e-3),
  OpSpec(
    CrossEntropyWithGradient(rule(.sum), result: .i32), on: [],
    rejects: [[.f32(6, 5), .f32(), .i64(6)]]),
]

/// `x`, `W` as it lies, and what follows, of 600 rows (three chunks) and of few.
private func linear(
  _ transposed: Bool, bias: Bool, upstream: [TensorType], weights: Bool
) -> [[TensorType]] {
  [(6, 3, 5), (600, 4, 33), (1, 1, 5), (300, 0, 5)].map { rows, depth, classes in
    [.f32(rows, depth), transposed ? .f32(classes, depth) : .f32(depth, classes)]
      + (bias ? [.f32(classes)] : []) + upstream.map { $0.rank == 0 ? $0 : .f32(rows) }
      + [.i32(rows)] + (weights ? [.f32(classes)] : [])
  }
}

private let linearCrossEntropySpecs: [OpSpec] = [
  OpSpec(
    LinearCrossEntropy(
      rule(.mean, ignoring: 3), transposeW: true, hasBias: true,
      gradients: .init(x: true, weight: true, bias: true)),
    .uniform(-1...1), .uniform(-1...1), .uniform(-1...1), .uniform(0.5...2), .integers(0...4),
    on: linear(true, bias: true, upstream: [.f32()], weights: false),
    rejects: [
      [.f32(6, 3), .f32(5, 4), .f32(5), .f32(), .i32(6)],
      [.f32(6, 3), .f32(5, 3), .f32(6), .f32(), .i32(6)],
      [.f32(6, 3), .f32(5, 3), .f32(5), .f32(6), .i32(6)],
      [.f32(6, 3), .f32(5, 3), .f32(5), .f32(), .i32(5)],
      [.f32(6, 3), .f32(5, 3), .f32(5), .f32(), .f32(6, 5)],
      [.f32(2, 3, 3), .f32(5, 3), .f32(5), .f32(), .i32(2, 3)],
    ]),
  OpSpec(
    LinearCrossEntropy(
      rule(.none, smoothing: 0.1, ignoring: 1), gradients: .init(x: true, weight: true)),
    .uniform(-1...1), .uniform(-1...1), .uniform(0.5...2), .integers(0...4), .uniform(0.5...2),
    on: linear(false, bias: false, upstream: [.f32(1)], weights: true)),
  OpSpec(
    LinearCrossEntropy(
      rule(.mean, smoothing: 0.2, ignoring: 0), hasBias: true,
      gradients: .init(weight: true, bias: true)),
    .uniform(-1...1), .uniform(-1...1), .uniform(-1...1), .uniform(0.5...2), .integers(0...4),
    .uniform(0.5...2), on: linear(false, bias: true, upstream: [.f32()], weights: true)),
  OpSpec(
    LinearCrossEntropy(rule(.sum), transposeW: true, hasBias: true),
    .uniform(-1...1), .uniform(-1...1), .uniform(-1...1), .integers(0...4),
    on: linear(true, bias: true, upstream: [], weights: false)),
  OpSpec(
    LinearCrossEntropy(rule(.mean, smoothing: 0.1)),
    .uniform(-1...1), .uniform(-1...1), .integers(0...4), .uniform(0.5...2),
    on: linear(false, bias: false, upstream: [], weights: true)),
]

/// Logits, log-sum, the loss's gradient, target and weights.
private func gradientTypes(_ types: [TensorType], _ reduction: LossReduction) -> [TensorType] {
  let row = types[0].with(Shape(Array(types[0].shape.dimensions.dropLast())))
  return [types[0], row, reduction == .none ? row : .f32()] + types.dropFirst()
}

private let normalised: [[TensorType]] = [
  [.f32(3, 17)], [.f32(2, 3, 5), .f32(5)], [.f32(5), .f32(5)], [.f32(100, 33), .f32(33)],
  [.f32(0, 3), .f32(3)],
]

private let normSpecs: [OpSpec] = [
  OpSpec(
    LayerNorm(epsilon: 1e-5),
    on: normalised + [[.f32(3, 7), .f32(7), .f32(7)], [.f32(64, 65), .f32(65), .f32(65)]],
    rejects: [[.i32(3, 4)], [.f32()], [.f32(3, 4), .f32(3)], [.f32(3, 4), .f32(4), .f32(3)]],
    relativeTolerance: 1e-5),
  OpSpec(
    LayerNormGradient(parameters: 2), .uniform(-2...2), .uniform(-2...2), .uniform(-1...1),
    .uniform(0.5...2), .uniform(0.5...2),
    on: [
      [.f32(3, 7), .f32(3, 7), .f32(3), .f32(3), .f32(7)],
      [.f32(200, 33), .f32(200, 33), .f32(200), .f32(200), .f32(33)],
    ],
    rejects: [
      [.f32(3, 7), .f32(3, 7), .f32(3), .f32(3)],
      [.f32(3, 7), .f32(3, 6), .f32(3), .f32(3), .f32(7)],
      [.f32(3, 7), .f32(3, 7), .f32(7), .f32(3), .f32(7)],
      [.f32(3, 7), .f32(3, 7), .f32(3), .f32(3), .f32(3)],
    ], relativeTolerance: 1e-5),
  OpSpec(
    LayerNormGradient(parameters: 1), .uniform(-2...2), .uniform(-2...2), .uniform(-1...1),
    .uniform(0.5...2), .uniform(0.5...2),
    on: [[.f32(2, 3, 5), .f32(2, 3, 5), .f32(2, 3), .f32(2, 3), .f32(5)]],
    relativeTolerance: 1e-5),
  OpSpec(
    LayerNormGradient(parameters: 0), .uniform(-2...2), .uniform(-2...2), .uniform(-1...1),
    .uniform(0.5...2), on: [[.f32(3, 17), .f32(3, 17), .f32(3), .f32(3)]], relativeTolerance: 1e-5
  ),
  OpSpec(
    LayerNormGradient(parameters: 2, epsilon: 1e-3), .uniform(-2...2), .uniform(-2...2),
    .uniform(0.5...2),
    on: [[.f32(3, 7), .f32(3, 7), .f32(7)], [.f32(200, 33), .f32(200, 33), .f32(33)]],
    rejects: [
      [.f32(3, 7), .f32(3, 7)], [.f32(3, 7), .f32(3, 6), .f32(7)],
      [.f32(3, 7), .f32(3, 7), .f32(3)], [.f32(3, 7), .f32(3, 7), .f32(3), .f32(3), .f32(7)],
    ], relativeTolerance: 1e-5),
  OpSpec(
    LayerNormGradient(parameters: 0, epsilon: 1e-5), .uniform(-2...2), .uniform(-2...2),
    on: [[.f32(2, 3, 17), .f32(2, 3, 17)]], relativeTolerance: 1e-5),
  OpSpec(
    RMSNorm(epsilon: 1e-6), on: normalised,
    rejects: [[.i32(3, 4)], [.f32()], [.f32(3, 4), .f32(3)]], relativeTolerance: 1e-5),
  OpSpec(
    RMSNormGradient(parameters: 1), .uniform(-2...2), .uniform(-2...2), .uniform(0.5...2),
    .uniform(0.5...2),
    on: [
      [.f32(3, 7), .f32(3, 7), .f32(3), .f32(7)],
      [.f32(200, 33), .f32(200, 33), .f32(200), .f32(33)],
    ],
    rejects: [
      [.f32(3, 7), .f32(3, 7), .f32(3)], [.f32(3, 7), .f32(3, 7), .f32(7), .f32(7)],
      [.f32(3, 7), .f32(3, 7), .f32(3), .f32(3)],
    ], relativeTolerance: 1e-5),
  OpSpec(
    RMSNormGradient(parameters: 0), .uniform(-2...2), .uniform(-2...2), .uniform(0.5...2),
    on: [[.f32(3, 17), .f32(3, 17), .f32(3)]], relativeTolerance: 1e-5),
  OpSpec(
    RMSNormGradient(parameters: 1, epsilon: 1e-6), .uniform(-2...2), .uniform(-2...2),
    .uniform(0.5...2),
    on: [[.f32(3, 7), .f32(3, 7), .f32(7)], [.f32(2, 3, 5), .f32(2, 3, 5), .f32(5)]],
    rejects: [[.f32(3, 7), .f32(3, 7)], [.f32(3, 7), .f32(3, 7), .f32(3)]],
    relativeTolerance: 1e-5),
]

/// Rows of bf16, read or made: what is left of a result is one rounding.
private let narrowNormSpecs: [OpSpec] = [
  OpSpec(
    LayerNorm(epsilon: 1e-5, result: .bf16),
    on: [
      [.f32(3, 17)], [.bf16(2, 3, 5), .f32(5)], [.bf16(64, 65), .f32(65), .f32(65)],
      [.bf16(0, 3), .f32(3)],
    ],
    rejects: [[.i32(3, 4)], [.bf16()], [.bf16(3, 4), .bf16(4)], [.f32(3, 4), .f32(3)]],
    relativeTolerance: 4e-3),
  OpSpec(
    LayerNorm(epsilon: 1e-5, result: .f32),
    on: [[.bf16(3, 7), .f32(7), .f32(7)], [.f32(3, 7), .f32(7)], [.f16(3, 5), .f32(5)]],
    relativeTolerance: 4e-3),
  OpSpec(LayerNorm(), on: [[.bf16(3, 7), .bf16(7)]], relativeTolerance: 1e-2),
  OpSpec(LayerNorm(result: .i32), on: [], rejects: [[.f32(3, 7)]]),
  OpSpec(
    LayerNormGradient(parameters: 2, result: .bf16), .uniform(-2...2), .uniform(-2...2),
    .uniform(-1...1), .uniform(0.5...2), .uniform(0.5...2),
    on: [
      [.bf16(3, 7), .bf16(3, 7), .f32(3), .f32(3), .f32(7)],
      [.f32(200, 33), .bf16(200, 33), .f32(200), .f32(200), .f32(33)],
    ],
    rejects: [
      [.bf16(3, 7), .bf16(3, 7), .bf16(3), .bf16(3), .f32(7)],
      [.bf16(3, 7), .bf16(3, 6), .f32(3), .f32(3), .f32(7)],
      [.bf16(3, 7), .i32(3, 7), .f32(3), .f32(3), .f32(7)],
      [.bf16(3, 7), .bf16(3, 7), .f32(3), .f32(3), .bf16(7)],
    ], relativeTolerance: 4e-3),
  OpSpec(
    LayerNormGradient(parameters: 1, epsilon: 1e-3, result: .f32), .uniform(-2...2),
    .uniform(-2...2), .uniform(0.5...2), on: [[.bf16(2, 3, 17), .f32(2, 3, 17), .f32(17)]],
    relativeTolerance: 4e-3),
  OpSpec(
    RMSNorm(epsilon: 1e-6, result: .bf16), on: [[.bf16(3, 17), .f32(17)], [.f32(64, 65)]],
    rejects: [[.i32(3, 4)], [.bf16(3, 4), .bf16(4)]], relativeTolerance: 4e-3),
  OpSpec(
    RMSNormGradient(parameters: 1, result: .bf16), .uniform(-2...2), .uniform(-2...2),
    .uniform(0.5...2), .uniform(0.5...2),
    on: [
      [.bf16(3, 7), .f32(3, 7), .f32(3), .f32(7)],
      [.bf16(200, 33), .bf16(200, 33), .f32(200), .f32(33)],
    ],
    rejects: [[.bf16(3, 7), .f32(3, 7), .bf16(3), .f32(7)]], relativeTolerance: 4e-3),
]

let rowSpecs: [OpSpec] =
  softmaxSpecs + narrowSoftmaxSpecs + crossEntropySpecs + narrowCrossEntropySpecs
  + linearCrossEntropySpecs + normSpecs + narrowNormSpecs
