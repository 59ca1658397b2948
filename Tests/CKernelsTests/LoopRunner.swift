// Runs loops at every level and on every team, with canaries around all memory that the kernels are
// given: operands, workspace and each thread's scratch.

import CKernels
import Foundation
import Testing

/// The levels that this machine runs, the reference last. A constant table.
nonisolated(unsafe) let loopRows: [ck_loop_kernel_row] = {
  var count: Int32 = 0
  let rows = ck_loop_kernel_rows(&count)!
  return (0..<Int(count)).map { rows[$0] }.filter { $0.isa.rawValue <= ck_isa_best().rawValue }
}()

extension ck_loop_kernel_row {
  var level: String { String(cString: ck_isa_name(isa)) }
}

/// Sixteen bytes of memory for an instruction or an operand are many; a block holds all of a loop.
final class LoopBlock: @unchecked Sendable {
  let args: UnsafeMutablePointer<ck_loop_args>
  private let memory: UnsafeMutableRawPointer

  /// Fills the block in, with `lead` bytes before it; nothing is prepared.
  init(_ program: LoopProgram, lead: Int = 0, trail: Int = 0) {
    let size = ck_loop_args_bytes(Int32(program.operands.count), Int32(program.code.count))
    memory = .allocate(byteCount: lead + size + trail, alignment: 64)
    memset(memory, 0, lead + size + trail)
    args = (memory + lead).assumingMemoryBound(to: ck_loop_args.self)
    args.pointee.operands = Int32(program.operands.count)
    args.pointee.instructions = Int32(program.code.count)
    args.pointee.dims = Int32(program.extents.count)
    args.pointee.first_reduced = Int32(program.reduced.lowerBound)
    args.pointee.reduced_dims = Int32(program.reduced.count)
    withUnsafeMutableBytes(of: &args.pointee.extent) { extents in
      let extents = extents.bindMemory(to: Int64.self)
      for (d, extent) in program.extents.prefix(extents.count).enumerated() {
        extents[d] = Int64(extent)
      }
    }
    for (index, operand) in program.operands.enumerated() {
      let at = ck_loop_operands(args)! + index
      at.pointee.dtype = Int16(operand.dtype.rawValue)
      withUnsafeMutableBytes(of: &at.pointee.stride) { strides in
        let strides = strides.bindMemory(to: Int64.self)
        for (d, stride) in operand.strides.prefix(strides.count).enumerated() {
          strides[d] = Int64(stride)
        }
      }
      if let start = operand.indexStart {
        at.pointee.flags = Int16(CK_LOOP_INDEX)
        at.pointee.data = UnsafeMutableRawPointer(bitPattern: start)
      }
    }
    let code = ck_loop_instructions(args)!
    for (index, instruction) in program.code.enumerated() { code[index] = instruction }
  }

  deinit { memory.deallocate() }

  var start: UnsafeMutableRawPointer { memory }
  var isPrepared: Bool { ck_loop_prepare(args) }
  var isPreparedAsBlock: Bool { ck_loop_prepare_block(args) }
}

/// The memory of a program's operands during one run.
struct LoopMemory {
  private let program: LoopProgram
  private var arrays: [Guarded<UInt8>?] = []

  /// - Parameter offset: Bytes past a 64-byte boundary at which the first operand starts; each
  ///   further one starts another 20 on. Rounded to whole elements.
  init(_ program: LoopProgram, offset: Int) {
    self.program = program
    for (index, operand) in program.operands.enumerated() {
      if operand.indexStart != nil || operand.sharedWith != nil {
        arrays.append(nil)
        continue
      }
      let size = operand.dtype.size
      arrays.append(
        Guarded(operand.bytes, offset: (offset + 20 * index) % 64 / size * size))
    }
  }

  func bytes(_ operand: Int) -> [UInt8] {
    arrays[program.operands[operand].sharedWith ?? operand]!.bytes
  }

  /// The operand's element at the domain's origin.
  func origin(_ index: Int) -> UnsafeMutableRawPointer? {
    let operand = program.operands[index]
    guard let array = arrays[operand.sharedWith ?? index] else { return nil }
    return UnsafeMutableRawPointer(array.pointer) + operand.origin * operand.dtype.size
  }

  func bind(_ args: UnsafeMutablePointer<ck_loop_args>) {
    for index in program.operands.indices {
      if let data = origin(index) { ck_loop_operands(args)![index].data = data }
    }
  }

  /// Complains about bytes that changed outside the outputs.
  func check(_ name: String, _ sourceLocation: SourceLocation) {
    let outputs = Set(program.outputs.map { program.operands[$0].sharedWith ?? $0 })
    for (index, array) in arrays.enumerated() {
      guard let array else { continue }
      if !array.isIntact {
        Issue.record("\(name): wrote beside operand \(index)", sourceLocation: sourceLocation)
      }
      if !outputs.contains(index) && !array.holds(program.operands[index].bytes) {
        Issue.record("\(name): changed input \(index)", sourceLocation: sourceLocation)
      }
    }
  }
}

