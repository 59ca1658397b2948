// The memory of one state, and the lock that runs and readers of it share.

import ApusGraph
import Glibc
import Synchronization

/// One state's memory: 64-byte aligned, of the size of its type, at the same address for its whole life.
///
/// A cell is what a parameter, a running statistic, an optimiser's slot or a random key *is* at run time.
/// Its identity is the cell itself; names are given by the stores and graphs that refer to it.
///
/// Reading and writing are safe from any thread; executables lock the cells that they work on.
package final class StateCell: StateOwner, @unchecked Sendable {
  package let type: TensorType
  /// What a run or a change of this cell holds. Cells that are used together share one.
  package let lock: StateLock
  let memory: Memory
  /// Where it is counted how often the value has changed. Touched only under `lock`. Runs count the changes
  /// of many cells each time, through pointers: without a reference counted for each.
  let changeCount: UnsafeMutablePointer<Int>
  var changes: Int {
    get { changeCount.pointee }
    set { changeCount.pointee = newValue }
  }
  private let forms = Mutex<[String: PackedForm]>([:])

  /// A form of a state that a kernel wants, shared by the executables that use it.
  final class PackedForm: @unchecked Sendable {
    let memory: Memory
    private let cell: StateCell
    /// The `changes` of the cell when it was made; 0 before.
    private var madeOf = 0

    init(_ memory: Memory, of cell: StateCell) {
      self.memory = memory
      self.cell = cell
    }

    var address: UnsafeMutableRawPointer { memory.base }
    /// Whether the state has changed since the form was made.
    var isStale: Bool { madeOf != cell.changes }
    /// Notes that it has been made of the state as it is.
    func noteMade() { madeOf = cell.changes }
  }

  /// A cell of zeros.
  ///
  /// - `lock`: that of the cells it will be used with; a new one by default.
  /// - Throws: `resource` where the system gives no memory.
  package init(
    zeros type: TensorType, lock: StateLock = StateLock(), for purpose: @autoclosure () -> String
  ) throws {
    self.type = type
    self.lock = lock
    memory = try Memory.ofState(byteCount: type.byteCount, for: purpose())
    changeCount = .allocate(capacity: 1)
    changeCount.initialize(to: 1)
  }

  deinit { changeCount.deallocate() }

  /// A cell that holds a copy of `array`.
  ///
  /// - Throws: `resource` where the system gives no memory.
  package convenience init(
    _ array: NDArray, lock: StateLock = StateLock(), for purpose: @autoclosure () -> String
  ) throws {
    try self.init(zeros: array.type, lock: lock, for: purpose())
    write(array)
  }

  var address: UnsafeMutableRawPointer { memory.base }

  /// A copy of the value.
  package var array: NDArray {
    lock.withLock {
      NDArray(type) {
        $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: type.byteCount))
      }
    }
  }

  /// Sets the value.
  ///
  /// - Throws: `shapeMismatch` for an array of another type.
  package func set(_ array: NDArray) throws {
    guard array.type == type else {
      throw ApusError(.shapeMismatch, "a state is given \(array.type)", expected: "\(type)")
    }
    write(array)
  }

  /// Takes the value of another cell of the same type.
  ///
  /// - Throws: `shapeMismatch` for a cell of another type.
  package func copy(from other: StateCell) throws {
    guard other !== self else { return }
    guard other.type == type else {
      throw ApusError(.shapeMismatch, "a state is given \(other.type)", expected: "\(type)")
    }
    StateLock.withLocks(StateLock.ordered([lock, other.lock])) {
      address.copyMemory(from: other.address, byteCount: type.byteCount)
      changes += 1
    }
  }

  /// Sets a scalar without the detour through an array: what a host gives a step anew each time.
  ///
  /// - Precondition: the type is `f32[]`.
  package func setScalar(_ value: Float) {
    precondition(type.dtype == .f32 && type.rank == 0, "a scalar cell is f32[]")
    lock.withLock {
      address.storeBytes(of: value, as: Float.self)
      changes += 1
    }
  }

  private func write(_ array: NDArray) {
    lock.withLock {
      array.withUnsafeBytes { bytes in
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        address.copyMemory(from: base, byteCount: bytes.count)
      }
      changes += 1
    }
  }

  /// The memory of a form, made where there is none yet.
  ///
  /// - Throws: `resource` where the system gives no memory.
  func packedForm(_ form: String, byteCount: Int) throws -> PackedForm {
    try forms.withLock { forms in
      if let existing = forms[form] { return existing }
      let made = PackedForm(
        try Memory(byteCount: byteCount, for: "a packed form of a state"), of: self)
      forms[form] = made
      return made
    }
  }
}

/// A lock that the thread which holds it may take again, so that what runs exclusively can read states.
package final class StateLock: Sendable {
  private static let made = Atomic<Int>(0)
  /// Locks are always taken in this order, so that two threads never wait for each other.
  private let number: Int
  private let mutex = Mutex(())
  /// The thread that holds it; 0 where none does.
  private let holder = Atomic<UInt>(0)

  package init() { number = Self.made.add(1, ordering: .relaxed).newValue }

  /// Runs `body` while no other thread holds the lock.
  package func withLock<R>(_ body: () throws -> R) rethrows -> R {
    let me = UInt(pthread_self())
    if holder.load(ordering: .relaxed) == me { return try body() }
    return try mutex.withLock { _ in
      holder.store(me, ordering: .relaxed)
      defer { holder.store(0, ordering: .relaxed) }
      return try body()
    }
  }

  /// Each lock once, in the order in which they must be taken.
  static func ordered(_ locks: some Sequence<StateLock>) -> [StateLock] {
    var known: [Int: StateLock] = [:]
    for lock in locks { known[lock.number] = lock }
    return known.sorted { $0.key < $1.key }.map(\.value)
  }

  /// Runs `body` while no other thread holds any of `locks`, which are in order.
  static func withLocks<R>(_ locks: some Collection<StateLock>, _ body: () throws -> R) rethrows
    -> R
  {
    guard let first = locks.first else { return try body() }
    if locks.count == 1 { return try first.withLock(body) }
    return try first.withLock { try withLocks(locks.dropFirst(), body) }
  }
}
