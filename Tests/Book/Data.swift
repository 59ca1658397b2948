// The examples of Docs/Data.md.

import Apus
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
}
