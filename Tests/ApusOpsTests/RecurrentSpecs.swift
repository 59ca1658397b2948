// Specs of recurrent layers as one op.

import ApusGraph
import ApusOps
import TestSupport

/// Counts that fall from step to step, as those of sequences in order of their lengths do.
private let falling = OpSpec.Domain.rule { type, _ in
  (0..<type.count).map { Double(max(0, 5 - 2 * $0)) }
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
    .uniform(-1...1), falling,
    on: [[.f32(4, 5, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(4)]],
    rejects: [
      [.f32(4, 5, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(5)],
      [.f32(4, 5, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2)],
    ], isConsistent: false),
  OpSpec(
    LSTMLoop(isReversed: true, hasLengths: true), .uniform(-1...1), .uniform(-1...1),
    .uniform(-1...1), .uniform(-1...1), falling,
    on: [[.f32(4, 5, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(4)]], isConsistent: false),
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
    LSTMLoop(hasLengths: true, results: [.bf16, .bf16]), .uniform(-1...1), .uniform(-1...1),
    .uniform(-1...1), .uniform(-1...1), falling,
    on: [[.bf16(4, 5, 8), .f32(5, 2), .f32(5, 2), .f32(8, 2), .i32(4)]],
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
    falling,
    on: [
      [
        .f32(4, 5, 2), .f32(5, 2), .f32(5, 2), .f32(4, 5, 8), .f32(4, 5, 2), .f32(5, 2),
        .f32(8, 2), .i32(4),
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

let recurrentSpecs = lstm + lstmGradient
