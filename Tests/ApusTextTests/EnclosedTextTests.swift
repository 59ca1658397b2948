// Special tokens around texts, put there by a user: what the Python package makes of BertProcessing.

import ApusGraph
import ApusText
import Foundation
import Testing

@Suite struct EnclosedTextTests {
  private func trained() throws -> Tokenizer {
    try BPETrainer(vocabularySize: 300, specialTokens: ["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
      .train(["low lower lowest", "new newer newest"])
  }

  @Test func textsAreEnclosed_oneAndTwo() throws {
    var tokenizer = try trained()
    let bare = try tokenizer.encode(" low new")
    try tokenizer.encloseTexts(start: "[CLS]", separator: "[SEP]")
    let one = try tokenizer.encode(" low new")
    #expect(one.ids == [1] + bare.ids + [2])
    #expect(one.typeIDs.allSatisfy { $0 == 0 } && one.specialTokensMask.first == 1)
    // Spaces are still no part of what a token stands for.
    #expect(one.offsets == [0..<0] + bare.offsets + [0..<0])
    #expect(one.offsets[1].lowerBound == 1)
    let two = try tokenizer.encode("low", pair: "new low")
    let (a, b) = (try trained().encode("low").ids, try trained().encode("new low").ids)
    #expect(two.ids == [1] + a + [2] + b + [2])
    #expect(
      two.typeIDs == [Int](repeating: 0, count: a.count + 2)
        + [Int](repeating: 1, count: b.count + 1))
    #expect(try tokenizer.ids(of: "low", addSpecialTokens: false) == a)
    #expect(try tokenizer.decode(two.ids) == "lownew low")
    // Truncation leaves place for what is around.
    try tokenizer.enableTruncation(TokenTruncation(maximumLength: 3))
    #expect(try tokenizer.encode("low new").ids == [1, a[0], 2])
  }

  @Test func aSecondTimeReplacesTheFirst_andFilesSayIt() throws {
    var tokenizer = try trained()
    try tokenizer.encloseTexts(start: "[CLS]", separator: "[SEP]")
    try tokenizer.encloseTexts(start: "[MASK]", separator: "[PAD]")
    let path = NSTemporaryDirectory() + "apus-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try tokenizer.save(to: path)
    let again = try Tokenizer(file: path)
    for tokenizer in [tokenizer, again] {
      let ids = try tokenizer.encode("low", pair: "low").ids
      #expect(ids.first == 3 && ids.last == 0 && ids.count { $0 == 0 } == 2 && !ids.contains(1))
    }
  }

  @Test func tokensThatAreNotThere_areTold() throws {
    var tokenizer = try trained()
    let error = #expect(throws: ApusError.self) {
      try tokenizer.encloseTexts(start: "[CLS]", separator: "</s>")
    }
    #expect(error?.kind == .missing && error?.what.contains("'</s>'") == true)
    #expect(try tokenizer.encode("low").ids.first != 1)
  }
}
