// The fused loop: what chains of elementwise ops and reductions become.

import ApusGraph

/// One pass over a domain that runs a program of elementwise ops and reductions, reading operands that
/// broadcast to the domain and storing the outputs.
///
/// An elementwise output has the shape of its value; a reduced one keeps its folded axes with extent 1.
/// Values between reductions and outputs never reach memory.
package struct Loop: Op {
  package static let mnemonic = "loop"
  /// The iteration domain, to which all operands broadcast.
  package let domain: Shape
  /// The axes of the domain that the program's reductions fold; empty where it has none.
  package let reducedAxes: [Int]
  package let program: LoopProgram

  package init(domain: Shape, reducedAxes: [Int], program: LoopProgram) {
    self.domain = domain
    self.reducedAxes = reducedAxes
    self.program = program
  }

  package init(attributes: AttributeReader) throws {
    let lines = try attributes.list("program").map { value -> String in
      guard case .string(let line) = value else {
        throw ApusError(.parse, "loop: the program is no list of strings", expected: "strings")
      }
      return line
    }
    self.init(
      domain: Shape(try attributes.ints("domain")), reducedAxes: try attributes.ints("axes"),
      program: try LoopProgram(lines: lines, outputs: try attributes.ints("outputs")))
  }

  package var attributes: [Attribute] {
    [
      Attribute("domain", .ints(domain.dimensions)), Attribute("axes", .ints(reducedAxes)),
      Attribute("program", .list(program.lines.map { .string($0) })),
      Attribute("outputs", .ints(program.outputs)),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    for operand in operands where try Shape.broadcast(operand.shape, domain) != domain {
      throw ApusError(
        .shapeMismatch, "loop: \(operand) does not broadcast to the domain \(domain)",
        expected: "extents that are equal or 1")
    }
    let axes = try checkedAxes(domain, reducedAxes)
    let types = try program.types(operands, domain: domain, reducedAxes: axes)
    guard !program.outputs.isEmpty else {
      throw ApusError(.invalidGraph, "loop: no outputs", expected: "a value that somebody reads")
    }
    return try program.outputs.map { output in
      guard types.indices.contains(output) else {
        throw ApusError(.invalidGraph, "loop: v\(output) does not exist", expected: "a value")
      }
      // A value of fewer axes (a scalar constant) is stored over as many as it has.
      return types[output]
    }
  }

  /// - Throws: `unsupported`: loops are made after differentiation.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(
      .unsupported, "a fused loop is not differentiable",
      expected: "differentiation before optimisation")
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    var values: [NDArray] = []
    for instruction in program.instructions {
      let arguments = instruction.arguments.map { argument in
        switch argument {
        case .operand(let index): operands[index]
        case .value(let index): values[index]
        }
      }
      let isWide = operands.contains { $0.dtype == .f64 } || results.contains { $0.dtype == .f64 }
      switch instruction.action {
      case .apply(let op):
        let type = try op.resultTypes(arguments.map(\.type))[0]
        let wanted = isWide ? type.with(type.dtype.widened) : type
        values.append(try op.computed(arguments, results: [wanted])[0])
      case .constant(let value, let dtype):
        let type = TensorType(isWide ? dtype.widened : dtype, [])
        values.append(NDArray(doubles: [value], type: type))
      case .reduce(let type):
        let op = type.init(axes: reducedAxes, keepDims: true)
        let argument = arguments[0]
        let whole = argument.viewed(through: View(dense: argument.shape).broadcast(to: domain))
        values.append(try op.computed([whole], results: try op.resultTypes([whole.type]))[0])
      }
    }
    return program.outputs.map { values[$0] }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var compiler = LoopCompiler(self, site)
    return try compiler.compile()
  }
}

extension Loop {
  /// Elements along the folded axes up to which it pays to read a reduction again in its own loop. A
  /// longer row is copied through the tile machine's slots in every phase: rows of 4096 took 1.1 to 1.2
  /// times as long as one loop a phase.
  package static let longestKeptRow = 1024

  /// Whether the tile machine can run an elementwise op or a reduction on operands of these types, so
  /// that it may become part of a loop. `f64` counts as `f32`: it is what tests are written in.
  package static func supports(_ op: any Op, _ operands: [TensorType]) -> Bool {
    if op is Cast { return true }
    guard let last = operands.last?.dtype else { return false }
    if let reduction = op as? any ReductionOp {
      let type = type(of: reduction)
      return LoopCompiler.hasOpcode(reducing: type.mnemonic, last)
    }
    return op is any ElementwiseOp && LoopCompiler.hasOpcode(applying: op.mnemonic, last)
  }
}
