// How fast a GPT writes with a cache, beside PyTorch.

import Apus

/// Times the writing of tokens by the benchmark's gpt (six blocks of width 384, 96 characters), the likeliest each
/// time, from one token on.
///
/// - `rows`: texts that are written side by side.
/// - `tokens`: how many follow the first; at most 255.
/// - `peer`: whether PyTorch's eager loop runs, too.
/// - Throws: `invalidArgument` for numbers that make no sense; `missing` where the Python has no PyTorch.
package func benchmarkGeneration(
  rows: Int, tokens: Int, peer: Bool, options: BenchmarkOptions
) throws -> BenchmarkOutcome {
  try options.validate()
  guard (1...256).contains(rows), (4...255).contains(tokens) else {
    throw ApusError(
      .invalidArgument, "\(rows) rows of \(tokens) tokens",
      expected: "1 to 256 rows, 4 to 255 tokens")
  }
  let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
  var outcome = BenchmarkOutcome(
    peaks: peaks, lines: [peaks.json], points: [], precision: options.precision)
  options.print(options.json ? peaks.json.text : peaks.summary)
  let own = try GenerationSide(rows, tokens, options)
  var sides: [any Side] = [own]
  if peer {
    sides.append(
      try PeerProcess(
        "torch",
        PeerInterpreter.current().command(
          "generation.py",
          ["--rows", "\(rows)", "--tokens", "\(tokens)", "--threads", "\(options.threads)"])))
  }
  let timings = try timeInTurns(sides, seconds: options.seconds)
  options.tell("gpt: \(rows) rows of \(tokens) tokens, \(options.threads) threads")
  let table = Table(
    [("side", 8), ("tokens/s", 9), ("ms a token", 11), ("first 4th", 10), ("last 4th", 9)],
    colour: options.colour)
  options.tell(table.header)
  for (side, timing) in zip(sides, timings) {
    let one = timing.median / Double(tokens)
    let quarters = (side as? GenerationSide).map { [$0.first, $0.last] } ?? []
    let line = JSON.object(
      [
        ("bench", "generate"), ("side", .string(side.name)), ("rows", .integer(rows)),
        ("tokens", .integer(tokens)), ("threads", .integer(options.threads)),
        ("seconds", .number(rounded(timing.median))),
        ("tokens_per_s", .number(rounded(Double(rows) / one))),
      ]
        + zip(["first_quarter_ms", "last_quarter_ms"], quarters).map {
          ($0, .number(rounded($1 * 1e3)))
        } + timing.spread)
    outcome.lines.append(line)
    options.print(
      options.json
        ? line.text
        : table.line(
          [
            Cell(side.name), Cell(significant(Double(rows) / one)), Cell(significant(one * 1e3)),
          ] + quarters.map { Cell(significant($0 * 1e3)) }))
  }
  return outcome
}

/// The generator, and how long its first and last tokens take.
private final class GenerationSide: Side {
  let name = "apus"
  private let generator: TokenGenerator<GPT2>
  private let rows, tokens: Int
  /// Seconds of each place, of each run.
  private var times: [[Double]]

  init(_ rows: Int, _ tokens: Int, _ options: BenchmarkOptions) throws {
    let model = GPT2(
      .init(vocabulary: 96, length: 256, width: 384, layers: 6, heads: 6, dropout: 0))
    try model.initialize(seed: 1)
    generator = try TokenGenerator(model, compile: CompileOptions(options))
    (self.rows, self.tokens) = (rows, tokens)
    times = Array(repeating: [], count: tokens)
  }

  func run(_ count: Int) throws -> Double {
    for _ in 0..<untimed(before: count) { try write() }
    return try seconds { for _ in 0..<count { try write() } }
  }

  private func write() throws {
    var before = ContinuousClock.now
    var place = 0
    _ = try generator.continue(Array(repeating: [0], count: rows), by: tokens) { _, row in
      guard row == rows - 1 else { return }
      let now = ContinuousClock.now
      times[place].append((now - before) / .seconds(1))
      (before, place) = (now, place + 1)
    }
  }

  private func median(_ samples: [Double]) -> Double { quantile(0.5, of: samples.sorted()) }

  private func quarter(_ places: ArraySlice<[Double]>) -> Double {
    median(places.filter { !$0.isEmpty }.map(median))
  }
  /// Seconds of a token of the first quarter; the very first, which wakes everything, left out.
  var first: Double { quarter(times[1..<max(tokens / 4, 2)]) }
  /// Seconds of a token of the last quarter.
  var last: Double { quarter(times[(tokens * 3 / 4)...]) }
}
