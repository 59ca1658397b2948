// Random graphs of all element types, with the numbers at which types, kernels and passes part.

import Apus
import ApusGraph
import ApusOps
import TestSupport

/// A recorded random program and the arrays it reads.
struct AnyGraph {
  /// The arrays that the program reads.
  private(set) var arrays: [NDArray] = []
  /// Which of them are constants of the graph; the others are its inputs, in order.
  private var areConstants: [Bool] = []

  private var random: SplitMix
  private let trace = Trace()
  private var pool: [Tensor] = []
  private var m = 1
  private var n = 1

  /// The graph of a seed. What it computes does not depend on which of its arrays are `constants`.
  static func make(
    seed: UInt64, constants: (Int) -> Bool = { _ in false }
  ) throws -> (graph: Graph, inputs: [NDArray]) {
    var program = AnyGraph(random: SplitMix(seed: seed))
    let graph = try program.record(constants)
    let inputs = zip(program.arrays, program.areConstants).filter { !$1 }.map(\.0)
    return (graph, inputs)
  }

  private init(random: SplitMix) { self.random = random }

  private mutating func record(_ constants: (Int) -> Bool) throws -> Graph {
    // Up to two vectors and more, so that every number comes to stand in every place of one.
    m = 1 + roll(4)
    n = [1 + roll(4), 1 + roll(40), 15 + roll(4)][roll(3)]
    let dtypes: [DType] = [.f32, .f32, .f32, .i32, .i64, .u8, .bool, .bf16, .f16]
    for index in 0..<6 {
      let dtype = index == 0 ? .f32 : pick(dtypes)
      let shape: Shape = index < 2 ? [m, n] : pick([[m, n], [n], [1, n], [m, 1], []])
      let array = RandomNumbers.array(TensorType(dtype, shape), using: &random)
      let isConstant = constants(index)
      arrays.append(array)
      areConstants.append(isConstant)
      pool.append(isConstant ? trace.constant(array) : trace.input("x\(index)", array.type))
    }
    Trace.$current.withValue(trace) {
      for _ in 0..<(4 + roll(14)) { pool.append(grow()) }
    }
    var outputs = Array(pool.suffix(2))
    for _ in 0..<2 { outputs.append(pick(pool)) }
    for (index, output) in outputs.enumerated() { trace.output("y\(index)", output) }
    return try trace.finish()
  }

  // MARK: Choosing

  private mutating func roll(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }

  private mutating func pick<T>(_ values: [T]) -> T { values[roll(values.count)] }

  /// Mostly what was made last, so that chains form.
  private mutating func operand(where holds: (DType) -> Bool = { _ in true }) -> Tensor? {
    let fitting = pool.filter { holds($0.dtype) && $0.type.count <= 4096 }
    guard !fitting.isEmpty else { return nil }
    return roll(3) > 0 ? pick(Array(fitting.suffix(4))) : pick(fitting)
  }

  /// Another tensor that broadcasts with this one, of the same element type unless promotion is wanted.
  private mutating func partner(of x: Tensor) -> Tensor {
    let mixes = roll(4) == 0
    let fitting = pool.filter {
      (mixes || $0.dtype == x.dtype) && (try? Shape.broadcast($0.shape, x.shape)) != nil
    }
    return fitting.isEmpty ? x : pick(fitting)
  }

  private mutating func axis(of x: Tensor) -> Int { roll(x.rank) }

  // MARK: Growing

  private mutating func grow() -> Tensor {
    let x = operand()!
    switch roll(12) {
    case 0, 1: return unary(x)
    case 2, 3, 4: return binary(x)
    case 5: return withNumber(x)
    case 6: return x.cast(to: pick(Array(DType.allCases.filter { $0 != .f64 })))
    case 7, 8: return moved(x)
    case 9: return reduced(x)
    case 10: return indexed(x)
    default: return rows(x)
    }
  }

