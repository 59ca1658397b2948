// The gradient of a composite op through its decomposition.
//
// Composites have a gradient rule of their own for the common case (one result, the operands that
// models train). The rare rest (second derivatives, gradients of class weights) would be long formulas
// used by few: here they follow from the primitives' rules.

import ApusGraph

extension CompositeOp {
  /// The vector-Jacobian product, found by recording the decomposition and walking it backwards.
  package func gradientOfDecomposition(_ context: GradientContext) throws -> [Tensor?] {
    let trace = context.operands[0].trace
    let start = trace.graph.nodes.count
    let results = try decompose(context.operands)
    if results.contains(where: \.isPoisoned) { try trace.check() }
    let needed = zip(context.operands, context.isNeeded).filter(\.1).map(\.0)
    var walk = ReverseWalk(trace, to: needed, startingAt: start)
    try walk.run(
      from: zip(results, context.gradients).compactMap { result, gradient in
        gradient.map { (result, $0) }
      })
    // One value may stand at several operands: its flow is handed over once.
    var handed = Set<ValueID>()
    return zip(context.operands, context.isNeeded).map { operand, isNeeded in
      guard isNeeded, let value = operand.value, handed.insert(value).inserted else { return nil }
      return walk.gradient(of: operand)
    }
  }
}
