// Public declarations are documented, and the pages of Docs/ are in the DocC catalogue.

import Foundation
import Testing

@Suite struct DocumentationTests {
  @Test func everyPublicTypeAndFunctionIsDocumented() throws {
    let requirements = try protocolRequirements
    var undocumented: [String] = []
    var documentedCount = 0
    for file in try SourceTree.swiftSources {
      let lines = file.lines
      var overloads = requirements  // further overloads of a function need no words of their own
      for (number, line) in lines.enumerated() {
        guard let declaration = line.publicTypeOrFunction else { continue }
        if lines[..<number].endsInDocumentation {
          documentedCount += 1
          overloads.insert(declaration.name)
        } else if declaration.kind != "func" || !overloads.contains(declaration.name) {
          undocumented.append("\(file):\(number + 1): \(declaration.kind) \(declaration.name)")
        }
      }
    }
    #expect(undocumented.isEmpty, "\(undocumented.joined(separator: "\n"))")
    #expect(documentedCount > 50)
  }

  @Test func everyPageIsInTheCatalogue() throws {
    // DocC wants a folder named *.docc inside a target, and takes links to files in it.
    let catalogue = SourceTree.root.appending(path: "Sources/Apus/Apus.docc")
    let pages = try SourceTree.files("Docs", suffixes: [".md"])
    #expect(!pages.isEmpty)
    for page in pages {
      let name = String(page.path.dropFirst("Docs/".count))
      let link = catalogue.appending(path: name)
      let isLinked = (try? String(contentsOf: link, encoding: .utf8)) == page.text
      #expect(isLinked, "no link to \(page) at Sources/Apus/Apus.docc/\(name)")
    }
    let linked = try FileManager.default.subpathsOfDirectory(atPath: catalogue.path)
    #expect(linked.filter { $0.hasSuffix(".md") }.count == pages.count)
  }

  /// Blocks of code that start with `// path` are quotations.
  @Test func codeQuotedInPagesIsInTheTree() throws {
    var quotations = 0
    for page in try SourceTree.pages {
      for block in page.codeBlocks {
        guard let first = block.split(separator: "\n").first,
          let match = first.wholeMatch(of: /\/\/ ((?:Sources|CKernels|Tests)\/\S+)/)
        else { continue }
        quotations += 1
        let quoted = block.dropFirst(first.count + 1)
        let isThere = try SourceTree.file(String(match.1)).text.contains(quoted)
        #expect(isThere, "\(page) quotes what \(match.1) does not say:\n\(quoted)")
      }
    }
    #expect(quotations > 5)
  }

  /// Functions that implement a requirement are documented at the protocol, of ours or the library's.
  private var protocolRequirements: Set<String> {
    get throws {
      var names: Set = ["encode", "hash", "next", "makeIterator", "callAsFunction", "index"]
      for file in try SourceTree.swiftSources {
        var inside = false
        for line in file.lines {
          if line.contains(/^(?:public )?protocol\s/) { inside = true }
          if line.hasPrefix("}") { inside = false }
          guard inside, let match = line.firstMatch(of: /^\s+(?:mutating )?(?:static )?func (\w+)/)
          else { continue }
          names.insert(String(match.1))
        }
      }
      return names
    }
  }
}

extension Substring {
  /// The kind and name of what a line declares publicly; operators are their own description.
  fileprivate var publicTypeOrFunction: (kind: String, name: String)? {
    let pattern =
      /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public|open) (?:final |static |mutating |nonisolated |indirect |class )*(struct|class|enum|protocol|actor|func) (\w+)/
    return firstMatch(of: pattern).map { (String($0.1), String($0.2)) }
  }
}

extension ArraySlice<Substring> {
  /// Whether the last line, attributes set aside, is a documentation comment.
  fileprivate var endsInDocumentation: Bool {
    let line = last { !$0.contains(/^\s*@\w+/) }
    return line.map { $0.contains(/^\s*\/\/\//) } ?? false
  }
}
