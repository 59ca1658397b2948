// Which classes are taken for which, counted on the host: accuracy and overlap of segmentations.

import ApusGraph

/// How often each class was predicted where each class is: of pixels, or of anything that has a class.
///
///     var matrix = ConfusionMatrix(classes: 11)
///     for batch in … { try matrix.add(predictions: classify(batch.images!), labels: batch.masks!) }
///     print(matrix.meanIntersectionOverUnion ?? 0)
///
/// What is computed of it are sums over counts, so it does not depend on the size of batches.
public struct ConfusionMatrix: Sendable, Hashable {
  public let classes: Int
  /// Row by row: `counts[label * classes + prediction]`.
  public private(set) var counts: [Int]

  /// - `classes`: from 1 to 4096; another number is taken as the nearer of these.
  public init(classes: Int) {
    self.classes = min(max(classes, 1), 4096)
    counts = Array(repeating: 0, count: self.classes * self.classes)
  }

  /// Counts pixels in.
  ///
  /// - `predictions`, `labels`: class numbers, integers of one shape.
  /// - `ignoring`: pixels with this label do not count.
  /// - Throws: `shapeMismatch` where the shapes differ, `dtypeMismatch` where one holds no integers, `outOfRange`
  ///   naming the first class that is none. Nothing is counted then.
  public mutating func add(predictions: NDArray, labels: NDArray, ignoring: Int? = nil) throws {
    guard predictions.shape == labels.shape else {
      throw ApusError(
        .shapeMismatch, "predictions \(predictions.type) for labels \(labels.type)",
        expected: "one prediction for each label")
    }
    guard !predictions.dtype.isFloat, !labels.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "predictions \(predictions.type) for labels \(labels.type)",
        expected: "integers: class numbers, such as those of argmax")
    }
    var counts = counts
    for (place, (prediction, label)) in zip(predictions.integers, labels.integers).enumerated()
    where label != ignoring {
      guard (0..<classes).contains(prediction), (0..<classes).contains(label) else {
        let isLabel = !(0..<classes).contains(label)
        throw ApusError(
          .outOfRange,
          "element \(place) has \(isLabel ? "label \(label)" : "prediction \(prediction)")",
          expected: "classes in 0..<\(classes)")
      }
      counts[label * classes + prediction] += 1
    }
    self.counts = counts
  }

  /// Counts rows of scores in: the prediction is the class of the greatest score, the first of equal ones.
  ///
  /// - `scores`: floats, the classes along the last axis.
  /// - `labels`: class numbers, of the scores' shape without its last axis.
  /// - Throws: as ``add(predictions:labels:ignoring:)``, and `nonFinite` for a score that is NaN.
  public mutating func add(scores: NDArray, labels: NDArray, ignoring: Int? = nil) throws {
    let rows = try ScoredRows(scores, labels, "ConfusionMatrix", classes: classes)
    let best = NDArray(rows.best.map { Int32($0) }, shape: labels.shape)
    try add(predictions: best, labels: labels, ignoring: ignoring)
  }

  /// Counts in what another matrix of as many classes has.
  ///
  /// - Throws: `invalidArgument` for other classes.
  public mutating func add(_ other: ConfusionMatrix) throws {
    guard other.classes == classes else {
      throw ApusError(
        .invalidArgument, "a confusion matrix of \(other.classes) classes",
        expected: "\(classes) classes")
    }
    for index in counts.indices { counts[index] += other.counts[index] }
  }

  /// What was counted.
  public var total: Int { counts.reduce(0, +) }

  /// The share whose prediction is its label; nil where nothing was counted.
  public var accuracy: Double? {
    let right = (0..<classes).reduce(0) { $0 + counts[$1 * classes + $1] }
    return total == 0 ? nil : Double(right) / Double(total)
  }

  /// Of each class, the pixels that have it and are predicted so, over those that have it or are predicted so:
  /// also called Jaccard's index. Nil for a class that occurs in neither.
  public var intersectionOverUnion: [Double?] {
    (0..<classes).map { label in
      let own = counts[label * classes + label]
      let union = row(label) + column(label) - own
      return union == 0 ? nil : Double(own) / Double(union)
    }
  }

  /// The mean over the classes that occur; nil where none does.
  public var meanIntersectionOverUnion: Double? {
    let values = intersectionOverUnion.compactMap { $0 }
    return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }

  /// Of each class, the share of its predictions that are right; nil where it is never predicted.
  public var precision: [Double?] { shares { column($0) } }

  /// Of each class, the share that is found; nil where it does not occur.
  public var recall: [Double?] { shares { row($0) } }

  /// Of each class, the harmonic mean of precision and recall; nil where it neither occurs nor is predicted.
  public var f1: [Double?] {
    (0..<classes).map { label in
      let all = row(label) + column(label)
      return all == 0 ? nil : 2 * Double(counts[label * classes + label]) / Double(all)
    }
  }

  /// How figures of classes become one.
  public enum Average: Sendable, Hashable {
    /// Of all classes together. Where each row has one label that is the accuracy.
    case micro
    /// The mean over the classes that occur or are predicted; a figure that has no meaning counts as 0, as in
    /// scikit-learn.
    case macro
    /// The mean over the classes, each weighed by its occurrences.
    case weighted
  }

  /// The precision of all classes; nil where nothing was counted.
  public func precision(_ average: Average) -> Double? { averaged(precision, average) }
  /// The recall of all classes; nil where nothing was counted.
  public func recall(_ average: Average) -> Double? { averaged(recall, average) }
  /// The F1 score of all classes; nil where nothing was counted.
  public func f1(_ average: Average) -> Double? { averaged(f1, average) }

  private func averaged(_ figures: [Double?], _ average: Average) -> Double? {
    guard total > 0 else { return nil }
    let seen = (0..<classes).filter { row($0) + column($0) > 0 }
    switch average {
    case .micro: return accuracy
    case .macro: return seen.reduce(0) { $0 + (figures[$1] ?? 0) } / Double(seen.count)
    case .weighted:
      return seen.reduce(0) { $0 + (figures[$1] ?? 0) * Double(row($1)) } / Double(total)
    }
  }

  private func shares(_ whole: (Int) -> Int) -> [Double?] {
    (0..<classes).map { label in
      let all = whole(label)
      return all == 0 ? nil : Double(counts[label * classes + label]) / Double(all)
    }
  }

  private func row(_ label: Int) -> Int {
    counts[label * classes..<(label + 1) * classes].reduce(0, +)
  }

  private func column(_ prediction: Int) -> Int {
    (0..<classes).reduce(0) { $0 + counts[$1 * classes + prediction] }
  }
}
