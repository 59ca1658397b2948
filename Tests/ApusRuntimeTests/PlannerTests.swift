// Memory plans and schedules of random graphs: nothing alive is overwritten, nothing is read before it
// is written, and no memory is wasted.

import ApusGraph
import ApusOps
import ApusPasses
import CKernels
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct PlannerTests {
  @Test(arguments: 0..<30)
  func buffersNeededTogetherNeverOverlap(seed: Int) {
    var generator = SplitMix("intervals \(seed)")
    let intervals = (0..<Int.random(in: 1...80, using: &generator)).map { _ in
      let first = Int.random(in: 0..<60, using: &generator)
      return Interval(
        bytes: Int.random(in: 0...5000, using: &generator), first: first,
        last: first + Int.random(in: 0...12, using: &generator))
    }
    let packing = ArenaPacking(intervals)
    #expect(packing.total >= ArenaPacking.lowerBound(intervals))
    for (i, a) in intervals.enumerated() {
      #expect(packing.offsets[i] % ArenaPacking.alignment == 0)
      #expect(packing.offsets[i] + a.bytes <= packing.total)
      for j in 0..<i where intervals[j].overlaps(a) {
        let first = packing.offsets[i]..<packing.offsets[i] + a.bytes
        let second = packing.offsets[j]..<packing.offsets[j] + intervals[j].bytes
        #expect(!first.overlaps(second), "intervals \(j) and \(i)")
      }
    }
  }

  @Test func packingNothingNeedsNothing() {
    let packing = ArenaPacking([])
    #expect(packing.total == 0 && packing.offsets.isEmpty)
  }

  @Test(
    arguments: [1, 8, 64, 256], [[784, 128, 10], [784, 1024, 1024, 10], [33, 65, 129, 17, 3]])
  func theArenaOfAPerceptronIsWithinFivePercentOfTheBound(batch: Int, widths: [Int]) throws {
    for momentum in [false, true] {
      let graph = try perceptronStep(batch: batch, widths: widths, momentum: momentum)
      let memory = try Plan(optimised(graph), isa: .ref).memory
      #expect(memory.arena >= memory.lowerBound)
      // Each buffer is rounded up to a cache line, which matters for tiny ones only.
      #expect(Double(memory.arena) <= 1.05 * Double(memory.lowerBound) + 1024)
    }
  }

  @Test func aChainOfElementwiseStepsNeedsOneBufferAndNoBarrier() throws {
    let graph = try traced([.f32(96)]) { inputs in
      let step = Mix(count: 96, results: 1, coefficients: [3], aligned: [true])
      var y = inputs[0]
      for _ in 0..<10 { y = .apply(step, to: y) }
      return [y]
    }
    let plan = try Plan(graph, isa: .ref)
    #expect(plan.memory.arena == 96 * 4 && plan.memory.lowerBound == 96 * 4)
    #expect(Schedule(plan, threads: 4).barrierCount == 0)
  }

  @Test func statesAreUpdatedWhereTheyLie() throws {
    let graph = try perceptronStep(batch: 4, widths: [6, 5], momentum: true)
    let plan = try Plan(optimised(graph), isa: .ref)
    #expect(!plan.steps.contains { $0.mnemonic == "assign" })
    let targets = Set(plan.steps.flatMap(\.results).map(\.place.space))
    for index in plan.states.indices { #expect(targets.contains(.state(index))) }
  }

  @Test func leadingRowsAreReadWhereTheyLie() throws {
    let graph = try traced([.f32(6, 4)]) { inputs in
      let doubled = inputs[0] + inputs[0]
      let rows = Tensor.apply(
        Slice(starts: [2, 0], steps: [1, 1], shape: [3, 4]), to: doubled)
      return [rows.reshaped([12])]
    }
    let plan = try Plan(graph, isa: .ref)
    #expect(plan.steps.count == 1)
    #expect(plan.outputs[0].place.offset == plan.steps[0].results[0].place.offset + 2 * 4 * 4)
  }

  @Test func reshapesOfDenseValuesCostNothing() throws {
    let graph = try traced([.f32(6, 4)]) { [($0[0] + $0[0]).reshaped([24]).reshaped([3, 8])] }
    let plan = try Plan(graph, isa: .ref)
    #expect(plan.steps.count == 1)
    #expect(plan.outputs[0].type == .f32(3, 8))
    #expect(plan.outputs[0].place == plan.steps[0].results[0].place)
  }

  @Test(arguments: 0..<15)
  func noThreadReadsOrOverwritesAnothersBytesWithoutABarrier(seed: Int) throws {
    let plan = try Plan(randomMixGraph(seed: seed, nodes: 25), isa: .ref)
    for threads in [2, 7] {
      let schedule = Schedule(plan, threads: threads)
      let conflict = firstConflict(plan, schedule)
      #expect(conflict == nil, "\(threads) threads, seed \(seed): \(conflict ?? "")")
    }
  }

  @Test func threadsWaitOnlyWhereTheyMust() throws {
    func barriers(_ aligned: Bool) throws -> Int {
      let graph = try traced([.f32(130)]) { x in
        let first = Mix(count: 130, results: 1, coefficients: [2], aligned: [true])
        let second = Mix(count: 130, results: 1, coefficients: [5], aligned: [aligned])
        return [.apply(second, to: .apply(first, to: x[0]))]
      }
      return Schedule(try Plan(graph, isa: .ref), threads: 3).barrierCount
    }
    let (withAligned, withReversed) = (try barriers(true), try barriers(false))
    #expect(withAligned == 0)
    #expect(withReversed == 1)
  }

  @Test func smallStepsRunOnOneThread() throws {
    let small = try Plan(optimised(perceptronStep(batch: 2, widths: [3, 4])), isa: .ref)
    #expect(Schedule(small, threads: 4).entries.allSatisfy { $0.isAlone })
    #expect(Schedule(small, threads: 4).barrierCount == 0)
    let large = try Plan(optimised(perceptronStep(batch: 128, widths: [784, 512])), isa: .ref)
    #expect(Schedule(large, threads: 4).entries.contains { !$0.isAlone })
    #expect(Schedule(large, threads: 1).entries.allSatisfy { $0.isAlone && !$0.barrier })
  }
}

/// Goes through the words one by one: which threads have read and written each since the last barrier.
private func firstConflict(_ plan: Plan, _ schedule: Schedule) -> String? {
  struct Mark {
    var readers: UInt = 0
    var writers: UInt = 0
  }
  /// Whether a thread of `a` and another one of `b` meet.
  func meet(_ a: UInt, _ b: UInt) -> Bool {
    a != 0 && b != 0 && !(a == b && a.nonzeroBitCount == 1)
  }
  var marks: [Place.Space: [Int: Mark]] = [:]
  let everyone: UInt = (1 << UInt(schedule.threads)) - 1
  for (index, step) in plan.steps.enumerated() {
    var own: [Place.Space: [Int: Mark]] = [:]
    func touch(_ access: Plan.Access, isWrite: Bool, isAligned: Bool) {
      for byte in stride(from: access.extent.lowerBound, to: access.extent.upperBound, by: 4) {
        var threads = everyone
        if schedule.entries[index].isAlone {
          threads = 1
        } else if isAligned, case .tiles(let count, let elements, _) = step.call.partition {
          let tile = (byte - access.place.offset) / (elements * access.type.dtype.byteCount)
          threads = 0
          for thread in 0..<schedule.threads {
            var description = ck_thread()
            description.index = Int32(thread)
            description.count = Int32(schedule.threads)
            var begin: Int64 = 0
            var end: Int64 = 0
            ck_share(Int64(count), &description, &begin, &end)
            if begin <= tile && tile < end { threads |= 1 << UInt(thread) }
          }
        }
        if isWrite {
          own[access.place.space, default: [:]][byte, default: Mark()].writers |= threads
        } else {
          own[access.place.space, default: [:]][byte, default: Mark()].readers |= threads
        }
      }
    }
    var aligned: [Int] = []
    if case .tiles(_, _, let operands) = step.call.partition { aligned = operands }
    for (k, access) in step.operands.enumerated() {
      touch(access, isWrite: false, isAligned: aligned.contains(k))
    }
    for (j, access) in step.results.enumerated() {
      touch(access, isWrite: true, isAligned: j == 0)
    }
    if let workspace = step.workspace {
      let mark = Mark(writers: schedule.entries[index].isAlone ? 1 : everyone)
      for byte in stride(from: 0, to: step.call.workspaceBytes, by: 4) {
        own[.arena, default: [:]][workspace.offset + byte] = mark
      }
    }
    for (space, bytes) in own {
      for (byte, mark) in bytes {
        let before = marks[space]?[byte] ?? Mark()
        if meet(mark.writers, before.readers | before.writers) || meet(mark.readers, before.writers)
        {
          return "step \(index) at byte \(byte) of \(space)"
        }
        marks[space, default: [:]][byte] = Mark(
          readers: before.readers | mark.readers, writers: before.writers | mark.writers)
      }
    }
    if schedule.entries[index].barrier { marks = [:] }
  }
  return nil
}
