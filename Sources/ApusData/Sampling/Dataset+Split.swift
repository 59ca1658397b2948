// Splits and folds of data sets.

import ApusGraph

/// One round of a cross-validation: what is learnt from, and what is kept back.
public struct Fold<Set: Sendable>: Sendable {
  public let training: Set
  public let validation: Set
}

extension Dataset {
  /// The set cut at random into parts, as PyTorch's `random_split`.
  ///
  ///     let parts = try data.split([0.8, 0.1, 0.1], seed: 7)
  ///     try trainer.fit(parts[0].batched(64), validation: parts[1].batched(256), epochs: 5)
  ///
  /// Each part has its fraction of the examples, rounded down; those left over go to the first parts, one each.
  ///
  /// - `seed`: equal seeds give equal parts.
  /// - Throws: `invalidArgument` for fractions that are negative or do not add up to 1, or 2^31 examples and more.
  public func split(_ fractions: [Double], seed: UInt64 = 0) throws -> [DatasetSelection] {
    let parts = try ExampleSplit.parts(fractions, of: count, seed: seed)
    return selections(parts, "of a split \(fractions) by seed \(seed)")
  }

  /// The set cut at random into parts in which each class has its share of each part, as scikit-learn's
  /// `train_test_split(stratify:)`.
  ///
  ///     let parts = try data.split([0.8, 0.2], stratifiedBy: data.labels.integers)
  ///
  /// The parts have the sizes of ``split(_:seed:)``; a class's count in a part differs from its share by less than one in
  /// the first part, and by rounding alone in the others.
  ///
  /// - `labels`: the class of each example.
  /// - Throws: as ``split(_:seed:)``, and `invalidArgument` for another number of labels than examples.
  public func split(
    _ fractions: [Double], stratifiedBy labels: [Int], seed: UInt64 = 0
  ) throws -> [DatasetSelection] {
    let parts = try ExampleSplit.parts(fractions, stratifiedBy: labels, of: count, seed: seed)
    return selections(parts, "of a stratified split \(fractions) by seed \(seed)")
  }

  /// The rounds of a cross-validation, as scikit-learn's `KFold`: every example is kept back once.
  ///
  ///     for fold in try data.folds(5, seed: 7) {
  ///       try trainer().fit(fold.training.batched(64), validation: fold.validation.batched(256), epochs: 3)
  ///     }
  ///
  /// - `seed`: of a shuffle before; nil to keep back one run of examples after the other.
  /// - Throws: `invalidArgument` for fewer than two folds or more than examples.
  public func folds(_ folds: Int, seed: UInt64? = nil) throws -> [Fold<DatasetSelection>] {
    try rounds(
      try ExampleSplit.folds(folds, stratifiedBy: nil, of: count, seed: seed), "fold", seed)
  }

  /// The rounds of a cross-validation in which every class is spread evenly over the folds, as scikit-learn's
  /// `StratifiedKFold`: class by class, two folds' counts differ by at most one.
  ///
  /// - `labels`: the class of each example.
  /// - Throws: as ``folds(_:seed:)``, and `invalidArgument` for another number of labels than examples or where no
  ///   class has an example for each fold.
  public func folds(
    _ folds: Int, stratifiedBy labels: [Int], seed: UInt64? = nil
  ) throws -> [Fold<DatasetSelection>] {
    try rounds(
      try ExampleSplit.folds(folds, stratifiedBy: labels, of: count, seed: seed), "stratified fold",
      seed)
  }

  private func selections(_ parts: [[Int]], _ what: String) -> [DatasetSelection] {
    parts.enumerated().map { place, examples in
      DatasetSelection(self, examples, "\(examples.count) examples, part \(place) \(what),")
    }
  }

  private func rounds(
    _ folds: [[Int]], _ what: String, _ seed: UInt64?
  ) throws -> [Fold<DatasetSelection>] {
    folds.enumerated().map { place, kept in
      let name = "\(what) \(place) of \(folds.count)\(seed.map { " by seed \($0)" } ?? ""),"
      let others = ExampleSplit.others(than: kept, of: count)
      return Fold(
        training: DatasetSelection(self, others, "\(others.count) examples outside \(name)"),
        validation: DatasetSelection(self, kept, "\(kept.count) examples of \(name)"))
    }
  }
}
