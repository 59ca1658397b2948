// Data sets whose examples are transformed: what they depend on, and what they say of themselves.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct TransformedDatasetTests {
  private static func images(_ count: Int, _ scale: PixelScale = .unit) throws -> LabeledImages {
    var random = SplitMix64(state: 3)
    let pixels = (0..<count * 8 * 6 * 3).map { _ in UInt8.random(in: 0...255, using: &random) }
    return try LabeledImages(
      pixels: NDArray(checking: pixels, shape: [count, 8, 6, 3]),
      labels: NDArray((0..<count).map { Int32($0 % 10) }, shape: [count]), classCount: 10,
      scale: scale)
  }

  private static let transforms: [ImageTransform] = [
    .randomCrop(8, 6, padding: 2, mode: .reflect), .randomHorizontalFlip(),
    .colorJitter(brightness: 0.3, contrast: 0.3, saturation: 0.3), .randomErasing(),
  ]

  private static func all(_ source: any BatchSource, _ epoch: Int, from batch: Int = 0) throws
    -> [[NDArray]]
  {
    let iterator = try source.makeIterator(epoch: epoch, startingAt: batch)
    var batches: [[NDArray]] = []
    while let batch = try iterator.next() { batches.append(batch.arrays) }
    return batches
  }

  @Test func bitsDependOnSeedEpochAndExampleAlone() throws {
    let data = try Self.images(50).transformed(Self.transforms)
    let reference = try Self.all(try data.batched(8, shuffle: 1, prefetch: 0), 2)
    for prefetch in [1, 3, 16] {
      #expect(try Self.all(try data.batched(8, shuffle: 1, prefetch: prefetch), 2) == reference)
    }
    // From a middle, as a run that is resumed.
    #expect(try Self.all(try data.batched(8, shuffle: 1), 2, from: 4) == Array(reference[4...]))
    // In other batches, and in another order: an example has the bits of its number.
    let single = try Self.all(try data.batched(1, shuffle: 1), 2)
    let order = permutation(of: 50, seed: 1, epoch: 2)
    for (place, batch) in single.enumerated() {
      #expect(batch[1].integers == [order[place] % 10])
      let row = try reference[place / 8][0][place % 8]
      #expect(batch[0].floats == row.floats)
    }
    #expect(try Self.all(try data.batched(8, shuffle: 1), 3) != reference)
    #expect(try Self.all(try data.batched(8, shuffle: 2), 2) != reference)
    // In order, what is drawn follows the trainer's seed.
    let ordered = try data.batched(8, shuffle: nil)
    #expect(
      try Self.all(ordered.forTraining(seed: 1), 2) == Self.all(ordered.forTraining(seed: 1), 2))
    #expect(
      try Self.all(ordered.forTraining(seed: 1), 2) != Self.all(ordered.forTraining(seed: 2), 2))
    #expect(ordered.forTraining(seed: 1).identity != ordered.forTraining(seed: 2).identity)
  }

  @Test func stagesDrawNumbersOfTheirOwn() throws {
    // A flip after a flip: where both drew the same numbers, nothing would be turned.
    let flip = ImageTransform.randomHorizontalFlip()
    let base = try Self.images(200)
    let twice = try base.transformed([flip]).transformed([flip])
    let plain = try Self.all(try base.batched(1, shuffle: nil), 0).map { $0[0] }
    let made = try Self.all(try twice.batched(1, shuffle: nil), 0).map { $0[0] }
    let turned = zip(plain, made).count { $0 != $1 }
    #expect(turned > 60 && turned < 140)
  }

  @Test func theSetsOwnScaleComesAfterTheTransforms() throws {
    let scale = PixelScale.normalized(mean: 0.3, deviation: 0.2)
    for part in [{ $0 }, { try $0.subset(2..<9) }, { try $0.selecting([5, 1, 2]) }]
      as [(any Dataset) throws -> any Dataset]
    {
      let unit = try part(try Self.images(12)).transformed(Self.transforms)
      let scaled = try part(try Self.images(12, scale)).transformed(Self.transforms)
      let (a, b) = (
        try Self.all(try unit.batched(20, shuffle: 4), 1)[0][0],
        try Self.all(try scaled.batched(20, shuffle: 4), 1)[0][0]
      )
      #expect(b.floats == a.floats.map { ($0 - 0.3) / 0.2 })
    }
    let plain = try Self.images(12, scale)
    let same = try plain.transformed([])
    #expect(
      try Self.all(try same.batched(5, shuffle: 1), 0)
        == Self.all(try plain.batched(5, shuffle: 1), 0))
  }

  @Test func bytesOfAnySetBecomePartsOfOne() throws {
    let data = try ArrayDataset([
      "y": NDArray([1, 2], shape: [2]),
      "pixels": NDArray([0, 51, 102, 255, 0, 255, 1, 2] as [UInt8], shape: [2, 2, 2]),
    ])
    let flipped = try data.transformed([.randomHorizontalFlip(probability: 1)], field: "pixels")
    #expect(flipped.fields == [ExampleField("y", .f32()), ExampleField("pixels", .f32(2, 2, 1))])
    let batch = try #require(try flipped.batched(2, shuffle: nil).makeIterator(epoch: 0).next())
    #expect(batch.pixels!.floats == [51, 0, 255, 102, 255, 0, 2, 1].map { Float($0) / 255 })
    #expect(batch.y!.floats == [1, 2])
  }

  @Test func aMapMakesFieldsOfItsOwn_withNumbersOfEachExample() throws {
    let data = try ArrayDataset(["x": NDArray((0..<20).map { Float($0) }, shape: [10, 2])])
    let fields = [ExampleField("sum", .f32()), ExampleField("noise", .f64(2))]
    let mapped = try data.map("sums", fields: fields) { example, random in
      let x = example["x"]!.floats
      return try [
        "noise": NDArray(checking: [random.uniform(), random.uniform()], type: .f64(2)),
        "sum": NDArray(x[0] + x[1]),
      ]
    }
    let first = try Self.all(try mapped.batched(4, shuffle: 2, prefetch: 2), 0)
    let sums: [Float] = first.flatMap { $0[0].floats }
    let expected: [Float] = (0..<10).map { Float(4 * $0 + 1) }
    #expect(sums.sorted() == expected)
    let noise: [Double] = first.flatMap { $0[1].doubles }
    #expect(Set(noise).count == 20)
    #expect(try Self.all(try mapped.batched(4, shuffle: 2, prefetch: 0), 0) == first)
    #expect(mapped.identity == "10 examples, sums")
    // A map that draws nothing and keeps its fields.
    let doubled = try data.map("doubled") { example, _ in
      ["x": NDArray(example["x"]!.floats.map { 2 * $0 }, shape: [2])]
    }
    #expect(try Self.all(try doubled.batched(10, shuffle: nil), 0)[0][0].floats[19] == 38)
  }

  @Test func whatAMapGivesWronglyIsNamed() throws {
    let data = try ArrayDataset(["x": NDArray([1, 2], shape: [2])])
    func failure(_ transform: @escaping MappedDataset.Transform) -> ApusError? {
      error {
        _ = try data.map("my map", transform).batched(2, shuffle: nil).makeIterator(epoch: 0).next()
      }
    }
    let none = failure { _, _ in ["y": NDArray(1)] }
    #expect(none?.what == "'my map' gave no 'x'" && none?.location == "example 0")
    #expect(
      failure { _, _ in ["x": NDArray([1], shape: [1])] }?.what == "'my map' gave 'x' as f32[1]")
    let thrown = failure { _, _ in throw ApusError(.outOfRange, "too bad") }
    #expect(thrown?.what == "too bad" && thrown?.location == "example 0, my map")
    let twice = [ExampleField("x", .f32()), ExampleField("x", .f32())]
    #expect(error { _ = try data.map("m", fields: twice) { a, _ in a } }?.kind == .invalidArgument)
    let negative = [ExampleField("x", .f32(-1))]
    #expect(
      error { _ = try data.map("m", fields: negative) { a, _ in a } }?.kind == .invalidArgument)
  }

  @Test func whatIsNoImageIsRefused() throws {
    let data = try ArrayDataset([
      "x": NDArray([1, 2], shape: [2]), "n": NDArray([1, 2] as [Int32], shape: [2, 1, 1]),
    ])
    #expect(error { _ = try data.transformed([]) }?.kind == .missing)
    #expect(error { _ = try data.transformed([], field: "x") }?.kind == .shapeMismatch)
    #expect(error { _ = try data.transformed([], field: "n") }?.kind == .shapeMismatch)
    // A transform of one's own that does not keep its word.
    let liar = ImageTransform("liar") { image, _ in
      image = image.cropped(top: 0, left: 0, height: 1, width: 1)
    }
    let batches = try Self.images(2).transformed([liar]).batched(2)
    #expect(error { _ = try batches.makeIterator(epoch: 0).next() }?.location == "example 0")
  }

  @Test func identitiesSayWhatIsDone() throws {
    let data = try Self.images(4)
    let sources: [any Dataset] = [
      data, try data.transformed([.randomHorizontalFlip()]),
      try data.transformed([.randomHorizontalFlip(probability: 0.4)]),
      try data.transformed([.randomVerticalFlip()]), try data.map("m") { a, _ in a },
    ]
    let identities = try sources.map { try $0.batched(2, shuffle: 1).identity }
    #expect(Set(identities).count == sources.count)
    #expect(identities[0] == "4 examples in batches of 2, shuffled by seed 1")
  }
}

