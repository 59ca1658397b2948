// Where the time of a training step goes: each kernel call against what the machine could do at most.

import Apus
import ApusRecipes

/// Profiles training steps of recipes and prints a line for each kernel call.
///
/// A call's limit is the longer of its floating-point operations at the measured peak (in mixed precision
/// that of bf16 products) and its bytes at the speed of copying that much. Calls are timed with a barrier after each; the time of the plain step,
/// which has fewer, is given too. Medians of many steps.
///
/// - Throws: what compiling and running throw.
package func profileTraining(
  _ workloads: [any Recipe] = recipes.benchmarks, batch size: Int? = nil,
  options: BenchmarkOptions
) throws {
  try options.validate()
  for workload in workloads {
    let steps = try CompiledSteps(workload, batch: size, options).steps
    for (name, step, batch) in steps {
      let title = steps.count == 1 ? workload.name : "\(workload.name), \(name)"
      let profile = try StepProfile(
        step, batch, seconds: options.seconds, precision: options.precision)
      let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
      if options.json {
        options.print(peaks.json.text)
        for line in profile.json(title, peaks) { options.print(line.text) }
      } else {
        options.print(peaks.summary)
        options.print("\(title), batch \(batch.count), \(options.precision.rawValue)")
        for line in profile.table(peaks, colour: options.colour) { options.print(line) }
        options.print("")
      }
    }
  }
}

/// The median of many profiles of one step.
private struct StepProfile {
  let entries: [Profile.Entry]
  /// Of the plain step.
  let seconds: Double
  let precision: Precision

  init(
    _ step: TrainingStep, _ batch: Batch, seconds: Double, precision: Precision
  ) throws {
    self.precision = precision
    let inputs = batch.arrays
    let executable = try step.executable(for: batch)
    // Gives the optimiser its numbers of a first step.
    try step.run(batch)
    for _ in 0..<3 { _ = try executable.run(inputs) }
    var profiles: [Profile] = []
    var plain: [Double] = []
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    repeat {
      // Plain steps first: keeping a profile puts the caches and the team out of their stride.
      for _ in 0..<5 {
        plain.append(try clock.measure { _ = try executable.run(inputs) } / .seconds(1))
      }
      profiles.append(try executable.profile(inputs).profile)
    } while clock.now < end
    self.seconds = plain.sorted()[plain.count / 2]
    entries = profiles[0].entries.enumerated().map { index, entry in
      var entry = entry
      entry.nanoseconds =
        profiles.map { $0.entries[index].nanoseconds }.sorted()[
          profiles.count / 2]
      return entry
    }
  }

  /// Seconds that the call takes at least.
  private func limit(_ entry: Profile.Entry, _ peaks: MachinePeaks) -> Double {
    let speed = peaks.copySpeed(forBytes: Int(entry.bytes))
    let narrow = precision == .mixed ? peaks.bf16Gigaflops : nil
    let peak = max(peaks.gigaflops, narrow ?? 0)
    return max(entry.flops / peak, entry.bytes / speed) / 1e9
  }

  private func limit(_ peaks: MachinePeaks) -> Double {
    entries.reduce(0) { $0 + limit($1, peaks) }
  }

  func table(_ peaks: MachinePeaks, colour: Bool) -> [String] {
    let table = Table(
      [
        ("kernel", entries.map(\.kernel.count).max() ?? 0), ("threads", 0), ("µs", 8), ("limit", 8),
        ("gap", 8), ("predicted", 0), ("GFLOPS", 7), ("GB/s", 6), ("op", 20),
      ], colour: colour)
    let lines = entries.map { entry in
      let time = Double(entry.nanoseconds) / 1e3, limit = limit(entry, peaks) * 1e6
      return table.line([
        Cell(entry.kernel), Cell("\(entry.threads)"), Cell(decimals(time, 1)),
        Cell(decimals(limit, 1)),
        Cell(decimals(time - limit, 1), CellColour(fraction: limit / time)),
        Cell(decimals(entry.predictedNanoseconds / 1e3, 1)),
        Cell(decimals(entry.gigaflopsPerSecond, 1)), Cell(decimals(entry.gigabytesPerSecond, 1)),
        Cell(entry.mnemonic),
      ])
    }
    let sum = entries.reduce(0) { $0 + Double($1.nanoseconds) / 1e3 }
    return [table.header] + lines + [
      "in all \(decimals(sum, 1)) µs, the plain step \(decimals(seconds * 1e6, 1)), "
        + "the limits \(decimals(limit(peaks) * 1e6, 1))"
    ]
  }

  func json(_ workload: String, _ peaks: MachinePeaks) -> [JSON] {
    entries.enumerated().map { index, entry in
      .object([
        ("bench", "profile"), ("workload", .string(workload)), ("step", .integer(index)),
        ("kernel", .string(entry.kernel)), ("op", .string(entry.mnemonic)),
        ("threads", .integer(entry.threads)), ("us", .number(Double(entry.nanoseconds) / 1e3)),
        ("limit_us", .number(rounded(limit(entry, peaks) * 1e6))),
        ("predicted_us", .number(rounded(entry.predictedNanoseconds / 1e3))),
        ("flops", .number(entry.flops)), ("bytes", .number(entry.bytes)),
      ])
    } + [
      .object([
        ("bench", "profile"), ("workload", .string(workload)),
        ("us", .number(rounded(seconds * 1e6))),
        ("limit_us", .number(rounded(limit(peaks) * 1e6))),
      ])
    ]
  }
}
