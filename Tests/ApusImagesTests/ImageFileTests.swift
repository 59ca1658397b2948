// Image files as Pillow wrote and reads them (Tests/reference/data.py), and files that are damaged.

import ApusData
import ApusGraph
import Foundation
import TestSupport
import Testing

@testable import ApusImages

/// The archive of files and what Pillow makes of them.
private let reference = try! NPZ.read(
  URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures/images.npz").path)

/// The bytes of a file of the archive.
func file(_ name: String) -> [UInt8] { reference[name]!.withUnsafeBytes { Array($0) } }

private func failure(_ body: () throws -> Void) -> ApusError? {
  do { try body() } catch { return error as? ApusError }
  return nil
}

@Suite struct ImageFileTests {
  static let names = [
    "rgb.png", "gray.png", "rgba.png", "la.png", "palette.png", "transparent.png", "bits.png",
    "wide.png", "interlaced.png", "rgb.jpg", "halved.jpg", "gray.jpg", "progressive.jpg",
    "photo.ppm", "photo.pgm",
  ]

  /// How far a pixel may be from Pillow's: decoders of JPEG may round the inverse transform and halved colours
  /// differently.
  private static func tolerance(_ name: String) -> Int { name.hasSuffix(".jpg") ? 2 : 0 }

  @Test(arguments: names) func pixelsArePillows(name: String) throws {
    let bytes = file(name)
    for (channels, wanted) in [
      (ImageFile.Channels.asStored, "stored"), (.rgb, "rgb"), (.gray, "gray"),
    ] {
      let image = try ImageFile.decode(bytes, channels: channels)
      let expected = try #require(reference["\(name) \(wanted)"])
      #expect(image.type == expected.type, "\(name) \(wanted)")
      let worst = zip(image.integers, expected.integers).map { abs($0 - $1) }.max()!
      #expect(worst <= Self.tolerance(name), "\(name) \(wanted): \(worst)")
    }
  }

  @Test func aFileIsToldByItsBytesAndNotItsName() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent(
      "\(UUID().uuidString).png")
    defer { try? FileManager.default.removeItem(at: path) }
    try Data(file("rgb.jpg")).write(to: path)
    #expect(try ImageFile.read(path.path) == ImageFile.decode(file("rgb.jpg")))
  }

  @Test func ourOwnPicturesAreRead() throws {
    let pixels = NDArray((0..<60).map { UInt8($0 * 4) }, shape: [4, 5, 3])
    #expect(try ImageFile.decode(try Picture(pixels).png()) == pixels)
  }

  @Test func inksAreUnsupported_andOtherFilesToo() {
    let inks = failure { _ = try ImageFile.decode(file("cmyk.jpg"), path: "f") }
    #expect(inks?.kind == .unsupported && inks?.what == "JPEG: the image has 4 channels of ink")
    for text in ["GIF89a", "", "P", "\u{0}"] {
      let other = failure { _ = try ImageFile.decode(Array(text.utf8), path: "f") }
      #expect(other?.kind == .unsupported && other?.location == "f")
    }
    #expect(failure { _ = try ImageFile.read("/nowhere.png") }?.kind == .io)
    #expect(failure { _ = try ImageFile.decode([], limit: -1) }?.kind == .invalidArgument)
  }

  @Test(arguments: ["rgb.png", "interlaced.png", "rgb.jpg", "progressive.jpg", "photo.ppm"])
  func aFileThatEndsEarlyIsRefused(name: String) {
    let bytes = file(name)
    for count in stride(from: 2, to: bytes.count - 12, by: 7) {
      let early = failure { _ = try ImageFile.decode(Array(bytes[..<count]), path: "f") }
      #expect(early != nil, "\(count) of \(bytes.count) bytes")
    }
  }

  @Test func aByteOfThePixelsThatIsWrongIsRefused() {
    var bytes = file("rgb.png")
    bytes[bytes.count / 2] ^= 0x10
    let damaged = failure { _ = try ImageFile.decode(bytes, path: "f") }
    #expect(damaged?.kind == .invalidFile && damaged?.what.hasPrefix("PNG: ") == true)
  }

  @Test(arguments: names) func aLimitIsKept(name: String) throws {
    let image = try ImageFile.decode(file(name))
    _ = try ImageFile.decode(file(name), limit: image.count)
    let less = failure { _ = try ImageFile.decode(file(name), limit: image.count - 1) }
    #expect(less?.kind == .resource && less?.expected?.contains("\(image.count - 1) bytes") == true)
    if image.shape[2] == 1 {
      #expect(
        failure { _ = try ImageFile.decode(file(name), channels: .rgb, limit: image.count) }?.kind
          == .resource)
    }
  }

  /// A header that claims a gigabyte, behind it nothing.
  @Test func aHeaderThatLiesTakesNoMemory() async {
    await #expect(processExitsWith: .success) {
      func peak() -> Int {
        let status = try! String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }!
        return Int(line.split(separator: " ").dropFirst().first!)! << 10
      }
      var png = file("rgb.png")
      png.replaceSubrange(16..<24, with: [0, 0, 0x60, 0, 0, 0, 0x60, 0])
      // The header's checksum says that it was changed; without it, the limit.
      var jpeg = file("progressive.jpg")
      let frame = jpeg.indices.first { jpeg[$0] == 0xff && jpeg[$0 + 1] == 0xc2 }!
      jpeg.replaceSubrange(frame + 5..<frame + 9, with: [0x7f, 0xff, 0x7f, 0xff])
      _ = try? ImageFile.decode(file("progressive.jpg"))
      let before = peak()
      for bytes in [png, jpeg] {
        for limit in [1 << 20, ImageFile.usualLimit] {
          do {
            _ = try ImageFile.decode(bytes, limit: limit)
            exit(1)
          } catch { guard error is ApusError else { exit(2) } }
        }
      }
      if peak() - before > 24 << 20 { exit(3) }
    }
  }

  /// A progressive file may repeat a scan without end: each costs a walk over the image.
  @Test func tooManyScansAreRefused() throws {
    let bytes = file("progressive.jpg")
    let scans = bytes.indices.dropLast().filter { bytes[$0] == 0xff && bytes[$0 + 1] == 0xda }
    let last = try #require(scans.last)
    var many = Array(bytes.dropLast(2))
    for _ in 0..<600 { many += bytes[last..<bytes.count - 2] }
    many += [0xff, 0xd9]
    let refused = failure { _ = try ImageFile.decode(many, path: "f") }
    #expect(refused?.kind == .invalidFile)
  }
}
