// Anchors take boxes by their overlap; a detector says of each anchor what it was told, and learns it.

import Apus
import TestSupport
import Testing

@Suite struct DetectorTests {
  private let levels: [Anchors.Level] = [
    .init(stride: 8, sizes: [12], aspectRatios: [1]), .init(stride: 16, sizes: [24, 32]),
  ]

  @Test func anchorsStandAroundTheMiddlesOfCells_inOrder() throws {
    let anchors = try Anchors(levels, height: 20, width: 32)
    // 3 x 4 cells of one, then 2 x 2 cells of six.
    #expect(anchors.count == 36 && anchors.boxes.shape == [36, 4])
    #expect(try anchors.boxes[0].floats == [-2, -2, 10, 10])
    #expect(try anchors.boxes[1].floats == [6, -2, 18, 10])
    #expect(try anchors.boxes[4].floats == [-2, 6, 10, 18])
    // The second level: of size 24 the flat one first, half as high as wide.
    let flat = try anchors.boxes[12].floats
    #expect(abs((flat[3] - flat[1]) / (flat[2] - flat[0]) - 0.5) < 1e-6)
    #expect(abs((flat[3] - flat[1]) * (flat[2] - flat[0]) - 576) < 1e-3)
    #expect(try anchors.boxes[16].floats == [-8, -8, 24, 24])
  }

  @Test func anchorsTakeTheBoxThatTheyOverlapMost() throws {
    let anchors = try Anchors(
      [.init(stride: 8, sizes: [8], aspectRatios: [1])], height: 16, width: 24)
    // The first box is the second anchor; the other one is nobody's, and nearest to the last.
    let boxes = NDArray([8, 0, 16, 8, 19, 11, 23, 16, 0, 0, 0, 0], shape: [3, 4])
    let labels = NDArray([2, 0, -1] as [Int32], shape: [3])
    let targets = try anchors.targets(boxes: boxes, labels: labels, classes: 3)
    #expect(targets.classes.integers == [0, 3, 0, 0, 0, 1])
    #expect(try targets.offsets[1].floats == [0, 0, 0, 0])
    let coded = try BoxCoder().encode(boxes[rows: 1..<2], anchors.boxes[rows: 5..<6])
    #expect(try targets.offsets[5].floats == coded[0].floats)
    #expect(try targets.offsets[0].floats == [0, 0, 0, 0])
    // Between the thresholds an anchor counts for nothing.
    let beside = NDArray([10, 0, 18, 8], shape: [1, 4])
    let one = NDArray([1] as [Int32], shape: [1])
    let unsure = try anchors.targets(
      boxes: beside, labels: one, classes: 3, positive: 0.7, negative: 0.1)
    #expect(unsure.classes.integers == [0, 2, -1, 0, 0, 0])
  }

  @Test func anImageWithoutBoxes_isBackground() throws {
    let anchors = try Anchors(levels, height: 32, width: 32)
    let none = try anchors.targets(
      boxes: NDArray(zeros: .f32(0, 4)), labels: NDArray(zeros: .i32(0)), classes: 3)
    #expect(none.classes.integers.allSatisfy { $0 == 0 } && none.classes.count == anchors.count)
    let padded = try anchors.targets(
      boxes: NDArray(zeros: .f32(2, 4)), labels: NDArray([-1, -1] as [Int32], shape: [2]),
      classes: 3)
    #expect(padded == none)
  }

