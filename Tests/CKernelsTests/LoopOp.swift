// Every operation of eltwise_ops.inc by its definition, on one element, in double precision.
//
// An operation that is one IEEE operation, or a chain of them, is exact: its result is the double
// rounded to float, each link of a chain by itself. The others are the mathematical function and a
// bound. Denormals count as zeros of their sign, as they do while the team runs.

import CKernels
import Foundation

/// One operation of the list.
struct LoopOp: Sendable {
  let name: String
  /// The name without the class that it ends in.
  private let base: String
  private let evaluate: @Sendable ([Number], Immediates) -> Number

  struct Immediates {
    let x, y: Float
  }

  init(_ name: String) {
    self.name = name
    let base = String(name[..<name.lastIndex(of: "_")!])
    self.base = base
    let info = LoopOps.describe(name)
    let operand = info.arity > 0 ? info.operands.last! : info.result
    if info.reduces {
      evaluate = { _, _ in preconditionFailure("\(name) is no function of one element") }
    } else if base.hasPrefix("const") {
      evaluate = constant(operand)
    } else if base == "select" {
      evaluate = { read, _ in read[0].isTrue ? read[1] : read[2] }
    } else if base == "copy" {
      evaluate = { read, _ in read[0] }
    } else if base.hasPrefix("cast") {
      evaluate = cast(name)
    } else if operand == CK_CLASS_F32 {
      if let predicate = predicate(base) {
        evaluate = { read, _ in .whole(predicate(RealOperands(read)) ? 1 : 0) }
      } else {
        let function = exact(base) ?? transcendental(base)
        evaluate = { read, immediates in .real(function(RealOperands(read, immediates))) }
      }
    } else {
      let function = integer(base, operand)
      evaluate = { read, _ in
        .whole(function(read[0].whole, read.count > 1 ? read[1].whole : 0))
      }
    }
  }

  /// The result on one element, not yet rounded to what a slot holds.
  func result(_ read: [Number], _ x: Float, _ y: Float) -> Number {
    evaluate(read, Immediates(x: x, y: y))
  }

  /// How far the result for these operands may be from the model's.
  func tolerance(_ read: [Number]) -> Tolerance {
    switch base {
    case "min", "max": return Tolerance(signedZeros: false)
    case "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
      "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "atan2", "sigmoid",
      "softplus", "rsqrt":
      return Tolerance(ulp: 2)
    case "pow", "erf", "elu", "selu", "silu": return Tolerance(ulp: 4)
    case "gelu": return Tolerance(ulp: 3)
    // It is 0 at -0.7518: near there units of 1/16.
    case "gelu_derivative":
      return Tolerance(ulp: 3, absolute: abs(read[0].real + 0.75) < 0.25 ? 3 * 0x1p-28 : 0)
    // It is 0 at -1.2785: 1 + x s cancels.
    case "silu_derivative":
      return Tolerance(ulp: 5, absolute: abs(read[0].real + 1.5) < 1.5 ? 0x1p-25 : 0)
    // It is 0 at -0.7525; in the tail the error is that of the exponent.
    case "gelu_tanh_derivative":
      return Tolerance(ulp: 4, absolute: read[0].real.isFinite ? 0x1p-24 : 0)
    // 1 + e^-2u cancels: the error is one of the operand's size.
    case "gelu_tanh":
      let x = read[0].real
      return Tolerance(ulp: 4, absolute: x.isFinite ? min(abs(x), 16) * 0x1p-22 : 0)
    default: return .exact
    }
  }

  // MARK: - Reductions

  /// What a reduction of nothing gives.
  var identity: Number {
    switch name {
    case "reduce_sum_f32": .real(0)
    case "reduce_product_f32": .real(1)
    case "reduce_max_f32": .real(-.infinity)
    case "reduce_min_f32": .real(.infinity)
    case "reduce_max_i32": .whole(Int64(Int32.min))
    case "reduce_min_i32": .whole(Int64(Int32.max))
    case "reduce_max_i64": .whole(.min)
    case "reduce_min_i64": .whole(.max)
    case "reduce_product_i32", "reduce_product_i64", "reduce_all_bool": .whole(1)
    default: .whole(0)
    }
  }

