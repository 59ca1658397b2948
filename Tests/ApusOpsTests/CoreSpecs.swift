// Specs of the ops that the autodiff itself emits and of those that only steer it.

import ApusGraph
import ApusOps
import TestSupport

let coreSpecs: [OpSpec] = [
  OpSpec(
    Broadcast(to: [2, 3, 17]), on: [[.f32(17)], [.f32(3, 1)], [.f32()], [.f32(2, 3, 17)]],
    rejects: [[.f32(4)], [.f32(1, 1, 1, 1)], [.f32(2)]]),
  OpSpec(Broadcast(to: [0, 3]), on: [[.f32(3)], [.f32(0, 1)], [.f32(1, 3)]]),
  OpSpec(
    Loop(
      domain: [2, 17], reducedAxes: [1],
      program: LoopProgram(
        [
          .init(.apply(Multiply()), [.operand(0), .operand(1)]),
          .init(.apply(Exp()), [.value(0)]), .init(.reduce(Sum.self), [.value(1)]),
        ], outputs: [1, 2])),
    on: [[.f32(2, 17), .f32(17)], [.f32(1), .f32(2, 1)]], rejects: [[.f32(3), .f32(17)]],
    smoothness: .unchecked),
  // Two tiles a row, kept from phase to phase; the last holds one row of [17, 31], along which the
  // second operand is one value, while along the first tile it varies.
  OpSpec(
    Loop(
      domain: [48, 17, 31], reducedAxes: [1, 2],
      program: LoopProgram(
        [
          .init(.apply(Exp()), [.operand(1)]),
          .init(.apply(Multiply()), [.operand(0), .value(0)]),
          .init(.reduce(Sum.self), [.value(1)]),
          .init(.apply(Divide()), [.value(0), .value(2)]),
          .init(.apply(Multiply()), [.value(3), .operand(0)]),
        ], outputs: [4])), .uniform(0.5...2),
    on: [[.f32(48, 17, 31), .f32(48, 17, 1)]], smoothness: .unchecked),
  // Its rule lives in a trace: ApusAutodiffTests.
  OpSpec(
    MultiLoop(
      domains: [[3], [40, 17], [1]], shared: [1], operandCount: 3,
      program: LoopProgram(
        [
          .init(.apply(Multiply()), [.operand(0), .operand(1)]),
          .init(.apply(Add()), [.value(0), .operand(2)]), .init(.apply(Exp()), [.value(1)]),
        ], outputs: [1, 2])),
    on: [
      [.f32(3), .f32(40, 17), .f32(1), .f32(), .f32(3), .f32(40, 17), .f32(1)]
    ],
    rejects: [
      [.f32(3), .f32(40, 17), .f32(1), .f32(1), .f32(3), .f32(40, 17), .f32(1)],
      [.f32(3), .f32(40, 17), .f32(1), .f32(), .f32(3), .f32(40), .f32(1)],
    ], smoothness: .none),
  OpSpec(CustomGradientOp(nil), on: [[.f32(3)]], smoothness: .unchecked, isVariadic: true),
  OpSpec(
    Reshape([4, 6]), on: [[.f32(24)], [.f32(2, 3, 4)], [.i32(24)]],
    rejects: [[.f32(23)], [.f32(4, 5)]]),
  OpSpec(Reshape([0, 7]), on: [[.f32(3, 0)]], rejects: [[.f32(1)]]),
  OpSpec(StopGradient(), on: [[.f32(3)], [.f32(2, 0)]], smoothness: .none),
]
