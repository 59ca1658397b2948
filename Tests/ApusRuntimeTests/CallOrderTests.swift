// The order of a plan's calls, and the measure that it is chosen by.

import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct CallOrderTests {
  private func lowered(_ text: String) throws -> LoweredGraph {
    try LoweredGraph(Graph(parsing: text, ops: .all), isa: .ref, precision: .highest)
  }

  private func live(_ graph: LoweredGraph) -> Int {
    LiveBytes(CallGraph(graph, updatesInPlace: false)).peak(graph.calls.indices)
  }

  /// Bytes live at most in the order as it stands, which is what the plan of that order takes at least.
  private func peak(_ text: String) throws -> Int {
    let graph = try lowered(text)
    let peak = live(graph)
    #expect(MemoryPlan(graph).report.lowerBound == peak)
    return peak
  }

  /// The values that the calls make, in their order.
  private func order(_ text: String) throws -> [String] {
    let given = try lowered(text)
    let (ordered, peak) = CallOrder.forLittleMemory(given)
    #expect(live(ordered) == peak && peak <= live(given))
    return ordered.calls.flatMap { $0.results.map(\.description) }
  }

  // MARK: The measure

  @Test func aChainIsWorkedOutInPlace() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = exp(%1) : f32[8]
      %3 = exp(%2) : f32[8]
      output "y" = %3
      """
    #expect(try peak(text) == 8 * 4)
  }

  @Test func whatIsReadLaterHoldsItsMemory() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = exp(%1) : f32[8]
      %3 = exp(%1) : f32[8]
      %4 = add(%2, %3) : f32[8]
      output "y" = %4
      """
    #expect(try peak(text) == 2 * 8 * 4)
  }

  @Test func inputsStatesAndConstantsCountNothing() throws {
    let text = """
      input %0 "x" : f32[8]
      state %1 "w" : f32[8]
      constant %2 : f32[8] = splat 1.0
      output "x" = %0
      output "w" = %1
      output "c" = %2
      """
    #expect(try peak(text) == 0)
  }

  @Test func anOutputLivesToTheEnd() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = exp(%0) : f32[8]
      %3 = sum(%2) {axes=[0], keepDims=false} : f32[]
      output "y" = %1
      output "z" = %3
      """
    #expect(try peak(text) == 2 * 8 * 4 + 4)
  }

  @Test func aResultThatNobodyReadsLivesForItsCallOnly() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = exp(%0) : f32[8]
      output "y" = %2
      """
    #expect(try peak(text) == 8 * 4)
  }

  @Test func anUpdateIsWrittenOverItsState() throws {
    let text = """
      input %0 "g" : f32[8]
      state %1 "w" : f32[8]
      %2 = sub(%1, %0) : f32[8]
      assign %1 = %2
      output "w" = %2
      """
    #expect(try peak(text) == 0)
  }

  @Test func aNewValueThatDoesNotReadItsStateIsWrittenThereToo() throws {
    let text = """
      input %0 "x" : f32[8]
      state %1 "w" : f32[8]
      %2 = exp(%0) : f32[8]
      assign %1 = %2
      """
    #expect(try peak(text) == 0)
  }

  @Test func anUpdateBeforeTheStatesLastReaderNeedsMemory() throws {
    let text = """
      input %0 "g" : f32[8]
      state %1 "w" : f32[8]
      %2 = sub(%1, %0) : f32[8]
      %3 = exp(%1) : f32[8]
      assign %1 = %2
      output "y" = %3
      """
    #expect(try peak(text) == 2 * 8 * 4)
  }

  @Test(arguments: [64, 256, 4096])
  func thePeakIsThePlansLowerBound(batch: Int) throws {
    let step = try optimised(perceptronStep(batch: batch, widths: [784, 128, 10]))
    for isa in Environment.availableISAs {
      let given = try LoweredGraph(step, isa: isa, precision: .highest)
      let (ordered, peak) = CallOrder.forLittleMemory(given)
      #expect(MemoryPlan(ordered).report.lowerBound == peak)
      #expect(MemoryPlan(given).report.lowerBound >= peak)
    }
  }

  // MARK: The order

  @Test func takesASumBeforeTheNextLargeValueIsMade() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = mul(%0, %0) : f32[8]
      %3 = sum(%1) {axes=[0], keepDims=false} : f32[]
      %4 = sum(%2) {axes=[0], keepDims=false} : f32[]
      %5 = mul(%3, %4) : f32[]
      output "y" = %5
      """
    #expect(try order(text) == ["%1", "%3", "%2", "%4", "%5"])
  }

  @Test func updatesEachStateAsSoonAsItsGradientIsThere() throws {
    let text = """
      input %0 "x" : f32[8]
      state %1 "a" : f32[8]
      state %2 "b" : f32[8]
      %3 = mul(%0, %1) : f32[8]
      %4 = exp(%3) : f32[8]
      %5 = mul(%0, %2) : f32[8]
      %6 = exp(%5) : f32[8]
      %7 = add(%1, %4) : f32[8]
      %8 = add(%2, %6) : f32[8]
      assign %1 = %7
      assign %2 = %8
      """
    #expect(try order(text) == ["%3", "%4", "%7", "%5", "%6", "%8"])
  }

  @Test func keepsAnUpdateBehindTheOtherReadersOfItsState() throws {
    let text = """
      input %0 "x" : f32[8]
      state %1 "a" : f32[8]
      %2 = exp(%0) : f32[8]
      %3 = exp(%2) : f32[8]
      %4 = mul(%3, %1) : f32[8]
      %5 = add(%1, %2) : f32[8]
      assign %1 = %5
      output "y" = %4
      """
    #expect(try order(text) == ["%2", "%3", "%4", "%5"])
  }

  @Test func leavesAnOrderThatCannotBeBetter() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = sum(%1) {axes=[0], keepDims=false} : f32[]
      %3 = exp(%0) : f32[8]
      output "y" = %2
      output "z" = %3
      """
    #expect(try order(text) == ["%1", "%2", "%3"])
  }

  @Test func nothingIsWrittenToAStateBeforeWhatTheConditionWatches() throws {
    // The update frees the gradient at once, but the loss must be known to be finite first.
    let text = """
      input %0 "x" : f32[8]
      state %1 "w" : f32[8]
      %2 = mul(%0, %1) : f32[8]
      %3 = exp(%0) : f32[8]
      %4 = add(%1, %3) : f32[8]
      %5 = sum(%2) {axes=[0], keepDims=false} : f32[]
      assign %1 = %4
      output "loss" = %5 finite
      """
    let found = try order(text)
    #expect(found.firstIndex(of: "%5")! < found.firstIndex(of: "%4")!)
    for threads in [1, 2, 7] {
      let plan = try Plan(Graph(parsing: text, ops: .all), isa: .ref, threads: threads)
      let condition = try #require(plan.condition)
      #expect(try #require(condition.lastWatched) < condition.firstWrite)
    }
  }

  @Test(arguments: 0..<40) func ordersOfRandomNetworksRunAndTakeNoMoreThanBefore(seed: Int) throws {
    let graph = try optimised(randomNetwork(seed: seed))
    let given = try LoweredGraph(graph, isa: .ref, precision: .highest)
    let (ordered, peak) = CallOrder.forLittleMemory(given)
    #expect(peak <= live(given) && live(ordered) == peak)
    #expect(MemoryPlan(ordered).report.lowerBound == peak)
    var made: Set<Int> = []
    let results = Set(given.calls.flatMap(\.results).map(\.index))
    for call in ordered.calls {
      for operand in call.operands {
        let root = ordered.root(operand).value.index
        #expect(made.contains(root) || !results.contains(root))
      }
      made.formUnion(call.results.map(\.index))
    }
    #expect(made == results)
  }
}
