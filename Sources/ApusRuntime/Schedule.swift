// How a plan is spread over a team: which steps one thread runs by itself, and after which steps the
// threads must wait for each other.
//
// A barrier stands only where a later step touches bytes that another thread wrote, or overwrites bytes
// that another thread may still be reading. Which thread touches what is known from the partition that
// each kernel call states; the analysis is of bytes, so it covers the arena's reuse of memory too.

import ApusGraph

/// A plan's steps on a team of a certain size.
package struct Schedule: Sendable {
  /// How one step of the plan is run.
  package struct Entry: Sendable, Hashable {
    /// The thread that runs the step by itself; nil where all threads do.
    package var member: Int?
    /// Why all threads wait for each other after it; nil where they do not.
    package var barrier: Barrier?
    /// Nanoseconds.
    package var predictedNanoseconds: Double

    package var isAlone: Bool { member != nil }
  }

  /// A barrier's reason: the first pair of steps that could not do without it.
  package struct Barrier: Sendable, Hashable, CustomStringConvertible {
    /// The step before the barrier, and the one after.
    package var earlier: Int
    package var later: Int
    /// What the later step reads, or overwrites.
    package var name: String
    /// Whether the later step writes there.
    package var overwrites: Bool
    /// Whether the earlier one wrote there; else it read.
    package var wasWritten: Bool

    /// As in `step 4 reads %15, which other threads write in step 2`.
    package var description: String {
      "step \(later) \(overwrites ? "overwrites" : "reads") \(name), which other threads "
        + "\(wasWritten ? "write" : "read") in step \(earlier)"
    }
  }

  /// Up to here a plan is short: what the threads wait for each other counts beside what they do.
  private static let shortNanoseconds = 200_000.0

  package let threads: Int
  package let entries: [Entry]
  /// The step before which the plan's condition is looked at, all threads having met behind what it watches;
  /// nil where there is none.
  package let conditionStep: Int?

  package var barrierCount: Int { entries.count { $0.barrier != nil } }

  /// Whether another thread than the caller has anything to do.
  var needsTeam: Bool { threads > 1 && entries.contains { $0.member != 0 } }

  /// Nanoseconds from the call to the return, waiting included.
  package let predictedNanoseconds: Double

  /// Goes through the steps in order. Each is run in the way, spread or by one thread, that lets the
  /// threads be done with it soonest, the barrier counted that it takes. Barriers stand as late as they
  /// can, so no schedule of the same ways has fewer.
  ///
  /// Of a short plan there are further schedules, and the fastest of all counts: two that spread a step also
  /// where that takes a little longer, since the next may then need no barrier, and one that leaves all to the
  /// calling thread.
  ///
  /// The end of a run is a barrier by itself, so the last step never carries one.
  ///
  /// - `rates`: how fast the processor is; nil stands for this one.
  package init(_ plan: Plan, threads: Int, rates: ProcessorRates? = nil) {
    self.threads = threads
    let model = CostModel(
      rates ?? .here(plan.isa), threads: threads, footprint: plan.memory.footprint)
    func built(threads: Int, eagerness: Double = 0) -> ScheduleBuilder {
      var builder = ScheduleBuilder(model, threads: threads, eagerness: eagerness)
      for (index, step) in plan.steps.enumerated() {
        if let condition = plan.condition, index == condition.firstWrite { builder.meet(condition) }
        builder.add(step)
      }
      return builder
    }
    var best = built(threads: threads)
    if threads > 1, best.nanoseconds < Self.shortNanoseconds {
      for other in [
        built(threads: threads, eagerness: model.barrierNanoseconds),
        built(threads: threads, eagerness: model.barrierNanoseconds / 4), built(threads: 1),
      ] where other.nanoseconds < best.nanoseconds { best = other }
    }
    predictedNanoseconds = best.nanoseconds
    let entries = best.entries
    self.entries = entries
    conditionStep = plan.condition.map { condition in
      guard threads > 1, let watched = condition.lastWatched else { return condition.firstWrite }
      let barrier = entries[watched..<condition.firstWrite].lastIndex { $0.barrier != nil }
      return barrier.map { $0 + 1 } ?? condition.firstWrite
    }
  }
}

/// Grows a schedule step by step.
struct ScheduleBuilder {
  private let model: CostModel
  private let threads: Int
  private(set) var entries: [Schedule.Entry] = []
  private var pending = PendingTouches()
  /// Nanoseconds that each thread has worked since the last barrier.
  private var loads: [Double]
  /// Whether a step is run by all threads. A run without one is the caller's alone, who calls nobody.
  private var needsTeam = false
  /// By how many nanoseconds a step may be done later for being spread.
  private let eagerness: Double
  /// Nanoseconds until all are behind the last barrier.
  private var elapsed = 0.0

