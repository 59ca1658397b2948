// A team of threads for kernels that are timed without a plan, and the memory they work on.

import Apus
import CKernels
import Glibc

/// A team for kernels that are timed without a plan.
final class BenchmarkTeam {
  private let team: OpaquePointer
  let threads: Int
  /// Where members may run, while each is tied to one of these processors.
  private var places: ck_bench_places?

  init(threads: Int, scratchBytes: Int = 0) throws {
    guard let team = ck_team_create(Int32(threads), scratchBytes) else {
      throw ApusError(.resource, "the system gives no team of \(threads) threads")
    }
    self.team = team
    self.threads = threads
  }

  deinit {
    leavePlaces()
    ck_team_destroy(team)
  }

  /// Ties each member to a processor of its own, where there are as many as members, until the places
  /// are left. Without, the system may keep two members on one processor while another has work of
  /// another process, and what is measured is half of the machine.
  ///
  /// - Throws: `resource` where the system does not say which processors there are.
  func takePlaces() throws {
    guard places == nil, threads <= ck_processors() else { return }
    var places = ck_bench_places()
    guard ck_bench_places_read(&places) else {
      throw ApusError(.resource, "the system does not say which processors this process may use")
    }
    self.places = places
    run(ck_bench_take_place, &places)
  }

  /// Lets the members, the calling thread among them, run anywhere again.
  func leavePlaces() {
    guard var places else { return }
    self.places = nil
    run(ck_bench_leave_place, &places)
  }

  /// Runs one kernel on all threads.
  func run(_ kernel: ck_kernel, _ arguments: UnsafeRawPointer) {
    var step = ck_step(kernel: kernel, args: arguments, threads: 0, barrier: 1, condition: nil)
    ck_run(team, &step, 1)
  }
}

/// Zeroed memory on a page boundary.
final class AlignedMemory {
  let address: UnsafeMutableRawPointer
  let byteCount: Int

  init(byteCount: Int) {
    self.byteCount = byteCount
    // On huge pages where it is large, as the states and the arena that it is compared with are.
    let hugePage = 2 << 20
    let isLarge = byteCount >= hugePage
    address = .allocate(byteCount: max(byteCount, 64), alignment: isLarge ? hugePage : 4096)
    if isLarge { madvise(address, byteCount / hugePage * hugePage, MADV_HUGEPAGE) }
    address.initializeMemory(as: UInt8.self, repeating: 0, count: max(byteCount, 64))
  }

  deinit { address.deallocate() }

  var floats: UnsafeMutablePointer<Float> { address.assumingMemoryBound(to: Float.self) }

  /// Fills with numbers between -1 and 1.
  func fillRandomly(seed: UInt64) {
    var state = seed &* 2 &+ 1
    for index in 0..<byteCount / 4 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      floats[index] = Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
    }
  }
}

/// The least seconds of several tries, after one that does not count: at least `count`, and as many as a
/// tenth of a second has room for, since on a busy machine most tries are interrupted.
func fastest(of count: Int, _ body: () -> Void) -> Double {
  body()
  let start = ContinuousClock.now
  var best = Double.infinity
  var tries = 0
  while tries < count || ContinuousClock.now - start < .milliseconds(100) {
    best = min(best, seconds(body))
    tries += 1
  }
  return best
}
