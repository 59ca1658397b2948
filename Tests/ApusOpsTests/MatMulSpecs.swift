// Specs of the matrix products: tails of the tiles, all transposes, broadcast batches, empty axes.

import ApusGraph
import ApusOps
import TestSupport

private let biasAndRelu = Fused(
  MatMul(transposeB: true),
  program: LoopProgram(
    [.init(.apply(Add()), [.operand(0), .operand(1)]), .init(.apply(Relu()), [.value(0)])],
    outputs: [1]))

/// `relu(product + row + matrix)`, in registers.
private let biasResidualAndRelu = Fused(
  MatMul(),
  program: LoopProgram(
    [
      .init(.apply(Add()), [.operand(0), .operand(2)]),
      .init(.apply(Add()), [.operand(1), .value(0)]), .init(.apply(Relu()), [.value(1)]),
    ], outputs: [2]))

private let gated = Fused(
  MatMul(transposeB: true),
  program: LoopProgram([.init(.apply(Gate()), [.operand(1), .operand(0)])], outputs: [0]))

/// `round(gate(widened, product))`, the rectifier's gradient where activations are stored as bf16.
private let gatedByNarrow = Fused(
  MatMul(result: .f32),
  program: LoopProgram(
    [
      .init(.apply(Cast(to: .f32)), [.operand(1)]),
      .init(.apply(Gate()), [.value(0), .operand(0)]),
      .init(.apply(Cast(to: .bf16)), [.value(1)]),
    ], outputs: [2]))

/// `relu(product + widened)`, a residual that is stored as bf16.
private let addedNarrow = Fused(
  MatMul(transposeB: true, result: .f32),
  program: LoopProgram(
    [
      .init(.apply(Cast(to: .f32)), [.operand(1)]),
      .init(.apply(Add()), [.operand(0), .value(0)]), .init(.apply(Relu()), [.value(1)]),
    ], outputs: [2]))

/// `gate(mask, product + matrix)`, a rectifier's gradient where two branches meet.
private let maskedResidual = Fused(
  MatMul(),
  program: LoopProgram(
    [
      .init(.apply(Add()), [.operand(2), .operand(0)]),
      .init(.apply(Gate()), [.operand(1), .value(0)]),
    ], outputs: [1]))

