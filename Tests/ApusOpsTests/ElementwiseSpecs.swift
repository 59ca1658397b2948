// Specs of the elementwise ops: the domain, points where there is no derivative, special values.

import ApusGraph
import ApusOps
import TestSupport

let elementwiseSpecs: [OpSpec] = [
  OpSpec(Add(), points: [([1, 2], 3), ([.infinity, -.infinity], .nan)]),
  OpSpec(Add(), dtype: .i32),
  OpSpec(Cast(to: .f32)),
  OpSpec(Cast(to: .bf16), relativeTolerance: 4e-3),
  OpSpec(Cast(to: .i32), .uniform(-9...9), smoothness: .none, points: [([-1.5], -1)]),
  OpSpec(Cast(to: .bool), smoothness: .none, points: [([0], 0), ([-0.5], 1)]),
  OpSpec(
    Divide(), .uniform(-3...3), .uniform(0.5...3), points: [([1, 0], .infinity), ([0, 0], .nan)]),
  OpSpec(Equal(), .integers(0...3), smoothness: .none),
  OpSpec(NotEqual(), .integers(0...3), smoothness: .none, points: [([.nan, .nan], 1)]),
  OpSpec(Less(), .integers(0...3), smoothness: .none, points: [([.nan, 1], 0)]),
  OpSpec(LessOrEqual(), .integers(0...3), smoothness: .none),
  OpSpec(Greater(), .integers(0...3), smoothness: .none),
  OpSpec(GreaterOrEqual(), .integers(0...3), smoothness: .none),
  OpSpec(Gate(), kinks: [0], points: [([0, 5], 0), ([.nan, 5], 0)]),
  OpSpec(
    Maximum(), .grid(step: 0.5, offset: 0, within: -3...3),
    .grid(step: 0.5, offset: 0.4, within: -3...3), points: [([.nan, 1], .nan), ([2, 1], 2)]),
  OpSpec(
    Minimum(), .grid(step: 0.5, offset: 0, within: -3...3),
    .grid(step: 0.5, offset: 0.4, within: -3...3), points: [([.nan, 1], .nan), ([2, 1], 1)]),
  OpSpec(Negate()),
  OpSpec(ReLU(), kinks: [0], points: [([.nan], .nan), ([-1], 0)]),
  OpSpec(Sqrt(), .uniform(0.1...10), points: [([4], 2), ([-1], .nan)]),
  OpSpec(Subtract()),
  OpSpec(
    Exp(), .uniform(-10...10), points: [([0], 1), ([-.infinity], 0), ([.infinity], .infinity)]),
  OpSpec(Multiply(), points: [([3, -2], -6), ([0, .infinity], .nan)]),
  OpSpec(Multiply(), dtype: .i32),
  OpSpec(
    Select(),
    on: selectShapes.map { [.init(.bool, $0[0]), .init(.f32, $0[1]), .init(.f32, $0[2])] },
    rejects: [
      [.f32(3), .f32(3), .f32(3)], [.bool(3), .f32(3), .i32(3)], [.bool(3), .f32(4), .f32(3)],
    ]),
  OpSpec(Select(), on: [[.bool(5), .i32(5), .i32(1)]], smoothness: .none),
]

private let selectShapes = OpSpec.elementwiseShapes(arity: 3)
