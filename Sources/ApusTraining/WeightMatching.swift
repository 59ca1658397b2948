// Which array of a file is which state of a model.

import ApusData
import ApusGraph
import ApusNN

/// A file's arrays beside a model's states: what fits, and what does not. Nothing is changed by looking.
struct WeightMatching {
  let file: SafetensorsFile
  let tree: ModelTree
  let isStrict: Bool
  let layout: WeightLayout
  private(set) var report = LoadReport()
  /// The states to be set, with their new values.
  private(set) var found: [(state: ModelState, array: NDArray)] = []
  /// The names in the file by what they are called in the model.
  private var stored: [ByteName: String] = [:]
  private let exceptions: [(text: String, pattern: PathPattern)]

  /// - Throws: as `Module.load`.
  init(
    _ file: SafetensorsFile, _ tree: ModelTree, isStrict: Bool, layout: WeightLayout,
    renaming: KeyValuePairs<String, String>, except: [String]
  ) throws {
    self.file = file
    self.tree = tree
    self.isStrict = isStrict
    self.layout = layout
    exceptions = except.map { ($0, PathPattern($0)) }
    // A checkpoint has the slots and keys of its steps besides.
    let index = try? CheckpointIndex(file)
    let others = Set((index?.arrays ?? []) + (index?.others ?? []))
    let names = file.names.filter { !others.contains($0) }
    try rename(names, renaming)
    try checkExceptions()
    let known = Set(tree.places.map { ByteName($0.path) })
    for (path, name) in stored where !known.contains(path) {
      if isExcepted(path.text) {
        report.excepted.append(name)
      } else {
        report.unexpected.append(name)
      }
    }
    report.unexpected.sort()
    report.excepted.sort()
    try match()
    if isStrict { try report.requireComplete(at: file.path) }
    if found.isEmpty, let first = report.mismatched.first {
      throw ApusError(
        .shapeMismatch, "no array of the file has the shape of the model's: \(first)",
        at: file.path, expected: "weights of a model that has a part in common with this one")
    }
  }

  private mutating func rename(
    _ names: [String], _ renaming: KeyValuePairs<String, String>
  ) throws {
    var used = Set<String>()
    for name in names {
      var path = name
      if let (key, value) = renaming.first(where: { name.hasPrefix($0.key) }) {
        used.insert(key)
        path = value + name.dropFirst(key.count)
      }
      if let other = stored.updateValue(name, forKey: ByteName(path)) {
        throw ApusError(
          .invalidArgument, "'\(other)' and '\(name)' are both named '\(path)'", at: file.path,
          expected: "prefixes that give each array a name of its own")
      }
    }
    if let unused = renaming.first(where: { !used.contains($0.key) }) {
      throw ApusError(
        .missing, "no array's name begins with '\(unused.key)', or an earlier prefix takes it",
        at: file.path, expected: names.nearest(to: unused.key).joined(separator: ", "))
    }
  }

  private func isExcepted(_ path: String) -> Bool {
    exceptions.contains { $0.pattern.matches(path) }
  }

  /// - Throws: `missing` for a pattern that matches nothing on either side.
  private func checkExceptions() throws {
    for (text, pattern) in exceptions
    where !tree.places.contains(where: { pattern.matches($0.path) })
      && !stored.keys.contains(where: { pattern.matches($0.text) })
    {
      throw ApusError(
        .missing, "no path of the model or the file matches '\(text)'", at: file.path,
        expected: tree.states.map(\.path).nearest(to: text).joined(separator: ", "))
    }
  }

  private mutating func match() throws {
    var aliases: [ObjectIdentifier: [String]] = [:]
    for place in tree.places {
      aliases[ObjectIdentifier(place.state), default: []].append(place.path)
    }
    for (path, state) in tree.states {
      let own = aliases[ObjectIdentifier(state)] ?? [path]
      if own.contains(where: isExcepted) {
        report.excepted.append(path)
        continue
      }
      guard let name = own.compactMap({ stored[ByteName($0)] }).first,
        let entry = file.entry(name)
      else {
        report.missing.append(path)
        continue
      }
      guard try checkShape(of: entry, path, state) else { continue }
      let array = try layout.loaded(file.array(name), state.shape)
      if array.dtype != state.type.dtype {
        guard array.dtype.isFloat == state.type.dtype.isFloat else {
          throw ApusError(
            .dtypeMismatch, "\(state.kind) '\(path)' is \(array.type) in the file", at: file.path,
            expected: "\(state.type)")
        }
        report.converted.append("\(path) (\(array.dtype) to \(state.type.dtype))")
      }
      found.append((state, array.cast(to: state.type.dtype)))
      report.loaded.append(path)
    }
  }

  /// Whether the array has the state's shape. Where it has another, and not all has to fit, that is reported.
  ///
  /// - Throws: `shapeMismatch` where all has to fit, and where the other layout would.
  private mutating func checkShape(
    of entry: SafetensorsFile.Entry, _ path: String, _ state: ModelState
  ) throws -> Bool {
    let wanted = layout.stored(state.shape)
    if entry.shape == wanted { return true }
    let other = WeightLayout.allCases.first { $0.stored(state.shape) == entry.shape }
    guard isStrict || other != nil else {
      report.mismatched.append("\(path) (\(entry.shape) in the file, \(wanted) in the model)")
      return false
    }
    throw ApusError(
      .shapeMismatch, "\(state.kind) '\(path)' has shape \(entry.shape) in the file",
      at: file.path,
      expected: "\(wanted), or "
        + (other.map { "layout: .\($0.rawValue)" }
          ?? "except: [\"\(path)\"] for one that keeps its own"))
  }
}
