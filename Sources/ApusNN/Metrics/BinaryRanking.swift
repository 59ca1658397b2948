// How well scores put positives before negatives: ROC-AUC and average precision.

import ApusGraph

/// Scores of positives and negatives, over as many batches as there are, and what their order is worth.
///
///     var ranking = BinaryRanking()
///     for batch in batches { try ranking.add(scores: predictor(batch.x), labels: batch.isSpam) }
///     print(ranking.rocAUC!, ranking.averagePrecision!)
///
/// All scores are kept, 9 bytes each, for both figures are exact: equal scores are one threshold. Logits and
/// probabilities give the same. Of several classes, keep one for each.
public struct BinaryRanking: Sendable {
  private var scores: [Double] = []
  private var isPositive: [Bool] = []
  public private(set) var positives = 0
  public var negatives: Int { scores.count - positives }

  public init() {}

  /// Counts scores in.
  ///
  /// - `scores`: floats, greater for what is more likely positive.
  /// - `labels`: 0 and 1, or bools, of the scores' shape.
  /// - Throws: `shapeMismatch` where the shapes differ, `dtypeMismatch` where the scores are no floats, `outOfRange`
  ///   for a label that is neither 0 nor 1, `nonFinite` for a score that is NaN. Nothing is counted then.
  public mutating func add(scores: NDArray, labels: NDArray) throws {
    guard scores.shape == labels.shape else {
      throw ApusError(
        .shapeMismatch, "BinaryRanking: scores \(scores.type) for labels \(labels.type)",
        expected: "one score for each label, in one shape")
    }
    guard scores.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "BinaryRanking: scores \(scores.type)", expected: "floats")
    }
    let (values, truths) = (scores.doubles, labels.doubles)
    for (place, (score, truth)) in zip(values, truths).enumerated() {
      guard truth == 0 || truth == 1 else {
        throw ApusError(
          .outOfRange, "BinaryRanking: element \(place) has label \(truth)", expected: "0 or 1")
      }
      guard !score.isNaN else {
        throw ApusError(
          .nonFinite, "BinaryRanking: the score at \(place) is NaN", expected: "numbers")
      }
    }
    self.scores += values
    isPositive += truths.map { $0 == 1 }
    positives += truths.count { $0 == 1 }
  }

  /// For each threshold, from the greatest score down, how many positives and how many negatives reach it.
  private var counts: [(score: Double, hits: Int, alarms: Int)] {
    var result: [(score: Double, hits: Int, alarms: Int)] = []
    var (hits, alarms) = (0, 0)
    let order = scores.indices.sorted { scores[$0] > scores[$1] }
    for (rank, index) in order.enumerated() {
      if isPositive[index] { hits += 1 } else { alarms += 1 }
      if rank + 1 == order.count || scores[order[rank + 1]] != scores[index] {
        result.append((scores[index], hits, alarms))
      }
    }
    return result
  }

  /// The area under the ROC curve: the probability that a positive has a greater score than a negative, half of it where
  /// they are equal. Nil unless there are both.
  public var rocAUC: Double? {
    guard positives > 0, negatives > 0 else { return nil }
    var (area, last) = (0.0, (hits: 0, alarms: 0))
    for (_, hits, alarms) in counts {
      area += Double(alarms - last.alarms) * (Double(hits) + Double(last.hits)) / 2
      last = (hits, alarms)
    }
    return area / (Double(positives) * Double(negatives))
  }

  /// The mean of the precision at each threshold, weighed by how much the recall grows there; no line is drawn
  /// between thresholds. Nil without positives.
  public var averagePrecision: Double? {
    guard positives > 0 else { return nil }
    var (sum, last) = (0.0, 0)
    for (_, hits, alarms) in counts {
      sum += Double(hits - last) * Double(hits) / Double(hits + alarms)
      last = hits
    }
    return sum / Double(positives)
  }

  /// The points of the ROC curve, from the greatest threshold down, and (0, 0) before them. Empty unless there are
  /// positives and negatives.
  public var rocCurve: [(falsePositiveRate: Double, truePositiveRate: Double, threshold: Double)] {
    guard positives > 0, negatives > 0 else { return [] }
    return [(0, 0, .infinity)]
      + counts.map {
        (Double($0.alarms) / Double(negatives), Double($0.hits) / Double(positives), $0.score)
      }
  }
}
