// What RNN, LSTM and GRU have in common: layers, directions, dropout in between, lengths, names.

import ApusGraph
import ApusOps

/// The weights of one layer in one direction, named and laid out as PyTorch's.
struct RecurrentWeights: HoldsStates, Sendable {
  /// `[gates · hidden, inputs]`.
  let input: Parameter
  /// `[gates · hidden, hidden]`.
  let hidden: Parameter
  /// `[gates · hidden]` each.
  let inputBias: Parameter?
  let hiddenBias: Parameter?
  /// `[hidden]` each, by gate.
  let peepholes: [Parameter]

  init(inputs: Int, _ shape: RecurrentShape) {
    let rows = shape.gates * shape.hidden
    let initializer = Initializer.fanInUniform(fanIn: shape.hidden)
    input = Parameter([rows, inputs], initializer)
    hidden = Parameter([rows, shape.hidden], initializer)
    inputBias = shape.hasBias ? Parameter([rows], shape.biasInitializer ?? initializer) : nil
    hiddenBias =
      shape.hasBias ? Parameter([rows], shape.biasInitializer == nil ? initializer : .zeros) : nil
    peepholes = (0..<shape.peepholes).map { _ in Parameter([shape.hidden], initializer) }
  }

  /// As PyTorch names them, `weight_ih_l0_reverse`. It has no peepholes.
  func parts(_ layer: Int, isReversed: Bool) -> [(name: String, value: Any)] {
    let suffix = "_l\(layer)" + (isReversed ? "_reverse" : "")
    var parts: [(name: String, value: Any)] = [
      ("weight_ih" + suffix, input), ("weight_hh" + suffix, hidden),
    ]
    if let inputBias { parts.append(("bias_ih" + suffix, inputBias)) }
    if let hiddenBias { parts.append(("bias_hh" + suffix, hiddenBias)) }
    for (name, peephole) in zip(["i", "f", "o"], peepholes) {
      parts.append(("weight_c\(name)" + suffix, peephole))
    }
    return parts
  }
}

/// The sizes of a recurrent layer.
struct RecurrentShape: Sendable {
  var name: String
  var inputs: Int
  var hidden: Int
  var layers: Int
  var isBidirectional: Bool
  var gates: Int
  var hasBias: Bool
  var peepholes = 0
  /// Of the input's bias, where it is not drawn as the weights are; that of the state is then zero.
  var biasInitializer: Initializer?

  var directions: Int { isBidirectional ? 2 : 1 }

  /// What is wrong with the sizes.
  func mistake(dropout: Double) -> ApusError? {
    let most = 1 << 24
    for (what, size) in [("inputs", inputs), ("units", hidden), ("layers", layers)]
    where !(1...most).contains(size) {
      return ApusError(
        .invalidArgument, "\(name): \(size) \(what)", expected: "from 1 to \(most)")
    }
    guard (0..<1).contains(dropout) else {
      return ApusError(
        .invalidArgument, "\(name): dropout is \(dropout)", expected: "0 ≤ dropout < 1")
    }
    return nil
  }
}

/// Layers one on top of the other, each in one or two directions.
struct RecurrentStack: HoldsStates, Sendable {
  let shape: RecurrentShape
  let dropout: Double
  /// By layer, by direction.
  let weights: [[RecurrentWeights]]
  /// Sizes that cannot be; who initialises or applies the layer is told.
  private let fault: ApusError?

  init(_ shape: RecurrentShape, dropout: Double) {
    self.shape = shape
    self.dropout = dropout
    let fault = shape.mistake(dropout: dropout)
    self.fault = fault
    weights = (0..<(fault == nil ? shape.layers : 0)).map { layer in
      (0..<shape.directions).map { _ in
        RecurrentWeights(
          inputs: layer == 0 ? shape.inputs : shape.directions * shape.hidden, shape)
      }
    }
  }

  var parts: [(name: String, value: Any)] {
    weights.enumerated().flatMap { layer, directions in
      directions.enumerated().flatMap { $1.parts(layer, isReversed: $0 == 1) }
    } + (fault.map { [("sizes", $0)] } ?? [])
  }

  /// What one layer does in one direction with its input, `[time, batch, inputs]`: all its states,
  /// `[time, batch, hidden]`, and the last ones. With lengths, input and states are packed rows.
  typealias Run = (
    _ weights: RecurrentWeights, _ x: Tensor, _ initial: [Tensor], _ lengths: Lengths?,
    _ isReversed: Bool
  ) -> (states: Tensor, last: [Tensor])

