// The values of a model at one time.

import ApusGraph
import ApusRuntime

/// The values of all parameters and buffers of a model at one time, in memory.
///
///     let best = try model.snapshot()
///     …
///     try model.restore(best)
public struct ModelSnapshot: Sendable {
  /// By path.
  public let arrays: [String: NDArray]

  package init(arrays: [String: NDArray]) { self.arrays = arrays }
}

extension Module {
  /// Copies the values of all parameters and buffers.
  ///
  /// - Throws: `missing` before the model is initialised.
  public func snapshot() throws -> ModelSnapshot {
    var arrays: [String: NDArray] = [:]
    for (path, state) in ModelTree(self).states { arrays[path] = try state.value() }
    return ModelSnapshot(arrays: arrays)
  }

  /// Gives parameters and buffers the values of a snapshot.
  ///
  /// - Throws: `missing` or `shapeMismatch` where it is not of this model; nothing is changed then.
  public func restore(_ snapshot: ModelSnapshot) throws {
    let states = ModelTree(self).states
    try requireFit(snapshot)
    let lock = states.lazy.compactMap { $0.state.cell?.lock }.first ?? StateLock()
    for (path, state) in states { try state.give(snapshot.arrays[path]!, lock: lock) }
  }

  /// Looks whether ``restore(_:)`` could give the snapshot.
  ///
  /// - Throws: as ``restore(_:)``.
  package func requireFit(_ snapshot: ModelSnapshot) throws {
    for (path, state) in ModelTree(self).states {
      guard let array = snapshot.arrays[path] else {
        throw ApusError(
          .missing, "the snapshot has no '\(path)'", expected: "a snapshot of this model")
      }
      guard array.type == state.type else {
        throw ApusError(
          .shapeMismatch, "'\(path)' is \(array.type) in the snapshot", expected: "\(state.type)")
      }
    }
  }
}
