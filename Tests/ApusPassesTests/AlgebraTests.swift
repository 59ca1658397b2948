// The table of algebraic rules as a whole.

import ApusGraph
import ApusOps
import Testing

@testable import ApusPasses

@Suite struct AlgebraTests {
  @Test func everyRuleHasANameOfItsOwn() {
    let names = AlgebraRules.all.map(\.name)
    #expect(Set(names).count == names.count)
  }

  @Test func everyRuleFiresInAGoldenCase() throws {
    var fired = Set<String>()
    for golden in try GoldenFile(of: SimplifyAlgebra()).cases() {
      var graph = try Graph(parsing: golden.before, ops: .testing)
      fired.formUnion(try SimplifyAlgebra().run(on: &graph).counts.keys)
    }
    #expect(Set(AlgebraRules.all.map(\.name)).subtracting(fired).sorted() == [])
  }
}
