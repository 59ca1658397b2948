// The texts that recipes learn from, damaged: read, or refused with a typed error.

import Apus
import ApusData
import Foundation
import TestSupport
import Testing

@testable import ApusRecipes

@Suite struct RecipeReaderFuzzTests {
  /// A kind of text: one that is right, and its reader, which tells how much it found.
  struct Kind: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String
    let read: @Sendable ([UInt8]) throws -> Int

    init(_ name: String, _ text: String, _ read: @escaping @Sendable ([UInt8]) throws -> Int) {
      (testDescription, self.text, self.read) = (name, text, read)
    }
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  static let kinds = [
    Kind(
      "packages",
      """
      Package: libfoo2-dev
      Description-md5: d943033bedada21853d2ae54a2578a7b
      Description-en: headers of foo
       This package has what programs need that are \("built ", times: 8)
       .
       It is small.

      Package: foo-doc
      Description-en: manual of foo
       What foo does is told \("at length ", times: 12)

      """
    ) {
      let packages = try PackageDescriptions.parse($0, path: "f")
      for held in [1, 2] {
        let parts = PackageDescriptions.split(packages, held: held, most: 1)
        guard parts.training.count + parts.test.count <= packages.count else {
          throw Fuzz.Wrong("\(parts) of \(packages)")
        }
      }
      return packages.count
    },
    Kind("lexicon", "MNCL\n(\"casa\" nil (((k a1) 1) ((z a) 0)))\n(\"re\" nil (((r e1) 1)))\n") {
      try PronouncingLexicon.parse($0, path: "f").count
    },
    Kind("rated pairs", "# people\nking\tqueen\t8.5\ncup\ttree\t0.25\n") {
      try RatedPair.parse(text($0), path: "f").count
    },
    Kind(
      "tagged sentences",
      "# text\n1\tBurda\tbur\tPRON\t_\t_\t_\t_\t_\t_\n2\tvar\tvar\tADJ\t_\t_\t_\t_\t_\t_\n\n"
    ) {
      let sentences = try TaggedText.parse(text($0), path: "f")
      let features = WordFeatures(sentences)
      for word in sentences.flatMap(\.words)
      where features[word].contains(where: { !(0..<Int32(features.count)).contains($0) }) {
        throw Fuzz.Wrong("features of '\(word)'")
      }
      return sentences.count
    },
    Kind("tunes", "X:1\nT:The Cow\nM:6/8\nK:G\nG|G2A B2 (G/F/)|G2 ||\n\nX:2\nT:Reel\nK:D\nd2\n") {
      ABCTunes.parse(text($0)).count
    },
    Kind(
      "articles",
      "<page><text x=\"1\">A [[link|word]] &amp;amp; ''more'' – naïve\n{{cut}} it</text></page><text/>"
    ) { WikiText.lines($0).count },
    Kind(
      "snippets",
      (0..<12).map { "\($0)\t\($0 % 2 == 0 ? "" : "-")2.5\tA film, the \($0)th.\n" }.joined()
    ) { try MovieSnippets.parse(text($0), path: "f").count },
  ]

  @Test(arguments: kinds) func textsAreReadOrRefused(kind: Kind) throws {
    let good = Array(kind.text.utf8)
    #expect(try kind.read(good) > 0)
    try Fuzz.run("recipe-\(kind.testDescription)", rounds: 100, atLeast: 10_000) { random in
      do { _ = try kind.read(Mutation.mutated(good, with: good, &random)) } catch let error
        as ApusError
      {
        guard !error.what.isEmpty else { throw Fuzz.Wrong("an error without words") }
      }
    }
  }

  @Test func bibles() throws {
    let text = try ZText([["", "In the <b>beginning</b>", "Let there &amp; be"], ["x", "y <w z"]])
    try Fuzz.run("bibles", rounds: 100, atLeast: 10_000) { random in
      let name = ["ot.bzs", "ot.bzv", "ot.bzz"].randomElement(using: &random)!
      let place = text.folder.appending(path: name)
      let good = try Data(contentsOf: place)
      defer { try? good.write(to: place) }
      try Data(Mutation.mutated([UInt8](good), with: [UInt8](good), &random)).write(to: place)
      do { _ = try SwordText(contentsOf: text.path).verses } catch let error as ApusError {
        guard !error.what.isEmpty else { throw Fuzz.Wrong("an error without words") }
      }
    }
  }
}

extension String.StringInterpolation {
  fileprivate mutating func appendInterpolation(_ text: String, times: Int) {
    appendLiteral(String(repeating: text, count: times))
  }
}
