// What flows back through long short-term memory.

import ApusGraph
import CKernels
import Glibc

/// What flows through ``LSTMLoop`` into its gates, and into the states before the first step.
///
/// Operands: the gradients of all h and of the last h and c, the gates and all c as forward has made them, c before
/// the first step, U, and with lengths where each step's rows begin. Results: the gradients of x, and of h and c
/// before the first step.
package struct LSTMLoopGradient: LSTMOp {
  package static let mnemonic = "lstm_loop_gradient"
  package let isReversed: Bool
  package let hasLengths: Bool
  package let results: [DType]
  /// The gradient of all h, and the gates; that of x.
  var stacks: (operands: [Int], results: [Int]) { ([0, 3], [0]) }

  package init(isReversed: Bool = false, hasLengths: Bool = false, results: [DType] = []) {
    self.isReversed = isReversed
    self.hasLengths = hasLengths
    self.results = results
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(hasLengths ? 8 : 7, operands)
    let gates = operands[3], sizes = try sizes(operands)
    let hidden = sizes.hidden, wide = operands[1].dtype
    func type(_ shape: Shape) -> TensorType { TensorType(wide, shape) }
    let state = type([sizes.batch, hidden]), states = type(sizes.stack(hidden))
    try expect(
      [
        states, state, state, type(sizes.stack(4 * hidden)), states, state,
        type([4 * hidden, hidden]),
      ] + (hasLengths ? [.i32(sizes.time + 1)] : []), operands)
    return [TensorType(stored(0, wide), gates.shape), state, state]
  }

  private func sizes(_ operands: [TensorType]) throws -> LSTMSizes {
    try sizes(operands[3], state: operands[1], offsets: operands[operands.count - 1])
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let sizes = try sizes(operands.map(\.type)), hidden = sizes.hidden
    let dh = operands[0].doubles, gates = operands[3].doubles, c = operands[4].doubles
    let c0 = operands[5].doubles, u = operands[6].doubles
    var dhAfter = operands[1].doubles, dc = operands[2].doubles
    var dx = [Double](repeating: 0, count: gates.count)
    let rows = rows(operands, sizes)
    let turns = turns(sizes.time)
    for (place, step) in turns.enumerated().reversed() {
      let earlier = place > 0 ? turns[place - 1] : nil
      for (row, stacked) in rows[step].enumerated() {
        let at = stacked * 4 * hidden
        for unit in 0..<hidden {
          let (i, f) = (gates[at + unit], gates[at + hidden + unit])
          let (g, o) = (gates[at + 2 * hidden + unit], gates[at + 3 * hidden + unit])
          let state = row * hidden + unit
          let isFirst = earlier.map { row >= rows[$0].count } ?? true
          let before =
            isFirst ? c0[state] : c[(rows[earlier!].lowerBound + row) * hidden + unit]
          let tanhC = Glibc.tanh(c[stacked * hidden + unit])
          let flow = dh[stacked * hidden + unit] + dhAfter[state]
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
    let wide = operands[1].dtype, u = operands[6]
    let sizes = try sizes(operands.map(\.type))
    let (batch, hidden) = (sizes.batch, sizes.hidden)
    guard sizes.time > 0 else {
      return [operands[3].cast(to: stored(0, wide)), operands[1], operands[2]]
    }
    let isReal = isReal(operands, batch: batch)
    func stack(_ index: Int) -> Tensor {
      padded(operands[index].cast(to: wide), operands, batch: batch)
    }
    let gates = stack(3), c = stack(4)
    let sequences = [stack(0), gates, c, before(c, operands[5], isReal)]
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
    return [packed(outputs[0], operands).cast(to: stored(0, wide)), last[0], last[1]]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_lstm_gradient_args()
    args.shape = shape(try sizes(site.operands))
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
    if hasLengths { call.bind(\ck_lstm_gradient_args.offsets, to: .operand(7)) }
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
