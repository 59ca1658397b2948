// Graphs as pictures: text for Graphviz's `dot`.
//
// A box a node, within nested frames for the modules of the user's model; ellipses for inputs and
// outputs, cylinders for states. Constants of one element are written into the boxes that read them.

extension Graph {
  /// The graph in the DOT language: `apus dump mlp --format dot | dot -Tsvg > mlp.svg`.
  ///
  /// A node stands in the frame of its first origin; a fused node names all of them.
  public var dot: String {
    var lines = [
      "digraph apus {", "  rankdir=TB;", "  fontname=\"sans-serif\";",
      "  node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=11];",
      "  edge [fontname=\"sans-serif\", fontsize=9, color=gray40];",
    ]
    for input in inputs { lines.append("  \(ellipse(input.value, input.name, "lightyellow"))") }
    for state in states {
      let label = "\(state.name)\n\(type(of: state.value))"
      lines.append("  \(Self.id(state.value)) [shape=cylinder, label=\(dotQuoted(label))];")
    }
    for constant in constants where constant.array.count != 1 {
      let label = "constant\n\(constant.array.type)"
      lines.append("  \(Self.id(constant.value)) [shape=note, label=\(dotQuoted(label))];")
    }
    var frames = Frame()
    for (index, node) in nodes.enumerated() {
      let scope = node.origins.first { !$0.scope.isEmpty }?.scope ?? ""
      frames.insert(index, path: scope.split(separator: ".").map(String.init)[...])
    }
    var frameCount = 0
    write(frames, "  ", &frameCount, &lines)
    writeEdges(&lines)
    lines.append("}")
    return lines.map { $0 + "\n" }.joined()
  }

  private static func id(_ value: ValueID) -> String { "v\(value.index)" }

  private func ellipse(_ value: ValueID, _ name: String, _ color: String) -> String {
    let label = "\(name)\n\(type(of: value))"
    return
      "\(Self.id(value)) [shape=ellipse, style=filled, fillcolor=\(color), "
      + "label=\(dotQuoted(label))];"
  }

  /// Modules by their paths, with the nodes that stand in each.
  private struct Frame {
    var nodes: [Int] = []
    var children: [(name: String, frame: Frame)] = []

    mutating func insert(_ node: Int, path: ArraySlice<String>) {
      guard let first = path.first else { return nodes.append(node) }
      let place: Int
      if let known = children.firstIndex(where: { $0.name == first }) {
        place = known
      } else {
        place = children.count
        children.append((first, Frame()))
      }
      children[place].frame.insert(node, path: path.dropFirst())
    }
  }

  private func write(_ frame: Frame, _ indent: String, _ count: inout Int, _ lines: inout [String])
  {
    for index in frame.nodes { lines.append("\(indent)n\(index) [label=\(label(nodes[index]))];") }
    for (name, child) in frame.children {
      lines.append("\(indent)subgraph cluster_\(count) {")
      count += 1
      lines.append("\(indent)  label=\(dotQuoted(name)); color=gray70; style=rounded;")
      write(child, indent + "  ", &count, &lines)
      lines.append("\(indent)}")
    }
  }

  /// Op, attributes, scalar constants, result types and, after fusion, every origin.
  private func label(_ node: Node) -> String {
    var lines = [node.op.mnemonic]
    for attribute in node.op.attributes {
      // A program, one instruction a line.
      if case .list(let elements) = attribute.value, case .string? = elements.first {
        lines += elements.prefix(16).map { if case .string(let line) = $0 { line } else { "…" } }
        if elements.count > 16 { lines.append("… \(elements.count - 16) more") }
        continue
      }
      if case .graph(let region) = attribute.value {
        lines += ["\(attribute.name): \(region.nodeCount) operations"]
        lines += region.nodes.prefix(16).map(\.op.mnemonic)
        if region.nodeCount > 16 { lines.append("… \(region.nodeCount - 16) more") }
        continue
      }
      let text = attribute.value.description
      lines.append("\(attribute.name)=\(text.count > 48 ? text.prefix(47) + "…" : text)")
    }
    for operand in node.operands {
      if let array = constant(operand.value), array.count == 1 {
        lines.append("\(operand.value) = \(ConstantText.text(array))")
      }
    }
    lines.append(node.results.map { type(of: $0).description }.joined(separator: ", "))
    let origins = node.origins.map(\.description).filter { !$0.isEmpty }
    if origins.count > 1 {
      lines.append("fused from")
      lines += origins
    } else {
      lines += origins
    }
    if node.recomputation != 0 { lines.append("recomputation \(node.recomputation)") }
    return dotQuoted(lines.joined(separator: "\n"))
  }

  private func writeEdges(_ lines: inout [String]) {
    let definitions = definingNodes
    let scalars = Set(constants.filter { $0.array.count == 1 }.map(\.value))
    func source(_ operand: Operand) -> String {
      definitions[operand.value.index].map { "n\($0)" } ?? Self.id(operand.value)
    }
    func attributes(_ operand: Operand) -> String {
      var label = "\(operand.value) \(type(of: operand.value))"
      if let view = operand.view { label += "\nas \(view.shape)" }
      return "label=\(dotQuoted(label))" + (operand.view == nil ? "" : ", style=dashed")
    }
    for (index, node) in nodes.enumerated() {
      for operand in node.operands where !scalars.contains(operand.value) {
        lines.append("  \(source(operand)) -> n\(index) [\(attributes(operand))];")
      }
    }
    // Constants that are read as they are by an output or an assignment still need their shape.
    for value in scalars.sorted()
    where (outputs.map(\.operand) + assignments.map(\.operand)).contains(where: {
      $0.value == value
    }) {
      let text = constant(value).map { ConstantText.text($0) } ?? ""
      lines.append("  \(Self.id(value)) [shape=note, label=\(dotQuoted(text))];")
    }
    for (index, output) in outputs.enumerated() {
      let label = "\(output.name)\n\(type(of: output.operand))"
      lines.append(
        "  o\(index) [shape=ellipse, style=filled, fillcolor=lightblue, "
          + "label=\(dotQuoted(label))];")
      lines.append("  \(source(output.operand)) -> o\(index) [\(attributes(output.operand))];")
    }
    for assignment in assignments {
      lines.append(
        "  \(source(assignment.operand)) -> \(Self.id(assignment.state)) "
          + "[style=bold, color=firebrick, constraint=false, label=\"assign\"];")
    }
  }
}

/// A string of the DOT language: quotes and backslashes escaped, line feeds as `\n`.
///
/// Backslashes must be doubled: `\N`, `\G` and others stand for names in a label.
func dotQuoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case "\n": result += "\\n"
    case _ where scalar.value < 0x20: result += " "
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
