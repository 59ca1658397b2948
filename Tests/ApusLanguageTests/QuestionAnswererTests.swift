// Answers by spans: what a folder's model marks is what Hugging Face's model marks (Fixtures/make_answers.py), texts of any
// length are searched, and mistakes are told.

import Apus
import ApusLanguage
import ApusText
import Foundation
import Testing

@Suite struct QuestionAnswererTests {
  private struct Vectors: Decodable {
    struct Asked: Decodable {
      var question, text: String
      var length, stride, count: Int
      var ids: [[Int]]
      /// Of each part starts and ends.
      var logits: [[[Double]]]
      var answers: [Found]
    }
    struct Found: Decodable {
      var text: String
      var start, end: Int
      var score: Double

      init(from decoder: any Decoder) throws {
        var row = try decoder.unkeyedContainer()
        text = try row.decode(String.self)
        start = try row.decode(Int.self)
        end = try row.decode(Int.self)
        score = try row.decode(Double.self)
      }
    }
    struct Scored: Decodable {
      var answer: String
      var expected: [String]
      var exact, f1: Double
    }
    var asked: [Asked]
    var scores: [Scored]
  }

  private static var folder: String { Fixture.path("answerer") }

  private static func vectors() throws -> Vectors {
    try JSONDecoder().decode(
      Vectors.self, from: Data(contentsOf: URL(filePath: Fixture.path("answers.json"))))
  }

  @Test func logitsAreThoseOfTransformers() throws {
    let model = try BERTForQuestionAnswering(contentsOf: Self.folder)
    let tokenizer = try bare()
    let run = try Predictor(model) { model, inputs in
      let found = model(inputs[0], types: inputs[1], seeing: .lengths(inputs[2]))
      return [found.starts, found.ends]
    }
    for asked in try Self.vectors().asked where asked.ids.count == 1 {
      let encoding = try tokenizer.encode(asked.question, pair: asked.text)
      #expect(encoding.ids == asked.ids[0])
      // Padding changes nothing.
      func row(_ values: [Int]) -> NDArray {
        NDArray(values.map { Int32($0) } + [0, 0, 0], shape: [1, values.count + 3])
      }
      let found = try run.run([
        row(encoding.ids), row(encoding.typeIDs), NDArray([Int32(encoding.count)], shape: [1]),
      ])
      for (array, expected) in zip(found, asked.logits[0]) {
        for (a, b) in zip(array.doubles, expected) { #expect(abs(a - b) < 2e-5) }
      }
    }
  }

  @Test func answersAreTheBestSpans_ofTextsOfOnePartAndOfMany() throws {
    let asked = try Self.vectors().asked
    #expect(asked.contains { $0.ids.count == 1 } && asked.contains { $0.ids.count > 3 })
    for asked in asked {
      let answerer = try QuestionAnswerer(
        BERTForQuestionAnswering(contentsOf: Self.folder), tokenizer: bare(),
        maximumLength: asked.length, stride: asked.stride)
      let found = try answerer.answers(
        to: asked.question, in: asked.text, count: asked.count, longest: 6)
      #expect(found.map(\.text) == asked.answers.map(\.text))
      for (answer, expected) in zip(found, asked.answers) {
        #expect(String(asked.text[answer.range]) == answer.text)
        let scalars = asked.text.unicodeScalars
        #expect(
          scalars.distance(from: scalars.startIndex, to: answer.range.lowerBound) == expected.start)
        #expect(abs(Double(answer.score) - expected.score) < 5e-5)
      }
    }
  }

