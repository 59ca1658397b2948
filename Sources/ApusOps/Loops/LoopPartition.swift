// What the threads of a loop touch, as the tile machine says.

import ApusGraph
import CKernels

extension Region {
  init(_ region: ck_region) {
    self.init(
      start: Int(region.start), width: Int(region.width), pitch: Int(region.pitch),
      count: Int(region.count))
  }
}

extension LoopCompiler {
  /// The partition of a prepared `ck_loop_args`, whose results follow `operands` operands.
  static func partition(of block: [UInt8], _ operands: Int) -> Partition {
    Partition { buffer, thread, threads in
      let index: Int
      switch buffer {
      case .operand(let operand): index = operand
      case .result(let result): index = operands + result
      default: return nil
      }
      var region = ck_region()
      let isKnown = block.withUnsafeBytes {
        ck_loop_region(
          $0.baseAddress!.assumingMemoryBound(to: ck_loop_args.self), Int32(index), Int32(thread),
          Int32(threads), &region)
      }
      return isKnown ? Region(region) : nil
    }
  }

  /// The level of the kernel that runs loops at `isa`.
  static func level(_ isa: ISA) -> ISA? {
    var count: Int32 = 0
    guard let rows = ck_loop_kernel_rows(&count) else { return nil }
    let row = (0..<Int(count)).first { rows[$0].isa.rawValue <= UInt32(isa.rawValue) }
    return row.flatMap { ISA(rawValue: Int32(rows[$0].isa.rawValue)) }
  }
}

extension MultiLoop {
  /// The partition of a prepared `ck_loop_multi_args`.
  func partition(of block: [UInt8]) -> Partition {
    let outputs = program.outputs.count
    let isShared = (0..<operandCount).map { shared.contains($0) }
    // By the node's operand: its segment, nil where all share it.
    let segments = isShared.flatMap { isShared -> [Int?] in
      isShared ? [nil] : domains.indices.map { $0 }
    }
    return Partition { buffer, thread, threads in
      let segment: Int?
      switch buffer {
      case .operand(let operand): segment = segments[operand]
      case .result(let result): segment = result / outputs
      default: segment = nil
      }
      guard let segment else { return nil }
      return block.withUnsafeBytes {
        Region(
          ck_loop_multi_region(
            $0.baseAddress!.assumingMemoryBound(to: ck_loop_multi_args.self), Int32(segment),
            Int32(thread), Int32(threads)))
      }
    }
  }
}
