// Mutated files for the readers of rows, images and sounds: each is read to something that can be written and read
// again, or is refused with a typed error, within the limit of memory.

import ApusData
import ApusGraph
import ApusImages
import Foundation
import TestSupport
import Testing

@Suite struct MediaFuzzTests {
  private static let limit = 1 << 20

  @Test func rowsOfJSON() throws {
    try Mutants("jsonl").run(
      make: { random in MediaFiles.rows(&random) },
      read: { bytes, _ in try MediaFiles.Rows(bytes, limit: Self.limit) },
      again: { rows, _ in try MediaFiles.Rows(rows.text, limit: Self.limit) })
  }

  @Test func netpbm() throws {
    try Mutants("pnm").run(
      make: { random in MediaFiles.pnm(&random) },
      read: { bytes, _ in try Self.bounded(try PNM.parse(bytes, limit: Self.limit)) },
      again: { image, _ in try PNM.parse(MediaFiles.pnm(image)) })
  }

  @Test func sounds() throws {
    try Mutants("wav").run(
      make: { random in MediaFiles.wav(&random) },
      read: { bytes, _ in
        let sound = try WAV.parse(bytes, limit: Self.limit)
        _ = try Self.bounded(sound.samples)
        return sound.samples
      },
      again: { samples, _ in try WAV.parse(MediaFiles.wav(samples)).samples })
  }

  @Test func cifar() throws {
    try Mutants("cifar").run(
      make: { random in MediaFiles.cifar(&random) },
      read: { bytes, _ in
        let images = try CIFAR100.parse(bytes)
        guard images.pixels.type.byteCount <= bytes.count else { throw Fuzz.Wrong("too many") }
        return MediaFiles.Labeled(images)
      },
      again: { images, _ in MediaFiles.Labeled(try CIFAR100.parse(images.file)) })
  }

  @Test func rowsOfStoredArrays() throws {
    try Mutants("stored").run(
      make: { random in
        let type = TensorType.i32(Int.random(in: 1...6, using: &random), 2, 3)
        let array = NDArray(type) { bytes in
          for place in bytes.indices { bytes[place] = UInt8.random(in: 0...255, using: &random) }
        }
        return try MediaFiles.npy(array)
      },
      read: { bytes, path in
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let stored = try StoredArray(npy: path)
        let rows = try stored.rows(0..<stored.count)
        // What is read whole is read by rows.
        guard rows == (try NPY.parse(bytes)) else { throw Fuzz.Wrong("rows are others") }
        return rows
      },
      again: { array, path in
        try NPY.write(array, to: path)
        let stored = try StoredArray(npy: path)
        return try stored.rows(0..<stored.count)
      })
  }

  @Test(arguments: [false, true]) func images(isJPEG: Bool) throws {
    try Mutants(isJPEG ? "jpeg" : "png").run(
      make: { random in try MediaFiles.image(isJPEG: isJPEG, &random) },
      read: { bytes, _ in
        // Where checksums are wrong, nothing behind them is looked at: half of the time they are made right.
        let bytes = bytes.count % 2 == 0 && !isJPEG ? MediaFiles.withChecksums(bytes) : bytes
        let stored = try Self.bounded(try ImageFile.decode(bytes, limit: Self.limit))
        let image = try Self.bounded(
          try ImageFile.decode(bytes, channels: .rgb, limit: 3 * Self.limit), 3)
        guard image.shape[0] == stored.shape[0], image.shape[1] == stored.shape[1] else {
          throw Fuzz.Wrong("two sizes of one image")
        }
        return image
      },
      again: { image, _ in try ImageFile.decode(MediaFiles.pnm(image), limit: 4 * Self.limit) })
  }

  private static func bounded(_ array: NDArray, _ times: Int = 1) throws -> NDArray {
    guard array.type.byteCount <= times * limit else { throw Fuzz.Wrong("more than the limit") }
    return array
  }

  /// In a process of its own, whose peak is nobody else's.
  @Test func noMutantTakesMoreMemoryThanItsLimitAllows() async {
    await #expect(processExitsWith: .success) { try MediaPeaks.check() }
  }
}

/// The peak of memory while thousands of damaged files are read under a limit of a megabyte.
private enum MediaPeaks {
  private static let limit = 1 << 20
  /// A result, a decoder's memory and what it is made of, and pages of code that were not touched before.
  private static let most = 16 << 20

