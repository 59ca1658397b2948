// Updates of the rows of a table that a batch has looked up, at the cost of the batch and not of the table.

import ApusGraph
import ApusNN
import ApusOps

/// The gradient of a table of which a step has looked up rows: those rows, and what is added to each.
struct RowGradient {
  /// The row at the place of its first update, else -1: `i32[n]`.
  let rows: Tensor
  /// The gradient of that row, else zeros: `[n, …]`, with the table's other extents.
  let sums: Tensor

  /// The same gradient by rows; nil where `gradient` is of another making than by lookups, or a rule wants it
  /// whole.
  init?(_ gradient: Tensor, of parameter: Parameter, for rule: any Optimizer, in trace: Trace) {
    guard rule.rowUpdates != .never, gradient.dtype == .f32, parameter.shape.rank >= 1,
      let lookups = Self.lookups(gradient, in: trace)
    else { return nil }
    let extent = parameter.shape[0]
    let count = lookups.reduce(0) { $0 + $1.indices.shape.count }
    // Where both give the same, more than a quarter of a table is taken as all of it: rows are sorted, and moved
    // twice. The bound has not been measured.
    guard rule.rowUpdates == .always || count <= extent / 4, extent <= Int(Int32.max) else {
      return nil
    }
    let updates = lookups.map {
      $0.updates.reshaped(parameter.shape.replacingFirst(with: $0.indices.shape.count))
    }
    let indices = lookups.map { $0.indices.reshaped([$0.indices.shape.count]) }
    let isOne = lookups.count == 1
    (rows, sums) = (isOne ? updates[0] : concat(updates, axis: 0))
      .coalesced(isOne ? indices[0] : concat(indices, axis: 0), extent: extent)
  }

  private init(rows: Tensor, sums: Tensor) {
    self.rows = rows
    self.sums = sums
  }

  /// The same rows, scaled as the gradients of other parameters are.
  func with(_ sums: Tensor) -> RowGradient { RowGradient(rows: rows, sums: sums) }

  /// The lookups whose gradients add up to this one, in their order.
  private static func lookups(_ gradient: Tensor, in trace: Trace)
    -> [(updates: Tensor, indices: Tensor)]?
  {
    guard let value = gradient.value, let node = trace.maker(of: value) else { return nil }
    let operands = node.operands.compactMap { $0.view == nil ? trace.tensor($0.value) : nil }
    guard operands.count == 2 else { return nil }
    switch node.op {
    case let op as ScatterAdd where op.axis == 0 && !op.isAlong && op.result == nil:
      return [(operands[0], operands[1])]
    case is Add:
      guard let first = lookups(operands[0], in: trace),
        let second = lookups(operands[1], in: trace)
      else { return nil }
      return first + second
    default: return nil
    }
  }

  /// Records the update of these rows alone: the table's new value.
  func update(
    _ table: Tensor, by rule: any Optimizer, _ source: any UpdateState.Source
  ) -> Tensor {
    let places = maximum(rows, 0)
    var state = UpdateState(RowSlots(source, self, places, of: table.type), of: sums.type)
    let new = rule.update(table.take(places, axis: 0), sums, &state)
    return table.settingRows(rows, to: new)
  }
}

/// The slots of a table as a rule sees them that updates some rows.
private final class RowSlots: UpdateState.Source {
  private let base: any UpdateState.Source
  private let gradient: RowGradient
  private let places: Tensor
  private let table: TensorType

  init(
    _ base: any UpdateState.Source, _ gradient: RowGradient, _ places: Tensor,
    of table: TensorType
  ) {
    self.base = base
    self.gradient = gradient
    self.places = places
    self.table = table
  }

  /// What has the extents of the rows is kept for each row of the table; anything else as it is.
  func slot(_ name: String, _ type: TensorType, initial: Double) -> Tensor {
    guard type.shape == gradient.sums.shape else {
      return base.slot(name, type, initial: initial)
    }
    return base.slot(name, table.with(type.dtype), initial: initial).take(places, axis: 0)
  }

  func assign(_ slot: String, _ value: Tensor) {
    guard value.shape == gradient.sums.shape else { return base.assign(slot, value) }
    let whole = base.slot(slot, table.with(value.dtype), initial: 0)
    base.assign(slot, whole.settingRows(gradient.rows, to: value))
  }

  func scalar(_ name: String, _ value: @escaping @Sendable (UpdateTime) -> Double) -> Tensor {
    base.scalar(name, value)
  }
}

extension Shape {
  fileprivate func replacingFirst(with extent: Int) -> Shape {
    Shape([extent] + dimensions.dropFirst())
  }
}
