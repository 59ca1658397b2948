// What the tests of files share.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

/// The path of a committed reference file.
func fixture(_ name: String) -> String {
  let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  return here.appendingPathComponent("Fixtures/\(name)").path
}

func contents(_ path: String) throws -> [UInt8] {
  Array(try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// A folder that is gone after the test.
func withTemporaryFolder<R>(_ body: (String) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
    "apus-data-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder.path)
}

func names(in folder: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
}

/// What `body` throws, which must be an `ApusError`.
func error(_ body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation)
  -> ApusError?
{
  do {
    try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as ApusError {
    return error
  } catch {
    Issue.record("\(error) is not an ApusError", sourceLocation: sourceLocation)
  }
  return nil
}

/// A small generator with a fixed seed: SplitMix64.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

/// Damages files in `rounds` ways (bytes changed, cut, inserted, doubled) and reads each: it may be read
/// or refused with an `ApusError`, and nothing else. Returns how many were refused.
func fuzz(_ files: [[UInt8]], rounds: Int, seed: UInt64, _ read: ([UInt8]) throws -> Void) -> Int {
  var random = SplitMix64(state: seed)
  var refused = 0
  for round in 0..<rounds {
    var bytes = files[round % files.count]
    for _ in 0...Int.random(in: 0...3, using: &random) where !bytes.isEmpty {
      // Headers are where the trouble is.
      let reach = Bool.random(using: &random) ? min(bytes.count, 160) : bytes.count
      let place = Int.random(in: 0..<reach, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0: bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
      case 1: bytes.insert(UInt8.random(in: 0...255, using: &random), at: place)
      case 2: bytes.remove(at: place)
      case 3: bytes[place] = [0, 0xff, 0x7f, 0x80].randomElement(using: &random)!
      case 4: bytes.append(contentsOf: bytes[place...].prefix(40))
      case 5:
        bytes[place] = UInt8(
          ascii: ["9", "0", "-", "{", "}", "\"", "[", ","].randomElement(using: &random)!)
      case 6: for i in place..<min(place + 8, bytes.count) { bytes[i] = 0xff }
      default: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
    }
    do {
      try read(bytes)
    } catch is ApusError {
      refused += 1
    } catch {
      Issue.record("\(error) is not an ApusError, after round \(round)")
    }
  }
  return refused
}
