// Sounds, as SciPy and Python's wave write them (Tests/reference/data.py), and files that lie.

import ApusGraph
import Foundation
import Testing

@testable import ApusData

@Suite struct WAVTests {
  private static func bytes(_ array: NDArray) -> [UInt8] { array.withUnsafeBytes { Array($0) } }

  private static func little(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static func chunk(_ name: String, _ body: [UInt8], size: Int? = nil) -> [UInt8] {
    Array(name.utf8) + little(size ?? body.count, 4) + body
      + (body.count % 2 == 1 ? [0] : [])
  }

  private static func format(
    _ code: Int = 1, channels: Int = 1, rate: Int = 8000, frame: Int? = nil, bits: Int = 16
  ) -> [UInt8] {
    let frame = frame ?? channels * bits / 8
    return little(code, 2) + little(channels, 2) + little(rate, 4) + little(rate * frame, 4)
      + little(frame, 2) + little(bits, 2)
  }

  private static func file(_ chunks: [UInt8]..., size: Int? = nil) -> [UInt8] {
    let body = Array("WAVE".utf8) + chunks.flatMap { $0 }
    return Array("RIFF".utf8) + little(size ?? body.count, 4) + body
  }

  @Test(arguments: ["u8", "i16", "i24", "i32", "f32", "f64"])
  func samplesAreSciPys(name: String) throws {
    let reference = try NPZ.read(fixture("sounds.npz"))
    let sound = try WAV.parse(Self.bytes(try #require(reference["\(name) file"])))
    #expect(sound.samples == reference["\(name) samples"])
    #expect(sound.sampleRate == reference["\(name) rate"]!.integers[0])
    #expect(sound.isFloat == name.hasPrefix("f"))
    #expect(sound.bitsPerSample == Int(name.dropFirst()))
    #expect(sound.frames == 50 && sound.channels == (name == "u8" ? 1 : 2))
  }

  @Test func theExtensibleFormatIsRead_andOtherChunksAreSkipped() throws {
    let guid: [UInt8] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]
    func extensible(_ code: Int, valid: Int = 16, guid: [UInt8] = guid) -> [UInt8] {
      Self.format(0xfffe) + Self.little(22, 2) + Self.little(valid, 2) + Self.little(4, 4)
        + Self.little(code, 2) + guid
    }
    let data = Self.chunk("data", [0, 0x40, 0, 0x80])
    let odd = Self.chunk("LIST", [1, 2, 3])
    let sound = try WAV.parse(Self.file(odd, Self.chunk("fmt ", extensible(1)), odd, data, odd))
    #expect(sound.samples == NDArray([0.5, -1], shape: [2, 1]))
    for body in [
      extensible(1, valid: 12), extensible(7),
      extensible(1, guid: [UInt8](repeating: 0, count: 14)),
    ] {
      #expect(
        error { _ = try WAV.parse(Self.file(Self.chunk("fmt ", body), data)) }?.kind == .unsupported
      )
    }
  }

  @Test func unknownSizesOfAPipeStandForTheRest() throws {
    let open = Self.file(
      Self.chunk("fmt ", Self.format()), Self.chunk("data", [0, 0x40, 0, 0xc0], size: 0xffff_ffff),
      size: 0xffff_ffff)
    #expect(try WAV.parse(open).samples == NDArray([0.5, -0.5], shape: [2, 1]))
    // In a file that knows its own size, such a chunk is a lie.
    let closed = Self.file(
      Self.chunk("fmt ", Self.format()), Self.chunk("data", [0, 0x40], size: 0xffff_ffff))
    #expect(error { _ = try WAV.parse(closed) }?.kind == .invalidFile)
  }

  @Test func whatIsWrongIsNamed() throws {
    let (format, data) = (Self.chunk("fmt ", Self.format()), Self.chunk("data", [1, 2, 3, 4]))
    func failure(_ bytes: [UInt8], limit: Int? = nil) -> ApusError? {
      error { _ = try WAV.parse(bytes, path: "f", limit: limit) }
    }
    let good = Self.file(format, data)
    #expect(try WAV.parse(good).frames == 2)
    for count in 0..<good.count {
      #expect(failure(Array(good[..<count])) != nil, "\(count) bytes")
    }
    let long = failure(Self.file(format, Self.chunk("data", [1, 2], size: 1000)))
    #expect(long?.what == "the chunk 'data' has 1000 bytes" && long?.location == "f, byte 40")
    #expect(failure(Self.file(format, data, size: 500))?.location == "f, byte 4")
    #expect(failure(Self.file(format, Self.chunk("data", [1, 2, 3])))?.kind == .invalidFile)
    #expect(failure(Self.file(data, format))?.what == "samples come before their format")
    #expect(failure(Self.file(format, format, data))?.what == "a second chunk 'fmt '")
    #expect(failure(Self.file(format))?.what == "there are no samples")
    #expect(failure(Self.file(Self.chunk("fmt ", [1, 0]), data))?.kind == .invalidFile)
    for body in [Self.format(channels: 0, frame: 0), Self.format(rate: 0), Self.format(frame: 3)] {
      #expect(failure(Self.file(Self.chunk("fmt ", body), data))?.kind == .invalidFile)
    }
    for body in [
      Self.format(2), Self.format(bits: 12), Self.format(3, bits: 16), Self.format(1, bits: 64),
    ] {
      #expect(failure(Self.file(Self.chunk("fmt ", body), data))?.kind == .unsupported)
    }
    #expect(failure(Array("RIFX".utf8) + good.dropFirst(4))?.what == "this is no RIFF file")
    #expect(failure(Array(good[..<8]) + Array("AVI ".utf8))?.kind == .invalidFile)
    #expect(failure(good, limit: 7)?.kind == .resource)
    #expect(failure(good, limit: -1)?.kind == .invalidArgument)
    #expect(try WAV.parse(good, limit: 8).frames == 2)
    #expect(try WAV.parse(Self.file(format, Self.chunk("data", []))).samples.shape == [0, 1])
  }
}
