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

  /// The first column of the page's tables.
  private var documentedNames: Set<String> {
    get throws {
      let page = try SourceTree.file("Docs/Environment.md").text
      return Set(page.matches(of: /(?m)^\| `([A-Z_0-9]+)`/).map { String($0.1) })
    }
  }

  private var readNames: [String: String] {
    get throws {
      let scripts = try [
        "Makefile", "Package.swift", ".ci/run", ".ci/test", ".ci/setup", ".ci/format", ".ci/docs",
        ".ci/sanitize",
      ].map(SourceTree.file)
      let files =
        try SourceTree.swiftSources + SourceTree.cSources + scripts
        + SourceTree.tests.filter { !$0.path.hasPrefix("Tests/HouseTests/") }
        + SourceTree.files("Benchmarks", suffixes: [".py"])
      var names: [String: String] = [:]
      for file in files {
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
