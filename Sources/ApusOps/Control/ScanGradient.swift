// Back-propagation through time: the gradient of a scan is a scan in the other direction.
//
// The body is recorded once more with its own backward pass behind it. What that pass reads of the forward one
// (carries as a turn found them, values in between) is stacked by the forward scan, which is why the rule records
// it again with more outputs; the pass `MergeScans` makes one of the two. The backward scan carries the gradients
// of the carries, and gives out those of the slices.
//
// The gradient of a constant is a sum over all turns. Where a turn's part is a product over rows, or a sum, its
// factors are stacked and the sum over turns is one product behind the loop: `dW = Σ hᵗᵀ dgᵗ` is a product over
// all rows of all turns. What is of another form is added up as a carry. (Appleyard, Kočiský & Blunsom,
// "Optimizing Performance of Recurrent Neural Networks on GPUs", 2016, section 3.2, does so by hand.)

import ApusGraph

extension Scan {
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    var rule = ScanGradient(self, context)
    return try rule.record()
  }

  /// By body input, whether it depends on one of those given: a carry does where it does after any turn.
  fileprivate func dependents(_ given: [Bool]) -> [Bool] {
    var inputs = given
    var hasGrown = true
    while hasGrown {
      hasGrown = false
      var isActive = [Bool](repeating: false, count: body.types.count)
      for (input, isGiven) in zip(body.inputs, inputs) where isGiven {
        isActive[input.value.index] = true
      }
      for node in body.nodes where node.operands.contains(where: { isActive[$0.value.index] }) {
        for result in node.results where body.type(of: result).dtype.isFloat {
          isActive[result.index] = true
        }
      }
      for index in 0..<carries
      where !inputs[index] && isActive[body.outputs[index].operand.value.index] {
        inputs[index] = true
        hasGrown = true
      }
    }
    return inputs
  }
}

/// One application of the rule.
private struct ScanGradient {
  let scan: Scan
  let context: GradientContext
  /// The trace of the body and its backward pass.
  let inner = Trace()
  /// By body input: whether a gradient flows into it.
  let isActive: [Bool]
  /// In the inner trace, by body input.
  var inputs: [Tensor] = []
  /// In the inner trace: gradients of the carries and of what is stacked, by body output.
  var seeds: [Tensor?] = []
  /// The first node of the backward pass.
  var start = 0
  /// What the body's values are in the inner trace, and which value of the body each of those is.
  var valueOfBody: [ValueID: ValueID] = [:]
  var bodyValue: [ValueID: ValueID] = [:]
  var definitions: [Int?] = []

  init(_ scan: Scan, _ context: GradientContext) {
    self.scan = scan
    self.context = context
    isActive = scan.dependents(
      zip(context.isNeeded, scan.body.inputs).map {
        $0 && scan.body.type(of: $1.value).dtype.isFloat
      })
  }

  private var body: Graph { scan.body }
  private var carries: Range<Int> { 0..<scan.carries }
  private var slices: Range<Int> { scan.carries..<scan.carries + scan.slices }
  private var constants: Range<Int> { scan.carries + scan.slices..<body.inputs.count }

