// Identities that change what flows backwards: stopGradient and user-given gradients.

import ApusGraph

/// `y = x`, through which no gradient flows.
package struct StopGradient: RenamingOp {
  package static let mnemonic = "stop_gradient"

  package init() {}
  package init(attributes: AttributeReader) throws {}
  package var attributes: [Attribute] { [] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    return operands
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    operands
  }

  package func renamedOperand(of count: Int) -> Int { 0 }
  package func view(of operand: View) -> View? { operand }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.copy(site, through: site.views[0])
  }
}

/// A backward rule that the user gave. Its identity is the object: two rules are never merged.
///
/// A trace and the rules in it belong to the one task that records; a compiled graph has no use for them.
package final class GradientRule: @unchecked Sendable, Hashable {
  private let body: (GradientContext) throws -> [Tensor?]

  package init(_ body: @escaping (GradientContext) throws -> [Tensor?]) { self.body = body }

  func callAsFunction(_ context: GradientContext) throws -> [Tensor?] { try body(context) }

  package static func == (a: GradientRule, b: GradientRule) -> Bool { a === b }
  package func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// The last operand; a rule gives the gradients of the other operands.
package struct CustomGradientOp: RenamingOp {
  package static let mnemonic = "custom_gradient"
  /// nil in a graph that was read from text, which has lost it.
  package let rule: GradientRule?

  package init(_ rule: GradientRule?) { self.rule = rule }
  package init(attributes: AttributeReader) throws { rule = nil }
  package var attributes: [Attribute] { [] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard let last = operands.last else { throw ApusError(.invalidGraph, "\(mnemonic) is empty") }
    return [last]
  }

  /// Asks the user's rule, which sees the inputs alone. The forward value itself receives nothing.
  ///
  /// - Throws: what the rule throws; `invalidArgument` and `shapeMismatch` for gradients that do not fit the
  ///   inputs; `unsupported` where the graph was read from text.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard let rule else {
      throw ApusError(
        .unsupported, "a graph that was read from text has no gradient rules of its user's",
        expected: "differentiation in the trace that recorded them")
    }
    let inputs = Array(context.operands.dropLast())
    let gradients = try rule(
      GradientContext(
        operands: inputs, results: context.results, gradients: context.gradients,
        isNeeded: Array(context.isNeeded.dropLast())))
    guard gradients.count == inputs.count else {
      throw ApusError(
        .invalidArgument, "a custom gradient returned \(gradients.count) gradients",
        expected: "\(inputs.count), one for each input")
    }
    for (gradient, input) in zip(gradients, inputs) {
      if let gradient, !gradient.isPoisoned, gradient.shape != input.shape {
        throw ApusError(
          .shapeMismatch, "a custom gradient has shape \(gradient.shape)",
          expected: "\(input.shape), the shape of its input")
      }
    }
    return gradients + [nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [operands.last!]
  }

  package func renamedOperand(of count: Int) -> Int { count - 1 }
  package func view(of operand: View) -> View? { operand }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var last = site
    last.operands = [site.operands.last!]
    var call = try CopyLowering.copy(last, through: site.views.last!)
    for index in call.bindings.indices where call.bindings[index].buffer == .operand(0) {
      call.bindings[index].buffer = .operand(site.operands.count - 1)
    }
    return call
  }
}

extension Tensor {
  /// The same value, through which no gradient flows.
  public func stopGradient(file: StaticString = #fileID, line: UInt = #line) -> Tensor {
    .apply(StopGradient(), to: self, location: sourceLocation(file, line))
  }
}

/// A function with a gradient of your own.
///
///     // The straight-through estimator: round forwards, identity backwards.
///     let y = withGradient([x]) { round($0[0]) } gradient: { [$0.gradient] }
///
/// - `inputs`: what the function depends on.
/// - `forward`: the function. Nothing flows back through its own ops.
/// - `gradient`: gets the inputs, the result and its gradient; returns a gradient (or nil) an input.
public func withGradient<Failure: Error>(
  _ inputs: [Tensor], file: StaticString = #fileID, line: UInt = #line,
  _ forward: ([Tensor]) throws(Failure) -> Tensor,
  gradient: @escaping (GradientContext) throws -> [Tensor?]
) throws(Failure) -> Tensor {
  let location = sourceLocation(file, line)
  let value = try forward(inputs)
  return Tensor.applyAll(
    CustomGradientOp(GradientRule(gradient)), to: inputs + [value], location: location)[0]
}
