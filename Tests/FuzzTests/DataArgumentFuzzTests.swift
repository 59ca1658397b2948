// Extreme arguments for data sets, batches, samplers, transforms and splits: an error or a result, never a trap.

import Apus
import ApusGraph
import ApusImages
import Foundation
import TestSupport
import Testing

@Suite struct DataArgumentFuzzTests {
  private static func attempt(_ body: () throws -> Any) throws {
    do { _ = try body() } catch is ApusError {}
  }

  @Test func extremeArguments_ofSplitsAndSamplers() throws {
    let data = try ArrayDataset(["x": NDArray([1, 2, 3, 4, 5, 6], shape: [6])])
    try Fuzz.run("split arguments", rounds: 1000) { random in
      var a = Arguments(random, Trace())
      let (n, list) = (a.n, a.ns)
      let numbers = [a.d, a.d, a.d]
      try Self.attempt { try data.split(numbers).map(\.count) }
      try Self.attempt { try data.split([0.5, 0.5], stratifiedBy: list) }
      try Self.attempt {
        try data.split(
          [0.5, 0.5], stratifiedBy: list + [Int](repeating: n, count: 6 - min(list.count, 6)))
      }
      try Self.attempt { try data.folds(n).count }
      try Self.attempt { try data.folds(n, stratifiedBy: [0, 1, 0, 1, 0, n], seed: 3).count }
      try Self.attempt { try data.selecting(list).count }
      // As many as can be drawn in a moment.
      let count = (4097..<1 << 40).contains(n) ? 7 : n
      for replacement in [true, false] {
        try Self.attempt {
          let sampler = try WeightedSampler(
            weights: numbers + numbers, count: count, replacement: replacement)
          let batches = try data.batched(a.n, sampler: sampler)
          guard sampler.count <= 4096 else { return 0 }
          return try batches.makeIterator(epoch: n, startingAt: a.n).next() as Any
        }
        try Self.attempt {
          try WeightedSampler(balancing: list, count: count, replacement: replacement).examples(
            seed: 1, epoch: n
          ).count
        }
      }
    }
  }

  @Test func extremeArguments_ofSequences() throws {
    let data = try SequenceDataset(["x": .tokens([[1, 2, 3], [4], [5, 6]])])
    try Fuzz.run("sequence arguments", rounds: 1000) { random in
      var a = Arguments(random, Trace())
      let (n, m, list) = (a.n, a.n, a.ns)
      try Self.attempt { try data.truncated(to: n).lengths }
      try Self.attempt { try data.selecting(list).lengths }
      try Self.attempt { try data.folds(n).count }
      try Self.attempt { try Sequences.tokens([list], padding: n) }
      try Self.attempt { try SequenceDataset(["x": .labels([list, [n]])]).lengths }
      try Self.attempt { try Sequences.arrays([NDArray([1, 2], shape: [2])], padding: a.d) }
      // A length that a machine might just have memory for is none of these tests.
      let lengths = list.filter { !(1 << 16..<1 << 40).contains($0) }
      let length = (1 << 16..<1 << 40).contains(m) ? 4 : m
      try Self.attempt {
        try data.batched(n, lengths: lengths + [length], prefetch: 0).makeIterator(
          epoch: n, startingAt: m
        ).next() as Any
      }
      try Self.attempt {
        try data.batched(tokens: n, lengths: [3, length], mask: a.flag, prefetch: 0).makeIterator(
          epoch: 0
        ).next() as Any
      }
    }
  }

  @Test func extremeArguments_ofTransforms() throws {
    let images = try LabeledImages(
      pixels: NDArray((0..<2 * 60).map { UInt8($0) }, shape: [2, 4, 5, 3]),
      labels: NDArray([0, 1] as [Int32], shape: [2]), classCount: 2)
    try Fuzz.run("transform arguments", rounds: 1000) { random in
      var a = Arguments(random, Trace())
      let (n, m, d) = (a.n, a.n, a.d)
      // What a machine might just have memory and time for.
      let (h, w) = ((9..<1 << 17).contains(n) ? 9 : n, (9..<1 << 17).contains(m) ? 9 : m)
      let mode: ImagePadding.Mode = [.zeros, .reflect, .edge, .constant(Float(d))][abs(n % 4)]
      func range(_ x: Double, _ y: Double) -> ClosedRange<Double> {
        x <= y ? x...y : y <= x ? y...x : 0.5...1
      }
      let (scale, ratio) = (range(a.d, a.d), range(a.d, a.d))
      let transforms: [ImageTransform] = [
        .randomHorizontalFlip(probability: d), .randomVerticalFlip(probability: d),
        .pad(ImagePadding(top: h, left: w, bottom: w, right: h), mode: mode),
        .randomCrop(h, w, padding: ImagePadding(h), mode: mode), .centerCrop(h, w), .resize(h, w),
        .resize(w, h, antialias: false), .randomResizedCrop(h, w, scale: scale, ratio: ratio),
        .colorJitter(brightness: d, contrast: a.d, saturation: a.d), .grayscale(channels: n),
        .randomGrayscale(probability: d), .cutout(n),
        .randomErasing(probability: 1, scale: scale, ratio: ratio, value: Float(d)),
        .normalize(mean: [0, Float(d), 1], deviation: [1, 1, Float(a.d)]),
      ]
      for transform in transforms {
        try Self.attempt {
          try images.transformed([transform]).batched(2).makeIterator(epoch: n).next() as Any
        }
      }
      let mixings: [BatchMixing] = [.mixup(alpha: d), .cutmix(alpha: a.d)]
      let classes = (1 << 16..<1 << 40).contains(n) ? 5 : n
      try Self.attempt {
        try images.batched(2).mixing(mixings, classes: classes).makeIterator(epoch: m).next() as Any
      }
      try Self.attempt { try ImageValues(height: n, width: m, channels: a.n, values: [1]) }
      try Self.attempt { try ImageFile.decode([1, 2], limit: n) }
      try Self.attempt {
        try images.map("m", fields: [ExampleField("x", .f32(n, m))]) { x, _ in x }
      }
    }
  }
}
