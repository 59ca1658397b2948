// 500 steps in each precision beside the same steps in double and PyTorch's in f32 and bf16 (curves by
// Tests/reference/loss_curves.py). With UPDATE_GOLDEN=1 ours are written into the same file, from which
// that script makes the plot of Docs/Precision.md.

import Apus
import Foundation
import TestSupport
import Testing

/// 32-128-128-10 with tanh: a ReLU's kink would turn the last bit of one sum into a jump of the curve.
private struct CurvePerceptron: Module {
  let layers = [Linear(32, 128), Linear(128, 128), Linear(128, 10)]

  func callAsFunction(_ x: Tensor) -> Tensor {
    layers.dropFirst().reduce(layers[0](x)) { $1(tanh($0)) }
  }
}

// One after the other: they write one file.
@Suite(.serialized) struct LossCurveTests {
  static let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Reference/loss-curves.json")

  static func recorded() throws -> [String: [Double]] {
    try JSONDecoder().decode([String: [Double]].self, from: Data(contentsOf: url))
  }

  /// Multiples of 2^-23 in [-1, 1), as the script draws them.
  private static func uniform(_ seed: UInt64, _ count: Int) -> [Double] {
    var generator = SplitMix(seed: seed)
    return (0..<count).map { _ in Double(generator.next() >> 40) / 0x1p23 - 1 }
  }

  private static func batches() -> [Batch] {
    let x = uniform(1, 2048 * 32)
    let labels = (0..<2048).map { example -> Int32 in
      let row = x[example * 32..<(example + 1) * 32].map { $0 }
      let scores = (0..<10).map { row[$0] * row[$0 + 10] + row[$0 + 20] }
      return Int32(scores.firstIndex(of: scores.max()!)!)
    }
    return (0..<32).map { batch in
      let features: [Float] = x[batch * 2048..<(batch + 1) * 2048].map { Float($0) }
      let classes: [Int32] = Array(labels[batch * 64..<(batch + 1) * 64])
      return Batch([
        "x": NDArray(features, shape: [64, 32]), "labels": NDArray(classes, shape: [64]),
      ])
    }
  }

  private static func curve(_ precision: Precision) throws -> [Double] {
    let trainer = try Trainer(
      CurvePerceptron(), optimizer: Adam(learningRate: 1e-3),
      compile: CompileOptions(precision: precision)
    ) { model, batch in crossEntropy(model(batch.x), batch.labels) }
    for (layer, linear) in trainer.model.layers.enumerated() {
      for (seed, parameter) in [(10, linear.weight), (20, try #require(linear.bias))] {
        let scale = Double(linear.weight.shape[1]).squareRoot()
        let values = uniform(UInt64(seed + layer), parameter.shape.count)
        try parameter.set(NDArray(values.map { Float($0 / scale) }, shape: parameter.shape))
      }
    }
    let batches = batches()
    return try (0..<500).map { try trainer.train(on: batches[$0 % batches.count]).loss }
  }

  private static func distance(_ a: [Double], _ b: [Double]) -> Double {
    zip(a, b).reduce(0) { $0 + abs($1.0 - $1.1) } / Double(a.count)
  }

  @Test(arguments: Precision.allCases)
  func curve_staysAsCloseToDoubleAsPyTorchs(precision: Precision) throws {
    let curve = try Self.curve(precision)
    var recorded = try Self.recorded()
    let exact = try #require(recorded["double"])
    let peer = try #require(recorded[precision == .mixed ? "torch_bf16" : "torch_f32"])
    let ours = Self.distance(curve, exact), theirs = Self.distance(peer, exact)
    // Both are sums of many roundings that fall by chance.
    let slack = precision == .high ? 100.0 : 2
    #expect(ours <= slack * theirs, "\(ours) from double; PyTorch: \(theirs)")
    if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
      recorded[precision.rawValue] = curve
      let encoder = JSONEncoder()
      encoder.outputFormatting = .sortedKeys
      try (encoder.encode(recorded) + Data("\n".utf8)).write(to: Self.url)
    } else if precision == .highest {
      // The same bits at every level without AMX; with it, as near.
      let before = try #require(recorded["highest"])
      #expect(Self.distance(curve, before) <= slack * theirs)
    }
  }
}
