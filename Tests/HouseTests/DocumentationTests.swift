// Declarations seen outside their module are documented, and the pages of Docs/ are in the DocC catalogue.

import Foundation
import Testing

@Suite struct DocumentationTests {
  @Test func everyTypeAndFunctionThatLeavesItsModuleIsDocumented() throws {
    let files = try SourceTree.swiftSources
    let declarations = files.flatMap(\.publicDeclarations)
    let documented = Set(declarations.filter(\.isDocumented).map(\.key))
    #expect(documented.count > 50)
    let requirements = try protocolRequirements
    let undocumented = declarations.filter { declaration in
      // Further overloads of a function need no words of their own, nor do requirements.
      let isFunction = declaration.kind == "func"
      return !declaration.isDocumented
        && !(isFunction && requirements.contains(declaration.name))
        && !(isFunction && documented.contains(declaration.key))
    }
    #expect(
      undocumented.isEmpty,
      "\(undocumented.map { "\($0.place): \($0.kind) \($0.name)" }.joined(separator: "\n"))")
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
      var names: Set = [
        "encode", "hash", "next", "makeIterator", "callAsFunction", "index",
        "buildBlock", "buildExpression", "buildOptional", "buildEither", "buildArray",
        "buildFinalResult", "buildPartialBlock",
      ]
      for file in try SourceTree.swiftSources {
        var inside = false
        for line in file.lines {
          if line.contains(/^(?:(?:public|package) )?protocol\s/) { inside = true }
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

/// A public type or function, as the text has it. Operators are their own description.
private struct PublicDeclaration {
  let kind, name, place, module: String
  let isDocumented: Bool

  var key: String { "\(module).\(kind).\(name)" }
}

extension SourceFile {
  fileprivate var publicDeclarations: [PublicDeclaration] {
    let pattern =
      /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public|package|open) (?:final |static |mutating |nonisolated |indirect |class )*(struct|class|enum|protocol|actor|func) (\w+)/
    let lines = lines
    return lines.enumerated().compactMap { number, line in
      guard line.contains("public ") || line.contains("package ") || line.contains("open "),
        let match = line.firstMatch(of: pattern)
      else { return nil }
      let above = lines[..<number].last { !$0.contains(/^\s*@\w+/) }
      return PublicDeclaration(
        kind: String(match.1), name: String(match.2), place: "\(path):\(number + 1)",
        module: path.split(separator: "/").dropLast().prefix(2).joined(separator: "/"),
        isDocumented: above?.contains(/^\s*\/\/\//) ?? false)
    }
  }
}
