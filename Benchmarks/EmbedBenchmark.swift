// How fast texts become vectors, beside PyTorch and ONNX Runtime.

import Apus
import ApusLanguage
import ApusText

/// Who makes vectors of the same texts, in turns with us.
package enum EmbedPeer: String, Sendable, CaseIterable {
  case torch
  case onnxruntime
}

/// Times an encoder of sentences on the lines of a file: all of them once a repetition, in batches of about one length.
///
/// 'tokens' begins with the tokens of the texts, 'text' with the texts.
///
/// - `folder`: one that ``SentenceEncoder`` reads.
/// - `texts`: a file of texts, a line each.
/// - `batches`: texts that go through the model at once.
/// - Throws: what reading the files throws; `missing` where the Python lacks a package; `unsupported` where a peer's
///   first vector is another than ours.
package func benchmarkEmbedding(
  _ folder: String, texts: String, batches: [Int], peers: [EmbedPeer], options: BenchmarkOptions
) throws -> BenchmarkOutcome {
  try options.validate()
  let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
  var outcome = BenchmarkOutcome(
    peaks: peaks, lines: [], points: [], precision: options.precision)
  let bytes = try TextFile.bytes(texts, expected: "a file of texts")
  let lines = bytes.split(separator: 0x0a).map { RepairedText(utf8: $0).text }
  guard !lines.isEmpty else {
    throw ApusError(.invalidFile, "there is no text", at: texts, expected: "a line at least")
  }
  let encoder = try SentenceEncoder(folder: folder, compile: CompileOptions(options))
  let tokens = try encoder.tokens(of: lines, threads: options.threads)
  let count = tokens.ids.reduce(0) { $0 + $1.count }
  let first = try encoder.encode(.init(ids: [tokens.ids[0]])).doubles
  options.tell("\(folder): \(lines.count) texts of \(count) tokens, \(options.threads) threads")
  let table = Table(
    [("batch", 5), ("from", 6), ("side", 11), ("texts/s", 8), ("ms/text", 8), ("of apus", 7)],
    colour: options.colour)
  options.tell(table.header)
  for batch in batches {
    for isFromTokens in [true, false] {
      let from = isFromTokens ? "tokens" : "text"
      var sides: [any Side] = [
        OwnSide("apus") {
          let tokens =
            isFromTokens ? tokens : try encoder.tokens(of: lines, threads: options.threads)
          _ = try encoder.encode(tokens, batch: batch)
        }
      ]
      for peer in peers {
        let process = try PeerProcess(
          peer.rawValue,
          PeerInterpreter.current().command(
            "embed.py",
            [
              "--folder", folder, "--texts", texts, "--peer", peer.rawValue, "--batch", "\(batch)",
              "--length", "\(encoder.maximumLength)", "--threads", "\(options.threads)",
            ] + (isFromTokens ? ["--tokens"] : [])))
        try check(process, first, count)
        sides.append(process)
      }
      let timings = try timeInTurns(sides, seconds: options.seconds)
      for (side, timing) in zip(sides, timings) {
        let perSecond = Double(lines.count) / timing.median
        let ratio = timing.median / timings[0].median
        let line = JSON.object(
          [
            ("bench", "embed"), ("folder", .string(folder)), ("side", .string(side.name)),
            ("from", .string(from)), ("batch", .integer(batch)),
            ("threads", .integer(options.threads)), ("texts", .integer(lines.count)),
            ("tokens", .integer(count)), ("seconds", .number(rounded(timing.median))),
            ("texts_per_s", .number(rounded(perSecond))),
          ] + timing.spread)
        outcome.lines.append(line)
        options.print(
          options.json
            ? line.text
            : table.line([
              Cell("\(batch)"), Cell(from), Cell(side.name), Cell(significant(perSecond)),
              Cell(significant(1000 / perSecond)), Cell(significant(ratio)),
            ]))
      }
    }
  }
  return outcome
}

/// - Throws: `unsupported` where a peer has other tokens or another first vector than we.
private func check(_ peer: PeerProcess, _ first: [Double], _ tokens: Int) throws {
  let theirs = (peer.facts["vectors"]?.elements ?? []).compactMap(\.double)
  guard peer.facts["tokens"]?.integer == tokens else {
    throw ApusError(
      .unsupported, "\(peer.name) has \(peer.facts["tokens"]?.text ?? "no") tokens",
      expected: "\(tokens), as we have")
  }
  guard theirs.count == first.count, zip(theirs, first).allSatisfy({ abs($0 - $1) < 1e-4 }) else {
    throw ApusError(
      .unsupported, "\(peer.name) makes another vector of the first text",
      expected: "a model whose vectors are means of length 1, which is what the peers compute")
  }
}
