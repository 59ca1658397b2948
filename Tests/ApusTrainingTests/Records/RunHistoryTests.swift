// Runs as lines of JSON, and what is read of them: whole, cut, resumed.

import Apus
import Foundation
import Testing

@testable import ApusTraining

@Suite struct RunHistoryTests {
  private static func point(_ tag: String, _ step: Int, _ value: Double) -> RunRecord {
    RunRecord(tag, step: step, time: 1_764_500_000 + Double(step), .scalar(value))
  }

  private func values(_ history: RunHistory, _ tag: String) throws -> [Double] {
    try history.curve(tag).points.map(\.value)
  }

  @Test func whatIsWrittenIsRead_alsoWhatJSONHasNoNumberFor() throws {
    let folder = try TrainerTests.folder().path, path = RunFolder(folder).metrics
    let writer = JSONLinesWriter(path)
    try writer.begin(at: 0, time: 1_764_500_000)
    let odd = [0.1, .nan, .infinity, -.infinity, .leastNonzeroMagnitude, -0.0, 1e300]
    for (step, value) in odd.enumerated() {
      try writer.write([
        Self.point("loss", step + 1, value), Self.point("rate", step + 1, 2),
        RunRecord("note", step: step + 1, .text("a \"quoted\"\nline </script>")),
      ])
    }
    try writer.write([
      RunRecord(
        "hyperparameters", step: 7,
        .hyperparameters(["rate": 0.5, "on": true, "name": "x", "n": 3], metrics: ["loss"])),
      RunRecord(
        "w", step: 7, .histogram(RecordHistogram(NDArray([Float.nan, 1], shape: [2])))),
    ])
    for line in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n") {
      _ = try JSONSerialization.jsonObject(with: Data(line.utf8))
    }
    for place in [folder, path] {
      let history = try RunHistory(place)
      for (got, wanted) in zip(try values(history, "loss"), odd) {
        #expect(got == wanted || got.isNaN && wanted.isNaN)
      }
      #expect(try history.curve("loss").points.map(\.step) == Array(1...7))
      #expect(history.curves.map(\.tag) == ["loss", "rate"])
      #expect(history.hyperparameters == ["rate": 0.5, "on": true, "name": "x", "n": 3])
      #expect(history.texts.count == 7 && history.texts[0].text.hasSuffix("</script>"))
      #expect(history.damagedLines == 0 && history.startTime == 1_764_500_000)
      #expect(try history.curve("loss").least?.value == -.infinity)
      #expect(try history.curve("loss").greatest?.step == 3)
      let error = #expect(throws: ApusError.self) { _ = try history.curve("lost") }
      #expect(error?.kind == .missing && error?.expected?.contains("loss") == true)
    }
  }

  /// The file is cut after each of its bytes, and gone on with.
  @Test func aFileCutAnywhere_isReadToItsLastWholeLine_andGoneOnWith() throws {
    let folder = try TrainerTests.folder()
    let whole = folder.appendingPathComponent("whole").path
    let writer = JSONLinesWriter(whole)
    try writer.begin(at: 0, time: 1_764_500_000)
    for step in 1...4 { try writer.write([Self.point("ünï", step, Double(step))]) }
    let bytes = try Data(contentsOf: URL(filePath: whole))
    let first = try #require(bytes.firstIndex(of: UInt8(ascii: "\n")))
    let path = folder.appendingPathComponent("cut").path
    for length in first + 1..<bytes.count {
      try bytes.prefix(length).write(to: URL(filePath: path))
      let lines = bytes.prefix(length).split(separator: UInt8(ascii: "\n")).count - 1
      let read = try RunHistory(path)
      let isCut = bytes[length - 1] != UInt8(ascii: "\n") && bytes[length] != UInt8(ascii: "\n")
      #expect(read.damagedLines == (isCut ? 1 : 0))
      #expect(read.curves.first?.points.count ?? 0 == lines - (isCut ? 1 : 0))
      // A run that is resumed after step 2.
      let more = JSONLinesWriter(path)
      try more.begin(at: 2, time: 1_764_500_050)
      for step in 3...5 { try more.write([Self.point("ünï", step, Double(10 * step))]) }
      let resumed = try RunHistory(path)
      #expect(Array(try values(resumed, "ünï").suffix(3)) == [30, 40, 50])
      #expect(
        Set(try resumed.curve("ünï").points.map(\.step)).count == resumed.curves[0].points.count)
      #expect(resumed.resumedAt == [2])
    }
    // A second run in the same file.
    try JSONLinesWriter(whole).begin(at: 0, time: 1_764_600_000)
    #expect(try RunHistory(whole).curves.allSatisfy { $0.points.isEmpty })
  }

  @Test func otherFilesAreRefused() throws {
    let folder = try TrainerTests.folder()
    let path = folder.appendingPathComponent("x").path
    for (text, kind) in [
      ("", ApusError.Kind.invalidFile), ("{}\n[]\nnull\n", .invalidFile),
      (#"{"event":"scalars","step":1,"time":1,"values":{"x":1}}"#, .invalidFile),
      (#"{"event":"begin","step":0,"time":1,"format":"apus-run","version":99}"#, .invalidFile),
      (String(repeating: "[", count: 5000), .invalidFile),
    ] {
      try Data(text.utf8).write(to: URL(filePath: path))
      let error = #expect(throws: ApusError.self) { _ = try RunHistory(path) }
      #expect(error?.kind == kind && error?.location == path, "\(text)")
    }
    let error = #expect(throws: ApusError.self) { _ = try RunHistory("/nowhere/run") }
    #expect(error?.kind == .io && error?.expected?.contains("metrics.jsonl") == true)
    // Steps, tags and values that make no sense are passed over.
    let odd = """
      {"event":"begin","step":0,"time":1,"format":"apus-run","version":1}
      {"event":"scalars","step":-5,"time":1,"values":{"x":1}}
      {"event":"scalars","step":9223372036854775807,"time":1,"values":{"x":1}}
      {"event":"scalars","step":9007199254740991,"time":1,"values":{"x":1,"y":[],"z":"word"}}
      {"event":"scalars","step":1,"time":1,"values":7}
      {"event":"what","step":2,"time":1}

      """
    try Data(odd.utf8).write(to: URL(filePath: path))
    let history = try RunHistory(path)
    #expect(history.curves.map(\.tag) == ["x"] && history.damagedLines == 2)
    _ = try RunReport("x", history).html
  }

  @Test func settingsAreReadFromText() {
    #expect(
      Hyperparameter(text: "0.5") == .number(0.5) && Hyperparameter(text: "true") == .bool(true))
    #expect(
      Hyperparameter(text: "nan") == .string("nan") && Hyperparameter(text: "a") == .string("a"))
    #expect(Hyperparameter.number(128).description == "128")
  }
}
