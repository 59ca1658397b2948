// Specs of the ops that read, write or find by index: gather, scatter, one-hot, scans, sorting.

import ApusGraph
import ApusOps
import TestSupport

private let lines: [[TensorType]] = [
  [.f32(3, 17)], [.f32(2, 1)], [.f32(4, 203)], [.f32(5, 33)], [.f32(0, 3)],
]
private let columns: [[TensorType]] = [[.f32(17)], [.f32(5, 17)], [.f32(3, 2, 65)]]

/// Rows of a table, none of them twice, every third one absent.
private let distinctRows = OpSpec.Domain.rule { type, _ in
  (0..<type.count).map { $0 % 3 == 2 ? -1 : Double(type.count - 1 - $0) }
}

private let gatherSpecs: [OpSpec] = [
  OpSpec(
    Gather(axis: 0), .uniform(-2...2), .integers(0...4),
    on: [
      [.f32(5, 3), .i64(4)], [.f32(5), .u8(2, 3)], [.f32(7, 2, 33), .i32()], [.f32(5, 3), .i64(0)],
      [.f32(9, 300), .i32(50)],
    ],
    rejects: [[.f32(), .i64(2)], [.f32(5), .f32(2)], [.f32(5), .bool(2)]],
    examples: [
      .init(
        [NDArray([1, 2, 3, 4], shape: [2, 2]), NDArray([1, 0, 1] as [Int64], shape: [3])],
        gives: [NDArray([3, 4, 1, 2, 3, 4], shape: [3, 2])])
    ]),
  OpSpec(
    Gather(axis: 0), .uniform(-2...2), .integers(0...4), on: [[.bf16(5, 3), .i64(4)]],
    relativeTolerance: 1e-2),
  OpSpec(
    Gather(axis: 0, result: .bf16), .uniform(-2...2), .integers(0...4),
    on: [
      [.f32(5, 3), .i64(4)], [.f32(9, 300), .i32(50)], [.bf16(5, 17), .u8(2, 3)],
      [.f32(5, 3), .i64(0)],
    ],
    rejects: [[.i32(5, 3), .i64(2)], [.f32(5), .f32(2)]], relativeTolerance: 4e-3),
  OpSpec(
    Gather(axis: 1, result: .f32), .uniform(-2...2), .integers(0...4),
    on: [[.bf16(3, 5, 33), .i64(4)]], relativeTolerance: 4e-3),
  OpSpec(
    Gather(axis: 0), .integers(0...99), .integers(0...4),
    on: [[.i64(5, 17), .i32(9)], [.u8(5, 3), .u8(4)]], smoothness: .none),
  OpSpec(
    Gather(axis: 1), .uniform(-2...2), .integers(0...4),
    on: [[.f32(3, 5, 2), .i64(4)], [.f32(2, 5), .i64(2, 3)]], rejects: [[.f32(5), .i64(2)]]),
  OpSpec(
    Gather(axis: 1, isAlong: true), .uniform(-2...2), .integers(0...4),
    on: [[.f32(3, 5), .i64(3, 2)], [.f32(3, 5, 4), .i32(3, 7, 4)], [.f32(40, 10), .u8(40, 1)]],
    rejects: [[.f32(3, 5), .i64(2, 5)], [.f32(3, 5), .i64(3)]]),
  OpSpec(
    ScatterAdd(axis: 0, extent: 5), .uniform(-2...2), .integers(0...4),
    on: [
      [.f32(4, 3), .i64(4)], [.f32(2, 3), .u8(2, 3)], [.f32(33), .i32()],
      [.f32(50, 300), .i32(50)],
      [.f32(0, 3), .i64(0)],
    ],
    rejects: [
      [.f32(4, 3), .i64(3)], [.f32(4), .f32(4)], [.bool(4), .i64(4)], [.f32(), .i64(1)],
    ],
    relativeTolerance: 1e-5),
  OpSpec(
    ScatterAdd(axis: 0, extent: 5, result: .f32), .uniform(-2...2), .integers(0...4),
    on: [
      [.bf16(4, 3), .i64(4)], [.bf16(50, 300), .i32(50)], [.bf16(33), .i32()],
      [.f32(4, 3), .i64(4)],
    ],
    rejects: [[.i32(4, 3), .i64(4)], [.bf16(4, 3), .f32(4)]], relativeTolerance: 4e-3),
  OpSpec(
    ScatterAdd(axis: 1, extent: 5, isAlong: true, result: .f32), .uniform(-2...2), .integers(0...4),
    on: [[.bf16(3, 7, 4), .i32(3, 7, 4)], [.bf16(40, 1), .u8(40, 1)]], relativeTolerance: 4e-3),
  OpSpec(
    ScatterAdd(axis: 0, extent: 5), .integers(-9...9), .integers(0...4),
    on: [[.i32(40, 3), .i64(40)], [.i64(40), .i64(40)]], smoothness: .none),
  OpSpec(
    ScatterAdd(axis: 1, extent: 5, isAlong: true), .uniform(-2...2), .integers(0...4),
    on: [[.f32(3, 2), .i64(3, 2)], [.f32(3, 7, 4), .i32(3, 7, 4)], [.f32(40, 1), .u8(40, 1)]],
    rejects: [[.f32(3, 2), .i64(2, 3)], [.f32(3), .i64(3)]], relativeTolerance: 1e-5),
  OpSpec(
    Coalesce(extent: 5), .uniform(-2...2), .integers(0...4),
    on: [
      [.f32(4, 3), .i64(4)], [.f32(33), .u8(33)], [.f32(50, 300), .i32(50)],
      [.f32(7, 2, 3), .i32(7)],
      [.f32(0, 3), .i64(0)], [.f32(4, 0), .i32(4)],
    ],
    rejects: [
      [.f32(4, 3), .i64(3)], [.f32(4, 2), .f32(4)], [.i32(4, 3), .i64(4)],
      [.f32(2, 2), .i64(2, 2)],
      [.f32(), .i64(1)],
    ],
    examples: [
      .init(
        [
          NDArray([1, 2, 3, 4, 5, 6, 7, 8], shape: [4, 2]),
          NDArray([4, 0, 4, 2] as [Int64], shape: [4]),
        ],
        gives: [
          NDArray([4, 0, -1, 2] as [Int32], shape: [4]),
          NDArray([6, 8, 3, 4, 0, 0, 7, 8], shape: [4, 2]),
        ])
    ], relativeTolerance: 1e-5),
  OpSpec(
    Coalesce(extent: 5), .uniform(-2...2), .integers(0...4), on: [[.bf16(50, 17), .i32(50)]],
    smoothness: .once, relativeTolerance: 4e-3),
  OpSpec(
    SetRows(), .uniform(-2...2), distinctRows, .uniform(-2...2),
    on: [
      [.f32(9, 3), .i32(4), .f32(4, 3)], [.f32(40), .i32(9), .f32(9)],
      [.f32(70, 2, 33), .i32(50), .f32(50, 2, 33)], [.f32(5, 3), .i32(0), .f32(0, 3)],
      [.f32(9, 0), .i32(4), .f32(4, 0)],
    ],
    rejects: [
      [.f32(9, 3), .i64(4), .f32(4, 3)], [.f32(9, 3), .i32(4), .f32(4, 2)],
      [.f32(9, 3), .i32(4), .bf16(4, 3)], [.f32(9, 3), .i32(2, 2), .f32(4, 3)],
    ],
    examples: [
      .init(
        [
          NDArray([1, 2, 3, 4, 5, 6], shape: [3, 2]), NDArray([2, -1] as [Int32], shape: [2]),
          NDArray([7, 8, 9, 10], shape: [2, 2]),
        ],
        gives: [NDArray([1, 2, 3, 4, 7, 8], shape: [3, 2])])
    ]),
  OpSpec(
    SetRows(), .integers(-9...9), distinctRows, .integers(-9...9),
    on: [[.i64(40, 3), .i32(9), .i64(9, 3)], [.u8(9, 3), .i32(4), .u8(4, 3)]], smoothness: .none),
  OpSpec(
    OneHot(depth: 5), .integers(0...4), on: [[.i64(3)], [.u8(2, 2)], [.i32()], [.i64(0)]],
    rejects: [[.f32(3)], [.bool(3)]], smoothness: .none),
  OpSpec(
    LengthMask(extent: 5), .integers(1...5), on: [[.i64(3)], [.u8(2, 2)], [.i32()], [.i64(0)]],
    rejects: [[.f32(3)]], smoothness: .none,
    examples: [
      .init(
        [NDArray([1, 3] as [Int64], shape: [2])],
        gives: [
          NDArray(
            [true, false, false, false, false, true, true, true, false, false], shape: [2, 5])
        ])
    ]),
  OpSpec(OneHot(depth: 5, dtype: .bool), .integers(0...4), on: [[.i64(40)]], smoothness: .none),
  OpSpec(OneHot(depth: 5, dtype: .i64), .integers(0...4), on: [[.i64(40)]], smoothness: .none),
]

