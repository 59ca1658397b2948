// Programs of fused loops: elementwise ops and reductions over one domain.

import ApusGraph

/// A straight-line program over a loop's operands.
///
/// In text, one string an instruction: `v0 = add(a0, a1)`, `v1 = clamp(v0) {low=0.0, high=1.0}`,
/// `v2 = sum(v1)`. `a0` is the first operand, `v0` the first instruction's value.
package struct LoopProgram: Sendable, Hashable {
  /// What an instruction reads.
  package enum Argument: Sendable, Hashable {
    case operand(Int)
    case value(Int)
  }

  /// What an instruction does.
  package enum Action: Sendable {
    /// An elementwise op on its arguments.
    case apply(any ElementwiseOp)
    /// A reduction of its one argument over the loop's reduced axes, which stay with extent 1.
    case reduce(any ReductionOp.Type)
    /// A scalar known when the graph was built.
    case constant(Double, DType)
  }

  /// One opcode with where it reads and what it holds.
  package struct Instruction: Sendable, Hashable {
    package var action: Action
    package var arguments: [Argument]

    package init(_ action: Action, _ arguments: [Argument]) {
      self.action = action
      self.arguments = arguments
    }

    package static func == (a: Instruction, b: Instruction) -> Bool {
      guard a.arguments == b.arguments else { return false }
      switch (a.action, b.action) {
      case (.apply(let x), .apply(let y)): return x.isEqual(to: y)
      case (.reduce(let x), .reduce(let y)): return x == y
      case (.constant(let x, let p), .constant(let y, let q)):
        return x.bitPattern == y.bitPattern && p == q
      default: return false
      }
    }

    package func hash(into hasher: inout Hasher) {
      hasher.combine(mnemonic)
      hasher.combine(arguments)
    }

    var mnemonic: String {
      switch action {
      case .apply(let op): op.mnemonic
      case .reduce(let type): type.mnemonic
      case .constant: "constant"
      }
    }
  }

  package var instructions: [Instruction]
  /// The instructions whose values are the loop's results.
  package var outputs: [Int]

  package init(_ instructions: [Instruction], outputs: [Int]) {
    self.instructions = instructions
    self.outputs = outputs
  }

  /// Whether any instruction reduces.
  package var reduces: Bool {
    instructions.contains { if case .reduce = $0.action { true } else { false } }
  }

  /// The type of each instruction's value.
  ///
  /// - `reducedAxes`: axes of the domain that reductions fold.
  /// - Throws: what the ops' rules throw; `invalidGraph` for arguments that do not exist.
  package func types(_ operands: [TensorType], domain: Shape, reducedAxes: [Int]) throws
    -> [TensorType]
  {
    var types: [TensorType] = []
    for instruction in instructions {
      let arguments = try instruction.arguments.map { argument -> TensorType in
        switch argument {
        case .operand(let index) where operands.indices.contains(index): return operands[index]
        case .value(let index) where types.indices.contains(index): return types[index]
        default:
          throw ApusError(
            .invalidGraph, "loop: \(text(argument)) does not exist", expected: "an earlier value")
        }
      }
      switch instruction.action {
      case .apply(let op): types.append(try op.resultTypes(arguments)[0])
      case .constant(_, let dtype): types.append(TensorType(dtype, []))
      case .reduce(let type):
        guard arguments.count == 1 else {
          throw ApusError(
            .invalidGraph, "loop: \(type.mnemonic) has \(arguments.count) arguments", expected: "1")
        }
        // A value that does not vary over the whole domain is still folded over all of it.
        let whole = TensorType(arguments[0].dtype, domain)
        types.append(try type.init(axes: reducedAxes, keepDims: true).resultTypes([whole])[0])
      }
    }
    return types
  }

  // MARK: Text

  private func text(_ argument: Argument) -> String {
    switch argument {
    case .operand(let index): "a\(index)"
    case .value(let index): "v\(index)"
    }
  }

  /// The text form, one string an instruction.
  var lines: [String] {
    instructions.enumerated().map { index, instruction in
      var line = "v\(index) = \(instruction.mnemonic)"
      line += "(\(instruction.arguments.map(text).joined(separator: ", ")))"
      let attributes: [Attribute]
      switch instruction.action {
      case .apply(let op): attributes = op.attributes
      case .reduce: attributes = []
      case .constant(let value, let dtype):
        attributes = [Attribute("value", .double(value)), Attribute("dtype", .dtype(dtype))]
      }
      if !attributes.isEmpty {
        line += " {\(attributes.map { "\($0.name)=\($0.value)" }.joined(separator: ", "))}"
      }
      return line
    }
  }

  /// Reads the text form back.
  init(lines: [String], outputs: [Int]) throws {
    self.outputs = outputs
    instructions = try lines.enumerated().map { try Self.instruction($0.element, index: $0.offset) }
  }

  private static func instruction(_ line: String, index: Int) throws -> Instruction {
    func fail(_ expected: String) -> ApusError {
      ApusError(.parse, "loop: '\(line)' is no instruction", expected: expected)
    }
    let head = "v\(index) = "
    guard line.hasPrefix(head), let open = line.firstIndex(of: "("),
      let close = line[open...].firstIndex(of: ")")
    else { throw fail("'\(head)op(a0, v1) {…}'") }
    let mnemonic = String(line[line.index(line.startIndex, offsetBy: head.count)..<open])
    let arguments = try line[line.index(after: open)..<close].split(separator: ",").map {
      word -> Argument in
      let word = word.drop { $0 == " " }
      guard let number = Int(word.dropFirst()), number >= 0 else { throw fail("a0 or v0") }
      switch word.first {
      case "a": return .operand(number)
      case "v" where number < index: return .value(number)
      default: throw fail("an operand or an earlier value")
      }
    }
    let rest = line[line.index(after: close)...].drop { $0 == " " }
    var attributes: [Attribute] = []
    if !rest.isEmpty {
      guard rest.first == "{", rest.last == "}" else { throw fail("attributes in braces") }
      attributes = try Attribute.parse(list: String(rest.dropFirst().dropLast()))
    }
    if mnemonic == "constant" {
      let reader = AttributeReader(mnemonic: mnemonic, attributes)
      return Instruction(
        .constant(try reader.double("value"), try reader.dtype("dtype")), arguments)
    }
    let folding = [Attribute("axes", .ints([])), Attribute("keepDims", .bool(true))]
    if let op = try? OpRegistry.all.make(mnemonic, attributes), let op = op as? any ElementwiseOp {
      return Instruction(.apply(op), arguments)
    }
    if let op = try? OpRegistry.all.make(mnemonic, folding), let op = op as? any ReductionOp {
      return Instruction(.reduce(type(of: op)), arguments)
    }
    throw fail("an elementwise op or a reduction")
  }
}
