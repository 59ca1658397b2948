// The user's book: every example on its pages is code that a test runs.

import Foundation
import Testing

@Suite struct BookTests {
  static let pages = [
    "GettingStarted", "FirstModel", "LayersAndShapes", "Recurrent", "Data", "ALoopOfYourOwn",
    "Optimizers", "SavingLoadingResuming", "Records", "TransferLearning", "Transformers", "Text",
    "Language", "Pictures",
    "PrecisionAndSpeed",
    "DebuggingAWrongModel", "FromPyTorch",
  ]

  @Test func theBookIsWhatTheCatalogueListsFirst() throws {
    let list = try SourceTree.file("Docs/Apus.md").text
    let section = try #require(list.firstMatch(of: /### Using it\n\n((?:- .*\n)+)/)).1
    #expect(section.matches(of: /<doc:(\w+)>/).map { String($0.1) } == Self.pages)
  }

  /// A block stands in the test of the page's name, line for line, at whatever depth. Imports
  /// stand at the top of that file.
  @Test(arguments: pages) func everyExampleIsCodeThatATestRuns(page: String) throws {
    let tested = try SourceTree.file("Tests/Book/\(page).swift").text
    let isFromOutside = tested.contains("import Apus\n") && !tested.contains("@testable")
    #expect(isFromOutside, "the examples see what users see")
    let blocks = try Self.blocks(of: "Docs/\(page).md")
    #expect(!blocks.isEmpty)
    for block in blocks {
      let isTested = Self.stands(block, in: tested)
      #expect(isTested, "Tests/Book/\(page).swift does not have\n\(block)")
    }
  }

  @Test func theReadmesProgramIsCodeThatATestRuns() throws {
    let tested = try SourceTree.file("Tests/Book/GettingStarted.swift").text
    let programs = try Self.blocks(of: "README.md").filter { $0.contains("Trainer(") }
    #expect(programs.count == 1 && programs.allSatisfy { Self.stands($0, in: tested) })
  }

  /// What a page of names translates to is used by its test. (Swift wants `where` in backticks.)
  @Test func everyNameForPyTorchsIsUsedInATest() throws {
    let tested = try SourceTree.file("Tests/Book/FromPyTorch.swift").text.replacing("`", with: "")
    let page = try SourceTree.file("Docs/FromPyTorch.md")
    var names = 0
    for line in page.lines where line.hasPrefix("| ") && line.contains("`") {
      let cells = line.components(separatedBy: " | ")
      for match in (cells.last ?? "").matches(of: /`([^`]+)`/) {
        let name = String(match.1)
        guard !name.contains("…") else { continue }
        names += 1
        let isUsed = tested.contains(name)
        #expect(isUsed, "Tests/Book/FromPyTorch.swift does not use \(name)")
      }
    }
    #expect(names > 60)
  }

  /// Each promise about weights is held by tests that exist.
  @Test func everyPromiseNamesTestsThatExist() throws {
    let page = try SourceTree.file("Docs/Promises.md")
    var promises = 0
    for line in page.lines where line.hasPrefix("| ") && line.contains("Tests/") {
      promises += 1
      let cells = line.components(separatedBy: " | ")
      let file = try #require((cells.last ?? "").firstMatch(of: /`(Tests\/[\w\/]+\.swift)`/))
      let text = try SourceTree.file(String(file.1)).text
      let names = (cells.last ?? "").matches(of: /`(\w+)`/).map { String($0.1) }
      #expect(!names.isEmpty, "\(line)")
      for name in names {
        let isThere = text.contains("func \(name)(")
        #expect(isThere, "\(file.1) has no \(name)")
      }
    }
    #expect(promises > 20)
  }

  /// The Swift blocks of a page, without imports.
  private static func blocks(of page: String) throws -> [String] {
    try SourceTree.file(page).text.matches(of: /(?m)^```swift\n([\s\S]*?)^```$/).map {
      $0.1.split(separator: "\n", omittingEmptySubsequences: false)
        .filter { !$0.hasPrefix("import ") }.joined(separator: "\n")
        .trimmingCharacters(in: .newlines)
    }
  }

  /// Whether the lines follow each other in a text, all indented by the same.
  static func stands(_ block: String, in text: String) -> Bool {
    func lines(_ text: String) -> [Substring] {
      text.split(separator: "\n", omittingEmptySubsequences: false)
    }
    let wanted = lines(block), all = lines(text)
    guard let first = wanted.first, wanted.count <= all.count else { return false }
    return all.indices.dropLast(wanted.count - 1).contains { start in
      guard all[start].hasSuffix(first) else { return false }
      let indent = all[start].dropLast(first.count)
      guard indent.allSatisfy({ $0 == " " }) else { return false }
      return zip(wanted, all[start...]).allSatisfy { $0.isEmpty ? $1.isEmpty : $1 == indent + $0 }
    }
  }
}
