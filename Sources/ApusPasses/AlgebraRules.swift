// The identities of the algebra, one a rule.
//
// To add one: a line here, a case where it fires and one where it must not in
// `Golden/simplify-algebra.golden`. Rules of an op are tried from top to bottom; the first that gives an
// operand wins, and what it makes is simplified in turn. A rule must make less work or bring nodes nearer
// to a common form, never undo another.

import ApusGraph
import ApusOps

enum AlgebraRules {
  static let all: [AlgebraRule] =
    identities + neutral + signs + scales + powers + casts + choices + logic + places + parts
    + convolutions + pools + reductions

  // MARK: Ops that change nothing

  private static let identities: [AlgebraRule] = [
    .init("dropout-of-nothing", Dropout.self) { s, op in op.p == 0 ? s[0] : nil },
    .init("stop-gradient", StopGradient.self) { s, _ in s[0] },
    .init("custom-gradient", CustomGradientOp.self) { s, _ in s.operands.last },
  ]

  // MARK: Neutral and absorbing operands

  private static let neutral: [AlgebraRule] = [
    .init("add-zero", Add.self) { s, _ in try s.other(than: 0).map(s.fit) },
    .init("subtract-zero", Subtract.self) { s, _ in
      s.isConstant(s[1], 0) ? try s.fit(s[0]) : nil
    },
    .init("subtract-from-zero", Subtract.self) { s, _ in
      s.isConstant(s[0], 0) ? try s.fit(s.make(Negate(), s[1])) : nil
    },
    .init("subtract-itself", Subtract.self) { s, _ in
      s[0] == s[1] && s.isFinite(s[0]) ? try s.fill(0) : nil
    },
    .init("multiply-by-one", Multiply.self) { s, _ in try s.other(than: 1).map(s.fit) },
    .init("multiply-by-minus-one", Multiply.self) { s, _ in
      try s.other(than: -1).map { try s.fit(s.make(Negate(), $0)) }
    },
    .init("multiply-by-zero", Multiply.self) { s, _ in
      guard let x = s.other(than: 0), s.isFinite(x) else { return nil }
      return try s.fill(0)
    },
    .init("divide-by-one", Divide.self) { s, _ in s.isConstant(s[1], 1) ? try s.fit(s[0]) : nil },
    .init("divide-one", Divide.self) { s, _ in
      s.type.dtype.isFloat && s.isConstant(s[0], 1) ? try s.fit(s.make(Reciprocal(), s[1])) : nil
    },
  ]

  // MARK: Signs

  /// Not for u8, where every sign but one overflows.
  private static let signs: [AlgebraRule] = signed([
    .init("double-negation", Negate.self) { s, _ in s.operands(of: s[0], Negate.self)?[0] },
    .init("negate-difference", Negate.self) { s, _ in
      guard let inner = s.operands(of: s[0], Subtract.self), s.isOnlyReader(of: s[0]) else {
        return nil
      }
      return try s.make(Subtract(), inner[1], inner[0])
    },
    .init("negate-scaled", Negate.self) { s, _ in
      guard let inner = s.operands(of: s[0], Multiply.self), s.isOnlyReader(of: s[0]),
        let factor = s.constant(inner[1])
      else { return nil }
      return try s.fit(s.make(Multiply(), inner[0], s.scalar(-factor)))
    },
    .init("add-negated", Add.self) { s, _ in
      if let b = s.operands(of: s[1], Negate.self) { return try s.make(Subtract(), s[0], b[0]) }
      if let a = s.operands(of: s[0], Negate.self) { return try s.make(Subtract(), s[1], a[0]) }
      return nil
    },
    .init("subtract-negated", Subtract.self) { s, _ in
      try s.operands(of: s[1], Negate.self).map { try s.make(Add(), s[0], $0[0]) }
    },
    .init("multiply-negated", Multiply.self) { s, _ in
      guard let a = s.operands(of: s[0], Negate.self), let b = s.operands(of: s[1], Negate.self)
      else { return nil }
      return try s.make(Multiply(), a[0], b[0])
    },
    .init("even-of-negated", (any EvenOp).self) { s, op in
      try (s.operands(of: s[0], Negate.self) ?? s.operands(of: s[0], Abs.self)).map {
        try s.make(op, $0[0])
      }
    },
  ])

  private static func signed(_ rules: [AlgebraRule]) -> [AlgebraRule] {
    rules.map { rule in rule.when { $0.type.dtype != .u8 } }
  }

  // MARK: Constant factors

  private static let scales: [AlgebraRule] = [
    // The form that loops take into their programs.
    .init("scalar-constant", (any ElementwiseOp).self) { s, op in
      let scalars = s.operands.map { operand -> Operand in
        let type = s.type(of: operand)
        guard type.rank > 0, let c = s.constant(operand), isExact(c, type.dtype) else {
          return operand
        }
        return s.scalar(c, type.dtype)
      }
      return scalars == s.operands ? nil : try s.fit(s.make(op, scalars))
    },
    // The form the other rules look for.
    .init("constant-to-the-right", (any CommutativeOp).self) { s, op in
      s.constant(s[0]) != nil && s.constant(s[1]) == nil ? try s.make(op, s[1], s[0]) : nil
    },
    // 1/c is exact for a power of two, so x/c and x·(1/c) are the same float.
    .init("divide-by-power-of-two", Divide.self) { s, _ in
      guard s.type.dtype.isFloat, let c = s.constant(s[1]), isPowerOfTwo(c),
        isPowerOfTwo(1 / c)
      else { return nil }
      return try s.fit(s.make(Multiply(), s[0], s.scalar(1 / c)))
    },
    // Exact where one factor is a power of two; and an infinity on the way is one in the end where both
    // factors enlarge or both reduce.
    .init("join-factors", Multiply.self) { s, _ in
      guard s.type.dtype.isFloat, let c = s.constant(s[1]),
        let inner = s.operands(of: s[0], Multiply.self), let d = s.constant(inner[1]),
        isPowerOfTwo(c) || isPowerOfTwo(d), (abs(c) <= 1) == (abs(d) <= 1),
        abs(c * d) >= 0x1p-100, abs(c * d) <= 0x1p100
      else { return nil }
      return try s.fit(s.make(Multiply(), inner[0], s.scalar(c * d)))
    },
  ]

