// A plan bound to addresses: argument blocks with their pointers filled in, and the steps that name them.

import ApusGraph
import CKernels

/// The memory that an executable's steps work on. Only its executable uses it, one run at a time.
final class Binding: @unchecked Sendable {
  private let steps: UnsafeMutableBufferPointer<ck_step>
  /// Those who run the same plan, where it speaks to them.
  private let processes: ProcessGroup?
  /// The plan's steps for teams of other sizes.
  private var others: [Int: UnsafeMutableBufferPointer<ck_step>] = [:]
  /// How many of them are the plan's; packings follow.
  private let planSteps: Int
  /// {position, index} of the first bad index of each slot; position is -1 where there is none.
  let errorSlots: UnsafeMutableBufferPointer<(position: Int64, index: Int64)>
  private let blocks: UnsafeMutableRawBufferPointer
  /// The plan's condition, its pointers filled in before each run.
  private let condition: Condition?
  private let states: [StateCell]
  private let forms: [StateCell.PackedForm]
  /// Where the changes of the states that a run changes are counted.
  private let changeCounts: [UnsafeMutablePointer<Int>]
  /// The locks of all states, in order.
  let locks: [StateLock]
  /// Where the arena was when the blocks were last pointed into it.
  private var arena: UnsafeMutableRawPointer?
  /// Where in the blocks a pointer into the arena stands.
  private var arenaFields: [(field: UnsafeMutableRawPointer, offset: Int)] = []
  private let constants: [NDArray]
  /// Where in the blocks a pointer into an input stands.
  private var inputFields: [(input: Int, field: UnsafeMutableRawPointer, offset: Int)] = []
  private var inputAddresses: [UnsafeRawPointer?]

  /// - Throws: `resource` where there is no memory, `missing` or `shapeMismatch` where the store lacks a
  ///   state or has it in another type.
  init(
    _ plan: Plan, schedule: Schedule, states store: StateStore, processes: ProcessGroup? = nil
  ) throws {
    self.processes = plan.isCollective ? processes : nil
    let states = try plan.states.map { try store.cell($0.name, $0.type) }
    self.states = states
    locks = StateLock.ordered(states.map(\.lock))
    forms = try plan.packings.map { packing in
      try states[packing.source].packedForm(packing.form, byteCount: packing.byteCount)
    }
    let written = Set(plan.steps.flatMap(\.results).map(\.place.space))
    changeCounts = states.indices.filter { written.contains(.state($0)) }
      .map { states[$0].changeCount }
    constants = plan.constants
    inputAddresses = Array(repeating: nil, count: plan.inputs.count)
    let all = plan.steps + plan.packings.map(\.step)
    planSteps = plan.steps.count
    steps = .allocate(capacity: all.count)
    errorSlots = .allocate(capacity: plan.errorSlots)
    errorSlots.initialize(repeating: (-1, 0))
    let slots = errorSlots
    let group = self.processes?.calls
    condition = plan.condition.map { Condition($0, errorSlots: slots, group: group) }
    let alignment = 64
    var offsets: [Int] = []
    var total = 0
    for step in all {
      offsets.append(total)
      total += (step.call.arguments.count + alignment - 1) / alignment * alignment
    }
    blocks = .allocate(byteCount: max(total, alignment), alignment: alignment)
    for (index, step) in all.enumerated() {
      let block = blocks.baseAddress! + offsets[index]
      step.call.arguments.withUnsafeBytes { bytes in
        guard let source = bytes.baseAddress else { return }
        block.copyMemory(from: source, byteCount: bytes.count)
      }
      for binding in step.call.bindings { bind(binding, of: step, at: block + binding.field) }
      // Packings are run one by one, by all threads.
      let entry = index < planSteps ? schedule.entries[index] : nil
      (steps.baseAddress! + index).initialize(
        to: ck_step(
          kernel: unsafeBitCast(step.call.entry.address, to: ck_kernel.self), args: block,
          threads: entry?.member.map { Int32($0 + 1) } ?? 0,
          barrier: entry?.barrier == nil ? 0 : 1,
          condition: index == schedule.conditionStep ? condition?.block : nil))
    }
  }

  deinit {
    for other in others.values { other.deallocate() }
    steps.deallocate()
    errorSlots.deallocate()
    blocks.deallocate()
  }

  /// The plan's steps, as the schedule given at first spreads them.
  var planned: UnsafeBufferPointer<ck_step> {
    UnsafeBufferPointer(rebasing: steps[..<planSteps])
  }

  /// The plan's steps for a team of another size, as a schedule made at the first call spreads them. They
  /// share the argument blocks. Only while the store is locked.
  func planned(for threads: Int, _ schedule: () -> Schedule) -> UnsafeBufferPointer<ck_step> {
    if let known = others[threads] { return UnsafeBufferPointer(known) }
    let schedule = schedule()
    let copy = UnsafeMutableBufferPointer<ck_step>.allocate(capacity: planSteps)
    _ = copy.initialize(from: planned)
    for (index, entry) in schedule.entries.enumerated() {
      Self.spread(&copy[index], entry)
      copy[index].condition =
        index == schedule.conditionStep ? condition.map { UnsafePointer($0.block) } : nil
    }
    others[threads] = copy
    return UnsafeBufferPointer(copy)
  }

  private static func spread(_ step: inout ck_step, _ entry: Schedule.Entry) {
    step.threads = entry.member.map { Int32($0 + 1) } ?? 0
    step.barrier = entry.barrier == nil ? 0 : 1
  }

  /// One step of the plan.
  func step(_ index: Int) -> UnsafeBufferPointer<ck_step> {
    UnsafeBufferPointer(rebasing: steps[index...index])
  }

