// The examples of Docs/Recurrent.md.

import Apus
import Testing

@Suite struct Recurrent {
  struct Tagger: Module {
    let words = Embedding(50, 8)
    let lstm = LSTM(8, 16, layers: 2, isBidirectional: true, dropout: 0.1)
    let tags = Linear(32, 5)
    func callAsFunction(_ ids: Tensor, lengths: Tensor) -> Tensor {
      tags(lstm(words(ids), lengths: lengths).outputs)  // [batch, time, 5]
    }
  }

  struct Stream: Module {
    let gru = GRU(4, 8)
    let state = Buffer([1, 2, 8], .zeros)
    func callAsFunction(_ x: Tensor) -> Tensor {
      let (outputs, last) = gru(x, initial: state.tensor)
      state.update(to: last)  // no gradient goes through a buffer
      return outputs
    }
  }

  @Test func aTaggerLearns() throws {
    let trainer = try Trainer(Tagger(), optimizer: Adam(learningRate: 1e-2)) { model, batch in
      let scores = model(batch["ids"], lengths: batch["lengths"])
      return crossEntropy(scores.reshaped([-1, 5]), batch["tags"].reshaped([-1]), ignoreIndex: 9)
    }
    let batch = Batch([
      "ids": NDArray((0..<12).map { Int32($0 * 7 % 50) }, shape: [2, 6]),
      "lengths": NDArray([6, 4] as [Int32], shape: [2]),
      "tags": NDArray([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 9, 9] as [Int32], shape: [2, 6]),
    ])
    let first = try trainer.train(on: batch)
    var last = first
    for _ in 0..<30 { last = try trainer.train(on: batch) }
    #expect(last.loss < first.loss / 2)
  }

  @Test func aStreamGoesOn() throws {
    let model = Stream()
    try model.initialize(seed: 3)
    let step = try TrainingStep(model, optimizer: SGD(learningRate: 0)) { model, batch in
      model(batch["x"]).sum()
    }
    let numbers = (0..<24).map { Float($0 % 5) / 5 }
    let x = NDArray(numbers, shape: [2, 3, 4])
    _ = try step.run(Batch(["x": x]))
    let state = try model.state.value()
    #expect(!state.doubles.allSatisfy { $0 == 0 })
    _ = try step.run(Batch(["x": x]))
    #expect(try model.state.value() != state)
  }

  struct Memory: Module {
    let rnn = RNN(3, 8)
    let head = Linear(8, 1)
    func callAsFunction(_ x: Tensor) -> Tensor { head(rnn(x).outputs) }
  }

  @Test func gradientsThroughTime() throws {
    let x = NDArray((0..<96).map { Float($0 % 5) / 5 }, shape: [4, 8, 3])
    let batch = Batch(["x": x])
    let batches = try ArrayDataset(["x": x]).batched(2)
    let trainer = try Trainer(Memory(), optimizer: SGD(learningRate: 1e-2)) { model, batch in
      square(model(batch["x"])).mean()
    }
    let gradients = try GradientNorms(trainer.model) { model, batch in
      square(model(batch["x"])).mean()
    }
    let report = try gradients.measure(batch)
    print(report.joint, report["rnn.weight_hh_l0"]!)  // what clipNorm looks at, and one parameter's
    let steps = try report.steps(of: "rnn.l0")
    print(steps.ofLoss)  // of the whole loss, by step
    print(steps.fromLast)  // as far as it comes from the last step: how far back the network learns
    #expect(steps.fromLast[0] < steps.fromLast[7] && steps.fromLast[7] == steps.ofLoss[7])
    let log = GradientLog(gradients, on: batch)
    try trainer.fit(batches, epochs: 2, callbacks: [log])
    print(log.history.map { ($0.step, $0.report.joint) })
    #expect(log.history.map(\.step) == [0, 1, 2, 3, 4])
  }

  @Test func aLoopOfYourOwn() throws {
    let decayed = try compile([.f32(100, 8), .f32(8)]) { inputs in
      let (last, means) = scan(inputs[0], from: inputs[1]) { mean, x in
        let next = 0.9 * mean + 0.1 * x
        return (carry: next, output: next)
      }
      return [last, means]  // f32[8], f32[100,8]
    }
    let ones = NDArray([Float](repeating: 1, count: 800), shape: [100, 8])
    let results: [NDArray] = try decayed(ones, NDArray([Float](repeating: 0, count: 8), shape: [8]))
    #expect(results[1].shape == [100, 8])
    #expect(Swift.abs(results[0].doubles[0] - 0.99997344) < 1e-5)
  }
}
