// The runner of random rounds: a failed round names the seed that repeats it.

import TestSupport
import Testing

@Suite struct FuzzRunTests {
  @Test func aFailedRound_namesTheSeedThatRepeatsIt() throws {
    var first: UInt64?
    var failed: UInt64?
    do {
      try Fuzz.run("runner", rounds: 5) { random in
        let number = random.next()
        guard first != nil else {
          first = number
          return
        }
        failed = number
        throw Fuzz.Wrong("wrong")
      }
      Issue.record("the second round failed")
    } catch let failure as Fuzz.Failure {
      var again = SplitMix(seed: failure.seed)
      #expect(again.next() == failed && failed != first)
      #expect(failure.description.contains("APUS_FUZZ_SEED=\(failure.seed)"))
    }
  }
}
