// What metrics over rows of scores have in common.

import ApusGraph

/// Rows of scores with a label each, checked.
struct ScoredRows {
  let scores: [Double]
  let labels: [Int]
  let classes: Int

  /// - `classes`: how many there have to be; any number where nil.
  /// - Throws: `shapeMismatch`, `dtypeMismatch` or `nonFinite`, saying what fits.
  init(_ scores: NDArray, _ labels: NDArray, _ name: String, classes: Int? = nil) throws {
    guard scores.dtype.isFloat, scores.type.rank > 0,
      scores.shape.dimensions.dropLast() == labels.shape.dimensions[...],
      classes == nil || scores.shape[-1] == classes, scores.shape[-1] > 0
    else {
      throw ApusError(
        .shapeMismatch, "\(name): scores \(scores.type) for labels \(labels.type)",
        expected: "floats of [rows…, \(classes.map { "\($0)" } ?? "classes")] for labels of [rows…]"
      )
    }
    guard labels.dtype.isInteger else {
      throw ApusError(
        .dtypeMismatch, "\(name): labels \(labels.type)", expected: "integers: class numbers")
    }
    self.scores = scores.doubles
    self.labels = labels.integers
    self.classes = scores.shape[-1]
    if let place = self.scores.firstIndex(where: \.isNaN) {
      throw ApusError(
        .nonFinite, "\(name): the score at \(place) is NaN", expected: "numbers")
    }
  }

  func row(_ index: Int) -> ArraySlice<Double> {
    scores[index * classes..<(index + 1) * classes]
  }

  /// The class of each row's greatest score, the first of equal ones.
  var best: [Int] {
    labels.indices.map { index in
      let row = row(index)
      var best = row.startIndex
      for place in row.indices where row[place] > row[best] { best = place }
      return best - row.startIndex
    }
  }

  /// - Throws: `outOfRange` naming the first label that is no class and not ignored.
  func checkLabels(_ name: String, ignoring: Int?) throws {
    for (place, label) in labels.enumerated()
    where label != ignoring && !(0..<classes).contains(label) {
      throw ApusError(
        .outOfRange, "\(name): element \(place) has label \(label)",
        expected: "classes in 0..<\(classes)")
    }
  }
}

/// A sum whose rounding is made good, the same bits however its terms come in batches (Neumaier 1974).
struct ExactSum: Sendable, Hashable {
  private var sum = 0.0
  private var rest = 0.0

  mutating func add(_ term: Double) {
    let new = sum + term
    rest += abs(sum) >= abs(term) ? (sum - new) + term : (term - new) + sum
    sum = new
  }

  /// Of terms that are infinite there is no rest.
  var value: Double { rest.isNaN ? sum : sum + rest }
}
