// Specs of bounds, which no gradient flows through, and of the joint norm.

import ApusGraph
import ApusOps
import TestSupport

let boundSpecs: [OpSpec] = [
  OpSpec(
    MagnitudeBound(plain: [0]),
    on: [[.f32(17)], [.f32()], [.f32(3, 5)], [.f32(0)], [.f32(5003)], [.bf16(9)]],
    rejects: [[], [.i32(3)], [.f32(3), .f32(3)]], smoothness: .unchecked,
    examples: [
      .init([NDArray([1, -3, 2], shape: [3])], gives: [NDArray(3)]),
      .init([NDArray([1, -.infinity, 2], shape: [3])], gives: [NDArray(Float.infinity)]),
    ]),
  OpSpec(
    MagnitudeBound(plain: [0], products: [.init(1, 2, terms: 4), .init(1, 1, terms: 0)]),
    on: [[.f32(17), .f32(4, 8), .f32(4, 3)], [.f32(2), .f32(0, 3), .f32(5)]],
    rejects: [[.f32(17), .f32(4, 8)], []], smoothness: .unchecked,
    examples: [
      .init(
        [
          NDArray([1], shape: [1]), NDArray([2, -5], shape: [2]), NDArray([-3], shape: [1]),
        ], gives: [NDArray(60)])
    ]),
  OpSpec(
    JointNorm(), .uniform(-2...2),
    on: [[.f32(17)], [.f32()], [.f32(3, 5), .f32(0), .f32(5003)], [.f32(0)]],
    rejects: [[.i32(3)], [.f32(3), .bool(3)]],
    examples: [
      .init([NDArray([3, 0], shape: [2]), NDArray(-4)], gives: [NDArray(5)]),
      .init([NDArray([1e20, 1, 1], shape: [3])], gives: [NDArray(1e20)]),
      .init([NDArray([3e-30, 4e-30], shape: [2])], gives: [NDArray(5e-30)]),
      .init([NDArray([1, .infinity], shape: [2])], gives: [NDArray(Float.infinity)]),
      .init([NDArray([.infinity, .nan], shape: [2])], gives: [NDArray(Float.nan)]),
    ], isVariadic: true),
  // The gradient for an operand of bf16 is rounded once.
  OpSpec(
    JointNorm(), .uniform(-2...2), on: [[.f32(9), .bf16(9)]], isVariadic: true,
    relativeTolerance: 4e-3),
]