  /// Nanoseconds of the steps so far, from the call to the return.
  var nanoseconds: Double {
    guard needsTeam else {
      // A barrier that nobody waits at still says that the steps might as well stand in one place.
      return entries.reduce(0) {
        $0 + $1.predictedNanoseconds + ($1.barrier == nil ? 0 : model.barrierNanoseconds)
      }
    }
    return elapsed + (loads.max() ?? 0) + model.teamNanoseconds
  }

  init(_ model: CostModel, threads: Int, eagerness: Double = 0) {
    self.model = model
    self.threads = threads
    self.eagerness = eagerness
    loads = Array(repeating: 0, count: threads)
  }

  /// One way to run a step.
  private struct Way {
    var member: Int?
    var nanoseconds: Double
    var touches: [Touch]
    var barrier: Schedule.Barrier?
    /// When the slowest thread is done, counted from the last barrier.
    var end: Double
  }

  /// Whether the step would need no barrier before it, run by all threads.
  func goesOn(_ step: Plan.Step) -> Bool {
    threads == 1 || pending.conflict(Touch.all(of: step, threads: threads, member: nil)) == nil
  }

  /// Makes the threads meet behind what a condition watches, if they have not.
  mutating func meet(_ condition: Plan.Condition) {
    guard threads > 1, let watched = condition.lastWatched, watched < entries.count,
      !entries[watched...].contains(where: { $0.barrier != nil })
    else { return }
    entries[entries.count - 1].barrier = Schedule.Barrier(
      earlier: watched, later: entries.count,
      name: condition.outputs.first?.name ?? "an index error", overwrites: false, wasWritten: true)
    passBarrier()
  }

  private mutating func passBarrier() {
    elapsed += (loads.max() ?? 0) + model.barrierNanoseconds
    pending = PendingTouches()
    loads = Array(repeating: 0, count: threads)
  }

  mutating func add(_ step: Plan.Step) {
    let alone = model.alone(step.call)
    guard threads > 1 else {
      entries.append(Schedule.Entry(member: 0, barrier: nil, predictedNanoseconds: alone))
      return
    }
    // The thread with least to do; the first where the step must wait for all of them anyway.
    let free = loads.indices.min { loads[$0] < loads[$1] } ?? 0
    var ways = [way(step, member: free, alone)]
    if let barrier = ways[0].barrier {
      // A thread that has what the step needs goes on without one, though others have less to do.
      if let other = entries[barrier.earlier].member, other != free {
        ways.append(way(step, member: other, alone))
      }
      if free != 0 { ways[0] = way(step, member: 0, alone) }
    }
    if step.call.isParallel { ways.append(way(step, member: nil, nil)) }
    if step.call.isCollective { ways.removeAll { $0.member != nil } }
    func rank(_ way: Way) -> Double { way.end - (way.member == nil ? eagerness : 0) }
    let best = ways.min { rank($0) < rank($1) }!
    needsTeam = needsTeam || best.member == nil
    if let barrier = best.barrier {
      entries[entries.count - 1].barrier = barrier
      passBarrier()
    }
    pending.add(best.touches, step: entries.count)
    entries.append(
      Schedule.Entry(
        member: best.member, barrier: nil, predictedNanoseconds: best.nanoseconds))
    for thread in loads.indices where best.member == nil || best.member == thread {
      loads[thread] += best.nanoseconds
    }
  }

  /// - `alone`: nanoseconds of the member that runs the step by itself.
  private func way(_ step: Plan.Step, member: Int?, _ alone: Double?) -> Way {
    let touches = Touch.all(of: step, threads: threads, member: member)
    let nanoseconds =
      alone ?? model.spread(step.call, touched: Touch.mostBytes(touches, threads: threads))
    let conflict = pending.conflict(touches)
    let most = loads.max() ?? 0
    let end: Double
    if conflict != nil {
      end = most + model.barrierNanoseconds + nanoseconds
    } else if let member {
      end = max(most, loads[member] + nanoseconds)
    } else {
      end = most + nanoseconds
    }
    let barrier = conflict.map {
      Schedule.Barrier(
        earlier: $0.step, later: entries.count, name: $0.touch.name, overwrites: $0.touch.isWrite,
        wasWritten: $0.wasWritten)
    }
    return Way(
      member: member, nanoseconds: nanoseconds, touches: touches, barrier: barrier, end: end)
  }
}
