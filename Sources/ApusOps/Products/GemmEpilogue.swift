// From a fused product's program to the kernel's epilogue: bias, ReLU and rounding in registers where
// that is all there is to do, else a program of the tile machine.

import ApusGraph
import CKernels

extension GemmLowering {
  static func fused(_ op: FusedMatMul, _ site: LoweringSite) throws -> KernelCall {
    let read = try op.programOperands(site.operands)
    // Followers in the machine's order: the product, further operands, results.
    let dense = View(dense: read[0].shape)
    let followers = [dense] + site.views.dropFirst(2) + site.results.map { _ in dense }
    var product = try Product(op.product, site, followers: followers)
    guard let batch = product.batchStrides else {
      throw ApusError(
        .unsupported, "fused_matmul: an operand does not advance evenly through the matrices",
        expected: "operands that FusedMatMul.canFollow accepts")
    }
    if let epilogue = RegisterEpilogue(op.program, read, product, batch) {
      product.block.relu = epilogue.hasRelu ? 1 : 0
      product.block.combination = Int64(epilogue.combination.rawValue)
      product.types[2] = epilogue.result
      if let other = epilogue.other {
        product.block.other_matrix = Int64(batch[other])
        product.block.other_row = Int64(product.rows[other])
        product.block.other_type = Int64(read[other].dtype.kernelCode)
        product.walk(operands: site.operands.count, results: site.results.count)
      }
      if epilogue.other == nil || product.combines(isa: site.isa) {
        return registerCall(epilogue, product, site)
      }
      product = try Product(op.product, site, followers: followers)
    }
    let loop = Loop(domain: read[0].shape, reducedAxes: [], program: op.program)
    let inner = LoweringSite(
      operands: read, views: [dense] + site.views.dropFirst(2), results: site.results,
      isa: site.isa)
    var compiler = LoopCompiler(loop, inner)
    let instructions = try compiler.compileInstructions()
    let types = read + site.results
    let block = try epilogueBlock(
      instructions,
      operands: types.indices.map { index in
        // The product comes as a tile of f32, whatever its type.
        (
          index == 0 ? .f32 : types[index].dtype,
          [batch[index], product.rows[index], product.columns[index]]
        )
      })
    product.walk(operands: site.operands.count, results: site.results.count)
    var call = product.call(isa: site.isa, epilogue: block)
    call.name += " \(op.program.instructions.count)"
    // Of the program, whose blocks lie in the second cache: an instruction takes two cycles a vector.
    let elements = Double(read[0].shape.count)
    call.overhead +=
      elements * Double(instructions.count) / rates(at: site.isa).program
    for index in 1..<types.count {
      let field =
        epilogueOffset + MemoryLayout<ck_loop_args>.size
        + index * MemoryLayout<ck_loop_operand>.stride
        + MemoryLayout<ck_loop_operand>.offset(of: \.data)!
      let isOperand = index < read.count
      call.bind(field, to: isOperand ? .operand(index + 1) : .result(index - read.count))
      let bytes = isOperand ? site.operands[index + 1].byteCount : 0
      call.bytes += Double(isOperand ? bytes : site.results[index - read.count].byteCount)
    }
    // A block of the program reads all its operands' elements before it writes the results at the
    // same places.
    for (result, type) in site.results.enumerated() {
      for operand in 2..<max(site.operands.count, 2)
      where site.operands[operand].shape == dense.shape && site.views[operand].isContiguous
        && site.views[operand].offset == 0
        && site.operands[operand].dtype.byteCount == type.dtype.byteCount
      {
        call.inPlace.append((operand, result))
      }
    }
    return noting(product, isa: site.isa, in: call)
  }

  /// The call of a product whose epilogue is done in registers.
  private static func registerCall(
    _ epilogue: RegisterEpilogue, _ product: Product, _ site: LoweringSite
  ) -> KernelCall {
    var call = product.call(isa: site.isa)
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.c)!, to: .result(0))
    if let bias = epilogue.bias {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.bias)!, to: .operand(bias + 1))
    }
    if let other = epilogue.other {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.other)!, to: .operand(other + 1))
      call.bytes += Double(site.operands[other + 1].byteCount)
      call.name += epilogue.combination == CK_GEMM_GATE ? " gated" : " added"
      if product.isWrittenOnce, site.operands[other + 1] == site.results[0],
        site.views[other + 1].isContiguous, site.views[other + 1].offset == 0
      {
        call.inPlace.append((other + 1, 0))
      }
    }
    return noting(product, isa: site.isa, in: call)
  }

  /// A prepared `ck_loop_args` over [matrix, row, column] and its tail.
  private static func epilogueBlock(
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
        .unsupported, "the tile machine refuses the epilogue of a matrix product",
        expected: "a program that it can run")
    }
    return Array(block)
  }
}
