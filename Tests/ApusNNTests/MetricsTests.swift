// Accuracies count the rows that count.

import Apus
import Testing

@Suite struct MetricsTests {
  static let logits = NDArray(
    [3, 1, 2, 0, /**/ 0, 1, 2, 3, /**/ 1, 1, 0, 0, /**/ 0, 2, 1, 3], shape: [4, 4])

  private func value(
    _ labels: NDArray, _ metric: @escaping (Tensor, Tensor) -> Tensor
  ) throws -> Double {
    let f = try compile(Self.logits.type, labels.type) { metric($0, $1) }
    let result: NDArray = try f(Self.logits, labels)
    return result.scalar
  }

  @Test func accuracy_isTheShareOfRightRows() throws {
    let labels = NDArray([0, 3, 1, 2] as [Int32], shape: [4])
    #expect(try value(labels) { accuracy($0, $1) } == 0.5)
  }

  @Test func ignoredRows_doNotCount() throws {
    let labels = NDArray([0, -1, 1, -1] as [Int32], shape: [4])
    #expect(try value(labels) { accuracy($0, $1, ignoring: -1) } == 0.5)
    #expect(try value(labels) { accuracy($0, $1) } == 0.25)
    let none = NDArray([-1, -1, -1, -1] as [Int32], shape: [4])
    #expect(try value(none) { accuracy($0, $1, ignoring: -1) } == 0)
    // A row that is ignored does not count where it is right, either.
    let right = NDArray([0, 3, 2, 2] as [UInt8], shape: [4])
    #expect(try abs(value(right) { accuracy($0, $1, ignoring: 3) } - 1.0 / 3) < 1e-6)
  }

  @Test func topK_takesTheLabelAmongTheBest() throws {
    let labels = NDArray([2, 2, 1, 0] as [Int64], shape: [4])
    #expect(try value(labels) { topKAccuracy($0, $1, k: 1) } == 0)
    #expect(try value(labels) { topKAccuracy($0, $1, k: 2) } == 0.75)
    #expect(try value(labels) { topKAccuracy($0, $1, k: 4) } == 1)
    #expect(try value(labels) { topKAccuracy($0, $1, k: 2, ignoring: 0) } == 1)
  }

