// How a graph would run on more threads than are here, by the cost model.

import ApusGraph
import ApusPasses

/// What the cost model says of a graph on a team of some size, which need not exist.
package struct ScalingPrediction: Sendable {
  package var threads: Int
  /// From the call to the return.
  package var nanoseconds: Double
  package var barriers: Int
  /// Nanoseconds of all barriers, and of calling the team.
  package var meeting: Double
  /// Nanoseconds of steps that one thread runs by itself while others wait or do such steps too.
  package var alone: Double

  /// - `graph`: as it was recorded.
  /// - `rates`: how fast the processor is.
  /// - Throws: what compiling throws.
  package init(
    _ graph: Graph, threads: Int, rates: ProcessorRates, isa: ISA,
    options: CompileOptions = CompileOptions()
  ) throws {
    var optimised = graph
    _ = try PassManager(options: options.passOptions(for: isa)).run(on: &optimised)
    let plan = try Plan(
      optimised, isa: isa, precision: options.precision, threads: threads, rates: rates)
    let schedule = Schedule(plan, threads: threads, rates: rates)
    let model = CostModel(rates, threads: threads, footprint: plan.memory.footprint)
    self.threads = threads
    nanoseconds = schedule.predictedNanoseconds
    barriers = schedule.barrierCount
    let isTeams = schedule.entries.contains { !$0.isAlone }
    meeting =
      isTeams ? Double(barriers) * model.barrierNanoseconds + model.teamNanoseconds : 0
    alone = schedule.entries.reduce(0) { $0 + ($1.isAlone ? $1.predictedNanoseconds : 0) }
  }
}
