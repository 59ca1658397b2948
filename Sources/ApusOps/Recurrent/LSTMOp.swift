// What the LSTM's loop and its gradient have in common.

import ApusGraph
import CKernels

/// What forward and backward of an LSTM have in common: the direction, whether sequences have lengths, and how
/// stacks are stored.
///
/// Arithmetic and states have one type of floats. Stacks of gates and of what the layer gives may be stored as
/// bf16, where ``results`` says so of those made.
protocol LSTMOp: CompositeOp, NarrowableOp {
  var isReversed: Bool { get }
  /// Whether sequences have lengths. Stacks are then packed, rows of all steps one behind the other (``PackRows``), and
  /// the last operand, `i32[time + 1]`, says where each step's begin.
  var hasLengths: Bool { get }
  /// The element types of the stacks made; none for those of the states, which the stacks read then have too.
  var results: [DType] { get }
  init(isReversed: Bool, hasLengths: Bool, results: [DType])
  /// Which operands and results are stacks that may be narrow; `results` says the types of the latter in their order.
  var stacks: (operands: [Int], results: [Int]) { get }
}

/// How long, how many and how wide.
struct LSTMSizes {
  let time, batch, hidden: Int
  let isPacked: Bool

  /// Of a stack of rows of that width.
  func stack(_ width: Int) -> Shape {
    isPacked ? [Shape.product(time, batch), width] : [time, batch, width]
  }
}

extension LSTMOp {
  package init(attributes: AttributeReader) throws {
    self.init(
      isReversed: try attributes.bool("reversed"), hasLengths: try attributes.bool("lengths"),
      results: try attributes.storageTypes())
  }

  package var attributes: [Attribute] {
    [Attribute("reversed", .bool(isReversed)), Attribute("lengths", .bool(hasLengths))]
      + Attribute.storageTypes(results)
  }

  /// The element type of the stack made of that number, where states are of `type`.
  func stored(_ number: Int, _ type: DType) -> DType { results.isEmpty ? type : results[number] }

  /// The sizes, of the stack of gates, `[time, batch, 4 hidden]` or packed, a state, and what says the offsets.
  func sizes(_ gates: TensorType, state: TensorType, offsets: TensorType) throws -> LSTMSizes {
    let fits = gates.rank == (hasLengths ? 2 : 3) && gates.dtype.isFloat && gates.shape[-1] % 4 == 0
    guard fits, !hasLengths || state.rank == 2 && offsets.rank == 1 && offsets.count > 0 else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): gates are \(gates), the state \(state)",
        expected: hasLengths
          ? "[time · batch, 4 hidden], [batch, hidden] and i32[time + 1]"
          : "[time, batch, 4 hidden]")
    }
    return LSTMSizes(
      time: hasLengths ? offsets.count - 1 : gates.shape[0],
      batch: hasLengths ? state.shape[0] : gates.shape[1], hidden: gates.shape[-1] / 4,
      isPacked: hasLengths)
  }

  /// Throws where operands are not of these types, or stacks of other types than arithmetic for no reason.
  func expect(_ wanted: [TensorType], _ operands: [TensorType]) throws {
    try expect(wanted.count, operands)
    for (index, (operand, wanted)) in zip(operands, wanted).enumerated() {
      let isStack = !results.isEmpty && stacks.operands.contains(index)
      let fits =
        isStack ? operand.shape == wanted.shape && operand.dtype.isFloat : operand == wanted
      guard fits else {
        throw ApusError(
          .shapeMismatch, "\(mnemonic): operand \(index) is \(operand)", expected: "\(wanted)")
      }
    }
    guard results.isEmpty || results.count == stacks.results.count else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(results.count) types of results",
        expected: "\(stacks.results.count), or none")
    }
  }

  /// The kernel computes in f32.
  package func hasKernel(_ operands: [TensorType]) -> Bool {
    let made = results.allSatisfy { $0 == .f32 || $0 == .bf16 }
    return made
      && operands.enumerated().allSatisfy { index, operand in
        operand.dtype == .f32 || operand.dtype == .i32
          || operand.dtype == .bf16 && stacks.operands.contains(index)
      }
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    stacks.operands.contains(index)
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    stacks.results.contains(index)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Self(
      isReversed: isReversed, hasLengths: hasLengths,
      results: stacks.results.map { results[$0] })
  }

  /// Whether the state's products are of bf16 pairs.
  func isPaired(_ site: LoweringSite) -> Bool {
    site.precision == .mixed && site.isa >= .avx512bf16 && ck_multiplies_bf16_pairs_fast()
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  func shape(_ sizes: LSTMSizes) -> ck_lstm_shape {
    ck_lstm_shape(
      steps: Int64(sizes.time), batch: Int64(sizes.batch), hidden: Int64(sizes.hidden),
      reversed: isReversed ? 1 : 0)
  }

  /// The states before each step, of those behind each: `[time, batch, hidden]`.
  ///
  /// - `isReal`: which sequences a step has, `[time, batch, 1]`; nil for all.
  func before(_ states: Tensor, _ first: Tensor, _ isReal: Tensor?) -> Tensor {
    let time = states.shape[0]
    let start = first.expandingDims(at: 0)
    if time == 0 { return states }
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
    guard hasLengths, let offsets = operands.last else { return nil }
    let time = offsets.type.count - 1
    let counts =
      offsets.sliced(axis: 0, from: 1) - offsets.sliced(axis: 0, from: 0, to: time)
    let rows = counts.trace.indices(batch, .i32).reshaped([1, batch, 1])
    return rows .< counts.reshaped([time, 1, 1])
  }

  /// A stack as `[time, batch, width]`, zeros where a step does not have a sequence.
  func padded(_ stack: Tensor, _ operands: [Tensor], batch: Int) -> Tensor {
    guard hasLengths, let offsets = operands.last else { return stack }
    return unpackRows(stack, batch: batch, order: nil, offsets: offsets)
  }

  /// The way back.
  func packed(_ stack: Tensor, _ operands: [Tensor]) -> Tensor {
    guard hasLengths, let offsets = operands.last else { return stack }
    return packRows(stack, order: nil, offsets: offsets)
  }

  /// The rows of a stack that each step has, and behind them where all end.
  func rows(_ operands: [NDArray], _ sizes: LSTMSizes) -> [Range<Int>] {
    let all = sizes.time * sizes.batch
    let begins =
      hasLengths
      ? operands.last!.integers.map { min(max(0, Int($0)), all) }
      : (0...sizes.time).map { $0 * sizes.batch }
    return (0..<sizes.time).map {
      begins[$0]..<begins[$0] + min(max(0, begins[$0 + 1] - begins[$0]), sizes.batch)
    }
  }

  /// The steps in the order in which they run.
  func turns(_ time: Int) -> [Int] { isReversed ? (0..<time).reversed() : Array(0..<time) }
}