/// Gives each thread scratch of exactly the size that was asked for, poisoned and guarded.
private struct Relay {
  let kernel: ck_kernel
  let args: UnsafeRawPointer
  let scratch: UnsafePointer<UnsafeMutableRawPointer>
  let bytes: Int
}

private let relay: ck_kernel = { args, thread in
  let relay = args!.assumingMemoryBound(to: Relay.self).pointee
  var own = thread!.pointee
  own.scratch = relay.scratch[Int(own.index)]
  own.scratch_bytes = relay.bytes
  relay.kernel(relay.args, &own)
}

/// Runs a kernel on a team of `TestTeams` with guarded scratch.
func runGuarded(
  _ kernel: @escaping ck_kernel, _ args: UnsafeRawPointer, scratch bytes: Int, team: Int,
  _ name: String, _ sourceLocation: SourceLocation
) {
  // All bits set is a NaN, and an index out of bounds: what is read before it is written shows.
  let poison = [UInt8](repeating: 0xFF, count: bytes)
  let scratch = (0..<TestTeams.sizes[team]).map { _ in Guarded(poison, offset: 0) }
  scratch.map { UnsafeMutableRawPointer($0.pointer) }.withUnsafeBufferPointer { pointers in
    TestTeams.shared.run(
      relay,
      Relay(kernel: kernel, args: args, scratch: pointers.baseAddress!, bytes: bytes), team: team)
  }
  if !scratch.allSatisfy(\.isIntact) {
    Issue.record("\(name): wrote beside its scratch", sourceLocation: sourceLocation)
  }
}

/// The results of a run by operand, in the order of the stores.
typealias LoopResults = [Int: [UInt8]]

/// Runs a prepared loop once.
func run(
  _ program: LoopProgram, _ block: LoopBlock, _ row: ck_loop_kernel_row, team: Int, offset: Int,
  _ name: String, _ sourceLocation: SourceLocation
) -> LoopResults {
  let memory = LoopMemory(program, offset: offset)
  memory.bind(block.args)
  let workspace = Guarded(
    [UInt8](repeating: 0xFF, count: ck_loop_workspace_bytes(block.args)), offset: 0)
  block.args.pointee.workspace = UnsafeMutableRawPointer(workspace.pointer)
  runGuarded(
    row.kernel, block.args, scratch: ck_loop_scratch_bytes(block.args), team: team, name,
    sourceLocation)
  if !workspace.isIntact {
    Issue.record("\(name): wrote beside its workspace", sourceLocation: sourceLocation)
  }
  memory.check(name, sourceLocation)
  return Dictionary(
    program.outputs.map { ($0, memory.bytes($0)) }, uniquingKeysWith: { _, last in last })
}

extension ck_dtype {
  /// The elements with what no level promises taken out: which of two NaNs a sum passes on, and
  /// whether a denormal that is only handed through is flushed.
  fileprivate func settled(_ bytes: [UInt8]) -> [UInt8] {
    guard self == CK_F32 else { return bytes }
    return encode(
      decode(bytes).map { .real($0.real.isNaN ? .nan : flushed($0.real)) })
  }
}

/// The first of the results and who gave it; further ones must be the same bytes.
struct SameBytes {
  private var first: (name: String, results: LoopResults)?

  var results: LoopResults { first?.results ?? [:] }

  mutating func expect(
    _ results: LoopResults, _ name: String, _ program: LoopProgram,
    _ sourceLocation: SourceLocation
  ) {
    guard let first else {
      first = (name, results)
      return
    }
    for (operand, bytes) in results where !areSame(bytes, first.results[operand] ?? []) {
      let dtype = program.operands[operand].dtype
      let other = dtype.settled(first.results[operand] ?? [])
      let bytes = dtype.settled(bytes)
      if bytes == other { continue }
      let at = zip(bytes, other).enumerated().first { $0.element.0 != $0.element.1 }
        .map { "element \($0.offset / dtype.size)" }
      Issue.record(
        "\(name) and \(first.name) differ in operand \(operand), \(at ?? "size")",
        sourceLocation: sourceLocation)
    }
  }
}

/// Runs the loop at every level on the given teams and returns its results, which must be the same
/// bytes every time. Empty where the program is refused, which is a failure.
func runEverywhere(
  _ program: LoopProgram, _ what: String, teams: [Int] = Array(TestTeams.sizes.indices),
  offset: Int = 4, sourceLocation: SourceLocation = #_sourceLocation
) -> LoopResults {
  let block = LoopBlock(program)
  guard block.isPrepared else {
    Issue.record("\(what): ck_loop_prepare refuses it", sourceLocation: sourceLocation)
    return [:]
  }
  var same = SameBytes()
  for row in loopRows {
    for team in teams {
      let name = "\(row.level) on \(TestTeams.sizes[team]) threads: \(what)"
      same.expect(
        run(program, block, row, team: team, offset: offset, name, sourceLocation), name, program,
        sourceLocation)
    }
  }
  return same.results
}
