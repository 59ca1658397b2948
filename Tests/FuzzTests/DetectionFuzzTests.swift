// Boxes, anchors, scenes and time series of any numbers: results that hold, or errors, never a trap.

import Apus
import TestSupport
import Testing

/// Arrays that may be right, and often are not.
private struct Numbers {
  var random: SplitMix

  var flag: Bool { mutating get { Bool.random(using: &random) } }

  /// Half the time a number that may well be right.
  var n: Int {
    mutating get {
      flag
        ? Int.random(in: -1...9, using: &random)
        : [0, -1, 64, 4096, .max, .min, 1 << 31, 1 << 47].randomElement(using: &random)!
    }
  }

  var d: Double {
    mutating get {
      let extremes = [0, -1, 1e38, -1e300, .infinity, .nan, 1e-45, 0.5]
      return flag ? random.uniform(-1...20) : extremes.randomElement(using: &random)!
    }
  }

  /// Of five rounds one with a shape or an element that is wrong.
  mutating func boxes() -> NDArray {
    let count = Int.random(in: 0...6, using: &random)
    var values: [Double] = []
    for _ in 0..<count {
      let (x, y) = (random.uniform(-5...30), random.uniform(-5...30))
      values += [x, y, x + random.uniform(0...20), y + random.uniform(0...20)]
    }
    let isWrong = Int.random(in: 0..<5, using: &random) == 0
    if isWrong, let place = values.indices.randomElement(using: &random) { values[place] = d }
    let isFlat = isWrong && flag
    return NDArray(doubles: values, type: isFlat ? .f64(4 * count) : .f64(count, 4))
  }

  mutating func vector(_ count: Int) -> NDArray {
    NDArray(doubles: (0..<count).map { _ in flag ? 0.5 : d }, type: .f64(count))
  }

  mutating func labels(_ count: Int) -> NDArray {
    NDArray((0..<count).map { _ in Int32.random(in: -1...4, using: &random) }, shape: [count])
  }
}

@Suite struct DetectionFuzzTests {
  private func attempt<R>(_ body: () throws -> R) throws -> R? {
    do {
      return try body()
    } catch let error as ApusError {
      guard !error.what.isEmpty else { throw Fuzz.Wrong("an error without words") }
      return nil
    }
  }

  @Test func boxesOfAnyNumbers() throws {
    try Fuzz.run("boxes", rounds: 200) { random in
      var a = Numbers(random: random)
      let (x, y) = (a.boxes(), a.boxes())
      let (rows, threshold) = (x.shape[0], a.d)
      if let overlaps = try attempt({ try Boxes.iou(x, y) }) {
        guard overlaps.floats.allSatisfy({ (0...1).contains($0) }) else {
          throw Fuzz.Wrong("an overlap outside 0 to 1")
        }
      }
      _ = try attempt { try Boxes.generalizedIoU(x, y) }
      let (height, width) = (a.n, a.n)
      _ = try attempt { try Boxes.clipped(x, height: height, width: width) }
      for from in Boxes.Notation.allCases {
        for to in Boxes.Notation.allCases {
          _ = try attempt { try Boxes.converted(x, from: from, to: to) }
        }
      }
      let coder = BoxCoder(centerVariance: a.flag ? 0.1 : a.d, sizeVariance: a.flag ? 0.2 : a.d)
      _ = try attempt { try coder.encode(x, y) }
      _ = try attempt { try coder.decode(y, x) }
      let scores = a.vector(a.flag ? rows : 3), labels = a.labels(rows)
      if let kept = try attempt({ try nonMaximumSuppression(x, scores, iouThreshold: threshold) }) {
        guard Set(kept).count == kept.count, kept.allSatisfy({ (0..<rows).contains($0) }) else {
          throw Fuzz.Wrong("a box is kept twice")
        }
      }
      _ = try attempt {
        try batchedNonMaximumSuppression(x, scores, labels, iouThreshold: threshold)
      }
      let classes = a.flag ? 5 : a.n, there = a.labels(y.shape[0])
      let value = try attempt { () -> Double? in
        var precision = try MeanAveragePrecision(classes: classes)
        try precision.add(
          Detections(boxes: x, scores: scores, labels: labels),
          truth: GroundTruth(boxes: y, labels: there, classes: classes))
        _ = precision.averagePrecision(of: height, .voc, iouThreshold: threshold)
        return precision.mean(.coco, iouThreshold: 0.5)
      }
      guard (0...1).contains(value.flatMap { $0 } ?? 0) else { throw Fuzz.Wrong("a precision") }
      var matrix = ConfusionMatrix(classes: a.flag ? 5 : min(a.n, 9))
      _ = try attempt { try matrix.add(predictions: labels, labels: there, ignoring: height) }
      _ = (matrix.meanIntersectionOverUnion, matrix.precision, matrix.recall)
    }
  }

