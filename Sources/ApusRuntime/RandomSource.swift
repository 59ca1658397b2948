// Random keys: where the numbers of a step, a predictor or a function come from.

import ApusGraph
import ApusOps

/// A random key that advances from run to run; see ``ApusGraph/Trace/randomKey``.
package final class RandomSource: Sendable {
  /// `i64[2]`: the seed, and how many runs have drawn from it.
  package let cell: StateCell

  /// - Throws: `resource` where the system gives no memory.
  package init(seed: UInt64) throws {
    cell = try StateCell(Self.key(seed, 0), for: "a random key")
  }

  /// Starts again with a seed.
  package func reset(seed: UInt64) throws { try cell.set(Self.key(seed, 0)) }

  private static func key(_ seed: UInt64, _ step: Int64) -> NDArray {
    NDArray([Int64(bitPattern: seed), step], shape: [2])
  }
}

extension Trace {
  /// Makes the next run draw other numbers, where this one draws any.
  package func advanceRandomKey() {
    guard hasState(Self.randomKeyState) else { return }
    let key = storedRandomKey
    assign(key, key + constant(NDArray([0, 1] as [Int64], shape: [2])))
  }
}

extension StateStore {
  /// The states of a trace: the cells that they stand for, and the random key.
  ///
  /// - Throws: `missing` where a state stands for nothing.
  package convenience init(of trace: Trace, random: StateCell) throws {
    self.init()
    for state in trace.graph.states {
      if let cell = trace.stateOwners[state.name] as? StateCell {
        try link(state.name, cell)
      } else if state.name == Trace.randomKeyState {
        try link(state.name, random)
      }
    }
  }
}
