// How fast texts become tokens, beside the Python package tokenizers.

import Apus
import ApusText

/// Times a tokenizer on the lines of a file, with the same number of threads on all sides.
///
/// 'ids' makes ids alone; 'encodings' makes offsets, words and masks too, as the Python package's `encode_batch` does;
/// its `encode_batch_fast` leaves the offsets out.
///
/// - `tokenizer`: a tokenizer.json.
/// - `texts`: a file of texts, a line each.
/// - `peer`: whether the Python package runs, too.
/// - Throws: what reading the files throws; `missing` where the Python has no such package.
package func benchmarkTokenizer(
  _ tokenizer: String, texts: String, peer: Bool, options: BenchmarkOptions
) throws -> BenchmarkOutcome {
  try options.validate()
  let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
  var outcome = BenchmarkOutcome(
    peaks: peaks, lines: [], points: [], precision: options.precision)
  let bytes = try TextFile.bytes(texts, expected: "a file of texts")
  let lines = bytes.split(separator: 0x0a).map { RepairedText(utf8: $0).text }
  let size = lines.reduce(0) { $0 + $1.utf8.count }
  guard size > 0 else {
    throw ApusError(.invalidFile, "there is no text", at: texts, expected: "a line at least")
  }
  let own = try Tokenizer(file: tokenizer)
  let threads = options.threads
  var sides: [any Side] = [
    OwnSide("ids") { _ = try own.ids(of: lines, addSpecialTokens: false, threads: threads) },
    OwnSide("encodings") {
      _ = try own.encodeBatch(lines, addSpecialTokens: false, threads: threads)
    },
  ]
  if peer {
    let interpreter = try PeerInterpreter.current()
    for function in ["encode_batch_fast", "encode_batch"] {
      sides.append(
        try PeerProcess(
          function,
          interpreter.command(
            "texts.py",
            [
              "--tokenizer", tokenizer, "--texts", texts, "--function", function, "--threads",
              "\(threads)",
            ])))
    }
  }
  let timings = try timeInTurns(sides, seconds: options.seconds)
  options.tell("\(tokenizer): \(lines.count) texts of \(size) bytes, \(threads) threads")
  let table = Table([("side", 18), ("MB/s", 7), ("s", 9)], colour: options.colour)
  options.tell(table.header)
  for (side, timing) in zip(sides, timings) {
    let speed = Double(size) / timing.median / 1e6
    let line = JSON.object(
      [
        ("bench", "tokenizer"), ("tokenizer", .string(tokenizer)), ("side", .string(side.name)),
        ("threads", .integer(threads)), ("bytes", .integer(size)),
        ("seconds", .number(rounded(timing.median))), ("mb_per_s", .number(rounded(speed))),
      ] + timing.spread)
    outcome.lines.append(line)
    options.print(
      options.json
        ? line.text
        : table.line([
          Cell(side.name), Cell(significant(speed)), Cell(significant(timing.median)),
        ]))
  }
  return outcome
}
