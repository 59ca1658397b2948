// Specs of the halves of an all-reduce, in a process alone: a bucket is its own sum.

import ApusGraph
import ApusOps
import TestSupport

let allReduceSpecs: [OpSpec] = [
  OpSpec(
    AllReduceStart(number: 0, isWeighted: false), .uniform(-2...2),
    on: [[.f32(17)], [.f32()], [.f32(3, 5), .f32(0), .f32(5003), .f32()]],
    rejects: [[], [.i32(3)], [.f32(3), .bf16(2)]], smoothness: .none,
    examples: [
      .init(
        [NDArray([1, -3], shape: [2]), NDArray(2)], gives: [NDArray([1, -3, 2], shape: [3])])
    ], isVariadic: true),
  OpSpec(
    AllReduceStart(number: 3, isWeighted: true), .uniform(-2...2),
    on: [[.f32(17), .f32()], [.f32(70, 70), .f32(0), .f32(9), .f32()]],
    rejects: [[.f32()], [.f32(3), .f32(1)]], smoothness: .none,
    examples: [
      .init(
        [NDArray([1, -3], shape: [2]), NDArray(4)], gives: [NDArray([4, -12, 4], shape: [3])]),
      // Nothing counts, whatever it is.
      .init(
        [NDArray([.nan, 1], shape: [2]), NDArray(0)], gives: [NDArray([0, 0, 0], shape: [3])]),
    ]),
  OpSpec(
    AllReduceStart(number: -1, isWeighted: false), on: [], rejects: [[.f32(3)]], smoothness: .none),
  OpSpec(
    AllReduceEnd(number: 0, isWeighted: false, shapes: [[3, 5], [0], [], [4990]]),
    .uniform(-2...2), on: [[.f32(5006)]], rejects: [[.f32(5007)], [.i32(5006)], []],
    smoothness: .none),
  OpSpec(
    AllReduceEnd(number: 2, isWeighted: true, shapes: [[2], [2, 2]]), .uniform(0.5...2),
    on: [[.f32(7)]], rejects: [[.f32(6)], [.f32(1, 7)]], smoothness: .none,
    examples: [
      .init(
        [NDArray([2, 4, 6, 8, -10, 12, 4], shape: [7])],
        gives: [
          NDArray([0.5, 1], shape: [2]), NDArray([1.5, 2, -2.5, 3], shape: [2, 2]),
        ])
    ]),
  OpSpec(
    AllReduceEnd(number: 0, isWeighted: false, shapes: []), on: [], rejects: [[.f32(1)]],
    smoothness: .none),
  OpSpec(
    AllReduceEnd(number: 0, isWeighted: false, shapes: [[1 << 40, 1 << 40]]), on: [],
    rejects: [[.f32(1)]], smoothness: .none),
]
