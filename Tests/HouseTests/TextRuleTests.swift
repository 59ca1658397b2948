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

  /// Words at the top of every file, before any code: "Rounding down." will do.
  @Test func everyFileOpensWithACommentThatSaysWhatItIs() throws {
    let listing = try run(
      ["git", "ls-files", "--cached", "--others", "--exclude-standard"], in: SourceTree.root)
    try #require(listing.status == 0, "\(listing.output)")
    let paths = listing.output.split(separator: "\n").map(String.init).filter { path in
      [".swift", ".c", ".h", ".inc", ".py", ".modulemap"].contains(where: path.hasSuffix)
        || path.hasPrefix(".ci/") || path == "Makefile"
    }
    #expect(paths.count > 300)
    for path in paths {
      guard let file = try? SourceTree.file(path) else { continue }  // deleted, not yet committed
      let isOpened = Self.openingWords(of: file) >= 2
      #expect(isOpened, "\(path) does not open with a comment that says what it is")
    }
  }

  /// How many words the comment at the very top has. What tools ask for there is no comment.
  private static func openingWords(of file: SourceFile) -> Int {
    let lines = file.lines.drop {
      $0.hasPrefix("#!") || $0.hasPrefix("// swift-tools-version") || $0.isEmpty
    }
    let isScript = !file.path.contains(/\.(swift|c|h|inc|modulemap)$/)
    let text: Substring
    if let first = lines.first, isScript && first.hasPrefix("\"\"\"") {
      text = first
    } else {
      let mark = isScript ? "#" : "//"
      text = lines.prefix { $0.hasPrefix(mark) }.joined(separator: " ")[...]
    }
    return text.matches(of: /[A-Za-z]{2,}/).count
  }

  @Test func onlyTheFixedEntriesStandAtTheTop() throws {
    let listing = try run(["git", "ls-files"], in: SourceTree.root)
    try #require(listing.status == 0, "\(listing.output)")
    let entries = Set(
      listing.output.split(separator: "\n").map { String($0.split(separator: "/")[0]) })
    let expected: Set = [
      "Package.swift", "CKernels", "Sources", "Tests", "Benchmarks", "Docs", "README.md", "LICENSE",
      "Makefile", "findings", ".ci", ".gitignore", ".swift-format", ".clang-format",
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
