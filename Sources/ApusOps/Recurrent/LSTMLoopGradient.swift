// What flows back through long short-term memory.

import ApusGraph
import CKernels
import Glibc

/// What flows through ``LSTMLoop`` into its gates, and into the states before the first step.
///
/// Operands: the gradients of all h and of the last h and c, the gates and all c as forward has made them, c before
/// the first step, U, and optionally how many sequences each step has. Results: the gradients of x, and of h and c
/// before the first step.
package struct LSTMLoopGradient: LSTMOp {
  package static let mnemonic = "lstm_loop_gradient"
  package let isReversed: Bool
  package let hasLengths: Bool
  package let results: [DType]
  /// The gradient of all h, and the gates; that of x.
  static let stacks = (operands: [0, 3], results: [0])

  package init(isReversed: Bool = false, hasLengths: Bool = false, results: [DType] = []) {
    self.isReversed = isReversed
    self.hasLengths = hasLengths
    self.results = results
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(hasLengths ? 8 : 7, operands)
    let gates = operands[3]
    let (time, batch, hidden) = try sizes(gates)
    let wide = operands[1].dtype
    func type(_ shape: Shape) -> TensorType { TensorType(wide, shape) }
    let state = type([batch, hidden]), states = type([time, batch, hidden])
    try expect(
      [states, state, state, type(gates.shape), states, state, type([4 * hidden, hidden])]
        + (hasLengths ? [.i32(time)] : []), operands)
    return [TensorType(stored(0, wide), gates.shape), state, state]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (time, batch, hidden) = try sizes(operands[3].type)
    let dh = operands[0].doubles, gates = operands[3].doubles, c = operands[4].doubles
    let c0 = operands[5].doubles, u = operands[6].doubles
    var dhAfter = operands[1].doubles, dc = operands[2].doubles
    var dx = [Double](repeating: 0, count: gates.count)
    let counts = counts(operands, time: time, batch: batch)
    let turns = turns(time)
    for (place, step) in turns.enumerated().reversed() {
      let earlier = place > 0 ? turns[place - 1] : nil
      for row in 0..<counts[step] {
        let at = (step * batch + row) * 4 * hidden
        for unit in 0..<hidden {
          let (i, f) = (gates[at + unit], gates[at + hidden + unit])
          let (g, o) = (gates[at + 2 * hidden + unit], gates[at + 3 * hidden + unit])
          let state = row * hidden + unit
          let isFirst = earlier.map { row >= counts[$0] } ?? true
          let before = isFirst ? c0[state] : c[earlier! * batch * hidden + state]
          let tanhC = Glibc.tanh(c[step * batch * hidden + state])
          let flow = dh[step * batch * hidden + state] + dhAfter[state]
          dc[state] += flow * o * (1 - tanhC * tanhC)
          dx[at + unit] = dc[state] * g * i * (1 - i)
          dx[at + hidden + unit] = dc[state] * before * f * (1 - f)
          dx[at + 2 * hidden + unit] = dc[state] * i * (1 - g * g)
          dx[at + 3 * hidden + unit] = flow * tanhC * o * (1 - o)
          dc[state] *= f
        }
        for unit in 0..<hidden {
          dhAfter[row * hidden + unit] = (0..<4 * hidden).reduce(0) {
            $0 + dx[at + $1] * u[$1 * hidden + unit]
          }
        }
      }
    }
    return zip([dx, dhAfter, dc], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let wide = operands[1].dtype
    let (gates, c, u) = (operands[3].cast(to: wide), operands[4], operands[6])
    let (time, batch, hidden) = try sizes(gates.type)
    guard time > 0 else {
      return [gates.cast(to: stored(0, wide)), operands[1], operands[2]]
    }
    let isReal = isReal(operands, batch: batch)
    let sequences = [operands[0].cast(to: wide), gates, c, before(c, operands[5], isReal)]
    let (last, outputs) = scan(
      sequences + (isReal.map { [$0] } ?? []), from: [operands[1], operands[2]],
      isReversed: !isReversed
    ) { carry, slices in
      func gate(_ number: Int) -> Tensor {
        slices[1].sliced(axis: 1, from: number * hidden, to: (number + 1) * hidden)
      }
      let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3))
      let tanhC = tanh(slices[2])
      let flow = slices[0] + carry[0]
      let dc = carry[1] + flow * o * (1 - tanhC * tanhC)
      let dx = concat(
        [
          dc * g * i * (1 - i), dc * slices[3] * f * (1 - f), dc * i * (1 - g * g),
          flow * tanhC * o * (1 - o),
        ], axis: 1)
      let next = [dx.matmul(u), dc * f]
      guard slices.count > 4 else { return (carry: next, outputs: [dx]) }
      return (
        carry: zip(next, carry).map { `where`(slices[4], $0, $1) },
        outputs: [`where`(slices[4], dx, dx.scalar(0))]
      )
    }
    return [outputs[0].cast(to: stored(0, wide)), last[0], last[1]]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_lstm_gradient_args()
    args.shape = shape(site.operands[3])
    args.dh_type = site.operands[0].dtype.kernelCode
    args.gates_type = site.operands[3].dtype.kernelCode
    args.dx_type = site.results[0].dtype.kernelCode
    let op = isPaired(site) ? CK_LSTM_BACKWARD_PAIRS : CK_LSTM_BACKWARD
    var call = KernelCall("ck_lstm_backward", ck_lstm(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_lstm_gradient_args.dh, to: .operand(0))
    call.bind(\ck_lstm_gradient_args.dh_last, to: .operand(1))
    call.bind(\ck_lstm_gradient_args.dc_last, to: .operand(2))
    call.bind(\ck_lstm_gradient_args.gates, to: .operand(3))
    call.bind(\ck_lstm_gradient_args.c, to: .operand(4))
    call.bind(\ck_lstm_gradient_args.c0, to: .operand(5))
    call.bind(\ck_lstm_gradient_args.u, to: .operand(6))
    if hasLengths { call.bind(\ck_lstm_gradient_args.active, to: .operand(7)) }
    call.bind(\ck_lstm_gradient_args.dx, to: .result(0))
    call.bind(\ck_lstm_gradient_args.dh0, to: .result(1))
    call.bind(\ck_lstm_gradient_args.dc0, to: .result(2))
    call.bind(\ck_lstm_gradient_args.workspace, to: .workspace)
    call.workspaceBytes = ck_lstm_workspace_bytes(&args.shape)
    call.inPlace = [(operand: 1, result: 1), (operand: 2, result: 2)]
    if args.gates_type == args.dx_type { call.inPlace.append((operand: 3, result: 0)) }
    call.flops = LSTMLoop.productFlops(site.operands[3])
    return call
  }
}
