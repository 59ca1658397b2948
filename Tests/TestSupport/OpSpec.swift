// The contract between an op's author and every subsystem: one line of a table gives an op all its
// tests.
//
// A spec says which operands to try; the checks (`OpSpec+Checks.swift`, `OpSpec+Compiled.swift`) are
// the same for all ops. They return what is wrong as text, empty where all is well. The idea is that
// of PyTorch's OpInfo and JAX's primitive harnesses.

import ApusGraph
import ApusOps

/// What there is to know about an op in order to test it.
///
///     OpSpec(Exp(), .uniform(-10...10))                                  // elementwise: shapes given
///     OpSpec(Sum(axes: [1], keepDims: false), on: [[.f32(3, 17)], [.f32(2, 0)]],
///       rejects: [[.f32(3)]])                                            // any op: shapes listed
package struct OpSpec: Sendable, CustomStringConvertible {
  /// Where an operand's elements are drawn from.
  package enum Domain: Sendable {
    case uniform(ClosedRange<Double>)
    case integers(ClosedRange<Int>)
    /// `(k + offset)·step` for random integers k: operands on grids of one step and different offsets
    /// never tie.
    case grid(step: Double, offset: Double, within: ClosedRange<Double>)
    /// All elements at least `step` apart, in random order around 0: no ties in reductions and sorts.
    case distinct(step: Double)
    /// Elements by a rule of the spec's own.
    case rule(@Sendable (TensorType, inout SplitMix) -> [Double])
  }

  /// How often the op can be differentiated where the domains say.
  package enum Smoothness: Int, Sendable, Comparable {
    /// The gradient is tested elsewhere.
    case unchecked
    /// No operand has a gradient.
    case none
    case once
    case twice
    package static func < (a: Smoothness, b: Smoothness) -> Bool { a.rawValue < b.rawValue }
  }

  /// Operands and the results known for them from elsewhere (mathematics, NumPy, PyTorch).
  package struct Example: Sendable {
    package var operands: [NDArray]
    package var results: [NDArray]

    package init(_ operands: [NDArray], gives results: [NDArray]) {
      self.operands = operands
      self.results = results
    }
  }

  package var op: any Op
  /// The operand types to try.
  package var cases: [[TensorType]]
  /// Operand types that the type rule must refuse.
  package var rejected: [[TensorType]]
  /// One an operand; the last serves all further ones.
  package var domains: [Domain]
  /// Values that elements are kept away from: the op has no derivative there.
  package var kinks: [Double]
  package var smoothness: Smoothness
  package var examples: [Example]
  /// Whether the op takes any number of operands.
  package var isVariadic: Bool
  /// How far a compiled f32 result may be off: relative to the element, and to the largest element of
  /// the result or 1, whichever is more.
  package var relativeTolerance: Double
  package var absoluteTolerance: Double
  /// Whether all instruction-set levels give the same bits.
  package var isConsistent: Bool
  /// False where the op has no kernel and no decomposition on purpose; `compiledReason` says why.
  package var isCompiled: Bool

  package init(
    _ op: any Op, _ domains: Domain..., on cases: [[TensorType]], rejects: [[TensorType]] = [],
    kinks: [Double] = [], smoothness: Smoothness = .twice, examples: [Example] = [],
    isVariadic: Bool = false, relativeTolerance: Double = 2e-6, absoluteTolerance: Double = 1e-6,
    isConsistent: Bool = true, isCompiled: Bool = true
  ) {
    self.op = op
    self.cases = cases
    self.rejected = rejects
    self.domains = domains.isEmpty ? [.uniform(-2...2)] : domains
    self.kinks = kinks
    self.smoothness = smoothness
    self.examples = examples
    self.isVariadic = isVariadic
    self.relativeTolerance = relativeTolerance
    self.absoluteTolerance = absoluteTolerance
    self.isConsistent = isConsistent
    self.isCompiled = isCompiled
  }

  /// The spec of an elementwise op: the shapes, broadcasts and refusals are the family's.
  ///
  /// - `points`: operands of one element each and the value there, for special values.
  /// - `dtype`: the operands' type; `f32`, or `bool` for logical ops, where it is nil.
  package init<E: ElementwiseOp>(
    _ op: E, _ domains: Domain..., kinks: [Double] = [], smoothness: Smoothness = .twice,
    points: [([Double], Double)] = [], dtype: DType? = nil, relativeTolerance: Double = 2e-6,
    absoluteTolerance: Double = 1e-7
  ) {
    let isLogical = E.signature == .logical
    let dtype = dtype ?? (isLogical ? .bool : .f32)
    let usual: Domain = dtype.isFloat ? .uniform(-3...3) : .integers(0...(isLogical ? 1 : 9))
    func types(_ shapes: Shape...) -> [TensorType] {
      (0..<E.arity).map { TensorType(dtype, shapes[$0 % shapes.count]) }
    }
    self.init(
      op, on: Self.elementwiseShapes(arity: E.arity).map { $0.map { TensorType(dtype, $0) } },
      kinks: kinks, smoothness: smoothness, relativeTolerance: relativeTolerance,
      absoluteTolerance: absoluteTolerance)
    self.domains = domains.isEmpty ? [usual] : domains
    if E.arity > 1 {
      rejected.append(types([3, 4], [3, 5]))
      rejected.append([TensorType(dtype, [3])] + types([3]).dropFirst().map { $0.with(.u8) })
    }
    switch E.signature {
    case .float, .predicate: rejected += [types([3]).map { $0.with(.i32) }]
    case .numeric, .ordering: rejected += [types([3]).map { $0.with(.bool) }]
    case .logical: rejected += [types([3]).map { $0.with(.f32) }]
    case .comparison: break
    }
    examples = points.map { operands, value in
      let operandTypes = operands.map { _ in TensorType(dtype, [1]) }
      let result = (try? op.resultTypes(operandTypes))?.first ?? TensorType(dtype, [1])
      return Example(
        zip(operands, operandTypes).map { NDArray(doubles: [$0], type: $1) },
        gives: [NDArray(doubles: [value], type: result.with(result.dtype.widened))])
    }
  }

  /// Shapes that reach every tail of the kernels, empty ones, and every kind of broadcast.
  package static func elementwiseShapes(arity: Int) -> [[Shape]] {
    let same: [Shape] = [
      [], [1], [3], [17], [33], [1003], [0], [2, 0, 3], [5, 7], [2, 3, 4], [3, 129],
    ]
    var result = same.map { Array(repeating: $0, count: arity) }
    if arity == 2 {
      result += [
        [[4, 5], []], [[], [4, 5]], [[3, 17], [17]], [[17], [3, 17]], [[3, 1], [1, 5]],
        [[2, 1, 33], [3, 1]], [[0, 3], [1, 3]], [[1, 1, 1], [2]],
      ]
    }
    if arity == 3 {
      result += [
        [[4, 1], [1, 5], []], [[], [3, 17], [17]], [[2, 3], [3], [2, 1]], [[3], [], [0, 3]],
      ]
    }
    return result
  }

  package var name: String { op.mnemonic }

  package var description: String {
    let attributes = op.attributes.map { "\($0.name): \($0.value)" }.joined(separator: ", ")
    return attributes.isEmpty ? op.mnemonic : "\(op.mnemonic)(\(attributes))"
  }

  /// Operands of the given types, the same on every call.
  package func operands(_ types: [TensorType], salt: String = "") -> [NDArray] {
    var random = SplitMix("\(name) \(types) \(salt)")
    return types.enumerated().map { index, type in
      let values = draw(domains[min(index, domains.count - 1)], type, &random)
      return NDArray(doubles: values, type: type)
    }
  }

  private func draw(_ domain: Domain, _ type: TensorType, _ random: inout SplitMix) -> [Double] {
    let count = type.count
    if type.dtype == .bool {
      return (0..<count).map { _ in Double(Int.random(in: 0...1, using: &random)) }
    }
    switch domain {
    case .uniform(let range):
      return (0..<count).map { _ in
        var value = random.uniform(range)
        for kink in kinks where abs(value - kink) < 0.01 {
          value = kink + (value < kink || kink >= range.upperBound ? -0.01 : 0.01)
        }
        // Integers and small floats must come out exactly, or the reference sees other operands.
        return type.dtype.isFloat ? value : value.rounded(.towardZero)
      }
    case .integers(let range):
      return (0..<count).map { _ in Double(Int.random(in: range, using: &random)) }
    case .grid(let step, let offset, let range):
      let low = Int((range.lowerBound / step).rounded(.up))
      let high = Int((range.upperBound / step).rounded(.down)) - 1
      return (0..<count).map { _ in
        (Double(Int.random(in: low...max(low, high), using: &random)) + offset) * step
      }
    case .distinct(let step):
      return (0..<count).shuffled(using: &random).map { (Double($0) - Double(count) / 2) * step }
    case .rule(let rule):
      return rule(type, &random)
    }
  }
}
