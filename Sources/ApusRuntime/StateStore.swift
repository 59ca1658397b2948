// The states of a model: what lives from step to step.

import ApusGraph
import Synchronization

/// Named buffers that executables read and update in place: parameters, optimiser slots, running
/// statistics, the random key.
///
/// A training step, a step for the last partial batch and an evaluation step compiled from one model
/// share one store, so that nothing is copied between them.
///
///     let store = StateStore()
///     try store.set("hidden.weight", weights)
///     let train = try Executable(trainGraph, states: store)
///     let evaluate = try Executable(evaluationGraph, states: store)
///
/// Reading and writing are safe from any thread; an executable locks the store while it runs.
public final class StateStore: Sendable {
  /// One state's memory: 64-byte aligned, of the size of its type, at the same address for the life of
  /// the store.
  public struct Buffer: @unchecked Sendable {
    public let type: TensorType
    let memory: Memory
    let generation: Generation

    public var address: UnsafeMutableRawPointer { memory.base }
  }

  /// How often a state has changed. Only touched while the store is locked for a run or a change.
  final class Generation: @unchecked Sendable {
    var count = 1
  }

  /// A form of a state that a kernel wants, shared by the executables that use it.
  struct PackedForm: @unchecked Sendable {
    let memory: Memory
    /// The generation of the state that it was made of; 0 before it was made.
    let madeOf: Generation
    let state: Generation

    var address: UnsafeMutableRawPointer { memory.base }

    /// Whether the state has changed since the form was made.
    var isStale: Bool { madeOf.count != state.count }
    /// Notes that it has been made of the state as it is.
    func noteMade() { madeOf.count = state.count }
  }

  private struct Contents {
    var buffers: [String: Buffer] = [:]
    var order: [String] = []
    var forms: [String: PackedForm] = [:]
  }
  private let contents = Mutex(Contents())
  /// Held while an executable runs on these states.
  private let running = Mutex(())

  public init() {}

  /// The names of all states, in the order in which they were made.
  public var names: [String] { contents.withLock { $0.order } }

  /// The type of a state, or nil where there is none of that name.
  public func type(of name: String) -> TensorType? {
    contents.withLock { $0.buffers[name]?.type }
  }

  /// The memory of a state, made and zeroed where there is none yet.
  ///
  /// - Throws: `shapeMismatch` where the state exists with another type, `resource` where the system
  ///   gives no memory.
  public func buffer(_ name: String, _ type: TensorType) throws -> Buffer {
    try contents.withLock { contents in
      if let existing = contents.buffers[name] {
        guard existing.type == type else {
          throw ApusError(
            .shapeMismatch, "state '\(name)' is \(existing.type) in the store",
            expected: "\(type), as the graph has it")
        }
        return existing
      }
      let memory = try Memory(byteCount: type.byteCount, for: "state '\(name)'")
      let buffer = Buffer(type: type, memory: memory, generation: Generation())
      contents.buffers[name] = buffer
      contents.order.append(name)
      return buffer
    }
  }

  /// The memory of a state's form, made where there is none yet.
  ///
  /// - Throws: `resource` where the system gives no memory.
  func packedForm(
    of buffer: Buffer, _ name: String, _ form: String, byteCount: Int
  ) throws -> PackedForm {
    try contents.withLock { contents in
      let key = "\(name) \(form)"
      if let existing = contents.forms[key] { return existing }
      let none = Generation()
      none.count = 0
      let made = PackedForm(
        memory: try Memory(byteCount: byteCount, for: "a packed form of '\(name)'"),
        madeOf: none, state: buffer.generation)
      contents.forms[key] = made
      return made
    }
  }

  /// A copy of a state.
  ///
  /// - Throws: `missing` where there is no state of that name.
  public func array(_ name: String) throws -> NDArray {
    guard let buffer = contents.withLock({ $0.buffers[name] }) else { throw missing(name) }
    return running.withLock { _ in
      NDArray(buffer.type) {
        $0.copyMemory(
          from: UnsafeRawBufferPointer(start: buffer.address, count: buffer.type.byteCount))
      }
    }
  }

  /// Sets a state, making it where there is none yet.
  ///
  /// - Throws: `shapeMismatch` where the state exists with another type, `resource` where the system
  ///   gives no memory.
  public func set(_ name: String, _ array: NDArray) throws {
    let buffer = try buffer(name, array.type)
    running.withLock { _ in
      array.withUnsafeBytes { bytes in
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        buffer.address.copyMemory(from: base, byteCount: bytes.count)
      }
      buffer.generation.count += 1
    }
  }

  /// Runs `body` while nobody else reads, writes or runs on these states.
  public func withExclusiveAccess<R>(_ body: () throws -> R) rethrows -> R {
    try running.withLock { _ in try body() }
  }

  private func missing(_ name: String) -> ApusError {
    let known = names.prefix(8).joined(separator: ", ")
    return ApusError(
      .missing, "there is no state '\(name)'", expected: known.isEmpty ? "no states exist" : known)
  }
}
