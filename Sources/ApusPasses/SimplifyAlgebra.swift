// Replaces nodes by simpler ones of the same value, by a table of small rules.
//
// Assumes: constants are folded (rules look for constant operands).
// Guarantees: no rule of `AlgebraRules` applies any more; nothing is left that only replaced nodes read.
//
// "The same value" allows what rounding allows: another order of summation, one rounding instead of two,
// the other sign of a zero. It does not allow a NaN or an infinity to come or go: `x * 0` is 0 only for
// integers and for floats that are known to be finite.
//
//     constant %1 : f64[] = [0.0]
//     %2 = add(%0, %1) : f64[2]          =>      %1 = exp(%0) : f64[2]
//     %3 = exp(%2) : f64[2]

import ApusGraph
import ApusOps

/// Applies algebraic identities until none applies.
package struct SimplifyAlgebra: Pass {
  package static let name = "simplify-algebra"

  package init() {}

  /// A rule may open the way for another at a reader that was visited before; this many rounds are the
  /// most that are tried.
  private static let rounds = 8

  package func run(on graph: inout Graph) throws -> Statistics {
    var statistics = Statistics()
    for _ in 0..<Self.rounds {
      let simplifier = Simplifier(graph)
      try simplifier.run()
      if simplifier.statistics.isEmpty { break }
      statistics += simplifier.statistics
      graph = simplifier.finish()
      _ = try DeadCode().run(on: &graph)
    }
    return statistics
  }
}

/// One walk over a graph, from operands to readers, that writes the simplified graph.
///
/// A class because a site hands it to rules, which look at the new graph and add to it.
final class Simplifier {
  private let source: Graph
  private var rewriter: GraphRewriter
  private(set) var statistics = Statistics()
  /// By value of the new graph: the node that makes it, its readers as far as they are known, and the
  /// number that all its elements are.
  private var definitions: [Int?]
  private var readers: [Int]
  private var constants: [Known]
  private var scalars: [NDArray: Operand] = [:]
  private var rulesByType: [ObjectIdentifier: [AlgebraRule]] = [:]

  /// What is known of a value's elements.
  private enum Known {
    case nothing
    case allAre(Double)
    case theyDiffer
  }

  /// Rules deeper than this within each other are not tried: a stop for rules that undo each other.
  private static let depthLimit = 64

  init(_ graph: Graph) {
    source = graph
    rewriter = GraphRewriter(graph)
    let uses = graph.useCounts
    definitions = Array(repeating: nil, count: rewriter.result.types.count)
    readers = Array(repeating: 0, count: rewriter.result.types.count)
    constants = Array(repeating: .nothing, count: rewriter.result.types.count)
    for value in graph.types.indices where rewriter.isMapped(ValueID(value)) {
      readers[rewriter.map(ValueID(value)).value.index] += uses[value]
    }
    for constant in rewriter.result.constants {
      constants[constant.value.index] = Self.uniform(constant.array)
      if constant.array.count == 1 && constant.array.shape.rank == 0 {
        scalars[constant.array] = Operand(constant.value)
      }
    }
  }

  // Here and below, the rewriter's arrays are read as they are: calling its methods, of a value that a
  // class holds, copies it each time.
  func type(of operand: Operand) -> TensorType {
    let type = rewriter.result.types[operand.value.index]
    return operand.view.map { type.with($0.shape) } ?? type
  }

  func run() throws {
    let uses = source.useCounts
    for node in source.nodes {
      let operands = node.operands.map { operand in
        operand.view == nil ? rewriter.mapped[operand.value.index]! : rewriter.map(operand)
      }
      if node.results.count == 1,
        let simpler = try simplified(
          node.op, operands, node, type: source.types[node.results[0].index], depth: 0)
      {
        rewriter.replace(node.results[0], by: simpler)
        readers[simpler.value.index] += uses[node.results[0].index]
      } else {
        try rewriter.copy(node)
        noteNewNode()
        for value in node.results {
          readers[rewriter.mapped[value.index]!.value.index] += uses[value.index]
        }
      }
    }
  }

  func finish() -> Graph { rewriter.finish() }

  // MARK: Rewriting

