// The oracle of random graphs: what each output is, and how far from it another way may be.
//
// A bound is of a whole tensor: 0 where every way must give the same number, infinity where nothing can be
// said, such as of a comparison of numbers that were rounded. Bounds are coarse; they tell a last digit
// from a wrong answer.

import ApusGraph
import ApusOps

/// A graph's values in plain loops, each op rounded to its type as kernels round, with a bound for each.
struct ErrorBounds {
  struct Value {
    var array: NDArray
    /// Relative to the number where that is above 1.
    var bound: Double
  }

  private(set) var outputs: [Value] = []

  init(_ graph: Graph, inputs: [NDArray]) throws {
    var values = [Value?](repeating: nil, count: graph.types.count)
    for (input, array) in zip(graph.inputs, inputs) {
      values[input.value.index] = Value(array: array, bound: 0)
    }
    for constant in graph.constants {
      values[constant.value.index] = Value(array: constant.array, bound: 0)
    }
    func read(_ operand: Operand) -> Value {
      var value = values[operand.value.index]!
      if let view = operand.view { value.array = value.array.viewed(through: view) }
      return value
    }
    for node in graph.nodes {
      let operands = node.operands.map(read)
      let results = try node.op.computed(
        operands.map(\.array), results: node.results.map(graph.type))
      for (index, id) in node.results.enumerated() {
        let step = Step(op: node.op, operands: operands, result: results[index])
        values[id.index] = Value(array: results[index], bound: try step.bound())
      }
    }
    outputs = graph.outputs.map { read($0.operand) }
  }
}

/// One op, about to be bounded.
private struct Step {
  let op: any Op
  let operands: [ErrorBounds.Value]
  let result: NDArray

  /// Results beyond this are not followed.
  private static let most = 0.02

  func bound() throws -> Double {
    let bound = try rawBound()
    return bound <= Self.most ? bound : .infinity
  }

  private var worst: Double { operands.map(\.bound).max() ?? 0 }
  private var isExact: Bool { worst == 0 }

  private func rawBound() throws -> Double {
    if op is any MovingOp && !(op is Gather) || worst == .infinity { return worst }
    if let gather = op as? Gather, gather.result == nil {
      return operands[1].bound == 0 ? operands[0].bound : .infinity
    }
    // A number that was rounded may fall on the other side.
    if !result.dtype.isFloat || jumps { return isExact ? 0 : .infinity }
    if op is Sort || op is TopK || op is ReduceMax || op is ReduceMin { return worst }
    let wide = try exactly()
    let isOverflow = zip(result.doubles, wide.doubles).contains { !$0.isFinite && $1.isFinite }
    if isOverflow { return .infinity }
    if op is Cast { return isExact ? 0 : worst + unit }
    if isExact, isCorrectlyRounded, zip(result.doubles, wide.doubles).allSatisfy({ same($0, $1) }) {
      return 0
    }
    if let factor = slope() { return factor * absoluteWorst + noise }
    return .infinity
  }

  /// Ops whose result jumps where their operand passes a point.
  private var jumps: Bool {
    op is Floor || op is Ceil || op is Round || op is Trunc || op is Sign || op is Remainder
      || op is Gate
  }

  /// Ops whose kernels give the number nearest to the exact one, in whatever order they work.
  private var isCorrectlyRounded: Bool {
    switch op {
    case is Add, is Subtract, is Multiply, is Divide, is Negate, is Abs, is Square, is Sqrt,
      is Relu,
      is Relu6, is Clamp, is Maximum, is Minimum, is LeakyRelu, is Reciprocal:
      true
    case is Sum, is CumulativeSum: isExactInAnyOrder
    default: false
    }
  }

  /// Whether every partial sum of the operand is a float.
  private var isExactInAnyOrder: Bool {
    var least = Double.infinity, sum = 0.0
    for x in operands[0].array.doubles where x != 0 {
      guard x.isFinite else { return false }
      sum += x.magnitude
      least = min(least, x.ulp * 0x1p-29 < 0x1p-140 ? x.magnitude : lastBit(x))
    }
    let digits: Double = result.dtype == .bf16 ? 0x1p8 : result.dtype == .f16 ? 0x1p11 : 0x1p24
    return sum <= digits * least && sum < 6e4
  }

  private func lastBit(_ x: Double) -> Double {
    x.ulp * Double(1 << min(x.significandBitPattern.trailingZeroBitCount, 52))
  }

