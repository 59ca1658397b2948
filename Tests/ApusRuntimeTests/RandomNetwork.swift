// Random networks of real kernels, for the planner: products, epilogues, loops, row kernels, losses and
// updates of states, in shapes that threads share out in different ways.

import ApusAutodiff
import ApusGraph
import ApusOps
import TestSupport

/// A step that trains a random network: states are weights, the output is the loss.
func randomNetwork(seed: Int) throws -> Graph {
  var generator = SplitMix("network \(seed)")
  func pick<C: RandomAccessCollection>(_ values: C) -> C.Element {
    values.randomElement(using: &generator)!
  }
  let batch = pick([8, 24, 64, 130])
  let widths = [10, 16, 40, 96]
  let trace = Trace()
  try Trace.$current.withValue(trace) {
    var parameters: [Tensor] = []
    func parameter(_ type: TensorType) -> Tensor {
      parameters.append(trace.state("w\(parameters.count)", type))
      return parameters[parameters.count - 1]
    }
    var values = [trace.input("x", .f32(batch, pick(widths)))]
    for _ in 0..<pick(3...7) {
      let x = pick(values.suffix(2))
      let width = x.shape[1]
      switch pick(0..<7) {
      case 0: values.append(relu(x.matmul(parameter(.f32(width, pick(widths))))))
      case 1:
        let other = pick(widths)
        values.append(
          x.matmul(parameter(.f32(other, width)), transposeOther: true) + parameter(.f32(other)))
      case 2: values.append(softmax(x))
      case 3: values.append(tanh(x) * parameter(.f32(width)))
      case 4: values.append(x - x.mean(axes: [0], keepDims: true))
      case 5: values.append(x * x.sum(axes: [1], keepDims: true))
      default:
        let same = values.filter { $0.type == x.type }
        values.append(x + pick(same))
      }
    }
    let last = values[values.count - 1]
    let logits = last.matmul(parameter(.f32(last.shape[1], 10)))
    let loss = crossEntropy(logits, trace.input("labels", .i32(batch)))
    for (parameter, gradient) in zip(parameters, gradients(of: loss, withRespectTo: parameters)) {
      trace.assign(parameter, parameter - gradient * 0.05)
    }
    trace.output("loss", loss)
    try trace.check()
  }
  return try trace.finish()
}