  /// The argument block of one step of the plan. Only while the store is locked.
  func block(_ index: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(mutating: steps[index].args)
  }

  /// Makes the forms of states that have changed, by `run`. Only while the store is locked.
  func refreshForms(_ run: (UnsafeBufferPointer<ck_step>) throws -> Void) rethrows {
    for (index, form) in forms.enumerated() where form.isStale {
      try run(step(planSteps + index))
      form.noteMade()
    }
  }

  /// Forms that the next run makes first.
  var staleForms: Int { forms.count(where: \.isStale) }

  /// Notes that a run has changed states. Only while the store is locked.
  func noteChanges() {
    for count in changeCounts { count.pointee += 1 }
  }

  private func bind(
    _ binding: KernelCall.Binding, of step: Plan.Step, at field: UnsafeMutableRawPointer
  ) {
    let place: Place?
    switch binding.buffer {
    case .operand(let index): place = step.operands[index].place
    case .result(let index): place = step.results[index].place
    case .workspace: place = step.workspace
    case .errorSlot:
      if let slot = step.errorSlot {
        store(UnsafeRawPointer(errorSlots.baseAddress! + slot) + binding.byteOffset, at: field)
      }
      return
    case .group:
      store(processes?.calls, at: field)
      return
    }
    guard let place else { return }
    if case .input(let input) = place.space {
      inputFields.append((input, field, place.offset + binding.byteOffset))
    } else if case .arena = place.space {
      arenaFields.append((field, place.offset + binding.byteOffset))
    } else if let address = address(of: place) {
      store(address + binding.byteOffset, at: field)
    }
  }

  private func store(_ pointer: UnsafeRawPointer?, at field: UnsafeMutableRawPointer) {
    field.storeBytes(of: UInt(bitPattern: pointer), as: UInt.self)
  }

  /// Where a place is now; nil for an input, or one in the arena, outside a run.
  func address(of place: Place) -> UnsafeRawPointer? {
    let base: UnsafeRawPointer? =
      switch place.space {
      case .arena: UnsafeRawPointer(arena)
      case .state(let index): UnsafeRawPointer(states[index].address)
      case .constant(let index): constants[index].withUnsafeBytes { $0.baseAddress }
      case .packed(let index): UnsafeRawPointer(forms[index].address)
      case .input(let index): inputAddresses[index]
      }
    return base.map { $0 + place.offset }
  }

  /// Points the kernels at these arrays and at that arena, which must outlive the run, and clears the error
  /// slots.
  func prepare(_ inputs: [NDArray], _ arena: UnsafeMutableRawPointer) {
    // Only what has changed is written: a team that goes on with the same arrays, or in the same arena, then
    // finds the blocks in its caches.
    var hasMoved = false
    if arena != self.arena {
      self.arena = arena
      hasMoved = true
      for entry in arenaFields { store(UnsafeRawPointer(arena + entry.offset), at: entry.field) }
    }
    for index in inputs.indices {
      let address = inputs[index].withUnsafeBytes { $0.baseAddress }
      guard inputAddresses[index] != address else { continue }
      inputAddresses[index] = address
      hasMoved = true
      for entry in inputFields where entry.input == index {
        store(address.map { $0 + entry.offset }, at: entry.field)
      }
    }
    for index in errorSlots.indices where errorSlots[index].position >= 0 {
      errorSlots[index] = (-1, 0)
    }
    if hasMoved, let condition {
      for (index, place) in condition.places.enumerated() {
        condition.values[index] = address(of: place)?.assumingMemoryBound(to: Float.self)
      }
    }
  }

  // MARK: The condition of changes

  /// A plan's condition as the team reads it.
  private final class Condition {
    let block: UnsafeMutablePointer<ck_condition>
    let values: UnsafeMutableBufferPointer<UnsafePointer<Float>?>
    private let errors: UnsafeMutableBufferPointer<UnsafePointer<Int64>?>
    let places: [Place]
    /// What all processes have come to, where others have a say.
    private let agreed: UnsafeMutablePointer<Bool>?

    init(
      _ condition: Plan.Condition,
      errorSlots: UnsafeMutableBufferPointer<(position: Int64, index: Int64)>,
      group: UnsafePointer<ck_group>?
    ) {
      agreed = group.map { _ in .allocate(capacity: 1) }
      agreed?.initialize(to: true)
      places = condition.outputs.map(\.place)
      values = .allocate(capacity: max(places.count, 1))
      values.initialize(repeating: nil)
      errors = .allocate(capacity: max(condition.errorSlots.count, 1))
      errors.initialize(repeating: nil)
      for (index, slot) in condition.errorSlots.enumerated() {
        errors[index] = UnsafeRawPointer(errorSlots.baseAddress! + slot)
          .assumingMemoryBound(to: Int64.self)
      }
      block = .allocate(capacity: 1)
      block.initialize(
        to: ck_condition(
          values: UnsafePointer(values.baseAddress), value_count: Int64(places.count),
          errors: UnsafePointer(errors.baseAddress), error_count: Int64(condition.errorSlots.count),
          group: group, agreed: agreed))
    }

    var holds: Bool { agreed?.pointee ?? ck_condition_holds(block) }

    deinit {
      block.deallocate()
      values.deallocate()
      errors.deallocate()
      agreed?.deallocate()
    }
  }

  /// Whether a run changes, or has changed, states.
  var conditionHolds: Bool { condition?.holds ?? true }

  /// Ends what a run that stopped early has begun with other processes.
  func settle() { processes?.settle() }

  /// A copy of what lies at a port.
  func array(_ port: Plan.Port) -> NDArray {
    NDArray(port.type) { bytes in
      guard let source = address(of: port.place), let target = bytes.baseAddress else { return }
      target.copyMemory(from: source, byteCount: bytes.count)
    }
  }
}
