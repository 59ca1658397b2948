// The functions that users write loops with.

import ApusGraph

/// Runs `body` over the steps of sequences, from the first to the last, with values that go from step to step.
///
///     // A running mean with decay: carries m, takes x[t], gives out every m.
///     let (last, means) = scan([x], from: [zero]) { carry, x in
///       let m = 0.9 * carry[0] + 0.1 * x[0]
///       return (carry: [m], outputs: [m])
///     }                                          // x: f32[100,8]; last: [f32[8]]; means: [f32[100,8]]
///
/// The body is recorded once, and its time and memory to compile do not grow with the number of steps. It may use
/// any tensor and any module from around it. Gradients flow through, of any order. What the body draws at random
/// differs from step to step. As JAX's `lax.scan`, with several carries and outputs as arrays.
///
/// - `sequences`: arrays with the same first extent; a step gets one element of each along axis 0. May be empty
///   where `length` is given.
/// - `initial`: what the first step gets as its carry.
/// - `length`: how many steps there are, where there are no sequences.
/// - `isReversed`: whether the last step comes first. Slices are taken from, and outputs are put at, the same
///   places as otherwise.
/// - `checkpoint`: how many steps at a time the backward pass computes again instead of keeping what they make;
///   nil keeps all. The square root of `length` makes memory least.
/// - `body`: from the carry and a step's slices, the new carry, of the same shapes and types, and what the step
///   gives out.
/// - Returns: the carry after the last step, and the outputs, stacked along a new first axis.
///
/// Mistakes are recorded: sequences of different lengths, a carry that changes its type, a state that is updated
/// within the body.
public func scan<Failure: Error>(
  _ sequences: [Tensor], from initial: [Tensor], length: Int? = nil, isReversed: Bool = false,
  checkpoint: Int? = nil, file: StaticString = #fileID, line: UInt = #line,
  _ body: (_ carry: [Tensor], _ slices: [Tensor]) throws(Failure) -> (
    carry: [Tensor], outputs: [Tensor]
  )
) throws(Failure) -> (carry: [Tensor], outputs: [Tensor]) {
  // What the body takes from around it may come from further within than what the scan starts with.
  let given = Trace.innermost(of: initial + sequences) ?? Trace.recording
  let outer = Trace.current.map { $0.isWithin(given) ? $0 : given } ?? given
  let recording = ScanRecording(
    outer: outer, location: sourceLocation(file, line), isReversed: isReversed)
  guard let count = recording.length(of: sequences, given: length, checkpoint: checkpoint) else {
    return (initial.map(recording.poisoned), [])
  }
  if let checkpoint, checkpoint < count {
    return try recording.inSegments(sequences, initial, count, segment: checkpoint, body)
  }
  return try recording.record(sequences, initial, count, body)
}

/// Runs `body` over the steps of a sequence: one carry, one slice, one output.
///
///     let (last, states) = scan(x, from: h0) { h, x in
///       let next = tanh(cell(x) + h.matmul(w))
///       return (carry: next, output: next)
///     }
///
/// As ``scan(_:from:length:isReversed:checkpoint:file:line:_:)-([Tensor],_,_,_,_,_,_,_)``.
public func scan<Failure: Error>(
  _ sequence: Tensor, from initial: Tensor, isReversed: Bool = false, checkpoint: Int? = nil,
  file: StaticString = #fileID, line: UInt = #line,
  _ body: (_ carry: Tensor, _ slice: Tensor) throws(Failure) -> (carry: Tensor, output: Tensor)
) throws(Failure) -> (carry: Tensor, outputs: Tensor) {
  let (carry, outputs) = try scan(
    [sequence], from: [initial], isReversed: isReversed, checkpoint: checkpoint, file: file,
    line: line
  ) { (carry, slices) throws(Failure) in
    let (next, output) = try body(carry[0], slices[0])
    return ([next], [output])
  }
  return (carry[0], outputs.first ?? carry[0])
}

/// What it takes to record a scan.
private struct ScanRecording {
  let outer: Trace
  let location: String
  let isReversed: Bool