  mutating func record() throws -> [Tensor?] {
    let flows = try recordBody()
    definitions = inner.graph.definingNodes
    let activeCarries = carries.filter { isActive[$0] }
    let wantedSlices = slices.filter { context.isNeeded[$0] && flows[$0] != nil }
    var parts: [Int: [ConstantPart]] = [:]
    for index in constants where context.isNeeded[index] {
      if let flow = flows[index] { parts[index] = constantParts(of: flow) }
    }
    let sums = parts.keys.sorted().filter { parts[$0]!.isEmpty }

    var backward = BackwardBody(self)
    let newCarries = activeCarries.map { flows[$0] ?? inputs[$0].zerosLike() }
    // What is needed of every turn.
    let needed =
      (wantedSlices.map { flows[$0]! }
      + parts.keys.sorted().flatMap { parts[$0]!.flatMap(\.factors) }).uniqueByValue()
    let stacked = needed.filter { source(of: $0) == .backward }
    try backward.build(
      carries: zip(activeCarries, newCarries).map { (seeds[$0]!, $1) },
      sums: sums.map { flows[$0]! }, stacked: stacked,
      alsoSaved: needed.filter { source(of: $0) == .forward }.compactMap(\.value))
    try inner.check()

    let saved = try recordForward(backward.saved)
    let results = try recordBackward(backward, saved, activeCarries, sums)
    // What the constants' gradients are made of behind the loop.
    func outside(_ factor: Tensor) -> Tensor {
      switch source(of: factor) {
      case .sequence(let index): return context.operands[index]
      case .gradient(let index): return context.gradients[index]!
      case .forward: return saved[factor.value!]!
      case .backward:
        let place = stacked.firstIndex { $0.value == factor.value }!
        return results[activeCarries.count + sums.count + place]
      }
    }
    var gradients = [Tensor?](repeating: nil, count: body.inputs.count)
    for (place, index) in activeCarries.enumerated() where context.isNeeded[index] {
      gradients[index] = results[place]
    }
    for index in wantedSlices { gradients[index] = outside(flows[index]!) }
    for (place, index) in sums.enumerated() {
      gradients[index] = results[activeCarries.count + place]
    }
    for (index, parts) in parts where !parts.isEmpty {
      let shape = context.operands[index].shape
      gradients[index] = parts.map { $0.sum(outside).reshaped(shape) }.reduceSum()
    }
    return gradients
  }

  /// Records the body and its backward pass in the inner trace; what flows into each input.
  private mutating func recordBody() throws -> [Tensor?] {
    inputs = body.inputs.map { inner.input($0.name, body.type(of: $0.value)) }
    seeds = body.outputs.indices.map { index in
      let type = body.type(of: body.outputs[index].operand)
      let flows = index < scan.carries ? isActive[index] : context.gradients[index] != nil
      return flows && type.dtype.isFloat ? inner.input("seed\(index)", type) : nil
    }
    let values = try inner.inline(body, inputs)
    for (index, value) in values.enumerated() {
      guard let value else { continue }
      valueOfBody[ValueID(index)] = value
      bodyValue[value] = bodyValue[value] ?? ValueID(index)
    }
    start = inner.graph.nodes.count
    let outputs = body.outputs.map { inner.tensor(valueOfBody[$0.operand.value]!) }
    var walk = ReverseWalk(
      inner, to: inputs.indices.filter { isActive[$0] }.map { inputs[$0] })
    try walk.run(from: zip(outputs, seeds).compactMap { output, seed in seed.map { (output, $0) } })
    try inner.check()
    return inputs.map { walk.gradient(of: $0) }
  }

  /// The forward scan, which also stacks these values of the inner trace. By value: its stack.
  private func recordForward(_ saved: [ValueID]) throws -> [ValueID: Tensor] {
    guard !saved.isEmpty else { return [:] }
    var more = body
    for (index, value) in saved.enumerated() {
      more.outputs.append(
        GraphOutput(name: "saved\(index)", operand: Operand(bodyValue[value]!)))
    }
    let op = scan.replacingRegions([more])
    let trace = context.results[0].trace
    // Where the scan is one that a checkpoint makes again, this is a part of that.
    let before = trace.recomputation
    trace.recomputation = trace.recomputation(of: context.results[0])
    defer { trace.recomputation = before }
    let results = Tensor.applyAll(op, to: context.operands, resultCount: more.outputs.count)
    return Dictionary(
      uniqueKeysWithValues: zip(saved, results.dropFirst(body.outputs.count)))
  }

