// The static graph of a whole training step.

// Inlinable: tables by value are the heart of passes and plans, and the optimiser looks into other modules
// for what is public only. Without it a look-up takes a third more instructions.
/// The identity of a value within one graph: a dense index.
@frozen @usableFromInline
package struct ValueID: Sendable, Hashable, Comparable, CustomStringConvertible {
  @usableFromInline package let index: Int
  @inlinable package init(_ index: Int) { self.index = index }
  @inlinable package static func < (a: ValueID, b: ValueID) -> Bool { a.index < b.index }
  @inlinable package var description: String { "%\(index)" }
}

/// A value as a node reads it: dense, or through a view that a pass folded in.
package struct Operand: Sendable, Hashable {
  package var value: ValueID
  package var view: View?

  package init(_ value: ValueID, view: View? = nil) {
    self.value = value
    self.view = view
  }
}

/// Where in the user's model a node comes from.
package struct Origin: Sendable, Hashable, CustomStringConvertible {
  /// The module path, such as `blocks.3.attention.query`; empty outside modules.
  package var scope: String
  /// `file:line` of the call; empty where it is not known.
  package var location: String

  package init(scope: String = "", location: String = "") {
    self.scope = scope
    self.location = location
  }

  package var description: String {
    switch (scope.isEmpty, location.isEmpty) {
    case (true, _): location
    case (false, true): scope
    case (false, false): "\(scope) (\(location))"
    }
  }
}

/// One application of an op.
package struct Node: Sendable {
  package var op: any Op
  package var operands: [Operand]
  package var results: [ValueID]
  /// All the places of the model that this node computes for: one, or several after fusion. The first
  /// is the op that gave the node its results.
  package var origins: [Origin]
  /// 0, or the number of the recomputation this node belongs to: `checkpoint` makes copies of forward
  /// nodes that must not be merged with the originals.
  package var recomputation: Int

  package init(
    op: any Op, operands: [Operand], results: [ValueID], origins: [Origin], recomputation: Int = 0
  ) {
    self.op = op
    self.operands = operands
    self.results = results
    self.origins = origins
    self.recomputation = recomputation
  }
}

/// A value that the caller gives on every run.
package struct GraphInput: Sendable, Hashable {
  package var name: String
  package var value: ValueID

  package init(name: String, value: ValueID) {
    self.name = name
    self.value = value
  }
}

/// A value that lives from run to run: a parameter, an optimiser slot, a running statistic, the random
/// key, the step count.
package struct GraphState: Sendable, Hashable {
  package var name: String
  package var value: ValueID

  package init(name: String, value: ValueID) {
    self.name = name
    self.value = value
  }
}

/// A value fixed when the graph was built.
package struct GraphConstant: Sendable, Hashable {
  package var value: ValueID
  package var array: NDArray

  package init(value: ValueID, array: NDArray) {
    self.value = value
    self.array = array
  }
}

/// A value that a run returns.
package struct GraphOutput: Sendable, Hashable {
  package var name: String
  package var operand: Operand
  /// Whether the run's assignments depend on it: where it is a NaN or an infinity, no state changes. One
  /// f32, such as a loss or the norm of all gradients.
  package var isRequired: Bool

  package init(name: String, operand: Operand, isRequired: Bool = false) {
    self.name = name
    self.operand = operand
    self.isRequired = isRequired
  }
}

/// A state's value for the next run. All assignments take place together, at the end of the step.
package struct GraphAssignment: Sendable, Hashable {
  /// The state's own value, as listed in `Graph.states`.
  package var state: ValueID
  package var operand: Operand

  package init(state: ValueID, operand: Operand) {
    self.state = state
    self.operand = operand
  }
}

/// A graph: inputs, constants, states, nodes in an order in which they can run, and what comes out.
///
///     let graph = try step.graph(for: [BatchField("x", .f32(64, 784))])
///     print(graph.nodeCount, "operations")
///     print(graph)                            // the canonical text form
///
/// Values are immutable and identified by dense indices. A pass makes a new graph; see `GraphRewriter`.
/// `Graph(parsing:)` reads the text form back.
public struct Graph: Sendable {
  /// The type of every value, by index.
  package var types: [TensorType] = []
  package var inputs: [GraphInput] = []
  package var states: [GraphState] = []
  package var constants: [GraphConstant] = []
  package var nodes: [Node] = []
  package var assignments: [GraphAssignment] = []
  package var outputs: [GraphOutput] = []

  package init() {}

  /// How many operations it has.
  public var nodeCount: Int { nodes.count }
  /// How many values live from run to run: parameters, buffers, what optimisers keep, the random key.
  public var stateCount: Int { states.count }

  /// The type of a value.
  package func type(of value: ValueID) -> TensorType { types[value.index] }

  /// The type that a node sees when it reads the operand.
  package func type(of operand: Operand) -> TensorType {
    let type = types[operand.value.index]
    return operand.view.map { type.with($0.shape) } ?? type
  }

