// Gated recurrent units.

import ApusGraph
import ApusOps

/// Gated recurrent units (Cho et al. 2014).
///
///     r = σ(Wᵣ x + Uᵣ h + bᵣ)     z = σ(W_z x + U_z h + b_z)
///     n = tanh(Wₙ x + bₙ + r · (Uₙ h + cₙ))       h' = (1 − z) · n + z · h
///
///     let gru = GRU(96, 256)
///     let (outputs, state) = gru(x)            // f32[32,64,96] → f32[32,64,256], f32[1,32,256]
///
/// As PyTorch, the reset gate multiplies what the state's weights have made of the state; `resetsFirst` lets it
/// multiply the state itself, `Uₙ (r · h)`, as in the paper. Sequences, lengths, names and first values are as in
/// ``LSTM``, with the gates r, z, n.
public struct GRU: Module, Sendable {
  let scope = Scope()
  let stack: RecurrentStack
  let resetsFirst: Bool

  /// - `isBidirectional`, `dropout`: as of ``LSTM``.
  /// - `resetsFirst`: whether the reset gate multiplies the state before its weights do.
  public init(
    _ inputs: Int, _ hidden: Int, layers: Int = 1, isBidirectional: Bool = false,
    dropout: Double = 0, bias: Bool = true, resetsFirst: Bool = false
  ) {
    self.resetsFirst = resetsFirst
    stack = RecurrentStack(
      RecurrentShape(
        name: "GRU", inputs: inputs, hidden: hidden, layers: layers,
        isBidirectional: isBidirectional, gates: 3, hasBias: bias), dropout: dropout)
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
    let recurrent = weights.hidden.tensor, hidden = recurrent.shape[1]
    // The bias of the state stands within the reset gate's product.
    let projected = RecurrentStack.projected(x, weights, lengths, biases: [weights.inputBias])
    let bias = weights.hiddenBias?.tensor
    func columns(_ tensor: Tensor, _ gates: Range<Int>) -> Tensor {
      tensor.sliced(axis: 1, from: gates.lowerBound * hidden, to: gates.upperBound * hidden)
    }
    func rows(_ gates: Range<Int>) -> Tensor {
      recurrent.sliced(axis: 0, from: gates.lowerBound * hidden, to: gates.upperBound * hidden)
    }
    let (gateRows, newRows) = resetsFirst ? (rows(0..<2), rows(2..<3)) : (recurrent, recurrent)
    return RecurrentStack.looped(projected, initial, lengths, isReversed: isReversed) {
      carry, x, mask in
      let h = carry[0]
      var u = h.matmul(gateRows, transposeOther: true)
      if let bias { u = u + (resetsFirst ? bias.sliced(axis: 0, from: 0, to: 2 * hidden) : bias) }
      let r = sigmoid(columns(x, 0..<1) + columns(u, 0..<1))
      let z = sigmoid(columns(x, 1..<2) + columns(u, 1..<2))
      var state: Tensor
      if resetsFirst {
        state = (r * h).matmul(newRows, transposeOther: true)
        if let bias { state = state + bias.sliced(axis: 0, from: 2 * hidden, to: 3 * hidden) }
      } else {
        state = r * columns(u, 2..<3)
      }
      let n = tanh(columns(x, 2..<3) + state)
      return [RecurrentStack.kept(n + z * (h - n), h, mask)]
    }
  }
}