private let scanSpecs: [OpSpec] = [
  OpSpec(
    CumulativeSum(axis: 1), on: lines, rejects: [[.f32(3)], [.bool(3, 4)], [.u8(3, 4)]],
    relativeTolerance: 1e-5),
  OpSpec(
    CumulativeSum(axis: 0, isExclusive: true), on: columns + lines.dropLast(),
    relativeTolerance: 1e-5),
  OpSpec(
    CumulativeSum(axis: 1, isExclusive: true, isReverse: true), on: lines,
    examples: [
      .init([NDArray([1, 2, 3], shape: [1, 3])], gives: [NDArray([5, 3, 0], shape: [1, 3])])
    ],
    relativeTolerance: 1e-5),
  OpSpec(CumulativeSum(axis: 0, isReverse: true), on: columns, relativeTolerance: 1e-5),
  OpSpec(
    CumulativeSum(axis: 1), .integers(-9...9), on: [[.i32(3, 40)], [.i64(3, 40, 2)]],
    smoothness: .none),
  OpSpec(
    ArgMax(axis: 1), .distinct(step: 0.25), on: lines,
    rejects: [[.f32(3)], [.bool(3, 4)], [.f32(3, 0)]],
    smoothness: .none,
    examples: [
      .init(
        [NDArray([1, 3, 3, 0, .nan, 9, .nan, 1], shape: [2, 4])],
        gives: [NDArray([1, 0] as [Int64], shape: [2])])
    ]),
  OpSpec(ArgMax(axis: 0, keepDims: true), .integers(0...3), on: columns, smoothness: .none),
  OpSpec(
    ArgMax(axis: 1), .integers(0...9), on: [[.i32(3, 40)], [.i64(3, 40, 2)], [.u8(3, 40)]],
    smoothness: .none),
  OpSpec(ArgMin(axis: 1), .integers(0...3), on: lines, rejects: [[.f32(3, 0)]], smoothness: .none),
  OpSpec(ArgMin(axis: 0), .distinct(step: 0.25), on: columns, smoothness: .none),
  OpSpec(ArgMin(axis: 1), .integers(-9...9), on: [[.i32(3, 40)]], smoothness: .none),
]