  /// A new value, of no node yet.
  package mutating func addValue(_ type: TensorType) -> ValueID {
    types.append(type)
    return ValueID(types.count - 1)
  }

  /// A new input.
  package mutating func addInput(_ name: String, _ type: TensorType) -> ValueID {
    let value = addValue(type)
    inputs.append(GraphInput(name: name, value: value))
    return value
  }

  /// A new state.
  package mutating func addState(_ name: String, _ type: TensorType) -> ValueID {
    let value = addValue(type)
    states.append(GraphState(name: name, value: value))
    return value
  }

  /// A new constant.
  package mutating func addConstant(_ array: NDArray) -> ValueID {
    let value = addValue(array.type)
    constants.append(GraphConstant(value: value, array: array))
    return value
  }

  /// Appends a node; its result types come from the op's type rule.
  ///
  /// - Throws: what the op's type rule throws; `invalidArgument` for a result of negative extent.
  @discardableResult
  package mutating func addNode(
    _ op: any Op, _ operands: [Operand], origins: [Origin], recomputation: Int = 0
  ) throws -> [ValueID] {
    let types = try op.resultTypes(operands.map { type(of: $0) })
    for type in types { _ = try type.checked("\(op.mnemonic): its result") }
    let results = types.map { addValue($0) }
    nodes.append(
      Node(
        op: op, operands: operands, results: results, origins: origins,
        recomputation: recomputation))
    return results
  }

  /// Sets what a state holds after the step, replacing an earlier assignment to it.
  ///
  /// A pass or a trace that knows that there is none yet appends to `assignments` itself.
  package mutating func assign(_ state: ValueID, _ operand: Operand) {
    assignments.removeAll { $0.state == state }
    assignments.append(GraphAssignment(state: state, operand: operand))
  }

  /// The node that defines each value, by value index; nil for inputs, states and constants.
  package var definingNodes: [Int?] {
    var result = [Int?](repeating: nil, count: types.count)
    for index in nodes.indices {
      for value in nodes[index].results { result[value.index] = index }
    }
    return result
  }

  /// The nodes that read each value, by value index, in order; outputs and assignments not counted.
  package var readers: [[Int]] {
    var result = [[Int]](repeating: [], count: types.count)
    for index in nodes.indices {
      // A node that reads a value twice stands last in its list already.
      for operand in nodes[index].operands where result[operand.value.index].last != index {
        result[operand.value.index].append(index)
      }
    }
    return result
  }

  /// How often each value is read, by value index: by nodes (each operand counts), outputs and
  /// assignments.
  package var useCounts: [Int] {
    var result = [Int](repeating: 0, count: types.count)
    for index in nodes.indices {
      for operand in nodes[index].operands { result[operand.value.index] += 1 }
    }
    for output in outputs { result[output.operand.value.index] += 1 }
    for assignment in assignments { result[assignment.operand.value.index] += 1 }
    return result
  }

  /// Whether the other graph is a copy of this one, neither changed since: told by where their lists lie,
  /// in constant time. False where that is not certain.
  package func hasSameStorage(as other: Graph) -> Bool {
    func isSame<T>(_ a: [T], _ b: [T]) -> Bool {
      a.count == b.count
        && a.withUnsafeBufferPointer { a in
          b.withUnsafeBufferPointer { a.baseAddress == $0.baseAddress }
        }
    }
    return isSame(types, other.types) && isSame(inputs, other.inputs)
      && isSame(states, other.states) && isSame(constants, other.constants)
      && isSame(nodes, other.nodes) && isSame(assignments, other.assignments)
      && isSame(outputs, other.outputs)
  }

  /// The constant that defines `value`, if one does.
  package func constant(_ value: ValueID) -> NDArray? {
    constants.first { $0.value == value }?.array
  }
}