  func poisoned(like tensor: Tensor) -> Tensor {
    Tensor(trace: outer, value: nil, type: tensor.type)
  }

  private func fail(_ error: ApusError) { outer.record(error, location: location) }

  /// The number of steps; nil where it is not clear, which is noted as the mistake.
  func length(of sequences: [Tensor], given: Int?, checkpoint: Int?) -> Int? {
    if let checkpoint, checkpoint < 1 {
      fail(
        ApusError(
          .invalidArgument, "scan: a checkpoint every \(checkpoint) steps",
          expected: "1 or more, or nil"))
      return nil
    }
    if let scalar = sequences.firstIndex(where: { $0.rank == 0 }) {
      fail(
        ApusError(
          .shapeMismatch, "scan: sequence \(scalar) is \(sequences[scalar].type)",
          expected: "an axis 0 that its steps lie along"))
      return nil
    }
    let lengths = sequences.map { $0.shape[0] } + (given.map { [$0] } ?? [])
    guard let first = lengths.first else {
      fail(
        ApusError(
          .invalidArgument, "scan: neither sequences nor a length",
          expected: "a sequence, or length:"))
      return nil
    }
    guard first >= 0 else {
      fail(ApusError(.invalidArgument, "scan: a length of \(first)", expected: "0 or more"))
      return nil
    }
    guard lengths.allSatisfy({ $0 == first }) else {
      let types = sequences.map(\.type.description).joined(separator: ", ")
      fail(
        ApusError(
          .shapeMismatch,
          "scan: sequences \(types)" + (given.map { " and a length of \($0)" } ?? ""),
          expected: "one number of steps along axis 0"))
      return nil
    }
    return first
  }

  /// Records the body in a trace of its own, and the scan in that around it.
  ///
  /// - `recomputes`: whether the backward pass makes again what the body makes.
  func record<Failure: Error>(
    _ sequences: [Tensor], _ initial: [Tensor], _ length: Int, recomputes: Bool = false,
    _ body: ([Tensor], [Tensor]) throws(Failure) -> (carry: [Tensor], outputs: [Tensor])
  ) throws(Failure) -> (carry: [Tensor], outputs: [Tensor]) {
    let inner = Trace(within: outer)
    let carry = initial.enumerated().map { inner.input("carry\($0)", $1.type) }
    let slices = sequences.enumerated().map { index, sequence in
      inner.input(
        "slice\(index)",
        sequence.type.with(Shape(Array(sequence.shape.dimensions.dropFirst()))))
    }
    var key: Tensor?
    inner.regionKey = {
      if let key { return key }
      let made = inner.input("random.key", .i64(2))
      key = made
      return made
    }
    let result = try Trace.$current.withValue(inner) {
      Result { () throws(Failure) in try body(carry, slices) }
    }.get()
    let stackTypes = result.outputs.map { $0.type.with(Shape([length] + $0.shape.dimensions)) }
    let failed = (
      carry: initial.map(poisoned),
      outputs: stackTypes.map { Tensor(trace: outer, value: nil, type: $0) }
    )
    guard let graph = finish(inner, initial, result) else { return failed }
    let keys = key == nil ? [] : [turnKeys(length)]
    let op = Scan(
      graph, carries: initial.count, slices: sequences.count + keys.count, length: length,
      isReversed: isReversed, recomputes: recomputes)
    let results = Tensor.applyAll(
      op, to: initial + sequences + keys + inner.captured, resultCount: graph.outputs.count,
      location: location)
    guard results.count == graph.outputs.count, !results.contains(where: \.isPoisoned) else {
      return failed
    }
    return (Array(results.prefix(initial.count)), Array(results.dropFirst(initial.count)))
  }

