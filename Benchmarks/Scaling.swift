// How training steps scale over threads: measured as far as there are processors, predicted beyond.

import Apus
import ApusRecipes

/// The numbers of threads that are asked about.
private let teams = [1, 2, 4, 8, 16, 32, 64]

/// Predicts the steps of recipes on 1 to 64 threads, and measures them on as many as `options.threads`.
///
/// What is predicted beyond goes by assumptions that the first line states; Docs/Scaling.md has them in words.
///
/// - Throws: what compiling and running throw.
package func scaleTraining(
  _ workloads: [any Recipe] = recipes.benchmarks, batch size: Int? = nil,
  options: BenchmarkOptions
) throws {
  try options.validate()
  let isa = options.isa
  // As far apart as the processors lie now.
  let rates = ProcessorRates.here(isa, team: try Team.shared(threads: options.threads))
  options.tell(rates.summary(isa))
  for workload in workloads {
    let settings = try workload.options(batch: size)
    let compile = CompileOptions(options)
    let recorded = try workload.steps(settings, compile: compile).map { try $0.graph() }
    if !options.json { options.print("\(workload.name), batch \(settings.batch)") }
    let table = Table(
      [
        ("threads", 0), ("predicted µs", 0), ("times as fast", 0), ("measured µs", 0),
        ("times as fast", 0), ("barriers", 0), ("meeting %", 0), ("alone %", 0),
      ], colour: options.colour)
    options.tell(table.header)
    var one: (predicted: Double, measured: Double)?
    for threads in teams {
      let predictions = try recorded.map {
        try ScalingPrediction($0, threads: threads, rates: rates, isa: isa, options: compile)
      }
      func sum(_ value: KeyPath<ScalingPrediction, Double>) -> Double {
        predictions.reduce(0) { $0 + $1[keyPath: value] }
      }
      let predicted = sum(\.nanoseconds)
      let barriers = predictions.reduce(0) { $0 + $1.barriers }
      var measured: Double?
      if threads <= options.threads {
        var settings = options
        settings.threads = threads
        measured = try medianNanoseconds(workload, batch: size, settings)
      }
      let first = one ?? (predicted, measured ?? .nan)
      one = first
      if options.json {
        options.print(
          JSON.object([
            ("bench", "scaling"), ("workload", .string(workload.name)),
            ("threads", .integer(threads)),
            ("predicted_us", .number(rounded(predicted / 1e3))),
            ("measured_us", measured.map { .number(rounded($0 / 1e3)) } ?? .null),
            ("barriers", .integer(barriers)),
          ]).text)
        continue
      }
      options.print(
        table.line([
          Cell("\(threads)"), Cell(decimals(predicted / 1e3, 1)),
          Cell(decimals(first.predicted / predicted, 2)),
          Cell(measured.map { decimals($0 / 1e3, 1) } ?? "-"),
          Cell(measured.map { decimals(first.measured / $0, 2) } ?? "-"), Cell("\(barriers)"),
          Cell(decimals(100 * sum(\.meeting) / predicted, 0)),
          Cell(decimals(100 * sum(\.alone) / predicted, 0)),
        ]))
    }
    options.tell("")
  }
}

/// The median of a step, in nanoseconds.
private func medianNanoseconds(
  _ recipe: any Recipe, batch size: Int?, _ options: BenchmarkOptions
) throws -> Double {
  let steps = try CompiledSteps(recipe, batch: size, options)
  for _ in 0..<3 { try steps.run() }
  let once = max(try seconds { try steps.run() }, 1e-7)
  let count = max(1, Int(options.seconds / 20 / once))
  var times: [Double] = []
  for _ in 0..<15 { times.append(try seconds { for _ in 0..<count { try steps.run() } }) }
  return times.sorted()[times.count / 2] / Double(count) * 1e9
}

extension ProcessorRates {
  /// What predictions for many threads assume.
  fileprivate func summary(_ isa: ISA) -> String {
    "\(isa.name): \(decimals(2 * multiply_adds, 0)) GFLOPS a thread, \(decimals(near_bytes, 0)) GB/s in its own "
      + "caches, \(decimals(far_bytes, 0)) in the shared one of \(group) threads, "
      + "\(decimals(link_bytes, 0)) between that and others, \(decimals(team_memory_bytes, 0)) to memory; "
      + "a barrier of two \(decimals(barrier, 0)) ns, each further thread \(decimals(peer, 0)) or "
      + "\(decimals(far_peer, 0))"
  }
}
