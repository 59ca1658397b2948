// What optimisers keep from step to step, and what the host tells them before each.

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
  }
}

/// Numbers that the host computes before each step.
final class HostScalars {
  private var entries: [(name: String, cell: StateCell, value: @Sendable (Int) -> Double)] = []

  /// The cell of a number; a name that is known takes the new function.
  func cell(
    _ name: String, lock: StateLock, _ value: @escaping @Sendable (Int) -> Double
  ) throws -> StateCell {
    if let index = entries.firstIndex(where: { $0.name == name }) {
      entries[index].value = value
      return entries[index].cell
    }
    let cell = try StateCell(zeros: .f32(), lock: lock, for: "'\(name)'")
    entries.append((name, cell, value))
    return cell
  }

  /// Sets all for a step.
  ///
  /// - Throws: `invalidArgument` where one is no finite number.
  func set(at step: Int) throws {
    for (name, cell, value) in entries {
      let number = value(step)
      guard number.isFinite else {
        throw ApusError(
          .invalidArgument, "'\(name)' is \(number) at step \(step)",
          expected: "a finite number; see the learning rate's schedule")
      }
      cell.setScalar(Float(number))
    }
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

  func scalar(_ scalar: String, _ value: @escaping @Sendable (Int) -> Double) -> Tensor {
    state(.f32()) {
      let name = "\(scalarName).\(scalar)"
      return (try scalars.cell(name, lock: lock, value), name)
    }
  }

  private func state(
    _ type: TensorType, _ make: () throws -> (cell: StateCell, name: String)
  ) -> Tensor {
    do {
      let (cell, name) = try make()
      return trace.state(of: cell, named: name, type)
    } catch {
      trace.record(error as? ApusError ?? ApusError(.invalidArgument, "\(error)"))
      return Tensor(trace: trace, value: nil, type: type)
    }
  }
}
