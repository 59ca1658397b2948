// The checks of a spec that need no compiled code: types, text, reference, gradients, decomposition.

import ApusAutodiff
import ApusGraph
import ApusOps

extension OpSpec {
  /// A graph of this op alone, its operands inputs and its results outputs.
  package func graph(_ types: [TensorType]) throws -> Graph {
    try traced(types) { operands in
      Tensor.applyAll(op, to: operands, resultCount: try op.resultTypes(types).count)
    }
  }

  /// The types with every float widened to `f64`, for checks in double.
  func widened(_ types: [TensorType]) -> [TensorType] { types.map { $0.with($0.dtype.widened) } }

  /// The op on widened types: one that holds a graph states the types in there.
  var wideOp: any Op { Self.wide(op) }

  private static func wide(_ op: any Op) -> any Op {
    guard let scan = op as? Scan else { return op }
    var body = scan.body
    body.types = body.types.map { $0.with($0.dtype.widened) }
    for index in body.constants.indices {
      let array = body.constants[index].array
      body.constants[index].array = array.cast(to: array.dtype.widened)
    }
    for index in body.nodes.indices { body.nodes[index].op = wide(body.nodes[index].op) }
    return scan.replacingRegions([body])
  }

  // MARK: Types

  /// The type rule takes every case and refuses what it must refuse by throwing an `ApusError`.
  package func problemsOfTypeRule() -> [String] {
    var problems: [String] = []
    for types in cases {
      do {
        if try op.resultTypes(types).isEmpty { problems.append("\(types): no results") }
      } catch {
        problems.append("\(types) is refused: \(error)")
      }
    }
    var refused = rejected
    if !isVariadic { refused.append((cases.first ?? []) + [.f32(2)]) }
    refused.append([])
    for types in refused {
      do {
        let results = try op.resultTypes(types)
        problems.append("\(types) is taken, and gives \(results)")
      } catch let error as ApusError {
        if error.what.isEmpty { problems.append("\(types) is refused without a word") }
      } catch {
        problems.append("\(types) is refused by a \(type(of: error)), not by an ApusError")
      }
    }
    return problems
  }

  // MARK: Text

  /// The op, and a graph of it, are read back from their text.
  package func problemsOfText() -> [String] {
    var problems: [String] = []
    do {
      let copy = try type(of: op).init(
        attributes: AttributeReader(mnemonic: op.mnemonic, op.attributes))
      if !op.isEqual(to: copy) { problems.append("the attributes read back as \(copy)") }
      for types in cases {
        let graph = try graph(types)
        let text = "\(graph)"
        let parsed = try Graph(parsing: text, ops: .all)
        if "\(parsed)" != text { problems.append("\(types): prints as\n\(text)\nthen\n\(parsed)") }
        if let node = parsed.nodes.last, !node.op.isEqual(to: op) {
          problems.append("\(types): parsed as \(node.op)")
        }
        try parsed.verify()
      }
    } catch {
      problems.append("\(error)")
    }
    return problems
  }

  // MARK: Reference

  /// The reference gives results of the types the type rule promises, and the examples' values.
  package func problemsOfReference() -> [String] {
    var problems: [String] = []
    do {
      for types in cases {
        let wide = widened(types)
        let wanted = widened(try wideOp.resultTypes(wide))
        let results = try wideOp.reference(operands(wide), results: wanted)
        if results.map(\.type) != wanted {
          problems.append("\(types): the reference gives \(results.map(\.type)), not \(wanted)")
        }
      }
      for example in examples {
        let wide = example.operands.map { $0.cast(to: $0.dtype.widened) }
        let results = try wideOp.reference(
          wide, results: widened(wideOp.resultTypes(wide.map(\.type))))
        for (got, want) in zip(results, example.results) {
          if let problem = Self.difference(
            got, want, relative: 1e-12, absolute: 1e-12, isRounded: true)
          {
            problems.append("on \(example.operands): \(problem)")
          }
        }
      }
    } catch {
      problems.append("\(error)")
    }
    return problems
  }

