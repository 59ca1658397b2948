// Images kept as bytes and delivered as floats.

import ApusGraph
import Synchronization

/// How a byte of an image becomes a float.
public enum PixelScale: Sendable, Hashable {
  /// `byte / 255`, in 0…1, the very float that the division gives.
  case unit
  /// `(byte / 255 - mean) / deviation`.
  case normalized(mean: Float, deviation: Float)
}

extension PixelScale {
  /// - Throws: `invalidArgument` for a deviation that is not above 0.
  package func check() throws {
    if case .normalized(let mean, let deviation) = self, !(deviation > 0 && mean.isFinite) {
      throw ApusError(
        .invalidArgument, "pixels scaled with mean \(mean) and deviation \(deviation)",
        expected: "a deviation above 0")
    }
  }

  /// Writes the floats of bytes.
  func apply(_ target: UnsafeMutablePointer<Float>, _ source: UnsafePointer<UInt8>, _ count: Int) {
    scaleToUnit(target, source, count)
    guard case .normalized(let mean, let deviation) = self else { return }
    for index in 0..<count { target[index] = (target[index] - mean) / deviation }
  }
}

/// Images with a class each: batches have `images`, f32[n, height, width, channels], and `labels`,
/// i32[n].
///
/// The images stay bytes in memory, a quarter of their floats, and are scaled while batches are made.
public struct LabeledImages: Dataset {
  /// u8[n, height, width, channels].
  public let pixels: NDArray
  /// i32[n], each in `0..<classCount`.
  public let labels: NDArray
  public let classCount: Int
  public let scale: PixelScale

  public let count: Int
  public let fields: [ExampleField]

  /// - Throws: `dtypeMismatch` where the pixels are not bytes or the labels not integers,
  ///   `shapeMismatch` where images and labels do not match, `outOfRange` naming the first label outside
  ///   `0..<classCount`, `invalidArgument` for a deviation that is not above 0.
  public init(
    pixels: NDArray, labels: NDArray, classCount: Int, scale: PixelScale = .unit
  ) throws {
    guard pixels.dtype == .u8, labels.dtype.isInteger else {
      throw ApusError(
        .dtypeMismatch, "images of type \(pixels.type) with labels of type \(labels.type)",
        expected: "u8 images and integer labels")
    }
    guard (3...4).contains(pixels.shape.rank), labels.shape == [pixels.shape[0]] else {
      throw ApusError(
        .shapeMismatch, "images of type \(pixels.type) with labels of type \(labels.type)",
        expected: "images [n, height, width] or [n, height, width, channels] and labels [n]")
    }
    let values = labels.integers
    if let index = values.firstIndex(where: { $0 < 0 || $0 >= classCount }) {
      throw ApusError(
        .outOfRange, "the label \(values[index]) of example \(index) is not a class",
        expected: "labels in 0..<\(classCount)")
    }
    try scale.check()
    let image = Shape(pixels.shape.dimensions.dropFirst() + (pixels.shape.rank == 3 ? [1] : []))
    count = pixels.shape[0]
    self.pixels = try pixels.reshaped(Shape([count] + image.dimensions))
    self.labels = labels.cast(to: .i32)
    self.classCount = classCount
    self.scale = scale
    fields = [
      ExampleField("images", TensorType(.f32, image)), ExampleField("labels", .i32()),
    ]
  }

  /// The same images under another scale.
  ///
  /// - Throws: `invalidArgument` for a deviation that is not above 0.
  public func scaled(_ scale: PixelScale) throws -> LabeledImages {
    try LabeledImages(pixels: pixels, labels: labels, classCount: classCount, scale: scale)
  }

  /// The class of an example.
  func label(of example: Int) -> Int {
    labels.withUnsafeBytes { Int($0.bindMemory(to: Int32.self)[example]) }
  }

  public func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) {
    let size = fields[0].type.count
    let images = targets[0].bindMemory(to: Float.self)
    let classes = targets[1].bindMemory(to: Int32.self)
    labels.withUnsafeBytes { source in
      let source = source.bindMemory(to: Int32.self)
      for (place, example) in examples.enumerated() { classes[place] = source[example] }
    }
    guard size > 0 else { return }
    pixels.withUnsafeBytes { source in
      let source = source.bindMemory(to: UInt8.self).baseAddress!
      fetch(source, examples, size)
      for (place, example) in examples.enumerated() {
        let from = source + example * size
        let to = images.baseAddress! + place * size
        scale.apply(to, from, size)
      }
    }
  }
}

/// Reads a byte of each cache line of the examples, so that the memory's delays overlap: shuffled
/// images are far apart, and scaling one at a time would wait for each.
private func fetch(_ source: UnsafePointer<UInt8>, _ examples: ArraySlice<Int>, _ size: Int) {
  var sum: UInt8 = 0
  for example in examples {
    let start = source + example * size
    for offset in stride(from: 0, to: size, by: 64) { sum &+= start[offset] }
  }
  // Somebody must want the sum, or there would be no reading.
  fetched.store(sum, ordering: .relaxed)
}

private let fetched = Atomic<UInt8>(0)

/// `byte / 255` without a division: 256/255 = 1.0000000100000001…, so 257·x + x/255 is 65536/255·x to
/// more digits than a float has, and its rounding is the quotient's (a test compares all 256).
private func scaleToUnit(
  _ target: UnsafeMutablePointer<Float>, _ source: UnsafePointer<UInt8>, _ count: Int
) {
  for index in 0..<count {
    let x = Float(source[index])
    target[index] = x * (257 * 0x1p-16) + x * (0x1p-16 / 255)
  }
}
