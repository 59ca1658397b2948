// Imports run downward only, and Package.swift declares what is imported, no less and no more.

import Testing

/// The modules of the library and the command, each above all that it may import.
private let floors =
  foundations + [
    "ApusGraph", "ApusOps", "ApusAutodiff", "ApusPasses", "ApusRuntime", "ApusNN", "ApusData",
    "ApusImages", "ApusText", "ApusTraining", "Apus", "ApusLanguage", "ApusMPI", "ApusRecipes",
    "ApusBenchmarks", "ApusCommand",
  ]

/// Those that have no Swift.
private let foundations = [
  "CKernels", "CZlib", "CPNG", "CJPEG", "CImageCodecs", "COniguruma", "CText", "CMPI",
]

@Suite struct ImportTests {
  @Test func importsRunDownwardOnly() throws {
    var wrong: [String] = []
    for file in try SourceTree.swiftSources {
      let floor = try #require(
        floors.firstIndex(of: file.module), "no floor for module \(file.module)")
      for (number, line) in file.lines.enumerated() {
        guard let imported = line.importedModule, let other = floors.firstIndex(of: imported),
          other > floor
        else { continue }
        wrong.append("\(file):\(number + 1): \(file.module) imports \(imported)")
      }
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
  }

  @Test func dependenciesDeclaredAreTheModulesImported() throws {
    let package = try SourceTree.file("Package.swift").text
    var imported: [String: Set<String>] = [:]
    for file in try SourceTree.swiftSources {
      imported[file.module, default: []].formUnion(
        file.lines.compactMap(\.importedModule).filter { floors.contains($0) })
    }
    #expect(imported.count == floors.count - foundations.count)
    for (module, modules) in imported {
      let target = try #require(package.dependencies(of: module), "\(module) is no target")
      #expect(target == modules.subtracting([module]), "\(module) declares what it does not import")
    }
  }

  @Test func everyFolderOfSourcesHasAFloor() throws {
    let missing = try SourceTree.folders(in: "Sources").filter { !floors.contains($0) }
    #expect(missing.isEmpty)
  }

  /// Ops bind them, the runtime runs them, data sets convert bytes by them.
  @Test func onlyOpsRuntimeDataAndBenchmarksImportTheKernels() throws {
    let importers = try SourceTree.swiftSources.filter {
      $0.lines.contains { $0.importedModule == "CKernels" }
    }.map(\.module)
    #expect(Set(importers) == ["ApusBenchmarks", "ApusData", "ApusOps", "ApusRuntime"])
  }
}

extension SourceFile {
  fileprivate var module: String {
    path.hasPrefix("Benchmarks/") ? "ApusBenchmarks" : String(path.split(separator: "/")[1])
  }
}

extension String {
  /// What a target of Package.swift depends on of ours, nil where there is no such target.
  fileprivate func dependencies(of target: String) -> Set<String>? {
    guard
      let declaration = try? Regex(
        #"\.(?:executableT|t)arget\(\s*name: "\#(target)"(?:, dependencies|,\s*dependencies)?:? ?(\[[^\]]*\])?"#
      ),
      let match = firstMatch(of: declaration)
    else { return nil }
    let names = match[1].substring?.matches(of: /"(\w+)"/).map { String($0.1) } ?? []
    return Set(names.filter { floors.contains($0) })
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
