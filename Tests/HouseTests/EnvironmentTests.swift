// Every environment variable that anything here reads stands in Docs/Environment.md, and the other
// way round.

import Testing

@Suite struct EnvironmentTests {
  @Test func everyVariableReadIsDocumented() throws {
    let documented = try documentedNames
    for (name, place) in try readNames where !documented.contains(name) {
      Issue.record("\(place) reads \(name), which Docs/Environment.md lacks")
    }
  }

  @Test func everyVariableDocumentedIsRead() throws {
    let documented = try documentedNames
    #expect(documented.count > 5)
    for name in documented {
      // In code as a literal; in a script or the manifest as `$NAME` or an assignment to it.
      let literal = "\"\(name)\""
      let mention = try Regex("(?m)^[^#\n]*(\\$\\{?\(name)\\b|\\b\(name)=)")
      let isRead =
        try code.contains { $0.textWithoutComments.contains(literal) }
        || scripts.contains { $0.text.contains(mention) }
      #expect(isRead, "Docs/Environment.md promises \(name), which nothing reads")
    }
  }

  /// The first column of the page's tables.
  private var documentedNames: Set<String> {
    get throws {
      let page = try SourceTree.file("Docs/Environment.md").text
      return Set(page.matches(of: /(?m)^\| `([A-Z_0-9]+)`/).map { String($0.1) })
    }
  }

  private var scripts: [SourceFile] {
    get throws {
      try [SourceTree.file("Makefile")] + SourceTree.files(".ci", suffixes: [""])
    }
  }

  /// All that is compiled or interpreted, but for these tests, which quote names.
  private var code: [SourceFile] {
    get throws {
      try SourceTree.swiftSources + SourceTree.cSources + [SourceTree.file("Package.swift")]
        + SourceTree.tests.filter { !$0.path.hasPrefix("Tests/HouseTests/") }
        + SourceTree.files("Benchmarks", suffixes: [".py"])
    }
  }

  private var readNames: [String: String] {
    get throws {
      var names: [String: String] = [:]
      for file in try code + scripts {
        for match in file.text.matches(of: /\b(APUS_[A-Z0-9_]+|OMP_NUM_THREADS)\b/) {
          names[String(match.1)] = file.path
        }
        let reads = /(?:getenv\(|environ(?:ment)?\[|environment\()\s*"([A-Z0-9_]+)"/
        for match in file.text.matches(of: reads) { names[String(match.1)] = file.path }
      }
      return names
    }
  }
}

extension SourceFile {
  /// The text without what follows `//` or, in Python, `#`.
  fileprivate var textWithoutComments: String {
    path.hasSuffix(".py")
      ? text.replacing(/#[^\n]*/, with: "") : text.replacing(/\/\/[^\n]*/, with: "")
  }
}
