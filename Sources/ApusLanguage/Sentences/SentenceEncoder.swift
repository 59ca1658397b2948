// Texts as vectors, by a model of a folder.

import Apus
import ApusText

/// Makes a vector of each text, such that texts of like meaning have vectors of like direction.
///
///     let encoder = try SentenceEncoder(folder: "all-MiniLM-L6-v2")
///     let vectors = try encoder.encode(["A man eats bread.", "Somebody has lunch."])     // f32[2,384]
///     let cosines = try cosineSimilarities(vectors, vectors)                             // f32[2,2]
///
/// The folder is one of the Python package `sentence-transformers`, whose vectors these are up to roundings, or of a
/// BERT alone, whose tokens' vectors are averaged then. Texts of about one length go together, so that little of the work
/// is for padding; a step is compiled for each of a few sizes, and the last ones are kept.
public final class SentenceEncoder {
  public let model: SentenceModel
  public let tokenizer: Tokenizer
  /// The most tokens of a text, those included that the tokenizer puts around it. More are cut off.
  public let maximumLength: Int
  /// What may be put before texts, by name: some models want to be told what a text is for.
  public let prompts: [String: String]
  /// The name of the prompt that is put before each text unless another is asked for; nil for none.
  public let defaultPrompt: String?
  /// Arrays of the folder's files that the model has no use for, such as tables of positions.
  public let ignoredArrays: [String]
  private let cutting: Tokenizer
  private let compile: CompileOptions
  private let location: String
  private var predictors: [PredictorKey: Predictor<SentenceModel>] = [:]
  /// Used longest ago first.
  private var order: [PredictorKey] = []

  /// Reads a folder: `modules.json` with what it names, or `config.json`, `model.safetensors` and `tokenizer.json`
  /// alone. Of the modules there may be a BERT, a pooling of a mode of ``SentencePooling``, products and
  /// normalisations.
  ///
  /// - Throws: `io` naming a file that is not there; `invalidFile` for what is damaged; `unsupported` naming a module, a
  ///   pooling or a setting that is not known, with its file; `shapeMismatch` where parts do not fit together; and what
  ///   `BERT(contentsOf:)` and `Tokenizer(file:)` throw.
  public convenience init(
    folder: String, compile: CompileOptions = CompileOptions(), file: StaticString = #fileID,
    line: UInt = #line
  ) throws {
    let read = try SentenceFolder(folder)
    try self.init(
      read.model, read.tokenizer, read.maximumLength, read.side, read.prompts, read.defaultPrompt,
      read.ignoredArrays, compile, sourceLocation(file, line))
  }

  /// An encoder of parts at hand, such as a model that has been tuned.
  ///
  /// - `tokenizer`: its truncation and padding do not count.
  /// - `maximumLength`: of tokens; as many as the model has positions by default.
  /// - Throws: `missing` where the model has no values; `invalidArgument` for a tokenizer of more ids than the model's
  ///   vocabulary has, and a length that the model has no positions for or that special tokens fill.
  public convenience init(
    _ model: SentenceModel, tokenizer: Tokenizer, maximumLength: Int? = nil,
    compile: CompileOptions = CompileOptions(), file: StaticString = #fileID, line: UInt = #line
  ) throws {
    let location = sourceLocation(file, line)
    let positions = model.encoder.configuration.length
    let length = maximumLength ?? positions
    var bare = tokenizer
    try bare.enablePadding(nil)
    try bare.enableTruncation(nil)
    guard bare.idLimit <= model.encoder.configuration.vocabulary else {
      throw ApusError(
        .invalidArgument, "the tokenizer has ids up to \(bare.idLimit - 1)", at: location,
        expected: "ids below the vocabulary of \(model.encoder.configuration.vocabulary)")
    }
    let special = try bare.ids(of: "").count
    guard length > special, length <= positions else {
      throw ApusError(
        .invalidArgument, "texts may have \(length) tokens", at: location,
        expected:
          "more than \(special) special ones and at most \(positions), as there are positions"
      )
    }
    try self.init(
      model, bare, length, tokenizer.truncation?.side ?? .right, [:], nil, [], compile, location)
  }

