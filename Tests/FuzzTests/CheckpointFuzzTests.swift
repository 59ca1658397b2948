// Damaged checkpoints: refused with nothing changed, or resumed to a run that goes on.

import Apus
import ApusGraph
import Foundation
import TestSupport
import Testing

@Suite struct CheckpointFuzzTests {
  private struct Net: Module {
    let a = Linear(3, 4)
    let b = Linear(4, 1)
  }

  private static func trainer() throws -> Trainer<Net> {
    try Trainer(Net(), optimizer: Adam(learningRate: 0.01)) { model, batch in
      mse(model.b(tanh(model.a(batch.x))), batch.y)
    }
  }

  private static let numbers = [
    "0", "-1", "1", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "1e9",
    "9007199254740992", "null", "true", "4611686018427387904", "\"\"",
  ]

  @Test func damagedCheckpoints_areRefused_orGoOn() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-checkpoints-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let batch = Batch([
      "x": NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3]), "y": NDArray([1, 2], shape: [2, 1]),
    ])
    let first = try Self.trainer()
    for _ in 0..<3 { _ = try first.train(on: batch) }
    let path = folder.appendingPathComponent("a").path
    try first.saveCheckpoint(path)
    let good = try Data(contentsOf: URL(fileURLWithPath: path))
    let header = 8 + good.prefix(8).enumerated().reduce(0) { $0 + Int($1.1) << (8 * $1.0) }
    let trainer = try Self.trainer()
    _ = try trainer.train(on: batch)
    func values() throws -> [NDArray] {
      try trainer.model.parameters.map { try $0.parameter.value() }
    }
    var refused = 0, resumed = 0
    try Fuzz.run("checkpoints", rounds: 150) { random in
      let damaged = Self.damaged(good, header, &random)
      let file = folder.appendingPathComponent("b").path
      try damaged.write(to: URL(fileURLWithPath: file))
      let before = try values()
      do {
        try trainer.resume(from: file)
      } catch let error as ApusError {
        guard !error.what.isEmpty else { throw error }
        guard try values() == before else { throw Fuzz.Wrong("refused, but the weights changed") }
        refused += 1
        return
      }
      resumed += 1
      do {
        _ = try trainer.train(on: batch)
      } catch let error as ApusError where error.kind == .nonFinite {
        // A bit of a weight.
        try trainer.resume(from: path)
      }
    }
    #expect(refused > 0 && resumed > 0, "\(refused) refused, \(resumed) resumed")
  }

  private static func damaged(_ good: Data, _ header: Int, _ random: inout SplitMix) -> Data {
    var bytes = [UInt8](good)
    switch Int.random(in: 0..<4, using: &random) {
    case 0:
      bytes[Int.random(in: 0..<header, using: &random)] ^=
        1 << UInt8.random(in: 0..<8, using: &random)
    case 1:
      bytes[Int.random(in: header..<bytes.count, using: &random)] ^=
        1 << UInt8.random(in: 0..<8, using: &random)
    case 2: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
    default:
      // A number of the header for another; the header's length as it then is.
      var text = String(decoding: bytes[8..<header], as: UTF8.self)
      let places = text.matches(of: /-?\d+/)
      if let place = places.randomElement(using: &random) {
        text.replaceSubrange(place.range, with: numbers.randomElement(using: &random)!)
      }
      let length = withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Array($0) }
      bytes = length + Array(text.utf8) + bytes[header...]
    }
    return Data(bytes)
  }
}
