// Specs of attention and its gradient: every operand that a rule can name, grouped heads, tails, empty arrays.

import ApusGraph
import ApusOps
import TestSupport

/// Query, key and value of `batch`, `queries`, `keys`, `heads`, `keyHeads`, `width`, `valueWidth`.
private func rows(
  _ batch: Int, _ queries: Int, _ keys: Int, _ heads: Int, _ keyHeads: Int, _ width: Int,
  _ valueWidth: Int? = nil, _ type: DType = .f32
) -> [TensorType] {
  [
    TensorType(type, [batch, queries, heads, width]),
    TensorType(type, [batch, keys, keyHeads, width]),
    TensorType(type, [batch, keys, keyHeads, valueWidth ?? width]),
  ]
}

/// The gradient's operands before those that a rule names.
private func flows(_ rows: [TensorType]) -> [TensorType] {
  let (q, v) = (rows[0].shape, rows[2].shape)
  let statistics = TensorType.f32(q[0], q[1], q[2])
  return [rows[0].with([q[0], q[1], q[2], v[3]])] + rows + [statistics, statistics]
}

private let key = TensorType.i64(2)
private let words: OpSpec.Domain = .integers(0...1_000_000_007)
private let plain = AttentionRule(scale: 0.5)
private let causal = AttentionRule(scale: 0.3, isCausal: true)

private func spec(
  _ rule: AttentionRule, _ extras: OpSpec.Domain..., on cases: [[TensorType]],
  rejects: [[TensorType]] = [], relativeTolerance: Double = 1e-5, result: DType? = nil,
  smoothness: OpSpec.Smoothness = .twice
) -> OpSpec {
  var spec = OpSpec(
    Attention(rule, result: result), on: cases, rejects: rejects, smoothness: smoothness,
    relativeTolerance: relativeTolerance, absoluteTolerance: 2e-6)
  spec.domains = Array(repeating: .uniform(-2...2), count: 3) + extras
  return spec
}

private func gradientSpec(
  _ rule: AttentionRule, _ extras: OpSpec.Domain..., on cases: [[TensorType]],
  rejects: [[TensorType]] = [], relativeTolerance: Double = 2e-5, results: [DType] = [],
  smoothness: OpSpec.Smoothness = .twice
) -> OpSpec {
  var spec = OpSpec(
    AttentionGradient(rule, results: results), on: cases, rejects: rejects, smoothness: smoothness,
    relativeTolerance: relativeTolerance, absoluteTolerance: 4e-6)
  spec.domains =
    Array(repeating: .uniform(-1...1), count: 4)
    + [.uniform(1...3), .uniform(-1...1)] + extras
  return spec
}

private let shapes = [
  rows(1, 3, 3, 1, 1, 4), rows(2, 2, 3, 2, 1, 3, 5), rows(1, 1, 1, 1, 1, 1),
  rows(1, 70, 130, 2, 1, 20),
  rows(2, 129, 65, 1, 1, 64), rows(1, 17, 300, 2, 2, 16), rows(1, 5, 40, 4, 2, 100, 33),
  // Few queries: keys and values are read where they lie.
  rows(2, 1, 300, 4, 2, 64), rows(1, 4, 129, 2, 1, 33, 130), rows(1, 2, 260, 2, 2, 80, 16),
]
private let empty = [
  rows(0, 3, 3, 1, 1, 4), rows(1, 0, 3, 1, 1, 4), rows(2, 3, 0, 1, 1, 4), rows(1, 3, 3, 0, 0, 4),
  rows(1, 3, 4, 1, 1, 0), rows(1, 3, 4, 1, 1, 2, 0),
]
private let wrong: [[TensorType]] = [
  rows(1, 3, 3, 3, 2, 4), [.f32(1, 3, 1, 4), .f32(1, 3, 1, 5), .f32(1, 3, 1, 4)],
  [.f32(1, 3, 1, 4), .f32(1, 3, 1, 4), .f32(1, 4, 1, 4)], [.f32(3, 4), .f32(3, 4), .f32(3, 4)],
  [.f32(1, 3, 1, 4), .f32(2, 3, 1, 4), .f32(2, 3, 1, 4)],
  [.i32(1, 3, 1, 4), .i32(1, 3, 1, 4), .i32(1, 3, 1, 4)],
  [.f32(1, 3, 1, 4), .bf16(1, 3, 1, 4), .f32(1, 3, 1, 4)], rows(1, 3, 3, 1, 0, 4),
]

/// A mask with rows that see nothing.
private let masks: OpSpec.Domain = .rule { type, random in
  let width = max(type.shape[-1], 1)
  return (0..<type.count).map { place in
    place / width % 3 == 1 ? -.infinity : random.uniform(-1...1)
  }
}

