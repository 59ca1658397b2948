// How good a detector is: the area under precision over recall.

import ApusGraph

/// The average precision of each class over a set of images, and its mean, as PASCAL VOC and COCO count it.
///
///     var precision = try MeanAveragePrecision(classes: 10)
///     for image in … { try precision.add(found, truth: there) }
///     precision.mean(.coco)                        // over intersections of 0.5, 0.55, … 0.95
///     precision.mean(.voc, iouThreshold: 0.5)
///
/// The detections of all images go in the order of their scores, of equal ones in the order in which they were added.
/// Each finds a box of its class in its image that it overlaps enough and that has not been found, or is wrong.
/// Precision and recall are taken after each.
public struct MeanAveragePrecision: Sendable {
  /// Whose rules are followed.
  public enum Rule: String, Sendable, Hashable, CaseIterable {
    /// PASCAL VOC (Everingham et al. 2010, since then with all points): a detection belongs to the box that it overlaps
    /// most, by more than the threshold, and is wrong where that has been found. The area is exact.
    case voc
    /// COCO (Lin et al. 2014; pycocotools, torchmetrics): a detection belongs to the box that it overlaps most among
    /// those not found yet, by the threshold or more. The best hundred of each image and class count. The precision is
    /// read at recalls of 0, 0.01, … 1.
    case coco
  }

  /// COCO's thresholds: 0.5, 0.55, … 0.95.
  public static let cocoThresholds: [Double] = (0..<10).map {
    0.5 + Double($0) * ((0.95 - 0.5) / 9)
  }

  public let classes: Int
  /// Images added.
  public private(set) var imageCount = 0
  /// By class: images that have it, or in which it was found.
  private var images: [[Image]]

  /// One image and one class.
  private struct Image {
    /// By falling score.
    var scores: [Double]
    /// `overlaps[detection][truth]`.
    var overlaps: [[Double]]
    var truthCount: Int
  }

  /// - `classes`: how many there are.
  /// - Throws: `invalidArgument` for none, or more than 2^20.
  public init(classes: Int) throws {
    guard (1...1 << 20).contains(classes) else {
      throw ApusError(
        .invalidArgument, "a mean average precision of \(classes) classes",
        expected: "1 to \(1 << 20)")
    }
    self.classes = classes
    images = Array(repeating: [], count: classes)
  }

  /// Counts an image in.
  ///
  /// - Throws: `outOfRange` naming a detection or a box of a class that is none. Nothing is counted then.
  public mutating func add(_ detections: Detections, truth: GroundTruth) throws {
    for (what, numbers) in [("detection", detections.classNumbers), ("box", truth.classNumbers)] {
      guard let place = numbers.firstIndex(where: { !(0..<classes).contains($0) }) else { continue }
      throw ApusError(
        .outOfRange, "\(what) \(place) has the label \(numbers[place])",
        expected: "labels in 0..<\(classes)")
    }
    imageCount += 1
    for label in Set(detections.classNumbers + truth.classNumbers) {
      let found = detections.classNumbers.indices.filter { detections.classNumbers[$0] == label }
      let there = truth.classNumbers.indices.filter { truth.classNumbers[$0] == label }
      let order = fallingOrder(found.map { detections.scoreNumbers[$0] }).map { found[$0] }
      images[label].append(
        Image(
          scores: order.map { detections.scoreNumbers[$0] },
          overlaps: order.map { place in
            there.map { detections.corners[place].iou(truth.corners[$0]) }
          }, truthCount: there.count))
    }
  }

  /// The average precision of one class; nil where no image has it.
  ///
  /// - `label`: the class's number; nil comes of one that is none, too.
  /// - `iouThreshold`: from which overlap on a detection finds a box.
  public func averagePrecision(
    of label: Int, _ rule: Rule = .coco, iouThreshold: Double = 0.5
  ) -> Double? {
    guard (0..<classes).contains(label) else { return nil }
    let truths = images[label].reduce(0) { $0 + $1.truthCount }
    guard truths > 0 else { return nil }
    let all = images[label].flatMap {
      rule.verdicts($0.scores, $0.overlaps, $0.truthCount, iouThreshold)
    }
    let order = fallingOrder(all.map(\.score))
    var right = 0
    var curve: [(recall: Double, precision: Double)] = []
    for (rank, place) in order.enumerated() {
      if all[place].isRight { right += 1 }
      curve.append((Double(right) / Double(truths), Double(right) / Double(rank + 1)))
    }
    return rule.area(curve)
  }

  /// The mean over the classes that occur, at one threshold; nil where none does.
  public func mean(_ rule: Rule = .coco, iouThreshold: Double) -> Double? {
    let values = (0..<classes).compactMap {
      averagePrecision(of: $0, rule, iouThreshold: iouThreshold)
    }
    return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }

  /// The mean over the classes that occur and over ``cocoThresholds``; nil where no class does.
  public func mean(_ rule: Rule = .coco) -> Double? {
    let values = Self.cocoThresholds.compactMap { mean(rule, iouThreshold: $0) }
    return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }
}

extension MeanAveragePrecision.Rule {
  /// Whether each detection of one image finds a box; `overlaps` by falling score.
  fileprivate func verdicts(
    _ scores: [Double], _ overlaps: [[Double]], _ truthCount: Int, _ threshold: Double
  ) -> [(score: Double, isRight: Bool)] {
    var isFound = Array(repeating: false, count: truthCount)
    let most = self == .coco ? 100 : scores.count
    return zip(scores, overlaps).prefix(most).map { score, overlaps in
      var best = -1
      switch self {
      case .voc:
        for (truth, overlap) in overlaps.enumerated()
        where overlap > threshold && (best < 0 || overlap > overlaps[best]) {
          best = truth
        }
        if best >= 0 && isFound[best] { best = -1 }
      case .coco:
        // Of equal overlaps pycocotools takes the last.
        let least = min(threshold, 1 - 1e-10)
        for (truth, overlap) in overlaps.enumerated()
        where !isFound[truth] && overlap >= (best < 0 ? least : overlaps[best]) {
          best = truth
        }
      }
      if best >= 0 { isFound[best] = true }
      return (score, best >= 0)
    }
  }

  /// The area under the greatest precision at each recall or a larger one.
  fileprivate func area(_ curve: [(recall: Double, precision: Double)]) -> Double {
    var envelope = curve.map(\.precision)
    for place in envelope.indices.dropLast().reversed() {
      envelope[place] = max(envelope[place], envelope[place + 1])
    }
    switch self {
    case .voc:
      var area = 0.0, recall = 0.0
      for (place, point) in curve.enumerated() where point.recall > recall {
        area += (point.recall - recall) * envelope[place]
        recall = point.recall
      }
      return area
    case .coco:
      var sum = 0.0, place = 0
      for step in 0...100 {
        // NumPy's `linspace(0, 1, 101)`, to the last bit: a recall is often one of these.
        let recall = step == 100 ? 1 : Double(step) * 0.01
        while place < curve.count && curve[place].recall < recall { place += 1 }
        if place < curve.count { sum += envelope[place] }
      }
      return sum / 101
    }
  }
}
