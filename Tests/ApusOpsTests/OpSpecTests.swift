// The checks that every op passes, from its line in the table of specs.

import ApusGraph
import ApusOps
import TestSupport
import Testing

@Suite struct OpSpecTests {
  @Test func everyOpOfTheOpSetHasASpec() {
    let missing = opSet.map { $0.mnemonic }.filter { !covered.contains($0) }
    #expect(missing.isEmpty, "ops without a spec: \(missing)")
  }

  @Test func everySpecIsOfAnOpOfTheOpSet() {
    let unknown = covered.subtracting(opSet.map { $0.mnemonic })
    #expect(unknown.isEmpty, "specs of ops that OpSet.swift does not list: \(unknown)")
  }

  @Test func opSetIsSortedAndItsMnemonicsAreUnique() {
    let names = opSet.map { "\($0)" }
    #expect(names == names.sorted())
    #expect(Set(opSet.map { $0.mnemonic }).count == opSet.count)
  }

  @Test(arguments: opSpecs)
  func typeRuleTakesWhatItShouldAndRefusesTheRest(_ spec: OpSpec) {
    expectNone(spec.problemsOfTypeRule())
  }

  @Test(arguments: opSpecs)
  func junkIsRefusedByThrowing(_ spec: OpSpec) {
    expectNone(spec.problemsOfJunk())
  }

  @Test(arguments: opSpecs)
  func textReadsBackAsTheSameOp(_ spec: OpSpec) {
    expectNone(spec.problemsOfText())
  }

  @Test(arguments: opSpecs)
  func referenceKeepsItsTypesAndKnownValues(_ spec: OpSpec) {
    expectNone(spec.problemsOfReference())
  }

  @Test(arguments: opSpecs)
  func gradientsAgreeWithDifferences(_ spec: OpSpec) {
    expectNone(spec.problemsOfGradient())
  }

  @Test(arguments: opSpecs)
  func decompositionAgreesWithTheReference(_ spec: OpSpec) {
    expectNone(spec.problemsOfDecomposition())
  }

  @Test(arguments: opSpecs)
  func kernelsAgreeWithTheReference(_ spec: OpSpec) {
    expectNone(spec.problemsOfKernels())
  }

  @Test(arguments: opSpecs)
  func compiledGraphsAgreeWithTheReference(_ spec: OpSpec) {
    expectNone(spec.problemsOfCompiledGraph())
  }

  @Test(arguments: opSpecs)
  func kernelsReadThroughTheViewsThatTheyAccept(_ spec: OpSpec) {
    expectNone(spec.problemsOfViews())
  }

  private var covered: Set<String> { Set(opSpecs.map(\.name)) }

  private func expectNone(_ problems: [String]) {
    #expect(problems.isEmpty, "\(problems.joined(separator: "\n"))")
  }
}
