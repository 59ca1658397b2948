// Running cases one after the other, ours and the peers' sides of each in turns.

import Apus

/// Times the cases and prints what was found.
///
/// - `title`: said above the table.
/// - `peaks`: the machine's, where they have been measured in this run.
/// - Throws: what compiling throws; `missing` where the peers' Python is not there, naming the variable to
///   set; `unsupported` where a peer fails.
package func runBenchmarks(
  _ cases: [BenchmarkCase], title: String, peaks known: MachinePeaks? = nil,
  options: BenchmarkOptions
) throws -> BenchmarkOutcome {
  try options.validate()
  // Before anything takes long.
  let interpreter = options.peers.isEmpty ? nil : try PeerInterpreter.current()
  let peaks =
    try known ?? MachinePeaks.measured(threads: options.threads, isa: options.isa)
  var outcome = BenchmarkOutcome(
    peaks: peaks, lines: [peaks.json], points: [], precision: options.precision)
  options.print(options.json ? peaks.json.text : peaks.summary)
  let peers =
    try interpreter.map { interpreter in
      try options.peers.filter { peer in
        cases.contains { peer.isOfUse(images: $0.hasImages) }
      }.map { try PeerProcess(kernelsOf: $0, interpreter, options) }
    } ?? []
  outcome.peerVersions = peers.flatMap(\.versions)
  let table = BenchmarkResult.table(
    for: cases, peers: peers.map(\.name), colour: options.colour)
  options.tell("\(title), \(options.precision.rawValue)")
  if !peers.isEmpty { options.tell("a peer's column: its time divided by ours") }
  options.tell(table.header)
  for test in cases {
    for peer in peers { try peer.take(test.peerCase) }
    let ours = try test.makeSide(options)
    let timings = try timeInTurns([ours] + peers, seconds: options.seconds)
    let result = BenchmarkResult(
      test: test, kernel: ours.kernelName, timing: timings[0],
      peers: zip(peers, timings.dropFirst()).map { ($0.name, $1) },
      roof: Roof(
        peaks, precision: test.hasProducts ? options.precision : .highest,
        flops: test.flops, bytes: test.bytes, reads: test.bench == "reduce"), options: options)
    outcome.lines += result.lines
    outcome.points.append(result.point)
    if options.json {
      for line in result.lines { options.print(line.text) }
    } else {
      options.print(table.line(result.cells))
    }
  }
  return outcome
}
