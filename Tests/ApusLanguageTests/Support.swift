// What tests of language share: the folder that Fixtures/make.py has written.

import Apus
import Foundation
import Testing

enum Fixture {
  static func path(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/\(name)").path
  }

  static var encoder: String { path("encoder") }

  /// The texts and, by the pooling's name, their vectors.
  static func vectors() throws -> (texts: [String], vectors: [String: [[Double]]]) {
    let json = try JSON(parsing: TextFile.bytes(path("vectors.json")))
    var vectors: [String: [[Double]]] = [:]
    for (name, rows) in json.members ?? [] where name != "texts" {
      vectors[name] = rows.elements!.map { $0.elements!.map { $0.double! } }
    }
    return (json["texts"]!.elements!.map { $0.string! }, vectors)
  }
}

/// A copy of a folder that goes with the test.
final class FolderCopy {
  let path: String

  init(of folder: String = Fixture.encoder) throws {
    path = NSTemporaryDirectory() + "apus-\(UUID().uuidString)"
    try FileManager.default.copyItem(atPath: folder, toPath: path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ text: String, to file: String) throws {
    try text.write(toFile: "\(path)/\(file)", atomically: true, encoding: .utf8)
  }

  func remove(_ file: String) throws {
    try FileManager.default.removeItem(atPath: "\(path)/\(file)")
  }

  /// Modules behind the encoder, by their types and folders.
  func writeModules(_ modules: (type: String, path: String)...) throws {
    let all = [(type: "Transformer", path: "")] + modules
    let rows = all.map {
      #"{"type": "sentence_transformers.models.\#($0.type)", "path": "\#($0.path)"}"#
    }
    try write("[\(rows.joined(separator: ", "))]", to: "modules.json")
  }

  func writePooling(_ modes: String..., more: String = "") throws {
    let keys = modes.map { #""pooling_mode_\#($0)": true"# }.joined(separator: ", ")
    try write("{\(keys)\(more)}", to: "1_Pooling/config.json")
  }
}

/// Runs a body that must throw, and looks at the error.
func expectError(
  _ kind: ApusError.Kind, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as ApusError {
    #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    for word in words {
      #expect("\(error)".contains(word), "\(error)", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("\(error)", sourceLocation: sourceLocation)
  }
}
