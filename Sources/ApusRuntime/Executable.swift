// A compiled graph with its memory, ready to run.

import ApusGraph
import ApusOps
import ApusPasses

/// A graph that has been optimised, planned and bound to memory.
///
///     let graph = try traced([.f32(2, 3)]) { [$0[0] + $0[0]] }
///     let executable = try Executable(graph)
///     let sum = try executable.run([x])[0]
///
/// Running allocates nothing but the arrays that it returns. Runs from several tasks take turns.
public final class Executable: Sendable, CustomStringConvertible {
  package let plan: Plan
  package let schedule: Schedule
  /// What each pass did.
  package let passes: [PassReport]
  /// The states that runs read and update.
  package let states: StateStore
  package let team: Team
  package let check: CompileOptions.Check
  let binding: Binding
  private let arena: Arena
  private let inputTypes: [TensorType]
  private let scratchBytes: Int
  /// How many threads run it, where runs are short and the schedule has work for more than one.
  private let short: ShortRunChoice?

  /// Optimises, plans and binds `graph`.
  ///
  /// - `graph`: any valid graph.
  /// - `states`: where the graph's states live, all of them.
  /// - `arena`: the memory of intermediate values, where it is shared.
  /// - Throws: `unsupported` where an op has no kernel or the level is not available, `invalidArgument`
  ///   for a bad option or environment variable, `missing` or `shapeMismatch` where `states` lacks a state
  ///   or has it in another type, `resource` where memory or threads are short or the arena cannot be
  ///   brought within the limit.
  package init(
    _ graph: Graph, states: StateStore = StateStore(), options: CompileOptions = CompileOptions(),
    arena: Arena = Arena()
  ) throws {
    let environment = Environment.current
    let isa = try options.isa ?? environment.isa()
    try Environment.checkAvailable(isa, place: "CompileOptions.isa")
    check = try options.check ?? environment.check()
    var optimised = graph
    passes = try PassManager(options: options.passOptions(for: isa)).run(on: &optimised)
    team = try options.processes?.team ?? Team.shared(threads: options.threads)
    let rates = ProcessorRates.here(isa, team: team)
    plan = try Plan(
      optimised, isa: isa, precision: options.precision, threads: team.threads.count, rates: rates,
      memoryLimit: options.memoryLimit)
    schedule = Schedule(plan, threads: team.threads.count, rates: rates)
    self.states = states
    binding = try Binding(
      plan, schedule: schedule, states: states, processes: options.processes)
    inputTypes = plan.inputs.map(\.type)
    scratchBytes = plan.memory.scratchPerThread
    short =
      schedule.needsTeam && schedule.predictedNanoseconds < ShortRuns.longestNanoseconds
      ? ShortRunChoice(most: team.threads.count) : nil
    self.arena = arena
    try arena.reserve(plan.memory.arena)
    options.dump?("plan", plan.text(schedule))
  }

  /// Memory in bytes, known before the first run.
  public var memory: MemoryReport { plan.memory }

  /// The plan as text: the kernels in order, their threads and barriers, and where each value lies.
  public var description: String { plan.text(schedule) }

  /// Runs the graph once.
  ///
  /// - `inputs`: arrays in the order of the graph's inputs. They are read in place.
  /// - Returns: arrays in the order of the graph's outputs.
  /// - Throws: `missing` for a wrong number of arrays, `shapeMismatch` or `dtypeMismatch` naming the
  ///   input, `outOfRange` where an index lies outside its table, `nonFinite` where an output that must be
  ///   finite is not (in both cases no state has changed), and with ``CompileOptions/Check/nan`` `nonFinite` naming the first op that
  ///   made a NaN.
  public func run(_ inputs: [NDArray]) throws -> [NDArray] {
    let (outputs, isComplete) = try arrays(inputs, nanoseconds: nil)
    guard isComplete else { throw nonFinite(outputs) }
    return outputs
  }

  /// The outputs of a run where they lie; the next run overwrites them.
  package struct Results {
    fileprivate let binding: Binding
    fileprivate let ports: [Plan.Port]

    /// An output of one `f32`.
    package func number(_ index: Int) -> Double {
      binding.address(of: ports[index].place).map { Double($0.load(as: Float.self)) } ?? 0
    }

    /// A copy of any output.
    package func array(_ index: Int) -> NDArray { binding.array(ports[index]) }
  }

