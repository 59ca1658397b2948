// Golden files: graphs before and after a pass, as text.
//
// A file holds cases separated by `# -----`:
//
//     # drops a node that nobody reads
//     input %0 "x" : f64[2]
//     %1 = exp(%0) : f64[2]
//     output "y" = %0
//     # =>
//     input %0 "x" : f64[2]
//     output "y" = %0
//     # statistics: nodes 1
//
// A case that the pass must leave alone has `(unchanged)` after the arrow and no statistics. With
// UPDATE_GOLDEN=1 in the environment the part after the arrow is written anew.

import ApusGraph
import ApusOps
import ApusPasses
import Foundation
import Testing

struct GoldenCase: Sendable {
  var name: String
  var before: String
  var after: String
  var statistics: String

  var text: String {
    var text = "# \(name)\n\(before)# =>\n\(after)"
    if !statistics.isEmpty { text += "# statistics: \(statistics)\n" }
    return text
  }
}

struct GoldenFile: CustomTestStringConvertible, Sendable {
  var pass: any Pass
  var path: String
  var testDescription: String { pass.name }

  /// The file that belongs to a pass: its name with `.golden` behind it.
  init(of pass: any Pass, _ file: StaticString = #filePath) {
    self.pass = pass
    path =
      URL(fileURLWithPath: "\(file)").deletingLastPathComponent()
      .appendingPathComponent("Golden/\(pass.name).golden").path
  }

  static var isUpdating: Bool { ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" }

  func cases() throws -> [GoldenCase] {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    return try text.components(separatedBy: "# -----\n").map { chunk in
      let halves = chunk.components(separatedBy: "# =>\n")
      let lines = halves[0].split(separator: "\n", omittingEmptySubsequences: false)
      guard halves.count == 2, let first = lines.first, first.hasPrefix("# ") else {
        throw ApusError(
          .parse, "a case of \(pass.name).golden is malformed: \(chunk.prefix(80))",
          expected: "# name, a graph, # =>, a graph")
      }
      let mark = "# statistics: "
      let after = halves[1].split(separator: "\n", omittingEmptySubsequences: true)
      return GoldenCase(
        name: String(first.dropFirst(2)),
        before: lines.dropFirst().joined(separator: "\n"),
        after: after.filter { !$0.hasPrefix(mark) }.map { $0 + "\n" }.joined(),
        statistics: after.first { $0.hasPrefix(mark) }.map { String($0.dropFirst(mark.count)) }
          ?? "")
    }
  }

  func write(_ cases: [GoldenCase]) throws {
    try cases.map(\.text).joined(separator: "# -----\n").write(
      toFile: path, atomically: true, encoding: .utf8)
  }
}
