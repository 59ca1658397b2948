// Long short-term memory over a whole sequence.

import ApusGraph
import CKernels
import Glibc

/// All steps of a layer in one direction:
///
///     gates = x + h Uᵀ      i, f, g, o = σ, σ, tanh, σ of gates      c' = f c + i g      h' = o tanh c'
///
/// Operands: x `[time, batch, 4 hidden]` (what the layer's input gives, biases in it), h and c before the first
/// step `[batch, hidden]`, and U `[4 hidden, hidden]`. Results: all h `[time, batch, hidden]`, the last h and c, and
/// for the gradient the gates `[time, batch, 4 hidden]` and all c. With lengths, stacks are packed, `[time · batch, …]`
/// and zeros behind what there is; one more operand says where each step's rows begin, and one more result is all h
/// before each step.
package struct LSTMLoop: LSTMOp {
  package static let mnemonic = "lstm_loop"
  package let isReversed: Bool
  package let hasLengths: Bool
  package let results: [DType]
  /// x; all h, the gates, and all h before.
  var stacks: (operands: [Int], results: [Int]) { ([0], hasLengths ? [0, 3, 5] : [0, 3]) }

  package init(isReversed: Bool = false, hasLengths: Bool = false, results: [DType] = []) {
    self.isReversed = isReversed
    self.hasLengths = hasLengths
    self.results = results
  }

  /// What the products of all steps take: `2 · 4 hidden · hidden` for each row.
  ///
  /// - `gates`: `[time, batch, 4 hidden]`, or packed.
  package static func productFlops(_ gates: TensorType) -> Double {
    let hidden = Double(gates.shape[-1] / 4), rows = Double(gates.count) / max(1, 4 * hidden)
    return 8 * rows * hidden * hidden
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(hasLengths ? 5 : 4, operands)
    let gates = operands[0]
    let sizes = try sizes(operands)
    let (batch, hidden) = (sizes.batch, sizes.hidden), wide = operands[1].dtype
    func type(_ shape: Shape, _ dtype: DType? = nil) -> TensorType {
      TensorType(dtype ?? wide, shape)
    }
    let state = type([batch, hidden]), states = sizes.stack(hidden)
    try expect(
      [type(sizes.stack(4 * hidden)), state, state, type([4 * hidden, hidden])]
        + (hasLengths ? [.i32(sizes.time + 1)] : []), operands)
    return [
      type(states, stored(0, wide)), state, state, type(gates.shape, stored(1, wide)), type(states),
    ] + (hasLengths ? [type(states, stored(2, wide))] : [])
  }

  private func sizes(_ operands: [TensorType]) throws -> LSTMSizes {
    try sizes(operands[0], state: operands[1], offsets: operands[operands.count - 1])
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard self.results.isEmpty, context.gradients[3...].allSatisfy({ $0 == nil }),
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
    if hasLengths {
      return .apply(LiveMatMul(sumsRows: true), to: dx, context.results[5], context.operands[4])
    }
    let sizes = try sizes(context.operands.map(\.type))
    let (time, batch, hidden) = (sizes.time, sizes.batch, sizes.hidden)
    let (h, h0) = (context.results[0], context.operands[1])
    func product(_ dx: Tensor, _ h: Tensor) -> Tensor {
      .apply(
        MatMul(transposeA: true), to: dx.reshaped([dx.shape[0] * batch, 4 * hidden]),
        h.reshaped([dx.shape[0] * batch, hidden]))
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
    let sizes = try sizes(operands.map(\.type)), hidden = sizes.hidden
    let x = operands[0].doubles, u = operands[3].doubles
    var h = operands[1].doubles, c = operands[2].doubles
    var all = [Double](repeating: 0, count: sizes.time * sizes.batch * hidden)
    var cells = all, earlier = all
    var gates = [Double](repeating: 0, count: 4 * all.count)
    let rows = rows(operands, sizes)
    func sigmoid(_ x: Double) -> Double { 1 / (1 + Glibc.exp(-x)) }
    for step in turns(sizes.time) {
      for (row, place) in rows[step].enumerated() {
        let before = Array(h[row * hidden..<(row + 1) * hidden])
        for unit in 0..<hidden {
          let at = place * 4 * hidden + unit
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
          cells[place * hidden + unit] = c[state]
          all[place * hidden + unit] = h[state]
          earlier[place * hidden + unit] = before[unit]
        }
      }
    }
    return zip([all, h, c, gates, cells, earlier], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (u, wide) = (operands[3], operands[1].dtype)
    let sizes = try sizes(operands.map(\.type))
    let (batch, hidden) = (sizes.batch, sizes.hidden)
    let x = padded(operands[0].cast(to: wide), operands, batch: batch)
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
    func stack(_ tensor: Tensor, _ number: Int? = nil) -> Tensor {
      packed(tensor, operands).cast(to: number.map { stored($0, wide) } ?? wide)
    }
    return [
      stack(outputs[0], 0), last[0], last[1], stack(outputs[1], 1), stack(outputs[2]),
    ] + (hasLengths ? [stack(before(outputs[0], operands[1], isReal), 2)] : [])
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_lstm_args()
    args.shape = shape(try sizes(site.operands))
    args.x_type = site.operands[0].dtype.kernelCode
    args.h_type = site.results[0].dtype.kernelCode
    args.gates_type = site.results[3].dtype.kernelCode
    if hasLengths { args.before_type = site.results[5].dtype.kernelCode }
    let op = isPaired(site) ? CK_LSTM_FORWARD_PAIRS : CK_LSTM_FORWARD
    var call = KernelCall("ck_lstm_forward", ck_lstm(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_lstm_args.x, to: .operand(0))
    call.bind(\ck_lstm_args.h0, to: .operand(1))
    call.bind(\ck_lstm_args.c0, to: .operand(2))
    call.bind(\ck_lstm_args.u, to: .operand(3))
    if hasLengths {
      call.bind(\ck_lstm_args.offsets, to: .operand(4))
      call.bind(\ck_lstm_args.before, to: .result(5))
    }
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
/// - `gates`: `[time, batch, 4 hidden]`, what the layer's input gives, biases in it; with `offsets` packed.
/// - `offsets`: `i32[time + 1]`, where each step's rows begin.
package func lstmLoop(
  _ gates: Tensor, _ hidden: Tensor, _ cell: Tensor, _ weight: Tensor, offsets: Tensor?,
  isReversed: Bool
) -> [Tensor] {
  Array(
    Tensor.applyAll(
      LSTMLoop(isReversed: isReversed, hasLengths: offsets != nil),
      to: [gates, hidden, cell, weight] + (offsets.map { [$0] } ?? []),
      resultCount: offsets == nil ? 5 : 6
    ).prefix(3))
}
