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
  /// Whether the last operand, `i32[time]`, says how many sequences each step has. They then lie in order of their
  /// lengths, the longest first.
  var hasLengths: Bool { get }
  /// The element types of the stacks made; none for those of the states, which the stacks read then have too.
  var results: [DType] { get }
  init(isReversed: Bool, hasLengths: Bool, results: [DType])
  /// Which operands and results are stacks that may be narrow; `results` says the types of the latter in their order.
  static var stacks: (operands: [Int], results: [Int]) { get }
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

  /// The sizes, of the stack `[time, batch, 4 hidden]` of gates.
  func sizes(_ gates: TensorType) throws -> (time: Int, batch: Int, hidden: Int) {
    guard gates.rank == 3, gates.shape[2] % 4 == 0, gates.dtype.isFloat else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): gates are \(gates)", expected: "[time, batch, 4 hidden]")
    }
    return (gates.shape[0], gates.shape[1], gates.shape[2] / 4)
  }

  /// Throws where operands are not of these types, or stacks of other types than arithmetic for no reason.
  func expect(_ wanted: [TensorType], _ operands: [TensorType]) throws {
    try expect(wanted.count, operands)
    for (index, (operand, wanted)) in zip(operands, wanted).enumerated() {
      let isStack = !results.isEmpty && Self.stacks.operands.contains(index)
      let fits =
        isStack ? operand.shape == wanted.shape && operand.dtype.isFloat : operand == wanted
      guard fits else {
        throw ApusError(
          .shapeMismatch, "\(mnemonic): operand \(index) is \(operand)", expected: "\(wanted)")
      }
    }
    guard results.isEmpty || results.count == Self.stacks.results.count else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): \(results.count) types of results",
        expected: "\(Self.stacks.results.count), or none")
    }
  }

  /// The kernel computes in f32.
  package func hasKernel(_ operands: [TensorType]) -> Bool {
    let made = results.allSatisfy { $0 == .f32 || $0 == .bf16 }
    return made
      && operands.enumerated().allSatisfy { index, operand in
        operand.dtype == .f32 || operand.dtype == .i32
          || operand.dtype == .bf16 && Self.stacks.operands.contains(index)
      }
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    Self.stacks.operands.contains(index)
  }

  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool {
    Self.stacks.results.contains(index)
  }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Self(
      isReversed: isReversed, hasLengths: hasLengths,
      results: Self.stacks.results.map { results[$0] })
  }

  /// Whether the state's products are of bf16 pairs.
  func isPaired(_ site: LoweringSite) -> Bool {
    site.precision == .mixed && site.isa >= .avx512bf16 && ck_multiplies_bf16_pairs_fast()
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