  /// A reduction's total with one more element; of f32 in double, rounded only at the end.
  var combined: (Number, Number) -> Number {
    switch name {
    case "reduce_sum_f32": return { .real($0.real + flushed($1.real)) }
    case "reduce_product_f32": return { .real($0.real * flushed($1.real)) }
    case "reduce_max_f32":
      return { $0.real.isNaN || $1.real <= $0.real ? $0 : .real(flushed($1.real)) }
    case "reduce_min_f32":
      return { $0.real.isNaN || $1.real >= $0.real ? $0 : .real(flushed($1.real)) }
    default:
      let names = [
        "reduce_sum": "add", "reduce_product": "mul", "reduce_max": "max", "reduce_min": "min",
        "reduce_any": "or", "reduce_all": "and",
      ]
      let function = integer(names[base]!, LoopOps.describe(name).result)
      return { .whole(function($0.whole, $1.whole)) }
    }
  }
}

/// A denormal counts as a zero of its sign.
func flushed(_ x: Double) -> Double {
  abs(x) < Double(Float.leastNormalMagnitude) ? (x.sign == .minus ? -0.0 : 0) : x
}

/// Rounded to float, as a link of a chain is.
private func once(_ x: Double) -> Double { flushed(Double(Float(x))) }

// MARK: - Constants and casts

private typealias Evaluation = @Sendable ([Number], LoopOp.Immediates) -> Number

private func constant(_ result: ck_class) -> Evaluation {
  switch result {
  case CK_CLASS_F32: { .real(Double($1.x)) }
  case CK_CLASS_I32: { .whole(Int64(Int32(bitPattern: $1.x.bitPattern))) }
  case CK_CLASS_I64: { .whole(Int64($1.y.bitPattern) << 32 | Int64($1.x.bitPattern)) }
  default: { .whole($1.x != 0 ? 1 : 0) }
  }
}

private func cast(_ name: String) -> Evaluation {
  switch name {
  case "cast_f32_i32":
    { read, _ in .whole(truncated(read[0].real, below: 0x1p31, else: Int64(Int32.min))) }
  case "cast_f32_i64": { read, _ in .whole(truncated(read[0].real, below: 0x1p63, else: .min)) }
  case "cast_f32_bool": { read, _ in .whole(flushed(read[0].real) != 0 ? 1 : 0) }
  case "cast_i32_f32", "cast_i64_f32": { read, _ in .real(Double(Float(read[0].whole))) }
  case "cast_i32_u8": { read, _ in .whole(read[0].whole & 255) }
  case "cast_i32_bool", "cast_i64_bool": { read, _ in .whole(read[0].whole != 0 ? 1 : 0) }
  case "cast_i64_i32": { read, _ in .whole(Int64(Int32(truncatingIfNeeded: read[0].whole))) }
  case "cast_bool_f32": { read, _ in .real(read[0].isTrue ? 1 : 0) }
  case "cast_i32_i64", "cast_bool_i32", "cast_bool_i64": { read, _ in read[0] }
  default: preconditionFailure("no model of \(name)")
  }
}

/// Toward zero.
private func truncated(_ x: Double, below limit: Double, else other: Int64) -> Int64 {
  x >= -limit && x < limit ? Int64(x) : other
}

// MARK: - Floats

private struct RealOperands {
  let a, b, c, x, y: Double

  init(_ read: [Number], _ immediates: LoopOp.Immediates = .init(x: 0, y: 0)) {
    a = flushed(read[0].real)
    b = read.count > 1 ? flushed(read[1].real) : 0
    c = read.count > 2 ? flushed(read[2].real) : 0
    x = Double(immediates.x)
    y = Double(immediates.y)
  }
}

private typealias RealFunction = @Sendable (RealOperands) -> Double

private func predicate(_ base: String) -> (@Sendable (RealOperands) -> Bool)? {
  switch base {
  case "eq": { $0.a == $0.b }
  case "ne": { $0.a != $0.b }
  case "lt": { $0.a < $0.b }
  case "le": { $0.a <= $0.b }
  case "gt": { $0.a > $0.b }
  case "ge": { $0.a >= $0.b }
  case "is_nan": { $0.a.isNaN }
  case "is_inf": { $0.a.isInfinite }
  case "is_finite": { $0.a.isFinite }
  default: nil
  }
}

