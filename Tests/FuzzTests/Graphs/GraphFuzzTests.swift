// One answer for every graph: interpreted, folded, compiled at every level, without each pass.

import ApusGraph
import ApusOps
import ApusPasses
import ApusRuntime
import Foundation
import TestSupport
import Testing

@Suite struct GraphFuzzTests {
  /// `make fuzz` leaves out every pass in turn, `make test` a few chosen by the round.
  private static let isLong = ProcessInfo.processInfo.environment["APUS_FUZZ_SECONDS"] != nil

  @Test func everyWayGivesTheSameAnswer() throws {
    var compared = 0, outputs = 0
    try Fuzz.run("graphs", rounds: 300) { random in
      let seed = random.next()
      let (graph, inputs) = try AnyGraph.make(seed: seed)
      let wanted = try ErrorBounds(graph, inputs: inputs).outputs
      outputs += wanted.count
      compared += wanted.count { $0.bound < .infinity }

      func check(_ way: String, _ graph: Graph, _ inputs: [NDArray], _ options: CompileOptions)
        throws
      {
        let executable: Executable
        do {
          executable = try Executable(graph, options: options)
        } catch let error as ApusError where error.kind == .resource && options.memoryLimit != nil {
          return  // Some graphs need all that they have.
        } catch let error as ApusError where error.kind == .unsupported {
          throw Fuzz.Wrong("\(way): \(error)\n\(graph)")
        }
        for (index, array) in try executable.run(inputs).enumerated() {
          if let problem = difference(array, wanted[index]) {
            throw Fuzz.Wrong("y\(index) \(way): \(problem)\n\(graph)inputs \(inputs)")
          }
        }
      }
      let threads = [1, 2, 3].randomElement(using: &random)!
      for isa in Environment.availableISAs {
        try check("at \(isa.name)", graph, inputs, CompileOptions(isa: isa, threads: threads))
      }
      // Composites without a kernel cannot do without being taken apart.
      let names = PassManager().names.filter { $0 != "decompose" }
      let left = Self.isLong ? names : Array(names.shuffled(using: &random).prefix(3))
      for name in left {
        try check("without \(name)", graph, inputs, CompileOptions(disabledPasses: [name]))
      }
      try check("without passes", graph, inputs, CompileOptions(disabledPasses: Set(names)))
      let arena = try Executable(graph, options: CompileOptions(threads: threads)).memory.arena
      try check(
        "in three quarters of its memory", graph, inputs,
        CompileOptions(threads: threads, memoryLimit: arena * 3 / 4))
      let mask = random.next()
      for constants in [UInt64.max, mask] {
        let (folded, rest) = try AnyGraph.make(seed: seed) { constants >> UInt64($0) & 1 == 1 }
        try check("folded", folded, rest, CompileOptions())
      }
      let read = try Graph(parsing: graph.description, ops: .all)
      guard read == graph else {
        throw Fuzz.Wrong("the text reads back as another graph\n\(graph)")
      }
    }
    // Bounds must not excuse too much.
    #expect(compared * 10 > outputs * 6, "only \(compared) of \(outputs) outputs were compared")
  }
}
