// Layers as a configuration says them: a list of names with sizes. What a layer is given follows from the layer before.

import Apus

/// A layer of a model.
///
///     model:
///       - conv2d: { channels: 16, kernel: 3, padding: same }
///       - relu
///       - max_pool2d: 2
///       - flatten
///       - dropout: 0.3
///       - linear: 10
struct LayerConfiguration: Sendable {
  let name: String
  /// As it is written with all settings.
  let resolved: JSON
  private let path: String
  private let place: String
  private let make: @Sendable (TensorType) throws -> any Layer

  /// - Throws: what reading keys throws.
  init(_ node: ConfigurationNode, _ path: String) throws {
    self.path = path
    place = node.place
    var (written, settings) = try node.nameAndSettings(
      path, expected: "a layer, such as relu or { linear: 128 }")
    let name = try ConfigurationReader.named(
      written, of: LayerKind.all.map(\.name), path, at: node.place)
    let kind = LayerKind.all.first { $0.name == name }!
    self.name = name
    settings = try Self.grouped(settings, kind, path)
    let reader = try ConfigurationReader(settings, "\(path).\(name)")
    make = try kind.read(reader)
    try reader.finish()
    resolved = .object([(name, reader.resolved)])
  }

  /// `linear: 128` as `linear: { units: 128 }`; where a further key was set for the one, the number stands under `name`.
  private static func grouped(
    _ settings: ConfigurationNode, _ kind: LayerKind, _ path: String
  ) throws -> ConfigurationNode {
    if settings.isNull { return settings }
    guard let members = settings.members else {
      guard let main = kind.main else {
        throw ApusError(
          .invalidArgument, "\(path) gives \(kind.name) \(settings.description)",
          at: settings.place, expected: "\(kind.name) without settings")
      }
      return ConfigurationNode(
        .map([.init(main, at: settings.place, settings)]), at: settings.place)
    }
    guard let main = kind.main else { return settings }
    let isSet = members.contains { $0.key == main }
    return ConfigurationNode(
      .map(
        members.compactMap { member in
          guard member.key == "name" else { return member }
          return isSet ? nil : .init(main, at: member.place, member.value)
        }), at: settings.place)
  }

  /// The layers of a list.
  ///
  /// - Throws: what reading keys throws; `missing` for an empty list.
  static func list(_ node: ConfigurationNode, _ path: String) throws -> [LayerConfiguration] {
    guard case .list(let nodes) = node.content, !nodes.isEmpty else {
      throw ApusError(
        .invalidArgument, "\(path) is \(node.description)", at: node.place,
        expected: "a list of layers")
    }
    return try nodes.enumerated().map { try LayerConfiguration($0.element, "\(path).\($0.offset)") }
  }

  /// The layers for an input, and the type of what they make of it.
  ///
  /// - `input`: with the axis of the batch.
  /// - Throws: `shapeMismatch` and others with the layer's key and line, where one does not take what the layer before
  ///   gives.
  static func layers(
    _ all: [LayerConfiguration], for input: TensorType
  ) throws -> (layers: [any Layer], result: TensorType) {
    var type = input
    let layers = try all.map { configuration in
      do {
        let layer = try configuration.make(type)
        type = try layer.outlined(type)
        return layer
      } catch var error as ApusError {
        if error.location?.hasPrefix("\(configuration.file):") != true {
          error.what = "\(configuration.path), for \(type): \(error.what)"
          error.location = configuration.place
        }
        throw error
      }
    }
    return (layers, type)
  }

  /// Of the configuration: inner layers have told their own place.
  private var file: Substring { place.split(separator: ":").first ?? "" }
}

/// A kind of layer: its name, the setting that stands for all where one is given alone, and how it is read.
struct LayerKind: Sendable {
  typealias Make = @Sendable (_ input: TensorType) throws -> any Layer

  let name: String
  let main: String?
  let read: @Sendable (ConfigurationReader) throws -> Make

  init(
    _ name: String, _ main: String? = nil,
    _ read: @escaping @Sendable (ConfigurationReader) throws -> Make
  ) {
    self.name = name
    self.main = main
    self.read = read
  }

  /// One without settings.
  init(_ name: String, _ layer: @escaping @Sendable () -> any Layer) {
    self.init(name, nil) { _ in { _ in layer() } }
  }

  /// One with a number.
  init(
    _ name: String, _ key: String, _ fallback: Double, _ range: OptionRange<Double>,
    _ layer: @escaping @Sendable (Double) -> any Layer
  ) {
    self.init(name, key) { reader in
      let value = try reader.value(key, fallback, range)
      return { _ in layer(value) }
    }
  }

  static let all: [LayerKind] =
    dense + convolutions + pooling + normalizations + activations + others
}

/// Units and channels that a layer may have.
extension OptionRange<Int> {
  static var width: OptionRange { .between(1, 1 << 20) }
}

extension TensorType {
  /// The extent of the last axis.
  ///
  /// - Throws: `shapeMismatch` where there is none, or nothing along it.
  func width() throws -> Int {
    guard shape.rank > 1, shape[-1] > 0 else {
      throw ApusError(
        .shapeMismatch, "an input of type \(self)", expected: "an axis beside the batch's")
    }
    return shape[-1]
  }
}
