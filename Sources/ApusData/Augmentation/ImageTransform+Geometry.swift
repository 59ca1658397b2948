// Transforms that move pixels: flips, crops, padding, other sizes.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension ImageTransform {
  /// Turns left and right around with a probability, as torchvision's `RandomHorizontalFlip`.
  public static func randomHorizontalFlip(probability: Double = 0.5) -> ImageTransform {
    flip("randomHorizontalFlip", probability, rows: false)
  }

  /// Turns top and bottom around with a probability, as torchvision's `RandomVerticalFlip`.
  public static func randomVerticalFlip(probability: Double = 0.5) -> ImageTransform {
    flip("randomVerticalFlip", probability, rows: true)
  }

  private static func flip(_ name: String, _ probability: Double, rows: Bool) -> ImageTransform {
    let name = "\(name) \(probability)"
    return ImageTransform(
      own: name, shape: { try checked($0, probability: probability, name) },
      apply: { image, random in
        if random.happens(probability) { image = image.flipped(rows: rows) }
      })
  }

  /// Adds pixels around the image, as torchvision's `Pad`.
  ///
  ///     .pad(4), .pad(ImagePadding(left: 2, right: 2), mode: .reflect)
  public static func pad(_ padding: ImagePadding, mode: ImagePadding.Mode = .zeros)
    -> ImageTransform
  {
    let name = "pad \(padding.description) \(mode.description)"
    return ImageTransform(
      own: name, shape: { try padding.shape(of: $0, mode, name) },
      apply: { image, _ in image = image.padded(padding, mode) })
  }

  /// A rectangle of so many pixels at a random place, as torchvision's `RandomCrop`.
  ///
  ///     .randomCrop(32, 32, padding: 4)        // as CIFAR's images are usually shifted
  ///
  /// - `padding`: is added before, on each side.
  /// - `mode`: what stands in it: `.zeros`, `.constant(0.5)`, `.reflect` or `.edge`.
  public static func randomCrop(
    _ height: Int, _ width: Int, padding: ImagePadding = 0, mode: ImagePadding.Mode = .zeros
  ) -> ImageTransform {
    let name = "randomCrop \(height) x \(width), padding \(padding.description) \(mode.description)"
    return ImageTransform(
      own: name,
      shape: { try padding.shape(of: $0, mode, name).cropped(height, width, name) },
      apply: { image, random in
        let padded = padding == 0 ? image : image.padded(padding, mode)
        image = padded.cropped(
          top: random.integer(in: 0...padded.height - height),
          left: random.integer(in: 0...padded.width - width), height: height, width: width)
      })
  }

  /// The rectangle of so many pixels in the middle, as torchvision's `CenterCrop` of an image that is as large.
  public static func centerCrop(_ height: Int, _ width: Int) -> ImageTransform {
    let name = "centerCrop \(height) x \(width)"
    return ImageTransform(
      own: name, shape: { try $0.cropped(height, width, name) },
      apply: { image, _ in
        image = image.cropped(
          top: middle(image.height - height), left: middle(image.width - width), height: height,
          width: width)
      })
  }

  /// Half, halves to the even number, as Python rounds.
  private static func middle(_ rest: Int) -> Int {
    Int((Double(rest) / 2).rounded(.toNearestOrEven))
  }

  /// Another size by linear interpolation, as torchvision's `Resize`.
  ///
  /// - `antialias`: whether a smaller image's pixels are means of all those that they cover.
  public static func resize(_ height: Int, _ width: Int, antialias: Bool = true) -> ImageTransform {
    let name = "resize \(height) x \(width)\(antialias ? "" : " without antialias")"
    return ImageTransform(
      own: name, shape: { try $0.resized(height, width, name) },
      apply: { image, _ in
        image = image.resized(height: height, width: width, antialias: antialias)
      })
  }

  /// A random part of the image, brought to a size, as torchvision's `RandomResizedCrop`.
  ///
  /// - `scale`: the part of the image's area, of which one is drawn evenly.
  /// - `ratio`: width by height, of which the logarithm is drawn evenly. Ten parts are tried; where none fits, the middle
  ///   of the image is taken, as much of it as has a ratio of the range.
  public static func randomResizedCrop(
    _ height: Int, _ width: Int, scale: ClosedRange<Double> = 0.08...1,
    ratio: ClosedRange<Double> = 0.75...4 / 3, antialias: Bool = true
  ) -> ImageTransform {
    let name =
      "randomResizedCrop \(height) x \(width), scale \(scale), ratio \(ratio)\(antialias ? "" : " without antialias")"
    return ImageTransform(
      own: name,
      shape: {
        try checkParts(scale, ratio, name)
        return try $0.resized(height, width, name)
      },
      apply: { image, random in
        let part =
          Rectangle(of: image, scale, ratio, &random) { $0 <= $1 }
          ?? Rectangle(middleOf: image, ratio)
        image = image.cropped(
          top: part.top, left: part.left, height: part.height, width: part.width
        ).resized(height: height, width: width, antialias: antialias)
      })
  }

  /// - Throws: `invalidArgument` for a probability outside 0 to 1.
  static func checked(
    _ shape: ImageShape, probability: Double, _ what: String
  ) throws -> ImageShape {
    guard (0...1).contains(probability) else {
      throw ApusError(
        .invalidArgument, "\(what): a probability of \(probability)", expected: "0 to 1")
    }
    return shape
  }

  /// - Throws: `invalidArgument` for parts of an area that are none and ratios that are none.
  static func checkParts(
    _ scale: ClosedRange<Double>, _ ratio: ClosedRange<Double>, _ what: String
  ) throws {
    guard scale.lowerBound > 0, scale.upperBound <= 1 else {
      throw ApusError(
        .invalidArgument, "\(what): parts \(scale) of the area", expected: "above 0, at most 1")
    }
    guard ratio.lowerBound > 0, ratio.upperBound.isFinite else {
      throw ApusError(.invalidArgument, "\(what): ratios \(ratio)", expected: "above 0, finite")
    }
  }
}

