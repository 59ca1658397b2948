// Specs of batch normalisation: moments, the op, its gradient.

import ApusGraph
import ApusOps
import TestSupport

private let rows: [[TensorType]] = [
  [.f32(3, 17)], [.f32(2, 3, 5)], [.f32(100, 33)], [.f32(2, 4, 4, 16)], [.f32(2000, 3)],
  [.f32(3, 1030)], [.f32(2, 0)], [.f32(5)],
]

private func gradientTypes(
  _ shape: Int..., parameters: Int = 0, rows: DType = .f32
) -> [TensorType] {
  let x = TensorType(rows, Shape(shape))
  let channels = TensorType.f32(shape.last!)
  return [x, x, channels, channels] + (parameters > 0 ? [channels] : [])
}

let batchNormSpecs: [OpSpec] = [
  OpSpec(
    ChannelMoments(), on: rows, rejects: [[.i32(3, 4)], [.f32()], [.f32(3, 4), .f32(4)]],
    examples: [
      .init(
        [NDArray([1, 5, 2, 5, 6, 5], shape: [3, 2])],
        gives: [NDArray([3, 5], shape: [2]), NDArray([4.6666665, 0], shape: [2])]),
      .init(
        [NDArray([10_000, 10_001, 10_003, 10_000], shape: [4, 1])],
        gives: [NDArray([10_001], shape: [1]), NDArray([1.5], shape: [1])]),
    ], relativeTolerance: 1e-5),
  OpSpec(ChannelMoments(), on: [[.bf16(40, 19)], [.f16(40, 3)]], relativeTolerance: 1e-2),
  OpSpec(
    BatchNorm(epsilon: 1e-5),
    on: [
      [.f32(3, 17)], [.f32(2, 3, 5), .f32(5)], [.f32(100, 33), .f32(33), .f32(33)],
      [.f32(2, 3, 3, 4), .f32(4), .f32(4)],
    ],
    rejects: [[.i32(3, 4)], [.f32()], [.f32(3, 4), .f32(3)], [.f32(3, 4), .f32(4), .f32(3)]],
    relativeTolerance: 1e-5),
  OpSpec(BatchNorm(), on: [[.bf16(30, 7), .f32(7)]], relativeTolerance: 1e-2),
  OpSpec(
    BatchNormGradient(parameters: 2), .uniform(-2...2), .uniform(-2...2), .uniform(-1...1),
    .uniform(0.5...2), .uniform(0.5...2),
    on: [
      gradientTypes(3, 7, parameters: 2), gradientTypes(200, 33, parameters: 2),
      gradientTypes(2, 3, 3, 4, parameters: 2), gradientTypes(2000, 3, parameters: 2),
      gradientTypes(0, 3, parameters: 2),
    ],
    rejects: [
      gradientTypes(3, 7), [.f32(3, 7), .f32(3, 6), .f32(7), .f32(7), .f32(7)],
      [.f32(3, 7), .f32(3, 7), .f32(3), .f32(7), .f32(7)],
      [.i32(3, 7), .i32(3, 7), .f32(7), .f32(7), .f32(7)],
    ], relativeTolerance: 1e-5),
  OpSpec(
    BatchNormGradient(parameters: 1), .uniform(-2...2), .uniform(-2...2),
    .uniform(-1...1), .uniform(0.5...2), .uniform(0.5...2),
    on: [
      gradientTypes(3, 7, parameters: 1),
      gradientTypes(150, 530, parameters: 1),
    ], relativeTolerance: 1e-5),
  OpSpec(
    BatchNormGradient(parameters: 0), .uniform(-2...2), .uniform(-2...2), .uniform(-1...1),
    .uniform(0.5...2), on: [gradientTypes(3, 17)], relativeTolerance: 1e-5),
  OpSpec(
    BatchNormGradient(parameters: 2, result: .bf16), .uniform(-2...2),
    .uniform(-2...2), .uniform(-1...1), .uniform(0.5...2), .uniform(0.5...2), .uniform(-1...1),
    on: [
      gradientTypes(70, 19, parameters: 2, rows: .bf16),
      gradientTypes(70, 19, parameters: 2),
    ], relativeTolerance: 8e-3),
  OpSpec(
    BatchNormGradient(parameters: 2, result: .f32), .uniform(-2...2), .uniform(-2...2),
    .uniform(-1...1), .uniform(0.5...2), .uniform(0.5...2),
    on: [[.f32(40, 5), .bf16(40, 5), .f32(5), .f32(5), .f32(5)]],
    rejects: [[.f32(40, 5), .bf16(40, 5), .bf16(5), .bf16(5), .bf16(5)]], relativeTolerance: 4e-3),
]
