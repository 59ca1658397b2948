// The examples of Docs/Data.md.

import Apus
import ApusImages
import Foundation
import Testing

@Suite struct DataPage {
  struct Squares: Dataset {
    let count = 1000
    let fields = [ExampleField("x", .f32(1)), ExampleField("y", .f32(1))]

    func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) {
      let x = targets[0].bindMemory(to: Float.self)
      let y = targets[1].bindMemory(to: Float.self)
      for (place, example) in examples.enumerated() {
        x[place] = Float(example) / 1000
        y[place] = x[place] * x[place]
      }
    }
  }

  struct Tagger: Module {
    let words = Embedding(20, 8)
    let tag = Linear(8, 4)
    func callAsFunction(_ ids: Tensor) -> Tensor { tag(words(ids)) }
  }

  @Test func arrays() throws {
    let a = NDArray([1, 2, 3, 4, 5, 6], shape: [3, 2])  // f32[3,2]
    let labels = NDArray([0, 1, 2] as [Int32], shape: [3])  // i32[3]
    let row = try a[1]  // f32[2]
    let part = try a[rows: 0..<2]  // f32[2,2]
    let column = try a.slice(axis: 1, 0..<1)  // f32[3,1]
    print(a.floats, labels.integers, row, part.shape, column.shape)
    #expect(row.floats == [3, 4] && part.shape == [2, 2] && column.floats == [1, 3, 5])
    #expect(throws: ApusError.self) { try NDArray(checking: [1, 2, 3], shape: [2, 2]) }
  }

  @Test func filesAndBatches() throws {
    let folder = try Book.folder()
    let lines = (0..<40).map { "\($0),\($0 % 7),\($0 * 3)" }
    try Data(("rooms,age,price\n" + lines.joined(separator: "\n") + "\n").utf8)
      .write(to: URL(fileURLWithPath: "\(folder)/houses.csv"))
    let table = try CSV.read("\(folder)/houses.csv")
    let (features, scale) = try table.columns(0..<2).standardized()
    let prices = try table.column("price")
    let data = try ArrayDataset([
      "x": features, "y": prices.reshaped([prices.count, 1]),
    ])
    let all = try data.batched(32)  // shuffled where a trainer learns from it
    let seeded = try data.batched(32, shuffle: 7)  // shuffled by seed 7, whoever reads it
    let ordered = try data.batched(32, shuffle: nil)  // as they stand
    let training = try data.subset(0..<data.count - 8).batched(32)
    let validation = try data.subset(data.count - 8..<data.count).batched(32)
    let iterator = try seeded.makeIterator(epoch: 0)
    while let batch = try iterator.next() {
      print(batch.count, batch.x!.shape, batch.y!.shape)
    }
    #expect(abs(features.doubles.reduce(0, +)) < 1e-3 && data.count == 40)
    #expect(try abs(scale.undo(on: features).doubles[6] - 3) < 1e-4)
    #expect([all, seeded, ordered, training, validation].map(\.batchCount) == [2, 2, 2, 1, 1])
    #expect(try ordered.makeIterator(epoch: 0).next()!.y!.floats[2] == 6)
  }

  @Test func tablesOfOtherNumbers() throws {
    let folder = try Book.folder()
    try Data("2019,2020\n0.5,\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/orders.csv"))
    try Data("id\n16777217\n3\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/keys.csv"))
    let orders = try CSV.read("\(folder)/orders.csv", header: .present, missing: .nan, type: .f64)
    let keys = try CSV.read("\(folder)/keys.csv", type: .i64).column("id")  // i64[2]
    #expect(orders.names == ["2019", "2020"] && orders.values.doubles[1].isNaN)
    #expect(keys.integers == [16_777_217, 3])
    #expect(throws: ApusError.self) { try CSV.read("\(folder)/keys.csv") }
  }

  @Test func archives() throws {
    let folder = try Book.folder()
    try NPZ.write(["x": NDArray([1, 2], shape: [2])], to: "\(folder)/data.npz")
    let arrays = try NPZ.read("\(folder)/data.npz", limit: 1 << 30)
    let file = try NPZFile("\(folder)/data.npz")
    let first = try file.array("x")
    print(arrays.names, file.names, file.otherNames, first.type)
    #expect(arrays["x"] == first && first.floats == [1, 2])
  }

  @Test func aDataSetOfYourOwn() throws {
    let batch = try Squares().batched(100, shuffle: nil).makeIterator(epoch: 0).next()!
    #expect(batch.y!.shape == [100, 1] && abs(batch.y!.floats[50] - 0.0025) < 1e-7)
  }

  @Test func images() throws {
    let pixels = NDArray([UInt8](repeating: 255, count: 2 * 16), shape: [2, 4, 4])
    let classes = NDArray([3, 9] as [Int32], shape: [2])
    let scale = PixelScale.normalized(mean: 0.5, deviation: 0.25)
    let images = try LabeledImages(pixels: pixels, labels: classes, classCount: 10, scale: scale)
    let batches = try images.batched(64)
    let batch = try batches.makeIterator(epoch: 0).next()!
    #expect(batch.images!.shape == [2, 4, 4, 1] && batch.images!.floats[0] == 2)
  }

  @Test func rowsThatDoNotCount() throws {
    let trainer = try Trainer(Tagger(), optimizer: Adam(learningRate: 0.05)) { model, batch in
      let logits = model(batch.words)
      batch.report("accuracy", accuracy(logits, batch.tags, ignoring: -100))
      return crossEntropy(logits, batch.tags)
    }
    let words = NDArray((0..<24).map { Int32($0 % 20) }, shape: [4, 6])
    let tags = NDArray((0..<24).map { Int32($0 % 6 < 4 ? $0 % 4 : -100) }, shape: [4, 6])
    let losses = try (0..<20).map { _ in
      try trainer.train(on: Batch(["words": words, "tags": tags])).loss
    }
    #expect(losses[19] < losses[0])
    let none = Batch([
      "words": words, "tags": NDArray([Int32](repeating: -100, count: 24), shape: [4, 6]),
    ])
    #expect(try trainer.train(on: none).wasSkipped)
  }

  @Test func otherFiles() throws {
    let folder = try Book.folder()
    let lines =
      "{\"text\": \"good\", \"label\": 1, \"ids\": [3, 4]}\n{\"text\": \"bad\", \"label\": 0, \"ids\": [5]}"
    try Data(lines.utf8).write(to: URL(fileURLWithPath: "\(folder)/train.jsonl"))
    let rows = try JSONLines.read(
      "\(folder)/train.jsonl",
      columns: ["text": .text, "label": .array(.i32()), "ids": .list(.i32)])
    print(try rows.texts("text"), try rows.array("label"), try rows.lists("ids"))
    #expect(try rows.lists("ids").map(\.integers) == [[3, 4], [5]])
    let head: [UInt8] = [
      0x52, 0x49, 0x46, 0x46, 40, 0, 0, 0, 0x57, 0x41, 0x56, 0x45, 0x66, 0x6d, 0x74, 0x20, 16, 0, 0,
      0,
      1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0, 0x64, 0x61, 0x74, 0x61, 4, 0, 0,
      0,
    ]
    try Data(head + [0, 0x40, 0, 0x80]).write(to: URL(fileURLWithPath: "\(folder)/speech.wav"))
    let sound = try WAV.read("\(folder)/speech.wav")
    print(sound.sampleRate, sound.samples.shape)
    #expect(sound.sampleRate == 8000 && sound.samples.floats == [0.5, -1])
  }

  @Test func partsFoldsAndSamplers() throws {
    let data = try ArrayDataset(["x": NDArray((0..<50).map { Float($0) }, shape: [50, 1])])
    let classes = (0..<50).map { $0 % 10 == 0 ? 1 : 0 }
    let weights = (0..<50).map { Double($0) }
    let parts = try data.split([0.7, 0.2, 0.1], seed: 7)  // at random, as PyTorch's random_split
    let alike = try data.split([0.8, 0.2], stratifiedBy: classes)  // each class in its proportion
    for fold in try data.folds(5, stratifiedBy: classes, seed: 1) {
      print(fold.training.count, fold.validation.count)
    }
    let some = try data.selecting([3, 1, 4])
    #expect(parts.map(\.count) == [35, 10, 5] && some.count == 3)
    #expect(alike.map { $0.examples.count { $0 % 10 == 0 } } == [4, 1])
    let sampler = try WeightedSampler(weights: weights, count: 100)
    let fair = try WeightedSampler(balancing: classes)  // all classes alike
    let drawn = try data.batched(32, sampler: fair)
    #expect(drawn.batchCount == 2 && !sampler.examples(seed: 0, epoch: 0).contains(0))
  }

  @Test func imagesInFiles() throws {
    let folder = try Book.folder()
    for (name, level) in [("cat", 10), ("dog", 200)] {
      try FileManager.default.createDirectory(
        atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
      for number in 0..<2 {
        let pixels = NDArray([UInt8](repeating: UInt8(level), count: 48), shape: [4, 4, 3])
        try Picture(pixels).write(png: "\(folder)/\(name)/\(number).png")
      }
    }
    let pets = try ImageFolder(folder, height: 64, width: 64)
    let halves = try pets.split([0.5, 0.5], stratifiedBy: pets.labels)
    let image = try ImageFile.read(pets.paths[0], channels: .rgb)  // u8[height,width,3]
    print(pets.classNames, halves[0].count, image.shape)
    #expect(pets.classNames == ["cat", "dog"] && image.integers[0] == 10)
    let batch = try pets.batched(4, shuffle: nil).makeIterator(epoch: 0).next()!
    #expect(batch.images!.shape == [4, 64, 64, 3] && batch.labels!.integers == [0, 0, 1, 1])
  }

  @Test func transforms() throws {
    let pixels = NDArray((0..<2 * 16).map { UInt8($0 * 8) }, shape: [2, 4, 4])
    let images = try LabeledImages(
      pixels: pixels, labels: NDArray([3, 9] as [Int32], shape: [2]), classCount: 10)
    let data = try ArrayDataset(["x": NDArray([1, 2, 3, 4], shape: [2, 2])])
    let train = try images.transformed([
      .randomCrop(4, 4, padding: 1, mode: .reflect), .randomHorizontalFlip(),
      .colorJitter(brightness: 0.2, contrast: 0.2), .randomErasing(),
    ])
    let augmented = try train.batched(64)
    let mixed = try train.batched(64).mixing([.mixup(alpha: 0.2), .cutmix(alpha: 1)], classes: 10)
    let invert = ImageTransform("invert") { image, _ in
      for place in image.values.indices { image.values[place] = 1 - image.values[place] }
    }
    let inverted = try images.transformed([invert])
    let noisy = try data.map("noise of 0.1") { example, random in
      var example = example
      let x = example["x"]!
      let values = x.floats.map { $0 + Float(random.uniform(in: -0.1...0.1)) }
      example["x"] = try NDArray(checking: values, shape: x.shape)
      return example
    }
    func first(_ source: any BatchSource) throws -> Batch {
      try source.makeIterator(epoch: 0).next()!
    }
    #expect(try first(augmented).arrays == first(augmented).arrays)
    #expect(try first(mixed).labels!.shape == [2, 10])
    let (plain, other) = (try first(images.batched(2)), try first(inverted.batched(2)))
    #expect(other.images!.floats == plain.images!.floats.map { 1 - $0 })
    #expect(try abs(first(noisy.batched(2)).x!.floats[3] - 4) <= 0.1)
  }

  @Test func sequencesOfUnequalLengths() throws {
    let ids = [[1, 2, 3], [4, 5], Array(1...20)]
    let tags = ids.map { $0.map { $0 % 4 } }
    let topics = NDArray([0, 1, 0] as [Int32], shape: [3])
    let sequences = try SequenceDataset(
      ["words": .tokens(ids), "tags": .labels(tags)], fixed: ["topic": topics])
    let buckets = try sequences.batched(32, lengths: [8, 16, 32], mask: true)
    let first = try buckets.makeIterator(epoch: 0).next()!
    print(first.words!.shape, first.lengths!.integers, first.mask!.type)
    #expect(first.words!.shape == [2, 8] && first.tags!.integers[4] == -100)
    #expect(try sequences.batched(tokens: 64, lengths: [8, 32]).sizes == [3, 2])
    let folder = try Book.folder()
    for (name, text) in [("neg", "bad"), ("pos", "good, very good and more")] {
      try FileManager.default.createDirectory(
        atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
      try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)/a.txt"))
    }
    let reviews = try TextFolder(folder)
    let set = try reviews.sequences { text in text.utf8.map { Int($0) } }.truncated(to: 16)
    #expect(set.lengths == [3, 16] && reviews.classNames == ["neg", "pos"])
  }

  @Test func arraysLargerThanMemory() throws {
    let folder = try Book.folder()
    try NPY.write(NDArray((0..<600).map { Float($0) }, shape: [300, 2]), to: "\(folder)/x.npy")
    try SafetensorsFile.write(
      ["y": NDArray((0..<300).map { Int32($0) }, shape: [300])], to: "\(folder)/y.safetensors")
    let stored = try StoredDataset([
      "x": StoredArray(npy: "\(folder)/x.npy"),
      "y": StoredArray(safetensors: "\(folder)/y.safetensors", "y"),
    ])
    let fromDisk = try stored.batched(256)
    let batch = try fromDisk.makeIterator(epoch: 0).next()!
    #expect(batch.x!.shape == [256, 2] && batch.y!.integers[7] == 7 && batch.x!.floats[15] == 15)
  }
}
