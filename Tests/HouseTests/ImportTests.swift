// Imports run downward only: the table of Docs/Architecture.md.

import Testing

/// What each module may import of ours.
private let allowed: [String: Set<String>] = {
  let engine: Set = ["ApusGraph", "ApusOps", "ApusAutodiff", "ApusPasses", "ApusRuntime"]
  let library = engine.union(["ApusNN", "ApusData", "ApusTraining"])
  return [
    "ApusGraph": [],
    "ApusOps": ["ApusGraph", "CKernels"],
    "ApusAutodiff": ["ApusGraph", "ApusOps"],
    "ApusPasses": ["ApusGraph", "ApusOps"],
    "ApusRuntime": ["ApusGraph", "ApusOps", "ApusAutodiff", "ApusPasses", "CKernels"],
    "ApusNN": engine,
    "ApusData": ["ApusGraph", "CZlib"],
    "ApusTraining": engine.union(["ApusNN", "ApusData"]),
    "Apus": library,
    "ApusCommand": library.union(["Apus", "ApusBenchmarks"]),
    "ApusBenchmarks": library.union(["Apus", "CKernels"]),
    "CZlib": [],
  ]
}()

@Suite struct ImportTests {
  @Test func importsRunDownwardOnly() throws {
    let ours = Set(allowed.keys).union(["CKernels"])
    var wrong: [String] = []
    for file in try SourceTree.swiftSources {
      let module =
        file.path.hasPrefix("Benchmarks/")
        ? "ApusBenchmarks" : String(file.path.split(separator: "/")[1])
      let may = try #require(allowed[module], "no row for module \(module)")
      for (number, line) in file.lines.enumerated() {
        guard let imported = line.importedModule, ours.contains(imported), imported != module,
          !may.contains(imported)
        else { continue }
        wrong.append("\(file):\(number + 1): \(module) imports \(imported)")
      }
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  @Test func everyFolderOfSourcesIsInTheTable() throws {
    let missing = try SourceTree.folders(in: "Sources").filter { allowed[$0] == nil }
    #expect(missing.isEmpty)
  }

  @Test func onlyOpsRuntimeAndBenchmarksImportTheKernels() {
    let importers = allowed.filter { $0.value.contains("CKernels") }.keys.sorted()
    #expect(importers == ["ApusBenchmarks", "ApusOps", "ApusRuntime"])
  }
}

extension Substring {
  /// `Foo` of `@_exported public import struct Foo.Bar`.
  fileprivate var importedModule: String? {
    let pattern =
      /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public |internal |package |private )?import (?:struct |class |enum |protocol |func |var |let |typealias )?(\w+)/
    return firstMatch(of: pattern).map { String($0.1) }
  }
}
