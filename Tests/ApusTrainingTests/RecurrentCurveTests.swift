// A hundred steps of recurrent networks from the same weights, beside PyTorch's (Tests/reference/recurrent_curves.py).

import Apus
import Foundation
import Testing

@Suite struct RecurrentCurveTests {
  private struct Network: Module {
    let embedding = Embedding(20, 8)
    let core: any Module
    let head = Linear(12, 20)

    func callAsFunction(_ ids: Tensor) -> Tensor {
      let x = embedding(ids)
      switch core {
      case let lstm as LSTM: return head(lstm(x).outputs)
      case let gru as GRU: return head(gru(x).outputs)
      default: return head((core as! RNN)(x).outputs)
      }
    }

    /// Of the parameter of that number, in the order of names: -0.4 to 0.4.
    func setWeights() throws {
      for (number, entry) in parameters.sorted(by: { $0.path < $1.path }).enumerated() {
        let type = entry.parameter.type
        let values = (0..<type.count).map {
          (Double(($0 * 7919 + number * 104729) % 1009) / 1009 - 0.5) * 0.8
        }
        try entry.parameter.set(NDArray(doubles: values, type: type))
      }
    }
  }

  private static let curves: [String: [Double]] = {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Reference/recurrent-curves.json")
    return try! JSONDecoder().decode([String: [Double]].self, from: Data(contentsOf: url))
  }()

  @Test(arguments: ["LSTM", "GRU", "RNN"]) func aCurveIsPyTorchs(kind: String) throws {
    let core: any Module =
      switch kind {
      case "LSTM": LSTM(8, 12, layers: 2)
      case "GRU": GRU(8, 12, layers: 2)
      default: RNN(8, 12, layers: 2)
      }
    let model = Network(core: core)
    try model.initialize()
    try model.setWeights()
    let step = try TrainingStep(model, optimizer: Adam(learningRate: 1e-2)) { model, batch in
      crossEntropy(model(batch["tokens"]).reshaped([-1, 20]), batch["next"].reshaped([-1]))
    }
    let expected = try #require(Self.curves[kind])
    for number in 0..<100 {
      let rows = (0..<4).map { row in
        (0...15).map { Int32((row * 5 + $0 * $0 * 3 + number % 7) % 20) }
      }
      let loss = try step.run(
        Batch([
          "tokens": NDArray(rows.flatMap { $0.dropLast() }, shape: [4, 15]),
          "next": NDArray(rows.flatMap { $0.dropFirst() }, shape: [4, 15]),
        ])
      ).loss
      #expect(abs(loss - expected[number]) < 1e-4, "step \(number)")
    }
    #expect(expected[99] < expected[0] - 0.5)
  }
}
