// Metrics over many batches are scikit-learn's (data by Tests/reference/metrics.py), whatever the size of a batch.

import Apus
import Foundation
import Testing

private let reference: [String: [Double]] = {
  let url = Bundle.module.url(
    forResource: "metrics", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: [Double]].self, from: Data(contentsOf: url))
}()

/// All metrics of the reference's data, added up in batches.
private struct Metrics {
  var matrix = ConfusionMatrix(classes: 5)
  var top1 = TopKAccuracy()
  var top2 = TopKAccuracy(k: 2)
  var perplexity = Perplexity()
  var ranking = BinaryRanking()
  var errors = RegressionErrors()

  init(batch size: Int) throws {
    let count = reference["labels"]!.count
    func part(_ name: String, _ range: Range<Int>, _ dtype: DType, width: Int? = nil) -> NDArray {
      let shape = width.map { [range.count, $0] } ?? [range.count]
      let values = reference[name]![
        range.lowerBound * (width ?? 1)..<range.upperBound * (width ?? 1)]
      return NDArray(doubles: Array(values), type: TensorType(dtype, Shape(shape)))
    }
    for start in stride(from: 0, to: count, by: size) {
      let range = start..<min(start + size, count)
      let (scores, labels) = (part("scores", range, .f64, width: 5), part("labels", range, .i32))
      try matrix.add(scores: scores, labels: labels)
      try top1.add(scores: scores, labels: labels)
      try top2.add(scores: scores, labels: labels)
      try perplexity.add(logits: scores, labels: labels)
      try ranking.add(
        scores: part("ranking", range, .f64), labels: part("positive", range, .bool))
      try errors.add(
        predictions: part("guesses", range, .f64), targets: part("targets", range, .f64))
    }
  }

  var figures: [String: [Double?]] {
    let curve = ranking.rocCurve.flatMap { [$0.falsePositiveRate, $0.truePositiveRate] }
    var result: [String: [Double?]] = [
      "confusion": matrix.counts.map(Double.init), "accuracy": [matrix.accuracy],
      "top 2": [top2.value], "perplexity": [perplexity.value], "roc auc": [ranking.rocAUC],
      "average precision": [ranking.averagePrecision], "mae": [errors.meanAbsolute],
      "mse": [errors.meanSquare], "rmse": [errors.rootMeanSquare], "r2": [errors.r2],
      "iou macro": [matrix.meanIntersectionOverUnion], "f1 of classes": matrix.f1, "curve": curve,
    ]
    for (name, average) in [
      ("micro", .micro), ("macro", .macro), ("weighted", .weighted),
    ] as [(String, ConfusionMatrix.Average)] {
      result["precision \(name)"] = [matrix.precision(average)]
      result["recall \(name)"] = [matrix.recall(average)]
      result["f1 \(name)"] = [matrix.f1(average)]
    }
    return result
  }
}

