// Normally distributed random numbers.

import ApusGraph
import CKernels
import Glibc

/// Independent numbers of mean 0 and variance 1 (Box and Muller, 1958).
///
/// From the words a and b of elements 2k and 2k + 1: `r = sqrt(-2 log u)` with `u = (a + 1/2) / 2^32`
/// rounded to `f32`, and `φ = 2 π floor(b / 2^8) / 2^24`; the elements are `r cos φ` and `r sin φ`.
///
/// The operand is the random key (`RandomState.swift`).
package struct RandomNormal: Op {
  package static let mnemonic = "random_normal"
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
    let words = RandomWords.draw(shape.count + 1, state: operands[0], stream: stream)
    let values = (0..<shape.count).map { i in
      let pair = i & ~1
      let u = Float(Double(Float(words[pair])) * 0x1p-32 + 0x1p-33)
      let radius = sqrt(-2 * log(Double(u)))
      let angle = 2 * Double.pi * RandomWords.uniform(words[pair + 1])
      return radius * (i % 2 == 0 ? cos(angle) : sin(angle))
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    randomCall(site, CK_RANDOM_NORMAL, "ck_random_normal_f32", key: 0, stream: stream)
  }
}
