// Images kept as bytes and delivered as floats.

import ApusGraph
import CKernels

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
    apply(target, source, rows: nil, count: 1, size: count)
  }

  /// Writes the floats of rows of bytes, one after the other.
  ///
  /// - `rows`: which of the rows from `source` on, `count` of them; the first ones where it is nil.
  /// - `size`: bytes of a row.
  func apply(
    _ target: UnsafeMutablePointer<Float>, _ source: UnsafePointer<UInt8>,
    rows: UnsafePointer<Int64>?, count: Int, size: Int
  ) {
    var args = ck_pixels_args()
    (args.out, args.bytes, args.rows) = (target, source, rows)
    (args.count, args.size) = (Int64(count), Int64(size))
    var kernel = Self.unitKernel
    if case .normalized(let mean, let deviation) = self {
      (args.mean, args.deviation) = (mean, deviation)
      kernel = Self.normalKernel
    }
    var thread = ck_thread(index: 0, count: 1, team: nil, scratch: nil, scratch_bytes: 0)
    kernel(&args, &thread)
  }

  // Of the processor's best level, which gives the bits of all others.
  private static let unitKernel = ck_pixels(CK_PIXELS_UNIT, ck_isa_best())!
  private static let normalKernel = ck_pixels(CK_PIXELS_NORMAL, ck_isa_best())!
}

/// Images with a class each: batches have `images`, f32[n, height, width, channels], and `labels`,
/// i32[n].
///
/// The images stay bytes in memory, a quarter of their floats, and are scaled while batches are made.
public struct LabeledImages: Dataset, ComputedDataset {
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
      examples.withUnsafeBufferPointer { rows in
        rows.withMemoryRebound(to: Int64.self) { rows in
          scale.apply(
            images.baseAddress!, source.bindMemory(to: UInt8.self).baseAddress!,
            rows: rows.baseAddress!, count: rows.count, size: size)
        }
      }
    }
  }
}
