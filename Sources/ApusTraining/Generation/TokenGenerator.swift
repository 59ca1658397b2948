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
  private var running: (rows: Int, predictor: Predictor<CachedModel<Model>>)?
  /// Tokens of a row that go into the model at once while the rows' beginnings are read.
  private static var block: Int { 16 }

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
  /// - `onToken`: hears of each new token, and which row it is of, as it comes.
  /// - Throws: `invalidArgument` for rows without tokens, too long ones, and sampling that makes no sense;
  ///   `outOfRange` for a token beyond the vocabulary; `nonFinite` where no token has a score.
  public func `continue`(
    _ rows: [[Int]], by count: Int, sampling: TokenSampling = .greedy, seed: UInt64 = 0,
    ends: Set<Int> = [], onToken: (_ token: Int, _ row: Int) -> Void = { _, _ in }
  ) throws -> [[Int]] {
    try sampling.validate()
    try check(rows, count)
    guard count > 0, !rows.isEmpty else { return rows }
    let predictor = try predictor(for: rows.count)
    var rows = rows
    let goals = rows.map { $0.count + count }
    var isDone = [Bool](repeating: false, count: rows.count)
    // All rows begin at position 0, so that one number says where they are.
    let start = rows.map(\.count).min()! - 1
    var position = 0
    while position + Self.block <= start {
      let tokens = rows.flatMap { $0[position..<position + Self.block].map(Int32.init) }
      _ = try run(predictor, tokens, rows.count, Self.block, at: position)
      position += Self.block
    }
    while !isDone.allSatisfy({ $0 }) {
      let tokens = rows.map { Int32($0[min(position, $0.count - 1)]) }
      let logits = try run(predictor, tokens, rows.count, 1, at: position).floats
      position += 1
      for row in rows.indices where rows[row].count == position && !isDone[row] {
        let scores = logits[row * model.vocabularySize..<(row + 1) * model.vocabularySize]
        let random = Philox.uniform(seed: seed, row: row, position: position)
        let token = try sampling.token(of: scores, random)
        rows[row].append(token)
        isDone[row] = rows[row].count == goals[row] || ends.contains(token)
        onToken(token, row)
      }
    }
    return rows
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

  /// The scores after the last of `count` tokens of each row: `[rows, vocabulary]`.
  private func run(
    _ predictor: Predictor<CachedModel<Model>>, _ tokens: [Int32], _ rows: Int, _ count: Int,
    at position: Int
  ) throws -> NDArray {
    do {
      return try predictor(
        NDArray(tokens, shape: [rows, count]), NDArray([Int32(position)], shape: []))
    } catch {
      // What the caches hold now is not to be gone on from.
      running = nil
      throw error
    }
  }

  private func predictor(for rows: Int) throws -> Predictor<CachedModel<Model>> {
    if let running, running.rows == rows { return running.predictor }
    running = nil
    let cached = CachedModel(
      model: model, caches: model.makeCaches(batch: rows, length: length))
    try cached.initialize()
    let made = try Predictor(cached, compile: compile) { cached, arguments in
      let logits = cached.model.logits(
        arguments[0], caches: cached.caches, at: arguments[1])
      return [logits[-1, axis: 1].cast(to: .f32)]
    }
    running = (rows, made)
    return made
  }
}

/// A model beside the caches of its attentions. The model's parts stand as in the model, so that their names stay.
struct CachedModel<Model: CausalLanguageModel>: Module {
  let model: Model
  let caches: [KeyValueCache]

  var parts: [(name: String, value: Any)] { model.parts + [("key_value_caches", caches)] }
}

extension Philox {
  /// A number in [0, 1) for a place of a row: the same for all runs of one seed.
  fileprivate static func uniform(seed: UInt64, row: Int, position: Int) -> Double {
    let words = block(
      key: key(seed: seed), counter: (UInt32(truncatingIfNeeded: position), UInt32(row), 0, 0))
    return Double(UInt64(words.0) << 21 | UInt64(words.1) >> 11) * 0x1p-53
  }
}
