// What a step or a predictor has compiled, for the shapes that came last.

import ApusGraph
import ApusNN
import ApusRuntime
import Synchronization

/// A bounded number of compiled graphs, which share one arena, since one runs at a time.
///
/// Text of every length or a data set of every size would otherwise compile, and keep, one for each. Once
/// there are more shapes than are kept, that is said, with the axis that changes.
final class CompiledShapes<Entry> {
  /// So many are kept: full and last batches, evaluation's, a few lengths.
  static var capacity: Int { 16 }

  private struct Slot {
    var fields: [BatchField]
    var entry: Entry
  }
  /// Used longest ago first.
  private var slots: [Slot] = []
  private var met: Set<[BatchField]> = []
  private var hasWarned = false
  private let owner: String
  let arena = Arena()

  /// - `owner`: what a warning calls this.
  init(_ owner: String) { self.owner = owner }

  /// The entry for arrays of those types that fits, made where there is none.
  func entry(
    for fields: [BatchField], where fits: (Entry) -> Bool = { _ in true }, make: () throws -> Entry
  ) throws -> Entry {
    if let last = slots.last, last.fields == fields, fits(last.entry) { return last.entry }
    if let index = slots.firstIndex(where: { $0.fields == fields && fits($0.entry) }) {
      let slot = slots.remove(at: index)
      slots.append(slot)
      return slot.entry
    }
    // Before making another: its memory is what the new one takes.
    if slots.count == Self.capacity {
      slots.removeFirst()
      if !hasWarned, met.count >= Self.capacity { warn(fields) }
    }
    let entry = try make()
    met.insert(fields)
    slots.append(Slot(fields: fields, entry: entry))
    return entry
  }

  func removeAll() { slots = [] }

  private func warn(_ fields: [BatchField]) {
    hasWarned = true
    var changing: [String] = []
    for (place, field) in fields.enumerated() {
      for axis in field.type.shape.dimensions.indices {
        let extents = Set(
          met.compactMap { other -> Int? in
            guard other.indices.contains(place), other[place].type.rank == field.type.rank else {
              return nil
            }
            return other[place].type.shape[axis]
          } + [field.type.shape[axis]])
        if extents.count > 1 {
          changing.append(
            "axis \(axis) of '\(field.name)' (\(extents.min()!) to \(extents.max()!))")
        }
      }
    }
    Warnings.say(
      "\(owner) has met \(met.count + 1) shapes and keeps \(Self.capacity) compiled: "
        + (changing.isEmpty ? "their names differ" : "\(changing.joined(separator: ", ")) changes")
        + "; compiling again takes time, so pad or group batches to a few sizes")
  }
}

/// What a recording took for granted: which parameters and buffers are frozen, whatever models they stand in.
///
/// A layer that asked says what the step does; a step must not run on once the answer would be another.
final class Assumptions {
  private let conditions: [() -> Bool]
  /// How often states had been frozen or unfrozen when all held last.
  private var freezes: Int

  /// How often states have been frozen or unfrozen.
  static var now: Int { ModelState.freezes.load(ordering: .acquiring) }

  /// - `trace`: what was recorded.
  /// - `start`: ``now``, before the recording began.
  init(of trace: Trace, from start: Int) {
    conditions = trace.assumptions
    freezes = start
  }

  /// Whether all still is so. In every step: mostly one look at a counter.
  var hold: Bool {
    let now = Self.now
    if now == freezes { return true }
    guard conditions.allSatisfy({ $0() }) else { return false }
    freezes = now
    return true
  }
}

/// Things that are no mistakes but cost time or surprise.
///
///     Warnings.handler = { log.warning("\($0)") }
public enum Warnings {
  private static let current = Mutex<@Sendable (String) -> Void>(standard)
  private static let standard: @Sendable (String) -> Void = { text in
    StandardError.write("warning: \(text)\n")
  }

  /// Takes every warning; writes it to standard error by default.
  public static var handler: @Sendable (String) -> Void {
    get { current.withLock { $0 } }
    set { current.withLock { $0 = newValue } }
  }

  /// Gives a warning to the handler.
  static func say(_ text: String) { handler(text) }
}
