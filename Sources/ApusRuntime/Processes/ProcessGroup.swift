// The processes that train one model together.

import ApusGraph
import CKernels
import Synchronization

/// Processes that train one model together, each on examples of its own: data parallel training.
///
/// With the product `ApusMPI`, of the processes that `mpirun` has started:
///
///     try withMPI { processes in
///       let trainer = try Trainer(
///         model, optimizer: Adam(), compile: CompileOptions(processes: processes), loss: loss)
///       try trainer.fit(data.train.batched(64), epochs: 5)
///     }
///
/// All processes run the same program and come to the same calls in the same order. A batch is cut into one part for
/// each; gradients, losses and metrics are those of the whole batch, and every process has the same weights. See
/// Docs/DataParallel.md.
public final class ProcessGroup: Sendable {
  /// Which of the processes this is, from 0 on. The first one writes files and tells the user.
  public let rank: Int
  /// How many processes there are.
  public let size: Int
  package let transport: any ProcessTransport
  /// The threads that run this process's plans, where the process has others than everybody's: in tests.
  package let team: Team?
  /// As plans call it.
  var calls: UnsafePointer<ck_group> { UnsafePointer(table.pointer) }

  /// Filled in once, and read only from then on.
  private struct Table: @unchecked Sendable { let pointer: UnsafeMutablePointer<ck_group> }
  private let table: Table

  private struct State {
    /// Sums that have been begun and not been waited for.
    var pending: [Int] = []
    /// What all sums so far were, in their order.
    var signature: UInt64 = 14_695_981_039_346_656_037
    var wantsToStop = false
    var hasStopped = false
    var failure: ApusError?
  }
  private let state = Mutex(State())

  /// - `team`: of this process alone.
  package init(_ transport: any ProcessTransport, team: Team? = nil) {
    self.transport = transport
    self.team = team
    rank = transport.rank
    size = transport.size
    table = Table(pointer: .allocate(capacity: 1))
    table.pointer.initialize(
      to: ck_group(
        context: Unmanaged.passUnretained(self).toOpaque(),
        post: { ProcessGroup.of($0).post(Int($1), $2!, Int($3)) },
        wait: { ProcessGroup.of($0).wait(Int($1)) },
        agree: { ProcessGroup.of($0).agree($1) }))
  }

  deinit { table.pointer.deallocate() }

  private static func of(_ context: UnsafeMutableRawPointer?) -> ProcessGroup {
    Unmanaged<ProcessGroup>.fromOpaque(context!).takeUnretainedValue()
  }

  /// Whether this is the first process: the one that writes files and tells the user.
  public var isFirst: Bool { rank == 0 }

  // MARK: Within a run

  private func post(_ number: Int, _ values: UnsafeMutablePointer<Float>, _ count: Int) {
    state.withLock {
      $0.pending.append(number)
      for word in [UInt64(number), UInt64(count)] {
        $0.signature = ($0.signature ^ word) &* 1_099_511_628_211
      }
    }
    transport.post(number, values, count)
  }

  private func wait(_ number: Int) {
    transport.wait(number)
    state.withLock { $0.pending.removeAll { $0 == number } }
  }

  /// Waits for what a run has begun and nobody has waited for.
  func settle() {
    for number in state.withLock({ $0.pending }) { wait(number) }
  }

  /// Bits of the word that processes tell each other before weights change; above them stand those of the signature.
  private static let fails: UInt64 = 1, stops: UInt64 = 2, flags: UInt64 = 2

  private func agree(_ holds: Bool) -> Bool {
    let (signature, wantsToStop) = state.withLock {
      ($0.signature << Self.flags, $0.wantsToStop)
    }
    let words = transport.exchange(
      signature | (holds ? 0 : Self.fails) | (wantsToStop ? Self.stops : 0))
    let all = words.reduce(0, |)
    let other = words.firstIndex { $0 & ~3 != signature }
    state.withLock {
      if all & Self.stops != 0 { $0.hasStopped = true }
      if let other {
        $0.failure =
          $0.failure
          ?? ApusError(
            .invalidArgument, "process \(other) has taken other steps than process \(rank)",
            expected: "the same model, and the same calls in the same order, in all processes")
      }
    }
    return all & Self.fails == 0 && other == nil
  }

  // MARK: Between runs

  /// Why this process cannot go on with the others, where it cannot.
  package var failure: ApusError? { state.withLock { $0.failure } }

  /// Notes that this process has left the course of the others: what it would do next has no partner.
  package func fail(_ error: ApusError) {
    state.withLock {
      $0.failure =
        $0.failure
        ?? ApusError(
          .invalidArgument,
          "process \(rank) has failed alone, and the other processes wait for it: \(error.what)",
          at: error.location, expected: "an end of the process, which ends the others")
    }
  }

  /// Wishes that all processes stop: they know after the next step, all of them after the same.
  package func askToStop() { state.withLock { $0.wantsToStop = true } }

  /// Whether all processes know that one of them wishes to stop. The wish is then forgotten.
  package func takeStop() -> Bool {
    state.withLock {
      let hasStopped = $0.hasStopped
      if hasStopped { ($0.hasStopped, $0.wantsToStop) = (false, false) }
      return hasStopped
    }
  }

  /// Whether any process wishes to stop, found out now.
  package func agreeToStop(_ wish: Bool) -> Bool {
    state.withLock { if wish { $0.wantsToStop = true } }
    let own = state.withLock { $0.wantsToStop }
    let all = transport.exchange(own ? 1 : 0).contains(1)
    state.withLock { ($0.hasStopped, $0.wantsToStop) = (false, false) }
    return all
  }

  /// Returns when all processes have come here.
  public func barrier() { _ = transport.exchange(0) }

  /// The bytes of all processes, by rank.
  package func gather(_ bytes: [UInt8]) -> [[UInt8]] { transport.gather(bytes) }

  /// Sums over all processes, added up in the order of ranks: the same everywhere, in every run.
  package func sums(_ values: [Double]) -> [Double] {
    let all = gather(values.flatMap { withUnsafeBytes(of: $0.bitPattern.littleEndian, Array.init) })
    var sums = values.map { _ in 0.0 }
    for bytes in all where bytes.count == 8 * values.count {
      for index in sums.indices {
        let bits = bytes.withUnsafeBytes {
          $0.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
        }
        sums[index] += Double(bitPattern: UInt64(littleEndian: bits))
      }
    }
    return sums
  }

  /// - Throws: `invalidArgument` naming the first process whose text differs from this one's.
  package func requireEqual(_ text: String, _ what: String) throws {
    let all = gather(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
    guard let first = all.indices.first(where: { all[$0] != all[0] }) else { return }
    throw ApusError(
      .invalidArgument,
      "\(what) differ between processes: \(all[0]) in process 0, \(all[first]) in process \(first)",
      expected: "the same in all processes")
  }
}
