// Plans and profiles as text, JSON, DOT and traces.

import ApusGraph
import ApusOps
import ApusPasses
import CKernels
import Foundation
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct PlanTextTests {
  private func plan() throws -> (Plan, Schedule) {
    let graph = try perceptronStep(batch: 32, widths: [200, 100, 10])
    let plan = try Plan(optimised(graph), isa: .ref)
    return (plan, Schedule(plan, threads: 2))
  }

  @Test func theTextNamesEveryStepItsKernelAndItsPlace() throws {
    let (plan, schedule) = try plan()
    let text = plan.text(schedule)
    #expect(text.hasPrefix("plan for ref, 2 threads: \(plan.steps.count) steps"))
    #expect(text.contains("arena \(plan.memory.arena) bytes"))
    #expect(text.components(separatedBy: "---- barrier").count - 1 == schedule.barrierCount)
    for step in plan.steps { #expect(text.contains(step.call.name)) }
    #expect(text.contains("layer0"))
    #expect(text.contains("w0@state0"))
  }

  @Test func theJSONReadsBack() throws {
    let (plan, schedule) = try plan()
    let description = try JSONDecoder().decode(
      PlanDescription.self, from: plan.json(schedule))
    #expect(description.steps.count == plan.steps.count)
    #expect(description.memory == plan.memory)
    #expect(description.steps.map(\.symbol) == plan.steps.map(\.call.entry.symbol))
    #expect(description.steps.contains { $0.symbol == "ck_gemm_f32_ref" })
    #expect(description.steps.filter(\.barrier).count == description.barriers)
    #expect(description.steps.filter(\.followsBarrier).count == description.barriers)
    for (step, next) in zip(description.steps, description.steps.dropFirst()) {
      #expect(step.barrier == next.followsBarrier)
      #expect(step.barrier == (step.barrierReason != nil))
    }
  }

  @Test func everyStepTellsItsLevelTileThreadsAndTheReasonOfItsBarrier() throws {
    let best = Environment.availableISAs.last!
    let graph = try perceptronStep(batch: 32, widths: [200, 100, 10])
    let plan = try Plan(optimised(graph), isa: best)
    let schedule = Schedule(plan, threads: 2)
    let description = plan.description(schedule)
    let product = try #require(description.steps.first { $0.kernel.hasPrefix("gemm") })
    let row = GemmRow.best(best)
    #expect(product.isa == row.isa)
    #expect(product.tile == row.tile)
    #expect(plan.text(schedule).contains("\(product.kernel)  \(row.isa) \(row.tile)  threads 2"))
    for (index, step) in description.steps.enumerated() {
      #expect((step.member == nil) == (step.threads == 2))
      guard let reason = step.barrierReason else { continue }
      let barrier = try #require(schedule.entries[index].barrier)
      #expect(reason.hasPrefix("step \(index + 1) "))
      #expect(barrier.earlier <= index && barrier.later == index + 1)
      // The reason is true: both steps touch what it names.
      let later = plan.steps[barrier.later]
      let touched = (barrier.overwrites ? later.results : later.operands).map(\.name)
      #expect(touched.contains(barrier.name) || barrier.name == "its workspace")
    }
  }

  /// The gradient through a rectifier is taken in the product's registers, not by a program after it.
  @Test func aProductNamesWhatItsRegistersCombineItWith() throws {
    for (isa, widths) in [
      (ISA.ref, [20, 30, 10]), (Environment.availableISAs.last!, [200, 100, 10]),
    ] {
      let plan = try Plan(optimised(perceptronStep(batch: 32, widths: widths)), isa: isa)
      let products = plan.steps.map(\.call.name).filter { $0.hasPrefix("gemm") }
      #expect(products.filter { $0.hasSuffix(" gated") }.count == 1)
    }
  }

  @Test func theDOTIsAGraphOfAllStepsWithBalancedBraces() throws {
    let (plan, schedule) = try plan()
    let dot = plan.dot(schedule)
    #expect(dot.hasPrefix("digraph plan {"))
    #expect(dot.hasSuffix("}\n"))
    for index in plan.steps.indices { #expect(dot.contains("  step\(index) [label=")) }
    #expect(dot.contains("state0 -> "))
    #expect(dot.contains(" -> output0;"))
  }

  @Test func dumpsComeInTheOrderOfThePipelineAndEndWithThePlan() throws {
    let stages = Stages()
    let options = CompileOptions(dump: { stage, text in stages.append(stage, text) })
    _ = try compile(.f32(4), options: options) { $0 + 1 }
    #expect(stages.names.first == "input")
    #expect(stages.names.last == "plan")
  }

  @Test func aProfileTimesEveryStepAndWritesATrace() throws {
    let graph = try perceptronStep(batch: 32, widths: [200, 100, 10])
    let executable = try Executable(graph, states: StateStore(zerosFor: graph))
    var generator = SplitMix("profile")
    let (outputs, profile) = try executable.profile([
      randomArray(.f32(32, 200), &generator), randomArray(.f32(32, 10), &generator),
    ])
    #expect(outputs.count == 1)
    #expect(profile.entries.count == executable.plan.steps.count)
    #expect(profile.totalNanoseconds > 0)
    #expect(profile.description.contains("GFLOP/s"))
    let trace =
      try JSONSerialization.jsonObject(with: profile.chromeTrace()) as? [String: Any]
    let events = trace?["traceEvents"] as? [[String: Any]]
    #expect(events?.count == profile.entries.count)
    #expect(events?.allSatisfy { $0["ph"] as? String == "X" } == true)
  }

  @Test func memoryIsKnownBeforeTheFirstRun() throws {
    let graph = try perceptronStep(batch: 16, widths: [10, 20, 5], momentum: true)
    let memory = try Executable(graph, states: StateStore(zerosFor: graph)).memory
    #expect(memory.states == 2 * 4 * (10 * 20 + 20 + 20 * 5 + 5))
    #expect(memory.inputs == 4 * 16 * (10 + 5))
    #expect(memory.arena >= memory.lowerBound)
    #expect(memory.values > memory.arena)
  }
}

private final class Stages: @unchecked Sendable {
  private let lock = NSLock()
  private var stages: [String] = []

  func append(_ stage: String, _ text: String) {
    lock.withLock { stages.append(text.isEmpty ? "empty" : stage) }
  }

  var names: [String] { lock.withLock { stages } }
}

/// The matrix product that a level runs, from the kernels' own list.
private struct GemmRow {
  var isa: String
  var tile: String

  static func best(_ isa: ISA) -> GemmRow {
    var count = 0
    let rows = UnsafeBufferPointer(start: ck_gemm_rows(&count), count: count)
    let row = rows.first { !$0.emulated && $0.isa.rawValue <= UInt32(isa.rawValue) }!
    return GemmRow(
      isa: String(cString: ck_isa_name(row.isa)), tile: "\(row.tile_rows)x\(row.tile_columns)")
  }
}
