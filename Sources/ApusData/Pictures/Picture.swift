// Pictures for people, made of arrays: images, filters, feature maps, heat maps.

import ApusGraph

/// An image of 8 bits a channel, grey or RGB.
///
///     let batch = try Picture(images, scale: .range(0...1))        // [n, h, w, c]: a grid of n
///     try batch.enlarged(by: 4).write(png: "batch.png")
///
/// It is a value for people to look at, not an input of a network: numbers are brought to 256 levels.
public struct Picture: Sendable, Hashable {
  public let width: Int
  public let height: Int
  /// 1 for grey, 3 for red, green and blue.
  public let channels: Int
  /// Row by row, the channels of a pixel one after the other: `height · width · channels` bytes.
  public let pixels: [UInt8]

  /// Which numbers are the darkest and the brightest.
  public enum Scale: Sendable, Hashable {
    /// Bytes and booleans as they are, all else as `.wholeArray`.
    case automatic
    /// From the least to the greatest finite number of the whole array. Where all are equal, all are darkest.
    case wholeArray
    /// The same for each image of `[n, h, w, c]` by itself.
    case eachImage
    /// 0 stands in the middle; the number that is farthest from it stands at an end. For weights and gradients.
    case symmetric
    /// Between these; what is below or above is as the nearer of them.
    case range(ClosedRange<Double>)
  }

  /// The most bytes of a picture: 2^28.
  static let mostBytes = 1 << 28

  /// - `array`: `[h, w]`, `[h, w, channels]`, or `[n, h, w, channels]` for a grid of n images; of one channel or
  ///   three. What has more channels is drawn channel by channel: see ``init(channelsOf:scale:map:columns:gap:background:undefined:)``.
  /// - `scale`: which numbers are the darkest and the brightest.
  /// - `map`: colours for arrays of one channel; nil for grey.
  /// - `columns`: of the grid; nil for one as square as can be.
  /// - `gap`: pixels between the images of a grid.
  /// - `background`: of gaps, and of places that no image takes.
  /// - `undefined`: the colour of a NaN. (Infinities are the ends of the scale.)
  /// - Throws: `shapeMismatch` for an array of another rank or number of channels, or without an element;
  ///   `invalidArgument` for a range, a gap or columns that are none, for a map of three channels, and for a
  ///   picture of more than 2^28 bytes.
  public init(
    _ array: NDArray, scale: Scale = .automatic, map: ColorMap? = nil, columns: Int? = nil,
    gap: Int = 1, background: Color = .white, undefined: Color = .magenta
  ) throws {
    let shape = array.shape.dimensions
    guard (2...4).contains(shape.count) else {
      throw ApusError(
        .shapeMismatch, "a picture of \(array.type)",
        expected: "[h, w], [h, w, channels] or [n, h, w, channels]")
    }
    let image = shape.count == 2 ? shape + [1] : Array(shape.suffix(3))
    guard [1, 3].contains(image[2]) else {
      let isStack = shape.count == 3
      throw ApusError(
        .shapeMismatch, "a picture of \(array.type), which has \(image[2]) channels",
        expected: "1 or 3 channels at the end; "
          + (isStack ? "grey images as [n, h, w, 1], " : "")
          + "feature maps by Picture(channelsOf:)")
    }
    guard array.count > 0 else {
      throw ApusError(
        .shapeMismatch, "a picture of \(array.type), which is empty", expected: "at least one pixel"
      )
    }
    guard map == nil || image[2] == 1 else {
      throw ApusError(
        .invalidArgument, "a colour map for \(array.type)", expected: "an array of one channel")
    }
    let count = shape.count == 4 ? shape[0] : 1
    let painter = try Painter(array, scale, map, undefined, images: count)
    let images = try (0..<count).map { try painter.picture($0, image) }
    self =
      try shape.count < 4
      ? images[0] : Picture.grid(images, columns: columns, gap: gap, background: background)
  }

  /// Each channel as a grey image of a grid: feature maps `[h, w, channels]`, or of one image `[1, h, w, channels]`.
  ///
  ///     let maps = try explainer.features(image, of: "conv1")          // f32[1,28,28,32]
  ///     try Picture(channelsOf: maps, map: .viridis).write(png: "conv1.png")
  ///
  /// - `scale`: with `.eachImage`, of each channel by itself.
  /// - Throws: as ``init(_:scale:map:columns:gap:background:undefined:)``.
  public init(
    channelsOf array: NDArray, scale: Scale = .eachImage, map: ColorMap? = nil,
    columns: Int? = nil, gap: Int = 1, background: Color = .white, undefined: Color = .magenta
  ) throws {
    let shape = array.shape.dimensions
    guard shape.count == 3 || shape.count == 4 && shape[0] == 1 else {
      throw ApusError(
        .shapeMismatch, "the channels of \(array.type)",
        expected: "[h, w, channels] or [1, h, w, channels], one image of a batch")
    }
    let (pixels, channels) = (
      Shape.product(shape[shape.count - 3], shape[shape.count - 2]), shape[shape.count - 1]
    )
    let values = array.doubles
    var moved: [Double] = []
    moved.reserveCapacity(values.count)
    for channel in 0..<channels {
      for pixel in 0..<pixels { moved.append(values[pixel * channels + channel]) }
    }
    let each = Shape([channels, shape[shape.count - 3], shape[shape.count - 2], 1])
    try self.init(
      NDArray(checking: moved, type: TensorType(.f64, each)), scale: scale, map: map,
      columns: columns, gap: gap, background: background, undefined: undefined)
  }