  @Test func anchorsThatMakeNoSense_areRefused() throws {
    func error(_ levels: [Anchors.Level], _ height: Int = 32) -> ApusError.Kind? {
      #expect(throws: ApusError.self) { try Anchors(levels, height: height, width: 32) }?.kind
    }
    #expect(error([]) == .invalidArgument)
    #expect(error([.init(stride: 0, sizes: [8])]) == .invalidArgument)
    #expect(error([.init(stride: 8, sizes: [])]) == .invalidArgument)
    #expect(error([.init(stride: 8, sizes: [-8])]) == .invalidArgument)
    #expect(error([.init(stride: 8, sizes: [8], aspectRatios: [.nan])]) == .invalidArgument)
    #expect(error(levels, 0) == .invalidArgument)
    #expect(error([.init(stride: 1, sizes: [8])], .max) == .invalidArgument)

    let anchors = try Anchors(levels, height: 32, width: 32)
    let box = NDArray([0, 0, 8, 8], shape: [1, 4]), label = NDArray([4] as [Int32], shape: [1])
    func targets(
      _ box: NDArray, _ classes: Int, positive: Double = 0.5, negative: Double = 0.4
    ) -> ApusError.Kind? {
      #expect(throws: ApusError.self) {
        try anchors.targets(
          boxes: box, labels: label, classes: classes, positive: positive, negative: negative)
      }?.kind
    }
    #expect(targets(box, 4) == .outOfRange)
    #expect(targets(box, 5, negative: 0.6) == .invalidArgument)
    #expect(targets(box, 5, positive: 2) == .invalidArgument)
    #expect(targets(NDArray([0, 0, 8, 0], shape: [1, 4]), 5) == .invalidArgument)
    #expect(targets(NDArray([0, 0, 8, -8], shape: [1, 4]), 5) == .invalidArgument)
  }

  @Test func aDetectorSaysSomethingOfEveryAnchor() throws {
    let anchors = try Anchors(levels, height: 40, width: 24)
    let model = SingleShotDetector(classes: 3, anchors: anchors, channels: 2, width: 4, pyramid: 8)
    try model.initialize(seed: 1)
    let paths = model.parameters.map(\.path)
    for path in [
      "stem.weight", "bn.bias", "stages.2.conv1.weight", "laterals.1.bias", "heads.0.prior",
      "heads.1.boxes.weight",
    ] { #expect(paths.contains(path), "\(path)") }
    let predict = try Predictor(model) { model, x in
      let (logits, offsets) = model(x[0])
      return [logits, offsets]
    }
    for count in [0, 2] {
      let found = try predict.run([NDArray(zeros: .f32(count, 40, 24, 2))])
      #expect(found[0].shape == [count, anchors.count, 3])
      #expect(found[1].shape == [count, anchors.count, 4])
      #expect(try model.detections(found[0], found[1]).count == count)
    }
    // An untrained network is sure of nothing.
    let logits = try predict.run([NDArray(zeros: .f32(1, 40, 24, 2))])[0].floats
    #expect(logits.allSatisfy { abs($0 + 4.595) < 0.2 })
  }

  @Test func whatTheAnchorsAreTold_isFoundAgain() throws {
    let anchors = try Anchors(levels, height: 64, width: 64)
    let model = SingleShotDetector(classes: 3, anchors: anchors, channels: 1, width: 4)
    let boxes = NDArray([3, 5, 16, 20, 30, 20, 62, 50], shape: [2, 4])
    let truth = try anchors.targets(
      boxes: boxes, labels: NDArray([2, 0] as [Int32], shape: [2]), classes: 3)
    var logits: [Float] = []
    for label in truth.classes.integers { logits += (0..<3).map { $0 + 1 == label ? 4 : -9 } }
    let found = try model.detections(
      NDArray(logits, shape: [1, anchors.count, 3]),
      truth.offsets.reshaped([1, anchors.count, 4]))
    #expect(found.count == 1 && Set(found[0].labels.integers) == [0, 2])
    let overlaps = try Boxes.iou(boxes, found[0].boxes).floats
    #expect(found[0].count == 2 && overlaps.filter { $0 > 0.99 }.count == 2)
    let best = try model.detections(
      NDArray(logits, shape: [1, anchors.count, 3]),
      truth.offsets.reshaped([1, anchors.count, 4]), maximum: 1)
    #expect(best[0].count == 1)
  }

  @Test func detectionsOfOtherArrays_areRefused() throws {
    let anchors = try Anchors(levels, height: 16, width: 16)
    let model = SingleShotDetector(classes: 2, anchors: anchors, channels: 1, width: 4)
    let n = anchors.count
    let good = (NDArray(zeros: .f32(1, n, 2)), NDArray(zeros: .f32(1, n, 4)))
    func kind(_ logits: NDArray, _ offsets: NDArray, iou: Double = 0.5) -> ApusError.Kind? {
      #expect(throws: ApusError.self) {
        try model.detections(logits, offsets, iouThreshold: iou)
      }?.kind
    }
    #expect(kind(NDArray(zeros: .f32(1, n, 3)), good.1) == .shapeMismatch)
    #expect(kind(good.0, NDArray(zeros: .f32(2, n, 4))) == .shapeMismatch)
    #expect(kind(NDArray(zeros: .f32(n, 2)), good.1) == .shapeMismatch)
    #expect(kind(good.0, good.1, iou: 2) == .invalidArgument)
    let nan = NDArray(Array(repeating: Float.nan, count: 4 * n), shape: [1, n, 4])
    #expect(kind(good.0, nan) == .nonFinite)
    #expect(
      kind(NDArray(Array(repeating: Float.nan, count: 2 * n), shape: [1, n, 2]), good.1)
        == .nonFinite)
  }

  @Test func imagesOfAnotherSize_andStridesThatNoNetworkHas_areErrors() throws {
    let anchors = try Anchors(levels, height: 32, width: 32)
    let model = SingleShotDetector(classes: 2, anchors: anchors, channels: 1, width: 4)
    try model.initialize()
    for image in [TensorType.f32(1, 32, 40, 1), .f32(1, 32, 32), .f32(1, 32, 32, 3)] {
      let error = #expect(throws: ApusError.self) { try traced([image]) { [model($0[0]).logits] } }
      #expect(error?.kind == .shapeMismatch)
    }
    for strides in [[3], [8, 32], [16, 8], [1]] {
      let odd = SingleShotDetector(
        classes: 2,
        anchors: try Anchors(
          strides.map { .init(stride: $0, sizes: [8]) }, height: 32, width: 32), channels: 1)
      let error = #expect(throws: ApusError.self) { try odd.initialize() }
      #expect(error?.kind == .invalidArgument && error?.what.contains("strides") == true)
    }
  }

  @Test func aDetectorLearnsOneImage() throws {
    let anchors = try Anchors(levels, height: 32, width: 32)
    let model = SingleShotDetector(classes: 2, anchors: anchors, channels: 1, width: 8)
    let boxes = NDArray([2, 2, 14, 14, 8, 6, 31, 30], shape: [2, 4])
    let labels = NDArray([1, 0] as [Int32], shape: [2])
    let targets = try anchors.targets(boxes: boxes, labels: labels, classes: 2)
    var random = SplitMix("detector")
    let image = NDArray(
      (0..<1024).map { _ in Float(random.uniform(0...1)) }, shape: [1, 32, 32, 1])
    let batch = Batch([
      "images": image, "classes": try targets.classes.reshaped([1, anchors.count]),
      "offsets": try targets.offsets.reshaped([1, anchors.count, 4]),
    ])
    let trainer = try Trainer(model, optimizer: Adam(learningRate: 5e-3)) { model, batch in
      let (classes, boxes) = detectionLoss(
        model(batch.images), classes: batch.classes, offsets: batch.offsets)
      return classes + boxes
    }
    for _ in 0..<80 { try trainer.train(on: batch) }
    // The statistics of one image are not those of evaluation yet: it is asked in training mode.
    let predict = try Predictor(model, mode: .training) { model, x in
      let (logits, offsets) = model(x[0])
      return [logits, offsets]
    }
    let arrays = try predict.run([image])
    let found = try model.detections(arrays[0], arrays[1], scoreThreshold: 0.5)[0]
    var precision = try MeanAveragePrecision(classes: 2)
    try precision.add(found, truth: GroundTruth(boxes: boxes, labels: labels, classes: 2))
    #expect(precision.mean(.voc, iouThreshold: 0.5) == 1, "\(found)")
  }

  @Test func targetsOfOtherShapes_areErrorsAtTheUsersLine() throws {
    let good: [TensorType] = [.f32(1, 5, 3), .f32(1, 5, 4), .i32(1, 5), .f32(1, 5, 4)]
    for (place, type) in [
      (2, TensorType.i32(1, 6)), (2, .f32(1, 5)), (3, .f32(1, 5, 3)), (1, .f32(1, 6, 4)),
    ] {
      var types = good
      types[place] = type
      let error = #expect(throws: ApusError.self) {
        try traced(types) {
          [detectionLoss(($0[0], $0[1]), classes: $0[2], offsets: $0[3]).boxes]
        }
      }
      #expect(error?.location?.hasPrefix("ApusNNTests/DetectorTests.swift") == true)
    }
    let function = try compile(good) {
      [
        detectionLoss(($0[0], $0[1]), classes: $0[2], offsets: $0[3]).classes
      ]
    }
    let error = #expect(throws: ApusError.self) {
      let _: [NDArray] = try function(
        NDArray(zeros: good[0]), NDArray(zeros: good[1]),
        NDArray([0, 1, 4, 0, 0] as [Int32], shape: [1, 5]), NDArray(zeros: good[3]))
    }
    #expect(error?.kind == .outOfRange)
  }
}