  /// Whether the number survived its way through a double.
  private static func isExact(_ x: Double, _ dtype: DType) -> Bool {
    dtype != .i64 || abs(x) < 0x1p53
  }

  private static func isPowerOfTwo(_ x: Double) -> Bool {
    x.isNormal && x.significand == 1 && abs(x.exponent) <= 126
  }

  // MARK: Powers

  private static let powers: [AlgebraRule] = [
    .init("power", Power.self) { s, _ in
      switch s.constant(s[1]) {
      case 0: try s.fill(1)
      case 1: try s.fit(s[0])
      case 2: try s.fit(s.make(Square(), s[0]))
      case -1: try s.fit(s.make(Reciprocal(), s[0]))
      default: nil
      }
    },
    .init("reciprocal-of-root", Reciprocal.self) { s, _ in
      guard let inner = s.operands(of: s[0], Sqrt.self), s.isOnlyReader(of: s[0]) else {
        return nil
      }
      return try s.make(Rsqrt(), inner)
    },
  ]

  // MARK: Casts

  private static let casts: [AlgebraRule] = [
    .init("cast-to-same", Cast.self) { s, op in s.type(of: s[0]).dtype == op.dtype ? s[0] : nil },
    // The first cast lost nothing, so the second sees what was there before it.
    .init("double-cast", Cast.self) { s, op in
      guard let inner = s.operands(of: s[0], Cast.self),
        holds(s.type(of: s[0]).dtype, all: s.type(of: inner[0]).dtype)
      else { return nil }
      return try s.make(op, inner)
    },
  ]

  /// Whether every value of type `b` is one of type `a`.
  private static func holds(_ a: DType, all b: DType) -> Bool {
    if a == b || b == .bool { return true }
    switch (a, b) {
    case (.f64, .f32), (.f64, .bf16), (.f64, .f16), (.f32, .bf16), (.f32, .f16): return true
    case (.f64, .i32), (.i64, .i32): return true
    case (.i64, .u8), (.i32, .u8), (.f64, .u8), (.f32, .u8), (.f16, .u8), (.bf16, .u8): return true
    default: return false
    }
  }

  // MARK: Selection

  private static let choices: [AlgebraRule] = [
    .init("select-constant", Select.self) { s, _ in
      try s.constant(s[0]).map { try s.fit($0 != 0 ? s[1] : s[2]) }
    },
    .init("select-same", Select.self) { s, _ in s[1] == s[2] ? try s.fit(s[1]) : nil },
    .init("select-negated", Select.self) { s, op in
      try s.operands(of: s[0], Not.self).map { try s.make(op, $0[0], s[2], s[1]) }
    },
    // What the gradient of a rectifier written with `where` looks like.
    .init("select-positive", Select.self) { s, _ in
      guard let comparison = s.operands(of: s[0], Greater.self), s.isConstant(comparison[1], 0),
        s.isConstant(s[2], 0), s.type.dtype.isFloat,
        s.type(of: comparison[0]).dtype == s.type.dtype
      else { return nil }
      return try s.fit(s.make(Gate(), comparison[0], s[1]))
    },
    .init("extreme-of-same", (any ExtremeOp).self) { s, _ in s[0] == s[1] ? s[0] : nil },
    .init("maximum-of-zero", Maximum.self) { s, _ in
      s.type.dtype.isFloat && s.isConstant(s[1], 0) ? try s.fit(s.make(Relu(), s[0])) : nil
    },
    .init("double-relu", Relu.self) { s, _ in s.op(of: s[0], Relu.self) != nil ? s[0] : nil },
  ]

  // MARK: Logic

  private static let logic: [AlgebraRule] = [
    .init("double-not", Not.self) { s, _ in s.operands(of: s[0], Not.self)?[0] },
    .init("and-constant", And.self) { s, _ in
      if let x = s.other(than: 1) { return try s.fit(x) }
      return s.other(than: 0) != nil ? try s.fill(0) : nil
    },
    .init("or-constant", Or.self) { s, _ in
      if let x = s.other(than: 0) { return try s.fit(x) }
      return s.other(than: 1) != nil ? try s.fill(1) : nil
    },
    .init("and-itself", And.self) { s, _ in s[0] == s[1] ? s[0] : nil },
    .init("or-itself", Or.self) { s, _ in s[0] == s[1] ? s[0] : nil },
  ]
}

/// An op of two operands that gives the same for both orders.
protocol CommutativeOp: ElementwiseOp {}
extension Add: CommutativeOp {}
extension And: CommutativeOp {}
extension Equal: CommutativeOp {}
extension Maximum: CommutativeOp {}
extension Minimum: CommutativeOp {}
extension Multiply: CommutativeOp {}
extension NotEqual: CommutativeOp {}
extension Or: CommutativeOp {}
extension Xor: CommutativeOp {}

/// An op of two operands that gives the operand where both are the same.
protocol ExtremeOp: ElementwiseOp {}
extension Maximum: ExtremeOp {}
extension Minimum: ExtremeOp {}

/// An op of one operand with f(-x) = f(x).
protocol EvenOp: ElementwiseOp {}
extension Abs: EvenOp {}
extension Cos: EvenOp {}
extension Cosh: EvenOp {}
extension Square: EvenOp {}
