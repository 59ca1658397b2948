// The examples of Docs/GettingStarted.md, and of the README.

import Apus
import Foundation
import Testing

@Suite struct GettingStarted {
  /// A small set in the place of the real one, which is large and not on every machine.
  struct FashionMNIST {
    let train, test: LabeledImages

    init() throws {
      func images(_ count: Int) throws -> LabeledImages {
        // Each class has a grey of its own, the rows differ a little.
        let pixels = (0..<784 * count).map { index -> UInt8 in
          let grey = index / 784 % 10 * 25
          return UInt8(grey + index % 7)
        }
        return try LabeledImages(
          pixels: NDArray(pixels, shape: [count, 28, 28]),
          labels: NDArray((0..<count).map { Int32($0 % 10) }, shape: [count]), classCount: 10)
      }
      (train, test) = (try images(640), try images(20))
    }
  }

  @Test func arraysAndTensors() throws {
    let f = try compile(.f32(2, 3)) { x in softmax(2 * x, axis: -1) }
    let y = try f(NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3]))
    print(y)
    #expect(y.shape == [2, 3])
    #expect(abs(y.doubles[2] - exp(4) / (1 + exp(2) + exp(4))) < 1e-5)
  }

  @Test func aNetwork_andItsUse() throws {
    defer { try? FileManager.default.removeItem(atPath: "fashion.safetensors") }
    struct Classifier: Module {
      let hidden = Linear(784, 128)
      let output = Linear(128, 10)
      func callAsFunction(_ x: Tensor) -> Tensor { output(relu(hidden(x.flattened(from: 1)))) }
    }

    let data = try FashionMNIST()
    let trainer = try Trainer(Classifier(), optimizer: Adam(learningRate: 1e-3)) { model, batch in
      crossEntropy(model(batch.images), batch.labels)
    }
    try trainer.fit(data.train.batched(64), validation: data.test.batched(1000), epochs: 5)
    try trainer.save("fashion.safetensors")
    let classify = try Predictor(trainer.model) { model, x in softmax(model(x), axis: -1) }
    let batch = try data.test.batched(8).makeIterator(epoch: 0).next()!
    let probabilities = try classify(batch.images!)
    print(try probabilities[0])
    #expect(
      trainer.history.count == 5 && FileManager.default.fileExists(atPath: "fashion.safetensors"))
    #expect(trainer.history[4].training.loss < trainer.history[0].training.loss)
    #expect(probabilities.shape == [8, 10])
    #expect(abs(try probabilities[0].doubles.reduce(0, +) - 1) < 1e-5)
  }
}
