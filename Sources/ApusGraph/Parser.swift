// Reads the canonical text form of graphs back.

extension Graph {
  /// The graph whose text form is `text`. `parse(print(g)) == g` for every graph whose values are
  /// numbered in order of definition, as `compacted()` numbers them. `// …` is a comment.
  ///
  /// - Throws: `parse` with line and column; `invalidGraph` where the text reads but breaks a rule of
  ///   `verify`.
  package init(parsing text: String, ops: OpRegistry) throws {
    var parser = GraphParser(text, ops: ops)
    self = try parser.graph()
    try verify()
  }
}

extension Attribute {
  /// The attributes in `name=value, name=value`, as they stand between a node's braces.
  ///
  /// - Throws: `parse` with the place.
  package static func parse(list text: String) throws -> [Attribute] {
    var parser = GraphParser(text + "}", ops: OpRegistry([]))
    return try parser.attributes()
  }
}

extension Graph: Equatable {
  /// Equal where all is equal, numbering and origins included.
  public static func == (a: Graph, b: Graph) -> Bool {
    a.types == b.types && a.inputs == b.inputs && a.states == b.states
      && a.constants == b.constants && a.outputs == b.outputs && a.assignments == b.assignments
      && a.nodes.count == b.nodes.count
      && zip(a.nodes, b.nodes).allSatisfy { a, b in
        a.op.isEqual(to: b.op) && a.operands == b.operands && a.results == b.results
          && a.origins.filter { $0 != Origin() } == b.origins.filter { $0 != Origin() }
          && a.recomputation == b.recomputation
      }
  }
}

private struct GraphParser {
  private let text: [Unicode.Scalar]
  private var at = 0
  private let ops: OpRegistry
  private var values: [Int: ValueID] = [:]
  /// Regions around the line that is read.
  private var regionDepth = 0

  init(_ text: String, ops: OpRegistry) {
    self.text = Array(text.unicodeScalars)
    self.ops = ops
  }

  // MARK: Lines

  mutating func graph() throws -> Graph { try lines { $0.at < $0.text.count } }

  /// A region between braces, with values of its own.
  private mutating func region(depth: Int) throws -> Graph {
    // A file must not be able to exhaust the stack.
    guard depth + regionDepth < 16 else {
      throw fail("regions nest too deeply", "at most 16 levels")
    }
    let outer = values
    values = [:]
    regionDepth += 1
    defer {
      values = outer
      regionDepth -= 1
    }
    let graph = try lines { !$0.peek("}") }
    try expect("}")
    return graph
  }

  private mutating func lines(_ goesOn: (inout Self) -> Bool) throws -> Graph {
    var graph = Graph()
    skipSpace()
    while goesOn(&self) {
      guard at < text.count else { throw fail("the text ends within a region", "'}'") }
      if peek("%") {
        try node(&graph)
      } else {
        let start = at
        let keyword = word()
        switch keyword {
        case "input":
          let (number, name, type) = try named()
          define(number, graph.addInput(name, type))
        case "state":
          let (number, name, type) = try named()
          define(number, graph.addState(name, type))
        case "constant":
          let number = try newValue()
          try expect(":")
          let type = try tensorType()
          try expect("=")
          define(number, graph.addConstant(try constant(type)))
        case "assign":
          let state = try value()
          try expect("=")
          let operand = try operand()
          graph.assignments.append(GraphAssignment(state: state, operand: operand))
        case "output":
          let name = try string()
          try expect("=")
          let operand = try operand()
          graph.outputs.append(
            GraphOutput(name: name, operand: operand, isRequired: takeWord("finite")))
        default:
          at = start
          throw fail(
            "a line starts with '\(keyword)'", "input, state, constant, assign, output or %n")
        }
      }
      skipSpace()
    }
    return graph
  }

  private mutating func named() throws -> (Int, String, TensorType) {
    let number = try newValue()
    let name = try string()
    try expect(":")
    return (number, name, try tensorType())
  }

