// What packages of Debian are, in a line and at length, as apt's index has it:
//
//     Package: 0ad
//     Description-md5: d943033bedada21853d2ae54a2578a7b
//     Description-en: Real-time strategy game of ancient warfare
//      0 A.D. (pronounced "zero ey-dee") is a free, open-source, cross-platform
//      real-time strategy (RTS) game of ancient warfare. In short, it is a
//      .
//      This package contains …
//
// An empty line ends a package; a line of one point begins a paragraph.

import Apus

/// A package and its two descriptions.
struct PackageDescription: Equatable, Sendable {
  var name: String
  /// One line.
  var summary: String
  /// All that follows, as one line.
  var text: String
}

enum PackageDescriptions {
  /// The packages of a file that have both descriptions, each pair of them once, in the order of the file.
  ///
  /// - Throws: `io` where it cannot be read; `invalidFile` where it has no such package, or a description without one.
  static func read(_ path: String) throws -> [PackageDescription] {
    try parse(TextFile.bytes(path, expected: expectation), path: path)
  }

  private static let expectation = "apt's index of descriptions, Translation-en"

  /// As ``read(_:)``, of bytes; `path` names them in errors.
  static func parse(_ bytes: [UInt8], path: String) throws -> [PackageDescription] {
    var packages: [PackageDescription] = []
    var seen: Set<String> = []
    var name: String?
    var summary: String?
    var words: [String] = []
    func end() {
      let text = words.joined(separator: " ")
      if let name, let summary, !summary.isEmpty, !text.isEmpty,
        seen.insert("\(summary)\n\(text)").inserted
      {
        packages.append(PackageDescription(name: name, summary: summary, text: text))
      }
      (name, summary, words) = (nil, nil, [])
    }
    let (nameKey, summaryKey) = (Array("Package: ".utf8), Array("Description-en: ".utf8))
    for (number, line) in bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
      .enumerated()
    {
      func rest(_ key: [UInt8]) -> String {
        Self.words(line.dropFirst(key.count)).joined(separator: " ")
      }
      if line.isEmpty {
        end()
      } else if line.starts(with: nameKey) {
        end()
        name = rest(nameKey)
      } else if line.starts(with: summaryKey) {
        guard name != nil else {
          throw ApusError(
            .invalidFile, "a description belongs to no package", at: "\(path), line \(number + 1)",
            expected: expectation)
        }
        summary = rest(summaryKey)
      } else if line[line.startIndex] == 0x20, summary != nil {
        let found = Self.words(line)
        if found != ["."] { words += found }
      }
    }
    end()
    guard !packages.isEmpty else {
      throw ApusError(
        .invalidFile, "the file describes no packages", at: path, expected: expectation)
    }
    return packages
  }

  private static func words(_ line: ArraySlice<UInt8>) -> [String] {
    line.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x0d }.map {
      String(decoding: $0, as: UTF8.self)
    }
  }

  // MARK: Learning and judging

  /// Pairs of long and short descriptions. Packages that are alike stay on one side; of those that are held out one of
  /// each kind is kept.
  ///
  /// Alike are packages whose names have one stem and those whose texts begin with the same words, and what is alike to
  /// one of them. Which kinds are held out, and which pairs are learnt where there are more than `most`, is told by their
  /// names alone.
  static func split(
    _ packages: [PackageDescription], held: Int = 20, most: Int = .max
  ) -> PairedTexts {
    let long = packages.filter { $0.text.utf8.count >= 100 }
    let kinds = kinds(long)
    var sizes: [Int: Int] = [:]
    for kind in kinds { sizes[kind, default: 0] += 1 }
    var training: [PackageDescription] = []
    var test: [TextPair] = []
    for (place, package) in long.enumerated() {
      let kind = kinds[place]
      // A kind of many packages, such as all parts of one large program, is learnt.
      if sizes[kind]! <= 50, hash(long[kind].name) % UInt64(held) == 0 {
        if kind == place { test.append(pair(package)) }
      } else {
        training.append(package)
      }
    }
    if training.count > most {
      // By a hash, and back in the order of the file.
      let limit = training.map { hash($0.name) }.sorted()[most]
      training.removeAll { hash($0.name) >= limit }
    }
    return PairedTexts(training: training.map(pair), test: test)
  }

  private static func pair(_ package: PackageDescription) -> TextPair {
    TextPair(source: package.text, target: package.summary)
  }

  /// For each package the place of the first that is alike to it.
  private static func kinds(_ packages: [PackageDescription]) -> [Int] {
    var kinds = Array(packages.indices)
    func first(_ place: Int) -> Int {
      var place = place
      while kinds[place] != place {
        kinds[place] = kinds[kinds[place]]
        place = kinds[place]
      }
      return place
    }
    var seen: [String: Int] = [:]
    for (place, package) in packages.enumerated() {
      let beginning = package.text.split(separator: " ").prefix(8).joined(separator: " ")
      for key in ["name \(stem(package.name))", "text \(beginning)"] {
        guard let other = seen[key] else {
          seen[key] = place
          continue
        }
        let (a, b) = (first(other), first(place))
        kinds[max(a, b)] = min(a, b)
      }
    }
    return kinds.indices.map(first)
  }

  /// A name without what tells the parts of one program apart: `libfoo2-dev` and `foo-doc` are both `foo`.
  static func stem(_ name: String) -> String {
    var parts = name.split(separator: "-").map(String.init)
    if parts.isEmpty { return name }
    while parts.count > 1, endings.contains(parts.last!) || parts.last!.allSatisfy(isVersion) {
      parts.removeLast()
    }
    while parts.count > 1, beginnings.contains(parts[0]) { parts.removeFirst() }
    if parts[0].hasPrefix("lib"), parts[0].count > 5 { parts[0].removeFirst(3) }
    let last = parts.last!
    let bare = last.reversed().drop(while: isVersion).reversed()
    if bare.count > 1 { parts[parts.count - 1] = String(bare) }
    return parts.joined(separator: "-")
  }

  private static func isVersion(_ character: Character) -> Bool {
    character.isNumber || character == "." || character == "+"
  }

  private static let endings: Set<String> = [
    "all", "base", "bin", "client", "common", "core", "data", "dbg", "dev", "doc", "examples",
    "extra",
    "gtk", "gui", "headers", "java", "plugin", "plugins", "server", "source", "static", "tests",
    "tools",
    "utils",
  ]
  private static let beginnings: Set<String> = ["python", "python2", "python3", "ruby", "node"]

  /// FNV-1a.
  static func hash(_ name: String) -> UInt64 {
    name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}
