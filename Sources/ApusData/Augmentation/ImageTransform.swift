// What is done to an image on its way into a batch: a value that says what it does, checks what it is given, and does it.

import ApusGraph

/// A change of an image, random or not, such as `.randomCrop(32, 32, padding: 4)`.
///
///     let train = try data.train.transformed([.randomCrop(32, 32, padding: 4), .randomHorizontalFlip()])
///     try trainer.fit(train.batched(128), validation: data.test.batched(1000), epochs: 30)
///
/// Names, arguments and defaults are those of torchvision where it has them. One of your own:
///
///     let invert = ImageTransform("invert") { image, _ in
///       for place in image.values.indices { image.values[place] = 1 - image.values[place] }
///     }
public struct ImageTransform: Sendable, CustomStringConvertible {
  /// What it does, with all that it depends on: a checkpoint compares it where a run is resumed.
  public let description: String
  /// What an image of a shape becomes.
  let shape: @Sendable (ImageShape) throws -> ImageShape
  /// Changes an image; its shape is as `shape` says.
  let apply: @Sendable (inout ImageValues, inout ExampleRandom) throws -> Void
  /// Whether it is one of this library, which calls no code of a user's.
  private(set) var isOwn = false

  /// - `description`: what it does, with all that it depends on.
  /// - `shape`: what an image of a shape becomes; the same where nil. It throws for a shape that is not served.
  /// - `apply`: changes an image, which then has that shape. Chance comes from the numbers that it is handed alone.
  public init(
    _ description: String, shape: (@Sendable (ImageShape) throws -> ImageShape)? = nil,
    apply: @escaping @Sendable (inout ImageValues, inout ExampleRandom) throws -> Void
  ) {
    self.description = description
    self.shape = shape ?? { $0 }
    self.apply = apply
  }

  /// As ``init(_:shape:apply:)``, for one of this library.
  init(
    own description: String, shape: (@Sendable (ImageShape) throws -> ImageShape)? = nil,
    apply: @escaping @Sendable (inout ImageValues, inout ExampleRandom) throws -> Void
  ) {
    self.init(description, shape: shape, apply: apply)
    isOwn = true
  }
}

/// A set whose images are transformed as batches are made; made by ``Dataset/transformed(_:field:)``.
public struct TransformedImages: Dataset, ComputedDataset {
  public let base: any Dataset
  public let transforms: [ImageTransform]
  public let fields: [ExampleField]
  private let field: Int
  private let input: ImageShape
  private let output: ImageShape
  /// What the base's own scale does, after the transforms.
  private let scale: PixelScale

  init(_ base: any Dataset, _ transforms: [ImageTransform], _ name: String) throws {
    let unit = (base as? any ScaledImages)?.inUnits(name) ?? (base, .unit)
    self.base = unit.dataset
    self.transforms = transforms
    scale = unit.scale
    var fields = base.fields
    guard let field = fields.firstIndex(where: { $0.name == name }) else {
      throw ApusError(
        .missing,
        "the data set has no '\(name)', only \(fields.map(\.name).joined(separator: ", "))",
        expected: "images [height, width, channels] in every example")
    }
    self.field = field
    let type = fields[field].type
    guard type.dtype == .f32 || type.dtype == .u8, (2...3).contains(type.rank) else {
      throw ApusError(
        .shapeMismatch, "'\(name)' of the data set is \(type)",
        expected: "f32 or u8 of shape [height, width, channels] or [height, width]")
    }
    input = ImageShape(
      height: type.shape[0], width: type.shape[1], channels: type.rank == 3 ? type.shape[2] : 1)
    output = try transforms.reduce(input) { try $1.shape($0) }
    let result = TensorType.f32(output.height, output.width, output.channels)
    fields[field].type = try result.checked("images of \(transforms)")
    self.fields = fields
  }

