// IDX files of every element type, compressed or not, and broken ones.

import ApusGraph
import CZlib
import Testing

@testable import ApusData

@Suite struct IDXTests {
  /// The elements of the reference files.
  static let signed = [-100, -60, -20, 20, 60, 100]
  static let unsigned = [0, 40, 80, 120, 160, 200]

  @Test(arguments: [
    ("u1.idx", TensorType.u8(2, 3)), ("i1.idx", .i32(2, 3)), ("i2.idx", .i32(2, 3)),
    ("i4.idx", .i32(2, 3)), ("f4.idx", .f32(2, 3)), ("f8.idx", .f64(2, 3)),
    ("u1.idx.gz", .u8(2, 3)),
  ])
  func everyElementTypeIsRead(name: String, type: TensorType) throws {
    let array = try IDX.read(fixture(name))
    #expect(array.type == type)
    #expect(array.integers == (type.dtype == .u8 ? Self.unsigned : Self.signed))
  }

  @Test func gzipIsToldFromContentAndNotFromTheName() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/images.idx"
      let bytes = try contents(fixture("u1.idx.gz"))
      try AtomicFile.write(to: path) { try $0.write(bytes) }
      #expect(try IDX.read(path).integers == Self.unsigned)
    }
  }

  @Test func severalGzipMembersAreOneStream() throws {
    let plain = try contents(fixture("u1.idx"))
    let parts = try [plain[..<5], plain[5...]].map { try gzipped(Array($0)) }
    #expect(try IDX.parse(parts[0] + parts[1]).integers == Self.unsigned)
  }

  @Test func aMissingFileIsNamed() throws {
    let failure = error { _ = try IDX.read("/nowhere/x.idx") }
    #expect(failure?.kind == .io)
    #expect(failure?.location == "/nowhere/x.idx")
    #expect(failure?.what.contains("No such file") == true)
  }

  @Test func aFolderIsNoFile() {
    #expect(error { _ = try IDX.read("/tmp") }?.kind == .io)
  }

  static let plain: [UInt8] = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]

  @Test func theReferenceOfTheDamagedFilesIsRead() throws {
    #expect(try IDX.parse(Self.plain).integers == [1, 2, 3, 4, 5, 6])
  }

  @Test(
    arguments: [
      ([], "byte 0", "ends within"),
      (Array(plain[..<3]), "byte 3", "magic"),
      ([1] + plain[1...], "byte 0", "magic"),
      ([0, 0, 7] + plain[3...], "byte 0", "magic"),
      ([0, 0, 8, 0], "byte 3", "no axis"),
      (Array(plain[..<10]), "byte 10", "axis 1"),
      (Array(plain[..<17]), "byte 17", "ends within its elements"),
      (plain + [0], "byte 18", "bytes follow"),
      ([0, 0, 14, 3] + [UInt8](repeating: 255, count: 12), "byte 4", "absurd"),
      ([0, 0, 8, 2] + [UInt8](repeating: 255, count: 4) + [0, 0, 0, 0], "byte 16", ""),
      ([0, 0, 8, 4] + [UInt8](repeating: 255, count: 12) + [0, 0, 0, 0], "byte 4", "absurd"),
    ] as [([UInt8], String, String)])
  func damageIsNamedWithItsOffset(bytes: [UInt8], offset: String, what: String) throws {
    // An array without elements is legal, whatever its other extents, if their product fits.
    if offset == "byte 16" {
      #expect(try IDX.parse(bytes).count == 0)
      return
    }
    let failure = error { _ = try IDX.parse(bytes, path: "x.idx") }
    #expect(failure?.kind == .invalidFile)
    #expect(failure?.location == "x.idx, \(offset)")
    #expect(failure?.what.contains(what) == true)
  }

  @Test func damagedCompressionIsNamedWithItsOffset() throws {
    let whole = try gzipped(Self.plain)
    let short = error { _ = try IDX.parse(Array(whole.dropLast(9)), path: "x.gz") }
    #expect(short?.location?.hasPrefix("x.gz, byte ") == true)
    #expect(short?.what.contains("ends early") == true)

    var crc = whole
    crc[crc.count - 6] ^= 1
    let wrong = error { _ = try IDX.parse(crc, path: "x.gz") }
    #expect(wrong?.what.contains("incorrect data check") == true)

    let followed = error { _ = try IDX.parse(whole + [1, 2, 3], path: "x.gz") }
    #expect(followed?.location == "x.gz, byte \(whole.count)")
  }

  @Test func aStreamThatInflatesWithoutEndIsRefused() throws {
    let zeros = try gzipped([UInt8](repeating: 0, count: 4 << 20))
    let failure = error { _ = try Gzip.inflate(zeros, path: "bomb", limit: 1 << 20) }
    #expect(failure?.what.contains("more than 1048576") == true)
    #expect(try Gzip.inflate(zeros, path: "fits", limit: 4 << 20).count == 4 << 20)
  }

  @Test func mutatedFilesAreReadOrRefused() throws {
    let names = ["u1.idx", "i2.idx", "i4.idx", "f8.idx", "u1.idx.gz"]
    let files = try names.map { try contents(fixture($0)) }
    let refused = fuzz(files, rounds: 6000, seed: 1) { _ = try IDX.parse($0) }
    #expect(refused > 3000)
  }

  private func gzipped(_ bytes: [UInt8]) throws -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(
      &stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, zlibVersion(),
      Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    var source = bytes
    var target = [UInt8](repeating: 0, count: bytes.count + 1024)
    let count = source.withUnsafeMutableBufferPointer { source in
      target.withUnsafeMutableBufferPointer { target -> Int in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(target.count)
        #expect(deflate(&stream, Z_FINISH) == Z_STREAM_END)
        return target.count - Int(stream.avail_out)
      }
    }
    return Array(target[..<count])
  }
}
