// The axes of a loop that are more than the tile machine has dimensions.

import ApusGraph
import CKernels

/// Outermost axes taken off a loop, over which it is run again and again (`ck_loop_outer`).
struct OuterAxes {
  private var extents: [Int] = []
  /// By operand.
  private var strides: [[Int]]

  /// Takes axes that the loop keeps off its domain, until the machine has dimensions enough; nil where it
  /// has.
  ///
  /// - `first`, `reduced`: where the folded axes begin, and how many there are.
  /// - Throws: `unsupported` where too many axes are folded that cannot be joined.
  init?(
    peeling extents: inout [Int], _ strides: inout [[Int]], _ first: inout Int, _ reduced: Int,
    of loop: Loop
  ) throws {
    self.strides = strides.map { _ in [] }
    guard extents.count > Int(CK_LOOP_DIMS) else { return nil }
    while extents.count > Int(CK_LOOP_DIMS) {
      // Before the folded axes, else behind them.
      let axis = reduced == 0 || first > 0 ? 0 : reduced
      guard axis < extents.count, self.extents.count < Int(CK_LOOP_OUTER_DIMS) else {
        throw ApusError(
          .unsupported, "a loop over \(loop.domain) has too many axes that cannot be joined",
          expected: "at most \(CK_LOOP_DIMS) folded axes, and \(CK_LOOP_OUTER_DIMS) others")
      }
      self.extents.append(extents.remove(at: axis))
      for index in strides.indices { self.strides[index].append(strides[index].remove(at: axis)) }
      if axis < first { first -= 1 }
    }
  }

  /// Puts the loop of a call within the kernel that walks these axes.
  ///
  /// - Returns: where the loop's block starts in the new one.
  func wrap(_ call: inout KernelCall, _ isa: ISA) -> Int {
    let numbers = extents + strides.flatMap { $0 }
    let head = MemoryLayout<ck_loop_outer_args>.size + numbers.count * MemoryLayout<Int64>.size
    let start = (head + 63) & ~63
    var args = ck_loop_outer_args()
    args.dims = Int32(extents.count)
    args.isa = Int32(isa.rawValue)
    args.loop_offset = Int64(start)
    args.loop_bytes = Int64(call.arguments.count)
    var bytes = withUnsafeBytes(of: args) { Array($0) }
    for number in numbers { withUnsafeBytes(of: Int64(number)) { bytes.append(contentsOf: $0) } }
    bytes.append(contentsOf: [UInt8](repeating: 0, count: start - bytes.count))
    bytes.append(contentsOf: call.arguments)
    let scratch = bytes.withUnsafeBytes {
      ck_loop_outer_scratch_bytes($0.baseAddress!.assumingMemoryBound(to: ck_loop_outer_args.self))
    }
    call = KernelCall(
      "ck_loop_outer_\(isa.name)", entry: KernelEntry(ck_loop_outer), bytes: bytes)
    call.scratchBytesPerThread = scratch
    return start
  }
}