  private mutating func unary(_ x: Tensor) -> Tensor {
    guard x.dtype.isFloat else {
      if x.dtype == .bool { return roll(2) == 0 ? .!x : x.cast(to: pick([.f32, .i64, .u8])) }
      return [{ -$0 }, { abs($0) }, { sign($0) }, { $0 + $0 }][roll(4)](x)
    }
    let functions: [(Tensor) -> Tensor] = [
      { -$0 }, { abs($0) }, { sign($0) }, { relu($0) }, { floor($0) }, { ceil($0) }, { round($0) },
      { trunc($0) }, { square($0) }, { clamp($0, low: -2, high: 3) }, { sqrt($0) }, { exp($0) },
      { log($0) }, { tanh($0) }, { sigmoid($0) }, { sin($0) }, { reciprocal($0) }, { rsqrt($0) },
      { gelu($0) }, { silu($0) }, { softplus($0) }, { leakyRelu($0, slope: 0.25) }, { relu6($0) },
      { erf($0) }, { log1p($0) }, { expm1($0) }, { isNaN($0) }, { isFinite($0) },
      { isInfinite($0) },
      { $0.stopGradient() }, { hardSigmoid($0) }, { atan($0) },
    ]
    return pick(functions)(x)
  }

  private mutating func binary(_ x: Tensor) -> Tensor {
    let y = partner(of: x)
    let (a, b) = roll(2) == 0 ? (x, y) : (y, x)
    if a.dtype == .bool && b.dtype == .bool {
      return [{ $0 .& $1 }, { $0 .| $1 }, { $0 .^ $1 }, { $0 .== $1 }][roll(4)](a, b)
    }
    let functions: [(Tensor, Tensor) -> Tensor] = [
      { $0 + $1 }, { $0 - $1 }, { $0 * $1 }, { $0 / $1 }, { maximum($0, $1) }, { minimum($0, $1) },
      { $0 .< $1 }, { $0 .>= $1 }, { $0 .== $1 }, { $0 .!= $1 }, { $0 + $1 }, { $0 * $1 },
      { truncatingDivide($0, $1) }, { $0 % $1 }, { mod($0, $1) }, { floorDivide($0, $1) },
    ]
    if roll(5) == 0, let mask = condition(a, b) { return `where`(mask, a, b) }
    return pick(functions)(a, b)
  }

  private mutating func condition(_ a: Tensor, _ b: Tensor) -> Tensor? {
    guard let shape = try? Shape.broadcast(a.shape, b.shape) else { return nil }
    let fitting = pool.filter {
      $0.dtype == .bool && (try? Shape.broadcast($0.shape, shape)) != nil
    }
    return fitting.isEmpty ? nil : pick(fitting)
  }

  /// A number of the source text beside a tensor: whole, a fraction, beyond the type.
  private mutating func withNumber(_ x: Tensor) -> Tensor {
    let c = pick([0, 1, -1, 2, 3, 0.5, -1.5, 255, 256, 0x1p31, 0x1p53, .nan, .infinity])
    let comparisons: [(Tensor, Double) -> Tensor] = [
      { $0 .< $1 }, { $0 .<= $1 }, { $0 .== $1 }, { $0 .!= $1 }, { $1 .< $0 }, { $1 .>= $0 },
    ]
    if x.dtype == .bool { return roll(2) == 0 ? x .== c : x .!= c }
    if roll(2) == 0 { return pick(comparisons)(x, c) }
    let functions: [(Tensor, Double) -> Tensor] = [
      { $0 + $1 }, { $1 - $0 }, { $0 * $1 }, { $0 / $1 }, { maximum($0, $1) }, { minimum($0, $1) },
      { $0 % $1 }, { floorDivide($0, $1) },
    ]
    // A whole number beyond the type is a mistake.
    let isWhole = c.isFinite && c == c.rounded()
    return pick(functions)(x, isWhole && !x.dtype.holds(c) ? 2 : c)
  }

  private mutating func moved(_ x: Tensor) -> Tensor {
    guard x.rank > 0 else { return x.broadcast(to: pick([[n], [m, n], [1]])) }
    let axis = axis(of: x)
    switch roll(10) {
    case 0: return x.flattened()
    case 1: return x.transposed((0..<x.rank).shuffled(using: &random))
    case 2: return x.flipped(axis: axis)
    case 3: return x.sliced(axis: axis, from: roll(2), step: 1 + roll(3))
    case 4:
      let low = (0..<x.rank).map { _ in roll(3) }, high = (0..<x.rank).map { _ in roll(2) }
      return x.padded(low: low, high: high, value: Double(roll(2)))
    case 5: return concat([x, pool.filter { $0.shape == x.shape }.last ?? x], axis: axis)
    case 6: return x.rolled(by: roll(5) - 2, axis: axis)
    case 7: return x.expandingDims(at: roll(x.rank + 1))
    case 8: return x.type.count > 500 ? x : x.broadcast(to: Shape([2] + x.shape.dimensions))
    default: return x.reshaped(Shape(x.shape.dimensions.reversed()))
    }
  }

