// The gradient of a composite op through its decomposition.
//
// Composites have a gradient rule of their own for the common case (one result, the operands that
// models train). The rare rest (second derivatives, gradients of class weights) would be long formulas
// used by few: here they follow from the primitives' rules. Griewank & Walther, "Evaluating
// Derivatives", ch. 3.

import ApusGraph

extension CompositeOp {
  /// The vector-Jacobian product, found by recording the decomposition and walking it backwards.
  func gradientOfDecomposition(_ context: GradientContext) throws -> [Tensor?] {
    let trace = context.operands[0].trace
    let first = trace.graph.nodes.count
    let results = try decompose(context.operands)
    if results.contains(where: \.isPoisoned) { try trace.check() }
    let nodes = trace.graph.nodes[first...]

    var active = Set<ValueID>()
    for (operand, isNeeded) in zip(context.operands, context.isNeeded) where isNeeded {
      if let value = operand.value { active.insert(value) }
    }
    for node in nodes where node.operands.contains(where: { active.contains($0.value) }) {
      for result in node.results where trace.tensor(result).dtype.isFloat { active.insert(result) }
    }

    var flows: [ValueID: Tensor] = [:]
    func add(_ flow: Tensor, to value: ValueID) {
      let type = trace.tensor(value).type
      let flow = flow.sum(to: type.shape).cast(to: type.dtype)
      flows[value] = flows[value].map { $0 + flow } ?? flow
    }
    for (result, gradient) in zip(results, context.gradients) {
      if let gradient, let value = result.value, active.contains(value) { add(gradient, to: value) }
    }
    for node in nodes.reversed() {
      let gradients = node.results.map { flows[$0] }
      let isNeeded = node.operands.map { active.contains($0.value) }
      guard gradients.contains(where: { $0 != nil }), isNeeded.contains(true) else { continue }
      let step = GradientContext(
        operands: node.operands.map { trace.tensor($0.value) },
        results: node.results.map { trace.tensor($0) }, gradients: gradients, isNeeded: isNeeded)
      for (position, flow) in try node.op.gradient(step).enumerated() where isNeeded[position] {
        if let flow { add(flow, to: node.operands[position].value) }
      }
    }

    // One value may stand at several operands: its flow is handed over once.
    var handed = Set<ValueID>()
    return zip(context.operands, context.isNeeded).map { operand, isNeeded in
      guard isNeeded, let value = operand.value, handed.insert(value).inserted else { return nil }
      return flows[value]
    }
  }
}
