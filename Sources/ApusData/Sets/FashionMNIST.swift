// The data set of the first demonstration.
//
// Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
// Algorithms": 60000 training and 10000 test images of 28 x 28 grey pixels in ten classes. Debian has
// it as the package dataset-fashion-mnist; nothing is downloaded here.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Fashion-MNIST, read from a folder of its four IDX files (plain or `.gz`).
///
///     let data = try FashionMNIST()
///     let batches = try data.train.batched(64, shuffle: 7)   // images f32[64,28,28,1], labels i32[64]
public struct FashionMNIST: Sendable {
  public let train: LabeledImages
  public let test: LabeledImages

  /// What the labels 0…9 mean.
  public static let classNames = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
  ]

  /// Where Debian's package puts the files.
  public static let packageFolder = "/usr/share/datasets/fashion-mnist"

  /// The folder that is read when none is given: `APUS_FASHION_MNIST` where that is set and not empty,
  /// else ``packageFolder``.
  public static var defaultFolder: String {
    let value = getenv("APUS_FASHION_MNIST").map { String(cString: $0) } ?? ""
    return value.isEmpty ? packageFolder : value
  }

  /// Reads all four files.
  ///
  /// - `folder`: where they are; ``defaultFolder`` where nil.
  /// - `scale`: how pixels become floats; `.normalized(mean: 0.2860, deviation: 0.3530)` are those of
  ///   the training set.
  /// - Throws: `io` naming the missing file and the package that has it, `invalidFile` where a file is
  ///   damaged or holds something else, `outOfRange` for a label above 9.
  public init(folder: String? = nil, scale: PixelScale = .unit) throws {
    let folder = folder ?? Self.defaultFolder
    train = try Self.read(folder, "train", count: 60000, scale)
    test = try Self.read(folder, "t10k", count: 10000, scale)
  }

  private static func read(
    _ folder: String, _ name: String, count: Int, _ scale: PixelScale
  ) throws -> LabeledImages {
    let imagePath = try find(folder, "\(name)-images-idx3-ubyte")
    let labelPath = try find(folder, "\(name)-labels-idx1-ubyte")
    let images = try IDX.read(imagePath)
    guard images.type == .u8(count, 28, 28) else {
      throw ApusError(
        .invalidFile, "the file holds \(images.type)", at: imagePath,
        expected: "the images of Fashion-MNIST, \(TensorType.u8(count, 28, 28))")
    }
    let labels = try IDX.read(labelPath)
    guard labels.type == .u8(count) else {
      throw ApusError(
        .invalidFile, "the file holds \(labels.type)", at: labelPath,
        expected: "the labels of Fashion-MNIST, \(TensorType.u8(count))")
    }
    do {
      return try LabeledImages(
        pixels: images, labels: labels, classCount: classNames.count, scale: scale)
    } catch let error as ApusError {
      throw error.located(at: labelPath)
    }
  }

  /// The file of that name, as it is or with `.gz`.
  private static func find(_ folder: String, _ name: String) throws -> String {
    for candidate in ["\(folder)/\(name).gz", "\(folder)/\(name)"]
    where access(candidate, F_OK) == 0 {
      return candidate
    }
    throw ApusError(
      .io, "Fashion-MNIST is not there: no file \(name) or \(name).gz", at: folder,
      expected:
        "the data set's folder: 'apt install dataset-fashion-mnist' for \(packageFolder), or "
        + "--data, or APUS_FASHION_MNIST")
  }
}
