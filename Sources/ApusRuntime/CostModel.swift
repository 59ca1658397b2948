// What a step of a plan costs, roughly.

import ApusGraph
import CKernels

/// How fast a processor is: the table of CKernels/bench/rates.c.
package typealias ProcessorRates = ck_rates

extension ProcessorRates {
  /// Of this processor at that level, with what was measured on it.
  package static func here(_ isa: ISA) -> Self {
    ck_rates_here(ck_isa(UInt32(isa.rawValue))).pointee
  }
  /// Of this processor, where the threads of a team lie as far apart as they do now. In steps of a tenth of a
  /// microsecond, and bounded, since a busy machine may have held one of them up.
  package static func here(_ isa: ISA, team: Team) -> Self {
    var rates = here(isa)
    guard let barrier = team.barrierNanoseconds else { return rates }
    let others = CostModel(rates, threads: team.threads.count).barrierNanoseconds - rates.barrier
    let measured = (barrier / 100).rounded() * 100 - others
    rates.barrier = min(max(measured, rates.barrier / 4), 4 * rates.barrier)
    return rates
  }
  /// Of this kind of processor at that level.
  package static func nominal(_ isa: ISA) -> Self { ck_rates_nominal(ck_isa(UInt32(isa.rawValue))) }
}

/// What a step costs, for deciding how to spread it and for comparing with measurements.
///
/// A call takes as long as its arithmetic or as moving its bytes, whichever is longer, and a little for being
/// called. Of a team that call counts which has most of the work; it can be no faster than what all threads
/// together move between the caches of their groups, or from memory.
package struct CostModel: Sendable {
  private let rates: ProcessorRates
  /// The threads of the team.
  package let threads: Int
  /// Bytes a nanosecond that one thread moves of what a run comes by again and again.
  private let bytesPerNanosecond: Double

  /// - `rates`: how fast the processor is; `ProcessorRates.here` is what was measured on this one.
  /// - `threads`: the size of the team.
  /// - `footprint`: bytes that a run goes through, which decide what caches they are still in when the next
  ///   run comes.
  package init(_ rates: ProcessorRates, threads: Int = 1, footprint: Int = 0) {
    self.rates = rates
    self.threads = threads
    let isNear = footprint <= Int(rates.near_cache) * threads
    bytesPerNanosecond = isNear ? rates.near_bytes : rates.far_bytes
  }

  /// Bytes up to which a call's arrays stay in the caches of the threads' groups from step to step.
  package var cacheBytes: Double { Double(rates.group_cache) * Double(groups) }

  /// Groups of threads that share a cache.
  private var groups: Int {
    let group = max(1, Int(rates.group))
    return (threads + group - 1) / group
  }

  /// Nanoseconds that each thread beyond two adds to meeting.
  private var peers: Double {
    let group = max(2, Int(rates.group))
    let near = max(0, min(threads, group) - 2), far = max(0, threads - group)
    return Double(near) * rates.peer + Double(far) * rates.far_peer
  }

  /// Nanoseconds until a team is at work and known to be done, in a run that needs one at all.
  package var teamNanoseconds: Double { rates.team + peers }
  /// Nanoseconds that a barrier costs where all threads arrive together.
  package var barrierNanoseconds: Double { rates.barrier + peers }

  /// Nanoseconds that one thread takes.
  package func alone(_ call: KernelCall) -> Double {
    if let nanoseconds = call.nanoseconds { return rates.call + nanoseconds(1) }
    return rates.call + max(arithmetic(call), moving(call.bytes, of: call)) + call.overhead
  }

  /// Nanoseconds of the faster way, one thread alone or the team.
  func least(_ call: KernelCall) -> Double {
    threads > 1 && call.isParallel ? min(alone(call), spread(call)) : alone(call)
  }

  /// Nanoseconds that a team takes, the slowest thread's.
  ///
  /// - `touched`: bytes that the thread with most to do reads and writes, where that is known: of a
  ///   product each thread reads more than its share.
  package func spread(_ call: KernelCall, touched: Double? = nil) -> Double {
    if let nanoseconds = call.nanoseconds {
      return rates.call + rates.spread + nanoseconds(threads)
    }
    let share = call.largestShare(threads: threads)
    let own = max(share * call.bytes, min(touched ?? 0, call.bytes))
    var moving = moving(own, of: call)
    // What comes over a group's link: from memory all of it, else what threads of other groups have written.
    let isBeyond = call.bytes > cacheBytes
    let fromOutside = isBeyond ? 1 : 1 - 1 / Double(groups)
    let perGroup = min(call.bytes, own * Double(min(threads, max(1, Int(rates.group)))))
    moving = max(moving, perGroup * fromOutside / rates.link_bytes)
    if isBeyond { moving = max(moving, call.bytes / rates.team_memory_bytes) }
    return rates.call + rates.spread + max(share * arithmetic(call), moving) + share * call.overhead
  }

  private func arithmetic(_ call: KernelCall) -> Double {
    call.arithmeticNanoseconds ?? call.flops / rates.operations
  }

  /// Nanoseconds in which a thread moves so many of a call's bytes.
  private func moving(_ bytes: Double, of call: KernelCall) -> Double {
    bytes / (call.bytes > cacheBytes ? rates.memory_bytes : bytesPerNanosecond)
  }
}

extension KernelCall {
  /// The part of the work that the thread with most of it does: by what it writes of the results that the
  /// partition knows. Of several results the one that is cut most evenly counts: one thread may write a sum
  /// that all have made, beside rows that each has written.
  func largestShare(threads: Int) -> Double {
    let results = bindings.compactMap { binding -> Int? in
      if case .result(let index) = binding.buffer { index } else { nil }
    }
    let shares = results.compactMap { result -> Double? in
      var sum = 0
      var most = 0
      for thread in 0..<threads {
        guard let region = partition.region(.result(result), thread: thread, threads: threads)
        else { return nil }
        sum += region.width * region.count
        most = max(most, region.width * region.count)
      }
      return sum > 0 ? Double(most) / Double(sum) : nil
    }
    return shares.min() ?? 1 / Double(threads)
  }
}

extension Touch {
  /// The bytes that the thread with most of them touches.
  static func mostBytes(_ touches: [Touch], threads: Int) -> Double {
    var bytes = [Int](repeating: 0, count: threads)
    for touch in touches {
      switch touch.members {
      case .anyone: for thread in bytes.indices { bytes[thread] += touch.bytes.count / threads }
      case .one(let thread): bytes[thread] += touch.bytes.count
      case .each(let regions):
        for (thread, region) in regions.enumerated() {
          bytes[thread] += region.width * region.count
        }
      }
    }
    return Double(bytes.max() ?? 0)
  }
}
