// What a model learns from that tells hidden tokens: pieces of a text in which some are hidden, and which they were.

import Apus

/// Batches of `tokens` i32[n, t], `places` i32[n, k] and `labels` i32[n, k]: Devlin et al. 2019, "BERT: Pre-training of
/// Deep Bidirectional Transformers", with the dynamic masks of Liu et al. 2019, "RoBERTa".
///
/// A row is the start token, t - 2 tokens of the text that follow one another, and the separator. Of these t - 2 a share is
/// chosen anew in each epoch, the same number in each row, so that a model scores no others: `places` says where in the row
/// and `labels` what stood there. Eight of ten chosen ones become the mask, one a random token, one stays.
///
/// Read for training, rows begin elsewhere in the text in each epoch, and are shuffled.
struct MaskedWindows: BatchSource {
  let tokens: [Int32]
  let length: Int
  /// Chosen in each row.
  let chosen: Int
  let batch: Int
  let special: Special
  /// Tokens that may stand in the place of a chosen one.
  let words: Range<Int>
  let seed: UInt64
  private let isTraining: Bool

  struct Special: Sendable {
    var start: Int
    var separator: Int
    var mask: Int
  }

  /// - `tokens`: more than 2·(length - 2).
  /// - `length`: of a row, 3 or more.
  /// - `share`: of a row's tokens of the text that are chosen; one at least.
  init(
    _ tokens: [Int32], length: Int, share: Double, batch: Int, special: Special, words: Range<Int>,
    seed: UInt64 = 0
  ) {
    self.init(
      tokens, length, max(1, Int((Double(length - 2) * share).rounded())), batch, special, words,
      seed, isTraining: false)
  }

  private init(
    _ tokens: [Int32], _ length: Int, _ chosen: Int, _ batch: Int, _ special: Special,
    _ words: Range<Int>, _ seed: UInt64, isTraining: Bool
  ) {
    precondition(length >= 3 && tokens.count > 2 * (length - 2) && chosen <= length - 2)
    self.tokens = tokens
    self.length = length
    self.chosen = chosen
    self.batch = batch
    self.special = special
    self.words = words
    self.seed = seed
    self.isTraining = isTraining
  }

  private var own: Int { length - 2 }
  /// Training leaves out what stands before the first row and behind the last.
  var exampleCount: Int { isTraining ? tokens.count / own - 1 : tokens.count / own }
  var batchCount: Int { (exampleCount + batch - 1) / batch }
  var identity: String {
    "\(exampleCount) rows of \(length) of \(tokens.count) tokens, \(chosen) chosen, in batches of "
      + "\(batch), seed \(seed)"
  }

  func forTraining(seed: UInt64) -> any BatchSource {
    MaskedWindows(
      tokens, length, chosen, batch, special, words, seed, isTraining: true)
  }

  func makeIterator(epoch: Int) throws -> any BatchIterator {
    try makeIterator(epoch: epoch, startingAt: 0)
  }

  func makeIterator(epoch: Int, startingAt batch: Int) throws -> any BatchIterator {
    Iterator(self, epoch: isTraining ? epoch : 0, next: batch)
  }

  /// A row with what is hidden in it.
  struct Row {
    /// In `tokens`, of the first token of the text.
    var start: Int
    var tokens: [Int32]
    var places: [Int32]
    var labels: [Int32]
  }

  /// The rows as they are read without training, in order.
  func rows() -> [Row] { (0..<exampleCount).map { row($0 * own, $0, epoch: 0) } }

  /// - `number`: of the row in its epoch, which says what is drawn.
  private func row(_ start: Int, _ number: Int, epoch: Int) -> Row {
    var random = RecipeRandom(seed: seed, stream: UInt64(epoch) << 32 | UInt64(number + 1))
    var row = Row(
      start: start,
      tokens: [Int32(special.start)] + tokens[start..<start + own] + [Int32(special.separator)],
      places: [], labels: [])
    // The first of a shuffle.
    var places = Array(1...own)
    for draw in 0..<chosen {
      places.swapAt(draw, draw + random.below(own - draw))
      let place = places[draw]
      row.places.append(Int32(place))
      row.labels.append(row.tokens[place])
    }
    for place in row.places {
      let kind = random.uniform()
      if kind < 0.8 {
        row.tokens[Int(place)] = Int32(special.mask)
      } else if kind < 0.9 {
        row.tokens[Int(place)] = Int32(words.lowerBound + random.below(words.count))
      }
    }
    return row
  }

  private final class Iterator: BatchIterator {
    private let source: MaskedWindows
    private let epoch: Int
    private let starts: [Int]
    private var batch: Int

    init(_ source: MaskedWindows, epoch: Int, next batch: Int) {
      self.source = source
      self.epoch = epoch
      self.batch = batch
      var starts = (0..<source.exampleCount).map { $0 * source.own }
      if source.isTraining {
        var random = RecipeRandom(seed: source.seed, stream: UInt64(epoch) << 32)
        let offset = random.below(source.own)
        starts = starts.map { $0 + offset }
        starts.shuffle(using: &random)
      }
      self.starts = starts
    }

    func next() throws -> Batch? {
      let first = batch * source.batch
      guard first < starts.count else { return nil }
      let rows = (first..<min(first + source.batch, starts.count)).map {
        source.row(starts[$0], $0, epoch: epoch)
      }
      batch += 1
      func array(_ part: KeyPath<Row, [Int32]>, _ width: Int) throws -> NDArray {
        try NDArray(checking: rows.flatMap { $0[keyPath: part] }, shape: [rows.count, width])
      }
      return Batch(
        names: ["tokens", "places", "labels"],
        arrays: [
          try array(\.tokens, source.length), try array(\.places, source.chosen),
          try array(\.labels, source.chosen),
        ])
    }
  }
}
