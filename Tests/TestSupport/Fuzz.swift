// Runs a test on random cases: a few in `make test`, for a given time in `make fuzz`.

import Foundation

/// Random rounds of one test.
///
/// In `make test` a test runs a few rounds from a new seed; with `APUS_FUZZ_SECONDS` it runs that long, and at least
/// as many rounds as it asks for.
/// Each round has a seed of its own, which is written to `fuzz-NAME.seed` in the temporary folder before it
/// starts, so that a round that ends the process is known too. `APUS_FUZZ_SEED=N` begins with that round.
///
/// ```swift
/// try Fuzz.run("csv", rounds: 200) { random in
///   let bytes = mutated(file, with: &random)
///   …
/// }
/// ```
package enum Fuzz {
  /// Runs `round` until the rounds or the time are over, or a round throws.
  ///
  /// - `least`: rounds that are run even where the time is over before.
  /// - Throws: `Failure`, with the seed that repeats the round.
  package static func run(
    _ name: String, rounds: Int, atLeast least: Int = 0, _ round: (inout SplitMix) throws -> Void
  ) throws {
    let environment = ProcessInfo.processInfo.environment
    let seconds = environment["APUS_FUZZ_SECONDS"].flatMap(Double.init)
    let given = environment["APUS_FUZZ_SEED"].flatMap(UInt64.init)
    let first = given ?? UInt64.random(in: 0..<1 << 53)
    print("fuzz \(name): APUS_FUZZ_SEED=\(first)")
    let note = FileManager.default.temporaryDirectory.appendingPathComponent("fuzz-\(name).seed")
    let start = ContinuousClock.now
    var count = 0
    while seconds.map({ ContinuousClock.now - start < .seconds($0) || count < least })
      ?? (count < rounds)
    {
      let seed = first &+ UInt64(count)
      try Data("\(seed)\n".utf8).write(to: note)
      var random = SplitMix(seed: seed)
      do {
        try round(&random)
      } catch {
        throw Failure(name: name, seed: seed, cause: error)
      }
      count += 1
    }
    if seconds != nil { print("fuzz \(name): \(count) rounds") }
  }

  /// A round that failed.
  package struct Failure: Error, CustomStringConvertible {
    package let name: String
    package let seed: UInt64
    package let cause: any Error

    package var description: String {
      "\(cause) (APUS_FUZZ_SEED=\(seed) repeats this round of '\(name)')"
    }
  }

  /// What a round throws where it saw a wrong answer.
  package struct Wrong: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
  }
}
