// The measure of live memory, by hand.

import ApusGraph
import ApusOps
import ApusPasses
import Testing

@Suite struct LiveBytesTests {
  private func peak(_ text: String) throws -> Int {
    LiveBytes(try Graph(parsing: text, ops: .all)).peak()
  }

  @Test func aChainHoldsAnOperandAndAResult() throws {
    let text = """
      input %0 "x" : f32[8]
      %1 = exp(%0) : f32[8]
      %2 = exp(%1) : f32[8]
      %3 = exp(%2) : f32[8]
      output "y" = %3
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
      %3 = exp(%2) : f32[8]
      output "y" = %1
      output "z" = %3
      """
    #expect(try peak(text) == 3 * 8 * 4)
  }

  @Test func aResultThatNobodyReadsLivesForItsNodeOnly() throws {
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

  @Test func aStatesNewValueThatIsAlsoAnOutputNeedsMemory() throws {
    let text = """
      input %0 "g" : f32[8]
      state %1 "w" : f32[8]
      %2 = sub(%1, %0) : f32[8]
      assign %1 = %2
      output "w" = %2
      """
    #expect(try peak(text) == 8 * 4)
  }
}
