// A hundred steps of LeNet and of ResNet-20 beside PyTorch's from the same weights on the same images (curves
// by Tests/reference/image_curves.py), and where batch normalisation's estimates are after them.

import Apus
import Foundation
import TestSupport
import Testing

/// What the script has recorded of one network.
private struct ImageCurve: Decodable {
  var losses: [Double]
  /// Running statistics after the last step.
  var buffers: [String: [Double]]

  static func named(_ name: String) throws -> ImageCurve {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Reference/image-curves.json")
    let all = try JSONDecoder().decode([String: Self].self, from: Data(contentsOf: url))
    return try #require(all[name])
  }
}

@Suite struct ImageCurveTests {
  private static let steps = 100
  private static let batchCount = 8

  /// Multiples of 2^-23 in [-1, 1), as the script draws them.
  private static func uniform(_ seed: UInt64, _ count: Int) -> [Double] {
    var generator = SplitMix(seed: seed)
    return (0..<count).map { _ in Double(generator.next() >> 40) / 0x1p23 - 1 }
  }

  /// Noise, and a brighter band of eight rows that tells the class.
  private static func batches(_ size: Int, _ image: (side: Int, channels: Int)) -> [Batch] {
    let row = image.side * image.channels, pixels = image.side * row
    let labels = uniform(2, size * batchCount).map { Int32((($0 + 1) * 5).rounded(.down)) }
    var images = uniform(1, size * batchCount * pixels)
    for (index, label) in labels.enumerated() {
      let first = index * pixels + 2 * Int(label) * row
      for place in first..<min(first + 8 * row, (index + 1) * pixels) { images[place] += 0.5 }
    }
    return (0..<batchCount).map { batch in
      let part = images[batch * size * pixels..<(batch + 1) * size * pixels].map { Float($0) }
      return Batch([
        "images": NDArray(part, shape: [size, image.side, image.side, image.channels]),
        "labels": NDArray(Array(labels[batch * size..<(batch + 1) * size]), shape: [size]),
      ])
    }
  }

  /// The script's first values; normalisations start as they do.
  private static func setWeights(of model: some Module, gain: Double) throws {
    let parameters = model.parameters.sorted { $0.path < $1.path }
    for (seed, (path, parameter)) in parameters.enumerated() {
      let shape = parameter.shape
      guard shape.rank > 1 || path.hasPrefix("conv") || path.hasPrefix("fc") else { continue }
      let terms = shape.rank > 1 ? shape.count / shape[0] : 64
      let bound = gain / Double(terms).squareRoot()
      let values = uniform(UInt64(100 + seed), shape.count).map { Float($0 * bound) }
      try parameter.set(NDArray(values, shape: shape))
    }
  }

  private static func curve<Model: Layer>(
    _ model: Model, gain: Double = 1, _ optimizer: some Optimizer, batches: [Batch]
  ) throws -> (losses: [Double], model: Model) {
    let trainer = try Trainer(model, optimizer: optimizer) { model, batch in
      crossEntropy(model(batch.images), batch.labels)
    }
    try setWeights(of: trainer.model, gain: gain)
    let losses = try (0..<steps).map { try trainer.train(on: batches[$0 % batchCount]).loss }
    return (losses, trainer.model)
  }

  private func check(_ losses: [Double], _ expected: ImageCurve, within tolerance: Double) {
    #expect(losses.count == expected.losses.count)
    for (step, (ours, theirs)) in zip(losses, expected.losses).enumerated()
    where !(abs(ours - theirs) <= tolerance) {
      Issue.record("step \(step): a loss of \(ours), PyTorch's is \(theirs)")
    }
    // It is a curve of something that learns.
    #expect(losses[Self.steps - 1] < losses[0] - 0.5)
  }

  @Test func leNet_followsPyTorch() throws {
    let reference = try ImageCurve.named("lenet")
    let (losses, _) = try Self.curve(
      LeNet(), Adam(learningRate: 3e-4), batches: Self.batches(32, (28, 1)))
    check(losses, reference, within: 1e-4)
  }

  @Test func resNet20_followsPyTorch_withItsRunningStatistics() throws {
    let reference = try ImageCurve.named("resnet20")
    let (losses, model) = try Self.curve(
      ResNet.cifar(blocks: 3), gain: 2.5, SGD(learningRate: 2e-4, momentum: 0.9),
      batches: Self.batches(32, (32, 3)))
    check(losses, reference, within: 1e-3)
    let found = Dictionary(uniqueKeysWithValues: model.buffers.map { ($0.path, $0.buffer) })
    #expect(reference.buffers.count == 6)
    for (path, expected) in reference.buffers {
      let values = try #require(found[path]).value().doubles
      #expect(values.count == expected.count, "\(path)")
      for (a, b) in zip(values, expected) {
        #expect(abs(a - b) <= 1e-3 * max(1, abs(b)), "\(path): \(a), not \(b)")
      }
    }
  }
}
