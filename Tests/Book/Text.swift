// The page on text: tokenizers from files, of tiktoken's ranks and of one's own.

import Apus
import ApusText
import Foundation
import Testing

@Suite struct TextPage {
  private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ApusTextTests/Fixtures")

  @Test func encodingAndDecoding() throws {
    let path = Self.fixtures.appending(path: "wordpiece.json").path
    let tokenizer = try Tokenizer(file: path)  // tokenizer.json
    let encoding = try tokenizer.encode("The dog's turn, isn't it?")
    let ids = encoding.ids  // what a model sees
    let tokens = encoding.tokens  // ["[CLS]", "the", "dog", "'", "s", …]
    let places = encoding.offsets  // of each token in the text, in Unicode scalars
    let words = encoding.wordIDs  // the word of each token, nil for [CLS]
    let text = try tokenizer.decode(ids)  // without [CLS] and [SEP]
    #expect(tokens.prefix(5) == ["[CLS]", "the", "dog", "'", "s"] && ids.count == tokens.count)
    #expect(places[2] == 4..<7 && words[0] == nil && words[1] == 0)
    #expect(text == "the dog ' s turn, isn ' t it?")
    let (question, answer) = ("the dog", "the fox")
    #expect(try tokenizer.encode(question, pair: answer).typeIDs.contains(1))

    var cut = tokenizer
    try cut.enableTruncation(TokenTruncation(maximumLength: 8, stride: 2))
    try cut.enablePadding(TokenPadding(length: .longest, multiple: 4))
    let parts = try cut.encode("The quick brown fox jumps over the lazy dog", pair: nil)
    let rest = parts.overflowing  // what was cut off, in parts that share two tokens
    #expect(parts.count == 8 && !rest.isEmpty && rest.allSatisfy { $0.count == 8 })

    let batch = try tokenizer.encodeBatch(["one text", "another"], threads: 2)
    let lists = try tokenizer.ids(of: ["one text", "another"])  // nothing but ids: half the time
    #expect(batch.map(\.ids) == lists)

    var decoder = StreamingDecoder(tokenizer)
    var written = ""
    for id in ids { written += try decoder.append(id) }
    written += decoder.finish()
    #expect(written == text)
  }

  @Test func ranks() throws {
    let ranksPath = Self.fixtures.appending(path: "ranks.tiktoken").path
    let ranks = try Tokenizer(
      tiktoken: ranksPath, pattern: .cl100k, specialTokens: ["<|endoftext|>": 100257])
    let same = try ranks.encode("Hello <|endoftext|>").ids
    #expect(same.last == 100257)
  }

  @Test func learning() throws {
    let saved = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: saved) }
    let trainer = BPETrainer(vocabularySize: 300, specialTokens: ["<|endoftext|>"])
    let own = try trainer.train(["low lower lowest", "new newer newest"])
    try own.save(to: saved)
    var more = own
    try more.addSpecialTokens(["<user>", "<assistant>"])

    var forBERT = try BPETrainer(vocabularySize: 300, specialTokens: ["[CLS]", "[SEP]", "[MASK]"])
      .train(["low lower lowest", "new newer newest"])
    try forBERT.encloseTexts(start: "[CLS]", separator: "[SEP]")
    let two = try forBERT.encode("low", pair: "newer").typeIDs  // 0 up to the first [SEP], then 1
    #expect(two.first == 0 && two.last == 1)

    let read = try Tokenizer(file: saved)
    #expect(try read.encode("lower").ids == own.encode("lower").ids)
    #expect(more.vocabularySize == own.vocabularySize + 2)

    let letters = CharacterVocabulary(texts: ["hello"])
    let spelled = letters.encode("hole")  // [2, 4, 3, 1]; 0 stands for letters that it lacks
    #expect(spelled == [2, 4, 3, 1])

    let repaired = RepairedText(utf8: [0x61, 0xff, 0x62])
    let readable = repaired.text  // "a\u{fffd}b", as Python's errors="replace" has it
    let wrong = repaired.replacements  // 1
    #expect(readable == "a\u{fffd}b" && wrong == 1)
  }
}