  private mutating func node(_ graph: inout Graph) throws {
    var numbers = [try newValue()]
    while take(",") { numbers.append(try newValue()) }
    try expect("=")
    skipSpace()
    let start = at
    let mnemonic = word()
    var operands: [Operand] = []
    try expect("(")
    while !take(")") {
      if !operands.isEmpty { try expect(",") }
      operands.append(try operand())
    }
    var attributes: [Attribute] = []
    if take("{") { attributes = try self.attributes() }
    try expect(":")
    var types = [try tensorType()]
    while take(",") { types.append(try tensorType()) }
    var recomputation = 0
    if takeWord("recomputation") { recomputation = try integer() }
    var origins: [Origin] = []
    if takeWord("from") {
      repeat { origins.append(Origin(scope: try string(), location: try string())) } while take(",")
    }
    guard numbers.count == types.count else {
      throw fail("\(numbers.count) results have \(types.count) types", "as many of each")
    }
    let op: any Op
    do {
      op = try ops.make(mnemonic, attributes)
    } catch let error as ApusError {
      at = start
      throw error.located(at: place)
    }
    let results = types.map { graph.addValue($0) }
    for (number, result) in zip(numbers, results) { define(number, result) }
    graph.nodes.append(
      Node(
        op: op, operands: operands, results: results, origins: origins,
        recomputation: recomputation))
  }

  // MARK: Parts

  /// Attributes up to and including the closing brace.
  mutating func attributes() throws -> [Attribute] {
    var result: [Attribute] = []
    while !take("}") {
      if !result.isEmpty { try expect(",") }
      skipSpace()
      let name = word()
      try expect("=")
      result.append(Attribute(name, try attributeValue(depth: 0)))
    }
    return result
  }

  private mutating func newValue() throws -> Int {
    try expect("%")
    let number = try integer()
    if values[number] != nil { throw fail("%\(number) is defined twice", "a new number") }
    return number
  }

  private mutating func define(_ number: Int, _ value: ValueID) { values[number] = value }

  private mutating func value() throws -> ValueID {
    try expect("%")
    let start = at
    let number = try integer()
    guard let value = values[number] else {
      at = start
      throw fail("%\(number) is not defined yet", "a value of a line above")
    }
    return value
  }

  private mutating func operand() throws -> Operand {
    let value = try value()
    guard takeWord("view") else { return Operand(value) }
    let shape = Shape(try integers())
    guard takeWord("strides") else { throw fail("a view has no strides", "strides [...]") }
    let strides = try integers()
    guard takeWord("offset") else { throw fail("a view has no offset", "offset n") }
    return Operand(value, view: View(shape: shape, strides: strides, offset: try integer()))
  }

  private mutating func tensorType() throws -> TensorType {
    skipSpace()
    let start = at
    guard let dtype = DType(rawValue: word()) else {
      at = start
      throw fail("no element type", DType.allCases.map(\.rawValue).joined(separator: ", "))
    }
    let dimensions = try integers()
    var count = 1
    for extent in dimensions {
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      guard extent >= 0, !overflow, product < 1 << 48 else {
        throw fail(
          "shape \(Shape(dimensions)) is impossible", "extents from 0 on, below 2^48 elements")
      }
      count = product
    }
    return TensorType(dtype, Shape(dimensions))
  }

  private mutating func integers() throws -> [Int] {
    try expect("[")
    var result: [Int] = []
    while !take("]") {
      if !result.isEmpty { try expect(",") }
      result.append(try integer())
    }
    return result
  }

  private mutating func constant(_ type: TensorType) throws -> NDArray {
    if takeWord("splat") {
      let one = try elements(count: 1, try [attributeValue(depth: 0)], type.with([1]))
      return try NDArray(repeating: one, shape: type.shape)
    }
    if takeWord("hex") {
      let digits = Array(try string().unicodeScalars)
      guard digits.count == 2 * type.byteCount else {
        throw fail("\(digits.count) hex digits for \(type)", "\(2 * type.byteCount)")
      }
      let bytes = stride(from: 0, to: digits.count, by: 2).compactMap { index -> UInt8? in
        var pair = String()
        pair.unicodeScalars.append(contentsOf: digits[index...index + 1])
        return UInt8(pair, radix: 16)
      }
      guard bytes.count == type.byteCount else { throw fail("malformed hex digits", "0-9 and a-f") }
      return NDArray(type) { $0.copyBytes(from: bytes) }
    }
    guard case .list(let values) = try attributeValue(depth: 0) else {
      throw fail("no constant", "[...], splat x or hex \"...\"")
    }
    return try elements(count: type.count, values, type)
  }

