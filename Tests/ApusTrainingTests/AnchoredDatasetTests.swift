// Boxes of a data set become the targets of anchors as batches are made.

import Apus
import TestSupport
import Testing

@Suite struct AnchoredDatasetTests {
  /// Two images: one with two boxes, one with none.
  private func images(label: Int32 = 1, edge: Float = 8) throws -> ArrayDataset {
    try ArrayDataset([
      "labels": NDArray([label, 0, -1, -1], shape: [2, 2]),
      "codes": NDArray([7, 9] as [Int32], shape: [2]),
      "boxes": NDArray([0, 0, edge, 8, 8, 8, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0], shape: [2, 2, 4]),
    ])
  }

  private func anchors() throws -> Anchors {
    try Anchors([.init(stride: 8, sizes: [8], aspectRatios: [1])], height: 16, width: 16)
  }

  @Test func batchesHaveTargets_inThePlaceOfBoxes() throws {
    let anchors = try anchors()
    let set = try AnchoredDataset(images(), anchors: anchors, classes: 2)
    #expect(set.fields.map(\.name) == ["classes", "codes", "offsets"] && set.count == 2)
    // The second image first: memory that held something else is written all over.
    let batches = try set.batched(1, shuffle: nil, prefetch: 0)
    let iterator = try batches.makeIterator(epoch: 0)
    let first = try #require(try iterator.next())
    #expect(first.classes!.integers == [2, 0, 0, 1] && first.codes!.integers == [7])
    let boxes = NDArray([0, 0, 8, 8, 8, 8, 16, 16], shape: [2, 4])
    let wanted = try anchors.targets(
      boxes: boxes, labels: NDArray([1, 0] as [Int32], shape: [2]), classes: 2)
    #expect(try first.offsets![0] == wanted.offsets && first.classes![0] == wanted.classes)
    let second = try #require(try iterator.next())
    #expect(second.classes!.integers == [0, 0, 0, 0])
    #expect(second.offsets!.floats.allSatisfy { $0 == 0 })
    let both = try #require(try set.batched(2, shuffle: nil).makeIterator(epoch: 0).next())
    #expect(try both.classes![0] == wanted.classes && both.classes![1].integers == [0, 0, 0, 0])
  }

  /// What a user writes, on squares of three brightnesses: Docs/ImageModels.md quotes it.
  @Test func aDetectorIsTrainedAndJudged_inAFewLines() throws {
    let items = try LabeledImages(
      pixels: NDArray((0..<3 * 256).map { UInt8(90 + 60 * ($0 / 256)) }, shape: [3, 16, 16]),
      labels: NDArray([0, 1, 2] as [UInt8], shape: [3]), classCount: 3)

    let anchors = try Anchors(
      [.init(stride: 8, sizes: [12]), .init(stride: 16, sizes: [20])], height: 32, width: 32)
    let scenes = try ComposedScenes(
      items, count: 160, height: 32, width: 32, objects: 1...2, contents: [.boxes], seed: 1)
    let training = try AnchoredDataset(scenes, anchors: anchors, classes: 3).batched(16)

    let model = SingleShotDetector(classes: 3, anchors: anchors, channels: 1, width: 16)
    let trainer = try Trainer(model, optimizer: Adam(learningRate: 3e-3)) { model, batch in
      let (classes, boxes) = detectionLoss(
        model(batch.images), classes: batch.classes, offsets: batch.offsets)
      return classes + boxes
    }
    try trainer.fit(training, epochs: 20, callbacks: [])

    let predict = try Predictor(model) { model, x in
      let (logits, offsets) = model(x[0])
      return [logits, offsets]
    }
    let test = try ComposedScenes(
      items, count: 60, height: 32, width: 32, objects: 0...2, contents: [.boxes], seed: 2)
    var precision = try MeanAveragePrecision(classes: 3)
    let batches = try test.batched(20).makeIterator(epoch: 0)
    while let batch = try batches.next() {
      let arrays = try predict.run([batch.images!])
      for (image, found) in try model.detections(arrays[0], arrays[1]).enumerated() {
        let truth = try GroundTruth(
          boxes: batch.boxes![image], labels: batch.labels![image], classes: 3)
        try precision.add(found, truth: truth)
      }
    }
    let mean = try #require(precision.mean(.coco, iouThreshold: 0.5))
    #expect(precision.imageCount == 60 && mean > 0.5, "\(mean)")
  }

  @Test func boxesThatAreNone_endTheEpochWithTheirExample() throws {
    for (set, kind) in [
      (try images(label: 2), ApusError.Kind.outOfRange), (try images(edge: -1), .invalidArgument),
      (try images(edge: .nan), .nonFinite), (try images(edge: 0), .invalidArgument),
    ] {
      let anchored = try AnchoredDataset(set, anchors: anchors(), classes: 2)
      let error = #expect(throws: ApusError.self) {
        let iterator = try anchored.batched(2).makeIterator(epoch: 0)
        while try iterator.next() != nil {}
      }
      #expect(error?.kind == kind && error?.location == "example 0")
    }
  }

  @Test func aSetWithoutBoxes_isRefused() throws {
    let bare = try ArrayDataset(["labels": NDArray(zeros: .i32(2, 2))])
    let missing = #expect(throws: ApusError.self) {
      try AnchoredDataset(bare, anchors: anchors(), classes: 2)
    }
    #expect(missing?.kind == .missing)
    for (boxes, labels, kind) in [
      (TensorType.f32(2, 3, 5), TensorType.i32(2, 3), ApusError.Kind.shapeMismatch),
      (.f32(2, 3, 4), .i32(2, 4), .shapeMismatch), (.f32(2, 3, 4), .f32(2, 3), .dtypeMismatch),
    ] {
      let set = try ArrayDataset(["boxes": NDArray(zeros: boxes), "labels": NDArray(zeros: labels)])
      let error = #expect(throws: ApusError.self) {
        try AnchoredDataset(set, anchors: anchors(), classes: 2)
      }
      #expect(error?.kind == kind)
    }
    let thresholds = #expect(throws: ApusError.self) {
      try AnchoredDataset(images(), anchors: anchors(), classes: 2, positive: 0.3, negative: 0.4)
    }
    #expect(thresholds?.kind == .invalidArgument)
  }
}