  /// Sequences of their own lengths, the longest first, whose rows lie packed step by step (`PackRows`): what is padding
  /// has no row.
  struct Lengths {
    /// Which sequences a step has: `bool[time, batch, 1]`, as the states of a turn broadcast.
    let mask: Tensor
    /// Where each step's rows begin, and where all end: `i32[time + 1]`.
    let offsets: Tensor
    /// Which of the batch as given comes first, second and so on, and back.
    let order: Tensor
    let places: Tensor

    init(_ lengths: Tensor, time: Int) {
      let isReal = lengths.lengthMask(time)
      // Looked at by the mask, which ends the step where one of them cannot be.
      let steps = isReal.sum(axes: [1]).cast(to: .i32)
      order = steps.sorted(isDescending: true).indices
      places = order.sorted().indices
      mask = isReal.take(order, axis: 0).swappingAxes(0, 1).expandingDims(at: 2)
      offsets = minimum(
        steps.expandingDims(at: 1), Tensor.arange(to: Double(time + 1)).cast(to: .i32)
      ).sum(axes: [0]).cast(to: .i32)
    }

    private var batch: Int { order.type.count }

    /// The rows of `[batch, time, width]`.
    func packed(_ x: Tensor) -> Tensor { packRows(x, order: order, offsets: offsets) }

    /// The array of rows, with zeros behind each sequence's end.
    func unpacked(_ rows: Tensor) -> Tensor {
      unpackRows(rows, batch: batch, order: order, offsets: offsets)
    }

    /// Rows as a loop reads them, `[time, batch, width]`, the longest sequence first.
    func steps(_ rows: Tensor) -> Tensor {
      unpackRows(rows, batch: batch, order: nil, offsets: offsets)
    }

    /// The rows of what a loop gives.
    func rows(_ steps: Tensor) -> Tensor { packRows(steps, order: nil, offsets: offsets) }

    /// The sequences of `[…, batch, …]` in order of their lengths.
    func ordered(_ x: Tensor) -> Tensor { Self.permuted(x, by: order, back: places) }

    /// The same as they were given.
    func asGiven(_ x: Tensor) -> Tensor { Self.permuted(x, by: places, back: order) }

    /// What flows back goes the way back, which is a gather too: that of `take` alone adds, since it cannot know
    /// that no index comes twice.
    private static func permuted(_ x: Tensor, by order: Tensor, back: Tensor) -> Tensor {
      withGradient([x, order, back]) {
        $0[0].take($0[1], axis: 1)
      } gradient: {
        [permuted($0.gradient, by: $0.operands[2], back: $0.operands[1]), nil, nil]
      }
    }
  }

  /// Applies all layers to `[batch, time, inputs]`.
  ///
  /// - `initial`: for each state that a cell has, `[layers · directions, batch, hidden]`; zeros where it is nil.
  /// - `states`: how many states a cell has.
  /// - Returns: `[batch, time, directions · hidden]`, and the last states.
  /// - Throws: `shapeMismatch` for what does not fit.
  func apply(
    _ x: Tensor, initial: [Tensor]?, states: Int, lengths: Tensor?, _ run: Run
  ) throws -> (outputs: Tensor, last: [Tensor]) {
    try check(x, initial, lengths)
    let watch = RecurrenceWatch.current
    watch?.begin()
    let (batch, time) = (x.shape[0], x.shape[1])
    let given = lengths
    let lengths = lengths.map { Lengths($0, time: time) }
    let initial = initial?.map { lengths?.ordered($0) ?? $0 }
    var below = lengths?.packed(x) ?? x.swappingAxes(0, 1)
    var last: [[Tensor]] = []
    for (layer, directions) in weights.enumerated() {
      let results = directions.enumerated().map { direction, weights in
        let place = layer * directions.count + direction
        let first = (0..<states).map { state in
          initial.map { $0[state][place, axis: 0] }
            ?? below.trace.full([batch, shape.hidden], 0, below.dtype)
        }
        return run(weights, below, first, lengths, direction == 1)
      }
      last += results.map(\.last)
      below =
        results.count == 1 ? results[0].states : concat(results.map(\.states), axis: -1)
      if dropout > 0, layer + 1 < weights.count { below = below.dropout(dropout) }
    }
    let finals = (0..<states).map { state in
      let ordered = stack(last.map { $0[state] })
      return lengths?.asGiven(ordered) ?? ordered
    }
    let outputs = lengths?.unpacked(below) ?? below.swappingAxes(0, 1)
    watch?.end(
      path: x.trace.scope, directions: shape.directions, outputs: outputs, last: finals,
      lengths: given)
    return (outputs, finals)
  }

