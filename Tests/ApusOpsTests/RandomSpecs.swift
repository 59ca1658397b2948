// Specs of the random ops: the operand is the key, the numbers are functions of it.

import ApusGraph
import ApusOps
import TestSupport

private let key: OpSpec.Domain = .integers(0...1_000_000_007)
private let wrong: [[TensorType]] = [[.i32(2)], [.i64(3)], [.f32(2)]]

let randomSpecs: [OpSpec] = [
  OpSpec(
    RandomUniform([5, 1003], stream: 3), key, on: [[.i64(2)]], rejects: wrong, smoothness: .none),
  OpSpec(RandomUniform([], stream: 0), key, on: [[.i64(2)]], smoothness: .none),
  OpSpec(RandomUniform([3], stream: 1 << 24), on: [], rejects: [[.i64(2)]], smoothness: .none),
  OpSpec(
    RandomNormal([5, 1003], stream: 4), key, on: [[.i64(2)]], rejects: wrong, smoothness: .none),
  OpSpec(RandomNormal([0, 3], stream: 0), key, on: [[.i64(2)]], smoothness: .none),
  OpSpec(
    Bernoulli([5, 1003], p: 0.3, stream: 5), key, on: [[.i64(2)]], rejects: wrong, smoothness: .none
  ),
  OpSpec(Bernoulli([3], p: 1.5, stream: 0), on: [], rejects: [[.i64(2)]], smoothness: .none),
  OpSpec(
    Dropout(p: 0.4, stream: 6), .uniform(-2...2), key,
    on: [
      [.f32(5, 7), .i64(2)], [.f32(9001), .i64(2)], [.f32(), .i64(2)],
    ],
    rejects: [[.i32(3), .i64(2)], [.f32(3), .i64(3)]]),
  OpSpec(
    Dropout(p: 0.4, stream: 6), .uniform(-2...2), key, on: [[.bf16(40), .i64(2)]],
    relativeTolerance: 1e-2),
  OpSpec(Dropout(p: 1, stream: 6), .uniform(-2...2), key, on: [[.f32(40), .i64(2)]]),
]
