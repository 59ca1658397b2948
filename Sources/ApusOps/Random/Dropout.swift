// Dropout: random elements become 0.

import ApusGraph
import CKernels

/// `y = x / (1 - p)` with probability `1 - p`, else 0, for each element on its own (Srivastava et al.,
/// 2014).
///
/// The mask is not stored: an element stays where the uniform number of this stream is less than
/// `1 - p`, and the gradient is the same op again. Operands: x, and the random key (`RandomState.swift`).
package struct Dropout: CompositeOp {
  package static let mnemonic = "dropout"
  package let p: Double
  /// The number that sets this op's draws apart from those of others.
  package let stream: Int

  package init(p: Double, stream: Int) {
    self.p = p
    self.stream = stream
  }

  package init(attributes: AttributeReader) throws {
    self.init(p: try attributes.double("p"), stream: try attributes.int("stream"))
  }

  package var attributes: [Attribute] {
    [Attribute("p", .double(p)), Attribute("stream", .int(stream))]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    try expectRandom(operands[1], stream: stream)
    try expectProbability(p)
    guard operands[0].dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "dropout: not defined for \(operands[0])", expected: "floats")
    }
    return [operands[0]]
  }

  // Linear in x: the gradient passes where x passed.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [.apply(self, to: context.gradient, context.operands[1]), nil]
  }

  /// 1 - p, as the kernel has it.
  private var keep: Double { 1 - Double(Float(p)) }
  private var scale: Double { keep > 0 ? 1 / keep : 0 }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let words = RandomWords.draw(operands[0].count, state: operands[1], stream: stream)
    let values = zip(operands[0].doubles, words).map { x, word in
      RandomWords.uniform(word) < keep ? x * scale : 0
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  package func hasKernel(_ operands: [TensorType]) -> Bool { operands[0].dtype == .f32 }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (x, key) = (operands[0], operands[1])
    let uniform = Tensor.apply(RandomUniform(x.shape, stream: stream), to: key)
    // Compared in f32, where both sides are exact.
    return [`where`(less(uniform, uniform.scalar(keep)), x * scale, 0)]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = randomCall(
      site, CK_RANDOM_DROPOUT, "ck_dropout_f32", key: 1, stream: stream, p: p)
    call.bind(\ck_random_args.x, to: .operand(0))
    call.inPlace = [(operand: 0, result: 0)]
    call.partition = .tiles(
      count: (site.results[0].count + 4095) / 4096, elementsPerTile: 4096, alignedOperands: [0])
    return call
  }
}

extension Tensor {
  /// This tensor with elements dropped at random, new ones in every step; the tensor itself in
  /// evaluation (the trace's mode) or where `p` is 0.
  ///
  ///     let h = relu(hidden(x)).dropout(0.1)
  public func dropout(
    _ p: Double, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    guard trace.mode == .training, p != 0 else { return self }
    let op = Dropout(p: p, stream: trace.nextRandomStream())
    return .apply(op, to: self, trace.randomKey, location: sourceLocation(file, line))
  }
}
