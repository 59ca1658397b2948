// The frozen form of a graph: kernel calls in order, every byte of memory placed, no addresses yet.
//
// A plan is a value that can be printed (`Plan+Text.swift`) and scheduled for any number of threads
// (`Schedule.swift`); an `Executable` binds it to memory and runs it.

import ApusGraph

/// A graph, lowered and laid out.
///
///     let plan = try Plan(optimised(graph))
///     print(plan.text(threads: 2))
package struct Plan: Sendable {
  /// A value as a step reads or writes it.
  package struct Access: Sendable {
    /// `%3`, or the name of an input, state or output.
    package var name: String
    /// As the kernel sees it.
    package var type: TensorType
    /// Where its first element lies.
    package var place: Place
    /// The bytes of the place's space that may be touched.
    package var extent: Range<Int>
  }

  /// One kernel call.
  package struct Step: Sendable {
    package var call: KernelCall
    package var mnemonic: String
    package var operands: [Access]
    package var results: [Access]
    package var workspace: Place?
    /// The number of its error slot, where it reports bad indices.
    package var errorSlot: Int?
    /// Whether it makes again what was not kept.
    package var isRepeated = false
    package var origins: [Origin]
    /// The plan of a turn, where it is a loop.
    package var loop: LoopPlan?
  }

  /// An output, or an input: what a run takes and gives.
  package struct Port: Sendable {
    package var name: String
    package var type: TensorType
    package var place: Place
  }

  /// What an executable makes of a state before a run, where the state has changed since it was made: the
  /// form that a kernel wants it in. In a loop's plan: of an input, before the first turn.
  package struct Packing: Sendable {
    /// The number of the state, or of the input.
    package var source: Int
    /// The same for all executables that share it.
    package var form: String
    package var byteCount: Int
    package var step: Step
  }

  package let isa: ISA
  package let steps: [Step]
  package let packings: [Packing]
  package let inputs: [Port]
  package let states: [Port]
  package let outputs: [Port]
  package let constants: [NDArray]
  package let memory: MemoryReport
  /// Under what condition states change; nil where they always do, or never.
  package let condition: Condition?
  /// Whether steps speak to other processes.
  var isCollective: Bool { steps.contains { $0.call.isCollective } }
  /// Error slots that the steps use.
  package let errorSlots: Int
  /// The arena's buffers, for tests and pictures.
  let buffers: [(interval: Interval, offset: Int)]

  /// Lowers every node of `graph` and lays out its memory.
  ///
  /// - `graph`: normally what `optimised` gives; any valid graph whose ops have kernels will do.
  /// - `isa`: the level of the kernels.
  /// - `precision`: how products are computed.
  /// - `threads`: the team for which the order of the calls is made. The plan runs on any other too.
  /// - `rates`: how fast the processor is; nil stands for this one.
  /// - `memoryLimit`: bytes that the arena may take; what does not fit is computed again where it is needed.
  /// - `packedInputs`: numbers of inputs whose forms are made beforehand in place of states'.
  /// - Throws: `unsupported` where an op has no kernel, naming the op's place in the model; `resource` where the
  ///   limit cannot be kept, `invalidArgument` where it is negative.
  package init(
    _ graph: Graph, isa: ISA, precision: Precision = .highest, threads: Int = 1,
    rates: ProcessorRates? = nil, memoryLimit: Int? = nil, packedInputs: Set<Int>? = nil
  ) throws {
    let rates = rates ?? .here(isa)
    var given = try LoweredGraph(
      graph, isa: isa, precision: precision, threads: threads, rates: rates)
    let forms = packedInputs.map { given.usePackedInputs($0) } ?? given.usePackedStates()
    var (lowered, memory) = CallOrder.ordered(given, rates: rates, threads: threads)
    if let memoryLimit {
      let limit = try ArenaLimit(memoryLimit, isa: isa, threads: threads)
      if let (fitting, less) = try limit.plan(given, instead: memory) {
        (lowered, memory) = (fitting, less)
      }
    }
    memory.notePacked(forms.reduce(0) { $0 + $1.packable.byteCount })
    let namer = ValueNames(lowered.graph, copies: lowered.sources)
    self.isa = isa
    self.memory = memory.report
    buffers = memory.buffers
    let builder = StepBuilder(lowered: lowered, places: memory.places, names: namer)
    var steps: [Step] = []
    var slots = 0
    for (index, call) in lowered.calls.enumerated() {
      var step = builder.step(call, workspace: memory.workspaces[index])
      if call.call.bindings.contains(where: { $0.buffer == .errorSlot }) {
        step.errorSlot = slots
        slots += call.loop?.errorSlots ?? 1
      }
      steps.append(step)
    }
    for copy in memory.copies { steps.append(builder.copyStep(copy.operand, toState: copy.state)) }
    self.steps = steps
    packings = forms.indices.map { builder.packing(forms[$0], number: $0) }
    errorSlots = slots
    let final = lowered.graph
    func port(_ name: String, _ operand: Operand) -> Port {
      Port(name: name, type: final.type(of: operand), place: builder.place(operand))
    }
    inputs = final.inputs.map { port($0.name, Operand($0.value)) }
    states = final.states.map { port($0.name, Operand($0.value)) }
    outputs = final.outputs.map { port($0.name, $0.operand) }
    constants = final.constants.map(\.array)
    condition = Condition(
      steps, lowered.calls.map(\.role),
      outputs: zip(final.outputs, outputs).filter { $0.0.isRequired }.map(\.1), lowered.hasCondition
    )
  }
}

