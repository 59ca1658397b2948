// Boxes, their offsets, suppression and average precision do what torchvision and pycocotools do (data by
// Tests/reference/detection.py), and refuse what is no box.

import Apus
import Foundation
import TestSupport
import Testing

/// What Tests/reference/detection.py writes.
struct DetectionReference: Decodable {
  struct Image: Decodable {
    var truth: [[Double]]
    var labels: [Int]
    var found: [[Double]]
    var scores: [Double]
    var classes: [Int]

    var detections: Detections {
      get throws {
        try Detections(
          boxes: rows(found), scores: vector(scores),
          labels: NDArray(checking: classes, shape: [classes.count]))
      }
    }
    func truth(classes: Int) throws -> GroundTruth {
      try GroundTruth(
        boxes: rows(truth), labels: NDArray(checking: labels, shape: [labels.count]),
        classes: classes)
    }
  }
  var boxes, others, anchors, offsets, iou, generalizedIoU, many: [[Double]]
  var area, scores: [Double]
  var labels: [Int]
  var kept, keptByClass: [String: [Int]]
  var images: [Image]
  var classCount: Int
  var coco: [[Double?]]
  var voc: [String: [Double?]]

  static let file: DetectionReference = {
    let url = Bundle.module.url(
      forResource: "detection", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode(DetectionReference.self, from: Data(contentsOf: url))
  }()
}

/// Boxes in double.
private func rows(_ boxes: [[Double]]) -> NDArray {
  NDArray(doubles: Array(boxes.joined()), type: .f64(boxes.count, 4))
}

private func vector(_ values: [Double]) -> NDArray {
  NDArray(doubles: values, type: .f64(values.count))
}

private func expectClose(
  _ found: NDArray, _ expected: [[Double]], sourceLocation: SourceLocation = #_sourceLocation
) {
  let expected = Array(expected.joined())
  #expect(found.count == expected.count && found.dtype == .f32, sourceLocation: sourceLocation)
  for (a, b) in zip(found.doubles, expected) {
    #expect(
      abs(a - b) <= 2e-6 * max(1, abs(b)), "\(a), not \(b)", sourceLocation: sourceLocation)
  }
}

@Suite struct BoxTests {
  private let reference = DetectionReference.file

  @Test func areasAndOverlaps_areTorchvisions() throws {
    let boxes = rows(reference.boxes), others = rows(reference.others)
    expectClose(try Boxes.area(boxes), [reference.area])
    expectClose(try Boxes.iou(boxes, others), reference.iou)
    expectClose(try Boxes.generalizedIoU(boxes, others), reference.generalizedIoU)
    #expect(try Boxes.iou(boxes, others).shape == [6, 5])
  }

