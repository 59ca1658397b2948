// Batch norm written by a user, applied to two inputs in one step: both updates of its statistics count.

import Apus
import Testing

private struct BatchNorm: Module {
  let weight = Parameter([6], .ones)
  let bias = Parameter([6])
  let mean = Buffer([6], .zeros)
  let variance = Buffer([6], .ones)
  func callAsFunction(_ x: Tensor) -> Tensor {
    guard x.trace.mode == .training else {
      return (x - mean) / sqrt(variance.tensor + 1e-5) * weight + bias
    }
    let m = x.mean(axes: [0])
    let v = square(x - m).mean(axes: [0])
    let n = Double(x.shape[0])
    mean.update(to: mean.tensor * 0.9 + m * 0.1)
    variance.update(to: variance.tensor * 0.9 + v * (0.1 * n / (n - 1)))
    return (x - m) / sqrt(v + 1e-5) * weight + bias
  }
}

private struct Siamese: Module {
  let first = Linear(4, 6)
  let norm = BatchNorm()
  let last = Linear(6, 1)
  func callAsFunction(_ x: Tensor) -> Tensor { last(tanh(norm(first(x)))) }
}

@Suite struct BatchNormProgram {
  @Test func batchNormAppliedTwice_followsPyTorch() throws {
    let model = Siamese()
    try ProgramData.fill(model.first, first: 100)
    try ProgramData.fill(model.last, first: 102)
    let trainer = try Trainer(model, optimizer: SGD(learningRate: 0.05, momentum: 0.9)) {
      mse($0($1.a) - $0($1.b), $1.y)
    }
    func batch(_ a: Int, _ b: Int) -> Batch {
      let (a, b) = (
        ProgramData.array(a, [8, 4]), ProgramData.map(ProgramData.array(b, [8, 4])) { $0 + 0.5 }
      )
      let y = (0..<8).map { a.floats[4 * $0] - b.floats[4 * $0] }
      return Batch(["a": a, "b": b, "y": NDArray(y, shape: [8, 1])])
    }
    var curve = try (0..<30).map { try trainer.train(on: batch($0, 1000 + $0)).loss }
    let test = batch(5000, 5001)
    let data = try ArrayDataset(["a": test.a!, "b": test.b!, "y": test.y!])
    curve.append(try trainer.evaluate(data.batched(3)).loss)
    curve += try model.norm.mean.value().doubles + model.norm.variance.value().doubles
    try ProgramData.expectEqual(curve, "batch_norm")
  }
}
