// Specs of resampling along an axis.

import ApusGraph
import ApusOps
import TestSupport

private func resample(
  _ mode: Interpolation, _ from: Int, _ to: Int, aligned: Bool = false, step: Double? = nil,
  adjoint: Bool = false, result: DType? = nil
) -> Resample {
  Resample(
    axis: 1, from: from, to: to, mode: mode, alignsCorners: aligned,
    step: step ?? Double(from) / Double(to), isAdjoint: adjoint, result: result)
}

private let images: [[TensorType]] = [
  [.f32(2, 5, 3)], [.f32(1, 5)], [.f32(0, 5, 2)], [.f32(2, 5, 0)], [.f32(1, 5, 2, 17)],
]

let resampleSpecs: [OpSpec] =
  Interpolation.allCases.flatMap { mode -> [OpSpec] in
    [
      OpSpec(
        resample(mode, 5, 8), on: images,
        rejects: [[.f32(2, 4, 3)], [.f32(5)], [.i32(2, 5, 3)], [.f32(2, 5), .f32(2, 5)]]),
      OpSpec(resample(mode, 5, 3), on: images),
      OpSpec(resample(mode, 5, 8, adjoint: true), on: [[.f32(2, 8, 3)]], rejects: images),
      OpSpec(resample(mode, 5, 3, adjoint: true), on: [[.f32(2, 3, 3)]]),
    ]
  } + [
    OpSpec(
      resample(.linear, 2, 4), on: [],
      examples: [
        .init(
          [NDArray([1, 3], shape: [1, 2])], gives: [NDArray([1, 1.5, 2.5, 3], shape: [1, 4])])
      ]),
    OpSpec(
      resample(.nearest, 2, 5, step: 0.5), on: [[.f32(2, 2, 3)]],
      examples: [
        .init(
          [NDArray([1, 3], shape: [1, 2])], gives: [NDArray([1, 1, 3, 3, 3], shape: [1, 5])])
      ]),
    OpSpec(resample(.cubic, 5, 9, aligned: true, step: 0.5), on: images),
    OpSpec(resample(.linear, 5, 1, aligned: true, step: 0), on: images),
    OpSpec(
      resample(.linear, 5, 8, result: .bf16), on: [[.bf16(2, 5, 19)], [.f32(2, 5, 3)]],
      relativeTolerance: 4e-3),
    OpSpec(
      resample(.cubic, 5, 8, adjoint: true, result: .f32), on: [[.bf16(2, 8, 19)]],
      relativeTolerance: 4e-3),
    OpSpec(resample(.linear, 0, 8), on: [], rejects: [[.f32(1, 0)]]),
    OpSpec(resample(.linear, 5, 1 << 40), on: [], rejects: images),
    OpSpec(resample(.linear, 5, 8, step: .infinity), on: [], rejects: images),
    OpSpec(resample(.linear, 5, 8, step: -1), on: [], rejects: images),
  ]
