// Rows of tokens from rows of tokens, token by token.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Writes what an ``EncoderDecoderTransformer`` makes of sources: translations, summaries.
///
///     let generator = try EncoderDecoderGenerator(model)
///     let rows = try generator.generate([[5, 81, 7], [9]])
///     let best = try generator.search([[5, 81, 7]], beams: BeamSearch(width: 4))[0][0].tokens
///
/// Sources may differ in length. They go in batches of about one length, padded to powers of two, for each of which steps
/// are compiled once. A source is read once; what each layer's attention makes of it is kept, as are keys and values
/// of the tokens that were written. A row does not depend on the rows beside it, up to roundings. The parameters are
/// read where training keeps them.
public final class EncoderDecoderGenerator {
  public let model: EncoderDecoderTransformer
  /// The most sources at once.
  public let batch: Int
  private let compile: CompileOptions
  private let location: String
  /// The newest last.
  private var runs: [EncoderDecoderRun] = []
  private static let mostRuns = 4

  /// - `batch`: the most sources that are read at once.
  /// - Throws: `missing` where the model has no values, `invalidArgument` for a batch of none.
  public init(
    _ model: EncoderDecoderTransformer, batch: Int = 32, compile: CompileOptions = CompileOptions(),
    file: StaticString = #fileID, line: UInt = #line
  ) throws {
    location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    guard (1...65_536).contains(batch) else {
      throw ApusError(
        .invalidArgument, "batches of \(batch) sources", at: location, expected: "1 to 65536")
    }
    self.model = model
    self.batch = batch
    self.compile = compile
  }

  /// What is written for each source, without the start token; the end token is the last, if it came.
  ///
  /// - `sources`: each of one token at least.
  /// - `count`: the most tokens of a row, the end token among them; as many as the model has places for by default.
  /// - `sampling`: how a token is chosen.
  /// - `seed`: of the choices; as for `TokenGenerator.continue`.
  /// - Throws: `invalidArgument` for sources without tokens, too long ones, and sampling that makes no sense;
  ///   `outOfRange` for a token beyond the vocabulary; `nonFinite` where no token has a score.
  public func generate(
    _ sources: [[Int]], by count: Int? = nil, sampling: TokenSampling = .greedy, seed: UInt64 = 0
  ) throws -> [[Int]] {
    try sampling.validate()
    let (end, vocabulary) = (model.configuration.endToken, model.configuration.targetVocabulary)
    return try written(sources, count, rowsPerSource: 1, nothing: []) { run, part, count in
      var rows = [[Int]](repeating: [], count: run.sources)
      // Rows beyond the sources only fill the batch.
      var isDone = rows.indices.map { $0 >= part.count }
      var tokens = [Int](repeating: model.configuration.startToken, count: run.sources)
      for position in 0..<count where !isDone.allSatisfy({ $0 }) {
        let scores = try run.scores(tokens, at: position).floats
        for row in part.indices where !isDone[row] {
          tokens[row] = try sampling.token(
            of: scores[row * vocabulary..<(row + 1) * vocabulary], after: rows[row],
            Philox.uniform(seed: seed, row: part[row], position: position + 1))
          rows[row].append(tokens[row])
          isDone[row] = tokens[row] == end
        }
      }
      return rows
    }
  }

  /// The likeliest rows for each source, found by a ``BeamSearch``, the best first.
  ///
  /// - `sources`, `count`: as ``generate(_:by:sampling:seed:)``.
  /// - Returns: for each source as many rows as beams, fewer where there are not so many.
  /// - Throws: as ``generate(_:by:sampling:seed:)``, and `invalidArgument` for beams that make no sense.
  public func search(
    _ sources: [[Int]], by count: Int? = nil, beams: BeamSearch = BeamSearch()
  ) throws -> [[BeamSearch.Hypothesis]] {
    try beams.validate()
    let nothing = [BeamSearch.Hypothesis(tokens: [], score: 0)]
    return try written(sources, count, rowsPerSource: beams.width, nothing: nothing) {
      run, part, count in
      var position = 0
      let starts = [Int](repeating: model.configuration.startToken, count: run.sources)
      return try beams.hypotheses(after: starts, by: count, ends: [model.configuration.endToken]) {
        step in
        if !step.keepsRows { try run.reorder(by: step.parents) }
        defer { position += 1 }
        return try run.scores(step.tokens, at: position)
      }
    }
  }

  /// Goes through sources in batches of about one length.
  ///
  /// - `body`: writes for sources that have been read, of these numbers.
  private func written<Row>(
    _ sources: [[Int]], _ count: Int?, rowsPerSource: Int, nothing: Row,
    _ body: (EncoderDecoderRun, _ part: [Int], _ count: Int) throws -> [Row]
  ) throws -> [Row] {
    let count = count ?? model.configuration.targetLength
    try check(sources, count)
    var rows = [Row](repeating: nothing, count: sources.count)
    guard count > 0 else { return rows }
    let order = sources.indices.sorted { (sources[$0].count, $0) < (sources[$1].count, $1) }
    for start in stride(from: 0, to: order.count, by: batch) {
      let part = Array(order[start..<min(start + batch, order.count)])
      let length = Self.size(
        sources[part.last!].count, least: 16, most: model.configuration.sourceLength)
      let run = try taken(
        Self.size(part.count, least: 1, most: batch), rowsPerSource, length)
      try run.read(part.map { sources[$0] })
      for (place, row) in zip(part, try body(run, part, count)) { rows[place] = row }
      // After an error nothing goes on from what the caches hold.
      runs.append(run)
    }
    return rows
  }

