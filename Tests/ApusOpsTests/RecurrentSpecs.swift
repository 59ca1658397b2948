// Specs of recurrent layers as one op.

import ApusGraph
import ApusOps
import TestSupport

/// Where the rows of each step begin: 5, 3, 1 and then none, of up to 5 sequences in order of their lengths.
private let packed = OpSpec.Domain.rule { type, _ in
  (0..<type.count).map { [0, 5, 8, 9][min($0, 3)] }
}

/// Some order.
private let order = OpSpec.Domain.rule { type, random in
  (0..<type.count).map(Double.init).shuffled(using: &random)
}

/// Gates as forward makes them: what goes into a slope of σ or tanh lies between -1 and 1.
private let lstm = [
  OpSpec(
    LSTMLoop(), .uniform(-1...1),
    on: [
      [.f32(3, 2, 12), .f32(2, 3), .f32(2, 3), .f32(12, 3)],
      [.f32(1, 1, 4), .f32(1, 1), .f32(1, 1), .f32(4, 1)],
      [.f32(4, 5, 68), .f32(5, 17), .f32(5, 17), .f32(68, 17)],
      [.f32(2, 17, 136), .f32(17, 34), .f32(17, 34), .f32(136, 34)],
      [.f32(0, 2, 8), .f32(2, 2), .f32(2, 2), .f32(8, 2)],
      [.f32(2, 0, 8), .f32(0, 2), .f32(0, 2), .f32(8, 2)],
    ],
    rejects: [
      [.f32(3, 2, 13), .f32(2, 3), .f32(2, 3), .f32(12, 3)],
      [.f32(3, 2, 12), .f32(2, 4), .f32(2, 3), .f32(12, 3)],
      [.f32(3, 2, 12), .f32(2, 3), .f32(2, 3), .f32(3, 12)],
      [.i32(3, 2, 12), .i32(2, 3), .i32(2, 3), .i32(12, 3)],
    ], isConsistent: false),
  OpSpec(
    LSTMLoop(isReversed: true), .uniform(-1...1),
    on: [[.f32(3, 2, 12), .f32(2, 3), .f32(2, 3), .f32(12, 3)]], isConsistent: false),
  OpSpec(
    LSTMLoop(hasLengths: true), .uniform(-1...1), .uniform(-1...1), .uniform(-1...1),
    .uniform(-1...1), packed,
    on: [
      [.f32(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(5)],
      [.f32(15, 68), .f32(5, 17), .f32(5, 17), .f32(68, 17), .i32(4)],
      [.f32(0, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(1)],
    ],
    rejects: [
      [.f32(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(4)],
      [.f32(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2)],
      [.f32(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i64(5)],
      [.f32(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(0)],
      [.f32(4, 5, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(5)],
      [.f32(20, 8), .f32(10), .f32(5, 2), .f32(8, 2), .i32(5)],
    ], isConsistent: false),
  OpSpec(
    LSTMLoop(isReversed: true, hasLengths: true), .uniform(-1...1), .uniform(-1...1),
    .uniform(-1...1), .uniform(-1...1), packed,
    on: [[.f32(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(5)]], isConsistent: false),
  OpSpec(
    LSTMLoop(results: [.bf16, .f32]), .uniform(-1...1),
    on: [[.f32(4, 5, 68), .f32(5, 17), .f32(5, 17), .f32(68, 17)]], smoothness: .unchecked,
    relativeTolerance: 8e-3, isConsistent: false),
  OpSpec(
    LSTMLoop(isReversed: true, results: [.f32, .bf16]), .uniform(-1...1),
    on: [[.bf16(2, 17, 136), .f32(17, 34), .f32(17, 34), .f32(136, 34)]],
    rejects: [[.bf16(2, 17, 136), .bf16(17, 34), .f32(17, 34), .f32(136, 34)]],
    smoothness: .unchecked, relativeTolerance: 8e-3, isConsistent: false),
  OpSpec(
    LSTMLoop(hasLengths: true, results: [.bf16, .bf16, .bf16]), .uniform(-1...1), .uniform(-1...1),
    .uniform(-1...1), .uniform(-1...1), packed,
    on: [[.bf16(20, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(5)]],
    smoothness: .unchecked, relativeTolerance: 8e-3, isConsistent: false),
]

private let lstmGradient = [
  OpSpec(
    LSTMLoopGradient(), .uniform(-1...1),
    on: [
      [
        .f32(3, 2, 3), .f32(2, 3), .f32(2, 3), .f32(3, 2, 12), .f32(3, 2, 3), .f32(2, 3),
        .f32(12, 3),
      ],
      [
        .f32(2, 17, 34), .f32(17, 34), .f32(17, 34), .f32(2, 17, 136), .f32(2, 17, 34),
        .f32(17, 34), .f32(136, 34),
      ],
    ],
    rejects: [
      [
        .f32(3, 2, 4), .f32(2, 3), .f32(2, 3), .f32(3, 2, 12), .f32(3, 2, 3), .f32(2, 3),
        .f32(12, 3),
      ]
    ], smoothness: .once, isConsistent: false),
  OpSpec(
    LSTMLoopGradient(isReversed: true, hasLengths: true), .uniform(-1...1), .uniform(-1...1),
    .uniform(-1...1), .uniform(-1...1), .uniform(-1...1), .uniform(-1...1), .uniform(-1...1),
    packed,
    on: [
      [
        .f32(20, 2), .f32(5, 2), .f32(5, 2), .f32(20, 8), .f32(20, 2), .f32(5, 2), .f32(8, 2),
        .i32(5),
      ]
    ], smoothness: .once, isConsistent: false),
  OpSpec(
    LSTMLoopGradient(results: [.bf16]), .uniform(-1...1),
    on: [
      [
        .bf16(2, 17, 34), .f32(17, 34), .f32(17, 34), .bf16(2, 17, 136), .f32(2, 17, 34),
        .f32(17, 34), .f32(136, 34),
      ],
      [
        .f32(3, 2, 3), .f32(2, 3), .f32(2, 3), .bf16(3, 2, 12), .f32(3, 2, 3), .f32(2, 3),
        .f32(12, 3),
      ],
    ], smoothness: .unchecked, relativeTolerance: 8e-3, isConsistent: false),
]

private let rows = [
  OpSpec(
    PackRows(isOrdered: false), .uniform(-1...1), order, packed,
    on: [
      [.f32(5, 4, 3), .i64(5), .i32(5)], [.f32(5, 3, 17), .i32(5), .i32(4)],
      [.f32(5, 0, 2), .i32(5), .i32(1)], [.f32(5, 3, 0), .i32(5), .i32(4)],
    ],
    rejects: [
      [.f32(5, 4, 3), .i32(4), .i32(5)], [.f32(5, 4, 3), .i32(5), .i32(4)],
      [.f32(5, 4), .i32(5), .i32(5)], [.f32(5, 4, 3), .f32(5), .i32(5)],
      [.f32(5, 4, 3), .i32(5), .i64(5)], [.i32(5, 4, 3), .i32(5), .i32(5)],
      [.f32(5, 4, 3), .i32(5)], [.f32(5, 4, 3), .i32(5, 1), .i32(5)],
      [.f32(5, 4, 3), .i32(5), .i32(0)],
    ],
    examples: [
      .init(
        [
          NDArray([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3, 1]),
          NDArray([1, 0] as [Int32], shape: [2]), NDArray([0, 2, 3, 4] as [Int32], shape: [4]),
        ], gives: [NDArray([4, 1, 5, 6, 0, 0] as [Float], shape: [6, 1])])
    ]),
  OpSpec(
    PackRows(isOrdered: true), .uniform(-1...1), packed, on: [[.f32(4, 5, 3), .i32(5)]],
    rejects: [[.f32(5, 4, 3), .i32(5)], [.f32(4, 5, 3), .i32(5), .i32(5)]]),
  OpSpec(
    PackRows(isOrdered: false, result: .bf16), .uniform(-1...1), order, packed,
    on: [[.f32(5, 3, 17), .i32(5), .i32(4)]], rejects: [[.i32(5, 3, 17), .i32(5), .i32(4)]],
    smoothness: .unchecked, relativeTolerance: 8e-3),
  OpSpec(
    UnpackRows(batch: 5, isOrdered: false), .uniform(-1...1), order, packed,
    on: [
      [.f32(20, 3), .i64(5), .i32(5)], [.f32(15, 17), .i32(5), .i32(4)],
      [.f32(0, 2), .i32(5), .i32(1)],
    ],
    rejects: [
      [.f32(20, 3), .i32(4), .i32(5)], [.f32(20, 3), .i32(5), .i32(4)],
      [.f32(4, 5, 3), .i32(5), .i32(5)], [.i32(20, 3), .i32(5), .i32(5)],
    ],
    examples: [
      .init(
        [
          NDArray((1...20).map(Float.init), shape: [20, 1]),
          NDArray([4, 0, 3, 1, 2] as [Int32], shape: [5]),
          NDArray([0, 5, 8, 9, 9] as [Int32], shape: [5]),
        ],
        gives: [
          NDArray(
            [2, 7, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 3, 8, 0, 0, 1, 6, 9, 0] as [Float],
            shape: [5, 4, 1])
        ])
    ]),
  OpSpec(
    UnpackRows(batch: 5, isOrdered: true, result: .f32), .uniform(-1...1), packed,
    on: [[.bf16(20, 18), .i32(5)]], rejects: [[.bf16(16, 18), .i32(5)]], smoothness: .unchecked),
]

/// The number of rows that there are, behind others.
private let live = OpSpec.Domain.rule { type, _ in (0..<type.count).map { Double(3 + $0) } }

private let products = [
  OpSpec(
    LiveMatMul(), .uniform(-1...1), .uniform(-1...1), live,
    on: [
      [.f32(9, 5), .f32(5, 7), .i32(1)], [.f32(40, 33), .f32(33, 50), .i32(30)],
      [.f32(9, 1), .f32(1, 1), .i32(2)], [.f32(2, 3), .f32(3, 4), .i32(1)],
      [.f32(0, 3), .f32(3, 4), .i32(1)], [.f32(6, 0), .f32(0, 4), .i32(1)],
    ],
    rejects: [
      [.f32(9, 5), .f32(6, 7), .i32(1)], [.f32(9, 5), .f32(5, 7), .i64(1)],
      [.f32(9, 5), .f32(5, 7), .i32(0)], [.f32(9, 5), .f32(5, 7), .i32()],
      [.f32(2, 9, 5), .f32(5, 7), .i32(1)], [.f32(9, 5), .bf16(5, 7), .i32(1)],
      [.f32(9, 5), .f32(5, 7)],
    ], absoluteTolerance: 1e-5),
  OpSpec(
    LiveMatMul(transposeB: true, hasBias: true), .uniform(-1...1), .uniform(-1...1), live,
    .uniform(-1...1),
    on: [
      [.f32(9, 5), .f32(7, 5), .i32(2), .f32(7)],
      [.f32(100, 70), .f32(80, 70), .i32(40), .f32(80)],
    ],
    rejects: [
      [.f32(9, 5), .f32(7, 5), .i32(2), .f32(5)], [.f32(9, 5), .f32(7, 5), .i32(2), .i32(7)],
      [.f32(9, 5), .f32(7, 5), .i32(2)],
    ], absoluteTolerance: 1e-5),
  OpSpec(
    LiveMatMul(sumsRows: true), .uniform(-1...1), .uniform(-1...1), live,
    on: [
      [.f32(9, 5), .f32(9, 7), .i32(1)], [.f32(600, 33), .f32(600, 50), .i32(540)],
      [.f32(9, 1), .f32(9, 6), .i32(4)], [.f32(0, 3), .f32(0, 4), .i32(1)],
    ],
    rejects: [
      [.f32(9, 5), .f32(8, 7), .i32(1)], [.f32(9, 5), .f32(9, 7)],
      [.f32(9, 5), .f32(9, 7), .i32(1), .f32(7)],
    ], absoluteTolerance: 1e-4),
  OpSpec(
    LiveMatMul(transposeB: true, hasBias: true, result: .bf16), .uniform(-1...1), .uniform(-1...1),
    live, .uniform(-1...1),
    on: [[.bf16(40, 64), .f32(48, 64), .i32(9), .f32(48)]],
    rejects: [[.bf16(40, 64), .i32(48, 64), .i32(9), .f32(48)]], smoothness: .unchecked,
    relativeTolerance: 8e-3, absoluteTolerance: 1e-2, isConsistent: false),
]

let recurrentSpecs = lstm + lstmGradient + rows + products
