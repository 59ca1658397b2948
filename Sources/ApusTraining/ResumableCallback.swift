// Callbacks whose memory is a part of the checkpoint.

import ApusData
import ApusGraph
import ApusNN

/// A callback whose state a trainer's checkpoint holds, so that a run that is resumed goes on as the one that was
/// interrupted would have.
///
/// `fit` lets such callbacks hear of an event before the others: what they make of an epoch is in a checkpoint that
/// is written after it.
///
///     final class Counting: ResumableCallback {
///       private var epochs = 0.0
///       let checkpointName = "Counting"
///       var state: [String: Double] { ["epochs": epochs] }
///       func restore(_ state: [String: Double]) { epochs = state["epochs"] ?? 0 }
///       func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
///         if case .epochEnded = event { epochs += 1 }
///         return .goOn
///       }
///     }
public protocol ResumableCallback: Callback {
  /// What the checkpoint calls it. Of several of one name the order in `fit` decides.
  var checkpointName: String { get }
  /// All numbers that it remembers.
  var state: [String: Double] { get }
  /// Goes on from the numbers that it remembered.
  ///
  /// - Throws: where that makes no sense.
  func restore(_ state: [String: Double]) throws
  /// Arrays that it remembers besides, by names of its own; none by default.
  var stateArrays: [String: NDArray] { get }
  /// Goes on from the arrays that it remembered, none where there were none; called after ``restore(_:)``.
  ///
  /// - Throws: where that makes no sense.
  func restore(arrays: [String: NDArray]) throws
  /// How many bytes of arrays it may come to remember for a model: space on the disk is kept for them before the
  /// first step. As many as it has now by default.
  func stateByteCount(for model: any Module) -> Int
}

extension ResumableCallback {
  public var stateArrays: [String: NDArray] { [:] }
  public func restore(arrays: [String: NDArray]) throws {}
  public func stateByteCount(for model: any Module) -> Int {
    stateArrays.values.reduce(0) { $0 + $1.type.byteCount }
  }
}

/// The states of callbacks in a checkpoint: numbers in its header, arrays among its arrays.
struct CallbackStates {
  static let key = "apus.callbacks"
  /// By the callback's name, numbered from the second of a name on.
  private var states: [String: [String: Double]] = [:]
  /// Likewise.
  private(set) var arrays: [String: [String: NDArray]] = [:]

  private static func named(
    _ callbacks: [any Callback]
  ) -> [(name: String, callback: any ResumableCallback)] {
    var counts: [String: Int] = [:]
    return callbacks.compactMap { $0 as? any ResumableCallback }.map { callback in
      let count = counts[callback.checkpointName, default: 0] + 1
      counts[callback.checkpointName] = count
      return (callback.checkpointName + (count == 1 ? "" : "#\(count)"), callback)
    }
  }

  init(of callbacks: [any Callback]) {
    for (name, callback) in Self.named(callbacks) {
      states[name] = callback.state
      let arrays = callback.stateArrays
      if !arrays.isEmpty { self.arrays[name] = arrays }
    }
  }

  /// - Throws: `invalidFile` where the header is damaged.
  init(
    _ metadata: [String: String], _ arrays: [String: [String: NDArray]], at path: String
  ) throws {
    self.arrays = arrays
    guard let text = metadata[Self.key] else { return }
    let damage = ApusError(
      .invalidFile, "the checkpoint is damaged: '\(Self.key)' is no JSON of numbers", at: path,
      expected: "what a trainer wrote")
    guard let members = (try? JSON(parsing: text))?.members else { throw damage }
    for (name, json) in members {
      guard let numbers = json.members else { throw damage }
      for (key, value) in numbers {
        guard let number = value.exactDouble else { throw damage }
        states[name, default: [:]][key] = number
      }
      if numbers.isEmpty { states[name] = [:] }
    }
  }

  /// As the header has it; nil where there is nothing to say.
  var text: String? {
    guard !states.isEmpty else { return nil }
    return JSON.object(
      states.sorted { $0.key < $1.key }.map { name, numbers in
        (
          name,
          .object(numbers.sorted { $0.key < $1.key }.map { ($0.key, JSON(exactly: $0.value)) })
        )
      }
    ).text
  }

  /// Gives each callback what was kept under its name.
  func restore(_ callbacks: [any Callback]) throws {
    for (name, callback) in Self.named(callbacks) {
      guard let state = states[name] else { continue }
      try callback.restore(state)
      try callback.restore(arrays: arrays[name] ?? [:])
    }
  }

  /// How much more a checkpoint may take than ``text`` and the model: the arrays of callbacks.
  static func add(
    _ callbacks: [any Callback], of model: any Module, to size: inout FileSize
  ) {
    for (name, callback) in named(callbacks) {
      size.add(name, callback.stateByteCount(for: model))
      for place in ModelTree(model).places { size.add(name + place.path, 0) }
    }
  }
}