  /// The body's graph, its inputs in the order that the op wants; nil where something is wrong with it.
  private func finish(
    _ inner: Trace, _ initial: [Tensor], _ result: (carry: [Tensor], outputs: [Tensor])
  ) -> Graph? {
    guard result.carry.count == initial.count else {
      fail(
        ApusError(
          .invalidArgument,
          "scan: the body returns \(result.carry.count) carries and is given \(initial.count)",
          expected: "as many"))
      return nil
    }
    for (index, (next, first)) in zip(result.carry, initial).enumerated()
    where !next.isPoisoned && !first.isPoisoned && next.type != first.type {
      fail(
        ApusError(
          .shapeMismatch, "scan: carry \(index) is \(first.type) and becomes \(next.type)",
          expected: "the same type after each step"))
      return nil
    }
    if result.carry.isEmpty && result.outputs.isEmpty {
      fail(
        ApusError(
          .invalidArgument, "scan: the body returns nothing",
          expected: "a carry or an output"))
      return nil
    }
    for (index, tensor) in result.carry.enumerated() {
      guard inner.owns(tensor, as: "carry \(index)", location: location) else { return nil }
      inner.output("carry\(index)", inner.local(tensor))
    }
    for (index, tensor) in result.outputs.enumerated() {
      guard inner.owns(tensor, as: "output \(index)", location: location) else { return nil }
      inner.output("output\(index)", inner.local(tensor))
    }
    guard var graph = try? inner.finish(),
      graph.outputs.count == result.carry.count + result.outputs.count
    else { return nil }
    let isConstant = { (input: GraphInput) in input.name.hasPrefix("constant") }
    graph.inputs = graph.inputs.filter { !isConstant($0) } + graph.inputs.filter(isConstant)
    graph.compact()
    return graph
  }

  /// A random key for each step.
  private func turnKeys(_ length: Int) -> Tensor {
    // Any odd multiplier tells the steps apart; this one is the golden ratio's, as in SplitMix.
    let golden = Int64(bitPattern: 0x9e37_79b9_7f4a_7c15)
    var turns: [Int64] = []
    for turn in 0..<length { turns += [Int64(turn + 1) &* golden, 0] }
    let steps = outer.constant(NDArray(turns, shape: [length, 2]))
    // A stream's number keeps several scans of one graph apart.
    let stream = outer.constant(
      NDArray([Int64(outer.nextRandomStream() + 1) &* 0x5851_f42d_4c95_7f2d, 0], shape: [2]))
    return outer.randomKey + stream + steps
  }

  /// The scan as one over segments of so many steps: a scan whose body is a scan, and makes it again in the
  /// backward pass. Steps that are left over are a scan of their own.
  func inSegments<Failure: Error>(
    _ sequences: [Tensor], _ initial: [Tensor], _ length: Int, segment: Int,
    _ body: ([Tensor], [Tensor]) throws(Failure) -> (carry: [Tensor], outputs: [Tensor])
  ) throws(Failure) -> (carry: [Tensor], outputs: [Tensor]) {
    if segment == 1 { return try record(sequences, initial, length, recomputes: true, body) }
    let segments = length / segment
    let whole = segments * segment
    func rest(_ carry: [Tensor]) throws(Failure) -> (carry: [Tensor], outputs: [Tensor]) {
      try record(
        sequences.map { $0.sliced(axis: 0, from: whole) }, carry, length - whole, body)
    }
    func main(_ carry: [Tensor]) throws(Failure) -> (carry: [Tensor], outputs: [Tensor]) {
      let parts = sequences.map {
        $0.sliced(axis: 0, from: 0, to: whole)
          .reshaped(Shape([segments, segment] + $0.shape.dimensions.dropFirst()))
      }
      let (next, outputs) = try record(parts, carry, segments, recomputes: true) {
        (carry, parts) throws(Failure) in
        let within = ScanRecording(
          outer: Trace.current ?? outer, location: location, isReversed: isReversed)
        return try within.record(parts, carry, segment, body)
      }
      return (
        next,
        outputs.map { $0.reshaped(Shape([whole] + $0.shape.dimensions.dropFirst(2))) }
      )
    }
    guard whole < length else { return try main(initial) }
    let first = isReversed ? try rest(initial) : try main(initial)
    let second = isReversed ? try main(first.carry) : try rest(first.carry)
    let joined = zip(first.outputs, second.outputs).map {
      isReversed ? concat([$1, $0]) : concat([$0, $1])
    }
    return (second.carry, joined)
  }
}
