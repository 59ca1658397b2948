// A recorded step as TensorFlow's `GraphDef`, which TensorBoard's graph tab draws.

import ApusGraph

extension Graph {
  /// The graph as a `GraphDef` message: a node for each input, state, constant and operation, named by the module that
  /// it computes for (`blocks/3/attention/matmul_17`), with its shapes. Values of states for the next step are nodes
  /// `NAME/assign`.
  package var graphDef: [UInt8] {
    var message = ProtocolBuffer()
    var writer = GraphDefWriter(self)
    for node in writer.nodes() { message.data(1, node) }
    // Without a version TensorBoard warns of an old file.
    message.message(4) { $0.integer(1, 22) }
    return message.bytes
  }
}

private struct GraphDefWriter {
  private let graph: Graph
  /// The node that makes a value, and which of its results it is.
  private var sources: [ValueID: String] = [:]
  private var taken: Set<String> = []

  init(_ graph: Graph) { self.graph = graph }

  mutating func nodes() -> [[UInt8]] {
    var result: [[UInt8]] = []
    for input in graph.inputs {
      result.append(leaf("inputs/\(input.name)", "Placeholder", input.value))
    }
    for state in graph.states {
      let path = state.name.split(separator: ".").joined(separator: "/")
      result.append(leaf(path, "Variable", state.value))
    }
    for constant in graph.constants {
      result.append(leaf("constants/\(constant.value.index)", "Const", constant.value))
    }
    for (index, node) in graph.nodes.enumerated() { result.append(operation(node, index)) }
    for (place, assignment) in graph.assignments.enumerated() {
      let state = sources[assignment.state] ?? "state_\(place)"
      result.append(
        self.node(
          name("\(state)/assign"), "Assign", [state, source(assignment.operand)],
          [graph.type(of: assignment.operand)], []))
    }
    for output in graph.outputs {
      result.append(
        self.node(
          name("outputs/\(output.name)"), "Identity", [source(output.operand)],
          [graph.type(of: output.operand)], []))
    }
    return result
  }

  private mutating func leaf(_ wanted: String, _ op: String, _ value: ValueID) -> [UInt8] {
    let name = name(wanted)
    sources[value] = name
    return node(name, op, [], [graph.type(of: value)], [])
  }

  private mutating func operation(_ operation: Node, _ index: Int) -> [UInt8] {
    let origin = operation.origins.first { !$0.scope.isEmpty } ?? operation.origins.first
    let scope = (origin?.scope ?? "").split(separator: ".").map(String.init)
    let mnemonic = operation.op.mnemonic
    let name = name((scope + ["\(mnemonic)_\(index)"]).joined(separator: "/"))
    for (place, value) in operation.results.enumerated() {
      sources[value] = place == 0 ? name : "\(name):\(place)"
    }
    let attributes = operation.op.attributes.map { attribute -> (String, String) in
      let text = attribute.value.description
      return (attribute.name, text.count > 200 ? text.prefix(199) + "…" : text)
    }
    let location = origin.flatMap { $0.location.isEmpty ? nil : [("location", $0.location)] } ?? []
    return node(
      name, mnemonic, operation.operands.map(source), operation.results.map { graph.type(of: $0) },
      attributes + location)
  }

  private func source(_ operand: Operand) -> String {
    sources[operand.value] ?? "value_\(operand.value.index)"
  }

  /// A name of TensorFlow's alphabet that no other node has: letters, digits and `_.\-/`, a letter, a digit or a point
  /// first.
  private mutating func name(_ wanted: String) -> String {
    var name = String(
      wanted.map { character in
        let isKept =
          character.isASCII
          && (character.isLetter || character.isNumber || "_.-/".contains(character))
        return isKept ? character : "_"
      })
    if name.first.map({ "_-/".contains($0) }) ?? true { name = "." + name }
    var free = name, number = 1
    while !taken.insert(free).inserted {
      number += 1
      free = "\(name)_\(number)"
    }
    return free
  }

  /// `NodeDef`.
  private func node(
    _ name: String, _ op: String, _ inputs: [String], _ results: [TensorType],
    _ attributes: [(name: String, text: String)]
  ) -> [UInt8] {
    var node = ProtocolBuffer()
    node.string(1, name)
    node.string(2, op)
    for input in inputs { node.string(3, input) }
    node.entry(5, "_output_shapes") { value in
      value.message(1) { list in
        for type in results {
          list.message(7) { shape in
            for extent in type.shape.dimensions { shape.message(2) { $0.integer(1, extent) } }
          }
        }
      }
    }
    if let dtype = results.first?.dtype {
      node.entry(5, "dtype") { $0.string(2, dtype.rawValue) }
    }
    var seen: Set = ["_output_shapes", "dtype"]
    for (name, text) in attributes where seen.insert(name).inserted {
      node.entry(5, name) { $0.string(2, text) }
    }
    return node.bytes
  }
}
