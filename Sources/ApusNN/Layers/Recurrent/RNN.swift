// The simple recurrent network.

import ApusGraph
import ApusOps

/// The simple recurrent network (Elman 1990): `h' = tanh(W x + b + U h + c)`.
///
///     let rnn = RNN(28, 64)
///     let (outputs, state) = rnn(x)            // f32[32,50,28] → f32[32,50,64], f32[1,32,64]
///
/// Sequences, lengths, names and first values are as in ``LSTM``, with one gate.
public struct RNN: Module, Sendable {
  let scope = Scope()
  let stack: RecurrentStack
  let nonlinearity: Nonlinearity

  /// What a state goes through.
  public enum Nonlinearity: Sendable {
    case tanh
    case relu
  }

  /// - `isBidirectional`, `dropout`: as of ``LSTM``.
  public init(
    _ inputs: Int, _ hidden: Int, layers: Int = 1, nonlinearity: Nonlinearity = .tanh,
    isBidirectional: Bool = false, dropout: Double = 0, bias: Bool = true
  ) {
    self.nonlinearity = nonlinearity
    stack = RecurrentStack(
      RecurrentShape(
        name: "RNN", inputs: inputs, hidden: hidden, layers: layers,
        isBidirectional: isBidirectional, gates: 1, hasBias: bias), dropout: dropout)
  }

  public var parts: [(name: String, value: Any)] { [("scope", scope)] + stack.parts }

  /// The states of the last layer at each step, `[batch, time, directions · hidden]`, and the last state of all
  /// layers, `[layers · directions, batch, hidden]`. Operands as of ``LSTM``.
  public func callAsFunction(
    _ x: Tensor, initial: Tensor? = nil, lengths: Tensor? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) -> (outputs: Tensor, state: Tensor) {
    scoped(file: file, line: line) {
      let (outputs, last) = stack.applied(
        x, initial: initial.map { [$0] }, states: 1, lengths: lengths,
        location: sourceLocation(file, line), run)
      return (outputs, last[0])
    }
  }

  private func run(
    _ weights: RecurrentWeights, _ x: Tensor, _ initial: [Tensor],
    _ lengths: RecurrentStack.Lengths?, _ isReversed: Bool
  ) -> (states: Tensor, last: [Tensor]) {
    let projected = RecurrentStack.projected(
      x, weights, lengths, biases: [weights.inputBias, weights.hiddenBias])
    let recurrent = weights.hidden.tensor
    return RecurrentStack.looped(projected, initial, lengths, isReversed: isReversed) {
      carry, x, mask in
      let sum = x + carry[0].matmul(recurrent, transposeOther: true)
      let new = nonlinearity == .tanh ? tanh(sum) : relu(sum)
      return [RecurrentStack.kept(new, carry[0], mask)]
    }
  }
}
