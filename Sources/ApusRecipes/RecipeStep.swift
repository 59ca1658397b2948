// A compiled step of a recipe apart from its loop, and random batches for it.

import Apus

/// A step as it is dumped, timed and profiled: without the recipe's data and loop.
package struct RecipeStep {
  /// Which of several, such as `discriminator`; `step` where there is one.
  package let name: String
  package let step: TrainingStep
  /// What its batches have.
  package let fields: [RandomField]
  private let evaluation: ([BatchField]) throws -> Graph

  /// - `evaluation`: records the model and its loss alone, for batches with those fields.
  package init(
    _ name: String, _ step: TrainingStep, fields: [RandomField],
    evaluation: @escaping ([BatchField]) throws -> Graph
  ) {
    self.name = name
    self.step = step
    self.fields = fields
    self.evaluation = evaluation
  }

  /// The model and its loss as recorded, without gradients.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  package func forwardGraph() throws -> Graph { try evaluation(fields.map(\.field)) }

  /// The whole step as recorded: forward, backward, update.
  ///
  /// - Throws: mistakes of the model, with module path and line.
  package func graph() throws -> Graph { try step.graph(for: fields.map(\.field)) }

  /// The same batch every time.
  ///
  /// - Throws: `resource` where there is no memory for it.
  package func randomBatch() throws -> Batch {
    var generator = Numbers(state: 1)
    return Batch(
      names: fields.map(\.name), arrays: try fields.map { try $0.array(&generator) })
  }
}

/// An array of a batch, and of what random numbers it is made where there is no data.
package struct RandomField: Sendable {
  /// What its elements are.
  package enum Elements: Sendable {
    /// Floats, normally distributed.
    case normal
    /// Class numbers, word numbers, actions: 0 up to a number, uniformly distributed.
    case integers(below: Int)
    /// Lengths of sequences: 1 to a number, uniformly distributed.
    case lengths(upTo: Int)
  }

  package let name: String
  /// The axis of the batch included.
  package let shape: Shape
  package let elements: Elements

  package init(_ name: String, _ shape: Shape, _ elements: Elements) {
    self.name = name
    self.shape = shape
    self.elements = elements
  }

  /// Name and type.
  package var field: BatchField {
    switch elements {
    case .normal: BatchField(name, TensorType(.f32, shape))
    case .integers, .lengths: BatchField(name, TensorType(.i32, shape))
    }
  }

  fileprivate func array(_ generator: inout Numbers) throws -> NDArray {
    let count = field.type.count
    switch elements {
    case .normal:
      return try NDArray(checking: (0..<count).map { _ in generator.normal() }, shape: shape)
    case .integers(let limit):
      let limit = UInt64(max(limit, 1))
      return try NDArray(
        checking: (0..<count).map { _ in Int32(generator.next() % limit) }, shape: shape)
    case .lengths(let most):
      let most = UInt64(max(most, 1))
      return try NDArray(
        checking: (0..<count).map { _ in Int32(1 + generator.next() % most) }, shape: shape)
    }
  }
}

/// SplitMix64 (Steele, Lea and Flood 2014), and a sum of uniform numbers that is normal enough.
private struct Numbers: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func normal() -> Float {
    let bits = next()
    let sum = (0..<4).reduce(0) { $0 + Float(bits >> (16 * UInt64($1)) & 0xffff) * 0x1p-16 }
    return (sum - 2) * 1.732_050_8
  }
}