@Suite struct BatchMixingTests {
  /// Image i is i everywhere, its class i.
  private static func batches(_ count: Int, _ size: Int) throws -> Batches {
    let images = (0..<count).flatMap { [Float](repeating: Float($0), count: 4 * 6 * 2) }
    return try ArrayDataset([
      "images": NDArray(images, shape: [count, 4, 6, 2]),
      "labels": NDArray((0..<count).map { Int32($0) }, shape: [count]),
    ]).batched(size, shuffle: 1)
  }

  private static func all(_ source: any BatchSource, _ epoch: Int, from batch: Int = 0) throws
    -> [Batch]
  {
    let iterator = try source.makeIterator(epoch: epoch, startingAt: batch)
    var batches: [Batch] = []
    while let batch = try iterator.next() { batches.append(batch) }
    return batches
  }

  @Test func mixupIsTheSumThatItsLabelsSay() throws {
    let plain = try Self.all(try Self.batches(23, 8), 3)
    let mixed = try Self.all(try Self.batches(23, 8).mixing([.mixup(alpha: 1)], classes: 23), 3)
    #expect(mixed.map(\.count) == [8, 8, 7])
    for (batch, own) in zip(mixed, plain) {
      #expect(batch.labels!.type == .f32(own.count, 23))
      for place in 0..<own.count {
        let numbers = own.labels!.integers
        let (one, other) = (numbers[place], numbers[(place + own.count - 1) % own.count])
        let label = try batch.labels![place].floats
        let weight = label[one]
        #expect(abs(label[one] + label[other] - 1) < 1e-6 && label.count { $0 != 0 } <= 2)
        let value = weight * Float(one) + (1 - weight) * Float(other)
        #expect(try batch.images![place].floats.allSatisfy { abs($0 - value) < 1e-4 })
      }
    }
  }