private func relu(_ x: Double) -> Double { 0 > x ? 0 : x }
private func clamp(_ x: Double, _ low: Double, _ high: Double) -> Double {
  let y = low > x ? low : x
  return high < y ? high : y
}

private func exact(_ base: String) -> RealFunction? {
  switch base {
  // One rounding.
  case "add": { $0.a + $0.b }
  case "sub": { $0.a - $0.b }
  case "mul": { $0.a * $0.b }
  case "div": { $0.a / $0.b }
  case "square": { $0.a * $0.a }
  case "reciprocal": { 1 / $0.a }
  case "sqrt": { $0.a.squareRoot() }
  case "fma": { Double(Float($0.c).addingProduct(Float($0.a), Float($0.b))) }
  case "rem": { fmod($0.a, $0.b) }
  // Several.
  case "mul_add": { once($0.a * $0.b) + $0.c }
  case "mul_sub": { once($0.a * $0.b) - $0.c }
  case "sub_mul": { $0.a - once($0.b * $0.c) }
  case "mul_add_relu": { relu(once(once($0.a * $0.b) + $0.c)) }
  case "mul_mul": { once($0.a * $0.b) * $0.c }
  case "mul_div": { once($0.a * $0.b) / $0.c }
  case "sqrt_mul_add": { once(once($0.a.squareRoot()) * $0.b) + $0.c }
  case "scale_add": { once($0.a * $0.x) + once($0.b * $0.y) }
  case "scale_add_square": { once($0.a * $0.x) + once(once($0.b * $0.b) * $0.y) }
  case "add_relu": { relu($0.a + $0.b) }
  case "leaky_relu": { $0.a > 0 ? $0.a : $0.a * $0.x }
  case "softsign": { $0.a / once(1 + abs($0.a)) }
  case "hard_sigmoid": { clamp(once($0.a + 3), 0, 6) / 6 }
  case "hard_swish": { $0.a * once(clamp(once($0.a + 3), 0, 6) / 6) }
  // None.
  case "min": { $0.a.isNaN || $0.b.isNaN ? .nan : Swift.min($0.a, $0.b) }
  case "max": { $0.a.isNaN || $0.b.isNaN ? .nan : Swift.max($0.a, $0.b) }
  case "neg": { -$0.a }
  case "abs": { abs($0.a) }
  case "sign": { $0.a > 0 ? 1 : ($0.a < 0 ? -1 : $0.a) }
  case "floor": { $0.a.rounded(.down) }
  case "ceil": { $0.a.rounded(.up) }
  case "round": { $0.a.rounded(.toNearestOrEven) }
  case "trunc": { $0.a.rounded(.towardZero) }
  case "relu": { relu($0.a) }
  case "relu6": { clamp($0.a, 0, 6) }
  case "clamp": { clamp($0.a, $0.x, $0.y) }
  case "gate": { $0.a > 0 ? $0.b : 0 }
  case "round_bf16": { CK_BF16.rounded(.real($0.a)).real }
  case "round_f16": { CK_F16.rounded(.real($0.a)).real }
  default: nil
  }
}