  /// - `known`: the result's type; nil where the op must be asked.
  private func simplified(
    _ op: any Op, _ operands: [Operand], _ node: Node, type known: TensorType?, depth: Int
  ) throws -> Operand? {
    let rules = rules(for: op)
    guard depth < Self.depthLimit, !rules.isEmpty else { return nil }
    let types = try known.map { [$0] } ?? op.resultTypes(operands.map { type(of: $0) })
    guard types.count == 1 else { return nil }
    let site = Site(
      op: op, operands: operands, type: types[0], simplifier: self, node: node, depth: depth)
    for rule in rules {
      guard let simpler = try rule.apply(site) else { continue }
      guard type(of: simpler) == types[0] else {
        throw ApusError(
          .invalidGraph,
          "rule '\(rule.name)' makes a \(type(of: simpler)) of a \(types[0])",
          at: node.origins.first?.description, expected: "the same type")
      }
      statistics[rule.name] += 1
      return simpler
    }
    return nil
  }

  private func rules(for op: any Op) -> [AlgebraRule] {
    let type = ObjectIdentifier(Swift.type(of: op))
    if let known = rulesByType[type] { return known }
    let rules = AlgebraRules.all.filter { $0.isFor(op) }
    rulesByType[type] = rules
    return rules
  }

  /// Adds an op that a rule makes, or what it simplifies to.
  func emit(_ op: any Op, _ operands: [Operand], for node: Node, depth: Int) throws -> Operand {
    if let simpler = try simplified(op, operands, node, type: nil, depth: depth) { return simpler }
    let results = try rewriter.emit(
      op, operands, origins: node.origins, recomputation: node.recomputation)
    noteNewNode()
    for operand in operands { readers[operand.value.index] += 1 }
    return Operand(results[0])
  }

  private func noteNewNode() {
    let index = rewriter.result.nodes.count - 1
    for value in rewriter.result.nodes[index].results {
      // Constants that rules add have values of their own: fill up to the new one.
      while definitions.count <= value.index {
        definitions.append(nil)
        readers.append(0)
        constants.append(.nothing)
      }
      definitions[value.index] = index
    }
  }

  func scalar(_ value: Double, _ dtype: DType) -> Operand {
    let array = NDArray(doubles: [value], type: TensorType(dtype, []))
    if let known = scalars[array] { return known }
    let new = rewriter.result.addConstant(array)
    definitions.append(nil)
    readers.append(0)
    constants.append(Self.uniform(array))
    scalars[array] = Operand(new)
    return Operand(new)
  }

  // MARK: What is known of values of the new graph

  /// The op that makes the value.
  func op(making value: ValueID) -> (any Op)? {
    definitions[value.index].map { rewriter.result.nodes[$0].op }
  }

  /// What that op reads.
  func operands(making value: ValueID) -> [Operand] {
    definitions[value.index].map { rewriter.result.nodes[$0].operands } ?? []
  }

  /// All that the op makes which makes the value.
  func results(making value: ValueID) -> [ValueID] {
    definitions[value.index].map { rewriter.result.nodes[$0].results } ?? []
  }

  func readerCount(_ value: ValueID) -> Int { readers[value.index] }

  func constant(_ value: ValueID) -> Double? {
    switch constants[value.index] {
    case .allAre(let number): return number
    case .theyDiffer: return nil
    case .nothing: break
    }
    // What only moves elements leaves them equal.
    guard op(making: value) is any ViewOp else { return nil }
    let found = constant(operands(making: value)[0].value)
    constants[value.index] = found.map { .allAre($0) } ?? .theyDiffer
    return found
  }

  func isFinite(_ value: ValueID) -> Bool {
    if let constant = constant(value) { return constant.isFinite }
    let dtype = rewriter.result.types[value.index].dtype
    guard dtype.isFloat else { return true }
    guard let op = op(making: value) else { return false }
    let operand = operands(making: value).first
    if op is any ViewOp { return operand.map { isFinite($0.value) } ?? false }
    // Every integer lies within the range of f32, though not of f16.
    return op is Cast && dtype != .f16
      && !(operand.map { rewriter.result.types[$0.value.index].dtype.isFloat } ?? true)
  }

  private static func uniform(_ array: NDArray) -> Known {
    // Of 64-bit integers only those that a double holds.
    if array.dtype == .i64, array.integers.contains(where: { $0.magnitude > 1 << 53 }) {
      return .theyDiffer
    }
    let doubles = array.doubles
    guard let first = doubles.first else { return .theyDiffer }
    return doubles.allSatisfy { $0 == first } ? .allAre(first) : .theyDiffer
  }
}
