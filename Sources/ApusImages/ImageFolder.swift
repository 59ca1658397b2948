// Images in a folder for each class, decoded as batches are made.

import ApusData
import ApusGraph

/// Images with a class each, from a folder of a folder for each class, as torchvision's `ImageFolder`: batches have
/// `images`, f32[n, height, width, channels], and `labels`, i32[n].
///
///     // pets/cat/1.jpg, pets/cat/2.png, pets/dog/…
///     let pets = try ImageFolder("pets", height: 128, width: 128)
///     let parts = try pets.split([0.8, 0.2], stratifiedBy: pets.labels)
///     let train = try parts[0].transformed([.randomHorizontalFlip()])
///     try trainer.fit(train.batched(32), validation: parts[1].batched(32), epochs: 10)
///
/// Classes are the folders in the order of their bytes, and images their files, those of folders within them too;
/// hidden ones are left out. An image is read, decoded and brought to one size whenever a batch has it, and none is kept.
/// What is wrong with one is thrown when its batch is made, with its path.
public struct ImageFolder: Dataset {
  public let classNames: [String]
  public let paths: [String]
  /// Places in ``classNames``.
  public let labels: [Int]
  public let height: Int
  public let width: Int
  public let fit: Fit
  public let scale: PixelScale
  public let fields: [ExampleField]
  private let channels: ImageFile.Channels
  private let limit: Int
  private let root: String

  /// How an image of another shape comes to the size of all.
  public enum Fit: String, Sendable, Hashable {
    /// Each axis by itself, as torchvision's `Resize((height, width))`.
    case stretched
    /// Until it covers the size, and what stands over is cut off on both sides.
    case cropped
  }

  /// The endings of files that count, upper or lower case.
  public static let suffixes = [".jpg", ".jpeg", ".png", ".ppm", ".pgm"]

  /// Lists the files; no image is read.
  ///
  /// - `height`, `width`: of all images of batches.
  /// - `channels`: `.rgb` or `.gray`, whatever a file has.
  /// - `scale`: how bytes become floats.
  /// - `limit`: the most bytes of one file, and of one image as it is decoded.
  /// - Throws: `io` where a folder cannot be read, `missing` without folders or for a folder without images,
  ///   `invalidArgument` for a size of no pixel or more than 65536 on a side, for `.asStored`, which is not the same for
  ///   all, and for a deviation that is not above 0.
  public init(
    _ root: String, height: Int, width: Int, fit: Fit = .stretched,
    channels: ImageFile.Channels = .rgb, scale: PixelScale = .unit,
    limit: Int = ImageFile.usualLimit
  ) throws {
    guard (1...1 << 16).contains(height), (1...1 << 16).contains(width) else {
      throw ApusError(
        .invalidArgument, "images of \(height) x \(width) pixels",
        expected: "1 to 65536 on each side")
    }
    guard channels != .asStored else {
      throw ApusError(
        .invalidArgument, "images of the channels that each has", expected: ".rgb or .gray")
    }
    try scale.check()
    let folders = try ClassFolders(root, suffixes: Self.suffixes)
    classNames = folders.classNames
    paths = folders.paths
    labels = folders.labels
    self.root = root
    self.height = height
    self.width = width
    self.fit = fit
    self.channels = channels
    self.scale = scale
    self.limit = limit
    fields = [
      ExampleField("images", .f32(height, width, channels == .gray ? 1 : 3)),
      ExampleField("labels", .i32()),
    ]
  }

  private init(_ other: ImageFolder, scale: PixelScale) {
    (classNames, paths, labels) = (other.classNames, other.paths, other.labels)
    (height, width, fit) = (other.height, other.width, other.fit)
    (channels, limit, root) = (other.channels, other.limit, other.root)
    fields = other.fields
    self.scale = scale
  }

  public var count: Int { paths.count }
  public var identity: String {
    "\(count) images in \(classNames.count) classes, \(fit.rawValue) to \(height) x \(width)"
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    let size = fields[0].type.count
    let images = targets[0].bindMemory(to: Float.self)
    let classes = targets[1].bindMemory(to: Int32.self)
    for (place, example) in examples.enumerated() {
      let image = try ImageFile.read(paths[example], channels: channels, limit: limit)
      ImageValues(bytes: image).fitted(height, width, isCropped: fit == .cropped).values
        .withUnsafeBufferPointer {
          scale.write(
            $0, to: UnsafeMutableBufferPointer(rebasing: images[place * size..<(place + 1) * size]))
        }
      classes[place] = Int32(labels[example])
    }
  }
}

extension ImageFolder: ScaledImages {
  package func inUnits(_ field: String) -> (dataset: any Dataset, scale: PixelScale)? {
    field == "images" ? (ImageFolder(self, scale: .unit), scale) : nil
  }
}
