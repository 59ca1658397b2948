// Every scalar of the first two planes, through every normaliser and pre-tokenizer that looks at single scalars.

import ApusGraph
import Testing

@testable import ApusText

@Suite struct ScalarTests {
  private static let texts: [[UInt8]] = stride(from: 0, to: 0x20000, by: 512).map { start in
    var text: [UInt8] = []
    for code in start..<start + 512 where !(0xd800..<0xe000).contains(code) {
      if code > start { text.append(UInt8(ascii: "x")) }
      text.append(scalar: UInt32(code))
    }
    return text
  }

  /// FNV-1a, with a zero byte behind each text.
  private static func digest(_ texts: [[UInt8]]) -> String {
    var value: UInt64 = 0xcbf2_9ce4_8422_2325
    for text in texts {
      for byte in text + [0] { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  @Test func allScalarsAreTreatedAsByThePythonPackage() throws {
    let lines = try Fixture.lines("scalars")
    #expect(lines.count == 16)
    for line in lines {
      let results: [[UInt8]]
      if line["normalizer"]!.members != nil {
        let normalizer = try Normalizer(line["normalizer"]!, at: "normalizer")
        results = try Self.texts.map { text in
          var buffer = TextBuffer(text)
          try normalizer.apply(to: &buffer)
          return buffer.bytes
        }
      } else {
        let preTokenizer = try PreTokenizer(line["pre_tokenizer"]!, at: "pre_tokenizer")
        results = try Self.texts.map { text in
          var split = SplitText(
            TextBuffer(text), pieces: text.isEmpty ? [] : [Piece(0, text.count)])
          try preTokenizer.apply(to: &split)
          return Array(
            split.pieces.map { Array(split.text.bytes[$0.start..<$0.end]) }.joined(separator: [0]))
        }
      }
      #expect(Self.digest(results) == line["digest"]!.string, Comment(rawValue: line.text))
    }
  }

  /// A form of a form is the form.
  @Test(arguments: NormalizationForm.allCases) func formsStayAsTheyAre(form: NormalizationForm) {
    for text in Self.texts {
      var buffer = TextBuffer(text)
      Normalizer.normalize(&buffer, to: form)
      let once = buffer.bytes
      Normalizer.normalize(&buffer, to: form)
      #expect(buffer.bytes == once)
    }
  }
}