  /// A picture of bytes that are there: `height · width · channels` of them, row by row.
  ///
  /// - Throws: `shapeMismatch` where their number is another, or that of channels is neither 1 nor 3.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) throws {
    let count = try Picture.byteCount(width, height, channels)
    guard pixels.count == count else {
      throw ApusError(
        .shapeMismatch, "\(pixels.count) bytes for a picture of \(width) x \(height) x \(channels)",
        expected: "\(count) bytes")
    }
    self.init(width, height, channels, pixels)
  }

  /// Of what is known to fit.
  init(_ width: Int, _ height: Int, _ channels: Int, _ pixels: [UInt8]) {
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }

  /// - Throws: `shapeMismatch` or `invalidArgument` where there is no such picture.
  static func byteCount(_ width: Int, _ height: Int, _ channels: Int) throws -> Int {
    guard width > 0, height > 0, channels == 1 || channels == 3 else {
      throw ApusError(
        .shapeMismatch, "a picture of \(width) x \(height) pixels and \(channels) channels",
        expected: "at least one pixel, and 1 or 3 channels")
    }
    let count = Shape.product(Shape.product(width, height), channels)
    guard count <= mostBytes else {
      throw ApusError(
        .invalidArgument, "a picture of \(width) x \(height) x \(channels) bytes",
        expected: "at most \(mostBytes) bytes")
    }
    return count
  }

  /// The colour of a pixel, nil outside the picture.
  ///
  /// - `x`: from the left. `y`: from above.
  public func color(_ x: Int, _ y: Int) -> Color? {
    guard (0..<width).contains(x), (0..<height).contains(y) else { return nil }
    let place = (y * width + x) * channels
    return channels == 1
      ? .gray(pixels[place])
      : Color(red: pixels[place], green: pixels[place + 1], blue: pixels[place + 2])
  }

  /// The same picture with three channels.
  var colored: Picture {
    channels == 3 ? self : Picture(width, height, 3, pixels.flatMap { [$0, $0, $0] })
  }
}

/// Brings numbers to levels and colours.
private struct Painter {
  private let values: [Double]
  private let ranges: [ClosedRange<Double>]
  private let map: ColorMap?
  private let undefined: Picture.Color

  /// - `images`: how many the array has.
  /// - Throws: `invalidArgument` for a range that is none.
  init(
    _ array: NDArray, _ scale: Picture.Scale, _ map: ColorMap?, _ undefined: Picture.Color,
    images: Int
  ) throws {
    values = array.doubles
    self.map = map
    self.undefined = undefined
    switch (scale, array.dtype) {
    case (.automatic, .u8): ranges = [0...255]
    case (.automatic, .bool): ranges = [0...1]
    case (.automatic, _), (.wholeArray, _): ranges = [Self.range(of: values[...])]
    case (.eachImage, _):
      let size = values.count / images
      ranges = (0..<images).map { [values] in Self.range(of: values[$0 * size..<($0 + 1) * size]) }
    case (.symmetric, _):
      let range = Self.range(of: values[...])
      let reach = max(range.lowerBound.magnitude, range.upperBound.magnitude)
      // Nothing but zeros stands in the middle all the same.
      ranges = reach > 0 ? [-reach...reach] : [-1...1]
    case (.range(let range), _):
      guard range.lowerBound < range.upperBound, range.lowerBound.isFinite,
        range.upperBound.isFinite
      else {
        throw ApusError(
          .invalidArgument, "a picture of the range \(range)", expected: "two finite numbers")
      }
      ranges = [range]
    }
  }

  /// From the least to the greatest of the finite ones.
  private static func range(of values: ArraySlice<Double>) -> ClosedRange<Double> {
    var (low, high) = (Double.infinity, -Double.infinity)
    for value in values where value.isFinite { (low, high) = (min(low, value), max(high, value)) }
    return low <= high ? low...high : 0...0
  }

  /// - `shape`: height, width, channels.
  func picture(_ index: Int, _ shape: [Int]) throws -> Picture {
    let (height, width, channels) = (shape[0], shape[1], shape[2])
    let size = try Picture.byteCount(width, height, channels)
    let range = ranges[ranges.count == 1 ? 0 : index]
    let own = values[index * size..<(index + 1) * size]
    let hasUndefined = own.contains { $0.isNaN }
    let isColored = channels == 3 || map != nil || hasUndefined && !undefined.isGray
    var pixels: [UInt8] = []
    pixels.reserveCapacity(isColored ? width * height * 3 : size)
    for start in stride(from: own.startIndex, to: own.endIndex, by: channels) {
      let pixel = own[start..<start + channels]
      let color =
        pixel.contains { $0.isNaN }
        ? undefined : color(pixel.map { share($0, range) })
      if isColored { pixels += color.bytes } else { pixels.append(color.red) }
    }
    return Picture(width, height, isColored ? 3 : 1, pixels)
  }

  /// Where the number lies in the range, from 0 to 1. Half of each, so that no difference is infinite.
  private func share(_ value: Double, _ range: ClosedRange<Double>) -> Double {
    let (low, high) = (range.lowerBound / 2, range.upperBound / 2)
    guard low < high else { return value > range.upperBound ? 1 : 0 }
    return min(max((value / 2 - low) / (high - low), 0), 1)
  }

  private func color(_ shares: [Double]) -> Picture.Color {
    func level(_ share: Double) -> UInt8 { UInt8((share * 255).rounded()) }
    guard shares.count == 3 else {
      return map?.color(shares[0]) ?? .gray(level(shares[0]))
    }
    return Picture.Color(red: level(shares[0]), green: level(shares[1]), blue: level(shares[2]))
  }
}
