// Texts in a folder for each class.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct TextFolderTests {
  private static func write(_ text: String, to path: String) throws {
    let url = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  @Test func classesAreFolders_inTheOrderOfTheirBytes() throws {
    try withTemporaryFolder { folder in
      try Self.write("b 2", to: "\(folder)/pos/2.txt")
      try Self.write("b 10", to: "\(folder)/pos/10.TXT")
      try Self.write("deep", to: "\(folder)/pos/sub/in/x.txt")
      try Self.write("between", to: "\(folder)/pos/sub-b/y.txt")
      try Self.write("a b c", to: "\(folder)/Neg/one.txt")
      try Self.write("no text", to: "\(folder)/Neg/readme.md")
      try Self.write("hidden", to: "\(folder)/.cache/x.txt")
      try Self.write("hidden", to: "\(folder)/pos/.x.txt")
      try Self.write("beside", to: "\(folder)/beside.txt")
      let texts = try TextFolder(folder)
      #expect(texts.classNames == ["Neg", "pos"])
      // As torchvision sorts: "sub-b" before "sub/", byte by byte.
      #expect(texts.texts == ["a b c", "b 10", "b 2", "between", "deep"])
      #expect(texts.labels == [0, 1, 1, 1, 1] && texts.paths[0] == "\(folder)/Neg/one.txt")
      let data = try texts.sequences { $0.utf8.map { Int($0) } }
      let batch = try #require(
        try data.batched(8, lengths: [7], shuffle: nil).makeIterator(epoch: 0).next())
      #expect(batch.labels!.integers == texts.labels && batch.tokens!.shape == [5, 7])
      #expect(batch.lengths!.integers == texts.texts.map(\.utf8.count))
    }
  }

  @Test func whatIsWrongIsNamed() throws {
    try withTemporaryFolder { folder in
      #expect(error { _ = try TextFolder(folder) }?.kind == .missing)
      #expect(error { _ = try TextFolder("\(folder)/none") }?.kind == .io)
      try Self.write("x", to: "\(folder)/a/x.txt")
      try FileManager.default.createDirectory(
        atPath: "\(folder)/b", withIntermediateDirectories: true)
      let empty = error { _ = try TextFolder(folder) }
      #expect(empty?.what == "the class 'b' has no file" && empty?.kind == .missing)
      try Data([0x61, 0xff]).write(to: URL(fileURLWithPath: "\(folder)/b/y.txt"))
      let bad = error { _ = try TextFolder(folder) }
      #expect(bad?.location == "\(folder)/b/y.txt, byte 1" && bad?.kind == .invalidFile)
      try Self.write("yyy", to: "\(folder)/b/y.txt")
      #expect(try TextFolder(folder).count == 2)
      #expect(error { _ = try TextFolder(folder, limit: 20) }?.kind == .resource)
      #expect(error { _ = try TextFolder(folder).sequences { _ in [] } }?.kind == .invalidArgument)
      // A link back to where it stands would go on for ever.
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/b/again", withDestinationPath: "\(folder)/b")
      #expect(error { _ = try TextFolder(folder) }?.what == "the folder is reached twice")
    }
  }
}
