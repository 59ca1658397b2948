// Reading a group of keys with types, ranges and defaults, which notes what each came to.

import Apus

/// A group of keys as a schema reads it.
///
///     let group = try run.group("early_stopping")
///     let patience = try group.value("patience", 3, .between(1, 1 << 20))
///     try group.finish()                          // all other keys are refused
///
/// Every key that is asked for stands in ``resolved`` with its value, also where the file does not have it: what was
/// read is what a run needs to be the same again.
final class ConfigurationReader {
  /// The key path of the group, `optimizer`; empty for the file itself.
  let path: String
  let node: ConfigurationNode
  private var asked: [String] = []
  private var values: [(String, JSON)] = []
  /// What readers of inner groups note.
  private var groups: [(key: String, reader: ConfigurationReader)] = []
  /// Words that people write for a key, and the key.
  private static let synonyms = [
    "lr": "rate", "learning_rate": "rate", "batch_size": "batch", "ema": "moving_average",
    "dataset": "data", "optimiser": "optimizer", "layers": "model", "max_epochs": "epochs",
    "num_epochs": "epochs", "gradient_clip": "clip_norm", "max_norm": "clip_norm",
    "gradient_accumulation_steps": "accumulate", "accumulate_grad_batches": "accumulate",
    "clipvalue": "clip_value", "clipnorm": "clip_norm",
    "decay": "weight_decay", "out_channels": "channels", "filters": "channels",
    "kernel_size": "kernel", "pool_size": "size", "betas": "beta1", "eps": "epsilon",
    "type": "name", "scheduler": "schedule", "lr_scheduler": "schedule", "out_features": "units",
  ]

  /// - Throws: `invalidArgument` where the node is no group of keys; a value of nothing has none.
  init(_ node: ConfigurationNode, _ path: String) throws {
    self.path = path
    if node.members != nil {
      self.node = node
    } else if node.isNull {
      self.node = .none(at: node.place)
    } else {
      throw ApusError(
        .invalidArgument, "\(path) is \(node.description)", at: node.place,
        expected: "a group of keys")
    }
  }

  /// All keys with their values, in the order in which they were asked for.
  var resolved: JSON {
    var all = values
    for (key, reader) in groups {
      if let index = all.firstIndex(where: { $0.0 == key }) { all[index].1 = reader.resolved }
    }
    return .object(all)
  }

