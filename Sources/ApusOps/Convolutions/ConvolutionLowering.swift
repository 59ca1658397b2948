// From convolutions to the kernel's argument block.

import ApusGraph
import CKernels

/// Builds argument blocks of the convolutions (`ck_conv`).
enum ConvolutionLowering {
  /// Where the program's block starts behind the convolution's own.
  private static let programOffset = (MemoryLayout<ck_conv_args>.size + 63) & ~63

  /// A program walks along with all places as rows of one matrix.
  static func canFollow(_ view: View, result: Shape) -> Bool {
    view.broadcast(to: result).advancesEvenly(result.rank - 1)
  }

  /// Whether the kernel that multiplies pairs of bf16 takes these operands, whatever they are stored in.
  static func takesNarrow(_ op: some ConvolutionOp, _ operands: [TensorType]) -> Bool {
    // f64 counts as f32.
    let wide = operands.map { $0.with(.f32) }
    guard var block = try? block(op.giving(nil), wide, .highest) else { return false }
    block.a_type = Int16(DType.bf16.kernelCode)
    return ck_conv_by_pairs(&block, type(of: op).kind, CK_ISA_AVX512BF16)
  }

  static func call<Op: ConvolutionOp>(_ op: Op, _ site: LoweringSite) throws -> KernelCall {
    let block = try block(op, site.operands, site.precision)
    var call = finished(block, Op.kind, site)
    call.bind(\ck_conv_args.c, to: .result(0))
    return call
  }

  /// With a program on the result: in registers where the kernel can, else on blocks of it.
  static func call<Op: ConvolutionOp & Contraction>(
    _ op: Op, _ program: LoopProgram, _ site: LoweringSite
  ) throws -> KernelCall {
    let kind = Op.kind
    let result = try op.resultTypes(Array(site.operands.prefix(2)))[0]
    let read = [result] + site.operands.dropFirst(2)
    let shape = result.shape
    let dense = View(dense: shape)
    let views = [dense] + site.views.dropFirst(2) + site.results.map { _ in dense }
    // Rows are places: the last of the leading axes that is no single element has their stride.
    let inner = (0..<shape.rank - 1).last { shape[$0] != 1 }
    let walk = EpilogueWalk(
      type: result.dtype, rows: shape.leadingCount, columns: shape[-1],
      strides: views.map { view in
        let whole = view.broadcast(to: shape)
        return [0, inner.map { whole.strides[$0] } ?? 0, whole.strides[shape.rank - 1]]
      })
    var block = try block(op, Array(site.operands.prefix(2)), site.precision)
    if let epilogue = RegisterEpilogue(program, read, walk),
      let call = registerCall(epilogue, block, kind, read, site)
    {
      return call
    }
    guard ck_conv_takes_program(&block, kind), result.dtype == .f32 else {
      throw ApusError(
        .unsupported,
        "\(op.mnemonic): no program follows a result of \(result.dtype), or one made in phases",
        expected: "bias, addition, gate and ReLU")
    }
    let compiled = try EpilogueProgram(program, read, walk, site)
    block.epilogue.program = Int64(programOffset)
    var call = finished(block, kind, site, program: compiled.block)
    call.name += " fused \(program.instructions.count)"
    compiled.bind(in: &call, at: programOffset)
    return call
  }

  /// The call of a convolution whose epilogue is done in registers; nil where the kernel cannot.
  private static func registerCall(
    _ epilogue: RegisterEpilogue, _ block: ck_conv_args, _ kind: ck_conv_op, _ read: [TensorType],
    _ site: LoweringSite
  ) -> KernelCall? {
    let met = [epilogue.other, epilogue.mask].compactMap(\.self)
    let isDense = met.allSatisfy {
      read[$0].shape == read[0].shape && site.views[$0 + 1].isContiguous
    }
    guard isDense, [.f32, .bf16].contains(epilogue.result) else { return nil }
    var block = block
    block.c_type = Int16(epilogue.result.kernelCode)
    block.epilogue.relu = epilogue.hasRelu ? 1 : 0
    block.epilogue.combination = Int32(epilogue.combination.rawValue)
    if let other = epilogue.other {
      block.epilogue.other_type = Int32(read[other].dtype.kernelCode)
    }
    // What is stored narrow elsewhere goes through a program.
    let isNarrow = epilogue.result != .f32 || met.contains { read[$0].dtype != .f32 }
    guard !isNarrow || ck_conv_by_pairs(&block, kind, ck_isa(site.isa)) else { return nil }
    var call = finished(block, kind, site)
    call.bind(\ck_conv_args.c, to: .result(0))
    if let bias = epilogue.bias { call.bind(\ck_conv_args.epilogue.bias, to: .operand(bias + 1)) }
    if let other = epilogue.other {
      call.bind(\ck_conv_args.epilogue.other, to: .operand(other + 1))
      call.bytes += Double(read[other].byteCount)
      call.name += epilogue.combination == CK_GATE ? " gated" : " added"
      if read[other].dtype == epilogue.result { call.inPlace.append((other + 1, 0)) }
    }
    if let mask = epilogue.mask {
      call.bind(\ck_conv_args.epilogue.mask, to: .operand(mask + 1))
      call.bytes += Double(read[mask].byteCount)
      call.name += " gated"
    }
    return call
  }

