// What holds of every pass and every graph, tried on random ones.

import ApusGraph
import ApusOps
import Testing

@testable import ApusPasses

@Suite struct PropertyTests {
  static let seeds = Array(0..<40)
  static let withOptionalPasses = PassOptions(
    enabled: Set(Pipeline.passes.filter { type(of: $0).isOptional }.map(\.name)))

  @Test("No pass changes a value or breaks a graph, and none finds more to do", arguments: seeds)
  func passesKeepValues(seed: Int) throws {
    let graph = try RandomGraph.make(seed: seed)
    try graph.verify()
    // Each pass is given what the passes before it have left, as in the pipeline.
    var before = graph
    for pass in Pipeline.passes {
      var after = before
      _ = try pass.run(on: &after)
      try after.verify()
      try expectEqualValues(before, after, seed: seed, "seed \(seed), \(pass.name)")
      var again = after
      let statistics = try pass.run(on: &again)
      #expect(again == after && statistics.isEmpty, "seed \(seed), \(pass.name): \(statistics)")
      before = after
    }
    try expectEqualValues(graph, before, seed: seed, "seed \(seed), the whole pipeline")
  }

  @Test("Each pass does its work alone, on a graph that no other pass has seen", arguments: seeds)
  func passesWorkAlone(seed: Int) throws {
    let graph = try RandomGraph.make(seed: seed)
    for name in PassManager().names {
      var after = graph
      let manager = PassManager(
        passes: Pipeline.passes.filter { $0.name == name }, options: PassOptions(enabled: [name]))
      try manager.run(on: &after)
      try expectEqualValues(graph, after, seed: seed, "seed \(seed), \(name) alone")
    }
  }

  @Test("Any pass can be switched off", arguments: seeds)
  func passesAreOptional(seed: Int) throws {
    let graph = try RandomGraph.make(seed: seed)
    for name in PassManager().names {
      let after = try optimised(graph, options: PassOptions(disabled: [name]))
      try expectEqualValues(graph, after, seed: seed, "seed \(seed), without \(name)")
    }
  }

  @Test("The pipeline's result has a text form that reads back", arguments: seeds)
  func resultParses(seed: Int) throws {
    let after = try optimised(
      RandomGraph.make(seed: seed), options: Self.withOptionalPasses)
    #expect(try Graph(parsing: after.description, ops: .all) == after)
  }

  @Test("What is optimised already can be optimised again", arguments: seeds)
  func pipelineRunsTwice(seed: Int) throws {
    let once = try optimised(RandomGraph.make(seed: seed))
    try expectEqualValues(once, optimised(once), seed: seed, "seed \(seed), twice")
    // The interpreter in double rounds nothing: narrow storage keeps all values too.
    let narrow = try optimised(once, options: Self.withOptionalPasses)
    try expectEqualValues(once, narrow, seed: seed, "seed \(seed), with optional passes")
  }

  @Test func everyPassFiresOnSomeRandomGraph() throws {
    var fired = Set<String>()
    for seed in Self.seeds {
      let graph = try RandomGraph.make(seed: seed)
      for pass in Pipeline.passes {
        var after = graph
        if try !pass.run(on: &after).isEmpty { fired.insert(pass.name) }
      }
    }
    // Random graphs are of primitives, which nothing decomposes, have no normalisations or softmax, end in no
    // cross-entropy, bound nothing, update no states by loops and have no scans.
    #expect(
      Set(PassManager().names).subtracting(fired)
        == [
          "bound-by-factors", "decompose", "fuse-cross-entropy", "fuse-norm-gradient",
          "fuse-softmax-gradient",
          "fuse-linear-cross-entropy", "fuse-gradient-scale", "merge-scans",
          "multi-tensor-update", "fuse-update", "simplify-scans",
        ])
  }
}
