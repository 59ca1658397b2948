// Runs on images that are changed at random on their way into batches, interrupted and resumed.

import Apus
import Foundation
import Testing

@Suite struct AugmentedRunTests {
  struct Classifier: Module {
    let layer = Linear(4 * 6 * 3, 5)
    func callAsFunction(_ x: Tensor) -> Tensor { layer(x.flattened(from: 1)) }
  }

  private static func images() throws -> LabeledImages {
    let pixels = (0..<40 * 72).map { UInt8(truncatingIfNeeded: $0 &* 97 &+ $0 >> 5) }
    return try LabeledImages(
      pixels: NDArray(checking: pixels, shape: [40, 4, 6, 3]),
      labels: NDArray((0..<40).map { Int32($0 % 5) }, shape: [40]), classCount: 5,
      scale: .normalized(mean: 0.5, deviation: 0.25))
  }

  private static func source(_ transforms: [ImageTransform], prefetch: Int) throws
    -> any BatchSource
  {
    try images().transformed(transforms).batched(8, prefetch: prefetch)
      .mixing([.mixup(alpha: 0.4), .cutmix(alpha: 1)], classes: 5)
  }

  private static let transforms: [ImageTransform] = [
    .randomCrop(4, 6, padding: 1), .randomHorizontalFlip(),
    .colorJitter(brightness: 0.4, saturation: 0.5),
  ]

  private static func trainer() throws -> Trainer<Classifier> {
    try Trainer(Classifier(), optimizer: SGD(learningRate: 0.05, momentum: 0.9), seed: 3) {
      model, batch in
      crossEntropy(model(batch.images), batch.labels)
    }
  }

  @Test(arguments: [2, 5, 7]) func aResumedRunHasTheSameWeights(step: Int) throws {
    let path = try LifeCycle.folder().appendingPathComponent("c.safetensors").path
    let whole = try Self.trainer()
    try whole.fit(try Self.source(Self.transforms, prefetch: 4), epochs: 3, callbacks: [])
    let cut = try Self.trainer()
    try cut.fit(
      try Self.source(Self.transforms, prefetch: 1), epochs: 2,
      callbacks: [SaveAtTotal(step: step, path: path)])
    let resumed = try Self.trainer()
    try resumed.resume(from: path)
    // What was interrupted in an epoch is finished first.
    try resumed.fit(
      try Self.source(Self.transforms, prefetch: 0), epochs: step < 5 ? 3 : 2, callbacks: [])
    #expect(resumed.step == 15)
    #expect(try LifeCycle.values(resumed.model) == LifeCycle.values(whole.model))
    let other = try Self.trainer()
    try other.fit(
      try Self.images().transformed(Self.transforms).batched(8, shuffle: 4), epochs: 3,
      callbacks: [])
    #expect(try LifeCycle.values(other.model) != LifeCycle.values(whole.model))
  }

  private struct SaveAtTotal: Callback {
    let step: Int
    let path: String
    func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
      if case .stepEnded = event, run.step == step {
        try run.saveCheckpoint(path, metadata: [:])
      }
      return .goOn
    }
  }

  @Test func otherTransformsAreRefused() throws {
    let path = try LifeCycle.folder().appendingPathComponent("c.safetensors").path
    let trainer = try Self.trainer()
    try trainer.fit(try Self.source(Self.transforms, prefetch: 0), epochs: 1, callbacks: [])
    try trainer.saveCheckpoint(path)
    let resumed = try Self.trainer()
    try resumed.resume(from: path)
    let others = try Self.source(Array(Self.transforms.dropLast()), prefetch: 0)
    let error = #expect(throws: ApusError.self) {
      try resumed.fit(others, epochs: 1, callbacks: [])
    }
    #expect(error?.expected?.contains("colorJitter 0.4, 0.0, 0.5") == true)
    #expect(error?.what.contains("randomHorizontalFlip 0.5") == true)
  }
}
