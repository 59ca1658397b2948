// Every pass does to the graphs of its golden file what the file says, and changes no value.

import ApusGraph
import ApusOps
import ApusPasses
import Testing

@Suite struct GoldenTests {
  /// The passes of the pipeline, each once. One that leaves small graphs alone is told not to.
  static let files = PassManager().names.map { name in
    name == FuseLinearCrossEntropy.name
      ? GoldenFile(of: FuseLinearCrossEntropy(leastBytes: 0, leastRows: 0))
      : GoldenFile(of: Pipeline.passes.first { $0.name == name }!)
  }

  @Test("A pass makes of each graph what its golden file says", arguments: files)
  func matches(_ file: GoldenFile) throws {
    var cases = try file.cases()
    for index in cases.indices {
      let golden = cases[index]
      let before = try Graph(parsing: golden.before, ops: .testing)
      var after = before
      let statistics = try file.pass.run(on: &after)
      try after.verify()
      let text = after == before ? "(unchanged)\n" : after.description
      if GoldenFile.isUpdating {
        cases[index].after = text
        cases[index].statistics = statistics.description
      } else {
        #expect(text == golden.after, "\(file.pass.name): \(golden.name)")
        #expect(statistics.description == golden.statistics, "\(file.pass.name): \(golden.name)")
      }
      try expectEqualValues(before, after, golden.name)
    }
    if GoldenFile.isUpdating { try file.write(cases) }
  }

  @Test("A golden file has cases where the pass fires and where it must not", arguments: files)
  func hasBothKinds(_ file: GoldenFile) throws {
    let cases = try file.cases()
    #expect(cases.contains { $0.after != "(unchanged)\n" && !$0.statistics.isEmpty })
    #expect(cases.contains { $0.after == "(unchanged)\n" && $0.statistics.isEmpty })
    #expect(Set(cases.map(\.name)).count == cases.count)
  }

  @Test("A pass finds nothing more to do in what it has made", arguments: files)
  func isIdempotent(_ file: GoldenFile) throws {
    for golden in try file.cases() {
      var once = try Graph(parsing: golden.before, ops: .testing)
      _ = try file.pass.run(on: &once)
      var twice = once
      let statistics = try file.pass.run(on: &twice)
      #expect(twice == once && statistics.isEmpty, "\(file.pass.name): \(golden.name)")
    }
  }
}
