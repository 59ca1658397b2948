// Names for the states of graphs: what lives from step to step.

import ApusGraph
import Synchronization

/// Named cells that executables read and update in place: parameters, optimiser slots, running
/// statistics, the random key.
///
/// A training step, a step for the last partial batch and an evaluation step refer to the same cells, so
/// that nothing is copied between them.
///
///     let store = StateStore()
///     try store.set("hidden.weight", weights)
///     let train = try Executable(trainGraph, states: store)
///     let evaluate = try Executable(evaluationGraph, states: store)
///
/// A name is only how this store calls a cell: another store may link the same cell under another one.
/// Reading and writing are safe from any thread; an executable locks the cells while it runs.
package final class StateStore: Sendable {
  private struct Contents {
    var cells: [String: StateCell] = [:]
    var order: [String] = []
  }
  private let contents = Mutex(Contents())
  /// That of the cells that this store makes.
  private let lock = StateLock()

  package init() {}

  /// A store in which every state of `graph` is zero: for graphs that come without values, such as those
  /// read from text.
  ///
  /// - Throws: `resource` where the system gives no memory.
  package convenience init(zerosFor graph: Graph) throws {
    self.init()
    for state in graph.states {
      try set(state.name, NDArray(zeros: graph.type(of: state.value)))
    }
  }

  /// The names of all states, in the order in which they were made.
  package var names: [String] { contents.withLock { $0.order } }

  /// The type of a state, or nil where there is none of that name.
  package func type(of name: String) -> TensorType? {
    contents.withLock { $0.cells[name]?.type }
  }

  /// The cell of that name, or nil where there is none.
  package func cell(_ name: String) -> StateCell? { contents.withLock { $0.cells[name] } }

  /// The cell of a graph's state.
  ///
  /// - Throws: `missing` where there is none of that name, `shapeMismatch` where it is of another type.
  func cell(_ name: String, _ type: TensorType) throws -> StateCell {
    guard let cell = cell(name) else {
      throw ApusError(
        .missing, "state '\(name)' has no value in the store",
        expected: names.isEmpty
          ? "a store with the graph's states" : "one of \(names.prefix(8).joined(separator: ", "))")
    }
    guard cell.type == type else {
      throw ApusError(
        .shapeMismatch, "state '\(name)' is \(cell.type) in the store",
        expected: "\(type), as the graph has it")
    }
    return cell
  }

  /// Calls a cell of elsewhere `name` in this store.
  ///
  /// - Throws: `invalidArgument` where another cell has that name here.
  package func link(_ name: String, _ cell: StateCell) throws {
    try contents.withLock { contents in
      if let existing = contents.cells[name] {
        guard existing === cell else {
          throw ApusError(
            .invalidArgument, "two states are named '\(name)'", expected: "a name for each")
        }
        return
      }
      contents.cells[name] = cell
      contents.order.append(name)
    }
  }

  /// A copy of a state.
  ///
  /// - Throws: `missing` where there is no state of that name.
  package func array(_ name: String) throws -> NDArray {
    guard let cell = cell(name) else {
      let known = names.prefix(8).joined(separator: ", ")
      throw ApusError(
        .missing, "there is no state '\(name)'", expected: known.isEmpty ? "no states exist" : known
      )
    }
    return cell.array
  }

  /// Sets a state, making it where there is none yet.
  ///
  /// - Throws: `shapeMismatch` where the state exists with another type, `resource` where the system
  ///   gives no memory.
  package func set(_ name: String, _ array: NDArray) throws {
    if let cell = cell(name) {
      guard cell.type == array.type else {
        throw ApusError(
          .shapeMismatch, "state '\(name)' is \(cell.type) in the store",
          expected: "\(array.type), as it is given")
      }
      return try cell.set(array)
    }
    try link(name, StateCell(array, lock: lock, for: "state '\(name)'"))
  }

  /// Runs `body` while nobody else reads, writes or runs on these states. Within it this thread may.
  package func withExclusiveAccess<R>(_ body: () throws -> R) rethrows -> R {
    let locks = contents.withLock { $0.cells.values.map(\.lock) }
    return try StateLock.withLocks(StateLock.ordered(locks), body)
  }
}