  /// Runs the graph once. Where an output that must be finite is not, no state has changed and the run is
  /// not complete; other outputs than those that must be finite are then of no meaning.
  ///
  /// - `read`: takes from the outputs what it wants, before another run begins. A training step wants a
  ///   number or two, and arrays to hold them would take longer than a small product.
  /// - Throws: as ``run(_:)-([NDArray])``, but for `nonFinite` outputs.
  package func attempt(
    _ inputs: [NDArray], _ read: (_ results: Results, _ isComplete: Bool) -> Void
  ) throws { try run(inputs, nanoseconds: nil, read) }

  private func arrays(
    _ inputs: [NDArray], nanoseconds: UnsafeMutablePointer<Int64>?, turns: TurnClock? = nil
  ) throws -> (outputs: [NDArray], isComplete: Bool) {
    var all: (outputs: [NDArray], isComplete: Bool) = ([], false)
    try run(inputs, nanoseconds: nanoseconds, turns: turns) { results, isComplete in
      all = (results.ports.indices.map(results.array), isComplete)
    }
    return all
  }

  /// What is wrong with the outputs of a run that is not complete.
  private func nonFinite(_ outputs: [NDArray]) -> ApusError {
    let names = plan.condition?.outputs.map(\.name) ?? []
    let bad = zip(plan.outputs, outputs).first {
      names.contains($0.0.name) && !$0.1.scalar.isFinite
    }
    return ApusError(
      .nonFinite, "output '\(bad?.0.name ?? "")' is \(bad?.1.scalar ?? .nan)",
      expected: "a finite number; no state has changed")
  }

  /// Runs the graph once, inputs and outputs by name.
  ///
  /// - Throws: `missing` for an input that is not given or does not exist; else as ``run(_:)-([NDArray])``.
  public func run(_ inputs: [String: NDArray]) throws -> [String: NDArray] {
    let known = plan.inputs.map(\.name)
    if let unknown = inputs.keys.filter({ !known.contains($0) }).min() {
      throw ApusError(
        .missing, "there is no input '\(unknown)'",
        expected: known.isEmpty ? "no inputs" : known.joined(separator: ", "))
    }
    let arrays = try plan.inputs.map { port in
      guard let array = inputs[port.name] else {
        throw ApusError(
          .missing, "input '\(port.name)' is not given", expected: "an array of type \(port.type)")
      }
      return array
    }
    let results = try run(arrays)
    return Dictionary(zip(plan.outputs.map(\.name), results), uniquingKeysWith: { $1 })
  }

  /// Runs the graph once and times each step.
  ///
  /// The threads wait for each other after every step, so the sum is more than a plain run takes.
  ///
  /// - Throws: as ``run(_:)-([NDArray])``.
  public func profile(_ inputs: [NDArray]) throws -> (outputs: [NDArray], profile: Profile) {
    var nanoseconds = [Int64](repeating: 0, count: plan.steps.count)
    let clock = TurnClock(plan)
    let (outputs, isComplete) = try nanoseconds.withUnsafeMutableBufferPointer {
      try arrays(inputs, nanoseconds: $0.baseAddress, turns: clock)
    }
    guard isComplete else { throw nonFinite(outputs) }
    return (
      outputs, Profile(plan, schedule, nanoseconds: nanoseconds, turns: clock.nanoseconds)
    )
  }

  private func run(
    _ inputs: [NDArray], nanoseconds: UnsafeMutablePointer<Int64>?, turns: TurnClock? = nil,
    _ read: (Results, Bool) -> Void
  ) throws {
    try validate(inputs)
    try StateLock.withLocks(binding.locks) {
      turns?.start(binding)
      defer { turns?.stop(binding) }
      try arena.withMemory { memory in
        try withExtendedLifetime(inputs) {
          binding.prepare(inputs, memory)
          try binding.refreshForms {
            try team.run($0, scratchBytes: scratchBytes)
          }
          do {
            if check == .nan && nanoseconds == nil {
              try runChecked()
            } else {
              try runPlan(nanoseconds)
            }
          } catch {
            if binding.conditionHolds { binding.noteChanges() }
            throw error
          }
          binding.settle()
          let isComplete = binding.conditionHolds
          if isComplete { binding.noteChanges() }
          try throwBadIndices()
          read(Results(binding: binding, ports: plan.outputs), isComplete)
        }
      }
    }
  }