  private func recordBackward(
    _ backward: BackwardBody, _ saved: [ValueID: Tensor], _ activeCarries: [Int], _ sums: [Int]
  ) throws -> [Tensor] {
    let starts =
      activeCarries.map { context.gradients[$0] ?? context.operands[$0].zerosLike() }
      + sums.map { context.operands[$0].zerosLike() }
    let sequences = backward.slices.map { value -> Tensor in
      switch source(of: inner.tensor(value)) {
      case .sequence(let index): context.operands[index]
      case .gradient(let index): context.gradients[index]!
      case .forward, .backward: saved[value]!
      }
    }
    let constants = backward.constants.map { value in
      context.operands[inputs.firstIndex { $0.value == value }!]
    }
    let graph = try backward.trace.finish()
    // Nothing may flow back in turns, where all that has a gradient depends on other operands.
    if graph.outputs.isEmpty { return [] }
    let op = Scan(
      graph, carries: starts.count, slices: sequences.count, length: scan.length,
      isReversed: !scan.isReversed)
    return Tensor.applyAll(
      op, to: starts + sequences + constants, resultCount: graph.outputs.count)
  }

  // MARK: Where values are

  /// Where the stack of a value of the inner trace comes from.
  private enum Source: Equatable {
    /// It is a slice of the sequence that this operand is.
    case sequence(Int)
    /// It is a slice of the gradient of this result.
    case gradient(Int)
    /// The forward pass has it.
    case forward
    /// The backward pass makes it, or it is the gradient of a carry.
    case backward
  }

  private func source(of tensor: Tensor) -> Source {
    guard let value = tensor.value else { return .backward }
    if let index = definitions[value.index] {
      return index < start && !scan.recomputes ? .forward : .backward
    }
    if let index = inputs.firstIndex(where: { $0.value == value }) {
      return slices.contains(index) ? .sequence(index) : .forward
    }
    if let index = seeds.firstIndex(where: { $0?.value == value }), index >= scan.carries {
      return .gradient(index)
    }
    return .backward
  }

  // MARK: What is added up behind the loop

  /// A part of a constant's gradient, from what has been stacked.
  struct ConstantPart {
    enum Form {
      /// `aᵀ b` over rows.
      case product
      case sum([Int])
    }
    var form: Form
    var factors: [Tensor]

    /// The sum over all turns.
    ///
    /// - `stack`: of a factor.
    func sum(_ stack: (Tensor) -> Tensor) -> Tensor {
      switch form {
      case .product:
        let (a, b) = (rows(stack(factors[0])), rows(stack(factors[1])))
        return .apply(MatMul(transposeA: true), to: a, b)
      case .sum(let axes): return stack(factors[0]).sum(axes: [0] + axes.map { $0 + 1 })
      }
    }

    /// All turns' rows one below the other.
    private func rows(_ stack: Tensor) -> Tensor {
      stack.reshaped(Shape([stack.shape[0] * stack.shape[1], stack.shape[2]]))
    }
  }

  /// The parts of a constant's gradient of which each can be added up behind the loop; empty where they cannot.
  private func constantParts(of flow: Tensor) -> [ConstantPart] {
    guard let value = flow.value, let index = definitions[value.index], index >= start else {
      return []
    }
    let node = inner.graph.nodes[index]
    func operand(_ place: Int) -> Tensor { inner.tensor(node.operands[place].value) }
    switch node.op {
    case is Add where operand(0).shape == flow.shape && operand(1).shape == flow.shape:
      let parts = [constantParts(of: operand(0)), constantParts(of: operand(1))]
      return parts.contains(where: \.isEmpty) ? [] : parts.flatMap { $0 }
    case is Reshape: return constantParts(of: operand(0))
    case let op as Sum where isStackable(operand(0)):
      return [ConstantPart(form: .sum(op.axes), factors: [operand(0)])]
    case let op as MatMul
    where op.transposeA && !op.transposeB && op.result == nil && operand(0).rank == 2
      && operand(1).rank == 2 && isStackable(operand(0)) && isStackable(operand(1)):
      return [ConstantPart(form: .product, factors: [operand(0), operand(1)])]
    default: return []
    }
  }

  /// Whether the value differs from turn to turn: a constant is stacked nowhere.
  private func isStackable(_ factor: Tensor) -> Bool {
    guard let value = factor.value else { return false }
    if inner.graph.constant(value) != nil { return false }
    return !constants.contains { inputs[$0].value == value }
  }

  // MARK: The backward body