  @Test func anchorsOfAnyNumbers() throws {
    try Fuzz.run("anchors", rounds: 200) { random in
      var a = Numbers(random: random)
      let levels = (0..<Int.random(in: 0...2, using: &a.random)).map { level in
        Anchors.Level(
          stride: a.flag ? 8 << level : a.n, sizes: a.flag ? [8, 12] : [a.d],
          aspectRatios: a.flag ? [1] : [a.d])
      }
      let (height, width) = (a.flag ? 20 : a.n, a.flag ? 33 : a.n)
      guard let anchors = try attempt({ try Anchors(levels, height: height, width: width) }),
        anchors.count < 2000
      else { return }
      let boxes = a.boxes(), labels = a.labels(boxes.shape[0])
      let (classes, positive, negative) = (a.n, a.flag ? 0.5 : a.d, a.flag ? 0.4 : a.d)
      let targets = try attempt {
        try anchors.targets(
          boxes: boxes, labels: labels, classes: classes, positive: positive, negative: negative)
      }
      guard targets?.classes.integers.allSatisfy({ $0 >= -1 && $0 <= max(classes, 0) }) ?? true
      else {
        throw Fuzz.Wrong("a class that is none")
      }
      let model = SingleShotDetector(classes: 2, anchors: anchors, channels: 1, width: 2)
      let offsets = NDArray(
        doubles: (0..<4 * anchors.count).map { _ in a.flag ? 0 : a.d },
        type: .f64(1, anchors.count, 4))
      _ = try attempt {
        try model.detections(
          NDArray(zeros: .f32(1, anchors.count, 2)), offsets, scoreThreshold: positive,
          iouThreshold: negative, maximum: classes)
      }
    }
  }

  @Test func scenesOfAnyNumbers() throws {
    let items = try LabeledImages(
      pixels: NDArray((0..<3 * 5 * 4).map { UInt8(4 * $0) }, shape: [3, 5, 4]),
      labels: NDArray([0, 1, 1] as [UInt8], shape: [3]), classCount: 2)
    try Fuzz.run("scenes", rounds: 150) { random in
      var a = Numbers(random: random)
      func range<T: Comparable>(_ x: T, _ y: T) -> ClosedRange<T> { min(x, y)...max(x, y) }
      let number = { (x: Double) in x.isNaN ? 1 : x }
      let (count, height, width) = (a.n, a.flag ? 17 : a.n, a.flag ? 23 : a.n)
      let objects = a.flag ? 0...3 : range(a.n, a.n)
      let scales = a.flag ? 0.5...2 : range(number(a.d), number(a.d))
      let (overlap, noise, seed) = (a.flag ? 0.3 : a.d, a.flag ? 9 : a.n, a.random.next())
      let scenes = try attempt {
        try ComposedScenes(
          items, count: count, height: height, width: width, objects: objects, scales: scales,
          maximumOverlap: overlap, noise: noise, contents: [.masks, .boxes], seed: seed)
      }
      guard let scenes, scenes.height * scenes.width < 1 << 14, scenes.count < 1 << 16 else {
        return
      }
      let batch = try attempt {
        try scenes.batched(2, prefetch: 0).makeIterator(epoch: 0).next()
      }
      guard let batch = batch.flatMap({ $0 }) else { return }
      guard batch.masks!.integers.allSatisfy({ (0...2).contains($0) }),
        batch.images!.floats.allSatisfy({ (0...1).contains($0) })
      else { throw Fuzz.Wrong("a pixel that is none") }
    }
  }
}