  func path(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  /// The node of a key; nil where it has no value.
  func ask(_ key: String) -> ConfigurationNode? {
    if !asked.contains(key) { asked.append(key) }
    return node[key].flatMap { $0.isNull ? nil : $0 }
  }

  /// Notes what a key came to.
  func note(_ key: String, _ value: JSON) {
    values.removeAll { $0.0 == key }
    values.append((key, value))
  }

  /// Where a key stands, or the group where it does not.
  func place(of key: String) -> String { node[key]?.place ?? node.place }

  /// - Throws: `missing` for a key that nothing asked for, with its place and those that look like it.
  func finish() throws {
    guard let unknown = node.members?.first(where: { !asked.contains($0.key) }) else { return }
    let meant = Self.synonyms[unknown.key].flatMap { asked.contains($0) ? [$0] : nil }
    let near = meant ?? asked.nearest(to: unknown.key, most: 1)
    let all = asked.sorted().joined(separator: ", ")
    throw ApusError(
      .missing, "there is no key '\(path(of: unknown.key))'", at: unknown.place,
      expected: near.isEmpty ? "one of \(all)" : "\(near[0]) (of \(all))")
  }

  // MARK: Values

  /// The value of a key, or `fallback`.
  ///
  /// - Throws: `invalidArgument` with key, place, what stands there and what was expected.
  func value<Value: ConfigurationValue>(
    _ key: String, _ fallback: Value, _ range: OptionRange<Value> = .any
  ) throws -> Value {
    let value = try optional(key, range) ?? fallback
    note(key, value.json)
    return value
  }

  /// The value of a key that need not be there.
  ///
  /// - Throws: as ``value(_:_:_:)``.
  func optional<Value: ConfigurationValue>(
    _ key: String, _ range: OptionRange<Value> = .any
  ) throws -> Value? {
    guard let node = ask(key) else { return nil }
    let value = try Value.read(node, path(of: key), range)
    note(key, value.json)
    return value
  }

  /// The value of a key that must be there.
  ///
  /// - Throws: as ``value(_:_:_:)``, and `missing`.
  func required<Value: ConfigurationValue>(
    _ key: String, _ range: OptionRange<Value> = .any
  ) throws -> Value {
    if let value = try optional(key, range) { return value }
    throw ApusError(
      .missing, "\(path(of: key)) is not there", at: node.place, expected: range.description)
  }

  /// One of some names; however they are written: `AdamW`, `adam_w` and `adamw` are one.
  ///
  /// - Throws: `invalidArgument` with the names that look like it.
  func choice(_ key: String, _ fallback: String?, of names: [String]) throws -> String {
    guard let text: String = try optional(key) else {
      guard let fallback else {
        throw ApusError(
          .missing, "\(path(of: key)) is not there", at: node.place,
          expected: "one of \(names.joined(separator: ", "))")
      }
      note(key, .string(fallback))
      return fallback
    }
    let name = try Self.named(text, of: names, path(of: key), at: place(of: key))
    note(key, .string(name))
    return name
  }

  /// The name that a text stands for.
  static func named(
    _ text: String, of names: [String], _ path: String, at place: String
  ) throws -> String {
    func plain(_ name: String) -> String {
      name.lowercased().filter { $0 != "_" && $0 != "-" && $0 != " " }
    }
    if let name = names.first(where: { plain($0) == plain(text) }) { return name }
    let near = names.nearest(to: text, most: 3)
    throw ApusError(
      .invalidArgument, "\(path) is '\(text.prefix(60))'", at: place,
      expected: (near.isEmpty ? "" : "\(near.joined(separator: ", ")): ")
        + "one of \(names.joined(separator: ", "))")
  }

  /// The values of a list; a value alone is a list of one.
  ///
  /// - Throws: as ``value(_:_:_:)``.
  func list<Value: ConfigurationValue>(
    _ key: String, _ range: OptionRange<Value> = .any
  ) throws -> [Value]? {
    guard let node = ask(key) else { return nil }
    let nodes = if case .list(let elements) = node.content { elements } else { [node] }
    let values = try nodes.enumerated().map {
      try Value.read($0.element, "\(path(of: key)).\($0.offset)", range)
    }
    note(key, .array(values.map(\.json)))
    return values
  }

  // MARK: Groups

  /// The group of a key that need not be there. A text alone is the group's `name`.
  ///
  /// - Throws: `invalidArgument` for a list.
  func optionalGroup(_ key: String) throws -> ConfigurationReader? {
    guard let inner = ask(key) else { return nil }
    return try group(key, of: inner)
  }

  /// The group of a key; without it, one without keys.
  ///
  /// - Throws: as ``optionalGroup(_:)``.
  func group(_ key: String) throws -> ConfigurationReader {
    try group(key, of: ask(key) ?? .none(at: node.place))
  }

  private func group(_ key: String, of inner: ConfigurationNode) throws -> ConfigurationReader {
    let reader = try ConfigurationReader(inner.named, path(of: key))
    note(key, .object([]))
    groups.append((key, reader))
    return reader
  }
}

extension ConfigurationNode {
  /// `adamw` as `{ name: adamw }`; all else as it is.
  var named: ConfigurationNode {
    guard case .scalar = content, !isNull else { return self }
    return ConfigurationNode(.map([Member("name", at: place, self)]), at: place)
  }
}

/// A type that a key's value may have.
protocol ConfigurationValue: OptionValue {
  /// What a scalar stands for; nil where it stands for none.
  init?(scalar text: String, isQuoted: Bool)
  var json: JSON { get }
}

extension ConfigurationValue {
  /// - Throws: `invalidArgument` with path, place, what stands there and what was expected.
  static func read(
    _ node: ConfigurationNode, _ path: String, _ range: OptionRange<Self>
  ) throws -> Self {
    guard case .scalar(let text, let isQuoted) = node.content,
      let value = Self(scalar: text, isQuoted: isQuoted)
    else {
      throw ApusError(
        .invalidArgument, "\(path) is \(node.description)", at: node.place, expected: kind)
    }
    guard range.contains(value) else {
      throw ApusError(
        .invalidArgument, "\(path) is \(text)", at: node.place, expected: range.description)
    }
    return value
  }
}

extension Int: ConfigurationValue {
  /// `1e6` is a whole number too.
  init?(scalar text: String, isQuoted: Bool) {
    guard !isQuoted, let value = Int(text) ?? Double(text).flatMap({ Int(exactly: $0) }) else {
      return nil
    }
    self = value
  }
  var json: JSON { .integer(self) }
}

extension UInt64: ConfigurationValue {
  init?(scalar text: String, isQuoted: Bool) {
    guard !isQuoted, let value = UInt64(text), value <= UInt64(Int64.max) else { return nil }
    self = value
  }
  var json: JSON { .integer(Int(self)) }
}

extension Double: ConfigurationValue {
  /// Digits, a point, an exponent: no hexadecimal, no `nan`.
  init?(scalar text: String, isQuoted: Bool) {
    guard !isQuoted, text.allSatisfy({ $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }),
      let value = Double(text), value.isFinite
    else { return nil }
    self = value
  }
  var json: JSON { .number(self) }
}

extension Bool: ConfigurationValue {
  package static var kind: String { "true or false" }
  package init?(optionText text: String) { self.init(text) }
  package var optionText: String { "\(self)" }
  init?(scalar text: String, isQuoted: Bool) {
    guard !isQuoted, let value = Bool(text.lowercased()) else { return nil }
    self = value
  }
  var json: JSON { .bool(self) }
}

extension String: ConfigurationValue {
  init?(scalar text: String, isQuoted: Bool) { self = text }
  var json: JSON { .string(self) }
}
