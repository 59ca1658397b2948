// king-james-bert: hidden words of the King James Bible, told by what stands around them.

import Apus
import ApusText
import Foundation

/// A small BERT that learns from first values to tell hidden tokens of the Authorized Version of 1611.
struct KingJamesBERTRecipe: SupervisedRecipe {
  static let vocabulary = RecipeOption(
    "vocabulary", default: 6000, .between(300, 1 << 20), "Tokens, learnt from the text.")
  static let width = RecipeOption("width", default: 256, .between(8, 4096), "Of the vectors.")
  static let layers = RecipeOption("layers", default: 4, .between(1, 48), "Layers of the encoder.")
  static let heads = RecipeOption("heads", default: 4, .between(1, 64), "Heads of attention.")
  static let length = RecipeOption(
    "length", default: 34, .between(8, 4096), "Tokens that are read at once.")
  static let masked = RecipeOption(
    "masked", default: 0.15, .share, "Share of a row's tokens that are to be told.")
  static let export = RecipeOption<String?>(
    "export", default: nil, .any,
    "A folder for the model and its tokenizer, as the Python package transformers reads them.",
    isSetting: false)
  private static let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  /// Share of a row that is told where the model is judged, whatever it learns from.
  private static let judgedShare = 0.15

  let name = "king-james-bert"
  let summary = "a BERT learns to tell hidden words"
  let discussion = """
    A BERT learns from first values to tell hidden tokens of the King James Bible (Devlin et al. 2019): of each row 15 % are \
    chosen anew in each epoch; eight of ten are masked, one becomes a random token, one stays. The byte-level vocabulary is \
    learnt from the text too. The last twentieth of the verses is held out, with masks that stay. Beside the model stand \
    the most frequent token, and a table of what stood between two neighbours, which it is shown unmasked. --export \
    writes a folder for transformers, and with --length 192 for king-james-cloze. The text is king-james-gpt's.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 12), CommonOption.batch.with(default: 32),
    CommonOption.learningRate.with(default: 5e-4), CommonOption.seed, CommonOption.data,
    vocabulary, width, layers, heads, length, masked, export,
  ]
  let metric = RecipeMetric("masked accuracy", isFraction: true, goal: .larger)
  let otherMetrics = [RecipeMetric("bits per masked token", goal: .smaller)]

  func model(_ options: RecipeOptions) throws -> BERT {
    var configuration = BERT.Configuration(
      vocabulary: options[Self.vocabulary], length: options[Self.length],
      width: options[Self.width], layers: options[Self.layers], heads: options[Self.heads],
      dropout: 0)
    // With BERT's 0.02 a narrow model attends to everything alike for thousands of steps, in which it learns no more than
    // how frequent tokens are. So that products of unit variance begin with unit variance:
    configuration.initializerRange = 1 / Double(options[Self.width]).squareRoot()
    try configuration.validate()
    return BERT(configuration)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    AdamW.ofBERT(options, stepsPerEpoch: stepsPerEpoch, rise: 20)
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
  }

  func loss(_ model: BERT, _ batch: SymbolicBatch) -> Tensor {
    let logits = Self.scores(model, batch.tokens, batch.places)
    let loss = crossEntropy(logits, batch.labels)
    batch.report(metric.name, accuracy(logits, batch.labels))
    batch.report(otherMetrics[0].name, loss / log(2))
    return loss
  }

  /// Scores of what stood at some places of each row: `[n, t]` and `[n, k]` → `[n, k, vocabulary]`. No others are computed.
  private static func scores(_ model: BERT, _ tokens: Tensor, _ places: Tensor) -> Tensor {
    let vectors = model(tokens)
    guard vectors.shape.rank == 3, places.shape.rank == 2 else { return vectors }
    let (n, t, width) = (vectors.shape[0], vectors.shape[1], vectors.shape[2])
    let rows = places + Tensor.iota([n, 1], axis: 0) * Double(t)
    return model.tokenLogits(vectors.reshaped([n * t, width]).take(rows))
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let (batch, length) = (options.batch, options[Self.length])
    let chosen = max(1, Int((Double(length - 2) * options[Self.masked]).rounded()))
    return [
      RandomField("tokens", [batch, length], .integers(below: options[Self.vocabulary])),
      RandomField("places", [batch, chosen], .integers(below: length)),
      RandomField("labels", [batch, chosen], .integers(below: options[Self.vocabulary])),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let text = try Text(options)
    return RecipeData(
      training: text.windows(
        text.training, share: options[Self.masked], batch: options.batch, options),
      validation: text.windows(text.test, share: Self.judgedShare, batch: 32, options))
  }

  /// What counting tells of the same places, and rows with what the model tells.
  func judge(
    _ model: BERT, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let text = try Text(run.options)
    let rows = text.windows(text.test, share: Self.judgedShare, batch: 1, run.options).rows()
    run.tell("It tells:\n" + (try filled(model, text, rows, run)))
    if let folder = run.options[Self.export] { try text.save(model, folder: folder, run) }
    return counted(text, rows)
  }

  /// The most frequent token, and tables of neighbours.
  private func counted(_ text: Text, _ rows: [MaskedWindows.Row]) -> [RecipeOutcome.Figure] {
    let table = NeighbourTable(text.training, vocabulary: text.tokenizer.idLimit)
    var (frequent, between, single, bits, count) = (0, 0, 0.0, 0.0, 0)
    let most = table.shares.indices.max { table.shares[$0] < table.shares[$1] } ?? 0
    for row in rows {
      for (place, label) in zip(row.places, row.labels) {
        let here = row.start + Int(place) - 1
        // The text goes on beyond the row; at its ends the same token stands on either side.
        let left = text.test[max(here - 1, 0)]
        let right = text.test[min(here + 1, text.test.count - 1)]
        let found = table.probabilities(between: left, and: right)
        let best = found.indices.max { found[$0] < found[$1] } ?? 0
        count += 1
        frequent += Int(label) == most ? 1 : 0
        between += Int(label) == best ? 1 : 0
        single -= log2(table.shares[Int(label)])
        bits -= log2(found[Int(label)])
      }
    }
    let all = Double(max(count, 1))
    return [
      RecipeOutcome.Figure(
        "accuracy by the most frequent token", Double(frequent) / all, isFraction: true),
      RecipeOutcome.Figure("accuracy by both neighbours", Double(between) / all, isFraction: true),
      RecipeOutcome.Figure("bits by single tokens", single / all),
      RecipeOutcome.Figure("bits by both neighbours", bits / all),
    ]
  }

  /// A few rows: what the model tells in brackets, and behind a bar what stood there where that is something else.
  private func filled(
    _ model: BERT, _ text: Text, _ rows: [MaskedWindows.Row], _ run: RecipeRun
  ) throws -> String {
    let predict = try Predictor(model, compile: run.compile) { model, inputs in
      [Self.scores(model, inputs[0], inputs[1]).argmax(axis: -1)]
    }
    return try stride(from: 0, to: rows.count, by: max(rows.count / 3, 1)).prefix(3).map { number in
      let row = rows[number]
      let told = try predict.run([
        try NDArray(checking: row.tokens, shape: [1, row.tokens.count]),
        try NDArray(checking: row.places, shape: [1, row.places.count]),
      ])[0].integers
      var line = "", start = 1
      for (place, (label, found)) in zip(row.places.map(Int.init), zip(row.labels, told)).sorted(
        by: { $0.0 < $1.0 })
      {
        let words = try [row.tokens[start..<place].map(Int.init), [found], [Int(label)]]
          .map { try text.tokenizer.decode($0) }
        line += words[0] + "[" + words[1] + (words[1] == words[2] ? "" : "|" + words[2]) + "]"
        start = place + 1
      }
      return "  "
        + (line + (try text.tokenizer.decode(row.tokens[start...].dropLast().map(Int.init))))
        .split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }.joined(separator: "\n")
  }

  /// The text as tokens.
  private struct Text {
    let tokenizer: Tokenizer
    let training: [Int32]
    let test: [Int32]

    init(_ options: RecipeOptions) throws {
      let folder = KingJamesText.folder(options.data)
      // With the space before, as words within a text have it.
      let verses = try KingJamesText.verses(in: folder).map { " " + $0 }
      let end = verses.count / 20 * 19
      var tokenizer = try BPETrainer(
        vocabularySize: options[KingJamesBERTRecipe.vocabulary],
        specialTokens: KingJamesBERTRecipe.special
      ).train(verses[..<end])
      try tokenizer.encloseTexts(start: "[CLS]", separator: "[SEP]")
      func tokens(_ verses: ArraySlice<String>) throws -> [Int32] {
        try tokenizer.ids(of: Array(verses), addSpecialTokens: false).flatMap { $0 }.map {
          Int32($0)
        }
      }
      training = try tokens(verses[..<end])
      test = try tokens(verses[end...])
      self.tokenizer = tokenizer
      let least = 2 * options[KingJamesBERTRecipe.length]
      guard min(training.count, test.count) > least else {
        throw ApusError(
          .invalidFile,
          "the text has \(training.count) tokens to learn from and \(test.count) to be judged by",
          at: folder, expected: "more than \(least) of both")
      }
    }

    func windows(
      _ tokens: [Int32], share: Double, batch: Int, _ options: RecipeOptions
    ) -> MaskedWindows {
      func id(_ token: String) -> Int { tokenizer.tokenToID(token) ?? 0 }
      return MaskedWindows(
        tokens, length: options[KingJamesBERTRecipe.length], share: share, batch: batch,
        special: MaskedWindows.Special(
          start: id("[CLS]"), separator: id("[SEP]"), mask: id("[MASK]")),
        words: KingJamesBERTRecipe.special.count..<tokenizer.idLimit)
    }

    /// - Throws: as `BERT.save(folder:)`.
    func save(_ model: BERT, folder: String, _ run: RecipeRun) throws {
      guard run.isFirst else { return }
      try model.save(folder: folder)
      var named = tokenizer
      // The space before a hidden word is part of it.
      try named.addTokens([AddedToken("[MASK]", isSpecial: true, stripsLeft: true)])
      try named.save(to: "\(folder)/tokenizer.json")
      let names = ["pad", "unk", "cls", "sep", "mask"]
      let said = zip(names, KingJamesBERTRecipe.special).map {
        ("\($0)_token", JSON.string($1))
      }
      let configuration = JSON.object(
        [
          ("tokenizer_class", "PreTrainedTokenizerFast"),
          ("model_max_length", .integer(model.configuration.length)),
        ] + said)
      try AtomicFile.write(configuration.text + "\n", to: "\(folder)/tokenizer_config.json")
      run.tell("The model for transformers is in \(folder).")
    }
  }
}