  @Test func aFolderHasAllThatIsNeeded_andIsWrittenAsItWasRead() throws {
    let answerer = try QuestionAnswerer(folder: Self.folder)
    #expect(answerer.maximumLength == 48 && answerer.stride == 16)
    let copy = try FolderCopy(of: Self.folder)
    try copy.remove("model.safetensors")
    try copy.remove("config.json")
    try answerer.model.save(folder: copy.path)
    let config = try JSON(parsing: TextFile.contents("\(copy.path)/config.json"))
    #expect(config["architectures"]?.elements?.first?.string == "BertForQuestionAnswering")
    let names = try SafetensorsFile("\(copy.path)/model.safetensors").names
    #expect(
      try Set(names) == Set(SafetensorsFile("\(Self.folder)/model.safetensors").names))
    let again = try QuestionAnswerer(folder: copy.path)
    let text = "The small child reads in the house of the old woman."
    #expect(
      try again.answers(to: "Who?", in: text, count: 5)
        == answerer.answers(to: "Who?", in: text, count: 5))
  }

  /// Where the answer stands in a text that is twice as long as the model reads at once.
  @Test func aTunedModelFindsWhatItHasLearnt() throws {
    let bert = try BERT(contentsOf: Fixture.encoder)
    let model = BERTForQuestionAnswering(bert)
    try model.initialize(seed: 3)
    let tokenizer = try bare()
    let (cat, dog) = (
      try #require(tokenizer.tokenToID("cat")), try #require(tokenizer.tokenToID("dog"))
    )
    let others = try ["man", "woman", "bread", "book", "garden"].map {
      try #require(tokenizer.tokenToID($0))
    }
    // The answer is the animal, whatever stands around it.
    var rows: [[Int32]] = [], answers: [Int32] = []
    for number in 0..<64 {
      var row = (0..<8).map { others[(number * 7 + $0 * $0 + $0 * number) % 5] }
      let place = (number * 5) % 8
      row[place] = number % 2 == 0 ? cat : dog
      rows.append(([2, others[number % 5], 3] + row + [3]).map { Int32($0) })
      answers += [Int32(place + 3), Int32(place + 3)]
    }
    let ids = NDArray(rows.flatMap { $0 }, shape: [64, 12])
    let kinds = NDArray(
      rows.flatMap { _ in [0, 0, 0] + [Int32](repeating: 1, count: 9) }, shape: [64, 12])
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 3e-3)) { model, batch in
      let logits = model(batch.tokens, types: batch.types)
      return answerSpanLoss(logits, batch.answers, within: batch.types .== 1)
    }
    let batch = Batch(["tokens": ids, "types": kinds, "answers": NDArray(answers, shape: [64, 2])])
    var loss = 0.0
    for _ in 0..<60 { loss = try step.run(batch).loss }
    #expect(loss < 0.1)
    let answerer = try QuestionAnswerer(model, tokenizer: tokenizer, maximumLength: 12, stride: 2)
    let words = ["man", "book", "woman", "garden", "bread"]
    let text = (0..<24).map { $0 == 17 ? "dog" : words[$0 * $0 % 5] }.joined(separator: " ")
    #expect(try answerer.answers(to: "man", in: text)[0].text == "dog")
  }

  // MARK: Mistakes

  @Test func mistakesAreTold() throws {
    let model = try BERTForQuestionAnswering(contentsOf: Self.folder)
    let answerer = try QuestionAnswerer(folder: Self.folder)
    expectError(.invalidArgument, "no tokens", "QuestionAnswererTests") {
      _ = try answerer.answers(to: "Who?", in: " ")
    }
    let long = String(repeating: "cat ", count: 50)
    expectError(.invalidArgument, "the question has 53 tokens", "fewer than 48") {
      _ = try answerer.answers(to: long, in: "the cat")
    }
    expectError(.invalidArgument, "0 spans of at most 30") {
      _ = try answerer.answers(to: "who", in: "the cat", count: 0)
    }
    for (length, stride) in [(49, 4), (4, 1), (20, 20), (20, -1), (Int.min, 0), (Int.max, Int.max)]
    {
      expectError(.invalidArgument, "parts of \(length) tokens that share \(stride)") {
        _ = try QuestionAnswerer(
          model, tokenizer: bare(), maximumLength: length, stride: stride)
      }
    }
    // An encoder without the head.
    expectError(.missing, "qa_outputs") {
      _ = try QuestionAnswerer(folder: Fixture.encoder)
    }
    expectError(.missing) {
      _ = try QuestionAnswerer(
        BERTForQuestionAnswering(model.configuration), tokenizer: bare())
    }
    expectError(.invalidArgument, "ids up to") {
      var more = try bare()
      try more.addSpecialTokens(["<more>"])
      _ = try QuestionAnswerer(model, tokenizer: more)
    }
    let empty = NSTemporaryDirectory() + "apus-none-\(UUID().uuidString)"
    expectError(.io, empty) { _ = try QuestionAnswerer(folder: empty) }
  }

  @Test func lossesOfOtherShapesAreTold() throws {
    let model = try BERTForQuestionAnswering(contentsOf: Self.folder)
    func fails(_ words: String, _ loss: @escaping (SpanLogits, SymbolicBatch) -> Tensor) throws {
      let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1)) { model, batch in
        loss(model(batch.tokens), batch)
      }
      expectError(.shapeMismatch, words, "QuestionAnswererTests") {
        _ = try step.run(
          Batch([
            "tokens": NDArray([1, 2, 3, 4] as [Int32], shape: [2, 2]),
            "answers": NDArray([1, 1] as [Int32], shape: [2]),
          ]))
      }
    }
    try fails("answerSpanLoss") { answerSpanLoss($0, $1.answers) }
    try fails("answerSpanLoss") {
      answerSpanLoss($0, starts: $1.answers .== 1, ends: $1.tokens .== 1)
    }
    try fails("answerSpanLoss") { answerSpanLoss($0, starts: $1.tokens, ends: $1.tokens) }
  }

  private func bare() throws -> Tokenizer {
    var tokenizer = try Tokenizer(file: "\(Self.folder)/tokenizer.json")
    try tokenizer.enablePadding(nil)
    try tokenizer.enableTruncation(nil)
    return tokenizer
  }

  // MARK: Scores

  @Test func scoresAreThoseOfSQuAD() throws {
    let cases = try Self.vectors().scores
    #expect(cases.count > 100 && cases.contains { $0.f1 > 0 && $0.f1 < 1 })
    var all = AnswerScores()
    for scored in cases {
      var one = AnswerScores()
      try one.add(scored.answer, expected: scored.expected)
      try all.add(scored.answer, expected: scored.expected)
      #expect(one.exactMatch == scored.exact, "\(scored)")
      #expect(abs(one.f1 - scored.f1) < 1e-12, "\(scored)")
    }
    #expect(all.count == cases.count)
    #expect(abs(all.f1 - cases.reduce(0) { $0 + $1.f1 } / Double(cases.count)) < 1e-12)
    #expect(
      abs(all.exactMatch - cases.reduce(0) { $0 + $1.exact } / Double(cases.count)) < 1e-12)
    #expect(AnswerScores().f1 == 0 && AnswerScores().exactMatch == 0)
    expectError(.invalidArgument, "'x' has no right answer", "QuestionAnswererTests") {
      try all.add("x", expected: [])
    }
  }
}