  /// As ``apply(_:initial:states:lengths:_:)``, with poisoned tensors where something does not fit.
  func applied(
    _ x: Tensor, initial: [Tensor]?, states: Int, lengths: Tensor?, location: String, _ run: Run
  ) -> (outputs: Tensor, last: [Tensor]) {
    do {
      return try apply(x, initial: initial, states: states, lengths: lengths, run)
    } catch {
      let none = Tensor.poisoned(asApusError(error), like: x, location: location)
      return (none, Array(repeating: none, count: states))
    }
  }

  private func check(_ x: Tensor, _ initial: [Tensor]?, _ lengths: Tensor?) throws {
    if let fault { throw fault }
    guard x.rank == 3, x.shape[2] == shape.inputs else {
      // One reading of three axes that users of PyTorch try first.
      let isTimeFirst = x.rank == 2 && x.shape[1] == shape.inputs
      throw ApusError(
        .shapeMismatch, "\(shape.name): the input is \(x.type)",
        expected: "[batch, time, \(shape.inputs)]"
          + (isTimeFirst ? ": one sequence is x.expandingDims(at: 0)" : ""))
    }
    guard x.dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(shape.name): the input is \(x.type)",
        expected: "floats: an Embedding for numbers of words")
    }
    let wanted = Shape([shape.layers * shape.directions, x.shape[0], shape.hidden])
    for state in initial ?? [] where state.shape != wanted {
      throw ApusError(
        .shapeMismatch, "\(shape.name): an initial state is \(state.type)",
        expected: "\(wanted): layers · directions, batch, hidden")
    }
    if let lengths, lengths.shape != [x.shape[0]] || lengths.dtype.isFloat {
      throw ApusError(
        .shapeMismatch, "\(shape.name): lengths are \(lengths.type)",
        expected: "\(TensorType.i32(x.shape[0])), one for each of the batch")
    }
  }

  /// A layer's product with its input, of all steps at once: `[time, batch, gates · hidden]`, or packed rows.
  static func projected(
    _ x: Tensor, _ weights: RecurrentWeights, _ lengths: Lengths?, biases: [Parameter?]
  ) -> Tensor {
    // Added up first, they are one bias of the product.
    let bias = biases.compactMap(\.?.tensor).reduce(nil) { sum, bias in
      sum.map { $0 + bias } ?? bias
    }
    let watch = RecurrenceWatch.current
    guard let lengths else {
      let product = x.matmul(weights.input.tensor, transposeOther: true)
      let sums = bias.map { product + $0 } ?? product
      watch?.note(sums: sums)
      return sums
    }
    let rows = liveProduct(x, weights.input.tensor, bias: bias, live: lengths.offsets)
    guard let watch else { return rows }
    // Who looks at steps sees them one by one.
    let sums = lengths.steps(rows)
    watch.note(sums: sums)
    return lengths.rows(sums)
  }

  /// The states of a loop over all steps, and its last ones.
  ///
  /// - `x`: the loop's input, `[time, batch, …]` or packed rows.
  /// - `turn`: the states after a turn, the first of which is given out, of those before, a step's input, and which
  ///   sequences the step has.
  static func looped(
    _ x: Tensor, _ initial: [Tensor], _ lengths: Lengths?, isReversed: Bool,
    _ turn: ([Tensor], _ x: Tensor, _ mask: Tensor?) -> [Tensor]
  ) -> (states: Tensor, last: [Tensor]) {
    let sequences = lengths.map { [$0.steps(x), $0.mask] } ?? [x]
    let (last, outputs) = scan(sequences, from: initial, isReversed: isReversed) { carry, slices in
      let next = turn(carry, slices[0], slices.count > 1 ? slices[1] : nil)
      return (carry: next, outputs: [next[0]])
    }
    return (lengths?.rows(outputs[0]) ?? outputs[0], last)
  }

  /// The state of a turn: the new one where the sequence goes on, else the old one.
  static func kept(_ new: Tensor, _ old: Tensor, _ mask: Tensor?) -> Tensor {
    mask.map { `where`($0, new, old) } ?? new
  }
}