/// Copies a graph node by node into a new one, so that a pass can leave out, replace or add nodes.
///
///     var rewriter = GraphRewriter(graph)
///     for node in graph.nodes {
///       if isUseless(node) { rewriter.replace(node.results[0], by: node.operands[0]) }
///       else { try rewriter.copy(node) }
///     }
///     graph = try rewriter.finish()
///
/// Inputs and states are kept, all of them and in order; constants are kept where they are still read.
package struct GraphRewriter {
  package let source: Graph
  package var result = Graph()
  /// The operand of the new graph that stands for each value of the old one, by its index.
  package private(set) var mapped: [Operand?]

  package init(_ source: Graph) {
    self.source = source
    mapped = [Operand?](repeating: nil, count: source.types.count)
    for input in source.inputs {
      mapped[input.value.index] = Operand(result.addInput(input.name, source.type(of: input.value)))
    }
    for state in source.states {
      mapped[state.value.index] = Operand(result.addState(state.name, source.type(of: state.value)))
    }
    for constant in source.constants {
      mapped[constant.value.index] = Operand(result.addConstant(constant.array))
    }
  }

  /// What stands in the new graph for an operand of the old one.
  ///
  /// - Precondition: the operand's value has been copied or replaced.
  package func map(_ operand: Operand) -> Operand {
    guard let base = mapped[operand.value.index] else {
      preconditionFailure("\(operand.value) is read before the pass has copied it")
    }
    guard let view = operand.view else { return base }
    guard let inner = base.view else { return Operand(base.value, view: view) }
    guard let composed = inner.composed(with: view) else {
      preconditionFailure("a pass replaced \(operand.value) by a view its readers cannot compose")
    }
    return Operand(base.value, view: composed)
  }

  /// What stands for `value` in the new graph.
  package func map(_ value: ValueID) -> Operand { map(Operand(value)) }

  /// Whether `value` of the old graph already stands for something in the new one.
  package func isMapped(_ value: ValueID) -> Bool { mapped[value.index] != nil }

  /// Makes `operand` of the *new* graph stand for `value` of the old one.
  package mutating func replace(_ value: ValueID, by operand: Operand) {
    mapped[value.index] = operand
  }

  /// Makes what stands for `other` (of the old graph) stand for `value` too.
  package mutating func replace(_ value: ValueID, byMapped other: Operand) {
    mapped[value.index] = map(other)
  }

  /// Copies a node of the old graph as it is.
  package mutating func copy(_ node: Node) throws {
    let operands = node.operands.map { map($0) }
    // Operands of the same types give results of the same types: asking the op again would be most of
    // the work of a pass that changes little.
    guard
      zip(operands, node.operands).allSatisfy({ result.type(of: $0) == source.type(of: $1) })
    else { return try emit(node.op, operands, for: node) }
    var copy = node
    copy.operands = operands
    for position in node.results.indices {
      let old = node.results[position]
      let value = result.addValue(source.type(of: old))
      if value != old { copy.results[position] = value }
      mapped[old.index] = Operand(value)
    }
    result.nodes.append(copy)
  }

  /// Adds a node to the new graph in place of `node`: same results, origins and recomputation.
  package mutating func emit(_ op: any Op, _ operands: [Operand], for node: Node) throws {
    let results = try result.addNode(
      op, operands, origins: node.origins, recomputation: node.recomputation)
    for (old, new) in zip(node.results, results) { mapped[old.index] = Operand(new) }
  }

  /// Adds a node to the new graph on its own.
  package mutating func emit(
    _ op: any Op, _ operands: [Operand], origins: [Origin], recomputation: Int = 0
  ) throws -> [ValueID] {
    try result.addNode(op, operands, origins: origins, recomputation: recomputation)
  }

  /// Copies outputs and assignments and returns the new graph, without constants that nobody reads.
  package mutating func finish() -> Graph {
    for output in source.outputs {
      result.outputs.append(
        GraphOutput(
          name: output.name, operand: map(output.operand), isRequired: output.isRequired))
    }
    for assignment in source.assignments {
      result.assignments.append(
        GraphAssignment(
          state: map(assignment.state).value, operand: map(assignment.operand)))
    }
    // Handed out whole, so that nothing is copied to be renumbered.
    var graph = result
    result = Graph()
    graph.compact()
    return graph
  }
}

extension Graph {
  /// The same graph without unread constants, its values renumbered in order of definition. Two graphs
  /// that differ only in numbering become equal text.
  package func compacted() -> Graph {
    var result = self
    result.compact()
    return result
  }

  /// Takes out unread constants and numbers the values in order of definition.
  package mutating func compact() {
    let uses = useCounts
    var new = [ValueID](repeating: ValueID(-1), count: types.count)
    var newTypes: [TensorType] = []
    newTypes.reserveCapacity(types.count)
    func define(_ value: inout ValueID) {
      let number = ValueID(newTypes.count)
      newTypes.append(types[value.index])
      new[value.index] = number
      value = number
    }
    for index in inputs.indices { define(&inputs[index].value) }
    for index in states.indices { define(&states[index].value) }
    constants.removeAll { uses[$0.value.index] == 0 }
    for index in constants.indices { define(&constants[index].value) }
    for index in nodes.indices {
      for position in nodes[index].operands.indices {
        let old = nodes[index].operands[position].value
        let value = new[old.index]
        // What keeps its number is not written: that could copy the array it stands in.
        if value != old { nodes[index].operands[position].value = value }
      }
      for position in nodes[index].results.indices {
        var value = nodes[index].results[position]
        let old = value
        define(&value)
        if value != old { nodes[index].results[position] = value }
      }
    }
    for index in outputs.indices {
      outputs[index].operand.value = new[outputs[index].operand.value.index]
    }
    for index in assignments.indices {
      assignments[index].state = new[assignments[index].state.index]
      assignments[index].operand.value = new[assignments[index].operand.value.index]
    }
    types = newTypes
  }
}