@Suite struct AnswerSpanTests {
  /// All pairs of tokens, by the order that is promised.
  private func all(_ starts: [Float], _ ends: [Float], _ tokens: Range<Int>, _ most: Int)
    -> [AnswerSpan]
  {
    var spans: [AnswerSpan] = []
    for start in tokens {
      for end in tokens where end >= start && end < start + most {
        spans.append(AnswerSpan(tokens: start..<end + 1, score: starts[start] + ends[end]))
      }
    }
    return spans.sorted {
      ($1.score, $0.tokens.lowerBound, $0.tokens.count) < (
        $0.score, $1.tokens.lowerBound, $1.tokens.count
      )
    }
  }

  @Test func theBestSpansAreFound() throws {
    var seed: UInt64 = 7
    func draw(_ count: Int) -> [Float] {
      (0..<count).map { _ in
        seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        // Few values, so that many are equal.
        return Float(seed >> 60)
      }
    }
    for (count, tokens, most, wanted) in [
      (9, 0..<9, 30, 4), (9, 2..<7, 3, 100), (1, 0..<1, 1, 1), (20, 5..<20, 1, 6),
      (12, 4..<4, 3, 2),
      (12, 0..<12, .max, 7),
    ] as [(Int, Range<Int>, Int, Int)] {
      let (starts, ends) = (draw(count), draw(count))
      let found = try answerSpans(
        starts: starts, ends: ends, within: tokens, maximumLength: most, count: wanted)
      let right = all(starts, ends, tokens, min(most, 1000))
      #expect(found == Array(right.prefix(wanted)), "\(starts) \(ends)")
    }
    // An end before its start is no span, however good.
    let found = try answerSpans(starts: [0, 0, 9], ends: [9, 0, 1])
    #expect(found == [AnswerSpan(tokens: 2..<3, score: 10)])
    #expect(try answerSpans(starts: [], ends: []).isEmpty)
    #expect(try answerSpans(starts: [-.infinity, 1], ends: [1, -.infinity], count: 5).count == 3)
  }