/// A rectangle within an image.
struct Rectangle {
  var top, left, height, width: Int

  init(top: Int, left: Int, height: Int, width: Int) {
    (self.top, self.left, self.height, self.width) = (top, left, height, width)
  }

  /// A part of an image of an area and a ratio of width by height out of those ranges, at a random place; nil where ten
  /// of them do not fit.
  init?(
    of image: ImageValues, _ scale: ClosedRange<Double>, _ ratio: ClosedRange<Double>,
    _ random: inout ExampleRandom, fits: (_ extent: Int, _ whole: Int) -> Bool
  ) {
    let area = Double(image.height * image.width)
    for _ in 0..<10 {
      let part = area * random.uniform(in: scale)
      let shape = exp(random.uniform(in: log(ratio.lowerBound)...log(ratio.upperBound)))
      // A ratio may be beyond any image, and the side then beyond all whole numbers.
      let sides = [(part * shape).squareRoot().rounded(), (part / shape).squareRoot().rounded()]
      guard sides[0] >= 1, sides[1] >= 1, sides[0] <= Double(image.width),
        sides[1] <= Double(image.height)
      else { continue }
      let (width, height) = (Int(sides[0]), Int(sides[1]))
      guard fits(width, image.width), fits(height, image.height) else { continue }
      self.init(
        top: random.integer(in: 0...image.height - height),
        left: random.integer(in: 0...image.width - width), height: height, width: width)
      return
    }
    return nil
  }

  /// As much of the middle as has that ratio of width by height.
  init(middleOf image: ImageValues, _ ratio: Double) { self.init(middleOf: image, ratio...ratio) }

  /// As much of the middle as has a ratio of width by height out of the range.
  init(middleOf image: ImageValues, _ ratio: ClosedRange<Double>) {
    var (height, width) = (image.height, image.width)
    let own = Double(width) / Double(height)
    if own < ratio.lowerBound {
      height = min(max(Int((Double(width) / ratio.lowerBound).rounded()), 1), height)
    } else if own > ratio.upperBound {
      width = min(max(Int((Double(height) * ratio.upperBound).rounded()), 1), width)
    }
    self.init(
      top: (image.height - height) / 2, left: (image.width - width) / 2, height: height,
      width: width)
  }
}

extension ImagePadding {
  var description: String {
    top == left && left == bottom && bottom == right
      ? "\(top)" : "\(top), \(left), \(bottom), \(right)"
  }
}