  @Test func cutmixPutsARectangleOfTheAreaThatItsLabelsSay() throws {
    var areas = Set<Int>()
    for epoch in 0..<20 {
      let plain = try Self.all(try Self.batches(12, 4), epoch)
      let mixed = try Self.all(
        try Self.batches(12, 4).mixing([.cutmix(alpha: 1)], classes: 12), epoch)
      for (batch, own) in zip(mixed, plain) {
        for place in 0..<4 {
          let numbers = own.labels!.integers
          let (one, other) = (numbers[place], numbers[(place + 3) % 4])
          let pixels = try batch.images![place].integers
          let there = pixels.count { $0 == other } / 2
          #expect(pixels.count { $0 == one } / 2 + there == 24)
          #expect(abs(try batch.labels![place].floats[other] - Float(there) / 24) < 1e-6)
          areas.insert(there)
          // A rectangle: every row that has some of it has it in the same columns.
          let rows = Set(
            (0..<4).map { row in pixels[row * 12..<row * 12 + 12].map { $0 == other } })
          #expect(rows.count <= 2)
        }
      }
    }
    #expect(areas.count > 4)
  }

  @Test func aMixtureDependsOnSeedEpochAndBatchAlone() throws {
    let mixings: [BatchMixing] = [.mixup(alpha: 0.2), .cutmix(alpha: 1)]
    let source = try Self.batches(40, 8).mixing(mixings, classes: 40)
    let whole = try Self.all(source, 2)
    #expect(try Self.all(source, 2).map(\.arrays) == whole.map(\.arrays))
    #expect(try Self.all(source, 2, from: 3).map(\.arrays) == whole[3...].map(\.arrays))
    #expect(try Self.all(source, 1).map(\.arrays) != whole.map(\.arrays))
    #expect(
      source.identity.contains("mixup 0.2 or cutmix 1.0") && source.identity != source.base.identity
    )
    let seeds = try [1, 2].map { seed in
      try Self.all(
        try source.base.dataset.batched(8).mixing(mixings, classes: 40).forTraining(seed: seed), 0
      )
      .map(\.arrays)
    }
    #expect(seeds[0] != seeds[1])
  }

  @Test(arguments: [0.05, 0.2, 1, 2.5, 8]) func weightsFollowTheBetaDistribution(alpha: Double) {
    var random = EpochKey(seed: 5).random(for: 0)
    let drawn = (0..<20_000).map { _ in random.beta(alpha) }
    #expect(drawn.allSatisfy { (0...1).contains($0) })
    let mean = drawn.reduce(0, +) / 20_000
    let variance = drawn.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / 20_000
    let expected = 1 / (4 * (2 * alpha + 1))
    #expect(abs(mean - 0.5) < 5 * (expected / 20_000).squareRoot())
    #expect(abs(variance - expected) < 0.03 * expected)
  }

  @Test func nonsenseIsRefused() throws {
    let batches = try Self.batches(8, 4)
    for mixings in [[], [.mixup(alpha: 0)], [.cutmix(alpha: .nan)], [.mixup(alpha: -.infinity)]]
      as [[BatchMixing]]
    {
      #expect(error { _ = try batches.mixing(mixings, classes: 8) }?.kind == .invalidArgument)
    }
    for classes in [0, -1, 1 << 40] {
      #expect(
        error { _ = try batches.mixing([.mixup(alpha: 1)], classes: classes) }?.kind
          == .invalidArgument)
    }
    let few = try batches.mixing([.mixup(alpha: 1)], classes: 3)
    #expect(error { _ = try Self.all(few, 0) }?.kind == .outOfRange)
    #expect(
      error { _ = try batches.mixing([.mixup(alpha: 1)], classes: 8, images: "x") }?.kind
        == .missing)
    let flat = try ArrayDataset([
      "images": NDArray([1, 2], shape: [2, 1]), "labels": NDArray([0, 1] as [Int32], shape: [2]),
    ])
    #expect(
      error { _ = try flat.batched(2).mixing([.cutmix(alpha: 1)], classes: 2) }?.kind
        == .shapeMismatch)
    #expect(try Self.all(try flat.batched(2).mixing([.mixup(alpha: 1)], classes: 2), 0).count == 1)
  }
}