extension Plan {
  /// The step that notes its errors in a slot, in a loop's turn where it stands there.
  func step(ofErrorSlot number: Int) -> Step? {
    let step = steps.last { $0.errorSlot.map { $0 <= number } ?? false }
    guard let step, let loop = step.loop, let first = step.errorSlot else { return step }
    return loop.step(ofErrorSlot: number - first)
  }
}

/// What values are called in dumps.
struct ValueNames {
  private var names: [Int: String] = [:]
  private let copies: [ValueID: ValueID]

  /// - `copies`: of values that are made again, what they are copies of.
  init(_ graph: Graph, copies: [ValueID: ValueID] = [:]) {
    self.copies = copies
    for input in graph.inputs { names[input.value.index] = input.name }
    for state in graph.states { names[state.value.index] = state.name }
  }

  /// A copy is `%3'`, a copy of that `%3''`.
  func name(_ value: ValueID) -> String {
    if let source = copies[value] { return name(source) + "'" }
    return names[value.index] ?? value.description
  }
}

/// Places the operands and results of calls.
struct StepBuilder {
  let lowered: LoweredGraph
  /// By value.
  let places: [Place?]
  let names: ValueNames

  func place(_ operand: Operand) -> Place {
    var place = start(operand.value)
    let size = lowered.graph.type(of: operand.value).dtype.byteCount
    place.offset += (operand.view?.offset ?? 0) * size
    return place
  }

  /// Every value that a valid graph reads is an input, a state, a constant or a call's result; or it has no
  /// elements, and nothing is read.
  private func start(_ value: ValueID) -> Place {
    places[value.index] ?? Place(space: .arena, offset: 0)
  }

  func access(_ operand: Operand) -> Plan.Access {
    let place = place(operand)
    let start = start(operand.value).offset
    let shift = start - lowered.extent(Operand(operand.value)).lowerBound
    let extent = lowered.extent(operand)
    return Plan.Access(
      name: names.name(operand.value), type: lowered.graph.type(of: operand), place: place,
      extent: extent.lowerBound + shift..<extent.upperBound + shift)
  }

  func step(_ call: LoweredGraph.Call, workspace: Place?) -> Plan.Step {
    var operands = call.operands.map(access)
    if let packing = call.packing, let packable = call.call.packable {
      operands[packable.operand] = form(packable, packing, of: operands[packable.operand])
    }
    return Plan.Step(
      call: call.call, mnemonic: call.mnemonic, operands: operands,
      results: call.results.map { access(Operand($0)) }, workspace: workspace, errorSlot: nil,
      isRepeated: call.isRepeated, origins: call.origins, loop: call.loop)
  }

  private func form(_ packable: PackableOperand, _ number: Int, of source: Plan.Access)
    -> Plan.Access
  {
    Plan.Access(
      name: source.name,
      type: TensorType(source.type.dtype, [packable.byteCount / source.type.dtype.byteCount]),
      place: Place(space: .packed(number), offset: 0), extent: 0..<packable.byteCount)
  }

  func packing(_ packing: LoweredGraph.Packing, number: Int) -> Plan.Packing {
    let source = access(packing.operand)
    return Plan.Packing(
      source: packing.source, form: "\(packing.packable.form) at \(source.place.offset)",
      byteCount: packing.packable.byteCount,
      step: Plan.Step(
        call: packing.packable.making(), mnemonic: "pack", operands: [source],
        results: [form(packing.packable, number, of: source)], workspace: nil, errorSlot: nil,
        origins: [Origin(scope: "pack \(source.name)")]))
  }

  /// The step that writes a state's new value where it could not be computed in place.
  func copyStep(_ operand: Operand, toState index: Int) -> Plan.Step {
    let state = lowered.graph.states[index]
    let type = lowered.graph.type(of: operand)
    let target = Plan.Access(
      name: state.name, type: type, place: Place(space: .state(index), offset: 0),
      extent: 0..<type.byteCount)
    return Plan.Step(
      call: ByteCopy.call(type), mnemonic: "assign", operands: [access(operand)],
      results: [target], workspace: nil, errorSlot: nil,
      origins: [Origin(scope: "assign \(state.name)")])
  }
}
