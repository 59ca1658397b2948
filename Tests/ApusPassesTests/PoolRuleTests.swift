// Training through a rectifier and max pooling keeps what was pooled, not the images.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@Suite struct PoolRuleTests {
  private func step(_ size: PerAxis, stride: PerAxis, padding: Padding) throws -> Graph {
    try traced([.f32(2, 8, 8, 3)]) { t in
      let p = maxPool(relu(t[0] * 2), size, stride: stride, padding: padding)
      return [p] + gradients(of: (p * p).sum(), withRespectTo: [t[0]])
    }
  }

  @Test func imagesBehindARectifier_areReadByPoolingAlone() throws {
    let x = NDArray(
      doubles: (0..<384).map { Double($0 * 37 % 97) / 16 - 3 }, type: .f32(2, 8, 8, 3))
    for recorded in [
      try step(2, stride: 2, padding: .valid), try step(3, stride: 2, padding: 1),
    ] {
      let compiled = try optimised(recorded)
      let pool = try #require(compiled.nodes.first { $0.op is MaxPool })
      let readers = compiled.nodes.filter { $0.operands.contains(pool.operands[0]) }
      #expect(readers.count == 1, "\(compiled)")
      let wanted = try recorded.interpret(inputs: [x]).outputs
      for (got, want) in zip(try compiled.interpret(inputs: [x]).outputs, wanted) {
        #expect(OpSpec.difference(got, want, relative: 1e-6, absolute: 1e-6) == nil)
      }
    }
  }
}
