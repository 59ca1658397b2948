// Training steps: ours and, in turns with it, PyTorch's and JAX's.
//
// Every side runs in a process of its own, so that memory and the way from nothing to the first step
// are its own too; ours is this program again, told to serve. See PeerProcess.swift.

import Apus
import ApusRecipes
import Foundation

/// Times training steps of recipes, by default those of the benchmarks.
///
/// - Throws: `unsupported` where a side cannot be run or its loss does not fall, or peers do not have the
///   recipe; `missing` where the peers' Python is not there, naming the variable to set.
package func benchmarkTraining(
  _ workloads: [any Recipe] = recipes.benchmarks, batch size: Int? = nil,
  options: BenchmarkOptions
) throws -> BenchmarkOutcome {
  try options.validate()
  if !options.peers.isEmpty, let alone = workloads.first(where: \.isOursAlone) {
    throw ApusError(
      .unsupported, "PyTorch and JAX do not have \(alone.name)",
      expected: "one of \(recipes.benchmarks.map(\.name).joined(separator: ", ")), or no peers")
  }
  let interpreter = options.peers.isEmpty ? nil : try PeerInterpreter.current()
  // Before any peer runs: its threads spin on for a while after each step.
  let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
  var outcome = BenchmarkOutcome(
    peaks: peaks, lines: [peaks.json], points: [], precision: options.precision)
  options.print(options.json ? peaks.json.text : peaks.summary)
  for workload in workloads {
    let size = try workload.options(batch: size).batch
    let shared = [
      "--batch", "\(size)", "--threads", "\(options.threads)", "--precision",
      options.precision.rawValue,
    ]
    let ours = try PeerProcess(
      "apus",
      ["/proc/self/exe".resolved, "bench", "train", workload.name, "--serve"] + shared
        + ["--isa", options.isa.name]
        + (options.memoryLimit.map { ["--memory-limit", "\($0)"] } ?? []))
    var sides = [ours]
    if let interpreter {
      let hasImages = try workload.hasImages
      for peer in options.peers.filter({ $0.isOfUse(images: hasImages) }).map(\.rawValue) {
        let arguments = ["--peer", peer, "--workload", workload.name] + shared
        sides.append(try PeerProcess(peer, interpreter.command("train.py", arguments)))
      }
    }
    let timings = try timeInTurns(sides, seconds: options.seconds) { seconds in
      if seconds >= 20 {
        options.note(
          "\(workload.name): \(sides.map(\.name).joined(separator: ", ")), "
            + "about \(Int((seconds / 10).rounded(.up)) * 10) s")
      }
    }
    try sides.forEach(checkThatLossFell)
    let results = zip(sides, timings).map {
      TrainingResult(workload, size, $0, $1, reference: (ours, timings[0]), peaks: peaks, options)
    }
    outcome.lines += results.map(\.json)
    outcome.points.append(results[0].point)
    if options.json {
      for result in results { options.print(result.json.text) }
    } else {
      options.print("\(workload.name), batch \(size), \(options.precision.rawValue)")
      for line in TrainingResult.table(results, colour: options.colour) { options.print(line) }
      options.print("")
    }
  }
  return outcome
}

/// One side's figures for one workload.
private struct TrainingResult {
  let workload: any Recipe
  let size: Int
  let side: PeerProcess
  let timing: Timing
  let roof: Roof
  let options: BenchmarkOptions
  let samplesPerSecond, flops, gigaflops, peakFraction, ratio: Double

  init(
    _ workload: any Recipe, _ size: Int, _ side: PeerProcess, _ timing: Timing,
    reference: (side: PeerProcess, timing: Timing), peaks: MachinePeaks, _ options: BenchmarkOptions
  ) {
    self.workload = workload
    self.size = size
    self.side = side
    self.timing = timing
    self.options = options
    samplesPerSecond = Double(size) / timing.median
    flops = reference.side.facts["flops"]?.double ?? .nan
    gigaflops = flops / timing.median / 1e9
    roof = peaks.computing(options.precision)
    peakFraction = gigaflops / roof.gigaflops
    ratio = timing.median / reference.timing.median
  }