  static func check() throws {
    var random = SplitMix(seed: 7)
    let readers: [(String, (inout SplitMix) throws -> [UInt8], ([UInt8]) throws -> Void)] = [
      ("jsonl", MediaFiles.rows, { _ = try MediaFiles.Rows($0, limit: limit) }),
      ("pnm", MediaFiles.pnm, { _ = try PNM.parse($0, limit: limit) }),
      ("wav", MediaFiles.wav, { _ = try WAV.parse($0, limit: limit) }),
      (
        "png", { try MediaFiles.image(isJPEG: false, &$0) },
        { _ = try ImageFile.decode(MediaFiles.withChecksums($0), limit: limit) }
      ),
      (
        "jpeg", { try MediaFiles.image(isJPEG: true, &$0) },
        { _ = try ImageFile.decode($0, limit: limit) }
      ),
    ]
    for (_, make, read) in readers { try read(try make(&random)) }
    let before = peak()
    for (name, make, read) in readers {
      for _ in 0..<400 {
        let (other, file) = (try make(&random), try make(&random))
        do { try read(Mutation.mutated(file, with: other, &random)) } catch is ApusError {}
      }
      guard peak() - before <= most else {
        throw Fuzz.Wrong("\(name): \((peak() - before) >> 20) MB")
      }
    }
  }

  private static func peak() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? "VmHWM: 0 kB"
    return (Int(line.split(separator: " ").dropFirst().first ?? "0") ?? 0) << 10
  }
}

/// Right files of these formats.
enum MediaFiles {
  /// Rows of all kinds of columns.
  struct Rows: Equatable {
    var texts: [String]
    var numbers: NDArray
    var lists: [NDArray]

    init(_ bytes: [UInt8], limit: Int) throws {
      let rows = try JSONLines.parse(
        bytes, columns: ["t": .text, "x": .array(.f32(2)), "l": .list(.i64)], limit: limit)
      texts = try rows.texts("t")
      numbers = try rows.array("x")
      lists = try rows.lists("l")
    }

    var text: [UInt8] {
      let x = numbers.doubles
      let lines = texts.indices.map { row in
        JSON.object([
          ("l", .array(lists[row].integers.map { .integer($0) })),
          ("x", .array([.number(x[2 * row]), .number(x[2 * row + 1])])), ("t", .string(texts[row])),
        ]).text
      }
      return Array(lines.joined(separator: "\n").utf8)
    }
  }

  static func rows(_ random: inout SplitMix) -> [UInt8] {
    let numbers = ["0", "-1.5", "3e-2", "16777217", "1e10", "0.1"]
    let texts = ["", "a b", "\\u00e9", "\u{e9}", "\\\"", "\\ud83d\\ude00"]
    let ends = ["\n", "\r\n", "\n\n"]
    let lines = (0..<Int.random(in: 0...5, using: &random)).map { _ in
      let list = (0..<Int.random(in: 0...4, using: &random)).map { _ in
        "\(Int(truncatingIfNeeded: random.next()))"
      }
      let members = [
        "\"t\":\"\(texts.randomElement(using: &random)!)\"",
        "\"x\": [\(numbers.randomElement(using: &random)!),\(numbers.randomElement(using: &random)!) ]",
        "\"l\":[\(list.joined(separator: ", "))]", "\"more\":{\"y\":[null,true]}",
      ]
      return "{" + members.shuffled(using: &random).joined(separator: ",") + "}"
    }
    let text = Array(lines.joined(separator: ends.randomElement(using: &random)!).utf8)
    return Bool.random(using: &random) ? text : ZipBuilder.deflated(text)
  }