  @Test func offsets_areTorchvisions_andGoBack() throws {
    let boxes = rows(reference.boxes), anchors = rows(reference.anchors)
    let offsets = try BoxCoder().encode(boxes, anchors)
    expectClose(offsets, reference.offsets)
    let back = try BoxCoder().decode(offsets, anchors)
    for (a, b) in zip(back.doubles, boxes.doubles) { #expect(abs(a - b) < 1e-4) }
    // No box is more than 1000/16 times its anchor.
    let large = try BoxCoder().decode(
      NDArray([0, 0, 1000, 1000], shape: [1, 4]), NDArray([0, 0, 2, 2], shape: [1, 4]))
    #expect(large.floats == [-61.5, -61.5, 63.5, 63.5])
  }

  @Test func suppression_isTorchvisions() throws {
    let boxes = rows(reference.many), scores = vector(reference.scores)
    let labels = NDArray(reference.labels, shape: [reference.labels.count])
    for (threshold, kept) in reference.kept {
      let found = try nonMaximumSuppression(boxes, scores, iouThreshold: Double(threshold)!)
      #expect(found == kept, "\(threshold)")
    }
    for (threshold, kept) in reference.keptByClass {
      let found = try batchedNonMaximumSuppression(
        boxes, scores, labels, iouThreshold: Double(threshold)!)
      #expect(found == kept, "\(threshold)")
    }
    #expect(reference.kept.count == 4 && reference.keptByClass.count == 3)
  }

  @Test func averagePrecision_isPycocotoolsAndVOCs() throws {
    var precision = try MeanAveragePrecision(classes: reference.classCount)
    for image in reference.images {
      try precision.add(image.detections, truth: image.truth(classes: reference.classCount))
    }
    #expect(precision.imageCount == reference.images.count)
    func check(_ found: Double?, _ expected: Double?, _ what: String) {
      #expect((found == nil) == (expected == nil), "\(what)")
      #expect(abs((found ?? 0) - (expected ?? 0)) < 1e-12, "\(what): \(found ?? -1)")
    }
    #expect(MeanAveragePrecision.cocoThresholds.count == reference.coco.count)
    for (threshold, row) in zip(MeanAveragePrecision.cocoThresholds, reference.coco) {
      for (label, expected) in row.enumerated() {
        let found = precision.averagePrecision(of: label, .coco, iouThreshold: threshold)
        check(found, expected, "COCO, class \(label) at \(threshold)")
      }
      let known = row.compactMap { $0 }
      check(
        precision.mean(.coco, iouThreshold: threshold), known.reduce(0, +) / Double(known.count),
        "COCO at \(threshold)")
    }
    let all = reference.coco.joined().compactMap { $0 }
    check(precision.mean(.coco), all.reduce(0, +) / Double(all.count), "COCO")
    for (threshold, row) in reference.voc {
      for (label, expected) in row.enumerated() {
        let found = precision.averagePrecision(
          of: label, .voc, iouThreshold: Double(threshold)!)
        check(found, expected, "VOC, class \(label) at \(threshold)")
      }
    }
    #expect(precision.averagePrecision(of: 99) == nil && precision.averagePrecision(of: -1) == nil)
  }

  @Test func whatIsFoundExactly_hasPrecisionOne_andNothingHasNone() throws {
    let boxes = NDArray([0, 0, 10, 10, 20, 20, 30, 40], shape: [2, 4])
    let labels = NDArray([0, 2] as [Int32], shape: [2])
    let truth = try GroundTruth(boxes: boxes, labels: labels, classes: 3)
    let found = try Detections(
      boxes: boxes, scores: NDArray([0.9, 0.1], shape: [2]), labels: labels)
    let none = try Detections(
      boxes: NDArray(zeros: .f32(0, 4)), scores: NDArray(zeros: .f32(0)),
      labels: NDArray(zeros: .i32(0)))
    let empty = try GroundTruth(
      boxes: NDArray(zeros: .f32(0, 4)), labels: NDArray(zeros: .i32(0)), classes: 3)

    var precision = try MeanAveragePrecision(classes: 3)
    #expect(precision.mean() == nil && precision.mean(.voc, iouThreshold: 0.5) == nil)
    try precision.add(none, truth: empty)
    #expect(precision.mean() == nil && precision.imageCount == 1)
    try precision.add(found, truth: truth)
    #expect(precision.mean() == 1 && precision.mean(.voc) == 1)
    #expect(precision.averagePrecision(of: 1) == nil)
    // The same boxes, and nothing found: half of them.
    try precision.add(none, truth: truth)
    let half = try #require(precision.mean(.voc, iouThreshold: 0.5))
    #expect(half == 0.5)
    // Found where nothing is, with a score above the others.
    try precision.add(
      Detections(
        boxes: boxes, scores: NDArray([0.95, 0.95], shape: [2]),
        labels: NDArray([0, 1] as [Int32], shape: [2])), truth: empty)
    #expect(precision.averagePrecision(of: 0, .voc) == 0.25)
    #expect(precision.averagePrecision(of: 1) == nil)
    let wrong = try GroundTruth(
      boxes: boxes, labels: NDArray([0, 7] as [Int32], shape: [2]), classes: 8)
    let error = #expect(throws: ApusError.self) { try precision.add(found, truth: wrong) }
    #expect(error?.kind == .outOfRange && precision.imageCount == 4)
  }

  @Test func notations_goIntoEachOther() throws {
    let corners = rows(reference.boxes)
    for notation in Boxes.Notation.allCases {
      let other = try Boxes.converted(corners, from: .corners, to: notation)
      let back = try Boxes.converted(other, from: notation, to: .corners)
      for (a, b) in zip(back.doubles, corners.doubles) { #expect(abs(a - b) < 1e-4) }
    }
    let box = NDArray([2, 3, 12, 33], shape: [1, 4])
    #expect(
      try Boxes.converted(box, from: .corners, to: .cornerSize).floats == [2, 3, 10, 30])
    #expect(
      try Boxes.converted(box, from: .corners, to: .centerSize).floats == [7, 18, 10, 30])
    #expect(try Boxes.clipped(box, height: 20, width: 10).floats == [2, 3, 10, 20])
  }

