// Sound as RIFF files of uncompressed samples.
//
//     "RIFF" size "WAVE"   chunks of { name, size, bytes, padded to an even number }
//     "fmt "  format, channels, rate, bytes a second, bytes a frame, bits, and of the extensible one more
//     "data"  frames, of each channel a sample
//
// Format: Microsoft & IBM 1991, "Multimedia Programming Interface and Data Specifications", and Microsoft's
// WAVEFORMATEXTENSIBLE.

import ApusGraph

/// Reads `.wav` files of uncompressed samples.
///
///     let sound = try WAV.read("speech.wav")
///     print(sound.sampleRate, sound.samples.shape)      // 16000 [48000,1]
public struct WAV: Sendable, Hashable {
  /// Frames a second.
  public let sampleRate: Int
  /// f32[frames, channels], whole numbers divided by the largest magnitude of their type: from -1 to just below 1.
  public let samples: NDArray
  /// Bits of a sample in the file.
  public let bitsPerSample: Int
  /// Whether the file's samples are floats, which may leave -1 to 1.
  public let isFloat: Bool

  public var frames: Int { samples.shape[0] }
  public var channels: Int { samples.shape[1] }

  /// The sound in a file: whole numbers of 8, 16, 24 or 32 bits, or floats of 32 or 64.
  ///
  /// Where a program wrote to a pipe it did not know the length: sizes of 2^32 - 1 stand for all that follows.
  ///
  /// - `limit`: the most bytes that the array may have; nil stands for four fifths of the free memory.
  /// - Throws: `io` where the file cannot be read; `invalidFile` with the byte offset where a chunk ends beyond the file,
  ///   is missing, or says what cannot be; `unsupported` for compressed samples; `resource` where the array is larger
  ///   than `limit`, before memory is taken.
  public static func read(_ path: String, limit: Int? = nil) throws -> WAV {
    try WAV(.file(try OpenFile(path, expected: "a .wav file")), limit)
  }

  /// The sound in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``read(_:limit:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", limit: Int? = nil
  ) throws -> WAV {
    try WAV(.memory(bytes, path: path), limit)
  }

  private init(_ source: ByteSource, _ limit: Int?) throws {
    let limit = try MemoryLimit(limit)
    func fail(_ what: String, at offset: Int, expected: String) -> ApusError {
      ApusError(.invalidFile, what, at: place(source.path, offset), expected: expected)
    }
    func cursor(_ range: Range<Int>) throws -> ByteCursor {
      ByteCursor(try source.bytes(range), path: source.path, base: range.lowerBound)
    }
    var head = try cursor(0..<min(12, source.byteCount))
    guard try head.take(4, "the header") == Array("RIFF".utf8)[...] else {
      throw fail("this is no RIFF file", at: 0, expected: "'RIFF'")
    }
    let size = Int(try head.littleEndian(UInt32.self, "the header"))
    guard try head.take(4, "the header") == Array("WAVE".utf8)[...] else {
      throw fail("the RIFF file is no sound", at: 8, expected: "'WAVE'")
    }
    let end = size == Self.unknown ? source.byteCount : 8 + size
    guard end <= source.byteCount else {
      throw fail(
        "the file says that it ends at byte \(end)", at: 4,
        expected: "at most \(source.byteCount), which it has")
    }
    var format: Format?
    var offset = 12
    while offset < end {
      guard end - offset >= 8 else {
        throw fail("a chunk has no name and size", at: offset, expected: "8 bytes")
      }
      var header = try cursor(offset..<offset + 8)
      let name = String(decoding: try header.take(4, "a chunk"), as: UTF8.self)
      let claimed = Int(try header.littleEndian(UInt32.self, "a chunk"))
      let isOpen = claimed == Self.unknown && name == "data" && size == Self.unknown
      let count = isOpen ? end - offset - 8 : claimed
      guard count <= end - offset - 8 else {
        throw fail(
          "the chunk '\(name)' has \(count) bytes", at: offset + 4,
          expected: "at most \(end - offset - 8), which are there")
      }
      let body = offset + 8..<offset + 8 + count
      switch name {
      case "fmt ":
        guard format == nil else {
          throw fail("a second chunk 'fmt '", at: offset, expected: "one format")
        }
        format = try Format(try cursor(body.prefix(64)), count)
      case "data":
        guard let format else {
          throw fail(
            "samples come before their format", at: offset, expected: "'fmt ' before 'data'")
        }
        self = try WAV(source, body, format, limit)
        return
      default: break
      }
      offset = body.upperBound + count % 2
    }
    throw fail("there are no samples", at: min(offset, end), expected: "a chunk 'data'")
  }

  /// The size where it was not known.
  private static let unknown = Int(UInt32.max)

  private init(
    _ source: ByteSource, _ body: Range<Int>, _ format: Format, _ limit: MemoryLimit
  ) throws {
    let frame = format.channels * format.bytes
    guard body.count % frame == 0 else {
      throw ApusError(
        .invalidFile, "the samples have \(body.count) bytes",
        at: place(source.path, body.lowerBound),
        expected: "whole frames of \(frame) bytes")
    }
    let type = TensorType.f32(body.count / frame, format.channels)
    try limit.check(type.byteCount, for: "the sound, \(type),", at: source.path)
    var result = try NDArray(checking: type)
    try result.withUnsafeMutableBytes { bytes in
      try format.decode(source, body, into: bytes.bindMemory(to: Float.self))
    }
    samples = result
    sampleRate = format.rate
    bitsPerSample = format.bytes * 8
    isFloat = format.isFloat
  }
}

