// What a step of a plan costs, roughly.

import ApusGraph
import CKernels

/// What a step costs, for deciding how to spread it and for comparing with measurements.
package struct CostModel: Sendable {
  /// Floating-point operations a nanosecond of one thread, where a call says no time of its own.
  package var flopsPerNanosecond: Double
  /// Bytes a nanosecond of one thread, of what the second and third cache hold. On Zen 4 an update that
  /// finds its arrays in its own caches moves 65 (20 KB) to 115 (1 MB), between products 65 to 75.
  package var bytesPerNanosecond: Double
  /// The same of more than the caches hold, and of all threads together.
  package var memoryBytesPerNanosecond: (thread: Double, team: Double)
  /// Bytes up to which a call's arrays stay in the caches from step to step.
  package var cacheBytes: Double
  /// Nanoseconds of calling a kernel.
  package var callNanoseconds: Double
  /// Nanoseconds that spreading a step costs: lines that move between caches.
  package var spreadNanoseconds: Double
  /// Nanoseconds until a team is at work and known to be done, in a run that needs one at all.
  package var teamNanoseconds: Double
  /// Nanoseconds that a barrier costs where all threads arrive together.
  package var barrierNanoseconds: Double

  package init(isa: ISA) {
    flopsPerNanosecond = isa == .ref ? 4 : 60
    bytesPerNanosecond = isa == .ref ? 4 : 70
    memoryBytesPerNanosecond = isa == .ref ? (4, 70) : (65, 70)
    cacheBytes = Double(ck_cache_bytes())
    callNanoseconds = 40
    spreadNanoseconds = 100
    teamNanoseconds = 500
    barrierNanoseconds = 400
  }

  /// Nanoseconds that one thread takes.
  package func alone(_ call: KernelCall) -> Double {
    callNanoseconds + work(call, share: 1)
  }

  /// Nanoseconds that a team takes, the slowest thread's.
  package func spread(_ call: KernelCall, threads: Int) -> Double {
    callNanoseconds + spreadNanoseconds + work(call, share: call.largestShare(threads: threads))
  }

  /// Nanoseconds of a thread that does so much of a call, while others do the rest.
  private func work(_ call: KernelCall, share: Double) -> Double {
    let arithmetic = call.arithmeticNanoseconds ?? call.flops / flopsPerNanosecond
    var moving = share * call.bytes / bytesPerNanosecond
    if call.bytes > cacheBytes {
      moving = max(
        share * call.bytes / memoryBytesPerNanosecond.thread,
        call.bytes / memoryBytesPerNanosecond.team)
    }
    return max(share * arithmetic, moving) + share * call.overhead
  }
}

extension KernelCall {
  /// The part of the work that the thread with most of it does: by what it writes of the results that the
  /// partition knows. Of several the most even one tells: one thread may write a sum that all have made.
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
