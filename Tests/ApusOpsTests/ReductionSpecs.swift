// Specs of the reductions: rows, columns, both, everything, nothing.

import ApusGraph
import ApusOps
import TestSupport

private let rows: [[TensorType]] = [
  [.f32(3, 17)], [.f32(4, 1003)], [.f32(33, 1)], [.f32(2, 3, 5)], [.f32(0, 3)], [.f32(5, 129)],
]
private let columns: [[TensorType]] = [
  [.f32(3, 17)], [.f32(1003)], [.f32(33, 129)], [.f32(700, 3)], [.f32(2, 0)],
]
/// Reductions without an identity refuse these; the others fold nothing.
private let empty: [[TensorType]] = [[.f32(2, 0)]]
private let wrong: [[TensorType]] = [[.f32(3)], [.f32()]]

let reductionSpecs: [OpSpec] = [
  OpSpec(Sum(axes: [1], keepDims: false), on: rows + empty, rejects: wrong + [[.bool(2, 3)]]),
  OpSpec(Sum(axes: [0], keepDims: true), on: columns + [[.f32(0, 3)]]),
  OpSpec(Sum(axes: [0, 2], keepDims: false), on: [[.f32(3, 4, 5)], [.f32(33, 2, 17)]]),
  OpSpec(Sum(axes: [1], keepDims: true), on: [[.f32(3, 4, 5)], [.f32(2, 300, 17)]]),
  OpSpec(Sum(axes: [], keepDims: false), on: [[.f32(3, 4)], [.f32()]]),
  OpSpec(
    Sum(axes: [0, 1], keepDims: false), .integers(-9...9), on: [[.i32(3, 40)], [.i64(3, 40)]],
    smoothness: .none),
  OpSpec(
    Product(axes: [1], keepDims: false), .uniform(0.5...1.5), on: rows + empty,
    rejects: wrong + [[.bool(2, 3)]], relativeTolerance: 1e-4),
  // With zeros: dividing by an element would fail.
  OpSpec(Product(axes: [0], keepDims: true), .integers(0...3), on: [[.f32(5)], [.f32(3, 17)]]),
  OpSpec(
    Product(axes: [0, 2], keepDims: false), .uniform(-1.5...1.5),
    on: [[.f32(3, 4, 5)], [.f32(1, 2, 1)]],
    relativeTolerance: 1e-5),
  OpSpec(
    Product(axes: [0], keepDims: false), .integers(-3...3), on: [[.i32(5)]], smoothness: .none),
  OpSpec(
    ScaledProduct(axes: [1], keepDims: false), .uniform(0.5...1.5), on: rows + empty,
    rejects: wrong + [[.bool(2, 3)], [.i32(2, 3)]],
    examples: [
      .init([NDArray([2, -3, 4, 0.25], shape: [1, 4])], gives: [NDArray([-6], shape: [1])]),
      .init(
        [NDArray([1e20, 1e20, 1e-20, 1e-20, 0, .infinity, 1, 1], shape: [2, 4])],
        gives: [NDArray([1, .nan], shape: [2])]),
      .init(
        [NDArray([3e38, 3e38, -1e-30, 1e-30, 0, -1e30, 1e30, 1], shape: [2, 4])],
        gives: [NDArray([-.infinity, 0], shape: [2])]),
    ], relativeTolerance: 1e-4),
  OpSpec(
    ScaledProduct(axes: [0], keepDims: true), .integers(0...3), on: [[.f32(5)], [.f32(3, 17)]]),
  OpSpec(
    ScaledProduct(axes: [0, 2], keepDims: false), .uniform(-1.5...1.5),
    on: [[.f32(3, 4, 5)], [.f32(1, 2, 1)]], relativeTolerance: 1e-5),
  OpSpec(
    ReduceMax(axes: [1], keepDims: false), .distinct(step: 0.125), on: rows,
    rejects: wrong + empty + [[.bool(2, 3)]],
    examples: [
      .init([NDArray([1, 5, 2], shape: [1, 3])], gives: [NDArray([5], shape: [1])]),
      .init([NDArray([1, .nan, 2], shape: [1, 3])], gives: [NDArray([.nan], shape: [1])]),
      .init([NDArray([.nan, 1, 2], shape: [1, 3])], gives: [NDArray([.nan], shape: [1])]),
    ]),
  OpSpec(ReduceMax(axes: [0], keepDims: true), .distinct(step: 0.125), on: columns),
  OpSpec(
    ReduceMax(axes: [0], keepDims: false), .integers(-9...9), on: [[.i32(17)], [.i64(5, 3)]],
    smoothness: .none),
  OpSpec(
    ReduceMin(axes: [1], keepDims: false), .distinct(step: 0.125), on: rows,
    rejects: wrong + empty,
    examples: [
      .init([NDArray([1, -5, 2], shape: [1, 3])], gives: [NDArray([-5], shape: [1])]),
      .init([NDArray([1, .nan, 2], shape: [1, 3])], gives: [NDArray([.nan], shape: [1])]),
    ]),
  OpSpec(ReduceMin(axes: [0], keepDims: true), .distinct(step: 0.125), on: columns),
  OpSpec(
    ReduceAny(axes: [1], keepDims: false), on: [[.bool(3, 17)], [.bool(2, 0)], [.bool(4, 1)]],
    rejects: [[.f32(2, 3)], [.bool(2)]], smoothness: .none,
    examples: [
      .init(
        [NDArray([false, true, false, false], shape: [2, 2])],
        gives: [NDArray([true, false], shape: [2])])
    ]),
  OpSpec(
    ReduceAll(axes: [1], keepDims: false), on: [[.bool(3, 17)], [.bool(2, 0)], [.bool(4, 1)]],
    rejects: [[.f32(2, 3)], [.bool(2)]], smoothness: .none,
    examples: [
      .init(
        [NDArray([true, true, true, false], shape: [2, 2])],
        gives: [NDArray([true, false], shape: [2])])
    ]),
]
