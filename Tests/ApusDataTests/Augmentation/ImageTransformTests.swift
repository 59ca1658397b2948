// Transforms of images, against torchvision's results (Tests/reference/data.py) and by their own rules.

import ApusGraph
import Testing

@testable import ApusData

@Suite struct ImageTransformTests {
  private static let reference = try! NPZ.read(fixture("augmentation.npz"))

  private static func image(_ name: String = "image") throws -> ImageValues {
    let array = try #require(reference[name])
    return try ImageValues(
      height: array.shape[0], width: array.shape[1], channels: array.shape[2], values: array.floats)
  }

  /// What a transform makes of an image; its shape is as the transform says.
  private static func apply(
    _ transform: ImageTransform, to image: ImageValues, _ example: Int = 0
  ) throws -> ImageValues {
    var result = image
    var random = EpochKey(seed: 11).random(for: example)
    try transform.apply(&result, &random)
    let shape = try transform.shape(
      ImageShape(height: image.height, width: image.width, channels: image.channels))
    #expect(
      shape == ImageShape(height: result.height, width: result.width, channels: result.channels))
    #expect(result.values.count == shape.count)
    return result
  }

  private static func isClose(_ a: ImageValues, _ b: ImageValues) -> Bool {
    a.height == b.height && a.width == b.width && a.channels == b.channels
      && zip(a.values, b.values).allSatisfy { abs($0 - $1) < 2e-6 }
  }

  @Test(arguments: [
    ("resize 4 x 5", ImageTransform.resize(4, 5)), ("resize 3 x 7", .resize(3, 7)),
    ("resize 12 x 23", .resize(12, 23)),
    ("resize 4 x 5 without antialias", .resize(4, 5, antialias: false)),
    ("resize 12 x 23 without antialias", .resize(12, 23, antialias: false)),
    ("pad zeros", .pad(ImagePadding(top: 2, left: 1, bottom: 4, right: 3))),
    ("pad constant", .pad(2, mode: .constant(0.5))), ("pad reflect", .pad(3, mode: .reflect)),
    ("pad edge", .pad(3, mode: .edge)), ("centerCrop 4 x 5", .centerCrop(4, 5)),
    ("centerCrop 2 x 7", .centerCrop(2, 7)),
    ("horizontal", .randomHorizontalFlip(probability: 1)),
    ("vertical", .randomVerticalFlip(probability: 1)), ("grayscale 1", .grayscale()),
    ("grayscale 3", .grayscale(channels: 3)), ("grayscale 3", .randomGrayscale(probability: 1)),
    ("normalize", .normalize(mean: [0.1, 0.2, 0.3], deviation: [0.5, 0.25, 2])),
    ("image", .randomHorizontalFlip(probability: 0)), ("image", .resize(7, 10)),
    ("image", .colorJitter()), ("image", .pad(0, mode: .reflect)), ("image", .randomCrop(7, 10)),
  ])
  func resultsAreTorchvisions(name: String, transform: ImageTransform) throws {
    let result = try Self.apply(transform, to: try Self.image())
    #expect(Self.isClose(result, try Self.image(name)))
  }

  /// The three blends by fixed factors.
  @Test(arguments: [0.5, 1.7]) func blendsAreTorchvisions(factor: Double) throws {
    let image = try Self.image()
    let grey = image.luminance()
    let mean = Float(grey.reduce(0) { $0 + Double($1) } / Double(grey.count))
    var (brightness, contrast, saturation) = (image, image, image)
    brightness.blend(Float(factor)) { _ in 0 }
    contrast.blend(Float(factor)) { _ in mean }
    saturation.blend(Float(factor)) { grey[$0 / 3] }
    #expect(Self.isClose(brightness, try Self.image("brightness \(factor)")))
    #expect(Self.isClose(contrast, try Self.image("contrast \(factor)")))
    #expect(Self.isClose(saturation, try Self.image("saturation \(factor)")))
  }

  @Test func jitterDrawsFactorsFromItsRange() throws {
    // Grey of a half: brightness by a factor f gives f / 2.
    let image = try ImageValues(height: 1, width: 1, channels: 1, values: [0.5])
    let factors = try (0..<2000).map {
      Double(try Self.apply(.colorJitter(brightness: 0.4), to: image, $0).values[0]) * 2
    }
    #expect(factors.allSatisfy { (0.6 - 1e-6...1.4 + 1e-6).contains($0) })
    #expect(factors.min()! < 0.61 && factors.max()! > 1.39)
    #expect(abs(factors.reduce(0, +) / 2000 - 1) < 0.03)
    // A strength above 1 goes down to 0 and no further.
    let strong = try (0..<200).map {
      try Self.apply(.colorJitter(brightness: 5), to: image, $0).values[0]
    }
    #expect(strong.allSatisfy { (0...1).contains($0) } && strong.contains(1))
  }

  @Test func everyPlaceOfACropComesAlike() throws {
    let image = try ImageValues(
      height: 3, width: 4, channels: 1, values: (0..<12).map { Float($0) })
    var firsts = [Int](repeating: 0, count: 12)
    for example in 0..<6000 {
      let crop = try Self.apply(.randomCrop(2, 2), to: image, example)
      let first = crop.values[0]
      #expect(crop.values == [first, first + 1, first + 4, first + 5])
      firsts[Int(first)] += 1
    }
    // Two rows by three columns, five standard deviations around 1000.
    #expect(firsts.filter { $0 > 0 }.count == 6)
    #expect(firsts.allSatisfy { $0 == 0 || abs($0 - 1000) < 145 })
    // With padding a pixel of the border comes too.
    let padded = try (0..<50).map { try Self.apply(.randomCrop(3, 4, padding: 2), to: image, $0) }
    #expect(Set(padded).count > 10 && padded.contains { $0.values.count { $0 == 0 } > 6 })
  }

  @Test func flipsComeAsOftenAsAsked() throws {
    let image = try ImageValues(height: 1, width: 2, channels: 1, values: [0, 1])
    let flipped = try (0..<4000).count {
      try Self.apply(.randomHorizontalFlip(probability: 0.3), to: image, $0).values == [1, 0]
    }
    #expect(abs(flipped - 1200) < 145)
  }

  @Test func erasedPartsHaveTheAreaAskedFor() throws {
    let white = try ImageValues(
      height: 32, width: 32, channels: 3, values: [Float](repeating: 1, count: 3072))
    for example in 0..<100 {
      let erased = try Self.apply(
        .randomErasing(probability: 1, scale: 0.1...0.2, ratio: 0.5...2), to: white, example)
      let pixels = erased.values.count { $0 == 0 } / 3
      // The sides are rounded.
      #expect(pixels >= 80 && pixels <= 240)
      let cut = try Self.apply(.cutout(8, value: 0.25), to: white, example)
      let gone = cut.values.count { $0 == 0.25 }
      #expect(gone <= 192 && gone >= 48 && gone % 3 == 0)
    }
    #expect(try Self.apply(.randomErasing(probability: 0), to: white) == white)
  }

  @Test func aRandomResizedCropKeepsConstantsAndSizes() throws {
    let grey = try ImageValues(
      height: 20, width: 30, channels: 1, values: [Float](repeating: 0.5, count: 600))
    for example in 0..<50 {
      let crop = try Self.apply(.randomResizedCrop(8, 12), to: grey, example)
      #expect(crop.values.allSatisfy { abs($0 - 0.5) < 1e-6 })
    }
    // An area of all and a ratio that is the image's is the image.
    let image = try Self.image()
    let all = try Self.apply(
      .randomResizedCrop(7, 10, scale: 1...1, ratio: 10.0 / 7...10.0 / 7), to: image)
    #expect(Self.isClose(all, image))
    // Where no part fits, the middle is taken.
    let wide = try Self.apply(.randomResizedCrop(4, 4, scale: 1...1, ratio: 1...1), to: image)
    let middle = try Self.apply(
      .resize(4, 4), to: image.cropped(top: 0, left: 1, height: 7, width: 7))
    #expect(Self.isClose(wide, middle))
  }

  @Test func nonsenseIsRefusedBeforeAnythingIsRead() throws {
    let shape = ImageShape(height: 4, width: 5, channels: 3)
    let refused: [ImageTransform] = [
      .randomHorizontalFlip(probability: -0.1), .randomVerticalFlip(probability: .nan),
      .randomGrayscale(probability: 2), .pad(-1), .pad(1_048_576), .pad(4, mode: .reflect),
      .pad(ImagePadding(left: .max)), .randomCrop(5, 5), .randomCrop(0, 1), .randomCrop(.max, .max),
      .randomCrop(1, .min), .centerCrop(4, 6), .resize(0, 4), .resize(4, 1 << 20),
      .resize(.min, .max),
      .randomResizedCrop(4, 4, scale: 0...1), .randomResizedCrop(4, 4, scale: 0.5...2),
      .randomResizedCrop(4, 4, ratio: 0...1), .randomResizedCrop(-4, 4),
      .colorJitter(brightness: -1), .colorJitter(saturation: .infinity), .grayscale(channels: 2),
      .randomErasing(probability: 2), .randomErasing(scale: 0...1), .cutout(0), .cutout(.max),
      .normalize(mean: [0], deviation: [1]), .normalize(mean: [0, 0, 0], deviation: [1, 0, 1]),
    ]
    for transform in refused {
      let error = error { _ = try transform.shape(shape) }
      #expect(
        error != nil && error!.what.hasPrefix(String(transform.description.prefix(5))),
        "\(transform)")
    }
    let two = ImageShape(height: 2, width: 2, channels: 2)
    #expect(error { _ = try ImageTransform.grayscale().shape(two) }?.kind == .invalidArgument)
    let none = ImageShape(height: 0, width: 2, channels: 1)
    #expect(error { _ = try ImageTransform.resize(2, 2).shape(none) }?.kind == .invalidArgument)
    #expect(
      error { _ = try ImageTransform.pad(1, mode: .edge).shape(none) }?.kind == .invalidArgument)
    #expect(error { _ = try ImageTransform.cutout(1).shape(none) }?.kind == .invalidArgument)
    #expect(
      error { _ = try ImageTransform.randomResizedCrop(2, 2).shape(none) }?.kind == .invalidArgument
    )
  }
}
