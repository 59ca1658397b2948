// Answers to questions: the spans of a text that a model marks.

import Apus
import ApusText

/// Answers questions by a span of a text.
///
///     let answerer = try QuestionAnswerer(folder: "bert-squad")
///     let found = try answerer.answers(to: "Who wrote it?", in: "The letter was written by Paul.", count: 3)
///     print(found[0].text, found[0].score)      // Paul 11.8
///
/// A text that is too long for the model is read in parts that overlap, and the best spans of all parts are taken.
public final class QuestionAnswerer {
  public let model: BERTForQuestionAnswering
  public let tokenizer: Tokenizer
  /// The most tokens of a part: the question, the part of the text and special tokens.
  public let maximumLength: Int
  /// How many tokens of the text two parts have in common; less where the question is long.
  public let stride: Int
  private let predictor: Predictor<BERTForQuestionAnswering>
  private let location: String

  /// A span of a text.
  public struct Answer: Sendable, Hashable {
    public var text: String
    /// Where it stands in the text that was asked.
    public var range: Range<String.Index>
    /// The logits of its first and its last token together: good for comparing answers to one question.
    public var score: Float
  }

  /// Reads a folder of Hugging Face: `config.json` and `model.safetensors` of a `BertForQuestionAnswering`, and
  /// `tokenizer.json`.
  ///
  /// - Throws: what `BERTForQuestionAnswering(contentsOf:)` and `Tokenizer(file:)` throw, `missing` naming `qa_outputs` for a
  ///   model without that head; and as ``init(_:tokenizer:maximumLength:stride:compile:file:line:)``.
  public convenience init(
    folder: String, compile: CompileOptions = CompileOptions(), file: StaticString = #fileID,
    line: UInt = #line
  ) throws {
    try self.init(
      BERTForQuestionAnswering(contentsOf: folder),
      tokenizer: Tokenizer(file: "\(folder)/tokenizer.json"), compile: compile, file: file,
      line: line)
  }

  /// An answerer of parts at hand, such as a model that has been tuned.
  ///
  /// - `tokenizer`: must put special tokens around two texts; its truncation and padding do not count.
  /// - `maximumLength`: as many tokens as the model has positions, at most 384, by default.
  /// - `stride`: a third of that by default.
  /// - Throws: `missing` where the model has no values; `invalidArgument` for a tokenizer of more ids or kinds of texts than
  ///   the model has, and lengths that make no sense.
  public init(
    _ model: BERTForQuestionAnswering, tokenizer: Tokenizer, maximumLength: Int? = nil,
    stride: Int? = nil, compile: CompileOptions = CompileOptions(), file: StaticString = #fileID,
    line: UInt = #line
  ) throws {
    let location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    let sizes = model.configuration.encoder
    let length = maximumLength ?? min(sizes.length, 384)
    let stride = stride ?? length / 3
    var bare = tokenizer
    try bare.enablePadding(nil)
    try bare.enableTruncation(nil)
    guard bare.idLimit <= sizes.vocabulary else {
      throw ApusError(
        .invalidArgument, "the tokenizer has ids up to \(bare.idLimit - 1)", at: location,
        expected: "ids below the vocabulary of \(sizes.vocabulary)")
    }
    let empty = try bare.encode("", pair: "")
    guard (empty.typeIDs.max() ?? 0) < sizes.types else {
      throw ApusError(
        .invalidArgument, "the tokenizer gives tokens the type \(empty.typeIDs.max() ?? 0)",
        at: location, expected: "types below \(sizes.types), as the model has them")
    }
    guard length <= sizes.length, length >= empty.count + 2, stride >= 0, stride < length else {
      throw ApusError(
        .invalidArgument, "parts of \(length) tokens that share \(stride)", at: location,
        expected: "\(empty.count + 2) to \(sizes.length) tokens, and a stride below that")
    }
    self.model = model
    self.tokenizer = bare
    self.maximumLength = length
    self.stride = stride
    self.location = location
    predictor = try Predictor(model, compile: compile) { model, inputs in
      let found = model(inputs[0], types: inputs[1], seeing: .lengths(inputs[2]))
      return [found.starts.cast(to: .f32), found.ends.cast(to: .f32)]
    }
  }

