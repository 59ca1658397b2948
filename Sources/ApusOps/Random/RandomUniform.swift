// Uniform random numbers.

import ApusGraph
import CKernels

/// Numbers in [0, 1), each of 2^24 equally likely ones.
///
/// The operand is the random key (`RandomState.swift`).
package struct RandomUniform: Op {
  package static let mnemonic = "random_uniform"
  package let shape: Shape
  /// The number that sets this op's draws apart from those of others.
  package let stream: Int

  package init(_ shape: Shape, stream: Int) {
    self.shape = shape
    self.stream = stream
  }

  package init(attributes: AttributeReader) throws {
    self.init(Shape(try attributes.ints("shape")), stream: try attributes.int("stream"))
  }

  package var attributes: [Attribute] { drawAttributes(shape, stream: stream) }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try drawnTypes(operands, .f32, shape, stream: stream)
  }

  // The key is an integer.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let words = RandomWords.draw(shape.count, state: operands[0], stream: stream)
    return [NDArray(doubles: words.map(RandomWords.uniform), type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    randomCall(site, CK_RANDOM_UNIFORM, "ck_random_uniform_f32", key: 0, stream: stream)
  }
}
