// Mutated records of runs: read or refused, and what is read can be reported, compared and gone on with.

import Apus
import Foundation
import TestSupport
import Testing

@Suite struct HistoryFuzzTests {
  @Test func damagedRecords_areReadOrRefused() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-records-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("metrics.jsonl").path
    let writer = JSONLinesWriter(path)
    try writer.begin(at: 0, time: 1_764_500_000)
    for step in 1...5 {
      try writer.write([
        RunRecord("loss/step", step: step, .scalar(Double(step))),
        RunRecord("odd", step: step, .scalar(.nan)), RunRecord("t", step: step, .text("words")),
      ])
    }
    try writer.write([
      RunRecord("h", step: 5, .hyperparameters(["rate": 0.1, "on": true], metrics: ["odd"]))
    ])
    try writer.begin(at: 3, time: 1_764_500_100)
    try writer.write([RunRecord("loss/step", step: 4, .scalar(.infinity))])
    let good = [UInt8](try Data(contentsOf: URL(filePath: path)))
    let numbers = ["-1", "9223372036854775807", "1e999", "1e308", "-0", "null", "[]", "\"inf\""]
    var refused = 0, read = 0
    try Fuzz.run("records", rounds: 100) { random in
      var bytes = good
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.removeSubrange(place..<min(place + 9, bytes.count - 1))
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
        default:
          var text = String(decoding: bytes, as: UTF8.self)
          if let match = text.matches(of: /-?\d+(\.\d+)?/).randomElement(using: &random) {
            text.replaceSubrange(match.range, with: numbers.randomElement(using: &random)!)
          }
          bytes = Array(text.utf8)
        }
      }
      try Data(bytes).write(to: URL(filePath: path))
      do {
        let history = try RunHistory(path)
        for curve in history.curves {
          for (a, b) in zip(curve.points, curve.points.dropFirst()) where a.step >= b.step {
            throw Fuzz.Wrong("steps of \(curve.tag) do not rise")
          }
        }
        _ = try RunReport("fuzz", history).html
        _ = RunComparison([("a", history), ("b", history)]).html
        read += 1
      } catch let error as ApusError {
        guard !error.what.isEmpty, error.location == path else { throw error }
        refused += 1
      }
      // Whatever it was, a run goes on in it.
      let next = JSONLinesWriter(path)
      try next.begin(at: 0, time: 1_764_600_000)
      try next.write([RunRecord("new", step: 1, .scalar(1))])
      guard let new = try? RunHistory(path) else { return }
      guard try new.curve("new").points.map(\.value) == [1] else { throw Fuzz.Wrong("not read") }
    }
    #expect(refused > 0 && read > 0, "\(refused) refused, \(read) read")
  }
}
