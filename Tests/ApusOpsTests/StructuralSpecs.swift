// Specs of the ops that move elements without looking at them.

import ApusGraph
import ApusOps
import TestSupport

private func counting(_ shape: Shape) -> NDArray {
  NDArray((0..<shape.count).map { Float($0) }, shape: shape)
}

let structuralSpecs: [OpSpec] = [
  OpSpec(
    Concat(axis: 1),
    on: [
      [.f32(2, 3), .f32(2, 5)], [.f32(3, 17), .f32(3, 0), .f32(3, 33)], [.f32(0, 2), .f32(0, 2)],
      [.f32(2, 3)], [.i32(2, 3), .i32(2, 1)], [.bool(1, 3), .bool(1, 2)],
      [.f32(2, 3, 4), .f32(2, 1, 4)],
    ],
    rejects: [
      [.f32(2, 3), .f32(3, 3)], [.f32(2, 3), .i32(2, 3)], [.f32(3), .f32(3)],
      [.f32(2, 3), .f32(2, 3, 1)],
    ],
    examples: [
      .init(
        [counting([2, 2]), counting([2, 1])],
        gives: [NDArray([0, 1, 0, 2, 3, 1], shape: [2, 3])])
    ], isVariadic: true),
  OpSpec(Concat(axis: 0), on: [[.f32(1003), .f32(17), .f32(1)]], isVariadic: true),
  OpSpec(
    Pad(low: [1, 0], steps: [1, 1], shape: [5, 20], value: 0.5),
    on: [[.f32(3, 17)], [.f32(4, 20)], [.f32(0, 3)], [.i32(2, 2)]],
    rejects: [[.f32(5, 3)], [.f32(3)], [.f32(1, 21)]],
    examples: [
      .init(
        [counting([1, 1])],
        gives: [
          NDArray((0..<100).map { $0 == 20 ? 0 : 0.5 }, shape: [5, 20])
        ])
    ]),
  OpSpec(
    Pad(low: [1], steps: [3], shape: [9], value: -.infinity),
    on: [[.f32(3)], [.f32(1)], [.f32(0)]],
    rejects: [[.f32(4)]], smoothness: .unchecked,
    examples: [
      .init(
        [counting([2])],
        gives: [
          NDArray(
            [
              -.infinity, 0, -.infinity, -.infinity, 1, -.infinity, -.infinity, -.infinity,
              -.infinity,
            ],
            shape: [9])
        ])
    ]),
  OpSpec(
    Pad(low: [2, 0, 1], steps: [1, 2, 3], shape: [5, 7, 129], value: 0), on: [[.f32(3, 3, 33)]]),
  OpSpec(
    Slice(starts: [1, 2], steps: [1, 3], shape: [2, 4]),
    on: [[.f32(3, 12)], [.f32(5, 17)], [.i64(3, 12)]],
    rejects: [[.f32(2, 12)], [.f32(3, 11)], [.f32(12)]],
    examples: [
      .init(
        [counting([3, 12])], gives: [NDArray([14, 17, 20, 23, 26, 29, 32, 35], shape: [2, 4])])
    ]),
  OpSpec(
    Slice(starts: [4, 3], steps: [-2, -1], shape: [2, 4]), on: [[.f32(5, 4)], [.f32(6, 9)]],
    rejects: [[.f32(4, 4)], [.f32(5, 3)]],
    examples: [
      .init([counting([5, 4])], gives: [NDArray([19, 18, 17, 16, 11, 10, 9, 8], shape: [2, 4])])
    ]),
  OpSpec(Slice(starts: [0], steps: [1], shape: [0]), on: [[.f32(3)], [.f32(0)]]),
  OpSpec(Slice(starts: [7], steps: [2], shape: [501]), on: [[.f32(1009)]]),
  OpSpec(
    Slice(starts: [0], steps: [0], shape: [1]), on: [], rejects: [[.f32(3)]]),
  OpSpec(
    Slice(starts: [.max], steps: [.min], shape: [.max]), on: [], rejects: [[.f32(3)], [.f32(0)]]),
  OpSpec(
    Transpose([1, 0]),
    on: [[.f32(3, 17)], [.f32(33, 65)], [.f32(0, 4)], [.f32(1, 5)], [.bool(3, 2)]],
    rejects: [[.f32(3)], [.f32(2, 3, 4)]],
    examples: [.init([counting([2, 3])], gives: [NDArray([0, 3, 1, 4, 2, 5], shape: [3, 2])])]),
  OpSpec(Transpose([2, 0, 1]), on: [[.f32(2, 3, 4)], [.i64(5, 1, 17)]]),
  OpSpec(Transpose([0, 2, 1, 3]), on: [[.f32(2, 3, 4, 5)]]),
  OpSpec(Transpose([]), on: [[.f32()]], rejects: [[.f32(1)]]),
  OpSpec(Transpose([0, 0]), on: [], rejects: [[.f32(2, 2)]]),
]
