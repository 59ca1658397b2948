// The page on language: texts as vectors.

import Apus
import ApusLanguage
import ApusText
import Foundation
import Testing

@Suite struct LanguagePage {
  private static let encoder = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ApusLanguageTests/Fixtures/encoder").path

  @Test func textsFromTexts() throws {
    let rows = (0..<600).map { row in
      (0..<(2 + row % 4)).map { 2 + (row * 7 + $0 * $0 * 5 + row / 9) % 14 }
    }
    let sizes = EncoderDecoderTransformer.Configuration(
      vocabulary: 16, length: 12, width: 32, layers: 1, heads: 2, dropout: 0)
    let model = EncoderDecoderTransformer(sizes)  // token 0 starts a row, 1 ends it
    let data = try SequenceDataset([
      "source": .tokens(rows), "target": .labels(rows.map { $0.reversed() + [1] }),
    ])
    let rate = LearningRate.inverseRoot(peak: 3e-3, warmUp: 60)
    let trainer = try Trainer(model, optimizer: Adam(learningRate: rate, beta2: 0.98)) {
      model, batch in
      let scores = model(batch.source, lengths: batch.lengths, predicting: batch.target)
      return crossEntropy(scores, batch.target, labelSmoothing: 0.1)
    }
    try trainer.fit(data.batched(32), epochs: 12, callbacks: [])

    let generator = try EncoderDecoderGenerator(model)
    let written = try generator.generate([[5, 9, 7], [4, 2]])  // greedily, ends included
    let found = try generator.search([[5, 9, 7]], beams: BeamSearch(width: 4))[0]
    print(found[0].tokens, found[0].score)
    #expect(written.count == 2 && found.count == 4)
    #expect(found[0].tokens.last == 1)
  }

  @Test func scoresOfTexts() {
    let texts = ["the cat sat on the mat", "a dog"]
    let references = ["the cat is on the mat", "a dog"]
    var (chrF, bleu, rouge) = (ChrF(), BLEU(), ROUGE())
    for (text, reference) in zip(texts, references) {
      chrF.add(text, reference: reference)
      bleu.add(text, reference: reference)
      rouge.add(text, reference: reference)
    }
    print(chrF.value!, bleu.value!, rouge.rougeL!.f1)
    #expect((50...100).contains(chrF.value!) && rouge.rouge1!.f1 > 0.9)
  }

  @Test func textFromAPrompt() throws {
    let folder = try Book.folder() + "/small"
    let tokenizer = try BPETrainer(vocabularySize: 280, includesAllBytes: true)
      .train(["the fox and the dog"])
    let small = GPT2(
      .init(vocabulary: tokenizer.idLimit, length: 64, width: 32, layers: 2, heads: 4))
    try small.initialize(seed: 1)
    try small.save(folder: folder)
    try tokenizer.save(to: "\(folder)/tokenizer.json")

    let generator = try TextGenerator(folder: folder)  // config.json, weights, tokenizer.json
    var settings = generator.settings  // as generation_config.json says
    settings.newTokens = 40
    settings.sampling = TokenSampling(temperature: 0.8, topP: 0.95)
    settings.stops = ["\n"]
    let found = try generator.generate("The fox", settings: settings, seed: 7) {
      print($0, terminator: "")  // as it comes, whole characters
    }
    print(found.tokens.count, found.ending)  // .end, .stop or .length
    #expect(found.tokens.count <= 40)
  }

