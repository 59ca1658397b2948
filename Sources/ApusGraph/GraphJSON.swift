// Graphs as JSON, for programs that look at them. Not read back: the text form is the one that parses.
//
// `Docs/GraphJSON.md` documents the schema; a change that a reader could notice raises `version`.

extension Graph {
  /// The version of the schema in `Docs/GraphJSON.md`.
  package static let jsonVersion = 1

  /// The graph as one JSON object.
  ///
  ///     try trainer.trainingStep.graph(for: fields).json   // {"format":"apus-graph","version":1,…}
  public var json: String { jsonValue.text }

  /// The graph as a value that `json` is the text of.
  package var jsonValue: JSON {
    .object([
      ("format", "apus-graph"), ("version", .integer(Self.jsonVersion)),
      ("inputs", .array(inputs.map { named($0.name, $0.value) })),
      ("states", .array(states.map { named($0.name, $0.value) })),
      ("constants", .array(constants.map(json))),
      ("nodes", .array(nodes.map(json))),
      (
        "assignments",
        .array(
          assignments.map {
            .object([("state", .integer($0.state.index)), ("operand", json($0.operand))])
          })
      ),
      (
        "outputs",
        .array(
          outputs.map { output in
            .object(
              [("name", .string(output.name)), ("operand", json(output.operand))]
                + (output.isRequired ? [("finite", .bool(true))] : []))
          })
      ),
    ])
  }

  private func named(_ name: String, _ value: ValueID) -> JSON {
    .object([
      ("id", .integer(value.index)), ("name", .string(name)), ("type", json(type(of: value))),
    ])
  }

  private func json(_ type: TensorType) -> JSON {
    .object([("dtype", .string(type.dtype.rawValue)), ("shape", json(type.shape.dimensions))])
  }

  private func json(_ integers: [Int]) -> JSON { .array(integers.map { .integer($0) }) }

  private func json(_ constant: GraphConstant) -> JSON {
    var members: [(String, JSON)] = [
      ("id", .integer(constant.value.index)), ("type", json(constant.array.type)),
    ]
    // A table of weights would drown the structure that the reader is after.
    if constant.array.count <= 64 {
      let isFloat = constant.array.dtype.isFloat
      let values: [JSON] =
        isFloat
        ? constant.array.doubles.map { JSON(exactly: $0) }
        : constant.array.integers.map { .integer($0) }
      members.append(("values", .array(values)))
    }
    return .object(members)
  }

  private func json(_ operand: Operand) -> JSON {
    var members: [(String, JSON)] = [("id", .integer(operand.value.index))]
    if let view = operand.view {
      members.append(
        (
          "view",
          .object([
            ("shape", json(view.shape.dimensions)), ("strides", json(view.strides)),
            ("offset", .integer(view.offset)),
          ])
        ))
    }
    return .object(members)
  }

  private func json(_ node: Node) -> JSON {
    .object([
      ("op", .string(node.op.mnemonic)),
      (
        "attributes",
        .array(
          node.op.attributes.map {
            .object([("name", .string($0.name)), ("value", $0.value.json)])
          })
      ),
      ("operands", .array(node.operands.map(json))),
      (
        "results",
        .array(
          node.results.map {
            .object([("id", .integer($0.index)), ("type", json(type(of: $0)))])
          })
      ),
      (
        "origins",
        .array(
          node.origins.map {
            .object([("scope", .string($0.scope)), ("location", .string($0.location))])
          })
      ),
      ("recomputation", .integer(node.recomputation)),
    ])
  }
}

extension AttributeValue {
  /// The value as JSON; an element type is its name, a region an object as the whole graph is.
  var json: JSON {
    switch self {
    case .int(let value): .integer(value)
    case .double(let value): JSON(exactly: value)
    case .bool(let value): .bool(value)
    case .string(let value): .string(value)
    case .dtype(let value): .string(value.rawValue)
    case .list(let values): .array(values.map(\.json))
    case .graph(let graph): graph.jsonValue
    }
  }
}
