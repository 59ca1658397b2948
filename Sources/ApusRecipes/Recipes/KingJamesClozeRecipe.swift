// king-james-cloze: which of the names before stands here, answered by a span of a text.

import Apus
import ApusLanguage
import ApusText
import Foundation

/// An encoder that has read before, tuned to mark the answers to cloze questions in the Authorized Version of 1611.
struct KingJamesClozeRecipe: SupervisedRecipe {
  static let folder = RecipeOption<String?>(
    "model", default: nil, .any,
    "The folder of the encoder and its tokenizer, where it is not the usual one.", isSetting: false)
  static let verses = RecipeOption(
    "verses", default: 3, .between(1, 40), "Verses of a passage.")
  static let length = RecipeOption(
    "length", default: 192, .between(16, 4096),
    "The most tokens of a question with its passage; longer ones are left out.")
  static let export = RecipeOption<String?>(
    "export", default: nil, .any,
    "A folder for the model and its tokenizer, as the Python package transformers reads them.",
    isSetting: false)
  /// Verses that follow one another and are learnt from together, or held out together.
  private static let block = 50

  let name = "king-james-cloze"
  let summary = "a pretrained BERT marks which name is meant"
  let discussion = """
    Answers by a span (Devlin et al. 2019) to cloze questions (Hermann et al. 2015): a name is hidden in a verse of the King \
    James Bible and stands in the three verses before, among other names. An encoder gets a head that marks where the answer \
    starts and ends. Each tenth block of fifty verses is held out: exact match and F1 as SQuAD has them, beside the \
    passage's most frequent name and its last. The encoder is sentiment-bert's by default (see there for the package); --model \
    or APUS_MINILM name another folder, such as what king-james-bert --length 192 --export writes. The text is king-james-gpt's.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 2), CommonOption.batch.with(default: 16),
    CommonOption.learningRate.with(default: 5e-5), CommonOption.seed, CommonOption.data, folder,
    verses, length, export,
  ]
  let metric = RecipeMetric("span accuracy", isFraction: true, goal: .larger)
  var quickSteps: Int { 10 }

  func model(_ options: RecipeOptions) throws -> BERTForQuestionAnswering {
    let folder = try PretrainedEncoder.folder(options[Self.folder])
    return BERTForQuestionAnswering(try BERT(contentsOf: folder))
  }

  /// With an encoder of the usual sizes and first values: no folder is read.
  func steps(_ options: RecipeOptions, compile: CompileOptions) throws -> [RecipeStep] {
    let model = BERTForQuestionAnswering(
      BERTForQuestionAnswering.Configuration(
        BERT.Configuration(width: 384, layers: 6, heads: 12, hidden: 1536)))
    return try steps(of: model, options, compile: compile)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW.ofBERT(options, stepsPerEpoch: stepsPerEpoch, rise: 10)
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
  }

  /// A name that stands in the passage more than once may be marked wherever it stands.
  func loss(_ model: BERTForQuestionAnswering, _ batch: SymbolicBatch) -> Tensor {
    let logits = model(batch.tokens, types: batch.types, seeing: .lengths(batch.lengths))
    let inPassage = batch.types .== 1
    let (starts, ends) = (batch.starts .== 1, batch.ends .== 1)
    func isRight(_ logits: Tensor, _ right: Tensor) -> Tensor {
      let best = `where`(inPassage, logits, -1e9).argmax(axis: 1).expandingDims(at: 1)
      return right.cast(to: .f32).takeAlong(best, axis: 1)
    }
    batch.report(
      metric.name, (isRight(logits.starts, starts) * isRight(logits.ends, ends)).mean())
    return answerSpanLoss(logits, starts: starts, ends: ends, within: inPassage)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let shape: Shape = [options.batch, 96]
    return [
      RandomField("tokens", shape, .integers(below: 30_522)),
      RandomField("types", shape, .integers(below: 2)),
      RandomField("starts", shape, .integers(below: 2)),
      RandomField("ends", shape, .integers(below: 2)),
      RandomField("lengths", [options.batch], .lengths(upTo: 96)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let (training, test) = try questions(options)
    let tokenizer = try tokenizer(options)
    return RecipeData(
      training: try batches(training, tokenizer, options.batch, options),
      validation: try batches(test, tokenizer, 32, options))
  }

  /// Exact match and F1 of the spans that are found, beside names that are taken by a rule.
  func judge(
    _ model: BERTForQuestionAnswering, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let all = try questions(run.options).test
    let tokenizer = try tokenizer(run.options)
    let test = run.isQuick ? Array(all.prefix(100)) : all
    // The same length as the batches', so that no question is cut.
    let answerer = try QuestionAnswerer(
      model, tokenizer: tokenizer,
      maximumLength: min(run.options[Self.length], model.configuration.encoder.length),
      compile: run.compile)
    var (found, frequent, last) = (AnswerScores(), AnswerScores(), AnswerScores())
    var lines = ["It answers:"], chance = 0.0
    for (number, cloze) in test.enumerated() {
      let answer = try answerer.answers(to: cloze.question, in: cloze.passage, longest: 12)[0].text
      try found.add(answer, expected: [cloze.answer])
      try frequent.add(cloze.mostFrequent, expected: [cloze.answer])
      try last.add(cloze.names.last?.text ?? "", expected: [cloze.answer])
      chance += cloze.chance / Double(test.count)
      if number % max(test.count / 4, 1) == 0, lines.count <= 8 {
        lines += ["  \(cloze.passage)", "  \(cloze.question)"]
        lines.append(
          "  → \(answer)" + (answer == cloze.answer ? "" : " (\(cloze.answer))"))
      }
    }
    run.tell(lines.joined(separator: "\n"))
    if let folder = run.options[Self.export], run.isFirst {
      try model.save(folder: folder)
      try tokenizer.save(to: "\(folder)/tokenizer.json")
      run.tell("The model for transformers is in \(folder).")
    }
    func figure(_ name: String, _ value: Double) -> RecipeOutcome.Figure {
      RecipeOutcome.Figure(name, value, isFraction: true)
    }
    return [
      figure("exact match", found.exactMatch), figure("F1", found.f1),
      figure("exact match by the most frequent name", frequent.exactMatch),
      figure("exact match by the last name", last.exactMatch),
      figure("exact match by chance among the names", chance),
    ]
  }

  // MARK: Questions

  private func questions(
    _ options: RecipeOptions
  ) throws -> (training: [NameCloze], test: [NameCloze]) {
    let folder = KingJamesText.folder(options.data)
    let verses = try KingJamesText.verses(in: folder).map {
      $0.replacingOccurrences(of: "¶ ", with: "")
    }
    let blocks = stride(from: 0, to: verses.count, by: Self.block).map {
      verses[$0..<min($0 + Self.block, verses.count)]
    }
    let (learnt, held) = (
      blocks.enumerated().filter { $0.offset % 10 != 9 }.map(\.element),
      blocks.enumerated().filter { $0.offset % 10 == 9 }.map(\.element)
    )
    // What a name is, is told by the whole text: names are found, not learnt.
    let names = NameCloze.names(of: verses)
    func questions(_ blocks: [ArraySlice<String>]) -> [NameCloze] {
      blocks.flatMap {
        NameCloze.questions($0, names: names, before: options[Self.verses])
      }
    }
    let result = (questions(learnt), questions(held))
    guard !result.0.isEmpty, !result.1.isEmpty else {
      throw ApusError(
        .invalidFile,
        "the text has \(result.0.count) questions to learn from and \(result.1.count) to be judged by",
        at: folder, expected: "names that stand in verses and in those before them")
    }
    return result
  }

  /// Questions with their passages as tokens; those that are too long are left out.
  private func batches(
    _ questions: [NameCloze], _ tokenizer: Tokenizer, _ size: Int, _ options: RecipeOptions
  ) throws -> LengthBatches {
    let encodings = try tokenizer.encodeBatch(questions.map { ($0.question, $0.passage) })
    var rows: [(tokens: [Int], types: [Int], starts: [Int], ends: [Int])] = []
    let most = options[Self.length]
    for (cloze, encoding) in zip(questions, encodings) where encoding.count <= most {
      var starts = [Int](repeating: 0, count: encoding.count), ends = starts
      let places = encoding.sequenceIDs.enumerated().filter { $0.element == 1 }.map(\.offset)
      for range in cloze.places {
        // A name may share a token with what touches it.
        guard
          let first = places.first(where: { encoding.offsets[$0].upperBound > range.lowerBound }),
          let last = places.last(where: { encoding.offsets[$0].lowerBound < range.upperBound })
        else { continue }
        (starts[first], ends[last]) = (1, 1)
      }
      let types = encoding.sequenceIDs.map { $0 == 1 ? 1 : 0 }
      if starts.contains(1), ends.contains(1) { rows.append((encoding.ids, types, starts, ends)) }
    }
    guard !rows.isEmpty else {
      throw ApusError(
        .invalidArgument, "--length \(most) leaves no question",
        expected: "at least \(encodings.map(\.count).min() ?? most)")
    }
    let lengths = [48, 64, 80, 96, 112, 128, 160, 192].filter { $0 < most } + [most]
    return try SequenceDataset([
      "tokens": .tokens(rows.map(\.tokens)), "types": .tokens(rows.map(\.types)),
      "starts": .tokens(rows.map(\.starts)), "ends": .tokens(rows.map(\.ends)),
    ]).batched(size, lengths: lengths)
  }

  /// Neither cuts nor fills up.
  private func tokenizer(_ options: RecipeOptions) throws -> Tokenizer {
    var tokenizer = try PretrainedEncoder.tokenizer(options[Self.folder])
    try tokenizer.enableTruncation(nil)
    guard tokenizer.tokenToID(NameCloze.mask) != nil else {
      let folder = try PretrainedEncoder.folder(options[Self.folder])
      throw ApusError(
        .invalidFile, "the tokenizer has no token '\(NameCloze.mask)'",
        at: "\(folder)/tokenizer.json", expected: "one of a BERT, which puts it where a name was")
    }
    return tokenizer
  }
}