private let everything = AttentionRule(
  scale: 0.4, isCausal: true, window: 3, hasMask: true, hasLengths: true, hasAlibi: true,
  dropout: 0.3, stream: 5)

let attentionSpecs: [OpSpec] = [
  spec(plain, on: shapes + empty, rejects: wrong + [rows(1, 3, 3, 1, 1, 4) + [.f32(3, 3)]]),
  spec(causal, on: shapes + empty),
  spec(AttentionRule(scale: 1, window: 2), on: Array(shapes.prefix(4))),
  spec(AttentionRule(scale: 1, isCausal: true, window: 33), on: Array(shapes.suffix(7))),
  spec(AttentionRule(scale: .infinity), on: [], rejects: [shapes[0]]),
  spec(AttentionRule(scale: 1, window: 0), on: [], rejects: [shapes[0]]),
  spec(AttentionRule(scale: 1, dropout: 1.5), on: [], rejects: [shapes[0] + [key]]),
  spec(
    AttentionRule(scale: 0.5, hasMask: true), .uniform(-1...1),
    on: [
      shapes[0] + [.bool(3, 3)], shapes[1] + [.bool(2, 1, 1, 3)], shapes[3] + [.bool(1, 2, 70, 1)],
      shapes[4] + [.bool(2, 1, 129, 65)], shapes[7] + [.bool(2, 1, 1, 300)],
    ],
    rejects: [
      shapes[0] + [.bool(4)], shapes[0] + [.i32(3, 3)], shapes[0] + [.bool(1, 1, 1, 3, 3)],
      shapes[0] + [.bool(2, 1, 3, 3)], shapes[0],
    ]),
  spec(
    AttentionRule(scale: 0.5, hasMask: true), masks,
    on: [
      shapes[0] + [.f32(3, 3)], shapes[1] + [.f32(2, 1, 2, 3)], shapes[3] + [.f32(2, 70, 130)],
      shapes[4] + [.f32(65)], shapes[2] + [.f32()],
    ]),
  spec(
    AttentionRule(scale: 0.5, hasLengths: true), .integers(0...3),
    on: [
      shapes[0] + [.i32(1)], shapes[1] + [.i64(2)], shapes[4] + [.i32(2)], shapes[7] + [.i32(2)],
    ], rejects: [shapes[1] + [.i32(3)], shapes[1] + [.f32(2)], shapes[1] + [.u8(2)]]),
  spec(
    AttentionRule(scale: 0.5, hasLengths: true, cutsLengths: true), .integers(-1...5),
    on: [shapes[1] + [.i64(2)], shapes[4] + [.i32(2)], shapes[7] + [.i32(2)]]),
  spec(
    AttentionRule(scale: 0.5, hasAlibi: true), .uniform(0...1),
    on: [shapes[0] + [.f32(1)], shapes[1] + [.f32(2)], shapes[3] + [.f32(2)]],
    rejects: [shapes[1] + [.f32(1)], shapes[1] + [.bf16(2)]]),
  spec(
    AttentionRule(scale: 0.5, dropout: 0.4, stream: 7), words,
    on: [0, 1, 3, 4, 8].map { shapes[$0] + [key] },
    rejects: [shapes[0], shapes[0] + [.i32(2)]]),
  spec(AttentionRule(scale: 0.5, dropout: 1, stream: 7), words, on: [shapes[0] + [key]]),
  spec(
    everything, .uniform(-1...1), .integers(0...3), .uniform(0...1), words,
    on: [
      shapes[0] + [.f32(3, 3), .i32(1), .f32(1), key],
      shapes[3] + [.bool(70, 130), .i32(1), .f32(2), key],
    ]),
  spec(
    plain, on: [rows(1, 30, 40, 2, 1, 16, nil, .bf16), rows(1, 3, 140, 2, 1, 70, nil, .bf16)],
    relativeTolerance: 8e-3),
  spec(plain, on: [rows(1, 5, 4, 2, 1, 6, nil, .f16)], relativeTolerance: 1e-3),
  spec(
    causal, on: [rows(1, 30, 40, 2, 1, 16), rows(1, 5, 7, 1, 1, 3, nil, .bf16)],
    relativeTolerance: 8e-3, result: .bf16),
  spec(
    causal,
    on: [[.bf16(1, 5, 2, 6), .f32(1, 7, 1, 6), .bf16(1, 7, 1, 4)]],
    rejects: [[.bf16(1, 5, 2, 6), .i32(1, 7, 1, 6), .bf16(1, 7, 1, 4)]],
    relativeTolerance: 8e-3, result: .f32),

  gradientSpec(
    plain, on: (shapes + empty).map(flows),
    rejects: wrong.map(flows) + [
      flows(shapes[0]) + [key], Array(flows(shapes[0]).dropLast()) + [.f32(1, 3, 2)],
      [.f32(1, 3, 1, 5)] + flows(shapes[0]).dropFirst(),
    ]),
  gradientSpec(causal, on: (shapes + empty).map(flows)),
  gradientSpec(AttentionRule(scale: 1, window: 2), on: shapes.prefix(4).map(flows)),
  gradientSpec(
    AttentionRule(scale: 1, isCausal: true, window: 33), on: shapes.suffix(7).map(flows)),
  gradientSpec(
    AttentionRule(scale: 0.5, hasMask: true), .uniform(-1...1),
    on: [
      flows(shapes[0]) + [.bool(3, 3)], flows(shapes[1]) + [.bool(2, 1, 1, 3)],
      flows(shapes[3]) + [.bool(1, 2, 70, 1)], flows(shapes[4]) + [.bool(2, 1, 129, 65)],
    ]),
  gradientSpec(
    AttentionRule(scale: 0.5, hasMask: true), masks,
    on: [
      flows(shapes[0]) + [.f32(3, 3)], flows(shapes[1]) + [.f32(2, 1, 2, 3)],
      flows(shapes[3]) + [.f32(2, 70, 130)], flows(shapes[4]) + [.f32(65)],
    ]),
  gradientSpec(
    AttentionRule(scale: 0.5, hasLengths: true), .integers(0...3),
    on: [flows(shapes[0]) + [.i32(1)], flows(shapes[1]) + [.i64(2)], flows(shapes[4]) + [.i32(2)]]),
  gradientSpec(
    AttentionRule(scale: 0.5, hasAlibi: true), .uniform(0...0.02),
    on: [flows(shapes[0]) + [.f32(1)], flows(shapes[1]) + [.f32(2)], flows(shapes[3]) + [.f32(2)]]),
  gradientSpec(
    AttentionRule(scale: 0.5, dropout: 0.4, stream: 7), words,
    on: [shapes[0], shapes[1], shapes[3], shapes[4]].map { flows($0) + [key] }),
  gradientSpec(
    AttentionRule(scale: 0.5, dropout: 1, stream: 7), words, on: [flows(shapes[0]) + [key]]),
  gradientSpec(
    everything, .uniform(-1...1), .integers(0...3), .uniform(0...1), words,
    on: [
      flows(shapes[0]) + [.f32(3, 3), .i32(1), .f32(1), key],
      flows(shapes[3]) + [.bool(70, 130), .i32(1), .f32(2), key],
    ]),
  gradientSpec(
    plain, on: [flows(rows(1, 30, 40, 2, 1, 16, nil, .bf16))], relativeTolerance: 1.6e-2),
  gradientSpec(
    causal, on: [flows(rows(1, 30, 40, 2, 1, 16)), flows(rows(1, 5, 7, 1, 1, 3, nil, .bf16))],
    relativeTolerance: 1.6e-2, results: [.bf16, .f32, .bf16]),

  rotarySpec(Rotary()), rotarySpec(Rotary(isInverse: true)),
  rotarySpec(Rotary(isInterleaved: true)),
  OpSpec(
    Rotary(result: .bf16), on: [[.f32(1, 3, 2, 34), .f32(3, 17), .f32(3, 17)]],
    rejects: [[.i32(1, 3, 2, 34), .f32(3, 17), .f32(3, 17)]], relativeTolerance: 8e-3),
  OpSpec(
    Rotary(isInterleaved: true, result: .f32),
    on: [[.bf16(1, 3, 2, 34), .f32(3, 17), .f32(3, 17)]], relativeTolerance: 4e-3),
]