  /// The best answers, the best first. A span counts once.
  ///
  /// - `count`: the most answers; fewer where the text has fewer spans.
  /// - `longest`: the most tokens of an answer.
  /// - Throws: `invalidArgument` for numbers below 1, a text of no tokens, and a question that leaves no place for the text;
  ///   `nonFinite` where the model's weights are not finite; what the tokenizer throws.
  public func answers(
    to question: String, in text: String, count: Int = 1, longest: Int = 30,
    file: StaticString = #fileID, line: UInt = #line
  ) throws -> [Answer] {
    let location = sourceLocation(file, line)
    let parts = try parts(question, text, location)
    // By where they begin and end, in scalars.
    var best: [Range<Int>: Float] = [:]
    for start in Swift.stride(from: 0, to: parts.count, by: 8) {
      let some = parts[start..<min(start + 8, parts.count)]
      for (part, logits) in zip(some, try self.logits(Array(some))) {
        let places = part.sequenceIDs.enumerated().filter { $0.element == 1 }.map(\.offset)
        guard let first = places.first, let last = places.last else { continue }
        for span in try answerSpans(
          starts: logits.starts, ends: logits.ends, within: first..<last + 1,
          maximumLength: longest, count: count, file: file, line: line)
        {
          let range =
            part.offsets[span.tokens.lowerBound]
            .lowerBound..<part.offsets[
              span.tokens.upperBound - 1
            ].upperBound
          best[range] = max(best[range] ?? -.infinity, span.score)
        }
      }
    }
    guard !best.isEmpty else {
      throw ApusError(
        .invalidArgument, "the text has no tokens", at: location, expected: "a text with words")
    }
    let scalars = text.unicodeScalars
    return best.sorted {
      ($1.value, $0.key.lowerBound, $0.key.upperBound)
        < ($0.value, $1.key.lowerBound, $1.key.upperBound)
    }.prefix(count).map { range, score in
      let start = scalars.index(scalars.startIndex, offsetBy: range.lowerBound)
      let end = scalars.index(start, offsetBy: range.count)
      return Answer(text: String(scalars[start..<end]), range: start..<end, score: score)
    }
  }

  /// The question with each part of the text.
  private func parts(_ question: String, _ text: String, _ location: String) throws -> [Encoding] {
    let around = try tokenizer.encode(question, pair: "").count
    let room = maximumLength - around
    guard room >= 1 else {
      throw ApusError(
        .invalidArgument, "the question has \(around) tokens with special ones", at: location,
        expected: "fewer than \(maximumLength), so that there is place for the text")
    }
    var cutting = tokenizer
    try cutting.enableTruncation(
      TokenTruncation(
        maximumLength: maximumLength, strategy: .onlySecond, stride: min(stride, room - 1)))
    let encoding = try cutting.encode(question, pair: text)
    return [encoding] + encoding.overflowing
  }

  private func logits(_ parts: [Encoding]) throws -> [(starts: [Float], ends: [Float])] {
    // Multiples of 32, so that few shapes are compiled.
    let longest = parts.map(\.count).max() ?? 1
    let length = min((longest + 31) / 32 * 32, model.configuration.encoder.length)
    func array(_ values: KeyPath<Encoding, [Int]>) throws -> NDArray {
      try NDArray(
        checking: parts.flatMap { part in
          part[keyPath: values].map { Int32($0) }
            + [Int32](repeating: 0, count: length - part.count)
        }, shape: [parts.count, length])
    }
    let found = try predictor.run([
      array(\.ids), array(\.typeIDs),
      NDArray(checking: parts.map { Int32($0.count) }, shape: [parts.count]),
    ])
    let (starts, ends) = (found[0].floats, found[1].floats)
    return parts.indices.map {
      (
        Array(starts[$0 * length..<($0 + 1) * length]),
        Array(ends[$0 * length..<($0 + 1) * length])
      )
    }
  }
}
