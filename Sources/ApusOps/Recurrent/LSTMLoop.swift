// Long short-term memory over a whole sequence.

import ApusGraph
import CKernels
import Glibc

/// All steps of a layer in one direction:
///
///     gates = x + h Uᵀ      i, f, g, o = σ, σ, tanh, σ of gates      c' = f c + i g      h' = o tanh c'
///
/// Operands: x `[time, batch, 4 hidden]` (what the layer's input gives, biases in it), h and c before the first
/// step `[batch, hidden]`, U `[4 hidden, hidden]`, and optionally how many sequences each step has. Results: all h
/// `[time, batch, hidden]`, the last h and c, and for the gradient the gates `[time, batch, 4 hidden]` and all c.
/// What stands behind a sequence's end is zeros.
package struct LSTMLoop: LSTMOp {
  package static let mnemonic = "lstm_loop"
  package let isReversed: Bool
  package let hasLengths: Bool
  package let results: [DType]
  /// x; all h and the gates.
  static let stacks = (operands: [0], results: [0, 3])

  package init(isReversed: Bool = false, hasLengths: Bool = false, results: [DType] = []) {
    self.isReversed = isReversed
    self.hasLengths = hasLengths
    self.results = results
  }

  /// What the products of all steps take: `2 · 4 hidden · hidden` for each row.
  ///
  /// - `gates`: `[time, batch, 4 hidden]`.
  package static func productFlops(_ gates: TensorType) -> Double {
    let (rows, hidden) = (Double(gates.shape[0] * gates.shape[1]), Double(gates.shape[2] / 4))
    return 8 * rows * hidden * hidden
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(hasLengths ? 5 : 4, operands)
    let gates = operands[0]
    let (time, batch, hidden) = try sizes(gates)
    let wide = operands[1].dtype
    func type(_ shape: Shape, _ dtype: DType? = nil) -> TensorType {
      TensorType(dtype ?? wide, shape)
    }
    let state = type([batch, hidden]), states: Shape = [time, batch, hidden]
    try expect(
      [type(gates.shape), state, state, type([4 * hidden, hidden])]
        + (hasLengths ? [.i32(time)] : []), operands)
    return [
      type(states, stored(0, wide)), state, state, type(gates.shape, stored(1, wide)), type(states),
    ]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard self.results.isEmpty, context.gradients[3] == nil, context.gradients[4] == nil,
      operands[0].shape[0] > 0
    else {
      return try gradientOfDecomposition(context)
    }
    let u = operands[3]
    func flow(_ index: Int) -> Tensor { context.gradients[index] ?? results[index].zerosLike() }
    let lengths = hasLengths ? [operands[4]] : []
    let flows = Tensor.applyAll(
      LSTMLoopGradient(isReversed: isReversed, hasLengths: hasLengths),
      to: [flow(0), flow(1), flow(2), results[3], results[4], operands[2], u] + lengths,
      resultCount: 3)
    let du = context.isNeeded[3] ? try weightGradient(context, flows[0]) : nil
    return [flows[0], flows[1], flows[2], du] + (hasLengths ? [nil] : [])
  }

  /// The gradient of U, Σ of `dx hᵀ` over steps and sequences with the h before each step: one product of what lies
  /// one step apart, and one of the first step's.
  private func weightGradient(_ context: GradientContext, _ dx: Tensor) throws -> Tensor {
    let (time, batch, hidden) = try sizes(context.operands[0].type)
    let (h, h0) = (context.results[0], context.operands[1])
    func product(_ dx: Tensor, _ h: Tensor) -> Tensor {
      .apply(
        MatMul(transposeA: true), to: dx.reshaped([dx.shape[0] * batch, 4 * hidden]),
        h.reshaped([dx.shape[0] * batch, hidden]))
    }
    if isReversed && hasLengths {
      // Sequences begin at steps of their own.
      return product(dx, before(h, h0, isReal(context.operands, batch: batch)))
    }
    let first = isReversed ? time - 1 : 0
    let begun = product(dx.sliced(axis: 0, from: first, to: first + 1), h0.expandingDims(at: 0))
    if time == 1 { return begun }
    let later = isReversed ? 0..<time - 1 : 1..<time
    let earlier = isReversed ? 1..<time : 0..<time - 1
    return product(
      dx.sliced(axis: 0, from: later.lowerBound, to: later.upperBound),
      h.sliced(axis: 0, from: earlier.lowerBound, to: earlier.upperBound)) + begun
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (time, batch, hidden) = try sizes(operands[0].type)
    let x = operands[0].doubles, u = operands[3].doubles
    var h = operands[1].doubles, c = operands[2].doubles
    var all = [Double](repeating: 0, count: time * batch * hidden)
    var cells = all
    var gates = [Double](repeating: 0, count: 4 * all.count)
    let counts = counts(operands, time: time, batch: batch)
    func sigmoid(_ x: Double) -> Double { 1 / (1 + Glibc.exp(-x)) }
    for step in turns(time) {
      for row in 0..<counts[step] {
        let before = Array(h[row * hidden..<(row + 1) * hidden])
        for unit in 0..<hidden {
          let at = (step * batch + row) * 4 * hidden + unit
          let sums = (0..<4).map { gate -> Double in
            let weights = (gate * hidden + unit) * hidden
            return (0..<hidden).reduce(x[at + gate * hidden]) { $0 + before[$1] * u[weights + $1] }
          }
          let (i, f, g, o) = (
            sigmoid(sums[0]), sigmoid(sums[1]), Glibc.tanh(sums[2]), sigmoid(sums[3])
          )
          for (gate, value) in [i, f, g, o].enumerated() { gates[at + gate * hidden] = value }
          let state = row * hidden + unit
          c[state] = f * c[state] + i * g
          h[state] = o * Glibc.tanh(c[state])
          cells[step * batch * hidden + state] = c[state]
          all[step * batch * hidden + state] = h[state]
        }
      }
    }
    return zip([all, h, c, gates, cells], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (u, wide) = (operands[3], operands[1].dtype)
    let x = operands[0].cast(to: wide)
    let (_, batch, hidden) = try sizes(x.type)
    let isReal = isReal(operands, batch: batch)
    let (last, outputs) = scan(
      [x] + (isReal.map { [$0] } ?? []), from: [operands[1], operands[2]], isReversed: isReversed
    ) { carry, slices in
      let sums = slices[0] + carry[0].matmul(u, transposeOther: true)
      func gate(_ number: Int) -> Tensor {
        sums.sliced(axis: 1, from: number * hidden, to: (number + 1) * hidden)
      }
      let (i, f, g, o) = (sigmoid(gate(0)), sigmoid(gate(1)), tanh(gate(2)), sigmoid(gate(3)))
      let c = f * carry[1] + i * g
      let h = o * tanh(c)
      let gates = concat([i, f, g, o], axis: 1)
      guard slices.count > 1 else { return (carry: [h, c], outputs: [h, gates, c]) }
      let zero = h.scalar(0)
      return (
        carry: [`where`(slices[1], h, carry[0]), `where`(slices[1], c, carry[1])],
        outputs: [h, gates, c].map { `where`(slices[1], $0, zero) }
      )
    }
    return [
      outputs[0].cast(to: stored(0, wide)), last[0], last[1],
      outputs[1].cast(to: stored(1, wide)), outputs[2],
    ]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_lstm_args()
    args.shape = shape(site.operands[0])
    args.x_type = site.operands[0].dtype.kernelCode
    args.h_type = site.results[0].dtype.kernelCode
    args.gates_type = site.results[3].dtype.kernelCode
    let op = isPaired(site) ? CK_LSTM_FORWARD_PAIRS : CK_LSTM_FORWARD
    var call = KernelCall("ck_lstm_forward", ck_lstm(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_lstm_args.x, to: .operand(0))
    call.bind(\ck_lstm_args.h0, to: .operand(1))
    call.bind(\ck_lstm_args.c0, to: .operand(2))
    call.bind(\ck_lstm_args.u, to: .operand(3))
    if hasLengths { call.bind(\ck_lstm_args.active, to: .operand(4)) }
    call.bind(\ck_lstm_args.h, to: .result(0))
    call.bind(\ck_lstm_args.h_last, to: .result(1))
    call.bind(\ck_lstm_args.c_last, to: .result(2))
    call.bind(\ck_lstm_args.gates, to: .result(3))
    call.bind(\ck_lstm_args.c, to: .result(4))
    call.bind(\ck_lstm_args.workspace, to: .workspace)
    call.workspaceBytes = ck_lstm_workspace_bytes(&args.shape)
    if args.x_type == args.gates_type { call.inPlace = [(operand: 0, result: 3)] }
    call.flops = LSTMLoop.productFlops(site.operands[0])
    return call
  }
}

/// All steps of an LSTM layer in one direction: all states, the last ones, and the last cells.
///
/// - `gates`: `[time, batch, 4 hidden]`, what the layer's input gives, biases in it.
/// - `counts`: `i32[time]`, how many sequences each step has, of those in order of their lengths.
package func lstmLoop(
  _ gates: Tensor, _ hidden: Tensor, _ cell: Tensor, _ weight: Tensor, counts: Tensor?,
  isReversed: Bool
) -> [Tensor] {
  Array(
    Tensor.applyAll(
      LSTMLoop(isReversed: isReversed, hasLengths: counts != nil),
      to: [gates, hidden, cell, weight] + (counts.map { [$0] } ?? []), resultCount: 5
    ).prefix(3))
}
