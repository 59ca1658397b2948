// Images in a folder for each class.

import ApusData
import ApusGraph
import Foundation
import Testing

@testable import ApusImages

@Suite struct ImageFolderTests {
  private static func withFolder(_ files: [(String, [UInt8])], _ body: (String) throws -> Void)
    throws
  {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
      "apus-images-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    for (name, bytes) in files {
      let path = folder.appendingPathComponent(name)
      try FileManager.default.createDirectory(
        at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(bytes).write(to: path)
    }
    try body(folder.path)
  }

  private static func failure(_ body: () throws -> Void) -> ApusError? {
    do { try body() } catch { return error as? ApusError }
    return nil
  }

  private static let files = [
    ("cat/b.jpg", file("rgb.jpg")), ("cat/a.PNG", file("gray.png")),
    ("dog/x/y.ppm", file("photo.ppm")),
    ("dog/rgba.png", file("rgba.png")), ("dog/notes.txt", [1]), (".hidden/a.png", [1]),
  ]

  @Test func imagesAreDecodedToOneSize_asBatchesAreMade() throws {
    try Self.withFolder(Self.files) { folder in
      let data = try ImageFolder(folder, height: 13, width: 19)
      #expect(data.classNames == ["cat", "dog"] && data.labels == [0, 0, 1, 1])
      #expect(
        data.paths.map { $0.dropFirst(folder.count + 1) } == [
          "cat/a.PNG", "cat/b.jpg", "dog/rgba.png", "dog/x/y.ppm",
        ])
      #expect(
        data.fields == [ExampleField("images", .f32(13, 19, 3)), ExampleField("labels", .i32())])
      for prefetch in [0, 2] {
        let batches = try data.batched(3, shuffle: nil, prefetch: prefetch)
        let iterator = try batches.makeIterator(epoch: 0)
        var images: [Float] = []
        var labels: [Int] = []
        while let batch = try iterator.next() {
          images += batch.images!.floats
          labels += batch.labels!.integers
        }
        #expect(labels == [0, 0, 1, 1])
        // Their own size: nothing is resampled.
        let expected = try ["gray.png", "rgb.jpg", "rgba.png", "photo.ppm"].flatMap {
          try ImageFile.decode(file($0), channels: .rgb).integers.map { Float($0) / 255 }
        }
        #expect(
          zip(images, expected).allSatisfy { abs($0 - $1) < 1e-6 } && images.count == expected.count
        )
      }
    }
  }

  @Test func sizesFitsChannelsAndScales() throws {
    try Self.withFolder(Self.files) { folder in
      let whole = try ImageFile.decode(file("gray.png"), channels: .rgb)
      let values = whole.floats.map { $0 / 255 }
      func first(_ data: any Dataset) throws -> [Float] {
        try #require(try data.batched(1, shuffle: nil).makeIterator(epoch: 0).next()).images!.floats
      }
      let stretched = try first(try ImageFolder(folder, height: 1, width: 1, channels: .gray))
      let mean = values.reduce(0, +) / Float(values.count)
      // One pixel by a filter as wide as the image: near its mean, and within its range.
      #expect(stretched.count == 1 && abs(stretched[0] - mean) < 0.1)
      let cropped = try ImageFolder(folder, height: 13, width: 13, fit: .cropped)
      let middle = try first(cropped)
      // The 13 columns in the middle of 19, three on each side left out.
      #expect(middle.count == 507 && abs(middle[0] - values[3 * 3]) < 1e-6)
      let scale = PixelScale.normalized(mean: 0.5, deviation: 0.25)
      let scaled = try ImageFolder(folder, height: 13, width: 13, fit: .cropped, scale: scale)
      #expect(try first(scaled) == middle.map { ($0 - 0.5) / 0.25 })
      // Transforms come before the scale.
      let flipped = try first(try scaled.transformed([.randomVerticalFlip(probability: 1)]))
      #expect(flipped[0] == (middle[12 * 39] - 0.5) / 0.25)
      let part = try cropped.split([0.5, 0.5], stratifiedBy: cropped.labels, seed: 1)
      #expect(part.map { $0.examples.map { cropped.labels[$0] }.sorted() } == [[0, 1], [0, 1]])
      #expect(cropped.identity != (try ImageFolder(folder, height: 13, width: 13)).identity)
    }
  }

  @Test func whatIsWrongWithOneIsNamedWhenItsBatchIsMade() throws {
    try Self.withFolder(Self.files + [("dog/z.png", Array(file("rgb.png").prefix(60)))]) { folder in
      let data = try ImageFolder(folder, height: 4, width: 4)
      let broken = Self.failure {
        let iterator = try data.batched(2, shuffle: nil).makeIterator(epoch: 0)
        while try iterator.next() != nil {}
      }
      #expect(broken?.kind == .invalidFile && broken?.location == "\(folder)/dog/z.png")
      let small = Self.failure {
        _ = try ImageFolder(folder, height: 4, width: 4, limit: 100).batched(1, shuffle: nil)
          .makeIterator(epoch: 0).next()
      }
      #expect(small?.kind == .resource)
    }
  }

  @Test func nonsenseIsRefusedBeforeAnythingIsRead() throws {
    try Self.withFolder([("a/x.txt", [1])]) { folder in
      #expect(
        Self.failure { _ = try ImageFolder(folder, height: 4, width: 4) }?.what
          == "the class 'a' has no file")
      #expect(
        Self.failure { _ = try ImageFolder("\(folder)/a", height: 4, width: 4) }?.kind == .missing)
      #expect(Self.failure { _ = try ImageFolder("\(folder)/b", height: 4, width: 4) }?.kind == .io)
      for (height, width) in [(0, 4), (4, -1), (.max, 4), (4, 1 << 17)] {
        #expect(
          Self.failure { _ = try ImageFolder(folder, height: height, width: width) }?.kind
            == .invalidArgument)
      }
      #expect(
        Self.failure { _ = try ImageFolder(folder, height: 4, width: 4, channels: .asStored) }?.kind
          == .invalidArgument)
      let scale = PixelScale.normalized(mean: 0, deviation: -1)
      #expect(
        Self.failure { _ = try ImageFolder(folder, height: 4, width: 4, scale: scale) }?.kind
          == .invalidArgument)
    }
  }
}
