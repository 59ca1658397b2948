// A loop's turn, planned, and the call that runs all turns.
//
// The turn has a plan of its own, whose arena is the call's workspace. `ck_repeat` runs its steps within the team;
// the argument block of the call holds those of the steps, so that to whoever binds and runs a plan a loop is one
// kernel call like any other.

import ApusGraph
import ApusOps
import CKernels

/// The plan of a scan's turn.
package final class LoopPlan: Sendable {
  package let plan: Plan
  package let length: Int
  package let isReversed: Bool
  /// How a turn is spread over the team that the plan was made for.
  package let schedule: Schedule
  let turn: TurnGraph
  /// Bytes of a stack's element, by result; of a sequence's, by operand.
  private let resultBytes: [Int]
  private let operandBytes: [Int]
  /// Nanoseconds of a turn: alone, and on the planned team.
  private let alone: Double
  private let spread: Double

  /// - Throws: what planning the body throws.
  init(
    _ scan: Scan, isa: ISA, precision: Precision, threads: Int, rates: ProcessorRates
  ) throws {
    let turn = TurnGraph(scan)
    self.turn = turn
    length = scan.length
    isReversed = scan.isReversed
    let invariants = turn.inputs.indices.filter {
      if case .constant = turn.inputs[$0] { true } else { false }
    }
    plan = try Plan(
      turn.graph, isa: isa, precision: precision, threads: threads, rates: rates,
      packedInputs: Set(invariants))
    schedule = Schedule(plan, threads: threads, rates: rates)
    resultBytes = scan.body.outputs.map { scan.body.type(of: $0.operand).byteCount }
    operandBytes = scan.body.inputs.map { scan.body.type(of: $0.value).byteCount }
    let model = CostModel(rates, threads: threads, footprint: plan.memory.footprint)
    alone = plan.steps.reduce(0) { $0 + model.alone($1.call) }
    spread = schedule.predictedNanoseconds + model.barrierNanoseconds
  }

  /// Errors that the steps of a turn, those of loops within among them, note each in a slot of its own.
  var errorSlots: Int { plan.errorSlots }

  /// The step that notes its errors in slot `number` of the loop's.
  func step(ofErrorSlot number: Int) -> Plan.Step? { plan.step(ofErrorSlot: number) }

  /// Nanoseconds that all turns take on a team.
  private func nanoseconds(_ threads: Int) -> Double {
    Double(length) * (threads == 1 ? alone : spread)
  }

  // MARK: The call

  private static let line = 64
  private static func aligned(_ bytes: Int) -> Int { (bytes + line - 1) / line * line }

  /// Where the parts of the argument block stand.
  private struct Layout {
    var copiesBefore = 0, stepsBefore = 0, moves = 0, steps = 0, copiesAfter = 0
    /// Of the argument blocks: of what is packed first, then of the steps.
    var blocks: [Int] = []
    var total = 0
  }

  /// A pointer of a step's argument block that moves from turn to turn.
  private struct Move {
    var field: Int
    var base: (buffer: KernelCall.Buffer, byteOffset: Int)
    var stride: Int
    var first: (buffer: KernelCall.Buffer, byteOffset: Int)?
  }

  private struct Copy {
    var to: (buffer: KernelCall.Buffer, byteOffset: Int)
    var from: (buffer: KernelCall.Buffer, byteOffset: Int)
    var bytes: Int
  }

  /// Where packed forms lie in the workspace, behind the turn's arena.
  private var formOffsets: [Int] {
    var offset = Self.aligned(plan.memory.arena)
    return plan.packings.map { packing in
      defer { offset += Self.aligned(packing.byteCount) }
      return offset
    }
  }

  /// The call that runs all turns.
  func call() -> KernelCall {
    var fixed: [KernelCall.Binding] = []
    var moves: [Move] = []
    let before = plan.packings.map(\.step)
    let all = before + plan.steps
    let (copiesBefore, copiesAfter) = copies()
    // The number of moves decides where blocks stand, and where they stand what the moves say: so the layout is
    // made with the count alone.
    let moveCount = all.reduce(0) { count, step in
      count + step.call.bindings.count { isMoving($0, of: step) }
    }
    let layout = layout(
      all, copiesBefore: copiesBefore.count, stepsBefore: before.count, moves: moveCount,
      copiesAfter: copiesAfter.count)
    for (step, block) in zip(all, layout.blocks) {
      for binding in step.call.bindings {
        place(binding, of: step, at: block + binding.field, &fixed, &moves)
      }
    }
    var bytes = [UInt8](repeating: 0, count: layout.total)
    func store<T: BitwiseCopyable>(_ value: T, at offset: Int) {
      withUnsafeBytes(of: value) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }
    func bind(_ field: Int, _ target: (buffer: KernelCall.Buffer, byteOffset: Int)) {
      fixed.append(
        KernelCall.Binding(field: field, buffer: target.buffer, byteOffset: target.byteOffset))
    }
    func table(_ offset: Int, _ count: Int) -> ck_repeat_table {
      ck_repeat_table(offset: Int64(offset), count: Int64(count))
    }
    store(
      ck_repeat_args(
        bytes: Int64(layout.total), length: Int64(length),
        copies_before: table(layout.copiesBefore, copiesBefore.count),
        steps_before: table(layout.stepsBefore, before.count),
        moves: table(layout.moves, moves.count), steps: table(layout.steps, plan.steps.count),
        copies_after: table(layout.copiesAfter, copiesAfter.count), nanoseconds: nil,
        threads: Int32(schedule.threads), reversed: isReversed ? 1 : 0), at: 0)
    for (start, list) in [(layout.copiesBefore, copiesBefore), (layout.copiesAfter, copiesAfter)] {
      for (index, copy) in list.enumerated() {
        let at = start + index * MemoryLayout<ck_repeat_copy>.stride
        store(ck_repeat_copy(to: nil, from: nil, bytes: Int64(copy.bytes)), at: at)
        bind(at + MemoryLayout<ck_repeat_copy>.offset(of: \.to)!, copy.to)
        bind(at + MemoryLayout<ck_repeat_copy>.offset(of: \.from)!, copy.from)
      }
    }
    for (index, move) in moves.enumerated() {
      let at = layout.moves + index * MemoryLayout<ck_repeat_move>.stride
      store(
        ck_repeat_move(
          field: Int64(move.field), base: nil, stride: Int64(move.stride), first: nil), at: at)
      bind(at + MemoryLayout<ck_repeat_move>.offset(of: \.base)!, move.base)
      if let first = move.first {
        bind(at + MemoryLayout<ck_repeat_move>.offset(of: \.first)!, first)
      }
    }
    for (index, step) in all.enumerated() {
      let entry = index < before.count ? nil : schedule.entries[index - before.count]
      let start =
        index < before.count
        ? layout.stepsBefore + index * MemoryLayout<ck_repeat_step>.stride
        : layout.steps + (index - before.count) * MemoryLayout<ck_repeat_step>.stride
      store(
        ck_repeat_step(
          kernel: unsafeBitCast(step.call.entry.address, to: ck_kernel.self),
          args: Int64(layout.blocks[index]), threads: entry?.member.map { Int32($0 + 1) } ?? 0,
          barrier: entry?.barrier == nil ? 0 : 1), at: start)
      bytes.replaceSubrange(
        layout.blocks[index]..<layout.blocks[index] + step.call.arguments.count,
        with: step.call.arguments)
    }
    var call = KernelCall(
      "repeat \(length)", entry: KernelEntry(ck_repeat), bytes: bytes)
    call.bindings = fixed
    call.workspaceBytes =
      (formOffsets.last ?? Self.aligned(plan.memory.arena))
      + (plan.packings.last.map { Self.aligned($0.byteCount) } ?? 0)
    call.scratchBytesPerThread =
      Self.aligned(layout.total)
      + (all.map(\.call.scratchBytesPerThread).max() ?? 0)
    call.inPlace = turn.states.compactMap {
      if case .carry(let index) = $0 { (operand: index, result: index) } else { nil }
    }
    call.flops = Double(length) * plan.steps.reduce(0) { $0 + $1.call.flops }
    call.bytes = Double(length) * plan.steps.reduce(0) { $0 + $1.call.bytes }
    call.nanoseconds = { [self] in nanoseconds($0) }
    return call
  }

  private func layout(
    _ all: [Plan.Step], copiesBefore: Int, stepsBefore: Int, moves: Int, copiesAfter: Int
  ) -> Layout {
    var layout = Layout()
    var at = Self.aligned(MemoryLayout<ck_repeat_args>.stride)
    func take(_ bytes: Int) -> Int {
      defer { at += Self.aligned(bytes) }
      return at
    }
    layout.copiesBefore = take(copiesBefore * MemoryLayout<ck_repeat_copy>.stride)
    layout.stepsBefore = take(stepsBefore * MemoryLayout<ck_repeat_step>.stride)
    layout.moves = take(moves * MemoryLayout<ck_repeat_move>.stride)
    layout.steps = take((all.count - stepsBefore) * MemoryLayout<ck_repeat_step>.stride)
    layout.copiesAfter = take(copiesAfter * MemoryLayout<ck_repeat_copy>.stride)
    layout.blocks = all.map { take($0.call.arguments.count) }
    layout.total = at
    return layout
  }

  // MARK: Places

  /// What lies at a place of the turn's plan.
  private func role(_ place: Place) -> TurnGraph.Role? {
    switch place.space {
    case .input(let index): turn.inputs[index]
    case .state(let index): turn.states[index]
    case .arena, .packed, .constant: nil
    }
  }

  private func place(_ buffer: KernelCall.Buffer, of step: Plan.Step) -> Place? {
    switch buffer {
    case .operand(let index): step.operands[index].place
    case .result(let index): step.results[index].place
    case .workspace: step.workspace
    case .errorSlot, .group: nil
    }
  }

  private func isMoving(_ binding: KernelCall.Binding, of step: Plan.Step) -> Bool {
    switch place(binding.buffer, of: step).flatMap(role) {
    case .slice, .stackedCarry, .stack: true
    case .constant, .carry, nil: false
    }
  }

  /// Says what a pointer of a step's block is to hold.
  private func place(
    _ binding: KernelCall.Binding, of step: Plan.Step, at field: Int,
    _ fixed: inout [KernelCall.Binding], _ moves: inout [Move]
  ) {
    func fix(_ buffer: KernelCall.Buffer, _ byteOffset: Int) {
      fixed.append(
        KernelCall.Binding(
          field: field, buffer: buffer, byteOffset: byteOffset + binding.byteOffset))
    }
    guard let place = place(binding.buffer, of: step) else {
      if let slot = step.errorSlot { fix(.errorSlot, slot * Self.errorSlotBytes) }
      return
    }
    let offset = place.offset + binding.byteOffset
    switch role(place) {
    case .constant(let operand): fix(.operand(operand), place.offset)
    case .carry(let index): fix(.result(index), place.offset)
    case .slice(let operand):
      moves.append(
        Move(field: field, base: (.operand(operand), offset), stride: operandBytes[operand]))
    case .stack(let result):
      moves.append(Move(field: field, base: (.result(result), offset), stride: resultBytes[result]))
    case .stackedCarry(let index, let stack):
      let stride = resultBytes[stack]
      moves.append(
        Move(
          field: field, base: (.result(stack), offset + (isReversed ? stride : -stride)),
          stride: stride, first: (.operand(index), offset)))
    case nil:
      if case .packed(let number) = place.space {
        fix(.workspace, formOffsets[number] + place.offset)
      } else {
        fix(.workspace, place.offset)
      }
    }
  }

  static let errorSlotBytes = MemoryLayout<(Int64, Int64)>.stride

  /// What carries hold before the first turn and, of those that lie in a stack, after the last.
  private func copies() -> (before: [Copy], after: [Copy]) {
    var before: [Copy] = [], after: [Copy] = []
    for role in turn.states + turn.inputs {
      switch role {
      case .carry(let index):
        before.append(
          Copy(to: (.result(index), 0), from: (.operand(index), 0), bytes: resultBytes[index]))
      case .stackedCarry(let index, let stack):
        let last = isReversed ? 0 : (length - 1) * resultBytes[stack]
        after.append(
          Copy(to: (.result(index), 0), from: (.result(stack), last), bytes: resultBytes[index]))
      case .constant, .slice, .stack: break
      }
    }
    return (before, after)
  }
}
