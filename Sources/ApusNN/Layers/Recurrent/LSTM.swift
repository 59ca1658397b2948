// Long short-term memory.

import ApusGraph
import ApusOps

/// Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).
///
///     i = σ(Wᵢ x + Uᵢ h + bᵢ)     f = σ(W_f x + U_f h + b_f)
///     g = tanh(W_g x + U_g h + b_g)     o = σ(W_o x + U_o h + b_o)
///     c' = f · c + i · g          h' = o · tanh(c')
///
///     let lstm = LSTM(96, 256, layers: 2)
///     let (outputs, state) = lstm(x)            // f32[32,64,96] → f32[32,64,256]
///     let more = lstm(next, initial: state)     // goes on where x ended
///
/// Sequences are `[batch, time, inputs]`. With `lengths`, `i32[batch]`, each sequence ends at its own: what stands
/// behind is not looked at, outputs there are zeros, the last state is that at the end, and the backward direction
/// begins there.
///
/// Parameters have PyTorch's names and layouts, `weight_ih_l0 [4 · hidden, inputs]` with the gates i, f, g, o, so
/// that weights load both ways. They start in U(±1/√hidden).
public struct LSTM: Module, Sendable {
  let scope = Scope()
  let stack: RecurrentStack

  /// What a layer hands from step to step: `[layers · directions, batch, hidden]` each, the layers' forward and
  /// backward directions in turn.
  public struct State {
    public var hidden: Tensor
    public var cell: Tensor

    public init(hidden: Tensor, cell: Tensor) {
      self.hidden = hidden
      self.cell = cell
    }
  }

  /// - `isBidirectional`: whether each layer also runs from the end to the start; outputs are both directions'
  ///   states, one behind the other.
  /// - `dropout`: between layers, in training.
  /// - `forgetBias`: what the forget gate's bias starts with, the other biases then with 0 (1 in Jozefowicz et al.
  ///   2015); nil draws all biases, as PyTorch does.
  /// - `hasPeepholes`: whether gates also see the cell through weights of their own, `weight_ci_l0 [hidden]` and
  ///   so on (Gers & Schmidhuber 2000).
  public init(
    _ inputs: Int, _ hidden: Int, layers: Int = 1, isBidirectional: Bool = false,
    dropout: Double = 0, bias: Bool = true, forgetBias: Double? = nil, hasPeepholes: Bool = false
  ) {
    let initializer = forgetBias.map { forgetBias in
      Initializer.custom { type, _ in
        NDArray(
          doubles: (0..<type.count).map { $0 / max(1, hidden) == 1 ? forgetBias : 0 }, type: type)
      }
    }
    stack = RecurrentStack(
      RecurrentShape(
        name: "LSTM", inputs: inputs, hidden: hidden, layers: layers,
        isBidirectional: isBidirectional, gates: 4, hasBias: bias,
        peepholes: hasPeepholes ? 3 : 0, biasInitializer: initializer), dropout: dropout)
  }

  public var parts: [(name: String, value: Any)] { [("scope", scope)] + stack.parts }

  /// The states of the last layer at each step, `[batch, time, directions · hidden]`, and the last state of all
  /// layers.
  ///
  /// - `initial`: the state to begin with; zeros where it is nil.
  /// - `lengths`: `i32[batch]`, 1 ... time. One outside ends the step with an `outOfRange` error that names it.
  public func callAsFunction(
    _ x: Tensor, initial: State? = nil, lengths: Tensor? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) -> (outputs: Tensor, state: State) {
    scoped(file: file, line: line) {
      let (outputs, last) = stack.applied(
        x, initial: initial.map { [$0.hidden, $0.cell] }, states: 2, lengths: lengths,
        location: sourceLocation(file, line), Self.run)
      return (outputs, State(hidden: last[0], cell: last[1]))
    }
  }

  private static func run(
    _ weights: RecurrentWeights, _ x: Tensor, _ initial: [Tensor],
    _ lengths: RecurrentStack.Lengths?, _ isReversed: Bool
  ) -> (states: Tensor, last: [Tensor]) {
    let gates = RecurrentStack.projected(
      x, weights, lengths, biases: [weights.inputBias, weights.hiddenBias])
    if weights.peepholes.isEmpty {
      let results = lstmLoop(
        gates, initial[0], initial[1], weights.hidden.tensor, offsets: lengths?.offsets,
        isReversed: isReversed)
      return (results[0], [results[1], results[2]])
    }
    let recurrent = weights.hidden.tensor, peepholes = weights.peepholes.map(\.tensor)
    let hidden = recurrent.shape[1]
    return RecurrentStack.looped(gates, initial, lengths, isReversed: isReversed) {
      carry, x, mask in
      let (h, c) = (carry[0], carry[1])
      let all = x + h.matmul(recurrent, transposeOther: true)
      func gate(_ number: Int) -> Tensor {
        all.sliced(axis: 1, from: number * hidden, to: (number + 1) * hidden)
      }
      func seen(_ gate: Tensor, _ cell: Tensor, _ number: Int) -> Tensor {
        peepholes.isEmpty ? gate : gate + cell * peepholes[number]
      }
      let input = sigmoid(seen(gate(0), c, 0)), forget = sigmoid(seen(gate(1), c, 1))
      let cell = forget * c + input * tanh(gate(2))
      let output = sigmoid(seen(gate(3), cell, 2))
      let nextCell = RecurrentStack.kept(cell, c, mask)
      return [RecurrentStack.kept(output * tanh(cell), h, mask), nextCell]
    }
  }
}
