// Specs of the elementwise ops: the domain, points where there is no derivative, special values.

import ApusGraph
import ApusOps
import TestSupport

private let inf = Double.infinity

let elementwiseSpecs: [OpSpec] = [
  OpSpec(Abs(), kinks: [0], points: [([-2], 2), ([-inf], inf)]),
  OpSpec(Abs(), .integers(-9...9), dtype: .i32),
  OpSpec(Acos(), .uniform(-0.9...0.9), points: [([1], 0), ([2], .nan)]),
  OpSpec(Acosh(), .uniform(1.1...20), points: [([1], 0), ([0.5], .nan)]),
  OpSpec(Add(), points: [([1, 2], 3), ([inf, -inf], .nan)]),
  OpSpec(Add(), dtype: .i32),
  OpSpec(Add(), dtype: .i64),
  OpSpec(And(), smoothness: .none, points: [([1, 1], 1), ([1, 0], 0)]),
  OpSpec(Asin(), .uniform(-0.9...0.9), points: [([1], .pi / 2), ([-2], .nan)]),
  OpSpec(Asinh(), .uniform(-20...20), points: [([0], 0), ([-inf], -inf)]),
  OpSpec(Atan(), .uniform(-20...20), points: [([1], .pi / 4), ([inf], .pi / 2)]),
  OpSpec(
    Atan2(), .grid(step: 0.5, offset: 0.5, within: -4...4),
    points: [([1, 1], .pi / 4), ([0, -1], .pi), ([-1, 0], -.pi / 2)]),
  OpSpec(Atanh(), .uniform(-0.9...0.9), points: [([1], inf), ([2], .nan)]),
  OpSpec(Cast(to: .f32)),
  OpSpec(Cast(to: .bf16), relativeTolerance: 4e-3),
  OpSpec(Cast(to: .f16), relativeTolerance: 1e-3),
  OpSpec(Cast(to: .i32), .uniform(-9...9), smoothness: .none, points: [([-1.5], -1)]),
  OpSpec(Cast(to: .i64), .uniform(-9...9), smoothness: .none, points: [([2.9], 2)]),
  OpSpec(Cast(to: .u8), .uniform(0...255), smoothness: .none, points: [([200.7], 200)]),
  OpSpec(Cast(to: .bool), smoothness: .none, points: [([0], 0), ([-0.5], 1), ([.nan], 1)]),
  OpSpec(Cast(to: .f32), smoothness: .none, dtype: .i32),
  OpSpec(Cast(to: .f32), smoothness: .none, dtype: .bool),
  OpSpec(Cast(to: .i32), smoothness: .none, dtype: .u8),
  OpSpec(
    Ceil(), kinks: Array(stride(from: -3, through: 3, by: 1)), smoothness: .none,
    points: [([-0.5], 0), ([1.2], 2)]),
  OpSpec(
    Clamp(low: -1, high: 0.5), kinks: [-1, 0.5],
    points: [([-2], -1), ([2], 0.5), ([0.25], 0.25), ([.nan], .nan)]),
  OpSpec(Clamp(low: -.infinity, high: 1), kinks: [1]),
  OpSpec(Cos(), .uniform(-10...10), points: [([0], 1), ([inf], .nan)]),
  OpSpec(Cosh(), .uniform(-8...8), points: [([0], 1), ([-inf], inf)]),
  OpSpec(Divide(), .uniform(-3...3), .uniform(0.5...3), points: [([1, 4], 0.25), ([1, 0], inf)]),
  OpSpec(Divide(), .integers(-20...20), .integers(1...5), dtype: .i32),
  OpSpec(Elu(alpha: 1), kinks: [0], points: [([2], 2), ([-inf], -1)]),
  OpSpec(Elu(alpha: 0.3), kinks: [0]),
  OpSpec(Equal(), .integers(0...3), smoothness: .none, points: [([1, 1], 1), ([.nan, .nan], 0)]),
  OpSpec(Equal(), .integers(0...3), smoothness: .none, dtype: .i64),
  OpSpec(Equal(), smoothness: .none, dtype: .bool),
  OpSpec(Erf(), points: [([0], 0), ([0.5], 0.5204998778130465), ([inf], 1)]),
  OpSpec(Exp(), .uniform(-10...10), points: [([0], 1), ([-inf], 0), ([inf], inf)]),
  OpSpec(Exp2(), .uniform(-10...10), points: [([3], 8), ([-1], 0.5)]),
  OpSpec(Expm1(), .uniform(-5...5), points: [([0], 0), ([0x1p-27], 0x1p-27 + 0x1p-55)]),
  OpSpec(
    Floor(), kinks: Array(stride(from: -3, through: 3, by: 1)), smoothness: .none,
    points: [([-0.5], -1), ([1.8], 1)]),
  OpSpec(
    Gate(), .uniform(-2...2), .uniform(-2...2), kinks: [0], points: [([1, 7], 7), ([0, 7], 0)]),
  OpSpec(
    Gelu(), .uniform(-5...5),
    points: [([0], 0), ([1], 0.8413447460685429), ([-10], -7.619853024160527e-23)]),
  OpSpec(
    GeluDerivative(), .uniform(-5...5),
    points: [([0], 0.5), ([1], 1.0833154705876863), ([-inf], 0), ([inf], 1), ([.nan], .nan)]),
  OpSpec(
    GeluTanh(), .uniform(-5...5), points: [([1], 0.8411919906082768), ([-1], -0.15880800939172324)]),
  OpSpec(
    GeluTanhDerivative(), .uniform(-5...5),
    points: [([0], 0.5), ([1], 1.0829640838457826), ([-inf], 0), ([inf], 1), ([.nan], .nan)]),
  OpSpec(Greater(), .integers(0...3), smoothness: .none, points: [([2, 1], 1), ([1, 1], 0)]),
  OpSpec(
    GreaterOrEqual(), .integers(0...3), smoothness: .none, points: [([1, 1], 1), ([.nan, 1], 0)]),
  OpSpec(
    HardSigmoid(), .uniform(-5...5), kinks: [-3, 3], points: [([0], 0.5), ([-4], 0), ([4], 1)]),
  OpSpec(
    HardSwish(), .uniform(-5...5), kinks: [-3, 3], points: [([1], 4 / 6.0), ([-4], 0), ([4], 4)]),
  OpSpec(IsFinite(), smoothness: .none, points: [([1], 1), ([inf], 0), ([.nan], 0)]),
  OpSpec(IsInfinite(), smoothness: .none, points: [([1], 0), ([-inf], 1), ([.nan], 0)]),
  OpSpec(IsNaN(), smoothness: .none, points: [([1], 0), ([inf], 0), ([.nan], 1)]),
  OpSpec(LeakyRelu(slope: 0.01), kinks: [0], points: [([-2], -0.02), ([3], 3)]),
  OpSpec(Less(), .integers(0...3), smoothness: .none, points: [([1, 2], 1), ([1, 1], 0)]),
  OpSpec(Less(), .integers(-3...3), smoothness: .none, dtype: .i32),
  OpSpec(LessOrEqual(), .integers(0...3), smoothness: .none, points: [([1, 1], 1), ([2, 1], 0)]),
  OpSpec(Log(), .uniform(0.1...100), points: [([1], 0), ([0], -inf), ([-1], .nan)]),
  OpSpec(Log10(), .uniform(0.1...100), points: [([1000], 3), ([0], -inf)]),
  OpSpec(
    Log1p(), .uniform(-0.9...10), points: [([0], 0), ([-1], -inf), ([0x1p-27], 0x1p-27 - 0x1p-55)]),
  OpSpec(Log2(), .uniform(0.1...100), points: [([8], 3), ([0], -inf)]),
  OpSpec(
    Maximum(), .grid(step: 0.25, offset: 0, within: -3...3),
    .grid(step: 0.25, offset: 0.5, within: -3...3),
    points: [([1, 2], 2), ([.nan, 1], .nan), ([1, .nan], .nan)]),
  OpSpec(Maximum(), .integers(-9...9), dtype: .i32),
  OpSpec(
    Minimum(), .grid(step: 0.25, offset: 0, within: -3...3),
    .grid(step: 0.25, offset: 0.5, within: -3...3),
    points: [([1, 2], 1), ([.nan, 1], .nan), ([1, .nan], .nan)]),
  OpSpec(Minimum(), .integers(-9...9), dtype: .i64),
  OpSpec(Multiply(), points: [([3, -2], -6), ([0, inf], .nan)]),
  OpSpec(Multiply(), dtype: .i32),
  OpSpec(Negate(), points: [([3], -3)]),
  OpSpec(Negate(), .integers(-9...9), dtype: .i32),
  OpSpec(Not(), smoothness: .none, points: [([1], 0), ([0], 1)]),
  OpSpec(
    NotEqual(), .integers(0...3), smoothness: .none, points: [([1, 1], 0), ([.nan, .nan], 1)]),
  OpSpec(Or(), smoothness: .none, points: [([0, 1], 1), ([0, 0], 0)]),
  OpSpec(
    Power(), .uniform(0.2...3), .uniform(-3...3),
    points: [([2, 10], 1024), ([-2, 3], -8), ([-2, 0.5], .nan), ([0, 0], 1), ([0, 2], 0)]),
  OpSpec(Reciprocal(), .uniform(0.3...4), points: [([4], 0.25), ([0], inf)]),
  OpSpec(Relu(), kinks: [0], points: [([-1], 0), ([2], 2), ([.nan], .nan)]),
  OpSpec(Relu6(), .uniform(-3...9), kinks: [0, 6], points: [([-1], 0), ([7], 6)]),
  // The quotient stays away from whole numbers, where the remainder jumps.
  OpSpec(
    Remainder(), .grid(step: 1, offset: 0.5, within: -9...9),
    .grid(step: 2, offset: 0, within: 2...8),
    points: [([5.5, 2], 1.5), ([-5.5, 2], -1.5), ([5.5, -2], 1.5), ([1, 0], .nan)]),
  OpSpec(Remainder(), .integers(-20...20), .integers(1...5), dtype: .i32),
  OpSpec(
    Round(), kinks: Array(stride(from: -2.5, through: 2.5, by: 1)), smoothness: .none,
    points: [([0.5], 0), ([1.5], 2), ([-2.5], -2)]),
  OpSpec(Rsqrt(), .uniform(0.2...50), points: [([4], 0.5), ([0], inf), ([-1], .nan)]),
  OpSpec(
    Select(),
    on: selectShapes.map { [.init(.bool, $0[0]), .init(.f32, $0[1]), .init(.f32, $0[2])] },
    rejects: [
      [.f32(3), .f32(3), .f32(3)], [.bool(3), .f32(3), .i32(3)], [.bool(3), .f32(4), .f32(3)],
    ]),
  OpSpec(
    Select(), on: [[.bool(5), .i32(5), .i32(1)], [.bool(5), .bool(5), .bool(1)]], smoothness: .none),
  OpSpec(Selu(), kinks: [0], points: [([1], 1.0507009873554805), ([-inf], -1.7580993408473768)]),
  OpSpec(Sigmoid(), .uniform(-10...10), points: [([0], 0.5), ([-inf], 0), ([inf], 1)]),
  OpSpec(Sign(), kinks: [0], smoothness: .none, points: [([-3], -1), ([0], 0), ([.nan], .nan)]),
  OpSpec(Sign(), .integers(-3...3), smoothness: .none, dtype: .i32),
  OpSpec(Silu(), .uniform(-10...10), points: [([0], 0), ([1], 0.7310585786300049)]),
  OpSpec(
    SiluDerivative(), .uniform(-10...10),
    points: [([0], 0.5), ([1], 0.9276705118714867), ([-inf], 0), ([inf], 1), ([.nan], .nan)]),
  OpSpec(Sin(), .uniform(-10...10), points: [([0], 0), ([inf], .nan)]),
  OpSpec(Sinh(), .uniform(-8...8), points: [([0], 0), ([-inf], -inf)]),
  OpSpec(
    Softplus(), .uniform(-20...20),
    points: [([0], 0.6931471805599453), ([1000], 1000), ([-inf], 0)]),
  OpSpec(Softsign(), .uniform(-10...10), kinks: [0], points: [([1], 0.5), ([-3], -0.75)]),
  OpSpec(Sqrt(), .uniform(0.2...50), points: [([9], 3), ([-1], .nan)]),
  OpSpec(Square(), points: [([-3], 9)]),
  OpSpec(Subtract(), points: [([1, 2], -1), ([inf, inf], .nan)]),
  OpSpec(Subtract(), dtype: .i32),
  OpSpec(Tan(), .uniform(-1.2...1.2), points: [([0], 0), ([inf], .nan)]),
  OpSpec(Tanh(), .uniform(-6...6), points: [([0], 0), ([inf], 1), ([0.5], 0.46211715726000973)]),
  OpSpec(
    Trunc(), kinks: Array(stride(from: -3, through: 3, by: 1)), smoothness: .none,
    points: [([-1.7], -1), ([1.7], 1)]),
  OpSpec(Xor(), smoothness: .none, points: [([1, 1], 0), ([1, 0], 1)]),
]

