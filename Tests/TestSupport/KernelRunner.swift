// Runs one op's kernel alone: lowered at a level, bound to plain buffers, run by a team of any size.
//
// No graph, no passes, no plan: what fails here is the op's lowering or its kernel.

import ApusGraph
import CKernels
import Synchronization

/// One kernel call on concrete arrays.
package enum KernelRunner {
  /// Bytes around every result that must stay as they are.
  private static let canaryBytes = 64
  private static let canary: UInt8 = 0xa5

  private static let teams = Mutex([Int32: Team]())
  private struct Team: @unchecked Sendable { let pointer: OpaquePointer }

  /// The results of `op` on `operands`, by its kernel.
  ///
  /// - `views`: how each operand is read; dense where nil.
  /// - `offset`: bytes by which all buffers are moved off their alignment, a multiple of the element's.
  /// - Throws: what the op's type rule and lowering throw, and `outOfRange` where the kernel reports an
  ///   index.
  package static func run(
    _ op: any Op, _ operands: [NDArray], views: [View?]? = nil, isa: ISA, threads: Int32 = 1,
    offset: Int = 0, precision: Precision = .highest
  ) throws -> [NDArray] {
    let views = views ?? operands.map { _ in nil }
    let types = zip(operands, views).map { array, view in
      view.map { array.type.with($0.shape) } ?? array.type
    }
    let results = try op.resultTypes(types)
    let site = LoweringSite(
      operands: types, views: views, results: results, isa: isa, precision: precision)
    let call = try op.lower(site)

    var buffers: [UnsafeMutableRawBufferPointer] = []
    defer { buffers.forEach { $0.deallocate() } }
    func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
      let whole = UnsafeMutableRawBufferPointer.allocate(
        byteCount: byteCount + 2 * canaryBytes + 64, alignment: 64)
      whole.initializeMemory(as: UInt8.self, repeating: canary)
      buffers.append(whole)
      return whole.baseAddress! + canaryBytes + offset
    }
    let inputs = operands.map { array -> UnsafeMutableRawPointer in
      let target = allocate(array.type.byteCount)
      array.withUnsafeBytes { bytes in
        if let base = bytes.baseAddress { target.copyMemory(from: base, byteCount: bytes.count) }
      }
      return target
    }
    let outputs = results.map { allocate($0.byteCount) }
    let workspace = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(call.workspaceBytes, 1), alignment: 64)
    // A kernel that reads its workspace before writing it shows as NaN.
    workspace.initializeMemory(as: UInt8.self, repeating: 0xff)
    buffers.append(workspace)
    var errorSlot: (Int64, Int64) = (-1, 0)

    let block = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(call.arguments.count, 1), alignment: 64)
    buffers.append(block)
    block.copyBytes(from: call.arguments)
    try withUnsafeMutablePointer(to: &errorSlot) { slot in
      for binding in call.bindings {
        let base: UnsafeMutableRawPointer
        switch binding.buffer {
        case .operand(let index):
          base = inputs[index] + (views[index]?.offset ?? 0) * operands[index].dtype.byteCount
        case .result(let index): base = outputs[index]
        case .workspace: base = workspace.baseAddress!
        case .errorSlot: base = UnsafeMutableRawPointer(slot)
        case .group: continue  // null, as the block has it: a process alone
        }
        block.storeBytes(
          of: base + binding.byteOffset, toByteOffset: binding.field,
          as: UnsafeMutableRawPointer.self)
      }
      var step = ck_step(
        kernel: unsafeBitCast(call.entry.address, to: ck_kernel.self),
        args: UnsafeRawPointer(block.baseAddress!), threads: 0, barrier: 1, condition: nil)
      try teams.withLock { teams in
        let team = try teams[threads] ?? makeTeam(threads)
        teams[threads] = team
        guard ck_team_reserve_scratch(team.pointer, call.scratchBytesPerThread) else {
          throw ApusError(.resource, "no memory for scratch", expected: "memory")
        }
        ck_run(team.pointer, &step, 1)
      }
    }
    guard errorSlot.0 == -1 else {
      throw ApusError(
        .outOfRange, "index \(errorSlot.1) at position \(errorSlot.0)", expected: "a valid index")
    }
    for (type, output) in zip(results, outputs) {
      for index in 0..<canaryBytes {
        let before = output.load(fromByteOffset: -1 - index, as: UInt8.self)
        let after = output.load(fromByteOffset: type.byteCount + index, as: UInt8.self)
        guard before == canary, after == canary else {
          throw ApusError(
            .invalidGraph, "\(call.name) writes outside its result \(type)",
            expected: "no write at \(before == canary ? "+" : "-")\(index)")
        }
      }
    }
    return zip(results, outputs).map { type, output in
      NDArray(type) {
        $0.copyMemory(from: UnsafeRawBufferPointer(start: output, count: type.byteCount))
      }
    }
  }

  /// The levels that this machine has kernels for.
  package static var levels: [ISA] {
    let best = ck_isa_best().rawValue
    return ISA.allCases.filter { UInt32($0.rawValue) <= best }
  }

  private static func makeTeam(_ threads: Int32) throws -> Team {
    guard let pointer = ck_team_create(threads, 1 << 20) else {
      throw ApusError(.resource, "no team of \(threads)", expected: "threads")
    }
    return Team(pointer: pointer)
  }
}
