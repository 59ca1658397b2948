// Vocabularies learnt here and by the Python package are equal, and characters are numbered.

import ApusGraph
import Testing

@testable import ApusText

@Suite struct BPETrainerTests {
  @Test func vocabulariesAreThoseOfThePythonPackage() throws {
    let texts = try Fixture.sentences()
    let lines = try Fixture.lines("training")
    #expect(lines.count == 5)
    for line in lines {
      let settings = line["settings"]!
      let trainer = BPETrainer(
        vocabularySize: settings["vocab_size"]!.integer!,
        minimumFrequency: settings["min_frequency"]?.integer ?? 0,
        specialTokens: (settings["special_tokens"]?.elements ?? []).map { $0.string! },
        includesAllBytes: settings["initial_alphabet"] == nil,
        maximumTokenLength: settings["max_token_length"]?.integer)
      let model = try trainer.train(texts).json["model"]!
      let merges = model["merges"]!.elements!.map { pair in
        pair.elements!.map { $0.string! }.joined(separator: " ")
      }
      let shown = Comment(rawValue: settings.text)
      #expect(merges == line["merges"]!.elements!.map { $0.string! }, shown)
      let wanted = line["vocabulary"]!.members!
      #expect(model["vocab"]!.members!.count == wanted.count, shown)
      let tokenizer = try trainer.train(texts)
      for (token, id) in wanted { #expect(tokenizer.tokenToID(token) == id.integer, shown) }
    }
  }

  @Test func whatWasLearntKnowsEveryText() throws {
    let texts = try Fixture.sentences()
    let tokenizer = try BPETrainer(vocabularySize: 400, specialTokens: ["<end>"]).train(texts)
    for text in texts + ["\u{10ffff}", "<end> and", ""] {
      let ids = try tokenizer.encode(text).ids
      #expect(same(text, try tokenizer.decode(ids, skipSpecialTokens: false)))
    }
    #expect(try tokenizer.encode("<end>").ids == [0])
    #expect(tokenizer.vocabularySize == 400)
  }

  @Test func numbersThatMakeNoSenseAreRefused() {
    for trainer in [
      BPETrainer(vocabularySize: -1), BPETrainer(minimumFrequency: .min),
      BPETrainer(vocabularySize: .max), BPETrainer(maximumTokenLength: -3),
    ] {
      #expect(throws: ApusError.self) { try trainer.train(["a"]) }
    }
  }

  @Test func noTextsGiveTheAlphabetAlone() throws {
    let tokenizer = try BPETrainer(vocabularySize: 1000).train([String]())
    #expect(tokenizer.vocabularySize == 256)
    #expect(try BPETrainer(includesAllBytes: false).train([String]()).vocabularySize == 0)
  }

  @Test func charactersAreNumberedInTheirOrder() throws {
    let vocabulary = CharacterVocabulary(texts: ["hello", "wé"], minimumFrequency: 1)
    #expect(vocabulary.characters == ["e", "h", "l", "o", "w", "é"])
    #expect(vocabulary.count == 7)
    #expect(vocabulary.encode("whole é?") == [5, 2, 4, 3, 1, 0, 6, 0])
    #expect(try vocabulary.decode([2, 6, 0]) == "hé\u{fffd}")
    for id in [7, -1, .max] {
      #expect(throws: ApusError.self) { try vocabulary.decode([id]) }
    }
    #expect(CharacterVocabulary(texts: ["aab"], minimumFrequency: 2).characters == ["a"])
  }
}