  @Test func sentences() throws {
    let folder = Self.encoder
    let encoder = try SentenceEncoder(folder: folder)  // all-MiniLM-L6-v2, or another
    let texts = ["The man eats bread.", "A woman reads a book.", "The river is blue."]
    let vectors = try encoder.encode(texts)  // f32[3,width]
    let cosines = try cosineSimilarities(vectors, vectors)  // f32[3,3]
    let query = try encoder.encode(["Somebody eats"])
    for hit in try mostSimilarRows(to: query, in: vectors, count: 2)[0] {
      print(hit.score, texts[hit.row])
    }
    #expect(vectors.shape == [3, 16] && abs(cosines.floats[4] - 1) < 1e-5)

    let tokens = try encoder.tokens(of: texts)
    print(tokens.truncated, encoder.maximumLength)
    let same = try encoder.encode(tokens, batch: 16) { done in print("\(done) more") }
    #expect(same == vectors && tokens.truncated.isEmpty)

    let model = SentenceModel(encoder.model.encoder, pooling: .mean)
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 2e-3)) { model, batch in
      let x = model(batch.first, lengths: batch.firstLengths)
      let y = model(batch.second, lengths: batch.secondLengths)
      // Each text is to be nearest to its own pair (van den Oord et al. 2018, "InfoNCE").
      return crossEntropy(20 * x.matmul(y, transposeOther: true), batch.pairs)
    }
    let tuned = try SentenceEncoder(model, tokenizer: encoder.tokenizer)
    let first = try encoder.tokenizer.encodeBatch(texts)
    let length = first.map(\.count).max()!
    let ids = NDArray(
      first.flatMap { ($0.ids + [Int](repeating: 0, count: length - $0.count)).map(Int32.init) },
      shape: [3, length])
    let lengths = NDArray(first.map { Int32($0.count) }, shape: [3])
    let batch = Batch(
      names: ["first", "firstLengths", "second", "secondLengths", "pairs"],
      arrays: [ids, lengths, ids, lengths, NDArray([1, 2, 0] as [Int32], shape: [3])])
    let losses = try (0..<10).map { _ in try step.run(batch).loss }
    #expect(losses[9] < losses[0])
    #expect(try tuned.encode(texts) != vectors)
  }

  @Test func answersBySpan() throws {
    let encoder = Self.encoder
    let folder = URL(filePath: encoder).deletingLastPathComponent().appending(path: "answerer").path
    let text = "The man eats bread, and a woman reads in the garden."
    let saved = try Book.folder()
    defer { try? FileManager.default.removeItem(atPath: saved) }

    let answerer = try QuestionAnswerer(folder: folder)  // config.json, weights, tokenizer.json
    let found = try answerer.answers(to: "Who eats?", in: text, count: 3)
    for answer in found {
      print(answer.score, answer.text)  // and answer.range, where it stands
    }
    #expect(found.count == 3 && found[0].score >= found[1].score)

    let model = BERTForQuestionAnswering(try BERT(contentsOf: encoder))
    try model.initialize(seed: 0)  // the head
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 1e-3)) { model, batch in
      let logits = model(batch.tokens, types: batch.types, seeing: .lengths(batch.lengths))
      return answerSpanLoss(logits, batch.answers, within: batch.types .== 1)
    }
    try model.save(folder: saved)  // Python: AutoModelForQuestionAnswering.from_pretrained(…)
    let batch = Batch([
      "tokens": NDArray([2, 9, 3, 8, 11, 12, 3, 0] as [Int32], shape: [1, 8]),
      "types": NDArray([0, 0, 0, 1, 1, 1, 1, 0] as [Int32], shape: [1, 8]),
      "lengths": NDArray([7] as [Int32], shape: [1]),
      "answers": NDArray([4, 5] as [Int32], shape: [1, 2]),
    ])
    let losses = try (0..<10).map { _ in try step.run(batch).loss }
    #expect(losses[9] < losses[0])
    #expect(try BERTForQuestionAnswering(contentsOf: saved).configuration == model.configuration)

    var scores = AnswerScores()
    try scores.add("the Eiffel Tower", expected: ["Eiffel tower.", "the tower"])
    print(scores.exactMatch, scores.f1)  // 1.0 1.0
    #expect(scores.exactMatch == 1 && scores.f1 == 1)
  }

  @Test func adapters() throws {
    let folder = Self.encoder
    let saved = try Book.folder()
    defer { try? FileManager.default.removeItem(atPath: saved) }
    let bert = try BERT(contentsOf: folder)
    let all = bert.parameterCount
    let paths = try bert.addLowRankAdapters(to: ["*.query", "*.value"], rank: 2, alpha: 4)
    print(paths[0], bert.parameterCount, "of", all)  // what is trained now
    #expect(paths.count == 4 && bert.parameterCount == 4 * 2 * (16 + 16))
    for (_, adapter) in bert.lowRankAdapters {
      try adapter.up.set(NDArray([Float](repeating: 0.1, count: 32), shape: [16, 2]))
    }

    try bert.saveLowRankAdapters(folder: "\(saved)/adapters", renaming: ["bert.": ""])
    try bert.save(folder: "\(saved)/whole")  // adapters are part of the weights there

    let again = try BERT(contentsOf: folder)
    try again.loadLowRankAdapters(folder: "\(saved)/adapters")
    try again.mergeLowRankAdapters()  // no more work than before
    let whole = try BERT(contentsOf: "\(saved)/whole")
    for (a, b) in zip(again.parameters, whole.parameters) {
      #expect(try a.parameter.value() == b.parameter.value(), "\(a.path)")
    }
  }
}