/// The format chunk.
private struct Format {
  let isFloat: Bool
  let channels: Int
  let rate: Int
  /// Bytes of a sample.
  let bytes: Int

  /// - `count`: bytes of the chunk, of which the first are there.
  init(_ chunk: ByteCursor, _ count: Int) throws {
    var chunk = chunk
    let start = chunk.base
    func fail(
      _ what: String, at offset: Int, expected: String, _ kind: ApusError.Kind = .invalidFile
    )
      -> ApusError
    {
      ApusError(kind, what, at: place(chunk.path, start + offset), expected: expected)
    }
    var code = try chunk.littleEndian(UInt16.self, "the format")
    channels = Int(try chunk.littleEndian(UInt16.self, "the format"))
    rate = Int(try chunk.littleEndian(UInt32.self, "the format"))
    _ = try chunk.littleEndian(UInt32.self, "the format")
    let frame = Int(try chunk.littleEndian(UInt16.self, "the format"))
    let bits = Int(try chunk.littleEndian(UInt16.self, "the format"))
    if code == 0xfffe {
      guard count >= 40, try chunk.littleEndian(UInt16.self, "the extension") >= 22 else {
        throw fail("the extensible format has \(count) bytes", at: 0, expected: "40")
      }
      let valid = Int(try chunk.littleEndian(UInt16.self, "the extension"))
      guard valid == bits else {
        throw fail(
          "\(valid) of \(bits) bits of a sample count", at: 18, expected: "all of them",
          .unsupported)
      }
      _ = try chunk.littleEndian(UInt32.self, "the speakers")
      code = try chunk.littleEndian(UInt16.self, "the format")
      guard try chunk.take(14, "the format") == Self.guid[...] else {
        throw fail(
          "an unknown format of samples", at: 24, expected: "whole numbers or floats", .unsupported)
      }
    }
    guard code == 1 || code == 3 else {
      throw fail(
        "samples of format \(code)", at: 0, expected: "1 (whole numbers) or 3 (floats)",
        .unsupported)
    }
    isFloat = code == 3
    guard (isFloat ? [32, 64] : [8, 16, 24, 32]).contains(bits) else {
      throw fail(
        "samples of \(bits) bits", at: 14,
        expected: isFloat ? "32 or 64 for floats" : "8, 16, 24 or 32 for whole numbers",
        .unsupported)
    }
    bytes = bits / 8
    guard channels >= 1 else { throw fail("no channel", at: 2, expected: "1 at least") }
    guard rate >= 1 else { throw fail("0 frames a second", at: 4, expected: "1 at least") }
    guard frame == channels * bytes else {
      throw fail(
        "a frame has \(frame) bytes", at: 12, expected: "\(channels) channels of \(bytes) bytes")
    }
  }

  /// What follows the format's number in the extensible form.
  private static let guid: [UInt8] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]

  /// Reads samples piece by piece.
  func decode(
    _ source: ByteSource, _ body: Range<Int>, into target: UnsafeMutableBufferPointer<Float>
  ) throws {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 3 << 14, alignment: 8)
    defer { buffer.deallocate() }
    var done = 0
    while done < target.count {
      let count = min(target.count - done, buffer.count / bytes)
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(count * bytes)])
      try source.read(into: piece, at: body.lowerBound + done * bytes)
      for place in 0..<count { target[done + place] = sample(piece, place * bytes) }
      done += count
    }
  }

  private func sample(_ piece: UnsafeMutableRawBufferPointer, _ at: Int) -> Float {
    func bits<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> T {
      T(littleEndian: piece.loadUnaligned(fromByteOffset: at, as: T.self))
    }
    switch (isFloat, bytes) {
    case (true, 4): return Float(bitPattern: bits(UInt32.self))
    case (true, _): return Float(Double(bitPattern: bits(UInt64.self)))
    // Samples of 8 bits have no sign; 128 is silence.
    case (false, 1): return Float(Int(piece[at]) - 128) * 0x1p-7
    case (false, 2): return Float(bits(Int16.self)) * 0x1p-15
    case (false, 3):
      let low = Int32(piece[at]) | Int32(piece[at + 1]) << 8
      return Float(low | Int32(Int8(bitPattern: piece[at + 2])) << 16) * 0x1p-23
    default: return Float(bits(Int32.self)) * 0x1p-31
    }
  }
}
