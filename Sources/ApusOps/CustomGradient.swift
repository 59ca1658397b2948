// Identities that change what flows backwards: stopGradient and user-given gradients.

import ApusGraph

/// `y = x`, through which no gradient flows.
package struct StopGradient: Op {
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

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.copy(site, through: site.views[0])
  }
}

/// The last operand, with a backward rule that the user gave: the rule, kept in the trace under `id`,
/// gives the gradients of the other operands.
package struct CustomGradientOp: Op {
  package static let mnemonic = "custom_gradient"
  package let id: Int

  package init(id: Int) { self.id = id }
  package init(attributes: AttributeReader) throws { id = try attributes.int("id") }
  package var attributes: [Attribute] { [Attribute("id", .int(id))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard let last = operands.last else { throw ApusError(.invalidGraph, "\(mnemonic) is empty") }
    return [last]
  }

  /// - Throws: `unsupported`: the walk asks the trace for the rule, and a graph that was read from text has
  ///   lost it.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(
      .unsupported, "the gradient rule \(id) is not in this trace",
      expected: "differentiation in the trace that recorded it")
  }

  /// Checks what the user's rule gave and adds the missing gradient of the forward value itself.
  package func check(_ gradients: [Tensor?], _ context: GradientContext) throws -> [Tensor?] {
    let inputs = context.operands.dropLast()
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
  let trace = value.trace
  let id = trace.customGradients.count
  trace.customGradients[id] = { context in
    let last = context.operands.count - 1
    return try gradient(
      GradientContext(
        operands: Array(context.operands[..<last]), results: context.results,
        gradients: context.gradients, isNeeded: Array(context.isNeeded[..<last])))
  }
  return Tensor.applyAll(CustomGradientOp(id: id), to: inputs + [value], location: location)[0]
}
