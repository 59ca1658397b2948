// Specs of pooling: 1 to 3 spatial axes, odd strides, dilations, ceil, adaptive windows, empty batches, images
// of one pixel.

import ApusGraph
import ApusOps
import TestSupport

private func sliding(
  _ sizes: [Int], strides: [Int]? = nil, dilations: [Int]? = nil, before: [Int]? = nil,
  after: [Int]? = nil, roundsUp: Bool = false
) -> PoolWindow {
  .sliding(
    Window(
      sizes, strides: strides ?? sizes, dilations: dilations, before: before, after: after),
    roundsUp: roundsUp)
}

private typealias Case = (
  window: PoolWindow, image: [Int], outputs: [Int], batch: [(n: Int, c: Int)]
)

/// Windows, images that they take, what comes of them, and numbers of images and channels.
private let windows: [Case] = [
  (sliding([2, 2]), [5, 6], [2, 3], [(2, 3), (1, 1), (0, 4), (2, 17), (3, 64)]),
  (
    sliding([3, 3], strides: [2, 2], before: [1, 1]), [5, 6], [3, 3],
    [(2, 2), (1, 5), (2, 33), (3, 48)]
  ),
  (sliding([3], strides: [1], before: [1]), [7], [7], [(2, 3), (3, 1), (1, 40)]),
  (sliding([2], strides: [3]), [11], [4], [(2, 5), (2, 1)]),
  (sliding([1, 1]), [1, 1], [1, 1], [(2, 3), (1, 20)]),
  (sliding([3, 3], strides: [3, 3], before: [1, 1]), [1, 1], [1, 1], [(2, 3), (1, 20)]),
  (
    sliding([3, 2], strides: [1, 2], dilations: [2, 3], before: [2, 1]), [6, 7], [6, 3],
    [(1, 2), (2, 18)]
  ),
  (
    sliding([2, 3], strides: [2, 2], before: [1, 0], roundsUp: true), [4, 6], [3, 3],
    [(1, 3), (2, 16)]
  ),
  (
    sliding([3, 3], strides: [2, 1], before: [0, 1], after: [1, 0]), [4, 5], [2, 4],
    [(2, 3), (1, 19)]
  ),
  (sliding([2, 2, 2]), [3, 4, 2], [1, 2, 1], [(2, 3), (1, 17)]),
  (
    sliding([2, 3, 2], strides: [1, 2, 1], before: [1, 1, 1]), [2, 3, 2], [3, 2, 3],
    [(1, 3), (2, 16)]
  ),
  // A window whose steps all miss the image, and one with more steps than a byte counts.
  (sliding([2], strides: [1], dilations: [2], before: [1]), [1], [1], [(2, 3)]),
  (sliding([17, 17], strides: [1, 1]), [18, 17], [2, 1], [(1, 2), (2, 16)]),
  (.adaptive(to: [2, 3]), [5, 7], [2, 3], [(1, 3), (2, 17)]),
  (.adaptive(to: [4]), [3], [4], [(2, 3)]),
  (.adaptive(to: [2, 1, 2]), [3, 2, 3], [2, 1, 2], [(2, 3)]),
]

private func types(_ c: Case, _ extents: [Int], _ dtype: DType = .f32) -> [TensorType] {
  c.batch.map { TensorType(dtype, Shape([$0.n] + extents + [$0.c])) }
}

private func steps(_ c: Case) -> OpSpec.Domain {
  // Now and then a number that is no step.
  .integers(0...min(c.window.sizes(c.image).reduce(1, *), 255))
}

private let maxSpecs: [OpSpec] = windows.flatMap { c -> [OpSpec] in
  let indexType = c.window.indexType(c.image)
  func withIndices(_ values: [TensorType]) -> [[TensorType]] {
    zip(values, types(c, c.outputs)).map { [$0, $1.with(indexType)] }
  }
  return [
    OpSpec(
      MaxPool(c.window), .distinct(step: 0.25), on: types(c, c.image).map { [$0] },
      rejects: [[.f32(3)], [.i32(2, 8, 8, 3)], [TensorType(.f32, Shape([2] + c.image))]],
      // A place that meets no element is -∞, of which there are no differences.
      smoothness: c.image == [1] ? .none : .twice),
    OpSpec(
      MaxPoolGradient(c.window, image: c.image), .uniform(-2...2), steps(c),
      on: withIndices(types(c, c.outputs)),
      rejects: [
        [types(c, c.outputs)[0], types(c, c.outputs)[0].with(.i64)],
        [.f32(1, 99, 99, 1), .u8(1, 99, 99, 1)],
      ]),
    OpSpec(
      MaxPoolTake(c.window), .uniform(-2...2), steps(c), on: withIndices(types(c, c.image)),
      rejects: [[types(c, c.image)[0], types(c, c.image)[0].with(.i64)]]),
  ]
}

