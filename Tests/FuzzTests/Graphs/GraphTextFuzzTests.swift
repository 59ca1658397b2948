// Graph texts that are damaged or made up: an error or a graph, whatever is then done with it.

import ApusGraph
import ApusOps
import ApusPasses
import ApusRuntime
import Foundation
import TestSupport
import Testing

@Suite struct GraphTextFuzzTests {
  /// The graphs in the golden files of the passes, which have every op that passes make.
  private static let golden: [String] = {
    let folder = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../ApusPassesTests/Golden")
    let files =
      (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil))
      ?? []
    let texts = files.sorted { $0.path < $1.path }.compactMap {
      try? String(contentsOf: $0, encoding: .utf8)
    }
    return texts.flatMap { text in
      // Comments stand between the graphs. They are of doubles, which have no kernels.
      text.split(separator: "\n").split { $0.hasPrefix("#") }
        .map { $0.joined(separator: "\n").replacing("f64", with: "f32") }
        .filter { (try? Graph(parsing: $0, ops: .all)) != nil }
    }
  }()

  @Test func damagedTexts_giveErrorsOrGraphs() throws {
    #expect(Self.golden.count > 50)
    var read = 0, ran = 0
    try Fuzz.run("graph text", rounds: 400) { random in
      let text =
        Bool.random(using: &random)
        ? Self.golden.randomElement(using: &random)!
        : try AnyGraph.make(seed: random.next()).graph.description
      let damaged = Self.damaged(text, using: &random)
      let graph: Graph
      do {
        graph = try Graph(parsing: damaged, ops: .all)
        try graph.verify()
      } catch is ApusError {
        return
      }
      read += 1
      // Printed, inputs stand before states, whatever the order was.
      let ordered = try Graph(parsing: graph.description, ops: .all)
      guard try Graph(parsing: ordered.description, ops: .all) == ordered else {
        throw Fuzz.Wrong("reads back as another graph:\n\(damaged)")
      }
      _ = graph.dot
      _ = graph.json
      do {
        let store = StateStore()
        for state in graph.states where graph.type(of: state.value).byteCount < 1 << 16 {
          try store.set(state.name, NDArray(checking: graph.type(of: state.value)))
        }
        let executable = try Executable(
          graph, states: store, options: CompileOptions(memoryLimit: 1 << 24))
        guard graph.inputs.allSatisfy({ graph.type(of: $0.value).byteCount < 1 << 16 }),
          executable.plan.steps.allSatisfy({ $0.call.flops < 1e8 })
        else { return }
        _ = try executable.run(graph.inputs.map { try NDArray(checking: graph.type(of: $0.value)) })
        ran += 1
      } catch is ApusError {}
    }
    #expect(read > 0 && ran > 0, "\(read) texts were read and \(ran) run")
  }

  private static let numbers = [
    "0", "1", "-1", "2", "3", "9223372036854775807", "-9223372036854775808", "4611686018427387904",
    "99999999999999999999", "2147483648", "1e400", "nan", "-0.0", "true", "[]", "[0]", "1048576",
  ]

  private static func damaged(_ text: String, using random: inout SplitMix) -> String {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    for _ in 0...Int.random(in: 0..<3, using: &random) {
      let at = Int.random(in: 0..<lines.count, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: lines.remove(at: at)
      case 1: lines.insert(lines.randomElement(using: &random)!, at: at)
      case 2:
        // One number for another, which is what a reader is most likely to believe.
        let places = lines[at].matches(of: /-?\d+/)
        if let place = places.randomElement(using: &random) {
          lines[at].replaceSubrange(place.range, with: numbers.randomElement(using: &random)!)
        }
      case 3:
        let words = lines[at].matches(of: /[a-z_]\w*/)
        if let one = words.randomElement(using: &random) {
          let other = lines.randomElement(using: &random)!.matches(of: /[a-z_]\w*/)
            .randomElement(using: &random)
          lines[at].replaceSubrange(one.range, with: other.map { String($0.0) } ?? "x")
        }
      case 4:
        var bytes = Array(lines[at].utf8)
        if !bytes.isEmpty {
          bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(
            in: 32..<127, using: &random)
        }
        lines[at] = String(decoding: bytes, as: UTF8.self)
      default:
        lines[at] = String(lines[at].prefix(Int.random(in: 0...lines[at].count, using: &random)))
      }
      if lines.isEmpty { lines = [""] }
    }
    return lines.joined(separator: "\n")
  }
}
