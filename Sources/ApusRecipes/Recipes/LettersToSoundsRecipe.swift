// italian-sounds: how a written word is said.

import Apus
import Foundation

/// An encoder of letters and a decoder of phones with attention, on the words of Italian.
struct LettersToSoundsRecipe: SupervisedRecipe {
  static let units = RecipeOption(
    "units", default: 256, .between(1, 2048), "Units of the LSTMs, the encoder's in each direction."
  )
  static let width = RecipeOption(
    "width", default: 64, .between(1, 1024), "Of the letters' and phones' vectors.")
  static let beams = RecipeOption(
    "beams", default: 1, .between(1, 64),
    "Beginnings of a transcription that are kept when words are said; more than 1 is a beam search.",
    isSetting: false)
  /// Letters and phones, 0 included: the padding of letters, the boundary of phones.
  static let letters = 48
  static let phones = 48
  /// What words are padded to. Phones are as many as letters, or few more.
  static let lengths = [8, 10, 12, 14, 18, 28]
  private static let place = "/usr/share/festival/dicts/ifd"
  private static let file = "lex.out"

  let name = "italian-sounds"
  let summary = "an LSTM with attention says written Italian"
  let discussion = """
    Letters to sounds: an LSTM reads a word from both ends, another says its phones, with attention to the first. Festival's \
    Italian lexicon (GPL-2+) has 410,000 words; those of which the first four letters fall in each tenth group are held \
    out, so that no other form of a word is learnt. A word is right where all its phones are, with stress and open or \
    closed e and o. Beside it stand the sounds that letters have most often between their neighbours. The lexicon is in \
    the Debian package festlex-ifd; --data or APUS_ITALIAN_LEXICON name another folder.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs, CommonOption.batch.with(default: 128),
    CommonOption.learningRate.with(default: 2e-3), CommonOption.seed, CommonOption.data, units,
    width, beams,
  ]
  let metric = RecipeMetric("word accuracy", isFraction: true, goal: .larger)
  let otherMetrics = [RecipeMetric("phone accuracy", isFraction: true, goal: .larger)]

  func model(_ options: RecipeOptions) -> PhoneTranscriber {
    PhoneTranscriber(
      letters: Self.letters, phones: Self.phones, width: options[Self.width],
      units: options[Self.units])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(learningRate: .falling(from: options.learningRate, by: 0.25, an: stepsPerEpoch))
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch), clipNorm: 1)
  }

  /// Whoever takes the likeliest phone at each step says a word right where each phone is the likeliest behind those before
  /// it that are right. So teacher forcing counts the words that greedy decoding gets right.
  func loss(_ model: PhoneTranscriber, _ batch: SymbolicBatch) -> Tensor {
    let logits = model(
      batch.letters, lengths: batch.lengths, target: batch.phones,
      targetLengths: batch.phonesLengths)
    batch.report("phone accuracy", accuracy(logits, batch.phones, ignoring: -100))
    let isRight = logicalOr(logits.argmax(axis: -1) .== batch.phones, batch.phones .< 0)
    batch.report(metric.name, isRight.cast(to: .f32).min(axis: 1).mean())
    return crossEntropy(logits, batch.phones)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let (batch, length) = (options.batch, Self.lengths[2])
    return [
      RandomField("letters", [batch, length], .integers(below: Self.letters)),
      RandomField("phones", [batch, length], .integers(below: Self.phones)),
      RandomField("lengths", [batch], .lengths(upTo: length)),
      RandomField("phonesLengths", [batch], .lengths(upTo: length)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let lexicon = try lexicon(options)
    func batches(_ words: [SpokenWord], _ size: Int) throws -> LengthBatches {
      let numbered = words.map { lexicon.numbered($0) }
      return try SequenceDataset([
        "letters": .tokens(numbered.map(\.letters)),
        "phones": .labels(numbered.map { $0.phones + [PhoneTranscriber.boundary] }),
      ]).batched(size, lengths: Self.lengths)
    }
    return RecipeData(
      training: try batches(lexicon.training, options.batch),
      validation: try batches(lexicon.test, 256))
  }

  /// What a table gets right, and what the model says when it hears itself alone.
  func judge(
    _ model: PhoneTranscriber, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let lexicon = try lexicon(run.options)
    let every = run.isQuick ? 20 : 1
    func some(_ words: [SpokenWord]) -> [SpokenWord] {
      stride(from: 0, to: words.count, by: every).map { words[$0] }
    }
    let test = some(lexicon.test)
    let letters = test.map { lexicon.numbered($0).letters }
    let said = try transcribed(letters, model, run)
    let table = LetterTable(some(lexicon.training).map { lexicon.numbered($0) })
    let counted = letters.map { table.phones(of: $0) }
    let beams = run.options[Self.beams]
    let searched = beams > 1 ? try transcribed(letters, model, run, beams: beams) : nil
    run.tell(samples(test, searched ?? said, counted, lexicon))
    let learnt = lexicon.score(said, of: test), simple = lexicon.score(counted, of: test)
    func figure(_ name: String, _ value: Double) -> RecipeOutcome.Figure {
      RecipeOutcome.Figure(name, value, isFraction: true)
    }
    return [
      figure("word accuracy, greedy", learnt.words),
      figure("word accuracy by a table of letters", simple.words),
      figure("phone error rate, greedy", learnt.phoneErrors),
      figure("phone error rate by a table of letters", simple.phoneErrors),
      figure("word accuracy, greedy, stress and openness aside", learnt.wordsWithoutStress),
    ]
      + (searched.map { said in
        let score = lexicon.score(said, of: test)
        return [
          figure("word accuracy, \(beams) beams", score.words),
          figure("phone error rate, \(beams) beams", score.phoneErrors),
        ]
      } ?? [])
  }

  /// Words of one padded length at a time.
  private func transcribed(
    _ words: [[Int]], _ model: PhoneTranscriber, _ run: RecipeRun, beams: Int = 1
  ) throws -> [[Int]] {
    let decoder = try PhoneDecoder(model, compile: run.compile)
    var found = [[Int]](repeating: [], count: words.count)
    for (place, length) in Self.lengths.enumerated() {
      let least = place == 0 ? 0 : Self.lengths[place - 1]
      let own = words.indices.filter { words[$0].count > least && words[$0].count <= length }
      let size = max(256 / beams, 1)
      for start in stride(from: 0, to: own.count, by: size) {
        let part = own[start..<min(start + size, own.count)]
        let letters = part.map { words[$0] }, most = Self.lengths.last!
        let said =
          beams > 1
          ? try decoder.search(letters, padding: length, most: most, beams: beams)
          : try decoder.transcribe(letters, padding: length, most: most)
        for (word, phones) in zip(part, said) { found[word] = phones }
      }
    }
    return found
  }

  private func samples(
    _ words: [SpokenWord], _ said: [[Int]], _ counted: [[Int]], _ lexicon: SpokenLexicon
  ) -> String {
    // Spread over the whole, so that they are of all kinds.
    let places = stride(from: 0, to: words.count, by: max(words.count / 8, 1)).prefix(8)
    return "It says:"
      + places.map { place in
        let right = words[place].sounds[0].joined(separator: " ")
        let own = lexicon.names(said[place]).joined(separator: " ")
        return "\n  \(words[place].text): \(own)" + (own == right ? "" : "   (\(right))")
      }.joined()
  }

  private func lexicon(_ options: RecipeOptions) throws -> SpokenLexicon {
    let variable = ProcessInfo.processInfo.environment["APUS_ITALIAN_LEXICON"] ?? ""
    let folder = options.data ?? (variable.isEmpty ? Self.place : variable)
    let path = "\(folder)/\(Self.file)"
    guard FileManager.default.fileExists(atPath: path) else {
      throw ApusError(
        .io, "the Italian lexicon is not there: no file \(Self.file)", at: folder,
        expected: "the Debian package festlex-ifd ('apt install festlex-ifd'), or --data, or "
          + "APUS_ITALIAN_LEXICON")
    }
    return try SpokenLexicon(PronouncingLexicon.read(path), path: path)
  }
}