  /// The result in double, of the operands as they are.
  private func exactly() throws -> NDArray {
    let wide = operands.map { $0.array.cast(to: $0.array.dtype.widened) }
    let types = try op.resultTypes(wide.map(\.type))
    let index = types.firstIndex { $0.shape == result.shape && $0.dtype.isFloat } ?? 0
    return try op.reference(wide, results: types)[index]
  }

  private func same(_ a: Double, _ b: Double) -> Bool { a == b || a.isNaN && b.isNaN }

  /// The last digit of the result's type.
  private var unit: Double {
    switch result.dtype {
    case .bf16: 0x1p-7
    case .f16: 0x1p-10
    default: 2e-6
    }
  }

  /// What the op's own steps may add.
  private var noise: Double {
    switch op {
    case is any ReductionOp, is MatMul, is CumulativeSum:
      // Of sums: the rounding of what is added up.
      unit * (1 + operands.map { greatest($0) }.reduce(1, *) * Double(operands[0].array.count))
    case is any CompositeOp: 100 * unit
    default: 4 * unit
    }
  }

  /// The greatest finite magnitude, 1 at least.
  private func greatest(_ value: ErrorBounds.Value) -> Double {
    value.array.doubles.reduce(1) { $1.isFinite ? max($0, $1.magnitude) : $0 }
  }

  private func least(_ value: ErrorBounds.Value) -> Double {
    value.array.doubles.reduce(.infinity) { $1.isNaN ? $0 : min($0, $1.magnitude) }
  }

  private var absoluteWorst: Double {
    operands.reduce(0) { max($0, $1.bound == 0 ? 0 : $1.bound * greatest($1)) }
  }

  private func isWithin(_ value: ErrorBounds.Value, _ limit: Double) -> Bool {
    value.array.doubles.allSatisfy { $0.magnitude <= limit }
  }

  /// By how much the op enlarges an error of its operands; nil where that is not known.
  private func slope() -> Double? {
    let x = operands[0]
    switch op {
    case is Add, is Subtract, is Negate, is Abs, is Relu, is Relu6, is Clamp, is Maximum,
      is Minimum,
      is LeakyRelu, is HardSigmoid, is Sin, is Tanh, is Sigmoid, is Atan, is Erf, is Gelu, is Silu,
      is Softplus:
      return 2
    case is Multiply, is Square: return 2 * operands.map { greatest($0) }.max()!
    case is Exp, is Expm1: return isWithin(x, 10) ? 22_026.5 : isExact ? 0 : nil
    // Steep at an end of their domain.
    case is Log, is Log1p, is Sqrt, is Rsqrt, is Reciprocal:
      return isExact ? 0 : least(x) > 0.25 ? 20 : nil
    case is Divide:
      if isExact { return 0 }
      return least(operands[1]) > 0.25 ? 16 * greatest(x) : nil
    case is Sum, is CumulativeSum: return isWithin(x, 1e3) ? Double(x.array.count) : nil
    case is Product, is ScaledProduct:
      return isExact && isWithin(x, 4) && x.array.count < 8 ? 0 : nil
    case is MatMul:
      return operands.allSatisfy { isWithin($0, 1e3) }
        ? 2 * Double(x.array.count) * operands.map { greatest($0) }.max()! : nil
    // Small rows of numbers near 0 are stretched by norms.
    case is Softmax, is LogSoftmax: return isWithin(x, 30) ? 4 : nil
    case is LayerNorm: return isExact && isWithin(x, 30) ? 0 : nil
    default: return nil
    }
  }
}

/// Where `given` is not `wanted`, in words; nil where they agree within the bound.
func difference(_ given: NDArray, _ wanted: ErrorBounds.Value) -> String? {
  guard given.type == wanted.array.type else { return "\(given.type), not \(wanted.array.type)" }
  if wanted.bound == .infinity { return nil }
  if !given.dtype.isFloat {
    return given == wanted.array ? nil : place(given.integers, wanted.array.integers) { $0 == $1 }
  }
  return place(given.doubles, wanted.array.doubles) { x, w in
    if x.isNaN || w.isNaN { return x.isNaN && w.isNaN }
    if x == w || max(x.magnitude, w.magnitude) < 0x1p-126 { return true }
    return w.isFinite && abs(x - w) <= wanted.bound * max(1, w.magnitude)
  }.map { $0 + " (bound \(wanted.bound))" }
}

private func place<T>(_ given: [T], _ wanted: [T], _ agree: (T, T) -> Bool) -> String? {
  for (index, (x, w)) in zip(given, wanted).enumerated() where !agree(x, w) {
    return "element \(index) is \(x), not \(w)"
  }
  return nil
}
