// What the tile machine made of a lowered loop.

import ApusGraph
import CKernels

extension KernelCall {
  /// The chains (CKernels/eltwise/loop_join.c) of a loop's program; 0 for other kernels.
  public var loopChains: Int {
    guard name.hasPrefix("ck_loop_") else { return 0 }
    let header =
      name.hasPrefix("ck_loop_multi_")
      ? MemoryLayout<ck_loop_multi_args>.offset(of: \.loop)! : 0
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: arguments.count, alignment: 64)
    defer { block.deallocate() }
    block.copyBytes(from: arguments)
    let loop = (block.baseAddress! + header).assumingMemoryBound(to: ck_loop_args.self)
    return (0..<Int(loop.pointee.instructions)).count {
      Int32(ck_loop_instructions(loop)![$0].flags) & CK_LOOP_CHAIN != 0
    }
  }
}
