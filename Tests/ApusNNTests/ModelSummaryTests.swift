// A model's table: shapes, parameters, arithmetic, memory, of layers and of models, without values.

import Apus
import Testing

@Suite struct ModelSummaryTests {
  private let network = Sequential {
    Conv2d(1, 8, 3)
    ReLU()
    MaxPool2d(2)
    Flatten()
    Linear(8 * 13 * 13, 10)
  }

  /// FLOPs of the products as PyTorch's torch.utils.flop_counter gives them for the same network: 194688 and
  /// 54080 for two images.
  @Test func layersHaveTheirShapesParametersAndArithmetic() throws {
    let summary = try network.summary(for: .f32(2, 28, 28, 1))
    #expect(summary.rows.map(\.path) == ["0", "1", "2", "3", "4"])
    #expect(summary.rows.map(\.type) == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"])
    #expect(
      summary.rows.map(\.output) == [
        .f32(2, 26, 26, 8), .f32(2, 26, 26, 8), .f32(2, 13, 13, 8), .f32(2, 1352), .f32(2, 10),
      ])
    #expect(summary.rows.map(\.parameters) == [80, 0, 0, 0, 13530])
    #expect(summary.parameters == 13610 && summary.parameterBytes == 4 * 13610)
    let activations = 2 * 26 * 26 * 8
    #expect(summary.rows[0].flops == Double(194688 + activations))
    #expect(summary.rows[1].flops == Double(activations) && summary.rows[3].flops == 0)
    #expect(summary.rows[4].flops == Double(54080 + 20))
    #expect(summary.flops == summary.rows.reduce(0) { $0 + $1.flops })
    #expect(summary.outputBytes == 4 * (2 * activations + activations / 4 + 2 * 1352 + 20))
    #expect(network.parameters.allSatisfy { !$0.parameter.isInitialized })
    let lines = "\(summary)".split(separator: "\n")
    #expect(lines.count == 8 && lines[0].hasPrefix("layer  type"))
    #expect(lines[1].hasSuffix("  \(4 * activations)") && lines[6].hasPrefix("total"))
  }

  private struct Pair: Module {
    let left = Linear(3, 3)
    let both: Bilinear = Bilinear(3, 2, 5)
    let scale = Parameter([5], .ones)
    let seen = Buffer([7])
    func callAsFunction(_ x: Tensor, _ z: Tensor) -> Tensor {
      both(left(left(x)), z) * scale.tensor
    }
  }

  @Test func aModelOfTwoInputs_isToldWithWhatItDoesItself() throws {
    let summary = try Pair().summary(for: [.f32(6, 3), .f32(6, 2)]) { [$0($1[0], $1[1])] }
    #expect(summary.rows.map(\.path) == ["left", "both", ""])
    // Applied twice.
    #expect(summary.rows[0].flops == 2 * Double(2 * 6 * 3 * 3 + 18))
    #expect(summary.rows[1].parameters == 3 * 2 * 5 + 5 && summary.rows[1].output == .f32(6, 5))
    #expect(summary.rows[2].parameters == 5 && summary.rows[2].output == nil)
    #expect(summary.rows[2].flops == 30)
    #expect(summary.parameterBytes == summary.parameters * 4 + 28)
    #expect(summary.parameters == 12 + 40)
  }

  @Test func recurrentLayersCountTheirSteps_andMistakesAreTold() throws {
    let lstm = LSTM(3, 8)
    let summary = try lstm.summary(for: [.f32(2, 5, 3)]) { [$0($1[0]).outputs] }
    // Gates of five steps: 2·(3 + 8)·32 for each of two rows, and some more.
    let products = Double(5 * 2 * 2 * 11 * 32)
    #expect(summary.flops >= products && summary.flops < 1.5 * products)
    let error = #expect(throws: ApusError.self) {
      try network.summary(for: .f32(2, 28, 28, 3))
    }
    #expect(error?.kind == .shapeMismatch && error?.location?.contains("0") == true)
  }
}
