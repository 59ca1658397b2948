// BERT with a head that marks where in a text the answer to a question stands.

import ApusGraph
import ApusOps

/// BERT that answers questions by a span of a text (Devlin et al. 2019, section 4.2): integers `[n, t]` → two logits for
/// each token, that the answer starts there and that it ends there.
///
///     starts, ends = vectors · Wᵀ + b,   W: [2, width]
///
/// A row is the question and the text, `[CLS] question [SEP] text [SEP]`, whose tokens have the types 0 and 1:
///
///     let model = BERTForQuestionAnswering(try BERT(contentsOf: "bert-base"))     // a new head
///     try model.initialize(seed: 0)
///     let step = try TrainingStep(model, optimizer: AdamW(learningRate: 3e-5)) { model, batch in
///       let found = model(batch.tokens, types: batch.types, seeing: .lengths(batch.lengths))
///       return answerSpanLoss(found, batch.answers)
///     }
///
/// Folders of Hugging Face's `BertForQuestionAnswering` are read and written; ``answerSpans(starts:ends:within:maximumLength:count:)``
/// finds the best spans.
public struct BERTForQuestionAnswering: PretrainedModel, Sendable {
  /// The encoder. A pooler and a head that tells tokens are no parts of this model.
  public let encoder: BERT
  public let configuration: Configuration
  private let scope = Scope()
  private let head: Linear

  /// The sizes of the encoder, and that the head is there.
  public struct Configuration: ModelConfiguration {
    public var encoder: BERT.Configuration

    public init(_ encoder: BERT.Configuration) {
      self.encoder = encoder
      self.encoder.hasPooler = false
      self.encoder.hasTokenHead = false
    }

    public init(json text: String, at path: String? = nil) throws {
      self.init(try BERT.Configuration(json: text, at: path))
    }

    public var json: String { encoder.json(architecture: "BertForQuestionAnswering") }

    public func validate() throws { try encoder.validate() }
  }

  public init(_ configuration: Configuration) { self.init(BERT(configuration.encoder)) }

  /// An encoder that has learnt before, and a head without values.
  public init(_ encoder: BERT) {
    self.encoder = encoder
    configuration = Configuration(encoder.configuration)
    let width = encoder.configuration.mistake == nil ? encoder.configuration.width : 1
    head = Linear(
      width, 2,
      initializer: .normal(mean: 0, deviation: encoder.configuration.initializerRange), bias: .zeros
    )
  }

  /// The encoder's parameters keep the names that they have in its files.
  public var parts: [(name: String, value: Any)] {
    [("scope", scope)] + encoder.body(nil) + [("qa_outputs", head)]
  }

  /// Logits of where the answer starts and ends: integers `[n, t]` → twice `[n, t]`.
  ///
  /// - `types`: which of the two texts a token belongs to, integers `[n, t]`; all to the first by default.
  /// - `pattern`: `.lengths` where rows end in padding.
  public func callAsFunction(
    _ ids: Tensor, types: Tensor? = nil, seeing pattern: AttentionPattern = .all,
    file: StaticString = #fileID, line: UInt = #line
  ) -> SpanLogits {
    var starts: Tensor?, ends: Tensor?
    _ = scoped(file: file, line: line) {
      let both = head(encoder(ids, types: types, seeing: pattern))
      guard !both.isPoisoned else { return both }
      starts = both[0, axis: -1]
      ends = both[1, axis: -1]
      return both
    }
    let nothing = Tensor(trace: ids.trace, value: nil, type: .f32(1, 1))
    return SpanLogits(starts: starts ?? nothing, ends: ends ?? nothing)
  }

  public static func path(ofStored name: String) -> String? {
    if name.hasPrefix("qa_outputs.") { return name }
    let path = BERT.path(ofStored: name)
    // Of files of an encoder with other heads too.
    return path?.hasPrefix("bert.pooler.") == true ? nil : path
  }
}

/// For each token of some rows the logits that a span starts there and that it ends there, `[n, t]` each.
public struct SpanLogits {
  public var starts: Tensor
  public var ends: Tensor

  public init(starts: Tensor, ends: Tensor) {
    self.starts = starts
    self.ends = ends
  }
}

/// The loss of spans: the mean of the cross-entropies of the first and the last token (Devlin et al. 2019, section 4.2).
///
///     let loss = answerSpanLoss(model(batch.tokens, types: batch.types), batch.answers)
///
/// - `logits`: `[n, t]` each.
/// - `answers`: integers `[n, 2]`, the first and the last token of each answer; -100 for a row that has none, which is left
///   out.
/// - `mask`: bools `[n, t]`, where an answer may lie; other tokens get no probability. All by default. An answer outside
///   makes the loss a number beyond 10⁸.
public func answerSpanLoss(
  _ logits: SpanLogits, _ answers: Tensor, within mask: Tensor? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  logits.starts.trace.withCallLocation(sourceLocation(file, line)) {
    if let poisoned = [logits.starts, logits.ends, answers].first(where: \.isPoisoned) {
      return poisoned
    }
    let shape = logits.starts.shape
    guard shape.rank == 2, logits.ends.shape == shape, answers.dtype.isInteger,
      answers.shape == [shape[0], 2], mask.map({ $0.isPoisoned || $0.shape == shape }) ?? true
    else {
      return .poisoned(
        ApusError(
          .shapeMismatch,
          "answerSpanLoss: \(logits.starts.type) and \(logits.ends.type), answers \(answers.type)"
            + (mask.map { ", mask \($0.type)" } ?? ""),
          expected: "logits [n, t], integers [n, 2] and a mask [n, t]"), like: logits.starts)
    }
    let losses = [logits.starts, logits.ends].enumerated().map { place, all in
      let logits = mask.map { `where`($0, all, -1e9) } ?? all
      return crossEntropy(logits, answers[place, axis: 1])
    }
    return (losses[0] + losses[1]) / 2
  }
}

/// The loss where several spans of a text are right, as where the answer stands there more than once: the mean of `-log` of
/// the probability that all right starts have together, and of that of all right ends (Clark & Gardner 2018, "Simple and
/// Effective Multi-Paragraph Reading Comprehension").
///
/// - `logits`: `[n, t]` each.
/// - `starts`, `ends`: bools `[n, t]`, the first and the last tokens of right answers; one of both at least in each row.
/// - `mask`: bools `[n, t]`, where an answer may lie; other tokens get no probability. All by default.
public func answerSpanLoss(
  _ logits: SpanLogits, starts: Tensor, ends: Tensor, within mask: Tensor? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  logits.starts.trace.withCallLocation(sourceLocation(file, line)) {
    let given = [logits.starts, logits.ends, starts, ends] + (mask.map { [$0] } ?? [])
    if let poisoned = given.first(where: \.isPoisoned) { return poisoned }
    let shape = logits.starts.shape
    guard shape.rank == 2, given.allSatisfy({ $0.shape == shape }),
      given[2...].allSatisfy({ $0.dtype == .bool })
    else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "answerSpanLoss: \(given.map { "\($0.type)" }.joined(separator: ", "))",
          expected: "logits and bools [n, t]"), like: logits.starts)
    }
    let losses = [(logits.starts, starts), (logits.ends, ends)].map { logits, isRight in
      let allowed = mask.map { `where`($0, logits, -1e9) } ?? logits
      let right = `where`(isRight, allowed, -1e9).logsumexp(axis: 1)
      return allowed.logsumexp(axis: 1) - right
    }
    return ((losses[0] + losses[1]) / 2).mean()
  }
}