  private func elements(
    count: Int, _ values: [AttributeValue], _ type: TensorType
  ) throws -> NDArray {
    guard values.count == count else {
      throw fail("\(values.count) elements for \(type)", "\(count)")
    }
    if !type.dtype.isFloat {
      let integers = try values.map { value -> Int64 in
        guard case .int(let integer) = value, type.dtype.holds(Int64(integer)) else {
          throw fail("\(value) in \(type)", "integers that \(type.dtype) has")
        }
        return Int64(integer)
      }
      return try NDArray(integers: integers, type: type)
    }
    let doubles = try values.map { value -> Double in
      switch value {
      case .int(let integer): return Double(integer)
      case .double(let double): return double
      default: throw fail("\(value) in \(type)", "numbers")
      }
    }
    return try NDArray(checking: doubles, type: type)
  }

  private mutating func attributeValue(depth: Int) throws -> AttributeValue {
    // A file must not be able to exhaust the stack.
    guard depth < 64 else { throw fail("lists nest too deeply", "at most 64 levels") }
    skipSpace()
    if peek("\"") { return .string(try string()) }
    if take("{") { return .graph(try region(depth: depth)) }
    if take("[") {
      var values: [AttributeValue] = []
      while !take("]") {
        if !values.isEmpty { try expect(",") }
        values.append(try attributeValue(depth: depth + 1))
      }
      return .list(values)
    }
    let start = at
    while at < text.count, isWordScalar(text[at]) || "+-.".unicodeScalars.contains(text[at]) {
      at += 1
    }
    var token = String()
    token.unicodeScalars.append(contentsOf: text[start..<at])
    if token == "true" || token == "false" { return .bool(token == "true") }
    if let dtype = DType(rawValue: token) { return .dtype(dtype) }
    if let integer = Int(token) { return .int(integer) }
    if let double = Double(token) { return .double(double) }
    at = start
    throw fail(
      "'\(token)' is no value",
      "a number, true, false, an element type, a string, a list or a region")
  }

  // MARK: Tokens

  private func isWordScalar(_ scalar: Unicode.Scalar) -> Bool {
    scalar == "_" || ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
      || ("0"..."9").contains(scalar)
  }

  private mutating func skipSpace() {
    while at < text.count {
      if text[at].properties.isWhitespace {
        at += 1
      } else if text[at] == "/" && at + 1 < text.count && text[at + 1] == "/" {
        while at < text.count && text[at] != "\n" { at += 1 }
      } else {
        return
      }
    }
  }

  private mutating func peek(_ scalar: Unicode.Scalar) -> Bool {
    skipSpace()
    return at < text.count && text[at] == scalar
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard peek(scalar) else { return false }
    at += 1
    return true
  }

  private mutating func expect(_ scalar: Unicode.Scalar) throws {
    guard take(scalar) else {
      throw fail(
        at < text.count ? "'\(text[at])' stands here" : "the text ends here", "'\(scalar)'")
    }
  }

  private mutating func word() -> String {
    skipSpace()
    var result = String()
    while at < text.count, isWordScalar(text[at]) {
      result.unicodeScalars.append(text[at])
      at += 1
    }
    return result
  }

  private mutating func takeWord(_ wanted: String) -> Bool {
    skipSpace()
    let start = at
    if word() == wanted { return true }
    at = start
    return false
  }

  private mutating func integer() throws -> Int {
    skipSpace()
    let start = at
    var token = String()
    while at < text.count, text[at] == "-" || ("0"..."9").contains(text[at]) {
      token.unicodeScalars.append(text[at])
      at += 1
    }
    guard let integer = Int(token) else {
      at = start
      throw fail(token.isEmpty ? "no number stands here" : "'\(token)' is no number", "an integer")
    }
    return integer
  }

  private mutating func string() throws -> String {
    try expect("\"")
    var result = String()
    while at < text.count, text[at] != "\"" {
      if text[at] == "\\", at + 1 < text.count {
        at += 1
        switch text[at] {
        case "n": result += "\n"
        case "t": result += "\t"
        default: result.unicodeScalars.append(text[at])
        }
      } else {
        result.unicodeScalars.append(text[at])
      }
      at += 1
    }
    guard at < text.count else { throw fail("a string has no end", "'\"'") }
    at += 1
    return result
  }

  private var place: String {
    let before = text[..<min(at, text.count)]
    let line = before.count { $0 == "\n" } + 1
    let column = before.count - (before.lastIndex(of: "\n").map { $0 + 1 } ?? 0) + 1
    return "line \(line), column \(column)"
  }

  private func fail(_ what: String, _ expected: String) -> ApusError {
    ApusError(.parse, what, at: place, expected: expected)
  }
}
