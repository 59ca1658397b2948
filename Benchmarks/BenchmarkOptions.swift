// What all benchmarks are told: how many threads, which kernels, how long, who to compare with.

import Apus
import Foundation

/// Settings of a benchmark.
///
/// Results go to `print`, a line at a time: a table for people or, with `json`, one JSON object a line.
package struct BenchmarkOptions {
  /// Members of the team, and processors of the peers.
  package var threads: Int
  package var isa: ISA
  package var precision: Precision
  /// About how long each side of each case is timed.
  package var seconds: Double
  package var json: Bool
  /// Bytes for the intermediate values of our training steps; nil where there is no limit.
  package var memoryLimit: Int?
  /// Whether the table has colours.
  package var colour: Bool
  /// Where the same is run too, in turns with ours.
  package var peers: [Peer]
  package var print: (String) -> Void

  package init(
    threads: Int, isa: ISA, precision: Precision = .highest, seconds: Double = 1,
    json: Bool = false, colour: Bool = false, peers: [Peer] = [],
    print: @escaping (String) -> Void = { Swift.print($0) }
  ) {
    self.threads = threads
    self.isa = isa
    self.precision = precision
    self.seconds = seconds
    self.json = json
    self.colour = colour
    self.peers = peers
    self.print = print
  }

  /// - Throws: `invalidArgument` for settings no benchmark can run with.
  func validate() throws {
    guard threads >= 1 else {
      throw ApusError(.invalidArgument, "\(threads) threads", expected: "at least 1")
    }
    guard seconds > 0, seconds.isFinite else {
      throw ApusError(.invalidArgument, "\(seconds) seconds", expected: "a positive number")
    }
  }

  /// Says how a run goes on, on standard error.
  func note(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }

  /// Prints a line for people, not among JSON lines.
  func tell(_ line: String) {
    if !json { print(line) }
  }
}

extension CompileOptions {
  init(_ options: BenchmarkOptions) {
    self.init()
    isa = options.isa
    threads = options.threads
    precision = options.precision
    memoryLimit = options.memoryLimit
  }
}