  public var count: Int { base.count }
  package var isComputed: Bool { base.isComputedSet && transforms.allSatisfy(\.isOwn) }
  public var identity: String {
    ([base.identity] + transforms.map(\.description)).joined(separator: ", ")
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    try fill(targets, with: examples, in: EpochKey())
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws {
    var images = [try NDArray(checking: base.fields[field].batched(examples.count))]
    try images.lend { memory in
      var own = targets
      own[field] = memory[0]
      try base.fill(own, with: examples, in: epoch.below)
      let result = targets[field].bindMemory(to: Float.self)
      let (from, to) = (input.count, output.count)
      for (place, example) in examples.enumerated() {
        var image = ImageValues(
          unchecked: values(memory[0], place * from..<(place + 1) * from), input.height,
          input.width,
          input.channels)
        var random = epoch.random(for: example)
        for transform in transforms {
          do { try transform.apply(&image, &random) } catch let error as ApusError {
            throw error.located(at: "example \(example), \(transform)")
          }
        }
        guard image.height == output.height, image.width == output.width,
          image.channels == output.channels, image.values.count == to
        else {
          throw ApusError(
            .shapeMismatch,
            "the transforms gave an image [\(image.height),\(image.width),\(image.channels)]",
            at: "example \(example)", expected: "\(output), as they say")
        }
        image.values.withUnsafeBufferPointer { values in
          scale.write(
            values, to: UnsafeMutableBufferPointer(rebasing: result[place * to..<(place + 1) * to]))
        }
      }
    }
  }

  /// Floats as they are; bytes as parts of 255.
  private func values(_ memory: UnsafeMutableRawBufferPointer, _ range: Range<Int>) -> [Float] {
    if base.fields[field].type.dtype == .f32 {
      return Array(memory.bindMemory(to: Float.self)[range])
    }
    return [Float](unsafeUninitializedCapacity: range.count) { target, count in
      if range.count > 0 {
        PixelScale.unit.apply(
          target.baseAddress!,
          memory.baseAddress!.assumingMemoryBound(to: UInt8.self) + range.lowerBound, range.count)
      }
      count = range.count
    }
  }
}

extension ImageShape {
  var count: Int { height * width * channels }
}

extension PixelScale {
  /// Scales numbers that are parts of 255 already.
  package func write(
    _ values: UnsafeBufferPointer<Float>, to target: UnsafeMutableBufferPointer<Float>
  ) {
    _ = target.update(from: values)
    guard case .normalized(let mean, let deviation) = self else { return }
    for place in target.indices { target[place] = (target[place] - mean) / deviation }
  }
}

/// A set whose images have a scale of their own, which transforms want to come after them.
package protocol ScaledImages: Dataset {
  /// The same set with images between 0 and 1, and what it did to them; nil where `field` is none of its scaled images.
  func inUnits(_ field: String) -> (dataset: any Dataset, scale: PixelScale)?
}

extension LabeledImages: ScaledImages {
  package func inUnits(_ field: String) -> (dataset: any Dataset, scale: PixelScale)? {
    guard field == "images", let unit = try? scaled(.unit) else { return nil }
    return (unit, scale)
  }
}

extension DatasetSlice: ScaledImages {
  package func inUnits(_ field: String) -> (dataset: any Dataset, scale: PixelScale)? {
    (base as? any ScaledImages)?.inUnits(field).map {
      (DatasetSlice(base: $0.dataset, range: range), $0.scale)
    }
  }
}

extension DatasetSelection: ScaledImages {
  package func inUnits(_ field: String) -> (dataset: any Dataset, scale: PixelScale)? {
    (base as? any ScaledImages)?.inUnits(field).map {
      (DatasetSelection($0.dataset, examples, what), $0.scale)
    }
  }
}

extension Dataset {
  /// A set whose images are transformed, one transform after the other, as batches are made.
  ///
  ///     let train = try data.train.transformed([.randomCrop(32, 32, padding: 4), .randomHorizontalFlip()])
  ///
  /// Images are f32 between 0 and 1, or u8, which become that; `[height, width]` counts as one channel. The result is
  /// f32[height, width, channels]. Where the set scales its images itself, as ``LabeledImages`` does, that comes after
  /// the transforms. What is random is drawn anew in each epoch, from seed, epoch and example alone.
  ///
  /// - `field`: the name of the images.
  /// - Throws: `missing` where the set has no such field, `shapeMismatch` where it is no image, and what a transform
  ///   has against the shape it is given.
  public func transformed(
    _ transforms: [ImageTransform], field: String = "images"
  ) throws -> TransformedImages {
    try TransformedImages(self, transforms, field)
  }
}
