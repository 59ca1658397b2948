// The canonical text form of graphs.
//
//     input %0 "x" : f32[64,784]
//     state %1 "hidden.weight" : f32[128,784]
//     constant %2 : f32[] = [0.5]
//     %3 = matmul(%0, %1) {transposeA=false, transposeB=true} : f32[64,128] from "hidden" "A.swift:7"
//     assign %1 = %4
//     output "loss" = %5 finite
//
// A line a value or effect; a region stands in braces, a line a value within. `Parser.swift` reads exactly this
// back.

extension Graph: CustomStringConvertible {
  public var description: String { text(origins: true) }

  /// The canonical text form.
  ///
  /// - `origins`: whether lines end with where in the model they come from.
  public func text(origins: Bool) -> String {
    var lines: [String] = []
    for input in inputs {
      lines.append("input \(input.value) \(quoted(input.name)) : \(type(of: input.value))")
    }
    for state in states {
      lines.append("state \(state.value) \(quoted(state.name)) : \(type(of: state.value))")
    }
    for constant in constants {
      let array = constant.array
      lines.append("constant \(constant.value) : \(array.type) = \(ConstantText.text(array))")
    }
    for node in nodes { lines.append(text(node, origins: origins)) }
    for assignment in assignments {
      lines.append("assign \(assignment.state) = \(text(assignment.operand))")
    }
    for output in outputs {
      lines.append(
        "output \(quoted(output.name)) = \(text(output.operand))"
          + (output.isRequired ? " finite" : ""))
    }
    return lines.map { $0 + "\n" }.joined()
  }

  /// One node's line.
  package func text(_ node: Node, origins: Bool) -> String {
    var line = node.results.map(\.description).joined(separator: ", ")
    line += " = \(node.op.mnemonic)(\(node.operands.map(text).joined(separator: ", ")))"
    if !node.op.attributes.isEmpty {
      let attributes = node.op.attributes.map { "\($0.name)=\($0.value.text(origins: origins))" }
      line += " {\(attributes.joined(separator: ", "))}"
    }
    line += " : \(node.results.map { type(of: $0).description }.joined(separator: ", "))"
    if node.recomputation != 0 { line += " recomputation \(node.recomputation)" }
    let known = node.origins.filter { !$0.scope.isEmpty || !$0.location.isEmpty }
    if origins && !known.isEmpty {
      let places = known.map { "\(quoted($0.scope)) \(quoted($0.location))" }
      line += " from \(places.joined(separator: ", "))"
    }
    return line
  }

  private func text(_ operand: Operand) -> String {
    guard let view = operand.view else { return operand.value.description }
    return
      "\(operand.value) view \(view.shape) strides \(Shape(view.strides)) offset \(view.offset)"
  }
}

extension AttributeValue: CustomStringConvertible {
  package var description: String { text(origins: true) }

  /// - `origins`: whether the lines of a graph end with where in the model they come from.
  package func text(origins: Bool) -> String {
    switch self {
    case .int(let value): "\(value)"
    case .double(let value): ConstantText.text(value)
    case .bool(let value): "\(value)"
    case .string(let value): quoted(value)
    case .dtype(let value): value.rawValue
    case .list(let values):
      "[" + values.map { $0.text(origins: origins) }.joined(separator: ", ") + "]"
    case .graph(let graph): "{\n" + indented(graph.text(origins: origins)) + "}"
    }
  }
}

/// Every line two spaces further in.
package func indented(_ text: String) -> String {
  text.split(separator: "\n", omittingEmptySubsequences: false)
    .map { $0.isEmpty ? "" : "  \($0)" }.joined(separator: "\n")
}

func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case "\n": result += "\\n"
    case "\t": result += "\\t"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}

/// Numbers and arrays as text that reads back to the same bits.
enum ConstantText {
  /// A double, always with a point, an exponent, `inf` or `nan`, so that it is not taken for an integer.
  static func text(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    return "\(value)"
  }

  /// `[1.0, 2.0]`, `splat 1.0` or, for long arrays, `hex "…"` with the bytes as they lie.
  static func text(_ array: NDArray) -> String {
    if array.count > 1, let element = splat(array) { return "splat \(element)" }
    if array.count > 32 || hasOddBits(array) {
      return "hex \"\(array.withUnsafeBytes { $0.map(hex).joined() })\""
    }
    return "[" + elements(array).joined(separator: ", ") + "]"
  }

  /// NaNs with a payload, which decimal text would lose.
  private static func hasOddBits(_ array: NDArray) -> Bool {
    guard array.dtype.isFloat else { return false }
    let doubles = array.doubles
    guard doubles.contains(where: \.isNaN) else { return false }
    return NDArray(doubles: doubles.map { $0.isNaN ? .nan : $0 }, type: array.type) != array
  }

  private static func splat(_ array: NDArray) -> String? {
    let size = array.dtype.byteCount
    let isSplat = array.withUnsafeBytes { bytes in
      (size..<bytes.count).allSatisfy { bytes[$0] == bytes[$0 - size] }
    }
    guard isSplat, array.count > 0 else { return nil }
    let first = array.viewed(through: View(shape: [1], strides: [1]))
    return hasOddBits(first) ? nil : elements(first)[0]
  }

  private static func elements(_ array: NDArray) -> [String] {
    if !array.dtype.isFloat { return array.integers.map { "\($0)" } }
    return array.doubles.map { value in
      // The shortest text of the float, where reading it as a double gives the same float.
      let short = "\(Float(value))"
      if array.dtype != .f64, value.isFinite, let read = Double(short), Float(read) == Float(value)
      {
        return short
      }
      return text(value)
    }
  }

  private static func hex(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return digits.count == 1 ? "0" + digits : digits
  }
}
