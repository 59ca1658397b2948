// The program of the tile machine that a contraction's kernel runs on blocks of its result.

import ApusGraph
import CKernels

/// How the arrays of an epilogue lie beside a contraction's result: [matrices, rows, columns].
struct EpilogueWalk {
  /// The contraction's element type.
  var type: DType
  /// Rows of a matrix and columns.
  var rows: Int
  var columns: Int
  /// From matrix to matrix, row to row and column to column: of the result itself, the further operands,
  /// and what the epilogue gives.
  var strides: [[Int]]
}

/// A fused contraction's program, compiled.
struct EpilogueProgram {
  /// A `ck_loop_args` over [matrix, row, column] and its tail.
  let block: [UInt8]
  /// Of one element.
  let instructions: Int
  private let read: [TensorType]
  private let site: LoweringSite

  /// - `read`: the types that the program reads, the contraction's result first.
  init(
    _ program: LoopProgram, _ read: [TensorType], _ walk: EpilogueWalk, _ site: LoweringSite
  ) throws {
    let dense = View(dense: read[0].shape)
    let loop = Loop(domain: read[0].shape, reducedAxes: [], program: program)
    let inner = LoweringSite(
      operands: read, views: [dense] + site.views.dropFirst(2), results: site.results,
      isa: site.isa)
    var compiler = LoopCompiler(loop, inner)
    let code = try compiler.compileInstructions()
    let types = read + site.results
    instructions = code.count
    block = try Self.block(
      code,
      operands: types.indices.map { index in
        // The result comes as a tile of f32, whatever its type.
        (index == 0 ? .f32 : types[index].dtype, walk.strides[index])
      })
    self.read = read
    self.site = site
  }

  /// Binds what the program reads and writes, where its block begins `offset` bytes from the call's, and
  /// counts it.
  func bind(in call: inout KernelCall, at offset: Int) {
    for index in 1..<(read.count + site.results.count) {
      let field =
        offset + MemoryLayout<ck_loop_args>.size + index * MemoryLayout<ck_loop_operand>.stride
        + MemoryLayout<ck_loop_operand>.offset(of: \.data)!
      let isOperand = index < read.count
      call.bind(field, to: isOperand ? .operand(index + 1) : .result(index - read.count))
      let bytes = isOperand ? site.operands[index + 1].byteCount : 0
      call.bytes += Double(isOperand ? bytes : site.results[index - read.count].byteCount)
    }
    // Blocks lie in the second cache: an instruction takes two cycles a vector.
    call.overhead +=
      Double(read[0].shape.count) * Double(instructions) / rates(at: site.isa).program
    // A block of the program reads all its operands' elements before it writes the results at the
    // same places.
    for (result, type) in site.results.enumerated() {
      for operand in 2..<max(site.operands.count, 2)
      where site.operands[operand].shape == read[0].shape && site.views[operand].isContiguous
        && site.views[operand].offset == 0
        && site.operands[operand].dtype.byteCount == type.dtype.byteCount
      {
        call.inPlace.append((operand, result))
      }
    }
  }

  /// A prepared `ck_loop_args` over [matrix, row, column] and its tail.
  private static func block(
    _ instructions: [ck_loop_instruction], operands: [(dtype: DType, strides: [Int])]
  ) throws -> [UInt8] {
    let size = ck_loop_args_bytes(Int32(operands.count), Int32(instructions.count))
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { block.deallocate() }
    block.initializeMemory(as: UInt8.self, repeating: 0)
    let args = block.baseAddress!.assumingMemoryBound(to: ck_loop_args.self)
    args.pointee.operands = Int32(operands.count)
    args.pointee.instructions = Int32(instructions.count)
    args.pointee.dims = 3
    let table = ck_loop_operands(args)!
    for (index, operand) in operands.enumerated() {
      table[index].dtype = Int16(operand.dtype.kernelCode)
      table[index].stride.0 = Int64(operand.strides[0])
      table[index].stride.1 = Int64(operand.strides[1])
      table[index].stride.2 = Int64(operand.strides[2])
    }
    let code = ck_loop_instructions(args)!
    for (index, instruction) in instructions.enumerated() { code[index] = instruction }
    guard ck_loop_prepare_block(args) else {
      throw ApusError(
        .unsupported, "the tile machine refuses the epilogue of a contraction",
        expected: "a program that it can run")
    }
    return Array(block)
  }
}