let matMulSpecs: [OpSpec] = [
  OpSpec(
    maskedResidual,
    on: [
      [.f32(33, 70), .f32(70, 37), .f32(33, 37), .f32(33, 37)],
      [.f32(2, 5, 600), .f32(600, 17), .f32(2, 5, 17), .f32(2, 5, 17)],
      [.f32(1, 40), .f32(40, 65), .f32(1, 65), .f32(1, 65)],
    ], smoothness: .unchecked),
  OpSpec(
    MatMul(),
    on: [
      [.f32(3, 4), .f32(4, 5)], [.f32(2, 3, 4), .f32(4, 5)], [.f32(3, 1, 2, 4), .f32(2, 4, 3)],
      [.f32(2, 3), .f32(5, 3, 2)], [.f32(33, 70), .f32(70, 37)], [.f32(64, 1030), .f32(1030, 10)],
      [.f32(1, 40), .f32(40, 65)], [.f32(3, 0), .f32(0, 2)], [.f32(2, 3, 0), .f32(0, 4)],
      [.f32(0, 3), .f32(3, 2)],
      [.f32(2, 1, 2, 1, 3, 4), .f32(1, 3, 1, 2, 4, 2)],
    ],
    rejects: [
      [.f32(3, 4), .f32(3, 4)], [.f32(4), .f32(4, 2)], [.f32(3, 4), .i32(4, 2)],
      [.i32(3, 4), .i32(4, 2)], [.f32(2, 3, 4), .f32(3, 4, 2)],
    ],
    examples: [
      .init(
        [NDArray([1, 2, 3, 4], shape: [2, 2]), NDArray([5, 6, 7, 8], shape: [2, 2])],
        gives: [NDArray([19, 22, 43, 50], shape: [2, 2])])
    ]),
  OpSpec(
    MatMul(transposeA: true),
    on: [
      [.f32(4, 3), .f32(4, 5)], [.f32(2, 64, 30), .f32(2, 64, 17)], [.f32(64, 10), .f32(64, 128)],
    ],
    rejects: [[.f32(3, 4), .f32(4, 5)]]),
  OpSpec(
    MatMul(transposeB: true),
    on: [[.f32(3, 4), .f32(5, 4)], [.f32(2, 3, 4), .f32(5, 4)], [.f32(64, 128), .f32(10, 128)]],
    rejects: [[.f32(3, 4), .f32(4, 5)]]),
  OpSpec(
    MatMul(transposeA: true, transposeB: true),
    on: [[.f32(4, 3), .f32(5, 4)], [.f32(20, 31), .f32(3, 18, 20)]],
    rejects: [[.f32(3, 4), .f32(4, 5)]]),
  // Sums are f32 and are rounded once. The level avx512bf16 sums bf16 pairs in an order of its own.
  OpSpec(
    MatMul(),
    on: [
      [.bf16(3, 4), .bf16(4, 5)], [.bf16(33, 70), .bf16(70, 37)], [.bf16(2, 3, 41), .bf16(41, 5)],
      [.bf16(3, 0), .bf16(0, 2)],
    ],
    rejects: [[.bf16(3, 4), .f16(4, 5)], [.bf16(3, 4), .f32(4, 5)]], relativeTolerance: 1e-2,
    isConsistent: false),
  OpSpec(
    MatMul(transposeA: true, transposeB: true), on: [[.bf16(41, 3), .bf16(5, 41)]],
    relativeTolerance: 1e-2, isConsistent: false),
  // A product of any float types that gives the type it is told.
  OpSpec(
    MatMul(transposeB: true, result: .f32),
    on: [
      [.bf16(3, 4), .f32(5, 4)], [.f32(33, 70), .bf16(21, 70)], [.bf16(2, 3, 4), .bf16(5, 4)],
    ],
    rejects: [[.i32(3, 4), .f32(5, 4)], [.bf16(3, 4), .f32(5, 3)]], relativeTolerance: 1e-2,
    isConsistent: false),
  OpSpec(
    MatMul(result: .bf16), on: [[.f32(3, 4), .f32(4, 5)]], relativeTolerance: 1e-2,
    isConsistent: false),
  OpSpec(MatMul(result: .i32), on: [], rejects: [[.f32(3, 4), .f32(4, 5)]]),
  OpSpec(
    Fused(
      MatMul(result: .f32),
      program: LoopProgram(
        [
          .init(.apply(Relu()), [.operand(0)]), .init(.apply(Cast(to: .bf16)), [.value(0)]),
        ], outputs: [1])),
    on: [[.f32(3, 4), .f32(4, 5)], [.bf16(33, 70), .bf16(70, 37)]],
    smoothness: .unchecked, relativeTolerance: 1e-2, isConsistent: false),
  OpSpec(
    MatMul(), on: [[.f16(3, 4), .f16(4, 5)], [.f16(33, 70), .f16(70, 37)]],
    relativeTolerance: 2e-3),
  OpSpec(
    biasAndRelu, on: [[.f16(2, 3, 4), .f16(5, 4), .f16(5)]], smoothness: .unchecked,
    relativeTolerance: 2e-3, absoluteTolerance: 2e-3),
  OpSpec(
    biasAndRelu,
    on: [
      [.bf16(3, 4), .bf16(5, 4), .bf16(5)], [.bf16(64, 70), .bf16(37, 70), .bf16(64, 37)],
    ], smoothness: .unchecked, relativeTolerance: 2e-2, absoluteTolerance: 2e-2,
    isConsistent: false),
  // Bias and ReLU stay in registers; everything else is a program on blocks of the product.
  OpSpec(
    biasAndRelu,
    on: [
      [.f32(3, 4), .f32(5, 4), .f32(5)], [.f32(64, 70), .f32(10, 70), .f32(10)],
      [.f32(2, 3, 4), .f32(5, 4), .f32(5)], [.f32(2, 3, 4), .f32(2, 5, 4), .f32(5)],
      [.f32(3, 4), .f32(5, 4), .f32(3, 5)], [.f32(2, 3, 4), .f32(5, 4), .f32(3, 1)],
      [.f32(300, 20), .f32(600, 20), .f32(600)], [.f32(3, 0), .f32(2, 0), .f32(2)],
    ],
    rejects: [[.f32(3, 4), .f32(5, 4), .f32(4)], [.f32(3, 4), .f32(5, 4), .f32(2, 3, 5)]],
    smoothness: .unchecked),
  OpSpec(
    biasResidualAndRelu,
    on: [
      [.f32(3, 4), .f32(4, 5), .f32(3, 5), .f32(5)],
      [.f32(64, 70), .f32(70, 37), .f32(64, 37), .f32(37)],
      [.f32(2, 3, 4), .f32(4, 5), .f32(2, 3, 5), .f32(5)],
      [.f32(3, 2, 4), .f32(3, 4, 5), .f32(2, 5), .f32(5)],
      [.f32(3, 4), .f32(4, 5), .f32(3, 1), .f32(5)], [.f32(3, 4), .f32(4, 5), .f32(5), .f32(5)],
      [.f32(1, 4), .f32(4, 35), .f32(1, 35), .f32(35)],
      [.f32(40, 530), .f32(530, 33), .f32(40, 33), .f32(33)],
      [.f32(3, 0), .f32(0, 5), .f32(3, 5), .f32(5)],
    ], smoothness: .unchecked),
  OpSpec(
    gated,
    on: [
      [.f32(3, 4), .f32(5, 4), .f32(3, 5)], [.f32(64, 10), .f32(128, 10), .f32(64, 128)],
      [.f32(2, 3, 4), .f32(2, 5, 4), .f32(2, 3, 5)], [.f32(30, 4), .f32(1, 4), .f32(30, 1)],
      [.f32(20, 600), .f32(33, 600), .f32(20, 33)],
    ], smoothness: .unchecked),
  OpSpec(
    gatedByNarrow,
    on: [
      [.bf16(33, 20), .bf16(20, 40), .bf16(33, 40)], [.bf16(7, 70), .f32(70, 37), .bf16(7, 37)],
      [.bf16(2, 5, 20), .bf16(2, 20, 40), .bf16(2, 5, 40)],
      [.bf16(20, 2100), .bf16(2100, 33), .bf16(20, 33)],
    ], smoothness: .unchecked, relativeTolerance: 2e-2, absoluteTolerance: 2e-2,
    isConsistent: false),
  OpSpec(
    addedNarrow,
    on: [
      [.bf16(33, 20), .bf16(40, 20), .bf16(33, 40)], [.bf16(3, 20), .bf16(40, 20), .bf16(40)],
      [.bf16(20, 2100), .bf16(33, 2100), .bf16(20, 33)],
    ], smoothness: .unchecked, relativeTolerance: 2e-2, absoluteTolerance: 2e-2,
    isConsistent: false),
  OpSpec(
    gated, on: [[.bf16(33, 20), .bf16(40, 20), .bf16(33, 40)]], smoothness: .unchecked,
    relativeTolerance: 2e-2, absoluteTolerance: 2e-2, isConsistent: false),
  OpSpec(
    Fused(
      MatMul(),
      program: LoopProgram(
        [
          .init(.apply(Multiply()), [.operand(0), .operand(2)]),
          .init(.apply(Add()), [.value(0), .operand(1)]), .init(.apply(Tanh()), [.value(1)]),
        ], outputs: [1, 2])), .uniform(-0.3...0.3),
    on: [
      [.f32(3, 4), .f32(4, 5), .f32(3, 5), .f32()],
      [.f32(300, 33), .f32(33, 600), .f32(300, 600), .f32(600)],
      [.f32(145, 1030), .f32(1030, 37), .f32(37), .f32()],
      [.f32(4, 2, 3, 4), .f32(2, 4, 5), .f32(3, 5), .f32(1, 5)],
      [.f32(2, 2, 3, 4), .f32(4, 5), .f32(2, 2, 3, 5), .f32(3, 1)],
      [.f32(1, 4), .f32(4, 513), .f32(1, 513), .f32()],
    ],
    rejects: [[.f32(3, 4), .f32(4, 5), .f32(4, 5), .f32()]], smoothness: .unchecked,
    absoluteTolerance: 5e-6),
]
