// Runs any graph at any stage with the ops' references: the oracle of all tests.

/// What a run of the interpreter gives.
package struct Interpretation: Sendable {
  /// In the order of `graph.outputs`.
  package var outputs: [NDArray]
  /// The states after the step, in the order of `graph.states`.
  package var states: [NDArray]
}

extension Graph {
  /// Runs the graph in plain loops.
  ///
  /// - `inputs`: arrays in the order of `inputs`.
  /// - `states`: arrays in the order of `states`.
  /// - `widened`: whether all floats are computed and returned as `f64` (the default); otherwise each
  ///   op's result is rounded to its own type, and denormals are zeros as in kernels
  ///   (``Op/computed(_:results:)``).
  /// - Throws: `missing` for a wrong number of arrays, `shapeMismatch` or `dtypeMismatch` for an array of
  ///   another type, and what references throw (`outOfRange` for a bad index).
  package func interpret(
    inputs: [NDArray] = [], states: [NDArray] = [], widened: Bool = true
  ) throws -> Interpretation {
    var values = [NDArray?](repeating: nil, count: types.count)
    func bind(_ arrays: [NDArray], _ targets: [(name: String, value: ValueID)], _ kind: String)
      throws
    {
      guard arrays.count == targets.count else {
        throw ApusError(
          .missing, "\(arrays.count) \(kind)s were given", expected: "\(targets.count) \(kind)s")
      }
      for (array, target) in zip(arrays, targets) {
        let wanted = type(of: target.value)
        guard array.shape == wanted.shape else {
          throw ApusError(
            .shapeMismatch, "\(kind) '\(target.name)' is \(array.type)", expected: "\(wanted)")
        }
        guard array.dtype == wanted.dtype || wanted.dtype.isFloat && array.dtype == .f64 else {
          throw ApusError(
            .dtypeMismatch, "\(kind) '\(target.name)' is \(array.type)", expected: "\(wanted)")
        }
        values[target.value.index] = array.cast(to: widened ? wanted.dtype.widened : wanted.dtype)
      }
    }
    try bind(inputs, self.inputs.map { ($0.name, $0.value) }, "input")
    try bind(states, self.states.map { ($0.name, $0.value) }, "state")
    for constant in constants {
      let dtype = constant.array.dtype
      values[constant.value.index] = constant.array.cast(to: widened ? dtype.widened : dtype)
    }
    func read(_ operand: Operand) -> NDArray {
      let array = values[operand.value.index]!
      return operand.view.map { array.viewed(through: $0) } ?? array
    }
    for node in nodes {
      let wanted = node.results.map { result -> TensorType in
        let type = type(of: result)
        return widened ? type.with(type.dtype.widened) : type
      }
      do {
        let results = try node.op.computed(node.operands.map(read), results: wanted)
        for (result, array) in zip(node.results, results) { values[result.index] = array }
      } catch let error as ApusError {
        throw error.located(at: node.origins.first?.description ?? "")
      }
    }
    var newStates = self.states.map { values[$0.value.index]! }
    let holds = outputs.allSatisfy { !$0.isRequired || read($0.operand).scalar.isFinite }
    for assignment in assignments where holds {
      let index = self.states.firstIndex { $0.value == assignment.state }!
      newStates[index] = read(assignment.operand)
    }
    return Interpretation(outputs: outputs.map { read($0.operand) }, states: newStates)
  }
}

/// An op that moves elements and never looks at them: bytes go from operands to results.
package protocol MovingOp: Op {}

extension Op {
  /// What a kernel computes of these arrays, but for the rounding of its steps: the reference, to whose
  /// arithmetic denormal `f32` and `bf16` numbers are zeros, as operands and as results. What only moves
  /// elements keeps them.
  ///
  /// Folding and the interpreter call this, so that a constant gives the number that an input would.
  package func computed(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    // As in a plan, where nothing is called that makes no element.
    if results.allSatisfy({ $0.count == 0 }) {
      return try results.map { try NDArray(checking: $0) }
    }
    if self is any MovingOp { return try reference(operands, results: results) }
    return try reference(operands.map(\.flushed), results: results).map(\.flushed)
  }
}
