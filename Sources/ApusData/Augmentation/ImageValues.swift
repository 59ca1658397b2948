// An image while it is transformed: floats between black and white.

import ApusGraph

/// One image, [height, width, channels], as transforms see and change it: 0 is black and 1 is white.
public struct ImageValues: Sendable, Hashable {
  public let height: Int
  public let width: Int
  public let channels: Int
  /// Row by row, the channels of a pixel one after the other: `height · width · channels` numbers.
  public var values: [Float]

  /// - Throws: `shapeMismatch` where their number is another, `invalidArgument` for an extent that is negative.
  public init(height: Int, width: Int, channels: Int, values: [Float]) throws {
    let type = try TensorType.f32(height, width, channels).checked("an image")
    guard type.count == values.count else {
      throw ApusError(
        .shapeMismatch, "\(values.count) values of an image \(type.shape)",
        expected: "\(type.count)")
    }
    self.init(unchecked: values, height, width, channels)
  }

  /// An image u8[height, width, channels].
  package init(bytes: NDArray) {
    let shape = bytes.shape
    let values = bytes.withUnsafeBytes { source in
      [Float](unsafeUninitializedCapacity: source.count) { target, count in
        if let from = source.baseAddress, source.count > 0 {
          PixelScale.unit.apply(
            target.baseAddress!, from.assumingMemoryBound(to: UInt8.self), source.count)
        }
        count = source.count
      }
    }
    self.init(unchecked: values, shape[0], shape[1], shape[2])
  }

  init(unchecked values: [Float], _ height: Int, _ width: Int, _ channels: Int) {
    self.values = values
    self.height = height
    self.width = width
    self.channels = channels
  }

  /// Numbers of a row.
  var pitch: Int { width * channels }

  /// The place of a pixel's first channel.
  func place(_ row: Int, _ column: Int) -> Int { (row * width + column) * channels }

  /// The rectangle of so many pixels at a corner, which lies within the image.
  func cropped(top: Int, left: Int, height: Int, width: Int) -> ImageValues {
    let count = width * channels
    let result = made(height, width) { source, target in
      for row in 0..<height {
        let from = source + place(top + row, left)
        (target + row * count).update(from: from, count: count)
      }
    }
    return ImageValues(unchecked: result, height, width, channels)
  }

  /// The image with its columns, or its rows, in the other order.
  func flipped(rows: Bool) -> ImageValues {
    let result = made(height, width) { source, target in
      for row in 0..<height {
        if rows {
          let from = source + place(height - 1 - row, 0)
          (target + place(row, 0)).update(from: from, count: pitch)
        } else {
          var from = source + place(row, width), to = target + place(row, 0)
          for _ in 0..<width {
            from -= channels
            for channel in 0..<channels { to[channel] = from[channel] }
            to += channels
          }
        }
      }
    }
    return ImageValues(unchecked: result, height, width, channels)
  }

  /// The values of an image of so many pixels, each of which `body` writes.
  private func made(
    _ height: Int, _ width: Int,
    _ body: (_ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<Float>) -> Void
  ) -> [Float] {
    let size = height * width * channels
    return [Float](unsafeUninitializedCapacity: size) { target, count in
      values.withUnsafeBufferPointer { source in
        // Where it has no pixels, none are read.
        if size > 0 {
          body(source.baseAddress ?? UnsafePointer(target.baseAddress!), target.baseAddress!)
        }
      }
      count = size
    }
  }

  /// The image with pixels around it.
  func padded(_ padding: ImagePadding, _ mode: ImagePadding.Mode) -> ImageValues {
    let rows = (-padding.top..<height + padding.bottom).map { mode.source($0, height) }
    let columns = (-padding.left..<width + padding.right).map { mode.source($0, width) }
    let fill = if case .constant(let value) = mode { value } else { 0 as Float }
    // The image's own columns are in the middle of each row, one after the other.
    let own = padding.left..<padding.left + width
    let result = made(rows.count, columns.count) { source, target in
      var to = target
      for row in rows {
        guard let row else {
          to.update(repeating: fill, count: columns.count * channels)
          to += columns.count * channels
          continue
        }
        var column = 0
        while column < columns.count {
          if column == own.lowerBound, width > 0 {
            to.update(from: source + place(row, 0), count: pitch)
            to += pitch
            column = own.upperBound
            continue
          }
          if let from = columns[column] {
            to.update(from: source + place(row, from), count: channels)
          } else {
            to.update(repeating: fill, count: channels)
          }
          to += channels
          column += 1
        }
      }
    }
    return ImageValues(unchecked: result, rows.count, columns.count, channels)
  }

