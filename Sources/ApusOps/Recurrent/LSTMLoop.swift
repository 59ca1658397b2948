// Long short-term memory over a whole sequence.

import ApusGraph
import CKernels
import Glibc

/// What forward and backward of an LSTM have in common: the direction, and whether sequences have lengths.
protocol LSTMOp: CompositeOp {
  var isReversed: Bool { get }
  /// Whether the last operand, `i32[time]`, says how many sequences each step has. They then lie in order of their
  /// lengths, the longest first.
  var hasLengths: Bool { get }
  init(isReversed: Bool, hasLengths: Bool)
}

extension LSTMOp {
  package init(attributes: AttributeReader) throws {
    self.init(
      isReversed: try attributes.bool("reversed"), hasLengths: try attributes.bool("lengths"))
  }

  package var attributes: [Attribute] {
    [Attribute("reversed", .bool(isReversed)), Attribute("lengths", .bool(hasLengths))]
  }

  /// The sizes, of the stack `[time, batch, 4 hidden]` of gates.
  func sizes(_ gates: TensorType) throws -> (time: Int, batch: Int, hidden: Int) {
    guard gates.rank == 3, gates.shape[2] % 4 == 0, gates.dtype.isFloat else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): gates are \(gates)", expected: "[time, batch, 4 hidden]")
    }
    return (gates.shape[0], gates.shape[1], gates.shape[2] / 4)
  }

  /// Throws where operands are not of these types.
  func expect(_ wanted: [TensorType], _ operands: [TensorType]) throws {
    try expect(wanted.count, operands)
    for (index, (operand, wanted)) in zip(operands, wanted).enumerated() where operand != wanted {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): operand \(index) is \(operand)", expected: "\(wanted)")
    }
  }

  /// The kernel computes in f32.
  package func hasKernel(_ operands: [TensorType]) -> Bool {
    operands.allSatisfy { $0.dtype == .f32 || $0.dtype == .i32 }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  func shape(_ gates: TensorType) -> ck_lstm_shape {
    ck_lstm_shape(
      steps: Int64(gates.shape[0]), batch: Int64(gates.shape[1]), hidden: Int64(gates.shape[2] / 4),
      reversed: isReversed ? 1 : 0)
  }

  /// The states before each step, of those behind each: `[time, batch, hidden]`.
  ///
  /// - `isReal`: which sequences a step has, `[time, batch, 1]`; nil for all.
  func before(_ states: Tensor, _ first: Tensor, _ isReal: Tensor?) -> Tensor {
    let time = states.shape[0]
    let start = first.expandingDims(at: 0)
    if time == 1 { return start }
    if !isReversed { return concat([start, states.sliced(axis: 0, from: 0, to: time - 1)]) }
    let shifted = states.sliced(axis: 0, from: 1)
    guard let isReal else { return concat([shifted, start]) }
    // A sequence begins where it ends.
    let goesOn = isReal.sliced(axis: 0, from: 1)
    return concat([`where`(goesOn, shifted, start), start])
  }

  /// Which sequences a step has, `[time, batch, 1]`.
  func isReal(_ operands: [Tensor], batch: Int) -> Tensor? {
    guard hasLengths, let counts = operands.last else { return nil }
    let rows = counts.trace.indices(batch, .i32).reshaped([1, batch, 1])
    return rows .< counts.reshaped([counts.shape[0], 1, 1])
  }

  /// How many sequences each step has.
  func counts(_ operands: [NDArray], time: Int, batch: Int) -> [Int] {
    hasLengths
      ? operands.last!.integers.map { min(max(0, $0), batch) }
      : Array(repeating: batch, count: time)
  }

  /// The steps in the order in which they run.
  func turns(_ time: Int) -> [Int] { isReversed ? (0..<time).reversed() : Array(0..<time) }
}

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

  package init(isReversed: Bool = false, hasLengths: Bool = false) {
    self.isReversed = isReversed
    self.hasLengths = hasLengths
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
    let state = gates.with([batch, hidden])
    try expect(
      [gates, state, state, gates.with([4 * hidden, hidden])]
        + (hasLengths ? [.i32(time)] : []), operands)
    let states = gates.with([time, batch, hidden])
    return [states, state, state, gates, states]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    guard context.gradients[3] == nil, context.gradients[4] == nil, operands[0].shape[0] > 0 else {
      return try gradientOfDecomposition(context)
    }
    let (h0, u) = (operands[1], operands[3])
    func flow(_ index: Int) -> Tensor { context.gradients[index] ?? results[index].zerosLike() }
    let lengths = hasLengths ? [operands[4]] : []
    let flows = Tensor.applyAll(
      LSTMLoopGradient(isReversed: isReversed, hasLengths: hasLengths),
      to: [flow(0), flow(1), flow(2), results[3], results[4], operands[2], u] + lengths,
      resultCount: 3)
    var du: Tensor?
    if context.isNeeded[3] {
      let (time, batch, hidden) = try sizes(operands[0].type)
      let h = before(results[0], h0, isReal(operands, batch: batch))
      // Σ over steps and sequences is one product.
      du = .apply(
        MatMul(transposeA: true), to: flows[0].reshaped([time * batch, 4 * hidden]),
        h.reshaped([time * batch, hidden]))
    }
    return [flows[0], flows[1], flows[2], du] + (hasLengths ? [nil] : [])
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
    let (x, u) = (operands[0], operands[3])
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
    return [outputs[0], last[0], last[1], outputs[1], outputs[2]]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_lstm_args()
    args.shape = shape(site.operands[0])
    var call = KernelCall(
      "ck_lstm_forward", ck_lstm(CK_LSTM_FORWARD, ck_isa(site.isa)), site, block: args)
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
    call.inPlace = [(operand: 0, result: 3)]
    call.flops = LSTMLoop.productFlops(site.operands[0])
    return call
  }
}

/// What flows through ``LSTMLoop`` into its gates, and into the states before the first step.
///
/// Operands: the gradients of all h and of the last h and c, the gates and all c as forward has made them, c before
/// the first step, U, and optionally how many sequences each step has. Results: the gradients of x, and of h and c
/// before the first step.
package struct LSTMLoopGradient: LSTMOp {
  package static let mnemonic = "lstm_loop_gradient"
  package let isReversed: Bool
  package let hasLengths: Bool

  package init(isReversed: Bool = false, hasLengths: Bool = false) {
    self.isReversed = isReversed
    self.hasLengths = hasLengths
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(hasLengths ? 8 : 7, operands)
    let gates = operands[3]
    let (time, batch, hidden) = try sizes(gates)
    let state = gates.with([batch, hidden]), states = gates.with([time, batch, hidden])
    try expect(
      [states, state, state, gates, states, state, gates.with([4 * hidden, hidden])]
        + (hasLengths ? [.i32(time)] : []), operands)
    return [gates, state, state]
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
    let (gates, c, u) = (operands[3], operands[4], operands[6])
    let (time, batch, hidden) = try sizes(gates.type)
    guard time > 0 else { return [gates, operands[1], operands[2]] }
    let isReal = isReal(operands, batch: batch)
    let sequences = [operands[0], gates, c, before(c, operands[5], isReal)]
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
    return [outputs[0], last[0], last[1]]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_lstm_gradient_args()
    args.shape = shape(site.operands[3])
    var call = KernelCall(
      "ck_lstm_backward", ck_lstm(CK_LSTM_BACKWARD, ck_isa(site.isa)), site, block: args)
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
    call.inPlace = [(operand: 3, result: 0), (operand: 1, result: 1), (operand: 2, result: 2)]
    call.flops = LSTMLoop.productFlops(site.operands[3])
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
