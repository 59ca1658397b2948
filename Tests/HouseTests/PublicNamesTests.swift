// What `import Apus` gives a user: the names stand in PublicNames.txt, so that a new one is a decision.

import Foundation
import Testing

@Suite struct PublicNamesTests {
  private static let list = "Tests/HouseTests/PublicNames.txt"

  @Test func publicNamesAreThoseOfTheList() throws {
    let listed = Set(
      try SourceTree.file(Self.list).lines.filter { !$0.isEmpty && !$0.hasPrefix("#") }
        .map(String.init))
    let found = Set(try names.map(\.line))
    #expect(found.count > 100)
    let new = found.subtracting(listed).sorted().joined(separator: "\n")
    let gone = listed.subtracting(found).sorted().joined(separator: "\n")
    #expect(
      new.isEmpty, "public, not in \(Self.list) (a user's word? else make it `package`):\n\(new)")
    #expect(gone.isEmpty, "in \(Self.list), but not public:\n\(gone)")
  }

  @Test func noTwoPublicNamesOfAKindDifferByCaseOnly() throws {
    let groups = Dictionary(
      grouping: Set(try names.map { "\($0.isType ? "type" : "function") \($0.name)" }),
      by: { $0.lowercased() })
    let twins = groups.values.filter { $0.count > 1 }
    #expect(twins.isEmpty, "\(twins)")
  }

  @Test func noTwoModulesHaveAPublicTypeOfOneName() throws {
    let types = Dictionary(grouping: try names.filter(\.isType), by: \.name)
    let clashes = types.filter { Set($0.value.map(\.module)).count > 1 }
    #expect(clashes.isEmpty, "\(clashes.keys.sorted())")
  }

  /// A finder that overlooks a way of declaring something would let it pass for ever.
  @Test func everyWayOfDeclaringANameIsFound() {
    let file = SourceFile(
      path: "Sources/ApusGraph/Sample.swift",
      text: """
        public struct A: Sendable {
          public indirect enum B { case c }
          package struct Hidden {}
          public func member() {}
        }
        @frozen public final class D {}
        @resultBuilder public enum E {}
        extension A.B {
          public typealias F = Int
        }
        public func `where`(_ x: A) {}
        public let g = 1
        public nonisolated(unsafe) var h = 1
        @discardableResult
        public func i() {}
        package func hidden() {}
        """)
    #expect(
      file.publicNames.map(\.line) == [
        "ApusGraph struct A", "ApusGraph enum A.B", "ApusGraph class D", "ApusGraph enum E",
        "ApusGraph typealias A.B.F", "ApusGraph func where", "ApusGraph let g", "ApusGraph var h",
        "ApusGraph func i",
      ])
  }

  /// Those of the modules that a user imports; the command and the benchmarks are not among them.
  private var names: [PublicName] {
    get throws {
      try SourceTree.files("Sources", suffixes: [".swift"]).filter {
        !$0.path.hasPrefix("Sources/ApusCommand/")
      }.flatMap(\.publicNames)
    }
  }
}

/// A public type, at any depth, or a public function or variable outside any type.
private struct PublicName {
  let module, kind, name: String

  var isType: Bool { !["func", "let", "var"].contains(kind) }
  var line: String { "\(module) \(kind) \(name)" }
}

extension SourceFile {
  /// In the order of the text. Two spaces an inner level: `make lint` sees to it.
  fileprivate var publicNames: [PublicName] {
    let opening =
      /^( *)(?:@\w+(?:\([^)]*\))? )*(?:(public|open|package|internal|private|fileprivate) )?(?:(?:final|indirect|static|nonisolated|nonisolated\(unsafe\)) )*(struct|class|enum|protocol|actor|typealias|extension|func|let|var) `?([\w.]+)`?/
    var outer: [(depth: Int, name: String)] = []
    var names: [PublicName] = []
    for line in lines {
      guard let match = line.firstMatch(of: opening) else { continue }
      let depth = match.1.count / 2, kind = String(match.3)
      let isType = !["func", "let", "var"].contains(kind)
      outer.removeAll { $0.depth >= depth }
      let name = (outer.map(\.name) + [String(match.4)]).joined(separator: ".")
      if isType { outer.append((depth, String(match.4))) }
      guard match.2 == "public" || match.2 == "open", isType || depth == 0 else { continue }
      names.append(
        PublicName(
          module: String(path.split(separator: "/")[1]), kind: kind, name: name))
    }
    return names
  }
}