  static func pnm(_ random: inout SplitMix) -> [UInt8] {
    let (height, width) = (
      Int.random(in: 1...5, using: &random), Int.random(in: 1...5, using: &random)
    )
    let (isColour, isWide) = (Bool.random(using: &random), Bool.random(using: &random))
    let header = "P\(isColour ? 6 : 5)\n# comment\n\(width) \(height)\n\(isWide ? 65535 : 255)\n"
    let count = height * width * (isColour ? 3 : 1) * (isWide ? 2 : 1)
    return Array(header.utf8) + (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  /// An image u8 or i32 of 1 or 3 channels.
  static func pnm(_ image: NDArray) -> [UInt8] {
    let shape = image.shape
    let isWide = image.dtype == .i32
    let header = "P\(shape[2] == 3 ? 6 : 5) \(shape[1]) \(shape[0]) \(isWide ? 65535 : 255) "
    return Array(header.utf8)
      + image.integers.flatMap { isWide ? [UInt8($0 >> 8), UInt8($0 & 255)] : [UInt8($0)] }
  }

  private static func little(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static func wav(code: Int, channels: Int, bits: Int, _ bytes: [UInt8]) -> [UInt8] {
    let format =
      little(code, 2) + little(channels, 2) + little(8000, 4)
      + little(8000 * channels * bits / 8, 4) + little(channels * bits / 8, 2) + little(bits, 2)
    let body =
      Array("WAVEfmt ".utf8) + little(16, 4) + format + Array("data".utf8)
      + little(bytes.count, 4) + bytes
    return Array("RIFF".utf8) + little(body.count, 4) + body
  }

  static func wav(_ random: inout SplitMix) -> [UInt8] {
    let (code, bits) = [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)].randomElement(
      using: &random)!
    let channels = Int.random(in: 1...2, using: &random)
    let count = Int.random(in: 0...12, using: &random) * channels * bits / 8
    return wav(
      code: code, channels: channels, bits: bits,
      (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) })
  }

  /// Samples as floats.
  static func wav(_ samples: NDArray) -> [UInt8] {
    wav(code: 3, channels: samples.shape[1], bits: 32, samples.withUnsafeBytes { Array($0) })
  }

  static func npy(_ array: NDArray) throws -> [UInt8] {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-fuzz-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: path) }
    try NPY.write(array, to: path.path)
    return Array(try Data(contentsOf: path))
  }

  static func cifar(_ random: inout SplitMix) -> [UInt8] {
    (0..<Int.random(in: 0...2, using: &random)).flatMap { _ in
      [UInt8.random(in: 0...19, using: &random), UInt8.random(in: 0...99, using: &random)]
        + (0..<3072).map { UInt8(truncatingIfNeeded: $0) }
    }
  }

  struct Labeled: Equatable {
    var pixels: NDArray
    var labels: NDArray

    init(_ images: LabeledImages) {
      pixels = images.pixels
      labels = images.labels
    }

    var file: [UInt8] {
      let (bytes, labels) = (pixels.withUnsafeBytes { Array($0) }, labels.integers)
      return labels.indices.flatMap { image -> [UInt8] in
        [0, UInt8(labels[image])]
          + (0..<3072).map { bytes[image * 3072 + $0 % 1024 * 3 + $0 / 1024] }
      }
    }
  }

  /// PNG as our pictures are written, or files of Pillow's (Tests/reference/data.py).
  static func image(isJPEG: Bool, _ random: inout SplitMix) throws -> [UInt8] {
    if !isJPEG, Bool.random(using: &random) {
      let shape: Shape = [
        Int.random(in: 1...6, using: &random), Int.random(in: 1...6, using: &random),
        [1, 3].randomElement(using: &random)!,
      ]
      let pixels = (0..<shape.count).map { _ in UInt8.random(in: 0...255, using: &random) }
      return try Picture(try NDArray(checking: pixels, shape: shape)).png()
    }
    let names =
      isJPEG
      ? ["rgb.jpg", "halved.jpg", "gray.jpg", "progressive.jpg"]
      : [
        "rgba.png", "la.png", "palette.png", "transparent.png", "bits.png", "wide.png",
        "interlaced.png",
      ]
    return files[names.randomElement(using: &random)!]!.withUnsafeBytes { Array($0) }
  }

  private static let files = try! NPZ.read(
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../ApusImagesTests/Fixtures/images.npz").path)

  /// A PNG whose chunks' checksums are those of their bytes, as far as there are chunks.
  static func withChecksums(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    var place = 8
    while place + 12 <= bytes.count {
      let count = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
      guard place + 12 + count <= bytes.count else { break }
      var sum = UInt32.max
      for byte in bytes[place + 4..<place + 8 + count] {
        sum ^= UInt32(byte)
        for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xedb8_8320 : sum >> 1 }
      }
      for index in 0..<4 {
        bytes[place + 8 + count + index] = UInt8(
          truncatingIfNeeded: ~sum >> (24 - 8 * UInt32(index)))
      }
      place += 12 + count
    }
    return bytes
  }
}