  private func runPlan(_ nanoseconds: UnsafeMutablePointer<Int64>?) throws {
    if let nanoseconds {
      try team.run(binding.planned, scratchBytes: scratchBytes, nanoseconds: nanoseconds)
      return
    }
    try team.run(
      work: schedule.predictedNanoseconds, scratchBytes: scratchBytes, short: short
    ) { threads in
      // A single thread runs any schedule.
      threads == schedule.threads || threads == 1
        ? binding.planned : binding.planned(for: threads) { Schedule(plan, threads: threads) }
    }
  }

  /// Runs `body` with so many of the team's threads at work. For tests.
  func withMembers<R>(_ members: Int, _ body: () throws -> R) rethrows -> R {
    try team.withMembers(members, body)
  }

  /// Floats that a run sums over all processes.
  package var summedElements: Int {
    plan.steps.filter { $0.mnemonic == AllReduceStart.mnemonic }
      .reduce(0) { $0 + $1.results.reduce(0) { $0 + $1.type.count } }
  }

  /// Whether the graph's inputs have these arrays' types.
  package func takes(_ inputs: [NDArray]) -> Bool {
    guard inputs.count == inputTypes.count else { return false }
    for index in inputs.indices where inputs[index].type != inputTypes[index] { return false }
    return true
  }

  private func validate(_ inputs: [NDArray]) throws {
    if takes(inputs) { return }
    guard inputs.count == inputTypes.count else {
      let names = plan.inputs.map { "'\($0.name)' \($0.type)" }.joined(separator: ", ")
      throw ApusError(
        .missing, "\(inputs.count) inputs were given",
        expected: plan.inputs.isEmpty ? "no inputs" : "\(plan.inputs.count): \(names)")
    }
    for index in inputs.indices where inputs[index].type != inputTypes[index] {
      let (input, port) = (inputs[index], plan.inputs[index])
      let isOtherType = input.shape == port.type.shape
      throw ApusError(
        isOtherType ? .dtypeMismatch : .shapeMismatch, "input '\(port.name)' is \(input.type)",
        expected: "\(port.type)" + (isOtherType ? ": array.cast(to: .\(port.type.dtype))" : ""))
    }
  }

  /// What a user calls whose indices are looked at: ops that passes have made are no words of theirs.
  private func word(for step: Plan.Step) -> String {
    if step.mnemonic.contains("cross_entropy") { return "crossEntropy" }
    return [
      "gather": "a lookup (take, takeAlong, embedding, nll)", "scatter_add": "scatterAdd",
      "one_hot": "oneHot", "length_mask": "lengths of sequences",
    ][step.mnemonic] ?? step.mnemonic
  }

  /// `row 3`, or the place along each axis.
  private func place(_ position: Int, in shape: Shape) -> String {
    guard shape.rank > 1 else { return "row \(position)" }
    var rest = position
    var place: [Int] = []
    for extent in shape.dimensions.reversed() {
      place.insert(rest % max(extent, 1), at: 0)
      rest /= max(extent, 1)
    }
    return "\(place)"
  }

  /// Turns what kernels left in their error slots into an error.
  private func throwBadIndices() throws {
    for (number, slot) in binding.errorSlots.enumerated() where slot.position >= 0 {
      guard let step = plan.step(ofErrorSlot: number) else { continue }
      guard let (operand, limit) = step.call.checkedIndices else {
        throw ApusError(
          .outOfRange, "\(word(for: step)): index \(slot.index) lies outside its table",
          at: step.origins.first?.description, expected: "an index of the table")
      }
      let indices = step.operands[operand]
      // What a user gave has a name; what was computed has only a number.
      let name = indices.name.hasPrefix("%") ? "the indices" : "'\(indices.name)'"
      throw ApusError(
        .outOfRange,
        "\(word(for: step)): \(name) \(indices.type) hold \(slot.index) at "
          + place(Int(slot.position), in: indices.type.shape),
        at: step.origins.first?.description, expected: "\(step.call.leastIndex)..<\(limit)")
    }
  }

  /// Runs step by step and looks at what each wrote.
  private func runChecked() throws {
    var search = NonFiniteSearch(binding)
    try search.start(plan)
    for (index, step) in plan.steps.enumerated() {
      if index == schedule.conditionStep, !binding.conditionHolds { return }
      search.before(step)
      try team.run(binding.step(index), scratchBytes: scratchBytes)
      try search.after(step)
    }
  }
}