  private mutating func reduced(_ x: Tensor) -> Tensor {
    let axes = (0..<x.rank).filter { _ in roll(2) == 0 }
    let keepDims = roll(2) == 0
    if x.dtype == .bool {
      return [
        { $0.any(axes: axes, keepDims: keepDims) }, { $0.all(axes: axes, keepDims: keepDims) },
        { $0.sum(axes: axes, keepDims: keepDims) },
      ][roll(3)](x)
    }
    let isEmpty = axes.contains { x.shape[$0] == 0 }
    switch roll(6) {
    case 0 where !isEmpty: return x.max(axes: axes, keepDims: keepDims)
    case 1 where !isEmpty: return x.min(axes: axes, keepDims: keepDims)
    case 2: return x.product(axes: axes, keepDims: keepDims)
    case 3 where x.dtype.isFloat: return x.mean(axes: axes, keepDims: keepDims)
    case 4 where x.rank > 0: return x.cumulativeSum(axis: axis(of: x))
    default: return x.sum(axes: axes, keepDims: keepDims)
    }
  }

  private mutating func indexed(_ x: Tensor) -> Tensor {
    guard x.rank > 0, x.type.count > 0, x.dtype != .bool else { return x }
    let axis = axis(of: x)
    let extent = x.shape[axis]
    switch roll(6) {
    case 0: return x.argmax(axis: axis)
    case 1: return x.argmin(axis: axis)
    case 2: return x.sorted(axis: axis, isDescending: roll(2) == 0).values
    case 3: return x.topK(1 + roll(extent), axis: axis).indices
    case 4:
      let count = 1 + roll(5)
      let places = NDArray((0..<count).map { _ in roll(extent) }, shape: [count])
      return x.take(trace.constant(places), axis: axis)
    default:
      guard let indices = operand(where: { $0 == .i32 || $0 == .i64 || $0 == .u8 }),
        indices.type.count <= 64
      else { return x }
      return x.take(mod(indices, Double(min(extent, 255))), axis: axis)
    }
  }

  /// What has kernels by rows, in f32.
  private mutating func rows(_ x: Tensor) -> Tensor {
    guard x.rank > 0, x.type.count > 0 else { return unary(x) }
    let f = x.cast(to: .f32)
    switch roll(6) {
    case 0: return softmax(f)
    case 1: return logSoftmax(f)
    case 2: return layerNorm(f)
    case 3: return f.logsumexp(axes: [-1])
    case 4 where x.rank == 2: return f.matmul(f.transposed())
    default: return f.variance(axes: [-1], correction: 0)
    }
  }
}

/// Numbers at which something changes: where types end, where kernels see zeros, where rounding begins.
enum RandomNumbers {
  private static let floats: [Double] = [
    0, -0.0, 1, -1, 0.5, 2, 3, -2.5, .nan, .infinity, -.infinity, 0x1p-130, -0x1p-140, 0x1p-126,
    0x1p24 + 2, 1e20, -1e20, 3e38, 255.5, 256, 300, 0x1p31, -0x1p31, 0x1p63, 65_504, 0.1, 1 / 3,
  ]
  private static let integers: [Int64] = [
    0, 1, -1, 2, 3, 7, -8, 127, 128, 255, 256, 0x7fff_ffff, -0x8000_0000, 0x1_0000_0005,
    1 << 53 + 1,
    .max, .max - 1, .min,
  ]

  static func array(_ type: TensorType, using random: inout SplitMix) -> NDArray {
    /// Of 8 elements so many are special: none, some, or most.
    let share = [0, 0, 1, 6].randomElement(using: &random)!
    let isDyadic = Bool.random(using: &random)
    if type.dtype.isFloat {
      let values = (0..<type.count).map { _ -> Double in
        if Int.random(in: 0..<8, using: &random) < share {
          return floats.randomElement(using: &random)!
        }
        return isDyadic
          ? Double(Int.random(in: -16...16, using: &random)) / 4
          : Double.random(in: -2...2, using: &random)
      }
      return NDArray(doubles: values, type: type)
    }
    let values = (0..<type.count).map { _ -> Int64 in
      Int.random(in: 0..<8, using: &random) < share
        ? integers.randomElement(using: &random)! : Int64.random(in: -9...9, using: &random)
    }
    return (try? NDArray(integers: values, type: type)) ?? NDArray(zeros: type)
  }
}