  @Test func mistakesAreTold() {
    for (starts, ends, tokens, most, count, kind) in [
      ([0, 0], [0], 0..<1, 1, 1, ApusError.Kind.shapeMismatch),
      ([0, 0], [0, 0], 0..<3, 1, 1, .outOfRange), ([0, 0], [0, 0], -1..<1, 1, 1, .outOfRange),
      ([0, 0], [0, 0], 0..<2, 0, 1, .invalidArgument),
      ([0, 0], [0, 0], 0..<2, 1, 0, .invalidArgument),
      ([0, .nan], [0, 0], 0..<2, 1, 1, .nonFinite),
    ] as [([Float], [Float], Range<Int>, Int, Int, ApusError.Kind)] {
      expectError(kind, "QuestionAnswererTests") {
        _ = try answerSpans(
          starts: starts, ends: ends, within: tokens, maximumLength: most, count: count)
      }
    }
  }

  /// By a loop over the rows, in double.
  @Test func lossesAreThoseOfTheirDefinition() throws {
    let (n, t) = (3, 5)
    let starts = (0..<n * t).map { Double($0 * 7 % 11) / 4 - 1 }
    let ends = (0..<n * t).map { Double($0 * 5 % 13) / 5 - 1 }
    let answers: [Int32] = [1, 2, 3, 3, -100, -100]
    let mask = (0..<n * t).map { $0 % t >= 1 }
    let right = [[1, 3], [3, 4], [2, 2]]
    func array(_ values: [Double]) -> NDArray { NDArray(values.map { Float($0) }, shape: [3, 5]) }
    func bools(_ isTrue: (Int, Int) -> Bool) -> NDArray {
      array((0..<n * t).map { isTrue($0 / t, $0 % t) ? 1 : 0 })
    }
    let type = TensorType.f32(3, 5)
    let losses = try compile([type, type, TensorType(.i32, [3, 2]), type, type]) { given in
      let logits = SpanLogits(starts: given[0], ends: given[1])
      let (mask, right) = (given[3] .> 0, given[4] .> 0)
      return [
        answerSpanLoss(logits, given[2]), answerSpanLoss(logits, given[2], within: mask),
        answerSpanLoss(logits, starts: right, ends: right, within: mask),
      ]
    }
    let results: [NDArray] = try losses(
      array(starts), array(ends), NDArray(answers, shape: [3, 2]), array(mask.map { $0 ? 1 : 0 }),
      bools { right[$0].contains($1) })
    let found = results.map { $0.doubles[0] }

    func log(_ logits: [Double], _ row: Int, _ places: [Int], masked: Bool) -> Double {
      let own = (0..<t).filter { !masked || mask[row * t + $0] }.map { exp(logits[row * t + $0]) }
      return -Foundation.log(places.reduce(0) { $0 + exp(logits[row * t + $1]) } / own.reduce(0, +))
    }
    for (place, isMasked) in [(0, false), (1, true)] {
      let expected =
        (0..<2).reduce(0.0) { sum, row in
          sum + log(starts, row, [Int(answers[2 * row])], masked: isMasked)
            + log(ends, row, [Int(answers[2 * row + 1])], masked: isMasked)
        } / 4
      #expect(abs(found[place] - expected) < 1e-5)
    }
    let several =
      (0..<n).reduce(0.0) { sum, row in
        sum + log(starts, row, Array(Set(right[row])), masked: true)
          + log(ends, row, Array(Set(right[row])), masked: true)
      } / Double(2 * n)
    #expect(abs(found[2] - several) < 1e-5)
  }
}
