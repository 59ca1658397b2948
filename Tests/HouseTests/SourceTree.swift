// The project's own files, as the tests of this target read them.
//
// These tests look at text, not at behaviour: they hold the house to the rules that no compiler
// checks. Each names the file and the line, so that mending is quick.

import Foundation

/// A source file: where it stands and what it says.
struct SourceFile: Sendable, CustomStringConvertible {
  /// From the project's root, `Sources/ApusGraph/Graph.swift`.
  let path: String
  let text: String

  var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
  var name: String {
    String(path[(path.lastIndex(of: "/").map(path.index(after:)) ?? path.startIndex)...])
  }
  var description: String { path }

  /// The fenced blocks of a page, with the newline that ends each line.
  var codeBlocks: [String] {
    text.matches(of: /(?m)^```\w*\n([\s\S]*?)^```$/).map { String($0.1) }
  }
}

/// The project's folder and what stands in it.
enum SourceTree {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// The files below the folders whose names end in one of the suffixes, sorted by path.
  static func files(_ folders: String..., suffixes: [String]) throws -> [SourceFile] {
    try folders.flatMap { folder -> [SourceFile] in
      let url = root.appending(path: folder)
      let names = try FileManager.default.subpathsOfDirectory(atPath: url.path)
      return try names.sorted().filter { name in
        suffixes.contains { name.hasSuffix($0) } && !name.contains("/.")
      }.map { name in
        SourceFile(
          path: "\(folder)/\(name)",
          text: try String(contentsOf: url.appending(path: name), encoding: .utf8))
      }
    }
  }

  static func file(_ path: String) throws -> SourceFile {
    SourceFile(
      path: path, text: try String(contentsOf: root.appending(path: path), encoding: .utf8))
  }

  /// The folders directly below one.
  static func folders(in folder: String) throws -> [String] {
    let url = root.appending(path: folder)
    return try FileManager.default.contentsOfDirectory(atPath: url.path).filter { name in
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(
        atPath: url.appending(path: name).path, isDirectory: &isFolder) && isFolder.boolValue
    }.sorted()
  }

  static var swiftSources: [SourceFile] {
    get throws { try files("Sources", "Benchmarks", suffixes: [".swift"]) }
  }
  static var cSources: [SourceFile] {
    get throws { try files("CKernels", suffixes: [".c", ".h", ".inc"]) }
  }
  static var tests: [SourceFile] {
    get throws { try files("Tests", suffixes: [".swift"]) }
  }
  static var pages: [SourceFile] {
    get throws { try files("Docs", suffixes: [".md"]) + [file("README.md")] }
  }
}

/// A command's exit code and what it wrote, standard error included.
struct CommandResult {
  let status: Int32
  let output: String
}

/// Runs a command to its end, in the environment of a user. `PATH` finds it.
func run(_ command: [String], in folder: URL) throws -> CommandResult {
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = command
  process.currentDirectoryURL = folder
  process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("APUS_") }
  process.standardInput = FileHandle.nullDevice
  let pipe = Pipe()
  process.standardOutput = pipe
  process.standardError = pipe
  try process.run()
  let output = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return CommandResult(
    status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
}
