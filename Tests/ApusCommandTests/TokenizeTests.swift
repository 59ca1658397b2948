// `apus tokenize` on files, streams and JSON lines.

import Apus
import Foundation
import Testing

@Suite struct TokenizeTests {
  private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ApusTextTests/Fixtures")
  private static let tokenizer = fixtures.appending(path: "wordpiece.json").path
  private static let ranks = fixtures.appending(path: "ranks.tiktoken").path

  private func file(_ bytes: [UInt8]) throws -> String {
    let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    try Data(bytes).write(to: URL(filePath: path))
    return path
  }

  @Test func linesBecomeListsOfIDs() throws {
    let path = try file(Array("the dog\n\nthe fox\r\nlast".utf8))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let run = try CommandProcess(["tokenize", "--tokenizer", Self.tokenizer, path]).finish()
    #expect(run.status == 0, "\(run.errors)")
    let lists = try run.lines.map { try JSON(parsing: $0).elements!.map { $0.integer! } }
    #expect(lists.count == 4 && lists[1] == [2, 3])
    #expect(lists.allSatisfy { $0.first == 2 && $0.last == 3 })
    let stream = try CommandProcess(
      ["tokenize", "--tokenizer", Self.tokenizer, "--ids"], streams: "< '\(path)'"
    ).finish()
    #expect(stream.output == run.output)
    let plain = try CommandProcess(
      ["tokenize", "--tokenizer", Self.tokenizer, "--no-special-tokens", "--threads", "1", path]
    ).finish()
    #expect(
      try plain.lines.map { try JSON(parsing: $0).elements!.map { $0.integer! } }
        == lists.map { Array($0.dropFirst().dropLast()) })
  }

  @Test func fieldsOfJSONLinesBecomeTokens() throws {
    let path = try file(Array(#"{"text":"the\ndog","id":1}"#.utf8))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let run = try CommandProcess([
      "tokenize", "--tokenizer", Self.tokenizer, "--tokens", "--field", "text", path,
    ]).finish()
    let tokens = try JSON(parsing: run.lines[0]).elements!.map { $0.string! }
    #expect(tokens.first == "[CLS]" && tokens.last == "[SEP]" && run.lines.count == 1)
    let missing = try CommandProcess([
      "tokenize", "--tokenizer", Self.tokenizer, "--field", "id", path,
    ]).finish()
    #expect(missing.status == 1 && missing.errors.contains("line 1"), "\(missing.errors)")
  }

  @Test func ranksAndCountsAndBadBytes() throws {
    let path = try file([0x61, 0xff, 0x62, 0x0a, 0xe4, 0xbd, 0x0a])
    defer { try? FileManager.default.removeItem(atPath: path) }
    let run = try CommandProcess([
      "tokenize", "--tokenizer", Self.ranks, "--tiktoken", "cl100k", "--count", path,
    ]).finish()
    let object = try JSON(parsing: run.lines[0])
    #expect(object["texts"]?.integer == 2 && object["replaced"]?.integer == 2, "\(run.output)")
    #expect(run.errors.contains("2 times") && run.lines.count == 1)
  }

  @Test func mistakesAreTold() throws {
    func run(_ arguments: [String]) throws -> CommandRun {
      try CommandProcess(["tokenize"] + arguments).finish()
    }
    #expect(try run([]).status == 64)
    #expect(try run(["--tokenizer", Self.tokenizer, "--ids", "--count"]).status == 64)
    #expect(try run(["--tokenizer", Self.tokenizer, "--threads", "0"]).status == 64)
    #expect(try run(["--tokenizer", "/nowhere.json"]).status == 1)
    #expect(try run(["--tokenizer", Self.tokenizer, "/nowhere.txt"]).status == 1)
    let wrong = try run(["--tokenizer", Self.ranks])
    #expect(wrong.status == 1 && wrong.errors.contains("byte 0"), "\(wrong.errors)")
  }
}