  @Test func labelsOfAnotherShape_areRefused() {
    for types in [
      [TensorType.f32(4, 3), .i32(4, 1)], [.f32(4, 3), .i32(3)], [.f32(4, 3), .f32(4)],
    ] {
      for metric in [{ accuracy($0, $1) }, { topKAccuracy($0, $1, k: 2) }]
        as [(Tensor, Tensor) -> Tensor]
      {
        let error = #expect(throws: ApusError.self) { try traced(types) { [metric($0[0], $0[1])] } }
        #expect(error?.location?.hasPrefix("ApusNNTests/MetricsTests.swift") == true)
      }
    }
    #expect(throws: ApusError.self) {
      try traced([.f32(4, 3), .i32(4)]) { [topKAccuracy($0[0], $0[1], k: 4)] }
    }
  }

  @Test func overlaps_areThoseOfCounts() throws {
    var matrix = ConfusionMatrix(classes: 4)
    #expect(matrix.accuracy == nil && matrix.meanIntersectionOverUnion == nil)
    let labels = NDArray([0, 0, 0, 1, 1, 2] as [Int32], shape: [2, 3])
    let predictions = NDArray([0, 0, 1, 1, 0, 2] as [Int64], shape: [2, 3])
    try matrix.add(predictions: predictions, labels: labels)
    #expect(matrix.intersectionOverUnion == [2.0 / 4, 1.0 / 3, 1, nil])
    #expect(matrix.meanIntersectionOverUnion == (0.5 + 1.0 / 3 + 1) / 3)
    #expect(matrix.precision == [2.0 / 3, 0.5, 1, nil] && matrix.recall == [2.0 / 3, 0.5, 1, nil])
    #expect(matrix.accuracy == 4.0 / 6 && matrix.total == 6)
    // In parts it is the same.
    var parts = ConfusionMatrix(classes: 4)
    for row in 0..<2 { try parts.add(predictions: predictions[row], labels: labels[row]) }
    #expect(parts == matrix)
    try parts.add(predictions: predictions, labels: labels, ignoring: 0)
    #expect(parts.total == 9)
  }

  @Test func classesThatAreNone_areNotCounted() throws {
    var matrix = ConfusionMatrix(classes: 2)
    let good = NDArray([0, 1] as [Int32], shape: [2]), bad = NDArray([0, 2] as [Int32], shape: [2])
    for (predictions, labels, words) in [
      (good, bad, "element 1 has label 2"), (bad, good, "element 1 has prediction 2"),
    ] {
      let error = #expect(throws: ApusError.self) {
        try matrix.add(predictions: predictions, labels: labels)
      }
      #expect(error?.kind == .outOfRange && error?.what == words)
    }
    let shape = #expect(throws: ApusError.self) {
      try matrix.add(predictions: good, labels: good.reshaped([2, 1]))
    }
    #expect(shape?.kind == .shapeMismatch)
    let type = #expect(throws: ApusError.self) {
      try matrix.add(predictions: NDArray([0, 1], shape: [2]), labels: good)
    }
    #expect(type?.kind == .dtypeMismatch && matrix.total == 0)
    try matrix.add(predictions: good, labels: bad, ignoring: 2)
    #expect(matrix.total == 1)
  }

  @Test func ratiosOfImages_areMeansOverImages() throws {
    let clean = NDArray(zeros: .f32(2, 4, 4, 1))
    let noisy = NDArray(
      Array(repeating: 0.1, count: 16) + Array(repeating: 0.01, count: 16), shape: [2, 4, 4, 1])
    let f = try compile(clean.type, clean.type) { psnr($0, $1) }
    let ratio: NDArray = try f(noisy, clean)
    #expect(abs(ratio.scalar - 30) < 1e-4)
    let same: NDArray = try f(clean, clean)
    #expect(same.scalar == .infinity)
    let bytes = try compile(.u8(1, 2, 2, 1), .u8(1, 2, 2, 1)) { psnr($0, $1, range: 255) }
    let of: NDArray = try bytes(
      NDArray([255, 0, 0, 0] as [UInt8], shape: [1, 2, 2, 1]), NDArray(zeros: .u8(1, 2, 2, 1)))
    #expect(abs(of.scalar - 6.0206) < 1e-4)
    for (x, y, range) in [
      (TensorType.f32(2, 12, 12, 1), TensorType.f32(2, 12, 12), 1.0),
      (.f32(2, 12, 12, 1), .f32(2, 12, 12, 1), 0), (.f32(2, 12, 10, 1), .f32(2, 12, 10, 1), 1),
    ] {
      let error = #expect(throws: ApusError.self) {
        try traced([x, y]) { [ssim($0[0], $0[1], range: range)] }
      }
      #expect(error?.location?.hasPrefix("ApusNNTests/MetricsTests.swift") == true)
    }
    let equal = try compile(.f32(1, 11, 11, 3), .f32(1, 11, 11, 3)) { ssim($0, $1) }
    let one: NDArray = try equal(
      NDArray(zeros: .f32(1, 11, 11, 3)), NDArray(zeros: .f32(1, 11, 11, 3)))
    #expect(abs(one.scalar - 1) < 1e-6)
  }

  @Test func settingsOfLossesThatMakeNoSense_areRefused() {
    let types: [TensorType] = [.f32(2, 3), .f32(2, 3), .i32(2)]
    let wrong: [([Tensor]) -> Tensor] = [
      { focalLoss($0[0], $0[1], alpha: 2) }, { focalLoss($0[0], $0[1], gamma: -1) },
      { focalLoss($0[0], $0[2]) }, { smoothL1($0[0], $0[1], beta: -1) },
      { smoothL1($0[0], $0[1], beta: .nan) }, { diceLoss($0[0], $0[1]) },
      { diceLoss($0[0], $0[2], smoothing: 0) },
    ]
    for loss in wrong {
      let error = #expect(throws: ApusError.self) { try traced(types) { [loss($0)] } }
      #expect(error?.location?.hasPrefix("ApusNNTests/MetricsTests.swift") == true)
    }
  }
}