  /// How bright each pixel is: 0.2989 R + 0.587 G + 0.114 B, as torchvision weighs them; itself where there is one
  /// channel.
  func luminance() -> [Float] {
    guard channels >= 3 else {
      return stride(from: 0, to: values.count, by: channels).map { values[$0] }
    }
    return stride(from: 0, to: values.count, by: channels).map {
      0.2989 * values[$0] + 0.587 * values[$0 + 1] + 0.114 * values[$0 + 2]
    }
  }

  /// `ratio` of each value and the rest of another one, kept between black and white.
  mutating func blend(_ ratio: Float, with other: (_ place: Int) -> Float) {
    for place in values.indices {
      values[place] = min(max(ratio * values[place] + (1 - ratio) * other(place), 0), 1)
    }
  }
}

/// Pixels that are added around an image.
public struct ImagePadding: Sendable, Hashable, ExpressibleByIntegerLiteral {
  public var top, left, bottom, right: Int

  /// What stands in them.
  public enum Mode: Sendable, Hashable {
    /// One value; 0 is black.
    case constant(Float)
    /// The image mirrored at its edge, which is not repeated.
    case reflect
    /// The nearest pixel of the edge.
    case edge

    /// Black.
    public static var zeros: Mode { .constant(0) }

    /// The place that a place along an axis takes its pixel from; nil for the constant.
    func source(_ place: Int, _ extent: Int) -> Int? {
      if place >= 0 && place < extent { return place }
      switch self {
      case .constant: return nil
      case .edge: return min(max(place, 0), extent - 1)
      case .reflect: return place < 0 ? -place : 2 * (extent - 1) - place
      }
    }

    var description: String {
      switch self {
      case .constant(0): "zeros"
      case .constant(let value): "\(value)"
      case .reflect: "reflect"
      case .edge: "edge"
      }
    }
  }

  public init(top: Int = 0, left: Int = 0, bottom: Int = 0, right: Int = 0) {
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }

  /// As many on each side.
  public init(integerLiteral value: Int) { self.init(value) }

  /// As many on each side.
  public init(_ all: Int) { self.init(top: all, left: all, bottom: all, right: all) }

  /// The shape of an image with them.
  ///
  /// - Throws: `invalidArgument` for fewer than none or more than 2^16 on a side, and for more than the image can mirror.
  func shape(of image: ImageShape, _ mode: Mode, _ what: String) throws -> ImageShape {
    let sides = [top, left, bottom, right]
    guard sides.allSatisfy({ (0...1 << 16).contains($0) }) else {
      throw ApusError(
        .invalidArgument, "\(what): padding of \(sides)", expected: "0 to 65536 on each side")
    }
    let isEmpty = image.height == 0 || image.width == 0
    if case .constant = mode {
    } else if isEmpty && sides != [0, 0, 0, 0] {
      throw ApusError(
        .invalidArgument, "\(what): an image \(image) has no edge", expected: "pixels")
    }
    if mode == .reflect,
      max(top, bottom) >= max(image.height, 1) || max(left, right) >= max(image.width, 1)
    {
      throw ApusError(
        .invalidArgument, "\(what): padding of \(sides) mirrored from an image \(image)",
        expected: "less than the image on each side")
    }
    return ImageShape(
      height: image.height + top + bottom, width: image.width + left + right,
      channels: image.channels)
  }
}

/// The extents of an image.
public struct ImageShape: Sendable, Hashable, CustomStringConvertible {
  public var height, width, channels: Int

  public init(height: Int, width: Int, channels: Int) {
    (self.height, self.width, self.channels) = (height, width, channels)
  }

  public var description: String { "[\(height),\(width),\(channels)]" }
}
