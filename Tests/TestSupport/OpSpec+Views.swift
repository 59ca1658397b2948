// An op's kernel reading its operands where they lie: transposed, spread out, from an offset.

import ApusGraph
import ApusOps

extension OpSpec {
  /// What is wrong with kernels that read operands through views: for each operand that the op says it
  /// accepts so, one at a time and all together; empty where all is well.
  package func problemsOfViews() -> [String] {
    guard isCompiled else { return [] }
    var problems: [String] = []
    for types in cases where !types.contains(where: { $0.dtype == .f64 }) {
      if let composite = op as? any CompositeOp, !composite.hasKernel(types) { continue }
      let inputs = operands(types)
      let scattered = inputs.map(Scattered.init)
      let accepted = types.indices.filter { op.accepts(scattered[$0].view, at: $0, of: types) }
      var choices = accepted.map { [$0] }
      if accepted.count > 1 { choices.append(accepted) }
      do {
        let results = try op.resultTypes(types)
        let wanted = try op.reference(
          inputs.map { $0.cast(to: $0.dtype.widened) }, results: widened(results))
        for chosen in choices {
          let arrays = inputs.indices.map { chosen.contains($0) ? scattered[$0].array : inputs[$0] }
          let views = inputs.indices.map { chosen.contains($0) ? scattered[$0].view : nil }
          for isa in KernelRunner.levels {
            let found = try KernelRunner.run(op, arrays, views: views, isa: isa, threads: 2)
            for (index, (got, want)) in zip(found, wanted).enumerated() {
              if let problem = Self.difference(
                got, want, relative: relativeTolerance,
                absolute: absoluteTolerance + relativeTolerance)
              {
                problems.append(
                  "\(types) with views at \(chosen), \(isa.name): result \(index): \(problem)")
              }
            }
          }
        }
      } catch {
        problems.append("\(types): \(error)")
      }
    }
    return problems
  }
}

/// An array whose elements lie with gaps, axes in reverse order, in a larger one full of junk.
private struct Scattered {
  let array: NDArray
  let view: View

  init(_ dense: NDArray) {
    let rank = dense.shape.rank
    let room = Shape(dense.shape.dimensions.reversed().map { 2 * $0 + 1 })
    let order = Array((0..<rank).reversed())
    // Every second element, from the second on, along each axis.
    view = View(dense: room).transposed(order).sliced(
      starts: order.map { _ in 1 }, steps: order.map { _ in 2 }, shape: dense.shape)
    var values = [Double](repeating: dense.dtype == .bool ? 1 : 97, count: room.count)
    for (element, value) in zip(view.elements, dense.doubles) { values[element] = value }
    array = NDArray(doubles: values, type: dense.type.with(room))
  }
}
