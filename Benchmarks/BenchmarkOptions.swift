// What all benchmarks are told: how many threads, which kernels, how long, who to compare with.

import Apus

/// Settings of a benchmark.
///
/// Results go to `print`, a line at a time: a table for people or, with `json`, one JSON object a line.
public struct BenchmarkOptions {
  /// Members of the team, and processors of the peers.
  public var threads: Int
  public var isa: ISA
  public var precision: Precision
  /// About how long each side of each case is timed.
  public var seconds: Double
  public var json: Bool
  /// Whether the table has colours.
  public var colour: Bool
  /// Where the same is run too, in turns with ours.
  public var peers: [Peer]
  public var print: (String) -> Void

  public init(
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
  }
}
