// An update rule by itself, outside of a step: what it keeps, what it asks for, and its equations as
// operations on given tensors. For tests and benchmarks.

import ApusGraph

/// What an optimiser's rule is made of, for a parameter of one type.
///
///     let outline = UpdateOutline(Adam(), of: .f32(100))
///     outline.slots                                   // ["first_moment", "second_moment"]
///     let results = outline.record(p, g, slots: [m, v], scalars: [s, c])   // p, m, v anew
package final class UpdateOutline: UpdateState.Source {
  /// The slots, in the order in which the rule first asks for them.
  package private(set) var slots: [String] = []
  /// Their first values.
  package private(set) var initial: [NDArray] = []
  package private(set) var scalars: [(name: String, value: @Sendable (UpdateTime) -> Double)] = []

  private let optimizer: any Optimizer
  private let type: TensorType
  private var slotTensors: [String: Tensor] = [:]
  private var scalarTensors: [String: Tensor] = [:]

  package init(_ optimizer: any Optimizer, of type: TensorType) {
    self.optimizer = optimizer
    self.type = type
    // Recorded once, for nobody, to see what it asks for.
    let trace = Trace()
    Trace.$current.withValue(trace) {
      var state = UpdateState(self, of: type)
      _ = optimizer.update(trace.input("p", type), trace.input("g", type), &state)
    }
  }

  /// The new parameter and slots.
  package func record(
    _ parameter: Tensor, _ gradient: Tensor, slots: [Tensor], scalars: [Tensor]
  ) -> [Tensor] {
    slotTensors = Dictionary(uniqueKeysWithValues: zip(self.slots, slots))
    scalarTensors = Dictionary(uniqueKeysWithValues: zip(self.scalars.map(\.name), scalars))
    var state = UpdateState(self, of: type)
    let new = optimizer.update(parameter, gradient, &state)
    return [new] + self.slots.map { slotTensors[$0]! }
  }

  package func slot(_ name: String, _ type: TensorType, initial value: Double) -> Tensor {
    if let known = slotTensors[name] { return known }
    slots.append(name)
    initial.append(
      NDArray(doubles: Array(repeating: value, count: type.count), type: type))
    let tensor = Trace.current!.input("slot.\(name)", type)
    slotTensors[name] = tensor
    return tensor
  }

  /// Notes what a slot becomes.
  package func assign(_ slot: String, _ value: Tensor) {
    if slotTensors[slot] == nil { _ = self.slot(slot, value.type, initial: 0) }
    slotTensors[slot] = value
  }

  package func scalar(_ name: String, _ value: @escaping @Sendable (UpdateTime) -> Double) -> Tensor
  {
    if let known = scalarTensors[name] { return known }
    scalars.append((name, value))
    let tensor = Trace.current!.input("scalar.\(name)", .f32())
    scalarTensors[name] = tensor
    return tensor
  }
}
