// What is in an image: what a detector finds, and what is there.

import ApusGraph

/// What a detector finds in one image.
public struct Detections: Sendable, Hashable {
  /// `f32[n, 4]`, corners in pixels.
  public let boxes: NDArray
  /// `f32[n]`.
  public let scores: NDArray
  /// `i32[n]`: class numbers from 0 on.
  public let labels: NDArray
  let corners: [Box]
  let scoreNumbers: [Double]
  let classNumbers: [Int]

  /// - Throws: as ``Boxes``; `shapeMismatch` for another number of scores or labels, `nonFinite` naming a score that is
  ///   no number, `dtypeMismatch` where labels are no integers.
  public init(boxes: NDArray, scores: NDArray, labels: NDArray) throws {
    corners = try Boxes.read(boxes, "Detections")
    scoreNumbers = try readScores(scores, corners.count, "Detections")
    classNumbers = try readLabels(labels, corners.count, "Detections")
    self.boxes = boxes
    self.scores = scores
    self.labels = labels
  }

  /// The number of boxes.
  public var count: Int { corners.count }
}

/// What is there in one image.
///
///     let truth = try GroundTruth(boxes: batch.boxes![0], labels: batch.labels![0], classes: 10)
public struct GroundTruth: Sendable, Hashable {
  let corners: [Box]
  let classNumbers: [Int]

  /// - `boxes`: `[m, 4]`, corners in pixels.
  /// - `labels`: integers `[m]` in `0..<classes`; rows with label -1 are no boxes, which fill up the arrays of images
  ///   that have fewer.
  /// - Throws: as ``Boxes``; `shapeMismatch` for another number of labels, `dtypeMismatch` where they are no integers,
  ///   `outOfRange` naming one that is no class.
  public init(boxes: NDArray, labels: NDArray, classes: Int) throws {
    let all = try Boxes.read(boxes, "GroundTruth")
    let numbers = try readLabels(labels, all.count, "GroundTruth")
    if let place = numbers.firstIndex(where: { $0 != -1 && ($0 < 0 || $0 >= classes) }) {
      throw ApusError(
        .outOfRange, "the label \(numbers[place]) of box \(place) is not a class",
        expected: "labels in 0..<\(classes), or -1 for no box")
    }
    let rows = numbers.indices.filter { numbers[$0] != -1 }
    corners = rows.map { all[$0] }
    classNumbers = rows.map { numbers[$0] }
  }

  /// The number of boxes.
  public var count: Int { corners.count }
}
