// Graphs that several suites of the runtime run.

import ApusAutodiff
import ApusGraph
import ApusOps
import TestSupport

/// A training step of a perceptron with the given widths: relu between layers, squared error, SGD.
///
/// States are `w0`, `b0`, …; inputs `x` and `y`; the output is `loss`.
func perceptronStep(batch: Int, widths: [Int], momentum: Bool = false) throws -> Graph {
  let trace = Trace()
  try Trace.$current.withValue(trace) {
    let x = trace.input("x", .f32(batch, widths[0]))
    let y = trace.input("y", .f32(batch, widths.last!))
    var activation = x
    var parameters: [Tensor] = []
    for layer in 1..<widths.count {
      let weight = trace.state("w\(layer - 1)", .f32(widths[layer - 1], widths[layer]))
      let bias = trace.state("b\(layer - 1)", .f32(widths[layer]))
      parameters += [weight, bias]
      trace.withScope(path: "layer\(layer - 1)") {
        activation = activation.matmul(weight) + bias
        if layer + 1 < widths.count { activation = relu(activation) }
      }
    }
    let difference = activation - y
    let loss = (difference * difference).sum() * (1 / Double(batch))
    for (parameter, gradient) in zip(
      parameters, gradients(of: loss, withRespectTo: parameters))
    {
      var step = gradient
      if momentum {
        let name = trace.graph.states.first { $0.value == parameter.value }!.name
        let velocity = trace.state("velocity.\(name)", parameter.type)
        step = velocity * 0.9 + gradient
        trace.assign(velocity, step)
      }
      trace.assign(parameter, parameter - step * 0.05)
    }
    trace.output("loss", loss)
    try trace.check()
  }
  return try trace.finish()
}

/// Uniform numbers in [-1, 1).
func randomArray(_ type: TensorType, _ generator: inout SplitMix) -> NDArray {
  NDArray(
    doubles: (0..<type.count).map { _ in generator.uniform(-1...1) }, type: type)
}

/// The states of a graph with random contents, each scaled down by its first extent's root.
func randomStates(_ graph: Graph, seed: String) -> [(name: String, array: NDArray)] {
  var generator = SplitMix(seed)
  return graph.states.map { state in
    let type = graph.type(of: state.value)
    let scale = 1 / Double(max(type.shape[0], 1)).squareRoot()
    return (
      state.name,
      NDArray(
        doubles: (0..<type.count).map { _ in scale * generator.uniform(-1...1) }, type: type)
    )
  }
}
