// IDX files of every element type, compressed or not, and broken ones.

import ApusGraph
import Foundation
import TestSupport
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
    let parts = [plain[..<5], plain[5...]].map { ZipBuilder.deflated(Array($0)) }
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
    let whole = ZipBuilder.deflated(Self.plain)
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
    let zeros = ByteSource.memory(ZipBuilder.deflated([], zeros: 4 << 20), path: "bomb")
    let failure = error { _ = try Gzip.contents(zeros, limit: MemoryLimit(1 << 20)) }
    #expect(failure?.kind == .resource && failure?.location == "bomb")
    #expect(failure?.expected?.contains("at most 1048576") == true)
    #expect(try Gzip.contents(zeros, limit: MemoryLimit(4 << 20)).count == 4 << 20)
  }

  @Test func aCompressedFileIsInflatedToWhatItsHeaderSays() throws {
    // 6 elements, and then 4 MB of zeros.
    let long = ZipBuilder.deflated(Self.plain, zeros: 4 << 20)
    let failure = error { _ = try IDX.parse(long, path: "x.gz") }
    #expect(failure?.location == "x.gz (decompressed), byte 18")
    #expect(failure?.what.contains("bytes follow") == true)
    // A header that claims more than so few bytes can hold, and one beyond the limit.
    let header: [UInt8] = [0, 0, 8, 2, 0, 16, 0, 0, 0, 1, 0, 0]
    let lie = error { _ = try IDX.parse(ZipBuilder.deflated(header)) }
    #expect(lie?.what.contains("ends within its elements") == true)
    let images = ZipBuilder.deflated([0, 0, 8, 1, 0, 1, 0, 0], zeros: 1 << 16)
    #expect(try IDX.parse(images, limit: 1 << 16).count == 1 << 16)
    let large = error { _ = try IDX.parse(images, path: "x.gz", limit: 1 << 16 - 1) }
    #expect(large?.kind == .resource)
    #expect(large?.what == "the array, u8[65536], would take 65536 bytes")
    #expect(large?.expected?.hasPrefix("at most 65535 bytes") == true)
    #expect(error { _ = try IDX.parse(images, limit: -1) }?.kind == .invalidArgument)
  }

  @Test func zerosAfterACompressedStreamAreLegal() throws {
    let whole = ZipBuilder.deflated(Self.plain)
    let padding = [UInt8](repeating: 0, count: 1 << 17)
    #expect(try IDX.parse(whole + padding).integers == [1, 2, 3, 4, 5, 6])
    let failure = error { _ = try IDX.parse(whole + padding + [7], path: "x.gz") }
    #expect(failure?.what == "something follows the compressed stream")
    #expect(failure?.location == "x.gz, byte \(whole.count)")
  }

  @Test func aPipeOrDeviceIsRefusedAndNotWaitedFor() throws {
    try withTemporaryFolder { folder in
      #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
      for path in ["\(folder)/pipe", "/dev/zero", "/dev/null"] {
        for read in [
          { _ = try IDX.read(path) }, { _ = try CSV.read(path) }, { _ = try NPY.read(path) },
          { _ = try NPZ.read(path) }, { _ = try SafetensorsFile(path) },
        ] as [() throws -> Void] {
          let failure = error { try read() }
          #expect(failure?.kind == .io && failure?.what.contains("not a regular file") == true)
        }
      }
    }
  }

  @Test func mutatedFilesAreReadOrRefused() throws {
    let names = ["u1.idx", "i2.idx", "i4.idx", "f8.idx", "u1.idx.gz"]
    let files = try names.map { try contents(fixture($0)) }
    let refused = fuzz(files, rounds: 6000, seed: 1) { _ = try IDX.parse($0) }
    #expect(refused > 3000)
  }
}
