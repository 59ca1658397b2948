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

  @Test(arguments: 0..<12)
  func networksOfRealKernelsKeepTheirThreadsApart(seed: Int) throws {
    let graph = try optimised(randomNetwork(seed: seed))
    for isa in [ISA.ref, Environment.availableISAs.last!] {
      for threads in [2, 3, 7] {
        let plan = try Plan(graph, isa: isa, threads: threads)
        let conflict = firstConflict(plan, Schedule(plan, threads: threads))
        #expect(conflict == nil, "\(isa), \(threads) threads, seed \(seed): \(conflict ?? "")")
      }
    }
  }

  /// Layers whose threads keep their rows of the batch need no barrier between them.
  @Test func rowsOfABatchGoThroughALayerWithoutABarrier() throws {
    let graph = try traced([.f32(256, 24), .f32(24, 16), .f32(16, 16)]) { x in
      let hidden = relu(x[0].matmul(x[1]))
      return [softmax(hidden.matmul(x[2])).sum(axes: [1])]
    }
    for isa in [ISA.ref, Environment.availableISAs.last!] {
      let plan = try Plan(optimised(graph), isa: isa, threads: 2)
      let schedule = Schedule(plan, threads: 2)
      #expect(plan.steps.count == 4)
      #expect(schedule.entries.allSatisfy { !$0.isAlone })
      #expect(schedule.barrierCount == 0, "\(plan.text(schedule))")
    }
  }

  @Test func callsThatNeedNoBarrierComeTogether() throws {
    // Two chains, each with one call that reads what other threads wrote.
    let graph = try traced([.f32(96), .f32(96)]) { inputs in
      let aligned = Mix(count: 96, results: 1, coefficients: [3], aligned: [true])
      let reversed = Mix(count: 96, results: 1, coefficients: [5], aligned: [false])
      return inputs.map { .apply(reversed, to: .apply(aligned, to: $0)) }
    }
    let given = try Plan(graph, isa: .ref)
    let ordered = try Plan(graph, isa: .ref, threads: 3)
    #expect(Schedule(given, threads: 3).barrierCount > 1)
    #expect(Schedule(ordered, threads: 3).barrierCount == 1)
    #expect(ordered.memory.arena <= given.memory.arena + 256 << 10)
  }

  /// A team called for one step has to save more than calling it takes.
  @Test(arguments: [(4, true), (1024, false)])
  func aStepByItselfIsSpreadWhereItIsLong(rows: Int, alone: Bool) throws {
    let graph = try traced([.f32(rows, 1024)]) { [$0[0].sum(axes: [1])] }
    let plan = try Plan(optimised(graph), isa: Environment.availableISAs.last!, threads: 2)
    #expect(Schedule(plan, threads: 2).entries.map(\.isAlone) == [alone])
  }

  /// Threads have caches of their own and one memory together.
  @Test func predictionsKnowTheCaches() {
    let model = CostModel(rates(.avx512), threads: 2, footprint: 8 << 20)
    func call(_ bytes: Double) -> KernelCall {
      var call = KernelCall("copy", entry: ByteCopy.call(.f32(1)).entry, block: 0)
      call.bytes = bytes
      return call
    }
    let (cached, beyond) = (call(model.cacheBytes / 2), call(model.cacheBytes * 4))
    func speedUp(_ call: KernelCall) -> Double {
      model.alone(call) / model.spread(call)
    }
    #expect(speedUp(cached) > 1.9 && speedUp(beyond) < 1.2)
    #expect(model.alone(beyond) > 8 * model.alone(cached))
    // 20 bytes an element: 14 µs of two threads, measured between products.
    let update = model.spread(call(20 * 128 * 784))
    #expect((12_000...16_000).contains(update))
  }

  /// Many threads are not many times as fast: they meet, share links, and the last tiles are few.
  @Test func predictionsForManyThreadsAreHonest() throws {
    let graph = try optimised(perceptronStep(batch: 256, widths: [784, 1024, 1024, 10]))
    func predicted(_ threads: Int) throws -> Double {
      let isa = Environment.availableISAs.last!
      let plan = try Plan(graph, isa: isa, threads: threads, rates: rates(isa))
      return Schedule(plan, threads: threads, rates: rates(isa)).predictedNanoseconds
    }
    let times = try [1, 2, 8, 64].map(predicted)
    #expect(times[0] / times[1] > 1.7 && times[0] / times[1] <= 2.05)
    #expect(times[0] / times[2] > 4 && times[0] / times[2] < 8)
    #expect(times[0] / times[3] < 50)
  }

  /// Of a processor whose threads share caches by eights.
  private func rates(_ isa: ISA) -> ProcessorRates {
    var rates = ProcessorRates.nominal(isa)
    rates.group = 8
    rates.group_cache = 32 << 20
    return rates
  }

  @Test func threadsBeyondTwoMakeMeetingLonger() {
    let costs = [1, 2, 3, 8, 64].map {
      CostModel(rates(.avx512), threads: $0).barrierNanoseconds
    }
    #expect(costs[0] == costs[1])
    for (fewer, more) in zip(costs.dropFirst(), costs.dropFirst(2)) { #expect(more > fewer) }
  }

  /// A busy machine may slow the measurement, not make it absurd.
  @Test func speedsMeasuredHereAreNearTheTables() {
    for isa in Environment.availableISAs {
      let (here, table) = (ProcessorRates.here(isa), ProcessorRates.nominal(isa))
      for rate in [\ProcessorRates.multiply_adds, \.pairs, \.near_bytes, \.far_bytes] {
        #expect((0.49...2.01).contains(here[keyPath: rate] / table[keyPath: rate]))
      }
      #expect(here.group >= 1 && here.group_cache >= 1 << 20)
    }
  }

  @Test func smallCallsOfOneIntervalGoToDifferentThreads() throws {
    let graph = try traced([.f32(20), .f32(20)]) { inputs in
      inputs.map { $0.sum() }
    }
    let plan = try Plan(optimised(graph), isa: .ref, threads: 2)
    let members = Schedule(plan, threads: 2).entries.map(\.member)
    #expect(Set(members) == [0, 1])
  }

  @Test func regionsMeetWhereTheyHaveAnElementInCommon() {
    var generator = SplitMix("regions")
    func region() -> Region {
      let width = Int.random(in: 1...6, using: &generator)
      return Region(
        start: Int.random(in: 0...40, using: &generator), width: width,
        pitch: [9, 9, 9, 13, width].randomElement(using: &generator)!,
        count: Int.random(in: 1...4, using: &generator))
    }
    func elements(_ region: Region) -> Set<Int> {
      Set(
        (0..<region.count).flatMap { run in
          (0..<region.width).map { region.start + run * region.pitch + $0 }
        })
    }
    for _ in 0..<4000 {
      let (a, b) = (region(), region())
      let meet = !elements(a).isDisjoint(with: elements(b))
      // Runs of different pitch may be taken to meet; never the other way round.
      let isEven = a.count == 1 || b.count == 1 || a.pitch == b.pitch
      #expect(isEven ? a.overlaps(b) == meet : a.overlaps(b) || !meet, "\(a) \(b)")
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
    #expect(Schedule(large, threads: 1).entries.allSatisfy { $0.isAlone && $0.barrier == nil })
  }

  /// Step by step a team may look worth calling where it is not for the plan as a whole.
  @Test(arguments: [1, 2, 8, 32, 128])
  func aTeamIsCalledOnlyWhereTheWholePlanIsDoneSooner(batch: Int) throws {
    let isa = Environment.availableISAs.last!
    let graph = try optimised(perceptronStep(batch: batch, widths: [4, 64, 64, 2]))
    for threads in [2, 3, 8] {
      let plan = try Plan(graph, isa: isa, threads: threads)
      let (one, many) = (Schedule(plan, threads: 1), Schedule(plan, threads: threads))
      #expect(many.predictedNanoseconds <= one.predictedNanoseconds)
      let all = one.entries.reduce(0) { $0 + $1.predictedNanoseconds }
      #expect(abs(one.predictedNanoseconds - all) < 1)
      if many.entries.contains(where: { !$0.isAlone }) {
        // No thread does more than all do together, waiting included.
        let busy = many.entries.reduce(0) { $0 + $1.predictedNanoseconds }
        let model = CostModel(.here(isa), threads: threads)
        let waiting = model.barrierNanoseconds * Double(many.barrierCount)
        let team = model.teamNanoseconds
        #expect(many.predictedNanoseconds <= busy + waiting + team + 1)
        #expect(many.predictedNanoseconds > waiting + team)
      } else {
        #expect(many.barrierCount == 0)
      }
    }
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
  for (index, step) in plan.steps.enumerated() {
    var own: [Place.Space: [Int: Mark]] = [:]
    let entry = schedule.entries[index]
    func mark(_ space: Place.Space, _ byte: Int, _ thread: Int, isWrite: Bool) {
      let bit: UInt = 1 << UInt(thread)
      if isWrite {
        own[space, default: [:]][byte / 4 * 4, default: Mark()].writers |= bit
      } else {
        own[space, default: [:]][byte / 4 * 4, default: Mark()].readers |= bit
      }
    }
    func touch(_ access: Plan.Access, _ buffer: KernelCall.Buffer, isWrite: Bool) {
      let (space, size) = (access.place.space, access.type.dtype.byteCount)
      for thread in 0..<schedule.threads {
        let region =
          entry.isAlone
          ? nil
          : step.call.partition.region(buffer, thread: thread, threads: schedule.threads)
        if let region {
          for run in 0..<region.count {
            let first = access.place.offset + (region.start + run * region.pitch) * size
            for byte in first..<first + region.width * size where access.extent.contains(byte) {
              mark(space, byte, thread, isWrite: isWrite)
            }
          }
        } else if entry.member ?? thread == thread {
          for byte in access.extent { mark(space, byte, thread, isWrite: isWrite) }
        }
      }
    }
    for (k, access) in step.operands.enumerated() { touch(access, .operand(k), isWrite: false) }
    for (j, access) in step.results.enumerated() { touch(access, .result(j), isWrite: true) }
    if let workspace = step.workspace {
      for byte in 0..<step.call.workspaceBytes {
        for thread in 0..<schedule.threads where entry.member ?? thread == thread {
          mark(workspace.space, workspace.offset + byte, thread, isWrite: true)
        }
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
    if schedule.entries[index].barrier != nil { marks = [:] }
  }
  return nil
}