  @Test func boxesWithoutAnArea_overlapNothing_andNoBoxesGiveNone() throws {
    let points = NDArray([5, 5, 5, 5, 5, 5, 9, 5], shape: [2, 4])
    #expect(try Boxes.iou(points, points).floats == [0, 0, 0, 0])
    #expect(try Boxes.generalizedIoU(points, points).floats.allSatisfy { $0 == 0 })
    #expect(
      try nonMaximumSuppression(points, NDArray([1, 2], shape: [2]), iouThreshold: 0) == [1, 0])
    let none = NDArray(zeros: .f32(0, 4))
    #expect(try Boxes.iou(none, points).shape == [0, 2] && Boxes.area(none).shape == [0])
    #expect(try BoxCoder().encode(none, none).shape == [0, 4])
    #expect(try nonMaximumSuppression(none, NDArray(zeros: .f32(0)), iouThreshold: 0.5) == [])
  }

  @Test func whatIsNoBox_isRefusedWithItsPlace() throws {
    let good = NDArray([0, 0, 1, 1, 0, 0, 2, 2], shape: [2, 4])
    let one = NDArray([1], shape: [1]), two = NDArray([1, 2], shape: [2])
    func kind(_ body: () throws -> Any) -> ApusError.Kind? {
      do {
        _ = try body()
        return nil
      } catch { return (error as? ApusError)?.kind }
    }
    let backwards = NDArray([0, 0, 1, 1, 5, 0, 2, 2], shape: [2, 4])
    let error = #expect(throws: ApusError.self) { try Boxes.iou(good, backwards) }
    #expect(error?.kind == .invalidArgument && error?.what.contains("box 1") == true)
    #expect(kind { try Boxes.area(NDArray([0, 0, .nan, 1], shape: [1, 4])) } == .nonFinite)
    #expect(kind { try Boxes.area(NDArray([0, 0, 1], shape: [1, 3])) } == .shapeMismatch)
    #expect(kind { try Boxes.area(NDArray([0, 0, 1, 1], shape: [4])) } == .shapeMismatch)
    #expect(kind { try Boxes.clipped(good, height: -1, width: 4) } == .invalidArgument)
    #expect(
      kind { try nonMaximumSuppression(good, one, iouThreshold: 0.5) } == .shapeMismatch)
    #expect(
      kind { try nonMaximumSuppression(good, two, iouThreshold: 1.5) } == .invalidArgument)
    #expect(
      kind { try nonMaximumSuppression(good, two, iouThreshold: .nan) } == .invalidArgument)
    let nan = NDArray([1, .nan], shape: [2])
    #expect(kind { try nonMaximumSuppression(good, nan, iouThreshold: 0.5) } == .nonFinite)
    #expect(
      kind { try batchedNonMaximumSuppression(good, two, two, iouThreshold: 0.5) }
        == .dtypeMismatch)
    let labels = NDArray([0, 3] as [Int32], shape: [2])
    #expect(kind { try Detections(boxes: good, scores: nan, labels: labels) } == .nonFinite)
    #expect(kind { try GroundTruth(boxes: good, labels: labels, classes: 3) } == .outOfRange)
    #expect(kind { try GroundTruth(boxes: good, labels: two, classes: 3) } == .dtypeMismatch)
    #expect(kind { try MeanAveragePrecision(classes: 0) } == .invalidArgument)
    let flat = NDArray([0, 0, 1, 0, 0, 0, 2, 2], shape: [2, 4])
    #expect(kind { try BoxCoder().encode(flat, good) } == .invalidArgument)
    #expect(kind { try BoxCoder(centerVariance: 0).encode(good, good) } == .invalidArgument)
    #expect(kind { try BoxCoder().encode(good, backwards) } == .invalidArgument)
    #expect(kind { try BoxCoder().decode(one, good) } == .shapeMismatch)
    let far = NDArray([1e38, 0, 0, 0, 0, 0, 0, .nan], shape: [2, 4])
    #expect(kind { try BoxCoder().decode(far, good) } == .nonFinite)
  }
}