  private init(
    _ model: SentenceModel, _ tokenizer: Tokenizer, _ maximumLength: Int,
    _ side: TokenTruncation.Side, _ prompts: [String: String], _ defaultPrompt: String?,
    _ ignored: [String], _ compile: CompileOptions, _ location: String
  ) throws {
    try model.requireInitialized(at: location)
    self.model = model
    self.tokenizer = tokenizer
    self.maximumLength = maximumLength
    self.prompts = prompts
    self.defaultPrompt = defaultPrompt
    ignoredArrays = ignored
    var cutting = tokenizer
    try cutting.enableTruncation(TokenTruncation(maximumLength: maximumLength, side: side))
    self.cutting = cutting
    self.compile = compile
    self.location = location
  }

  /// Elements of a vector.
  public var width: Int { model.width }

  /// The vectors of texts, in their order: `f32[n, width]`.
  ///
  /// - `batch`: the most texts that go through the model at once, 1 to 4096.
  /// - `prompt`: the name of what is put before each text; ``defaultPrompt`` by default.
  /// - Throws: `invalidArgument` for another number; `missing` for a prompt that there is not, naming those there are;
  ///   and as ``tokens(of:prompt:threads:)`` and ``encode(_:batch:onBatch:)``.
  public func encode(
    _ texts: [String], batch: Int = 32, prompt: String? = nil
  ) throws -> NDArray {
    try check(batch)
    return try encode(tokens(of: texts, prompt: prompt), batch: batch)
  }

  // MARK: In two steps

  /// Texts as the model is given them.
  public struct Tokens: Sendable {
    /// Of each text, special tokens included.
    public var ids: [[Int]]
    /// The texts that were too long and have been cut.
    public var truncated: [Int]

    public init(ids: [[Int]], truncated: [Int] = []) {
      self.ids = ids
      self.truncated = truncated
    }
  }

  /// The tokens of texts, and which texts have more than ``maximumLength`` of them.
  ///
  /// - `threads`: how many work on it; one for each processor by default.
  /// - Throws: `missing` for a prompt that there is not; and what the tokenizer throws.
  public func tokens(
    of texts: [String], prompt: String? = nil, threads: Int? = nil
  ) throws -> Tokens {
    var texts = texts
    if let name = prompt ?? defaultPrompt {
      guard let text = prompts[name] else {
        throw ApusError(
          .missing, "there is no prompt '\(name)'", at: location,
          expected: prompts.isEmpty
            ? "none: the model has no prompts"
            : "one of \(prompts.keys.sorted().joined(separator: ", "))")
      }
      texts = texts.map { text + $0 }
    }
    var tokens = Tokens(ids: try tokenizer.ids(of: texts, threads: threads))
    for (index, ids) in tokens.ids.enumerated() where ids.count > maximumLength {
      tokens.truncated.append(index)
      tokens.ids[index] = try cutting.ids(of: texts[index])
    }
    return tokens
  }

  /// The vectors of texts whose tokens are known, in their order: `f32[n, width]`.
  ///
  /// - `onBatch`: hears how many more texts are done.
  /// - Throws: `outOfRange` for a token beyond the vocabulary, and `invalidArgument` for a row of more than
  ///   ``maximumLength`` tokens, with the number of the text; `invalidArgument` for a batch below 1 or above 4096;
  ///   `resource` where memory is short.
  public func encode(
    _ tokens: Tokens, batch: Int = 32, onBatch: (Int) throws -> Void = { _ in }
  ) throws -> NDArray {
    try check(batch)
    let rows = tokens.ids
    try check(rows)
    var result = try NDArray(checking: .f32(rows.count, width))
    // The longest first: the arena grows once.
    let order = rows.indices.sorted { (-rows[$0].count, $0) < (-rows[$1].count, $1) }
    let rowBytes = 4 * width
    var start = 0
    for count in Self.cuts(order.map { rows[$0].count }, batch) {
      let numbers = order[start..<start + count]
      start += count
      let vectors = try run(numbers.map { rows[$0] })
      vectors.withUnsafeBytes { source in
        result.withUnsafeMutableBytes { target in
          for (row, number) in numbers.enumerated() {
            target.baseAddress!.advanced(by: number * rowBytes).copyMemory(
              from: source.baseAddress!.advanced(by: row * rowBytes), byteCount: rowBytes)
          }
        }
      }
      try onBatch(count)
    }
    return result
  }