  /// The next power of two, so that few sizes are compiled.
  private static func size(_ count: Int, least: Int, most: Int) -> Int {
    var size = least
    while size < count { size *= 2 }
    return min(size, most)
  }

  private func taken(_ sources: Int, _ rows: Int, _ length: Int) throws -> EncoderDecoderRun {
    if let place = runs.firstIndex(where: {
      $0.sources == sources && $0.rowsPerSource == rows && $0.sourceLength == length
    }) {
      return runs.remove(at: place)
    }
    if runs.count >= Self.mostRuns { runs.removeFirst() }
    return try EncoderDecoderRun(
      model, sources: sources, rowsPerSource: rows, sourceLength: length, compile: compile)
  }

  private func check(_ sources: [[Int]], _ count: Int) throws {
    let sizes = model.configuration
    guard (0...sizes.targetLength).contains(count) else {
      throw ApusError(
        .invalidArgument, "rows of \(count) tokens", at: location,
        expected: "0 to \(sizes.targetLength), as the model has positions")
    }
    for (place, source) in sources.enumerated() {
      guard !source.isEmpty else {
        throw ApusError(
          .invalidArgument, "source \(place) has no tokens", at: location,
          expected: "at least one, such as the token that ends a text")
      }
      guard source.count <= sizes.sourceLength else {
        throw ApusError(
          .invalidArgument, "source \(place) has \(source.count) tokens", at: location,
          expected: "\(sizes.sourceLength) at most, as the model has positions")
      }
      if let token = source.first(where: { !(0..<sizes.sourceVocabulary).contains($0) }) {
        throw ApusError(
          .outOfRange, "source \(place) has the token \(token)", at: location,
          expected: "0 ..< \(sizes.sourceVocabulary)")
      }
    }
  }
}

/// Compiled steps for a number of sources and what they are padded to, and the caches they share.
private final class EncoderDecoderRun {
  let sources, rowsPerSource, sourceLength: Int
  private let encode: Predictor<CachedTransformer>
  private let advance: Predictor<CachedTransformer>
  private let exchange: Predictor<CachedTransformer>

  /// - Throws: what the model's parameters say.
  init(
    _ model: EncoderDecoderTransformer, sources: Int, rowsPerSource: Int, sourceLength: Int,
    compile: CompileOptions
  ) throws {
    (self.sources, self.rowsPerSource, self.sourceLength) = (sources, rowsPerSource, sourceLength)
    let cached = CachedTransformer(
      model: model,
      cache: model.makeCache(
        sources: sources, rowsPerSource: rowsPerSource, length: model.configuration.targetLength,
        sourceLength: sourceLength))
    try cached.initialize()
    encode = try Predictor(cached, compile: compile) { cached, arguments in
      cached.model.read(arguments[0], lengths: arguments[1], into: cached.cache)
      return [arguments[1]]
    }
    advance = try Predictor(cached, compile: compile) { cached, arguments in
      [cached.model.scores(arguments[0], cache: cached.cache, at: arguments[1])]
    }
    exchange = try Predictor(cached, compile: compile) { cached, arguments in
      cached.cache.decoder.reorder(by: arguments[0])
      return arguments
    }
  }

  /// Reads as many sources as it has, or fewer: the last then stands in the other places too.
  func read(_ rows: [[Int]]) throws {
    let rows = (0..<sources).map { rows[min($0, rows.count - 1)] }
    let lengths = rows.map { Int32($0.count) }
    let tokens = rows.flatMap {
      $0.map(Int32.init) + [Int32](repeating: 0, count: sourceLength - $0.count)
    }
    _ = try encode.run([
      NDArray(tokens, shape: [sources, sourceLength]), NDArray(lengths, shape: [sources]),
    ])
  }

  /// The scores after one token of each row: `f32[sources · rowsPerSource, vocabulary]`.
  func scores(_ tokens: [Int], at position: Int) throws -> NDArray {
    try advance.run([
      NDArray(tokens.map(Int32.init), shape: [tokens.count, 1]),
      NDArray([Int32(position)], shape: []),
    ])[0]
  }

  /// Makes each row go on from the one that `parents` names for it.
  func reorder(by parents: [Int]) throws {
    _ = try exchange.run([NDArray(parents.map(Int32.init), shape: [parents.count])])
  }
}

/// A model beside what it keeps. The model's parts stand as in the model, so that their names stay.
private struct CachedTransformer: Module {
  let model: EncoderDecoderTransformer
  let cache: EncoderDecoderCache

  var parts: [(name: String, value: Any)] { model.parts + [("cache", cache)] }
}