  /// Cuts the backward pass out of the inner trace.
  struct BackwardBody {
    let rule: ScanGradient
    let trace = Trace()
    /// Values of the inner trace that it reads turn by turn, in the order of its inputs.
    var slices: [ValueID] = []
    /// Of those, the ones that the forward scan must stack.
    var saved: [ValueID] = []
    /// Inputs of the inner trace that are the same in each turn.
    var constants: [ValueID] = []

    init(_ rule: ScanGradient) { self.rule = rule }

    /// - `carries`: the gradient of each carry as it comes into a turn, and as it leaves.
    /// - `sums`: what is added to an accumulator in each turn.
    /// - `stacked`: what is given out.
    /// - `alsoSaved`: values of the forward pass that are read behind the loop.
    mutating func build(
      carries: [(seed: Tensor, flow: Tensor)], sums: [Tensor], stacked: [Tensor],
      alsoSaved: [ValueID]
    ) throws {
      let graph = rule.inner.graph
      let wanted = carries.map(\.flow) + sums + stacked
      // What the pass computes itself, and what it reads of the forward one.
      var isLive = [Bool](repeating: false, count: graph.types.count)
      for tensor in wanted { isLive[tensor.value!.index] = true }
      var nodes: [Int] = []
      for index in graph.nodes.indices.reversed()
      where graph.nodes[index].results.contains(where: { isLive[$0.index] }) && isOwn(index) {
        nodes.append(index)
        for operand in graph.nodes[index].operands { isLive[operand.value.index] = true }
      }
      nodes.reverse()
      let made = Set(nodes.flatMap { graph.nodes[$0].results })
      var values: [ValueID: Tensor] = [:]
      for (index, carry) in carries.enumerated() {
        values[carry.seed.value!] = trace.input("carry\(index)", carry.seed.type)
      }
      let accumulators = sums.enumerated().map { index, sum in
        trace.input("carry\(carries.count + index)", sum.type)
      }
      let read = graph.types.indices.map { ValueID($0) }.filter {
        isLive[$0.index] && !made.contains($0) && values[$0] == nil && graph.constant($0) == nil
      }
      let fixed = Set(rule.constants.compactMap { rule.inputs[$0].value })
      slices = read.filter { !fixed.contains($0) }
      constants = read.filter { fixed.contains($0) }
      saved = slices.filter { rule.source(of: rule.inner.tensor($0)) == .forward }
      let known = Set(saved)
      saved += alsoSaved.filter { !known.contains($0) }
      for (index, value) in slices.enumerated() {
        values[value] = trace.input("slice\(index)", graph.type(of: value))
      }
      for (index, value) in constants.enumerated() {
        values[value] = trace.input("constant\(index)", graph.type(of: value))
      }
      for constant in graph.constants where isLive[constant.value.index] {
        values[constant.value] = trace.constant(constant.array)
      }
      for index in nodes {
        let node = graph.nodes[index]
        let results = trace.withOrigin(node.origins.first) {
          Tensor.applyAll(
            node.op, to: node.operands.map { values[$0.value]! },
            resultCount: node.results.count)
        }
        for (old, new) in zip(node.results, results) { values[old] = new }
      }
      try trace.check()
      for (index, carry) in carries.enumerated() {
        trace.output("carry\(index)", values[carry.flow.value!]!)
      }
      for (index, sum) in sums.enumerated() {
        trace.output("carry\(carries.count + index)", accumulators[index] + values[sum.value!]!)
      }
      for (index, tensor) in stacked.enumerated() {
        trace.output("output\(index)", values[tensor.value!]!)
      }
    }

    /// Whether the pass computes a node: its own, and of the forward pass what only names elements anew, or all
    /// of it where nothing is kept.
    private func isOwn(_ index: Int) -> Bool {
      index >= rule.start || rule.scan.recomputes || rule.inner.graph.nodes[index].op is any ViewOp
    }
  }
}

extension [Tensor] {
  fileprivate func uniqueByValue() -> [Tensor] {
    var seen = Set<ValueID>()
    return filter { $0.value.map { seen.insert($0).inserted } ?? false }
  }

  fileprivate func reduceSum() -> Tensor { dropFirst().reduce(self[0]) { $0 + $1 } }
}