  /// The argument block but for its epilogue.
  private static func block(
    _ op: some ConvolutionOp, _ operands: [TensorType], _ precision: Precision
  ) throws -> ck_conv_args {
    let (x, w, y) = try op.types(operands)
    let result = try op.resultTypes(operands)[0]
    guard w.dtype == .f32, [x, y].allSatisfy({ [.f32, .bf16].contains($0.dtype) }) else {
      throw ApusError(
        .unsupported,
        "\(op.mnemonic): there is no kernel for an image \(x.dtype), a kernel \(w.dtype) and "
          + "a result \(y.dtype)",
        expected: "an f32 kernel, and f32 or bf16")
    }
    let window = op.geometry.window
    // Images of fewer axes have the first ones with an extent of 1.
    func three(_ values: [Int], _ filling: Int) -> [Int] {
      Array(repeating: filling, count: Int(CK_CONV_AXES) - values.count) + values
    }
    var block = ck_conv_args()
    block.a_type = Int16(operands[0].dtype.kernelCode)
    block.b_type = Int16(operands[1].dtype.kernelCode)
    block.c_type = Int16(result.dtype.kernelCode)
    block.precision = Int16(ck_gemm_precision(precision).rawValue)
    block.images = Int64(x.shape[0])
    block.in_channels = Int64(x.shape[-1])
    block.out_channels = Int64(y.shape[-1])
    block.groups = Int64(op.geometry.groups)
    fill(&block.image, three(Array(x.shape.dimensions.dropFirst().dropLast()), 1))
    fill(&block.output, three(Array(y.shape.dimensions.dropFirst().dropLast()), 1))
    fill(&block.kernel, three(window.sizes, 1))
    fill(&block.stride, three(window.strides, 1))
    fill(&block.dilation, three(window.dilations, 1))
    fill(&block.before, three(window.before, 0))
    return block
  }

  /// The call, with everything but the place of the result bound.
  private static func finished(
    _ block: ck_conv_args, _ kind: ck_conv_op, _ site: LoweringSite, program: [UInt8] = []
  ) -> KernelCall {
    let level = ck_isa(site.isa)
    var bytes = withUnsafeBytes(of: block) { Array($0) }
    if !program.isEmpty {
      bytes += [UInt8](repeating: 0, count: programOffset - bytes.count)
      bytes += program
    }
    let kernel = [block.kernel.0, block.kernel.1, block.kernel.2].map(String.init)
    var call = KernelCall(
      "conv \(kernel.joined(separator: "x")) \(block.in_channels) to \(block.out_channels)",
      entry: KernelEntry(ck_conv(kind, level)), bytes: bytes)
    bytes.withUnsafeBytes {
      let args = $0.baseAddress!.assumingMemoryBound(to: ck_conv_args.self)
      call.scratchBytesPerThread = ck_conv_scratch_bytes(args, kind, level)
      call.workspaceBytes = ck_conv_workspace_bytes(args, kind, level)
      call.arithmeticNanoseconds = ck_conv_nanoseconds(args, kind, level)
      call.flops = 2 * ck_conv_products(args)
      if ck_conv_by_pairs(args, kind, level) {
        call.name += " bf16"
      } else if block.a_type != 0 || block.b_type != 0 || block.c_type != 0 {
        // Nothing else has kernels for what is stored narrow.
        call.isa = .ref
      }
    }
    call.bytes = Double((site.operands.prefix(2) + site.results).reduce(0) { $0 + $1.byteCount })
    call.bind(\ck_conv_args.a, to: .operand(0))
    call.bind(\ck_conv_args.b, to: .operand(1))
    if call.workspaceBytes > 0 { call.bind(\ck_conv_args.workspace, to: .workspace) }
    call.partition = partition(bytes, kind, site)
    return call
  }

  /// What a thread touches: its places of the result, and of the operand that it reads the images that they
  /// are in.
  private static func partition(
    _ block: [UInt8], _ kind: ck_conv_op, _ site: LoweringSite
  ) -> Partition {
    let isWeights = kind == CK_CONV_WEIGHTS
    let result = site.results[0].shape
    let (images, source) = (result.rank > 0 ? result[0] : 1, site.operands[0].count)
    let width = isWeights ? 1 : result[-1]
    let places = isWeights || images == 0 ? 0 : result.leadingCount / images
    return Partition { buffer, thread, threads in
      let part = block.withUnsafeBytes {
        ck_conv_part_of(
          $0.baseAddress!.assumingMemoryBound(to: ck_conv_args.self), kind, Int32(thread),
          Int32(threads))
      }
      let rows = Int(part.row)..<Int(part.row_end)
      switch buffer {
      case .result: return Region(rows.lowerBound * width..<rows.upperBound * width)
      case .operand(0) where !isWeights:
        if rows.isEmpty { return Region.none }
        let image = source / images
        let last = (rows.upperBound + places - 1) / places
        return Region(rows.lowerBound / places * image..<last * image)
      case .operand(let index) where index > 1:
        // What an epilogue reads at the places of the result.
        guard site.operands[index].shape == result else { return nil }
        return Region(rows.lowerBound * width..<rows.upperBound * width)
      default: return nil
      }
    }
  }
}

extension Shape {
  /// The elements of all axes but the last.
  var leadingCount: Int { dimensions.dropLast().reduce(1) { Shape.product($0, $1) } }
}