private func transcendental(_ base: String) -> RealFunction {
  switch base {
  case "pow": { pow($0.a, $0.b) }
  case "atan2": { atan2($0.a, $0.b) }
  case "rsqrt": { 1 / $0.a.squareRoot() }
  case "exp": { exp($0.a) }
  case "exp2": { exp2($0.a) }
  case "expm1": { expm1($0.a) }
  case "log": { log($0.a) }
  case "log2": { log2($0.a) }
  case "log10": { log10($0.a) }
  case "log1p": { log1p($0.a) }
  case "sin": { sin($0.a) }
  case "cos": { cos($0.a) }
  case "tan": { tan($0.a) }
  case "asin": { asin($0.a) }
  case "acos": { acos($0.a) }
  case "atan": { atan($0.a) }
  case "sinh": { sinh($0.a) }
  case "cosh": { cosh($0.a) }
  case "tanh": { tanh($0.a) }
  case "asinh": { asinh($0.a) }
  case "acosh": { acosh($0.a) }
  case "atanh": { atanh($0.a) }
  case "erf": { erf($0.a) }
  case "sigmoid": { 1 / (1 + exp(-$0.a)) }
  case "softplus": { relu($0.a) + log1p(exp(-abs($0.a))) }
  case "silu": { $0.a / (1 + exp(-$0.a)) }
  case "gelu": { $0.a == -.infinity ? -0.0 : 0.5 * $0.a * erfc(-$0.a * 0.5.squareRoot()) }
  case "gelu_derivative":
    { v in
      let density = exp(-0.5 * v.a * v.a) / (2 * Double.pi).squareRoot()
      if density == 0 { return v.a > 0 ? 1 : -0.0 }
      return 0.5 * erfc(-v.a * 0.5.squareRoot()) + v.a * density
    }
  case "silu_derivative":
    { v in
      let e = exp(-abs(v.a)), q = 1 / (1 + e)
      if e == 0 { return v.a > 0 ? 1 : -0.0 }
      return v.a < 0 ? e * q * (1 + v.a * q) : q * (1 + v.a * e * q)
    }
  case "gelu_tanh":
    { v in
      let u = (2 / Double.pi).squareRoot() * (v.a + 0.044715 * v.a * v.a * v.a)
      return v.a / (1 + exp(-2 * u))
    }
  case "gelu_tanh_derivative":
    { v in
      let scale = 2 * (2 / Double.pi).squareRoot()
      let e = exp(-abs(scale * (v.a + 0.044715 * v.a * v.a * v.a))), q = 1 / (1 + e)
      if e == 0 { return v.a > 0 ? 1 : -0.0 }
      let slope = scale * (1 + 3 * 0.044715 * v.a * v.a)
      return v.a < 0 ? e * q * (1 + v.a * slope * q) : q * (1 + v.a * slope * e * q)
    }
  case "elu": { $0.a > 0 ? $0.a : $0.x * expm1($0.a) }
  // Klambauer et al., "Self-Normalizing Neural Networks" (2017).
  case "selu": { 1.0507009873554805 * ($0.a > 0 ? $0.a : 1.6732632423543772 * expm1($0.a)) }
  default: preconditionFailure("no model of \(base)")
  }
}

// MARK: - Integers and truth values

private func integer(
  _ base: String, _ operand: ck_class
) -> @Sendable (Int64, Int64) -> Int64 {
  @Sendable func wrapped(_ x: Int64) -> Int64 {
    operand == CK_CLASS_I32 ? Int64(Int32(truncatingIfNeeded: x)) : x
  }
  return switch base {
  case "add": { wrapped($0 &+ $1) }
  case "sub": { wrapped($0 &- $1) }
  case "mul": { wrapped($0 &* $1) }
  case "div": { $1 == 0 ? 0 : wrapped($0.dividedReportingOverflow(by: $1).partialValue) }
  case "rem": { $1 == 0 ? 0 : $0.remainderReportingOverflow(dividingBy: $1).partialValue }
  case "min": { Swift.min($0, $1) }
  case "max": { Swift.max($0, $1) }
  case "neg": { a, _ in wrapped(0 &- a) }
  case "abs": { a, _ in a < 0 ? wrapped(0 &- a) : a }
  case "sign": { a, _ in a.signum() }
  case "and": { $0 & $1 }
  case "or": { $0 | $1 }
  case "xor": { $0 ^ $1 }
  case "not": { a, _ in operand == CK_CLASS_BOOL ? 1 - a : ~a }
  case "eq": { $0 == $1 ? 1 : 0 }
  case "ne": { $0 != $1 ? 1 : 0 }
  case "lt": { $0 < $1 ? 1 : 0 }
  case "le": { $0 <= $1 ? 1 : 0 }
  case "gt": { $0 > $1 ? 1 : 0 }
  case "ge": { $0 >= $1 ? 1 : 0 }
  default: preconditionFailure("no model of \(base)")
  }
}
