// Transforms that change pixels where they are: colours, erased parts, normalisation.

import ApusGraph

extension ImageTransform {
  /// Brightness, contrast and saturation by random factors, in a random order, as torchvision's `ColorJitter`.
  ///
  ///     .colorJitter(brightness: 0.2, contrast: 0.2, saturation: 0.2)
  ///
  /// Each number x stands for factors from max(0, 1 - x) to 1 + x; 0 leaves that property alone. Contrast stretches
  /// around the image's mean luminance, saturation around each pixel's own. Values stay between 0 and 1.
  public static func colorJitter(
    brightness: Double = 0, contrast: Double = 0, saturation: Double = 0
  ) -> ImageTransform {
    let name = "colorJitter \(brightness), \(contrast), \(saturation)"
    return ImageTransform(
      own: name,
      shape: { shape in
        for strength in [brightness, contrast, saturation] {
          guard strength >= 0, strength.isFinite else {
            throw ApusError(
              .invalidArgument, "\(name): a strength of \(strength)",
              expected: "a finite number, 0 or more")
          }
        }
        return try colored(shape, name)
      },
      apply: { image, random in
        let strengths = [brightness, contrast, saturation]
        let factors = strengths.map {
          $0 == 0 ? 1 : Float(random.uniform(in: max(0, 1 - $0)...1 + $0))
        }
        var order = [0, 1, 2]
        for last in [2, 1] { order.swapAt(last, random.integer(in: 0...last)) }
        for property in order where strengths[property] > 0 {
          switch property {
          case 0: image.blend(factors[0]) { _ in 0 }
          case 1:
            let grey = image.luminance()
            let mean = Float(grey.reduce(0) { $0 + Double($1) } / Double(max(grey.count, 1)))
            image.blend(factors[1]) { _ in mean }
          default:
            let (grey, channels) = (image.luminance(), image.channels)
            image.blend(factors[2]) { grey[$0 / channels] }
          }
        }
      })
  }

  /// Brightness of each pixel, as torchvision's `Grayscale`: 0.2989 R + 0.587 G + 0.114 B.
  ///
  /// - `channels`: 1, or 3 that are equal.
  public static func grayscale(channels: Int = 1) -> ImageTransform {
    let name = "grayscale to \(channels)"
    return ImageTransform(
      own: name,
      shape: { shape in
        guard channels == 1 || channels == 3 else {
          throw ApusError(.invalidArgument, "\(name): \(channels) channels", expected: "1 or 3")
        }
        var result = try colored(shape, name)
        result.channels = channels
        return result
      },
      apply: { image, _ in image = image.grayscale(channels) })
  }

  /// Takes the colour away with a probability, as torchvision's `RandomGrayscale`; the channels stay.
  public static func randomGrayscale(probability: Double = 0.1) -> ImageTransform {
    let name = "randomGrayscale \(probability)"
    return ImageTransform(
      own: name, shape: { try checked(try colored($0, name), probability: probability, name) },
      apply: { image, random in
        if random.happens(probability) { image = image.grayscale(image.channels) }
      })
  }

  /// A random rectangle filled with one value, with a probability, as torchvision's `RandomErasing`
  /// (Zhong et al. 2017, "Random Erasing Data Augmentation").
  ///
  /// - `scale`: the part of the image's area, of which one is drawn evenly.
  /// - `ratio`: width by height, of which the logarithm is drawn evenly. Ten rectangles are tried; where none fits,
  ///   the image stays as it is.
  public static func randomErasing(
    probability: Double = 0.5, scale: ClosedRange<Double> = 0.02...0.33,
    ratio: ClosedRange<Double> = 0.3...3.3, value: Float = 0
  ) -> ImageTransform {
    let name = "randomErasing \(probability), scale \(scale), ratio \(ratio), value \(value)"
    return ImageTransform(
      own: name,
      shape: {
        try checkParts(scale, ratio, name)
        return try checked($0, probability: probability, name)
      },
      apply: { image, random in
        guard random.happens(probability),
          let part = Rectangle(of: image, scale, ratio, &random, fits: { $0 < $1 })
        else { return }
        image.fill(part, with: value)
      })
  }

  /// A square around a random pixel filled with one value (DeVries & Taylor 2017, "Improved Regularization of
  /// Convolutional Neural Networks with Cutout"); what of it lies outside the image is left out.
  public static func cutout(_ side: Int, value: Float = 0) -> ImageTransform {
    let name = "cutout \(side), value \(value)"
    return ImageTransform(
      own: name,
      shape: { shape in
        guard (1...1 << 16).contains(side), shape.count > 0 else {
          throw ApusError(
            .invalidArgument, "\(name): a square of \(side) pixels in an image \(shape)",
            expected: "1 to 65536, and an image with pixels")
        }
        return shape
      },
      apply: { image, random in
        let top = random.integer(in: 0...image.height - 1) - side / 2
        let left = random.integer(in: 0...image.width - 1) - side / 2
        let (firstRow, firstColumn) = (max(top, 0), max(left, 0))
        image.fill(
          Rectangle(
            top: firstRow, left: firstColumn, height: min(top + side, image.height) - firstRow,
            width: min(left + side, image.width) - firstColumn), with: value)
      })
  }

  /// `(value - mean) / deviation`, channel by channel, as torchvision's `Normalize`. It comes last: what follows
  /// would take its numbers for brightness.
  ///
  ///     .normalize(mean: [0.4914, 0.4822, 0.4465], deviation: [0.2470, 0.2435, 0.2616])
  public static func normalize(mean: [Float], deviation: [Float]) -> ImageTransform {
    let name = "normalize \(mean), \(deviation)"
    return ImageTransform(
      own: name,
      shape: { shape in
        guard mean.count == shape.channels, deviation.count == shape.channels else {
          throw ApusError(
            .shapeMismatch, "\(name): an image \(shape)",
            expected: "a mean and a deviation for each channel")
        }
        guard deviation.allSatisfy({ $0 > 0 && $0.isFinite }), mean.allSatisfy(\.isFinite) else {
          throw ApusError(
            .invalidArgument, "\(name)", expected: "finite means, and deviations above 0")
        }
        return shape
      },
      apply: { image, _ in
        for place in image.values.indices {
          let channel = place % image.channels
          image.values[place] = (image.values[place] - mean[channel]) / deviation[channel]
        }
      })
  }

  /// - Throws: `invalidArgument` for an image whose channels are neither grey nor RGB.
  private static func colored(_ shape: ImageShape, _ what: String) throws -> ImageShape {
    guard shape.channels == 1 || shape.channels == 3 else {
      throw ApusError(
        .invalidArgument, "\(what): an image \(shape)",
        expected: "1 channel or 3, red, green and blue")
    }
    return shape
  }
}

extension ImageValues {
  /// The brightness of each pixel in so many channels.
  fileprivate func grayscale(_ channels: Int) -> ImageValues {
    let grey = luminance()
    return ImageValues(
      unchecked: channels == 1 ? grey : grey.flatMap { [Float](repeating: $0, count: channels) },
      height, width, channels)
  }

  /// Writes one value into a rectangle that lies within the image.
  fileprivate mutating func fill(_ part: Rectangle, with value: Float) {
    for row in part.top..<part.top + part.height {
      let start = place(row, part.left)
      for place in start..<start + part.width * channels { values[place] = value }
    }
  }
}
