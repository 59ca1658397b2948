// Products whose second operand may lie packed, as the kernel wants it: weights that stay the same from run
// to run are packed once.

import ApusGraph
import CKernels

extension GemmLowering {
  /// The finished call of a product, told how it takes its second operand packed, where one matrix serves
  /// all of the product and the kernel would pack it on every run.
  static func noting(_ product: Product, isa: ISA, in call: KernelCall) -> KernelCall {
    let block = product.block
    let isPacked = withUnsafePointer(to: block) { ck_gemm_packs_b($0, ck_isa(isa)) }
    // Narrow types and tiles, which may split f32, go other ways where B is packed: with other bits.
    let isExact =
      product.types.allSatisfy { $0 == .f32 } && block.precision == Int16(CK_GEMM_HIGHEST.rawValue)
      && isa < .amx
    guard isExact, isPacked, product.axes.allSatisfy({ $0.b == 0 }) else { return call }
    let level = ck_isa(isa)
    let floats = ck_gemm_packed_floats(block.K, block.N, level)
    let byteCount = floats * MemoryLayout<Float>.size

    var packed = product
    packed.block.b_packed = 1
    var taking = call
    taking.name += " packed"
    taking.arguments.withUnsafeMutableBytes { bytes in
      let args = bytes.baseAddress!.assumingMemoryBound(to: ck_gemm_args.self)
      args.pointee.b_packed = 1
      taking.scratchBytesPerThread = ck_gemm_scratch_bytes(args, level)
    }
    taking.partition = packed.partition(of: taking.arguments, isa: isa)

    var args = ck_gemm_pack_args()
    args.K = block.K
    args.N = block.N
    args.b_row = block.b_row
    args.b_col = block.b_col
    args.count = 1
    var making = KernelCall(
      "pack \(block.K)x\(block.N)", entry: KernelEntry(ck_gemm_pack_b(level)),
      block: args)
    making.bind(\ck_gemm_pack_args.b, to: .operand(0))
    making.bind(\ck_gemm_pack_args.packed, to: .result(0))
    making.bytes = Double(4 * Int(block.K * block.N) + byteCount)

    var call = call
    call.packable = PackableOperand(
      operand: 1,
      form: "gemm \(row(at: isa).isa.rawValue) \(block.K)x\(block.N) \(block.b_row) \(block.b_col)",
      byteCount: byteCount, taking: { [taking] in taking }, making: { [making] in making })
    return call
  }
}