private func rotarySpec(_ op: Rotary) -> OpSpec {
  OpSpec(
    op,
    on: [
      [.f32(2, 3, 2, 6), .f32(3, 3), .f32(3, 3)], [.f32(2, 3, 1, 5), .f32(2, 3, 1), .f32(2, 3, 1)],
      [.f32(1, 4, 2, 64), .f32(4, 32), .f32(4, 32)], [.f32(1, 2, 1, 75), .f32(2, 36), .f32(2, 36)],
      [.f32(0, 3, 2, 6), .f32(3, 3), .f32(3, 3)], [.f32(1, 3, 2, 6), .f32(3, 0), .f32(3, 0)],
      [.bf16(1, 3, 2, 40), .f32(3, 20), .f32(3, 20)],
    ],
    rejects: [
      [.f32(2, 3, 6), .f32(3, 3), .f32(3, 3)], [.f32(2, 3, 2, 6), .f32(3, 4), .f32(3, 4)],
      [.f32(2, 3, 2, 6), .f32(2, 3), .f32(2, 3)], [.f32(2, 3, 2, 6), .f32(3, 3), .f32(3, 2)],
      [.f32(2, 3, 2, 6), .bf16(3, 3), .bf16(3, 3)],
    ], relativeTolerance: 8e-3)
}
