// Tokens one by one give the text of all of them, and never a part of a character.

import ApusGraph
import Testing

@testable import ApusText

@Suite struct StreamingDecoderTests {
  @Test(arguments: ["byte-level", "llama-2", "llama-3", "unigram"])
  func partsAreTheWholeText(name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    for text in try Fixture.sentences() {
      let ids = try tokenizer.encode(text).ids
      var decoder = StreamingDecoder(tokenizer)
      var parts: [String] = []
      for id in ids { parts.append(try decoder.append(id)) }
      #expect(parts.allSatisfy { !$0.unicodeScalars.contains("\u{fffd}") })
      parts.append(decoder.finish())
      #expect(same(parts.joined(), try tokenizer.decode(ids)))
    }
  }

  /// Bytes that are no character come out at the end, and not before.
  @Test func halfACharacterWaits() throws {
    let tokenizer = try Fixture.tokenizer("byte-level")
    let ids = try tokenizer.encode("🇩").ids
    #expect(ids.count > 1)
    var decoder = StreamingDecoder(tokenizer)
    for id in ids.dropLast() { #expect(try decoder.append(id) == "") }
    #expect(decoder.finish() == "\u{fffd}")
    #expect(decoder.finish() == "")
  }
}