private let sortSpecs: [OpSpec] = [
  OpSpec(
    Sort(axis: 1), .distinct(step: 0.25), on: lines, rejects: [[.f32(3)], [.bool(3, 4)]],
    examples: [
      .init(
        [NDArray([2, .nan, 1, 2], shape: [1, 4])],
        gives: [
          NDArray([1, 2, 2, .nan], shape: [1, 4]),
          NDArray([2, 0, 3, 1] as [Int64], shape: [1, 4]),
        ])
    ]),
  OpSpec(
    Sort(axis: 0, isDescending: true), .distinct(step: 0.25), on: columns,
    examples: [
      .init(
        [NDArray([2, .nan, 1, .nan, .infinity], shape: [5])],
        gives: [
          NDArray([.nan, .nan, .infinity, 2, 1], shape: [5]),
          NDArray([1, 3, 4, 0, 2] as [Int64], shape: [5]),
        ])
    ]),
  OpSpec(
    Sort(axis: 1, isDescending: true), .integers(0...9),
    on: [[.i32(3, 40)], [.i64(3, 100)], [.u8(3, 40, 2)], [.i32(2, 300)]], smoothness: .none),
  OpSpec(
    TopK(3, axis: 1), .distinct(step: 0.25), on: [[.f32(3, 17)], [.f32(4, 203)], [.f32(2, 3)]],
    rejects: [[.f32(3)], [.f32(3, 2)], [.bool(3, 4)]],
    examples: [
      .init(
        [NDArray([2, .nan, 1, 2], shape: [1, 4])],
        gives: [
          NDArray([.nan, 2, 2], shape: [1, 3]), NDArray([1, 0, 3] as [Int64], shape: [1, 3]),
        ])
    ]),
  OpSpec(TopK(2, axis: 0, isLargest: false), .distinct(step: 0.25), on: columns),
  OpSpec(
    TopK(2, axis: 1), .integers(0...9), on: [[.i32(3, 40)], [.i64(3, 40)]], smoothness: .none),
]

let indexSpecs: [OpSpec] = gatherSpecs + scanSpecs + sortSpecs
