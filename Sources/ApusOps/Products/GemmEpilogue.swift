// From a fused product's program to the kernel's epilogue: bias, ReLU and rounding in registers where
// that is all there is to do, else a program of the tile machine.

import ApusGraph
import CKernels

extension MatMul: Contraction {
  package var takesProgram: Bool { true }

  /// Counting through the matrices, the array must advance evenly.
  package func canFollow(_ view: View, result: Shape) -> Bool {
    view.broadcast(to: result).advancesEvenly(result.leading.rank)
  }

  package func lower(_ site: LoweringSite, program: LoopProgram) throws -> KernelCall {
    try GemmLowering.fused(Fused(self, program: program), site)
  }
}

extension View {
  /// Whether the first `axes` axes are walked in equal steps, as if they were one.
  func advancesEvenly(_ axes: Int) -> Bool {
    let axes = (0..<axes).filter { shape[$0] != 1 }
    return zip(axes, axes.dropFirst()).allSatisfy { outer, inner in
      strides[outer] == strides[inner] * shape[inner]
    }
  }
}

extension GemmLowering {
  static func fused(_ op: Fused<MatMul>, _ site: LoweringSite) throws -> KernelCall {
    let read = try op.programOperands(site.operands)
    // Followers in the machine's order: the product, further operands, results.
    let dense = View(dense: read[0].shape)
    let followers = [dense] + site.views.dropFirst(2) + site.results.map { _ in dense }
    var product = try Product(op.producer, site, followers: followers)
    guard let batch = product.batchStrides else {
      throw ApusError(
        .unsupported, "fused_matmul: an operand does not advance evenly through the matrices",
        expected: "operands that MatMul.canFollow accepts")
    }
    let walk = EpilogueWalk(
      type: product.types[2], rows: Int(product.block.M), columns: Int(product.block.N),
      strides: batch.indices.map { [batch[$0], product.rows[$0], product.columns[$0]] })
    if let epilogue = RegisterEpilogue(op.program, read, walk) {
      product.block.epilogue.relu = epilogue.hasRelu ? 1 : 0
      product.block.epilogue.combination = Int32(epilogue.combination.rawValue)
      product.types[2] = epilogue.result
      if let other = epilogue.other {
        product.block.epilogue.other_matrix = Int64(batch[other])
        product.block.epilogue.other_row = Int64(product.rows[other])
        product.block.epilogue.other_type = Int32(read[other].dtype.kernelCode)
        product.walk(operands: site.operands.count, results: site.results.count)
      }
      if epilogue.other == nil || product.combines(isa: site.isa, masks: epilogue.mask != nil) {
        return registerCall(epilogue, product, site)
      }
      product = try Product(op.producer, site, followers: followers)
    }
    let program = try EpilogueProgram(op.program, read, walk, site)
    product.walk(operands: site.operands.count, results: site.results.count)
    var call = product.call(isa: site.isa, epilogue: program.block)
    call.name += " \(op.program.instructions.count)"
    program.bind(in: &call, at: epilogueOffset)
    return noting(product, isa: site.isa, in: call)
  }

  /// The call of a product whose epilogue is done in registers.
  private static func registerCall(
    _ epilogue: RegisterEpilogue, _ product: Product, _ site: LoweringSite
  ) -> KernelCall {
    var call = product.call(isa: site.isa)
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.c)!, to: .result(0))
    if let bias = epilogue.bias {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.epilogue.bias)!, to: .operand(bias + 1))
    }
    if let other = epilogue.other {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.epilogue.other)!, to: .operand(other + 1))
      call.bytes += Double(site.operands[other + 1].byteCount)
      call.name += epilogue.combination == CK_GATE ? " gated" : " added"
      if product.isWrittenOnce, site.operands[other + 1] == site.results[0],
        site.views[other + 1].isContiguous, site.views[other + 1].offset == 0
      {
        call.inPlace.append((other + 1, 0))
      }
    }
    if let mask = epilogue.mask {
      call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.epilogue.mask)!, to: .operand(mask + 1))
      call.bytes += Double(site.operands[mask + 1].byteCount)
      call.name += " gated"
    }
    return noting(product, isa: site.isa, in: call)
  }
}