  private var isOurs: Bool { side.name == "apus" }

  private func fact(_ name: String) -> Double? {
    side.facts[name]?.double ?? side.answer?[name]?.double
  }

  private static let facts = ["arena_mib", "lower_bound_mib", "rss_mib", "compile_s"]

  var json: JSON {
    var line: [(String, JSON)] = [
      ("bench", "train"), ("workload", .string(workload.name)),
      ("precision", .string(options.precision.rawValue)),
    ]
    if !isOurs { line.append(("peer", .string(side.name))) }
    line += [
      ("threads", .integer(options.threads)), ("ms", .number(rounded(timing.median * 1e3))),
      ("samples_per_s", .number(rounded(samplesPerSecond))),
      ("gflops", .number(rounded(gigaflops))),
    ]
    for name in Self.facts {
      if let value = fact(name) { line.append((name, .number(rounded(value)))) }
    }
    line.append(("first_step_s", .number(rounded(side.firstStepSeconds))))
    line += isOurs ? [("isa", .string(options.isa.name))] : [("ratio", .number(rounded(ratio)))]
    line += [("batch", .integer(size)), ("peak_fraction", .number(rounded(peakFraction)))]
    return .object(line + timing.spread)
  }

  /// Where the bytes are those that the step's kernels say they move.
  var point: RooflinePoint {
    RooflinePoint(
      label: workload.name, group: workload.name,
      intensity: flops / (fact("bytes") ?? .nan), gigaflops: gigaflops, roof: roof)
  }

  static func table(_ results: [TrainingResult], colour: Bool) -> [String] {
    let table = Table(
      [
        ("side", results.map(\.side.name.count).max() ?? 0), ("ms/step", 7), ("minimum", 7),
        ("samples/s", 9), ("GFLOPS", 7), ("% of peak", 5), ("RSS MiB", 7), ("arena MiB", 9),
        ("bound MiB", 9), ("compile s", 9), ("first step s", 12), ("ratio", 5),
      ], colour: colour)
    return [table.header]
      + results.map { result in
        table.line([
          Cell(result.side.name), Cell(significant(result.timing.median * 1e3)),
          Cell(significant(result.timing.minimum * 1e3)),
          Cell(decimals(result.samplesPerSecond, 0)), Cell(decimals(result.gigaflops, 1)),
          Cell(percent(result.peakFraction), CellColour(fraction: result.peakFraction)),
          Cell(decimals(result.fact("rss_mib"), 0)), Cell(significant(result.fact("arena_mib"))),
          Cell(significant(result.fact("lower_bound_mib"))),
          Cell(significant(result.fact("compile_s"))),
          Cell(significant(result.side.firstStepSeconds)),
          Cell(
            "\(significant(result.ratio))x",
            result.isOurs ? .plain : CellColour(ratio: result.ratio)),
        ])
      }
  }
}

extension Recipe {
  /// Whether the peers' scripts do not have it.
  fileprivate var isOursAlone: Bool { !recipes.benchmarks.contains { $0.name == name } }

  /// Whether a batch has `[n, h, w, channels]`.
  fileprivate var hasImages: Bool {
    get throws {
      try steps(defaults, compile: CompileOptions()).contains { step in
        step.fields.contains { $0.shape.rank == 4 }
      }
    }
  }
}

extension String {
  /// The file a link leads to.
  fileprivate var resolved: String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: self)) ?? self
  }
}

private func checkThatLossFell(_ side: PeerProcess) throws {
  guard let first = side.answer?["first_loss"]?.double, let last = side.answer?["loss"]?.double,
    last < first
  else {
    throw ApusError(
      .unsupported, "\(side.name) does not train: \(side.answer?.text ?? "no answer")",
      expected: "a loss that falls")
  }
}
