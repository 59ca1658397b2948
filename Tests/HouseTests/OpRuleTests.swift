// One op, one file, one line in OpSet, one spec. (The specs are run by ApusOpsTests.)

import Testing

@Suite struct OpRuleTests {
  @Test func everyOpOfTheOpSetIsDeclaredInAFileOfOps() throws {
    let sources = try SourceTree.files("Sources/ApusOps", suffixes: [".swift"])
      .map(\.text).joined(separator: "\n")
    let ops = try listedOps
    #expect(ops.count > 5)
    for op in ops {
      let declaration = try Regex("package (struct|enum) \(op)\\b")
      #expect(sources.contains(declaration), "no declaration of \(op)")
    }
  }

  @Test func everyOpOfTheOpSetHasASpecLine() throws {
    let specs = try SourceTree.files("Tests/ApusOpsTests", suffixes: [".swift"])
      .map(\.text).joined(separator: "\n")
    for op in try listedOps {
      let mention = try Regex("\\b\(op)\\b[.(<]")
      #expect(specs.contains(mention), "no spec of \(op) in Tests/ApusOpsTests")
    }
  }

  @Test func everyOpDeclaredIsInTheOpSet() throws {
    let listed = Set(try listedOps)
    for file in try SourceTree.swiftSources where file.path.hasPrefix("Sources/ApusOps/") {
      for match in file.text.matches(of: /package struct (\w+)(?:<[^>]*>)?: [^{]*\b\w*Op\b[^{]*\{/)
      {
        #expect(listed.contains(String(match.1)), "\(file): \(match.1) is not in OpSet.swift")
      }
    }
  }

  private var listedOps: [String] {
    get throws {
      let text = try SourceTree.file("Sources/ApusOps/OpSet.swift").text
      return text.matches(of: /(?m)^\s+(\w+)(?:<\w+>)?\.self,/).map { String($0.1) }
    }
  }
}
