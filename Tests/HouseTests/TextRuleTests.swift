// Rules of all files: length, leftovers, paths of someone's machine, what may stand at the top.

import Foundation
import Testing

@Suite struct TextRuleTests {
  @Test func filesAreAtMost500Lines() throws {
    for file in try SourceTree.swiftSources + SourceTree.cSources {
      #expect(file.lines.count <= 501, "\(file) has \(file.lines.count) lines")
    }
  }

  @Test func nothingIsLeftForLater() throws {
    // A gap is closed, or is a page in Docs/Decisions.
    let words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]
    for file in try everything where words.contains(where: file.text.contains) {
      for (number, line) in file.lines.enumerated() where words.contains(where: line.contains) {
        Issue.record("\(file):\(number + 1): \(line)")
      }
    }
  }

  @Test func noFileNamesAPathOfOneMachine() throws {
    let folders = ["work", "root", "home", "opt", "Users"].map { "/\($0)" + "/" }
    let paths = try Regex("(^|[^\\w.])/(work|root|home|opt|Users)" + "/\\w")
    for file in try everything where folders.contains(where: file.text.contains) {
      for (number, line) in file.lines.enumerated() where line.contains(paths) {
        Issue.record("\(file):\(number + 1): \(line)")
      }
    }
  }

  @Test func onlyTheFixedEntriesStandAtTheTop() throws {
    let listing = try run(["git", "ls-files"], in: SourceTree.root)
    try #require(listing.status == 0, "\(listing.output)")
    let entries = Set(
      listing.output.split(separator: "\n").map { String($0.split(separator: "/")[0]) })
    let expected: Set = [
      "Package.swift", "CKernels", "Sources", "Tests", "Benchmarks", "Docs", "README.md", "LICENSE",
      "Makefile", ".ci", ".gitignore", ".swift-format", ".clang-format",
    ]
    #expect(entries.subtracting(expected).isEmpty)
  }

  private var everything: [SourceFile] {
    get throws {
      try SourceTree.swiftSources + SourceTree.cSources + SourceTree.tests + SourceTree.pages
        + SourceTree.files(".ci", suffixes: [""])
        + SourceTree.files("Benchmarks", suffixes: [".py", ".md", ".txt", ".json"])
        + [SourceTree.file("Package.swift"), SourceTree.file("Makefile")]
    }
  }
}
