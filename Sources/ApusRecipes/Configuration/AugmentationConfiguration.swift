// What is done to training images, as a configuration says it: a list, as layers are.

import Apus

/// The transforms of training images; what is judged stays as it is.
///
///     augment:
///       - random_crop: { size: 32, padding: 4 }
///       - random_horizontal_flip
///       - color_jitter: { brightness: 0.2, contrast: 0.2 }
struct AugmentationConfiguration: Sendable {
  let transforms: [ImageTransform]
  /// As they are written with all settings.
  let resolved: JSON
  private let path: String
  private let place: String

  /// A kind of transform: its name, the setting that stands for all where one is given alone, and how it is read.
  private struct Kind: Sendable {
    let name: String
    let main: String
    let read: @Sendable (ConfigurationReader) throws -> ImageTransform
  }

  private static let kinds = [
    Kind(name: "random_horizontal_flip", main: "p") {
      .randomHorizontalFlip(probability: try $0.value("p", 0.5, probability))
    },
    Kind(name: "random_vertical_flip", main: "p") {
      .randomVerticalFlip(probability: try $0.value("p", 0.5, probability))
    },
    Kind(name: "random_crop", main: "size") {
      let size: Int = try $0.required("size", extent)
      return .randomCrop(size, size, padding: ImagePadding(try $0.value("padding", 0, padding)))
    },
    Kind(name: "random_resized_crop", main: "size") {
      let size: Int = try $0.required("size", extent)
      let least = try $0.value(
        "least", 0.08, OptionRange(description: "a number above 0, at most 1") { $0 > 0 && $0 <= 1 }
      )
      return .randomResizedCrop(size, size, scale: least...1)
    },
    Kind(name: "color_jitter", main: "brightness") {
      .colorJitter(
        brightness: try $0.value("brightness", 0, strength),
        contrast: try $0.value("contrast", 0, strength),
        saturation: try $0.value("saturation", 0, strength))
    },
    Kind(name: "random_grayscale", main: "p") {
      .randomGrayscale(probability: try $0.value("p", 0.1, probability))
    },
    Kind(name: "random_erasing", main: "p") {
      .randomErasing(probability: try $0.value("p", 0.5, probability))
    },
    Kind(name: "cutout", main: "size") { .cutout(try $0.required("size", extent)) },
  ]

  private static let probability = OptionRange<Double>(description: "a number from 0 to 1") {
    (0...1).contains($0)
  }
  private static let strength = OptionRange<Double>(description: "a number, 0 or more") {
    $0 >= 0 && $0.isFinite
  }
  private static let extent = OptionRange<Int>.between(1, 1 << 16)
  private static let padding = OptionRange<Int>.between(0, 1 << 16)

  /// - Throws: what reading keys throws.
  init(_ node: ConfigurationNode, _ path: String) throws {
    self.path = path
    place = node.place
    guard case .list(let nodes) = node.content else {
      throw ApusError(
        .invalidArgument, "\(path) is \(node.description)", at: node.place,
        expected: "a list of transforms, such as [random_horizontal_flip]")
    }
    var all: [ImageTransform] = []
    var written: [JSON] = []
    for (number, element) in nodes.enumerated() {
      let path = "\(path).\(number)"
      let (name, settings) = try element.nameAndSettings(
        path, expected: "a transform, such as random_horizontal_flip or { random_crop: 32 }")
      let kind = try Self.kind(name, path, at: element.place)
      let reader = try ConfigurationReader(
        settings.isNull || settings.members != nil
          ? settings
          : ConfigurationNode(
            .map([.init(kind.main, at: settings.place, settings)]), at: settings.place),
        "\(path).\(kind.name)")
      all.append(try kind.read(reader))
      try reader.finish()
      written.append(.object([(kind.name, reader.resolved)]))
    }
    transforms = all
    resolved = .array(written)
  }

  private static func kind(_ name: String, _ path: String, at place: String) throws -> Kind {
    let known = try ConfigurationReader.named(name, of: kinds.map(\.name), path, at: place)
    return kinds.first { $0.name == known }!
  }

  /// The images of a set, transformed.
  ///
  /// - Throws: `shapeMismatch` where they become others than the model learns to read; what the transforms throw.
  func applied(to images: some Dataset) throws -> any Dataset {
    do {
      let result = try images.transformed(transforms)
      guard result.fields == images.fields else {
        throw ApusError(
          .shapeMismatch, "the images become \(result.fields[0].type)",
          expected: "\(images.fields[0].type), as those that are judged")
      }
      return result
    } catch var error as ApusError {
      error.what = "\(path): \(error.what)"
      error.location = place
      throw error
    }
  }
}

extension ConfigurationNode {
  /// An element of a list that is a name, or a name with settings behind it.
  ///
  /// - Throws: `invalidArgument` for anything else.
  func nameAndSettings(
    _ path: String, expected: String
  ) throws -> (name: String, settings: ConfigurationNode) {
    switch content {
    case .scalar(let text, _) where !isNull: return (text, .none(at: place))
    case .map(let members) where members.count == 1: return (members[0].key, members[0].value)
    default:
      throw ApusError(
        .invalidArgument, "\(path) is \(description)", at: place,
        expected: expected)
    }
  }
}