private let averageSpecs: [OpSpec] = windows.flatMap { c -> [OpSpec] in
  [(true, nil), (false, nil), (true, 3.0)].flatMap { counts, divisor -> [OpSpec] in
    [
      OpSpec(
        AveragePool(c.window, countsPadding: counts, divisor: divisor),
        on: types(c, c.image).map { [$0] }, rejects: [[.f32(3)], [.i32(2, 8, 8, 3)]]),
      OpSpec(
        AveragePoolGradient(c.window, image: c.image, countsPadding: counts, divisor: divisor),
        on: types(c, c.outputs).map { [$0] }, rejects: [[.f32(3)], [.f32(1, 99, 99, 1)]]),
    ]
  }
}

private let narrow = sliding([3, 3], strides: [2, 2], before: [1, 1])

private let otherSpecs: [OpSpec] = [
  OpSpec(
    MaxPool(sliding([2, 2], before: [1, 1])), on: [[.f32(1, 2, 2, 1)]],
    rejects: [[.f32(1, 0, 2, 1)], [.f32(1, 2, 2)]],
    examples: [
      .init(
        [NDArray([1, .nan, 3, -.infinity], shape: [1, 2, 2, 1])],
        gives: [
          NDArray([1, .nan, 3, -.infinity], shape: [1, 2, 2, 1]),
          NDArray(doubles: [3, 2, 1, 0], type: .u8(1, 2, 2, 1)),
        ])
    ]),
  OpSpec(
    MaxPool(sliding([2, 3])), on: [[.f32(1, 2, 3, 1)]],
    examples: [
      // The first of equal ones, and the first NaN.
      .init(
        [NDArray([2, 5, 5, 1, 5, 0], shape: [1, 2, 3, 1])],
        gives: [
          NDArray([5], shape: [1, 1, 1, 1]), NDArray(doubles: [1], type: .u8(1, 1, 1, 1)),
        ]),
      .init(
        [NDArray([2, 5, .nan, 1, .nan, .infinity], shape: [1, 2, 3, 1])],
        gives: [
          NDArray([.nan], shape: [1, 1, 1, 1]), NDArray(doubles: [2], type: .u8(1, 1, 1, 1)),
        ]),
      .init(
        [NDArray([Float](repeating: -.infinity, count: 6), shape: [1, 2, 3, 1])],
        gives: [
          NDArray([-.infinity], shape: [1, 1, 1, 1]), NDArray(doubles: [0], type: .u8(1, 1, 1, 1)),
        ]),
    ]),
  OpSpec(
    MaxPool(narrow, result: .bf16), .distinct(step: 0.25),
    on: [[.f32(2, 5, 6, 3)], [.bf16(2, 5, 6, 19)]], relativeTolerance: 4e-3),
  OpSpec(
    MaxPool(narrow, result: .f32), .distinct(step: 0.25), on: [[.bf16(2, 5, 6, 19)]],
    relativeTolerance: 4e-3),
  OpSpec(
    MaxPoolGradient(narrow, image: [5, 6], result: .bf16), .uniform(-2...2), .integers(0...8),
    on: [[.f32(2, 3, 3, 3), .u8(2, 3, 3, 3)], [.bf16(2, 3, 3, 19), .u8(2, 3, 3, 19)]],
    relativeTolerance: 4e-3),
  OpSpec(
    MaxPoolTake(narrow, result: .bf16), .uniform(-2...2), .integers(0...8),
    on: [[.f32(2, 5, 6, 3), .u8(2, 3, 3, 3)], [.bf16(2, 5, 6, 19), .u8(2, 3, 3, 19)]],
    relativeTolerance: 4e-3),
  OpSpec(
    AveragePool(narrow, result: .bf16), on: [[.f32(2, 5, 6, 3)], [.bf16(2, 5, 6, 19)]],
    relativeTolerance: 4e-3),
  OpSpec(
    AveragePoolGradient(narrow, image: [5, 6], result: .bf16),
    on: [[.f32(2, 3, 3, 3)], [.bf16(2, 3, 3, 19)]], relativeTolerance: 4e-3),
]

let poolSpecs: [OpSpec] = maxSpecs + averageSpecs + otherSpecs
