// Files that are damaged in random ways, and the rounds of readers that try them.

import ApusGraph
import Foundation
import TestSupport

/// Rounds of one reader.
struct Mutants {
  let name: String
  init(_ name: String) { self.name = name }

  /// Damaged files of one round. `make fuzz` tries 10,000 of each format, whatever the time.
  private static let perRound = 20

  /// - `make`: a file that is right. It must be read.
  /// - `read`: the reader. `path` is a place for a file.
  /// - `again`: writes what was read and reads that.
  func run<Value: Equatable>(
    make: (inout SplitMix) throws -> [UInt8],
    read: (_ bytes: [UInt8], _ path: String) throws -> Value,
    again: (_ value: Value, _ path: String) throws -> Value
  ) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-fuzz-\(name)-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("file").path
    try Fuzz.run(name, rounds: 15, atLeast: 10_000 / Self.perRound) { random in
      let other = try make(&random), file = try make(&random)
      let original = try? read(file, path)
      if original == nil, !mayRefuse { throw Fuzz.Wrong("a right file is refused") }
      for _ in 0..<Self.perRound {
        let mutant = Mutation.mutated(file, with: other, &random)
        let value: Value
        do { value = try read(mutant, path) } catch is ApusError { continue }
        guard try again(value, path) == value else {
          throw Fuzz.Wrong("\(value) is another value after writing and reading: \(mutant)")
        }
      }
    }
  }

  /// Tables may not fit the options that are drawn with them.
  private var mayRefuse: Bool { name == "csv" }
}

/// Ways to damage a file.
enum Mutation {
  static func mutated(
    _ file: [UInt8], with other: [UInt8], _ random: inout SplitMix
  ) -> [UInt8] {
    var bytes = file
    for _ in 0...Int.random(in: 0...2, using: &random) where !bytes.isEmpty {
      // Headers and directories are where the trouble is.
      let reach = min(bytes.count, 120)
      let place =
        switch Int.random(in: 0..<3, using: &random) {
        case 0: Int.random(in: 0..<reach, using: &random)
        case 1: bytes.count - 1 - Int.random(in: 0..<reach, using: &random)
        default: Int.random(in: 0..<bytes.count, using: &random)
        }
      let end = min(bytes.count, place + Int.random(in: 1...64, using: &random))
      switch Int.random(in: 0..<9, using: &random) {
      case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
      case 2: bytes.removeSubrange(Bool.random(using: &random) ? place..<end : place..<bytes.count)
      case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
      case 4:
        let from = Int.random(in: 0...other.count, using: &random)
        bytes.replaceSubrange(place..<end, with: other[from...].prefix(end - place))
      case 5: bytes = bytes[..<place] + other
      case 6: bytes = other + bytes
      case 7:
        // An integer of 2, 4 or 8 bytes at an extreme, or one off.
        let size = [2, 4, 8].randomElement(using: &random)!
        let value = [0, 1, -1, -2, 1 << 15, 1 << 31, 1 << 32, Int.max, Int.min].randomElement(
          using: &random)!
        for index in 0..<size where place + index < bytes.count {
          bytes[place + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
        }
      default:
        let text = [
          "9", "-", "L", "{", "\"", "\"\"", ",", "\n", "\r\n", "e", ".", "999999999999", "\0",
        ]
        bytes.insert(contentsOf: text.randomElement(using: &random)!.utf8, at: place)
      }
    }
    return bytes
  }
}
