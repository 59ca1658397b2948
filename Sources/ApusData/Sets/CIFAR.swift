// CIFAR-10 and CIFAR-100 in their binary version.
//
// Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images": 50000 training and 10000 test images of
// 32 x 32 pixels. A record is a label (CIFAR-100: of 20 coarse classes, then of 100 fine ones) and 3072 bytes, all of
// red, of green, of blue. Format: https://www.cs.toronto.edu/~kriz/cifar.html. Nothing is downloaded here.

import ApusGraph

/// CIFAR-10, read from a folder of `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`.
///
///     let data = try CIFAR10(folder: "cifar-10-batches-bin")
///     let train = try data.train.transformed([.randomCrop(32, 32, padding: 4), .randomHorizontalFlip()])
///     let batches = try train.batched(128)          // images f32[128,32,32,3], labels i32[128]
public struct CIFAR10: Sendable {
  public let train: LabeledImages
  public let test: LabeledImages

  /// What the labels 0…9 mean.
  public static let classNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  /// Reads all six files.
  ///
  /// - `scale`: how bytes become floats.
  /// - Throws: `io` naming a file that cannot be read, `invalidFile` with the byte offset where one has no whole records or
  ///   a label is no class, `resource` where a file has more than 2^30 bytes.
  public init(folder: String, scale: PixelScale = .unit) throws {
    let names = (1...5).map { "data_batch_\($0).bin" }
    train = try CIFARRecords.ten.images(names.map { "\(folder)/\($0)" }, scale)
    test = try CIFARRecords.ten.images(["\(folder)/test_batch.bin"], scale)
  }

  /// The images of one file.
  ///
  /// - Throws: as ``init(folder:scale:)``.
  public static func read(_ path: String, scale: PixelScale = .unit) throws -> LabeledImages {
    try CIFARRecords.ten.images([path], scale)
  }

  /// The images in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``init(folder:scale:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", scale: PixelScale = .unit
  ) throws -> LabeledImages {
    try CIFARRecords.ten.images(of: [.memory(bytes, path: path)], scale)
  }
}

/// CIFAR-100, read from a folder of `train.bin` and `test.bin`.
///
///     let data = try CIFAR100(folder: "cifar-100-binary")
///     let coarse = try CIFAR100(folder: "cifar-100-binary", labels: .coarse)
public struct CIFAR100: Sendable {
  public let train: LabeledImages
  public let test: LabeledImages

  /// Which of a record's two labels is read.
  public enum Labels: Sendable, Hashable {
    /// One of 100 classes.
    case fine
    /// One of 20 groups of five classes.
    case coarse
  }

  /// Reads both files.
  ///
  /// - Throws: as ``CIFAR10/init(folder:scale:)``.
  public init(folder: String, labels: Labels = .fine, scale: PixelScale = .unit) throws {
    let records = CIFARRecords.hundred(labels)
    train = try records.images(["\(folder)/train.bin"], scale)
    test = try records.images(["\(folder)/test.bin"], scale)
  }

  /// The images of one file.
  ///
  /// - Throws: as ``CIFAR10/init(folder:scale:)``.
  public static func read(
    _ path: String, labels: Labels = .fine, scale: PixelScale = .unit
  ) throws -> LabeledImages {
    try CIFARRecords.hundred(labels).images([path], scale)
  }

  /// The images in the bytes of a file; `path` names them in errors.
  ///
  /// - Throws: as ``CIFAR10/init(folder:scale:)``.
  public static func parse(
    _ bytes: [UInt8], path: String = "<bytes>", labels: Labels = .fine, scale: PixelScale = .unit
  ) throws -> LabeledImages {
    try CIFARRecords.hundred(labels).images(of: [.memory(bytes, path: path)], scale)
  }
}

/// The records of these files.
private struct CIFARRecords {
  /// How many classes each of a record's labels has.
  let classes: [Int]
  /// Which of them is wanted.
  let wanted: Int

  static let ten = CIFARRecords(classes: [10], wanted: 0)
  static func hundred(_ labels: CIFAR100.Labels) -> CIFARRecords {
    CIFARRecords(classes: [20, 100], wanted: labels == .coarse ? 0 : 1)
  }

  private static let side = 32
  private static let mostBytes = 1 << 30

  func images(_ paths: [String], _ scale: PixelScale) throws -> LabeledImages {
    try images(
      of: paths.map { .file(try OpenFile($0, expected: "a file of CIFAR's binary version")) }, scale
    )
  }

  func images(of files: [ByteSource], _ scale: PixelScale) throws -> LabeledImages {
    let plane = Self.side * Self.side
    let record = classes.count + 3 * plane
    var counts: [Int] = []
    for file in files {
      guard file.byteCount <= Self.mostBytes else {
        throw ApusError(
          .resource, "the file has \(file.byteCount) bytes", at: file.path,
          expected: "at most \(Self.mostBytes)")
      }
      guard file.byteCount % record == 0 else {
        throw ApusError(
          .invalidFile, "the file has \(file.byteCount) bytes",
          at: place(file.path, file.byteCount / record * record),
          expected: "whole records of \(record) bytes")
      }
      counts.append(file.byteCount / record)
    }
    let count = counts.reduce(0, +)
    var labels: [Int32] = []
    labels.reserveCapacity(count)
    var pixels = try NDArray(checking: .u8(count, Self.side, Self.side, 3))
    try pixels.withUnsafeMutableBytes { target in
      var to = 0
      for (file, records) in zip(files, counts) {
        for index in 0..<records {
          let bytes = try file.bytes(index * record..<(index + 1) * record)
          for (place, most) in classes.enumerated() where bytes[place] >= most {
            throw ApusError(
              .invalidFile, "the label \(bytes[place]) of record \(index) is not a class",
              at: ApusData.place(file.path, index * record + place), expected: "0 to \(most - 1)")
          }
          labels.append(Int32(bytes[wanted]))
          for pixel in 0..<plane {
            for channel in 0..<3 {
              target[to] = bytes[classes.count + channel * plane + pixel]
              to += 1
            }
          }
        }
      }
    }
    return try LabeledImages(
      pixels: pixels, labels: NDArray(checking: labels, shape: [count]),
      classCount: classes[wanted], scale: scale)
  }
}
