// Metrics over rows of scores, by counts: the accuracy of the best k, and the perplexity.

import ApusGraph
import Foundation

/// The share of rows whose label is among the `k` greatest scores, over as many batches as there are.
///
///     var metric = TopKAccuracy(k: 5)
///     for batch in batches { try metric.add(scores: predictor(batch.x), labels: batch.y) }
///     print(metric.value!)
///
/// The figure does not depend on the size of the batches. Within a step or an evaluation, ``topKAccuracy(_:_:k:ignoring:file:line:)``
/// is the same.
public struct TopKAccuracy: Sendable, Hashable {
  public let k: Int
  /// Rows whose label is among the best.
  public private(set) var hits = 0
  /// Rows that count.
  public private(set) var total = 0

  /// - `k`: 1 for plain accuracy; less is taken as 1.
  public init(k: Int = 1) { self.k = max(k, 1) }

  /// Counts rows in. Of equal scores the first count.
  ///
  /// - `scores`: floats, the classes along the last axis.
  /// - `labels`: class numbers, of the scores' shape without its last axis.
  /// - `ignoring`: rows with this label do not count.
  /// - Throws: `shapeMismatch`, `dtypeMismatch`, `outOfRange` for a label that is no class, `nonFinite` for a score that
  ///   is NaN. Nothing is counted then.
  public mutating func add(scores: NDArray, labels: NDArray, ignoring: Int? = nil) throws {
    let rows = try ScoredRows(scores, labels, "TopKAccuracy")
    try rows.checkLabels("TopKAccuracy", ignoring: ignoring)
    for (index, label) in rows.labels.enumerated() where label != ignoring {
      let row = rows.row(index)
      let place = row.startIndex + label
      let before = row.indices.count {
        row[$0] > row[place] || (row[$0] == row[place] && $0 < place)
      }
      hits += before < k ? 1 : 0
      total += 1
    }
  }

  /// Nil where nothing was counted.
  public var value: Double? { total == 0 ? nil : Double(hits) / Double(total) }
}

/// The perplexity of a language model: e to the mean negative log-likelihood of a token, over as many batches as
/// there are.
///
///     var metric = Perplexity()
///     for batch in batches { try metric.add(logits: predictor(batch.x), labels: batch.y, ignoring: pad) }
///     print(metric.value!)
///
/// The mean is over tokens, whatever the size of the batches and the share of padding in them. Of an evaluation by
/// `crossEntropy` it is `exp(result.loss)`.
public struct Perplexity: Sendable, Hashable {
  private var sum = ExactSum()
  /// Tokens that count.
  public private(set) var total = 0

  public init() {}

  /// Counts tokens in.
  ///
  /// - `logits`: floats, the classes along the last axis; log-probabilities are logits too.
  /// - `labels`: class numbers, of the logits' shape without its last axis.
  /// - `ignoring`: tokens with this label do not count.
  /// - Throws: as ``TopKAccuracy/add(scores:labels:ignoring:)``. Nothing is counted then.
  public mutating func add(logits: NDArray, labels: NDArray, ignoring: Int? = nil) throws {
    let rows = try ScoredRows(logits, labels, "Perplexity")
    try rows.checkLabels("Perplexity", ignoring: ignoring)
    for (index, label) in rows.labels.enumerated() where label != ignoring {
      let row = rows.row(index)
      let greatest = row.max()!
      let shift = greatest.isFinite ? greatest : 0
      let total = shift + log(row.reduce(0) { $0 + exp($1 - shift) })
      sum.add(total - row[row.startIndex + label])
      self.total += 1
    }
  }

  /// The mean negative log-likelihood; nil where nothing was counted.
  public var meanLoss: Double? { total == 0 ? nil : sum.value / Double(total) }

  /// Nil where nothing was counted.
  public var value: Double? { meanLoss.map { exp($0) } }
}