@Suite struct StreamingMetricsTests {
  @Test(arguments: [1, 7, 32, 97]) func figures_areScikitLearns(batch: Int) throws {
    let metrics = try Metrics(batch: batch)
    let figures = metrics.figures
    let data = ["labels", "scores", "positive", "ranking", "targets", "guesses"]
    #expect(Set(figures.keys) == Set(reference.keys).subtracting(data))
    for (name, values) in figures {
      let wanted = try #require(reference[name])
      #expect(values.count == wanted.count, "\(name)")
      for (got, wanted) in zip(values, wanted) {
        #expect(
          abs((got ?? .nan) - wanted) < 1e-11, "\(name): \(String(describing: got)), not \(wanted)")
      }
    }
    #expect(metrics.top1.value == metrics.matrix.accuracy)
    // The same bits, not only the same figures.
    let whole = try Metrics(batch: 97)
    #expect(figures == whole.figures)
    #expect(metrics.matrix == whole.matrix && metrics.errors == whole.errors)
  }

  @Test func whatWasNeverSeen_hasNoFigure() throws {
    let matrix = ConfusionMatrix(classes: 3)
    #expect(
      matrix.f1(.macro) == nil && matrix.precision(.micro) == nil && matrix.f1 == [nil, nil, nil])
    #expect(TopKAccuracy().value == nil && Perplexity().value == nil)
    let errors = RegressionErrors()
    #expect(errors.meanAbsolute == nil && errors.rootMeanSquare == nil && errors.r2 == nil)
    var ranking = BinaryRanking()
    #expect(ranking.rocAUC == nil && ranking.averagePrecision == nil && ranking.rocCurve.isEmpty)
    try ranking.add(
      scores: NDArray([1, 2], shape: [2]), labels: NDArray([1, 1] as [Int32], shape: [2]))
    #expect(ranking.rocAUC == nil && ranking.averagePrecision == 1)
  }

  @Test func equalScoresAndTargets_areSettled() throws {
    var ranking = BinaryRanking()
    try ranking.add(
      scores: NDArray([1, 1, 1, 1], shape: [4]),
      labels: NDArray([1, 0, 0, 1] as [Int32], shape: [4]))
    #expect(ranking.rocAUC == 0.5 && ranking.averagePrecision == 0.5)
    var top = TopKAccuracy(k: 2)
    let rows = NDArray([1, 1, 1, 1, 1, 1], shape: [2, 3])
    try top.add(scores: rows, labels: NDArray([1, 2] as [Int32], shape: [2]))
    #expect(top.hits == 1 && top.total == 2)
    var errors = RegressionErrors()
    try errors.add(predictions: NDArray([3, 3], shape: [2]), targets: NDArray([3, 3], shape: [2]))
    #expect(errors.r2 == 1 && errors.meanSquare == 0)
    try errors.add(predictions: NDArray([4], shape: [1]), targets: NDArray([3], shape: [1]))
    #expect(errors.r2 == 0)
  }

  @Test func paddingDoesNotCount() throws {
    let rows = NDArray([0, 0, 9, 0], shape: [2, 2])
    let labels = NDArray([1, -1] as [Int32], shape: [2])
    var perplexity = Perplexity()
    try perplexity.add(logits: rows, labels: labels, ignoring: -1)
    #expect(perplexity.total == 1 && abs(perplexity.value! - 2) < 1e-12)
    var top = TopKAccuracy()
    try top.add(scores: rows, labels: labels, ignoring: -1)
    #expect(top.total == 1 && top.hits == 0)
    var matrix = ConfusionMatrix(classes: 2)
    try matrix.add(scores: rows, labels: labels, ignoring: -1)
    #expect(matrix.counts == [0, 0, 1, 0])
    var two = ConfusionMatrix(classes: 2)
    try two.add(matrix)
    try two.add(matrix)
    #expect(two.counts == [0, 0, 2, 0])
    #expect(throws: ApusError.self) { try two.add(ConfusionMatrix(classes: 3)) }
  }

  @Test func perplexityOfImpossibleTokens_isInfinite_notNaN() throws {
    var perplexity = Perplexity()
    try perplexity.add(
      logits: NDArray([0, -.infinity], shape: [1, 2]), labels: NDArray([1] as [Int32], shape: [1]))
    #expect(perplexity.value == .infinity)
  }

  // MARK: Mistakes

  @Test func mistakes_countNothing() throws {
    var (top, perplexity) = (TopKAccuracy(), Perplexity())
    var (ranking, errors) = (BinaryRanking(), RegressionErrors())
    var matrix = ConfusionMatrix(classes: 3)
    let rows = NDArray([0, 1, 2, 3, 4, 5], shape: [2, 3])
    let nan = NDArray([0, 1, 2, 3, .nan, 5], shape: [2, 3])
    let labels = NDArray([0, 2] as [Int32], shape: [2])
    let bad: [(NDArray, NDArray, ApusError.Kind)] = [
      (rows, NDArray([0, 3] as [Int32], shape: [2]), .outOfRange),
      (rows, NDArray([0, -1] as [Int32], shape: [2]), .outOfRange),
      (rows, NDArray([0, 1] as [Int32], shape: [2, 1]), .shapeMismatch),
      (rows, NDArray([0, 1], shape: [2]), .dtypeMismatch),
      (NDArray([0, 1] as [Int32], shape: [2, 1]), labels, .shapeMismatch),
      (nan, labels, .nonFinite),
      (NDArray(zeros: .f32(2, 0)), labels, .shapeMismatch),
    ]
    for (scores, labels, kind) in bad {
      let found = [
        #expect(throws: ApusError.self) { try top.add(scores: scores, labels: labels) },
        #expect(throws: ApusError.self) { try perplexity.add(logits: scores, labels: labels) },
        #expect(throws: ApusError.self) { try matrix.add(scores: scores, labels: labels) },
      ]
      #expect(found.allSatisfy { $0?.kind == kind }, "\(kind): \(found)")
    }
    let (column, row) = (NDArray([1, 0], shape: [2, 1]), NDArray([1, 0], shape: [2]))
    let two = NDArray([1, 2] as [Int32], shape: [2])
    #expect(throws: ApusError.self) { try ranking.add(scores: column, labels: row) }
    #expect(throws: ApusError.self) { try ranking.add(scores: row, labels: two) }
    #expect(throws: ApusError.self) { try ranking.add(scores: two, labels: two) }
    #expect(throws: ApusError.self) {
      try ranking.add(scores: NDArray([1, .nan], shape: [2]), labels: row)
    }
    #expect(throws: ApusError.self) { try errors.add(predictions: column, targets: row) }
    #expect(top.total == 0 && perplexity.total == 0 && errors.total == 0 && matrix.total == 0)
    #expect(ranking.positives == 0 && ranking.negatives == 0)
  }
}
