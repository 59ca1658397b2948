// `apus generate` on a prompt, on lines and on what is wrong.

import Apus
import ApusText
import Foundation
import Testing

@Suite struct GenerateTests {
  /// A folder of a small model, not trained.
  private func folder() throws -> String {
    let tokenizer = try BPETrainer(vocabularySize: 260, includesAllBytes: true).train(["a b a b"])
    let model = GPT2(
      .init(vocabulary: tokenizer.idLimit, length: 32, width: 16, layers: 1, heads: 2))
    try model.initialize(seed: 5)
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    try model.save(folder: folder)
    try tokenizer.save(to: "\(folder)/tokenizer.json")
    return folder
  }

  @Test func aPromptAndLines_giveTheSameTexts() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let options = ["--tokens", "9", "--temperature", "1.5", "--top-k", "20", "--seed", "4"]
    let one = try CommandProcess(["generate", folder, "--prompt", "a b"] + options).finish()
    #expect(one.status == 0, "\(one.errors)")
    let prompts = "\(folder)/prompts.jsonl"
    try Data("{\"p\":\"a b\"}\n{\"p\":\"b\\na\"}\n".utf8).write(to: URL(filePath: prompts))
    let lines = try CommandProcess(["generate", folder, prompts, "--field", "p"] + options).finish()
    #expect(lines.status == 0, "\(lines.errors)")
    let rows = try lines.lines.map { try JSON(parsing: $0) }
    try #require(rows.count == 2)
    #expect(rows.allSatisfy { $0["tokens"]?.integer == 9 })
    #expect(one.output == (rows[0]["text"]?.string ?? "") + "\n")
    #expect(rows[0]["ending"]?.string == "length" && (rows[0]["prompt_tokens"]?.integer ?? 0) > 0)
    let stream = try CommandProcess(
      ["generate", folder, "--field", "p"] + options, streams: "< '\(prompts)'"
    ).finish()
    #expect(stream.output == lines.output)
    let beams = try CommandProcess(
      ["generate", folder, "--prompt", "a", "--beams", "2", "--tokens", "3"]
    ).finish()
    #expect(beams.status == 0, "\(beams.errors)")
  }

  @Test func mistakes_areTold() throws {
    let folder = try folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for (arguments, status, word) in [
      (["--prompt", "a", "--tokens", "0"], 64, "--tokens"),
      (["--prompt", "a", "--top-p", "2"], 64, "--top-p"),
      (["--prompt", "a", "--beams", "2", "--top-k", "3"], 64, "--beams"),
      (["--prompt", "a", "--length-penalty", "1"], 64, "--beams"),
      (["--prompt", "a", "--length", "99"], 1, "1 to 32"),
      (["--prompt", String(repeating: "a ", count: 40)], 1, "at most 31"),
      (["/nonexistent"], 1, "nonexistent"),
    ] {
      let run = try CommandProcess(["generate", folder] + arguments).finish()
      #expect(run.status == status && run.errors.contains(word), "\(arguments): \(run.errors)")
      #expect(run.output.isEmpty)
    }
    let other = try CommandProcess(["generate", "/nonexistent", "--prompt", "a"]).finish()
    #expect(other.status == 1 && other.errors.contains("config.json"))
    let bad = "\(folder)/bad.txt"
    try Data("a\n\n".utf8).write(to: URL(filePath: bad))
    let empty = try CommandProcess(["generate", folder, bad, "--tokens", "2"]).finish()
    #expect(empty.status == 1 && empty.errors.contains("line 2"), "\(empty.errors)")
    #expect(empty.lines.count == 1)
  }
}
