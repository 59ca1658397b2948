// `apus embed` on files, streams and JSON lines.

import Apus
import Foundation
import Testing

@Suite struct EmbedTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ApusLanguageTests/Fixtures/encoder").path

  private func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    try Data(bytes).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  private func vectors(_ run: CommandRun) throws -> [[Double]] {
    try run.lines.map { try JSON(parsing: $0).elements!.map { $0.double! } }
  }

  @Test func linesBecomeListsOfNumbers_inOrder() throws {
    try withFile(Array("the dog reads a book in the garden\n\nthe cat\r\nthe dog".utf8)) { path in
      let run = try CommandProcess(["embed", Self.folder, path]).finish()
      #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
      let found = try vectors(run)
      #expect(found.count == 4 && found.allSatisfy { $0.count == 16 })
      for vector in found { #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }
      let stream = try CommandProcess(["embed", Self.folder, "-b", "1"], streams: "< '\(path)'")
        .finish()
      for (a, b) in zip(try vectors(stream).joined(), found.joined()) { #expect(abs(a - b) < 1e-5) }
    }
  }

  @Test func fieldsOfJSONLines_becomeAnArray() throws {
    let rows = #"{"id":1,"text":"the\ncat"}"# + "\n" + #"{"text":"the cat"}"# + "\n"
    try withFile(Array(rows.utf8)) { path in
      let npy = path + ".npy"
      defer { try? FileManager.default.removeItem(atPath: npy) }
      let run = try CommandProcess([
        "embed", Self.folder, "--field", "text", "--npy", npy, path,
      ]).finish()
      #expect(run.status == 0 && run.output.isEmpty, "\(run.errors)")
      let array = try NPY.read(npy)
      #expect(array.type == .f32(2, 16))
      #expect(array.floats[..<16] == array.floats[16...])
      let missing = try CommandProcess(["embed", Self.folder, "--field", "id", path]).finish()
      #expect(missing.status == 1 && missing.errors.contains("line 1"), "\(missing.errors)")
    }
    try withFile([]) { path in
      let npy = path + ".npy"
      defer { try? FileManager.default.removeItem(atPath: npy) }
      let run = try CommandProcess(["embed", Self.folder, "--npy", npy, path]).finish()
      #expect(run.status == 0, "\(run.errors)")
      #expect(try NPY.read(npy).type == .f32(0, 16))
    }
  }

  @Test func whatIsCutAndReplaced_isCounted() throws {
    let long = String(repeating: "the cat ", count: 60)
    try withFile(Array(long.utf8) + [0x0a, 0x61, 0xff, 0x62, 0x0a, 0xe4, 0xbd, 0x0a]) { path in
      let run = try CommandProcess(["embed", Self.folder, path]).finish()
      #expect(run.status == 0 && run.lines.count == 3)
      #expect(run.errors.contains("1 texts had more than 40 tokens"), "\(run.errors)")
      #expect(run.errors.contains("2 times bytes"), "\(run.errors)")
    }
  }

  @Test func mistakesAreTold() throws {
    func run(_ arguments: String...) throws -> CommandRun {
      try CommandProcess(["embed"] + arguments).finish()
    }
    #expect(try run().status == 64)
    #expect(try run(Self.folder, "--batch", "0").status == 64)
    #expect(try run(Self.folder, "--npy", "").status == 64)
    let nowhere = try run("/nowhere")
    #expect(nowhere.status == 1 && nowhere.errors.contains("/nowhere"), "\(nowhere.errors)")
    #expect(try run(Self.folder, "/nowhere.txt").status == 1)
    // Before anything is read.
    let prompt = try run(Self.folder, "--prompt", "query")
    #expect(prompt.status == 1 && prompt.errors.contains("'query'"), "\(prompt.errors)")
    #expect(prompt.errors.contains(Self.folder))
    let target = try run(Self.folder, "--npy", "/nowhere/x.npy")
    #expect(target.status == 1 && target.errors.contains("/nowhere/x.npy"), "\(target.errors)")
  }
}