  private func check(_ batch: Int) throws {
    guard (1...4096).contains(batch) else {
      throw ApusError(
        .invalidArgument, "batches of \(batch) texts", at: location, expected: "1 to 4096")
    }
  }

  private func check(_ rows: [[Int]]) throws {
    let vocabulary = model.encoder.configuration.vocabulary
    for (number, row) in rows.enumerated() {
      guard row.count <= maximumLength else {
        throw ApusError(
          .invalidArgument, "text \(number) has \(row.count) tokens", at: location,
          expected: "at most \(maximumLength)")
      }
      if let token = row.first(where: { !(0..<vocabulary).contains($0) }) {
        throw ApusError(
          .outOfRange, "text \(number) has the token \(token)", at: location,
          expected: "0 ..< \(vocabulary)")
      }
    }
  }

  // MARK: Sizes

  /// The vectors of rows.
  private func run(_ rows: [[Int]]) throws -> NDArray {
    let length = min(Self.length(for: rows.map(\.count).max() ?? 0), maximumLength)
    var ids = [Int32](repeating: 0, count: rows.count * length)
    for (row, tokens) in rows.enumerated() {
      for (place, token) in tokens.enumerated() { ids[row * length + place] = Int32(token) }
    }
    return try predictor(PredictorKey(rows: rows.count, band: Self.band(of: length)))(
      NDArray(checking: ids, shape: [rows.count, length]),
      NDArray(checking: rows.map { Int32($0.count) }, shape: [rows.count]))
  }

  /// How many texts go through the model together, from the first to the last of some that are sorted by length: such
  /// that the fewest tokens are padding, each step counted as some tokens more. Each number is the batch or a power of
  /// two below it, so that steps have few shapes.
  ///
  /// - `lengths`: descending.
  static func cuts(_ lengths: [Int], _ batch: Int) -> [Int] {
    let stepCost = 16
    var sizes = [batch]
    var power = 1
    while power < batch {
      sizes.append(power)
      power *= 2
    }
    // The largest of equally good ones.
    sizes.sort(by: >)
    // The least cost of all from a place on, and the first cut there.
    var costs = [Int](repeating: 0, count: lengths.count + 1)
    var first = [Int](repeating: 1, count: lengths.count)
    for place in lengths.indices.reversed() {
      costs[place] = .max
      for size in sizes where place + size <= lengths.count {
        let cost = costs[place + size] + size * length(for: lengths[place]) + stepCost
        if cost < costs[place] { (costs[place], first[place]) = (cost, size) }
      }
    }
    var cuts: [Int] = []
    var place = 0
    while place < lengths.count {
      cuts.append(first[place])
      place += first[place]
    }
    return cuts
  }

  /// At most a sixteenth is padding, but for texts of a few tokens: multiples of 2 up to 32, of 4 up to 64, and so on.
  static func length(for count: Int) -> Int {
    var step = 2
    while count > 16 * step { step *= 2 }
    return max(1, (count + step - 1) / step) * step
  }

  /// Lengths of one band, sixteen of them, have one predictor, which keeps all.
  private static func band(of length: Int) -> Int {
    var band = 0
    while length > 32 << (2 * band) { band += 1 }
    return band
  }

  private struct PredictorKey: Hashable {
    var rows: Int
    var band: Int
  }

  /// As many predictors are kept, each with memory of its own.
  private static var mostPredictors: Int { 24 }

  private func predictor(_ key: PredictorKey) throws -> Predictor<SentenceModel> {
    order.removeAll { $0 == key }
    order.append(key)
    if let known = predictors[key] { return known }
    if order.count > Self.mostPredictors { predictors[order.removeFirst()] = nil }
    let made = try Predictor(model, compile: compile) { model, arguments in
      [model(arguments[0], lengths: arguments[1]).cast(to: .f32)]
    }
    predictors[key] = made
    return made
  }
}