/// Half-width floats are storage: computed in f32, rounded once. What is left is one rounding.
let narrowSpecs: [OpSpec] = [
  OpSpec(Add(), dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(Add(), dtype: .f16, relativeTolerance: 5e-4),
  OpSpec(Cast(to: .f32), dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(Cast(to: .bf16), dtype: .f16, relativeTolerance: 4e-3),
  OpSpec(Divide(), .uniform(-3...3), .uniform(0.5...3), dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(Exp(), dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(Exp(), dtype: .f16, relativeTolerance: 5e-4),
  OpSpec(Gelu(), dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(Less(), .integers(0...3), smoothness: .none, dtype: .bf16),
  OpSpec(Multiply(), dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(Relu(), kinks: [0], dtype: .bf16, relativeTolerance: 4e-3),
  OpSpec(
    Select(), on: [[.bool(17), .bf16(17), .bf16(1)], [.bool(17), .f16(17), .f16(17)]],
    relativeTolerance: 4e-3),
  OpSpec(Tanh(), dtype: .f16, relativeTolerance: 5e-4),
  OpSpec(
    Sum(axes: [1], keepDims: false), on: [[.bf16(3, 129)], [.f16(3, 17)]], relativeTolerance: 4e-3),
  OpSpec(
    ReduceMax(axes: [0], keepDims: false), .distinct(step: 0.125), on: [[.bf16(33, 3)]],
    relativeTolerance: 4e-3),
  OpSpec(Transpose([1, 0]), on: [[.bf16(3, 17)]], relativeTolerance: 4e-3),
  OpSpec(
    Pad(low: [1], steps: [2], shape: [40], value: 0.5), on: [[.bf16(17)]], relativeTolerance: 4e-3),
]

private let selectShapes = OpSpec.elementwiseShapes(arity: 3)
