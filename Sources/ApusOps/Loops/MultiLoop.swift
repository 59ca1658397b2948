// One elementwise program over many arrays: an update of all small parameters at once, by a rule that has no
// kernel of its own.

import ApusGraph
import CKernels

/// The same elementwise program on several *segments*, each with arrays of its own, as one node.
///
/// Each of the program's operands is either *shared*, one scalar for all segments, or stands for one
/// dense array a segment. The node's operands are, in the order of the program's: a shared one once,
/// another once for each segment. Its results are the program's outputs of the first segment, then of
/// the second, and so on.
package struct MultiLoop: Op {
  package static let mnemonic = "multi_loop"
  /// The domain of each segment.
  package let domains: [Shape]
  /// The program's operands that all segments share, ascending.
  package let shared: [Int]
  /// How many operands the program has.
  package let operandCount: Int
  package let program: LoopProgram

  package init(domains: [Shape], shared: [Int], operandCount: Int, program: LoopProgram) {
    self.domains = domains
    self.shared = shared
    self.operandCount = operandCount
    self.program = program
  }

  package init(attributes: AttributeReader) throws {
    func strings(_ name: String) throws -> [String] {
      try attributes.list(name).map {
        guard case .string(let text) = $0 else {
          throw ApusError(
            .parse, "multi_loop: '\(name)' is no list of strings", expected: "strings")
        }
        return text
      }
    }
    let domains = try attributes.list("domains").map { value -> Shape in
      guard case .list(let extents) = value else {
        throw ApusError(.parse, "multi_loop: the domains are no shapes", expected: "[[…], …]")
      }
      return Shape(
        try extents.map {
          guard case .int(let extent) = $0, extent >= 0 else {
            throw ApusError(
              .parse, "multi_loop: \($0) is no extent", expected: "an integer from 0 on")
          }
          return extent
        })
    }
    self.init(
      domains: domains, shared: try attributes.ints("shared"),
      operandCount: try attributes.int("operands"),
      program: try LoopProgram(
        lines: try strings("program"), outputs: try attributes.ints("outputs")))
  }

  package var attributes: [Attribute] {
    [
      Attribute("domains", .list(domains.map { .ints($0.dimensions) })),
      Attribute("shared", .ints(shared)), Attribute("operands", .int(operandCount)),
      Attribute("program", .list(program.lines.map { .string($0) })),
      Attribute("outputs", .ints(program.outputs)),
    ]
  }

  /// The place among the node's operands of the program's operand `index` in a segment.
  package func position(of index: Int, segment: Int) -> Int {
    let sharedBefore = shared.count { $0 < index }
    let first = sharedBefore + (index - sharedBefore) * domains.count
    return shared.contains(index) ? first : first + segment
  }

  private func loop(_ segment: Int) -> Loop {
    Loop(domain: domains[segment], reducedAxes: [], program: program)
  }

  private func pick<T>(_ operands: [T], segment: Int) -> [T] {
    (0..<operandCount).map { operands[position(of: $0, segment: segment)] }
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard !program.reduces, !domains.isEmpty, operandCount >= 0 else {
      throw ApusError(
        .invalidGraph, "multi_loop: no segments, or a program that reduces",
        expected: "an elementwise program over at least one segment")
    }
    guard shared == Array(Set(shared)).sorted(),
      shared.allSatisfy({ (0..<operandCount).contains($0) })
    else {
      throw ApusError(
        .invalidGraph, "multi_loop: shared operands \(shared) of \(operandCount)",
        expected: "ascending operands of the program")
    }
    try expect(shared.count + (operandCount - shared.count) * domains.count, operands)
    return try domains.indices.flatMap { segment -> [TensorType] in
      let own = pick(operands, segment: segment)
      for (index, type) in own.enumerated() {
        let isRight =
          shared.contains(index)
          ? type.count == 1 && type.rank == 0
          : type.shape == domains[segment]
            && type.dtype == operands[position(of: index, segment: 0)].dtype
        guard isRight else {
          throw ApusError(
            .shapeMismatch, "multi_loop: operand \(index) of segment \(segment) is \(type)",
            expected: shared.contains(index) ? "a scalar" : "shape \(domains[segment])")
        }
      }
      return try loop(segment).resultTypes(own)
    }
  }

  /// Made after differentiation, as loops are.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(
      .unsupported, "a fused loop is not differentiable",
      expected: "differentiation before optimisation")
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let outputs = program.outputs.count
    return try domains.indices.flatMap { segment in
      try loop(segment).reference(
        pick(operands, segment: segment),
        results: Array(results[segment * outputs..<(segment + 1) * outputs]))
    }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let outputs = program.outputs.count
    let own = LoweringSite(
      operands: pick(site.operands, segment: 0), views: pick(site.views, segment: 0),
      results: Array(site.results.prefix(outputs)), isa: site.isa)
    var compiler = LoopCompiler(loop(0), own)
    let instructions = try compiler.compileInstructions()
    let operands = operandCount + outputs
    let (o, n) = (Int32(operands), Int32(instructions.count))
    let size = ck_loop_segment_offset(o, n, Int32(domains.count))
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { block.deallocate() }
    block.initializeMemory(as: UInt8.self, repeating: 0)
    let args = block.baseAddress!.assumingMemoryBound(to: ck_loop_multi_args.self)
    args.pointee.segments = Int32(domains.count)
    args.pointee.loop.operands = o
    args.pointee.loop.instructions = n
    args.pointee.loop.dims = 1
    let loopOffset = MemoryLayout<ck_loop_multi_args>.offset(of: \.loop)!
    let header = (block.baseAddress! + loopOffset).assumingMemoryBound(to: ck_loop_args.self)
    let table = ck_loop_operands(header)!
    for index in 0..<operands {
      let dtype =
        index < operandCount
        ? own.operands[index].dtype : own.results[index - operandCount].dtype
      table[index].dtype = Int16(dtype.kernelCode)
      table[index].stride.0 = shared.contains(index) ? 0 : 1
    }
    let code = ck_loop_instructions(header)!
    for (index, instruction) in instructions.enumerated() { code[index] = instruction }
    for (segment, domain) in domains.enumerated() {
      block.storeBytes(
        of: Int64(domain.count), toByteOffset: ck_loop_segment_offset(o, n, Int32(segment)),
        as: Int64.self)
    }
    guard ck_loop_multi_prepare(args) else {
      throw ApusError(
        .unsupported, "the tile machine refuses a loop over many arrays: \(program.lines)",
        expected: "a program that it can run")
    }
    var call = KernelCall(
      "ck_loop_multi_\(site.isa.name)",
      entry: KernelEntry(ck_loop_multi(ck_isa(site.isa))),
      bytes: Array(block))
    bind(&call, operands: operands, instructions: n, loopOffset: loopOffset)
    call.scratchBytesPerThread = ck_loop_multi_scratch_bytes(args)
    call.partition = partition(of: call.arguments)
    call.tile = Tile(rows: 1, columns: Int(args.pointee.loop.tile_columns))
    call.isa = LoopCompiler.level(site.isa)
    let elements = domains.reduce(0) { $0 + $1.count }
    call.flops = Double(elements * instructions.count)
    call.bytes = Double(
      site.operands.reduce(0) { $0 + $1.byteCount } + site.results.reduce(0) { $0 + $1.byteCount })
    return call
  }

  private func bind(
    _ call: inout KernelCall, operands: Int, instructions: Int32, loopOffset: Int
  ) {
    let outputs = program.outputs.count
    let dataOffset = MemoryLayout<ck_loop_operand>.offset(of: \.data)!
    for index in 0..<operands {
      if shared.contains(index) {
        let field =
          loopOffset + MemoryLayout<ck_loop_args>.size
          + index * MemoryLayout<ck_loop_operand>.stride + dataOffset
        call.bind(field, to: .operand(position(of: index, segment: 0)))
        continue
      }
      for segment in domains.indices {
        let start = ck_loop_segment_offset(Int32(operands), instructions, Int32(segment))
        let field = start + ck_loop_segment_bytes(0) + index * MemoryLayout<UnsafeRawPointer>.size
        let isOutput = index >= operandCount
        call.bind(
          field,
          to: isOutput
            ? .result(segment * outputs + index - operandCount)
            : .operand(position(of: index, segment: segment)))
        guard !isOutput else { continue }
        // Every tile is loaded before it is stored, so a result may take an operand's place.
        for output in 0..<outputs {
          call.inPlace.append((position(of: index, segment: segment), segment * outputs + output))
        }
      }
    }
  }
}