  /// A composite's reference agrees with its decomposition into primitives.
  package func problemsOfDecomposition() -> [String] {
    guard let composite = op as? any CompositeOp else { return [] }
    var problems: [String] = []
    do {
      for types in cases {
        let wide = widened(types)
        let inputs = operands(wide)
        let graph = try traced(wide) { try composite.decompose($0) }
        let primitives = try graph.interpret(inputs: inputs).outputs
        let reference = try op.reference(inputs, results: widened(op.resultTypes(wide)))
        guard primitives.count == reference.count else {
          problems.append("\(types): \(primitives.count) results, not \(reference.count)")
          continue
        }
        if graph.nodes.contains(where: { $0.op.mnemonic == op.mnemonic }) {
          problems.append("\(types): the decomposition contains the op itself")
        }
        for (a, b) in zip(primitives, reference) {
          if let problem = Self.difference(a, b, relative: 1e-9, absolute: 1e-10) {
            problems.append("\(types): the decomposition differs: \(problem)")
          }
        }
      }
    } catch {
      problems.append("\(error)")
    }
    return problems
  }

  // MARK: Gradients

  /// The gradient rule agrees with central differences in double along a random direction, to the
  /// order that the spec states.
  package func problemsOfGradient() -> [String] {
    guard smoothness != .unchecked else { return [] }
    var problems: [String] = []
    for types in cases where types.reduce(0, { $0 + $1.count }) <= 200 {
      do {
        let inputs = operands(widened(types))
        if smoothness == .none {
          let graph = try traced(inputs.map(\.type)) { operands in
            let floats = operands.filter(\.dtype.isFloat)
            return gradients(of: try objective(operands), withRespectTo: floats)
          }
          if let flow = try graph.interpret(inputs: inputs).outputs.first(where: { !$0.isZero }) {
            problems.append("\(types): a gradient of \(flow) flows through")
          }
        } else {
          try checkGradients(inputs, order: smoothness == .twice ? 2 : 1, objective)
        }
      } catch {
        problems.append("\(types): \(error)")
      }
    }
    return problems
  }

  /// A scalar that every element of every float result of the op flows into, with its own weight.
  func objective(_ operands: [Tensor]) throws -> Tensor {
    let trace = operands[0].trace
    let op = wideOp
    let count = try op.resultTypes(operands.map(\.type)).count
    var random = SplitMix("\(name) weights")
    let terms = Tensor.applyAll(op, to: operands, resultCount: count).filter(\.dtype.isFloat).map {
      result in
      let weights = (0..<result.type.count).map { _ in random.uniform(-1...1) }
      return (result * trace.constant(NDArray(doubles: weights, type: result.type))).sum()
    }
    return terms.dropFirst().reduce(terms.first ?? trace.constant(0, .f64), +)
  }

  /// What is wrong between two arrays, or nil. NaN equals NaN; infinities must agree.
  package static func difference(
    _ got: NDArray, _ want: NDArray, relative: Double, absolute: Double, isRounded: Bool = false
  ) -> String? {
    guard got.shape == want.shape else { return "shape \(got.shape), not \(want.shape)" }
    let wanted = want.doubles
    let largest = wanted.filter(\.isFinite).reduce(0) { max($0, abs($1)) }
    // Examples given as f32 are only as good as that.
    let slack = isRounded && want.dtype == .f32 ? 1e-7 : 0
    for (index, (x, y)) in zip(got.doubles, wanted).enumerated() {
      if x == y || x.isNaN && y.isNaN { continue }
      let allowed = (relative + slack) * abs(y) + (absolute + slack) * max(largest, 1)
      if !(abs(x - y) <= allowed) {
        return "element \(index) of \(want.shape) is \(x), not \(y)"
      }
    }
    return nil
  }
}

extension NDArray {
  fileprivate var isZero: Bool { doubles.allSatisfy { $0 == 0 } }
}
