// The symbolic tensor of the front end.

/// A value in a graph that is being recorded.
///
/// Arithmetic on tensors computes nothing: it appends nodes to the trace. A mistake (shapes that do not
/// fit) is recorded where it was made and thrown once, when the trace is finished; until then the
/// tensor that came of it is *poisoned* and takes part in further ops silently.
public struct Tensor {
  public let trace: Trace
  /// Nil for a poisoned tensor.
  package let value: ValueID?
  public let type: TensorType

  package init(trace: Trace, value: ValueID?, type: TensorType) {
    self.trace = trace
    self.value = value
    self.type = type
  }

  public var shape: Shape { type.shape }
  public var dtype: DType { type.dtype }
  public var rank: Int { type.rank }
  package var isPoisoned: Bool { value == nil }

  /// Applies an op to tensors of one trace and returns all its results.
  ///
  /// - `location`: `file:line` of the user's call; where it is nil, that of the operand that
  ///   was made last.
  @inline(never)
  package static func applyAll(
    _ op: any Op, to operands: [Tensor], resultCount: Int = 1, location: String? = nil
  ) -> [Tensor] {
    // Outside a closure that is being recorded, into a trace that nobody finishes.
    let trace = Trace.innermost(of: operands) ?? Trace.current ?? Trace()
    return trace.apply(op, operands, resultCount: resultCount, location: location)
  }

  /// Applies an op with one result.
  @inline(never)
  package static func apply(_ op: any Op, to operands: Tensor..., location: String? = nil)
    -> Tensor
  {
    applyAll(op, to: operands, location: location)[0]
  }

  /// A tensor without a value, for errors that a sugar function finds before any op is made.
  package static func poisoned(_ error: ApusError, like tensor: Tensor, location: String? = nil)
    -> Tensor
  {
    tensor.trace.record(error, location: location)
    return Tensor(trace: tensor.trace, value: nil, type: tensor.type)
  }
}

/// `"file:line"` from the default arguments of a sugar function.
package func sourceLocation(_ file: StaticString, _ line: UInt) -> String { "\(file):\(line)" }

/// Records a graph from a closure over its inputs.
///
///     let graph = try traced([.f32(2, 3), .f32(2, 3)]) { [$0[0] + $0[1]] }
///
/// - Throws: the first mistake made in the closure, with its place.
package func traced(
  _ inputs: [TensorType], names: [String]? = nil, _ body: ([Tensor]) throws -> [Tensor]
) throws -> Graph {
  let trace = Trace()
  try Trace.$current.withValue(trace) {
    let tensors = inputs.enumerated().map { index, type in
      trace.input(names?[index] ?? "input\(index)", type)
    }
    for (index, result) in try body(tensors).enumerated() { trace.output("output\(index)", result) }
  }
  return try trace.finish()
}
