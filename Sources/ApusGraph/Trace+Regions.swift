// Traces within traces: a loop's body is recorded while the graph around it is.

/// A tensor of a trace around a region.
struct Captured: Hashable {
  var trace: ObjectIdentifier
  var value: ValueID
}

extension Trace {
  /// Whether this trace records a region of an op of `other`, or of one within that.
  package func isWithin(_ other: Trace) -> Bool {
    var trace = outer
    while let around = trace {
      if around === other { return true }
      trace = around.outer
    }
    return false
  }

  /// The trace that records an op on these operands: the innermost of theirs.
  package static func innermost(of operands: [Tensor]) -> Trace? {
    guard var trace = operands.first?.trace else { return nil }
    for operand in operands where operand.trace.depth > trace.depth { trace = operand.trace }
    return trace
  }

  /// The tensor as this trace's graph reads it: what comes from around a region is made an input of it.
  package func local(_ tensor: Tensor) -> Tensor {
    guard tensor.trace !== self, let value = tensor.value, isWithin(tensor.trace) else {
      return tensor
    }
    let key = Captured(trace: ObjectIdentifier(tensor.trace), value: value)
    if let known = captures[key] { return self.tensor(known) }
    let input = graph.addInput("constant\(captured.count)", tensor.type)
    captured.append(tensor)
    captures[key] = input
    return self.tensor(input)
  }
}
