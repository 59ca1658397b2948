// Random bools.

import ApusGraph
import CKernels

/// True with probability `p`: where the uniform number of the same stream is less than `p`.
///
/// The operand is the random key (`RandomState.swift`).
package struct Bernoulli: Op {
  package static let mnemonic = "bernoulli"
  package let shape: Shape
  package let p: Double
  /// The number that sets this op's draws apart from those of others.
  package let stream: Int

  package init(_ shape: Shape, p: Double, stream: Int) {
    self.shape = shape
    self.p = p
    self.stream = stream
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      Shape(try attributes.ints("shape")), p: try attributes.double("p"),
      stream: try attributes.int("stream"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("shape", .ints(shape.dimensions)), Attribute("p", .double(p)),
      Attribute("stream", .int(stream)),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expectProbability(p)
    return try drawnTypes(operands, .bool, shape, stream: stream)
  }

  // The key is an integer, and the result is no number.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let words = RandomWords.draw(shape.count, state: operands[0], stream: stream)
    let bound = Double(Float(p))
    let values = words.map { RandomWords.uniform($0) < bound ? 1.0 : 0 }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    randomCall(site, CK_RANDOM_BERNOULLI, "ck_random_bernoulli", key: 0, stream: stream, p: p)
  }
}
