// What optimisers keep from step to step, how often they have updated what, and what the host tells them
// before each step.

import ApusGraph
import ApusNN
import ApusRuntime

/// The slots of a step's optimisers: for each parameter and name one. They belong to the step, so that two
/// steps over the same weights, each with its Adam, do not mix their moments.
final class OptimizerSlots {
  struct Key: Hashable {
    var name: String
    var parameter: ObjectIdentifier
  }
  private(set) var cells: [(key: Key, name: String, parameter: Parameter, cell: StateCell)] = []
  private var places: [Key: Int] = [:]

  func cell(_ name: String, _ parameter: Parameter) -> StateCell? {
    places[Key(name: name, parameter: ObjectIdentifier(parameter))].map { cells[$0].cell }
  }

  /// The slot, made where there is none yet.
  ///
  /// - `name`: with the optimiser's, such as `optimizer.momentum`.
  /// - Throws: `shapeMismatch` where it exists in another type, `resource` where there is no memory.
  func slot(
    _ name: String, _ parameter: Parameter, _ type: TensorType, initial: Double, lock: StateLock
  ) throws -> StateCell {
    if let cell = cell(name, parameter) {
      guard cell.type == type else {
        throw ApusError(
          .shapeMismatch, "'\(name)' of '\(parameter.path ?? "")' is \(cell.type)",
          expected: "\(type), as the optimiser asks for it")
      }
      return cell
    }
    let cell = try StateCell(zeros: type, lock: lock, for: "'\(name)'")
    if initial != 0 {
      try cell.set(NDArray(doubles: [Double](repeating: initial, count: type.count), type: type))
    }
    add(name, parameter, cell)
    return cell
  }

  func add(_ name: String, _ parameter: Parameter, _ cell: StateCell) {
    let key = Key(name: name, parameter: ObjectIdentifier(parameter))
    places[key] = cells.count
    cells.append((key, name, parameter, cell))
  }

  func removeAll() {
    cells = []
    places = [:]
    counters = [:]
  }

  // MARK: Counts

  /// How often an optimiser has updated a parameter.
  final class Counter {
    var count = 0
  }
  private(set) var counters: [Key: Counter] = [:]

  func counter(_ optimizer: String, _ parameter: Parameter) -> Counter {
    let key = Key(name: optimizer, parameter: ObjectIdentifier(parameter))
    if let known = counters[key] { return known }
    let made = Counter()
    counters[key] = made
    return made
  }
}

/// Numbers that the host computes before each run of one graph.
final class HostScalars {
  private final class Entry {
    let name: String
    /// Of the parameters that share it, when the graph was recorded.
    let update: Int
    let cell: StateCell
    let value: @Sendable (UpdateTime) -> Double

    init(
      name: String, update: Int, cell: StateCell, value: @escaping @Sendable (UpdateTime) -> Double
    ) {
      self.name = name
      self.update = update
      self.cell = cell
      self.value = value
    }
  }
  private var entries: [Entry] = []
  /// The counters of all parameters that the graph updates, with the counts they had when it was recorded.
  private var counters: [(counter: OptimizerSlots.Counter, start: Int)] = []
  /// Runs that the counters have not been told of yet.
  private var pending = 0
  /// How far the counters are from `start`: the same for all, or the graph is of no use any more.
  private var runs = 0

  func updates(_ counter: OptimizerSlots.Counter) { counters.append((counter, counter.count)) }

  /// The cell of a number, one for all parameters of equal counts.
  func cell(
    _ name: String, update: Int, lock: StateLock,
    _ value: @escaping @Sendable (UpdateTime) -> Double
  ) throws -> StateCell {
    if let known = entries.first(where: { $0.name == name && $0.update == update }) {
      return known.cell
    }
    let cell = try StateCell(zeros: .f32(), lock: lock, for: "'\(name)'")
    entries.append(Entry(name: name, update: update, cell: cell, value: value))
    return cell
  }

  /// Sets all for the run of a step.
  ///
  /// - Throws: `invalidArgument` where one is no finite number.
  func set(at step: Int) throws {
    for entry in entries {
      let number = entry.value(UpdateTime(step: step, update: entry.update + runs + pending))
      guard number.isFinite else {
        throw ApusError(
          .invalidArgument, "'\(entry.name)' is \(number) at step \(step)",
          expected: "a finite number; see the learning rate's schedule")
      }
      entry.cell.setScalar(Float(number))
    }
  }

  /// Notes that the run has updated the parameters.
  func noteRun() { pending += 1 }

  /// Tells the counters of the runs so far. Before another graph runs, or a checkpoint is written.
  func settle() {
    guard pending > 0 else { return }
    for (counter, _) in counters { counter.count += pending }
    runs += pending
    pending = 0
  }

  /// Whether all parameters have been updated equally often since the graph was recorded, whatever other
  /// graphs ran in between; their number of updates is then known. Call it after `settle` of the other graph.
  func catchesUp() -> Bool {
    guard let first = counters.first else { return true }
    let distance = first.counter.count - first.start
    guard counters.allSatisfy({ $0.counter.count - $0.start == distance }) else { return false }
    runs = distance
    return true
  }
}

/// Where the update rule of one parameter gets its slots and scalars from.
final class UpdateRecorder: UpdateState.Source {
  private let trace: Trace
  private let parameter: Parameter
  private let lock: StateLock
  private let slots: OptimizerSlots
  private let scalars: HostScalars
  /// The optimiser's name, for slots.
  private let name: String
  /// The name with which group's rule it is, for scalars.
  private let scalarName: String
  private let update: Int

  init(
    _ trace: Trace, _ parameter: Parameter, _ cell: StateCell, slots: OptimizerSlots,
    scalars: HostScalars, name: String, scalarName: String
  ) {
    self.trace = trace
    self.parameter = parameter
    lock = cell.lock
    self.slots = slots
    self.scalars = scalars
    self.name = name
    self.scalarName = scalarName
    let counter = slots.counter(name, parameter)
    scalars.updates(counter)
    update = counter.count
  }

  func slot(_ slot: String, _ type: TensorType, initial: Double) -> Tensor {
    state(type) {
      let name = "\(name).\(slot)"
      let cell = try slots.slot(name, parameter, type, initial: initial, lock: lock)
      return (cell, "\(name).\(parameter.path ?? "parameter")")
    }
  }

  func assign(_ slot: String, _ value: Tensor) {
    let name = "\(name).\(slot)"
    // A rule may set a slot that it has not read.
    if slots.cell(name, parameter) == nil || !isUsed(name) {
      _ = self.slot(slot, value.type, initial: 0)
    }
    guard let cell = slots.cell(name, parameter) else { return }
    trace.assign(cell, value)
  }

  private func isUsed(_ name: String) -> Bool {
    slots.cell(name, parameter).map { !trace.versions(of: $0).isEmpty } ?? false
  }

  func scalar(_ scalar: String, _ value: @escaping @Sendable (UpdateTime) -> Double) -> Tensor {
    state(.f32()) {
      let name = "\(scalarName).\(scalar)"
      return (try scalars.cell(name, update: update, lock: lock, value), name)
    }
  }

  private func state(
    _ type: TensorType, _ make: () throws -> (cell: StateCell, name: String)
  ) -> Tensor {
    do {
      let (cell, name) = try make()
      return trace.state(of: cell, named: name, type)
    } catch {
      trace.record(asApusError(error))
      return Tensor(trace: trace, value: nil, type: type)
    }
  }
}
