// Text from a model, token by token.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Continues rows of tokens by a language model, which keeps keys and values of the tokens so far.
///
///     let generator = try TokenGenerator(gpt, length: 256)
///     let row = try generator.continue([[464, 2068]], by: 50, sampling: .init(temperature: 0.8), seed: 7)[0]
///
/// One step is compiled for each number of rows, whatever the rows' lengths: it takes one token a row and gives the
/// scores of the next. The start of long rows goes in blocks. Logits are those of the whole model on the whole row, up
/// to roundings. It reads the parameters where training keeps them, so that it writes with their newest values.
public final class TokenGenerator<Model: CausalLanguageModel> {
  public let model: Model
  /// The most tokens of a row, those it begins with included.
  public let length: Int
  private let compile: CompileOptions
  private let location: String
  private var running: CachedRun<Model>?

  /// - `length`: the most tokens of a row; the model's own limit by default.
  /// - Throws: `missing` where the model has no values, `invalidArgument` for a length that it has no positions for.
  public init(
    _ model: Model, length: Int? = nil, compile: CompileOptions = CompileOptions(),
    file: StaticString = #fileID, line: UInt = #line
  ) throws {
    location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    self.model = model
    self.length = length ?? model.maximumLength
    guard (1...max(model.maximumLength, 1)).contains(self.length) else {
      throw ApusError(
        .invalidArgument, "rows of \(self.length) tokens", at: location,
        expected: "1 to \(model.maximumLength), as the model has positions")
    }
    self.compile = compile
  }

  /// The rows with `count` tokens more, or fewer where one of `ends` comes: it is then the last.
  ///
  /// - `rows`: each of one token at least; they may have different lengths.
  /// - `sampling`: how a token is chosen.
  /// - `seed`: of the choices. Equal seeds choose the same of equal logits, and a row's choices do not depend on the
  ///   rows beside it.
  /// - `ends`: tokens that end a row.
  /// - `onToken`: hears of each new token, and which row it is of, as it comes; what it throws ends the run.
  /// - Throws: `invalidArgument` for rows without tokens, too long ones, and sampling that makes no sense;
  ///   `outOfRange` for a token beyond the vocabulary; `nonFinite` where no token has a score.
  public func `continue`(
    _ rows: [[Int]], by count: Int, sampling: TokenSampling = .greedy, seed: UInt64 = 0,
    ends: Set<Int> = [], onToken: (_ token: Int, _ row: Int) throws -> Void = { _, _ in }
  ) throws -> [[Int]] {
    try sampling.validate()
    try check(rows, count)
    guard count > 0, !rows.isEmpty else { return rows }
    let vocabulary = model.vocabularySize
    return try running(rows.count) { run in
      var rows = rows
      let goals = rows.map { $0.count + count }
      var isDone = [Bool](repeating: false, count: rows.count)
      // All rows begin at position 0, so that one number says where they are.
      var position = try run.read(rows, rows.map(\.count).min()! - 1)
      while !isDone.allSatisfy({ $0 }) {
        let tokens = rows.map { Int32($0[min(position, $0.count - 1)]) }
        let logits = try run.logits(tokens, at: position).floats
        position += 1
        for row in rows.indices where rows[row].count == position && !isDone[row] {
          let token = try sampling.token(
            of: logits[row * vocabulary..<(row + 1) * vocabulary], after: rows[row],
            Philox.uniform(seed: seed, row: row, position: position))
          rows[row].append(token)
          isDone[row] = rows[row].count == goals[row] || ends.contains(token)
          try onToken(token, row)
        }
      }
      return rows
    }
  }

  /// The likeliest rows that go on from one, found by a ``BeamSearch``, the best first.
  ///
  ///     let best = try generator.search(prompt, by: 60, beams: BeamSearch(width: 4), ends: [0])[0]
  ///
  /// - `row`: of one token at least.
  /// - `count`: the most tokens more.
  /// - `ends`: tokens that end a row; a row's end stays its last token.
  /// - Returns: as many rows as beams, fewer where there are not so many, each with what was added to `row`.
  /// - Throws: as ``continue(_:by:sampling:seed:ends:onToken:)``, and `invalidArgument` for beams that make no sense.
  public func search(
    _ row: [Int], by count: Int, beams: BeamSearch = BeamSearch(), ends: Set<Int> = []
  ) throws -> [BeamSearch.Hypothesis] {
    try beams.validate()
    try check([row], count)
    return try running(beams.width) { run in
      let all = [[Int]](repeating: row, count: beams.width)
      var position = try run.read(all, row.count - 1)
      while position < row.count - 1 {
        _ = try run.logits(all.map { Int32($0[position]) }, at: position)
        position += 1
      }
      return try beams.hypotheses(after: [row[position]], by: count, ends: ends) { step in
        if !step.keepsRows { try run.reorder(by: step.parents) }
        let logits = try run.logits(step.tokens.map(Int32.init), at: position)
        position += 1
        return logits
      }[0]
    }
  }

  private func check(_ rows: [[Int]], _ count: Int) throws {
    guard count >= 0 else {
      throw ApusError(
        .invalidArgument, "\(count) tokens more", at: location, expected: "0 or more")
    }
    for (place, row) in rows.enumerated() {
      guard !row.isEmpty else {
        throw ApusError(
          .invalidArgument, "row \(place) has no tokens", at: location,
          expected: "at least one to go on from, such as the token that begins a text")
      }
      guard row.count <= length, count <= length - row.count else {
        throw ApusError(
          .invalidArgument, "row \(place) has \(row.count) tokens and is to get \(count) more",
          at: location, expected: "\(length) at most in all")
      }
      if let token = row.first(where: { !(0..<model.vocabularySize).contains($0) }) {
        throw ApusError(
          .outOfRange, "row \(place) has the token \(token)", at: location,
          expected: "0 ..< \(model.vocabularySize)")
      }
    }
  }

  /// Works with the steps for a number of rows. After an error nothing goes on from what the caches hold.
  private func running<Result>(
    _ rows: Int, _ body: (CachedRun<Model>) throws -> Result
  ) throws -> Result {
    let run: CachedRun<Model>
    if let running, running.rows == rows {
      run = running
    } else {
      running = nil
      run = try CachedRun(model, rows: rows, length: length, compile: compile)
    }
    running = nil
    let result = try body(run)
    running = run
    return result
  }
}

extension Philox {
  /// A number in [0, 1) for a place of a row: the same for all runs of one seed.
  static func uniform(seed: UInt64, row: Int, position: Int) -> Double {
    let words = block(
      key: key(seed: seed), counter: (UInt32(truncatingIfNeeded: position), UInt32(row), 0, 0))
    return Double(UInt64(words.0) << 21 | UInt64(words.1) >> 11) * 0x1p-53
  }
}
