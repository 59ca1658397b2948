// From a graph to kernel calls in order, still without memory.
//
// Nodes that only rename bytes (a reshape of a dense value, leading rows, an identity) become aliases and cost
// nothing. Copies are added where an output or an assignment needs one.

import ApusGraph
import ApusOps
import ApusPasses
import CKernels

/// A graph's kernel calls, and which values are other names for the bytes of one.
struct LoweredGraph {
  /// One call of a kernel.
  struct Call {
    var call: KernelCall
    var mnemonic: String
    var operands: [Operand]
    var results: [ValueID]
    var origins: [Origin]
    /// The plan of a turn, of a loop.
    var loop: LoopPlan?
    /// The number of the packing whose form it takes in place of an operand.
    var packing: Int?
    /// Its part in the condition under which the run changes states.
    var role = ConditionRole.none
    /// Whether it makes again what a call before it has made.
    var isRepeated = false
  }

  /// A state's form that a kernel wants, made from the state before a run where that has changed; or that of
  /// an input that is the same in all turns of a loop, made before the first.
  struct Packing {
    /// The number of the state, or of the input.
    var source: Int
    /// As the graph's call reads it.
    var operand: Operand
    var packable: PackableOperand
  }

  /// The graph, with the nodes that were added at its end. Values that are made again belong to no node.
  var graph: Graph
  var calls: [Call] = []
  /// For each value the value whose buffer holds it, and where in it, in bytes.
  var roots: [(value: ValueID, offset: Int)]
  /// Of values that are made again: what they are copies of.
  var sources: [ValueID: ValueID] = [:]
  /// Nodes that must not become aliases.
  private var copies: Set<Int> = []
  /// By node: whether its result is another name for an operand's bytes.
  private var isAlias: [Bool]
  /// Whether states change only where something that is watched holds.
  var hasCondition = false
  private let team: (threads: Int, rates: ProcessorRates)
  /// The place of each state among the graph's.
  let stateNumbers: [ValueID: Int]

  /// - `threads`, `rates`: of the team for which turns of loops are planned.
  /// - Throws: what lowering an op throws, with the node's place.
  init(
    _ graph: Graph, isa: ISA, precision: Precision, threads: Int = 1, rates: ProcessorRates? = nil
  ) throws {
    let graph = graph.liftingConstantsOfLoops()
    self.graph = graph
    team = (threads, rates ?? .here(isa))
    roots = graph.types.indices.map { (ValueID($0), 0) }
    isAlias = Array(repeating: false, count: graph.nodes.count)
    stateNumbers = Dictionary(
      graph.states.enumerated().map { ($1.value, $0) }, uniquingKeysWith: { first, _ in first })
    for index in graph.nodes.indices { noteAlias(index) }
    try addCopies()
    for index in self.graph.nodes.indices where !isAlias[index] && !isEmpty(index) {
      calls.append(try lower(index, isa, precision))
    }
    placeCondition()
  }

  /// Whether a node makes no element at all. It is not called: other extents may be so large that walking
  /// them would take for ever.
  private func isEmpty(_ index: Int) -> Bool {
    graph.nodes[index].results.allSatisfy { graph.type(of: $0).count == 0 }
  }

  // MARK: Aliases

  /// What a node's result is another name for: an operand, or a contiguous part of one.
  private func alias(_ index: Int) -> Operand? {
    let node = graph.nodes[index]
    guard let op = node.op as? any RenamingOp else { return nil }
    let read = node.operands[op.renamedOperand(of: node.operands.count)]
    guard let view = op.view(of: read.view ?? View(dense: graph.type(of: read.value).shape)),
      view.isContiguous
    else { return nil }
    return Operand(read.value, view: view)
  }

  private mutating func noteAlias(_ index: Int) {
    guard let operand = alias(index) else { return }
    isAlias[index] = true
    roots[graph.nodes[index].results[0].index] = root(operand)
  }

  /// The buffer and the byte offset at which an operand's first element lies.
  func root(_ operand: Operand) -> (value: ValueID, offset: Int) {
    let root = roots[operand.value.index]
    let size = graph.type(of: operand.value).dtype.byteCount
    return (root.value, root.offset + (operand.view?.offset ?? 0) * size)
  }

  /// The bytes that an operand reads, counted from the start of its root's buffer.
  func extent(_ operand: Operand) -> Range<Int> {
    let type = graph.type(of: operand.value)
    let size = type.dtype.byteCount
    let start = roots[operand.value.index].offset
    guard let view = operand.view else { return start..<start + type.byteCount }
    guard let extent = view.extent else { return start..<start }
    return start + extent.lowerBound * size..<start + (extent.upperBound + 1) * size
  }

  /// Makes calls take packed what states hold that this graph does not change; returns the forms.
  mutating func usePackedStates() -> [Packing] {
    let assigned = Set(graph.assignments.map(\.state))
    let numbers = stateNumbers
    return usePacked { assigned.contains($0) ? nil : numbers[$0] }
  }

  /// Makes calls take these inputs packed; returns the forms.
  mutating func usePackedInputs(_ numbers: Set<Int>) -> [Packing] {
    var sources: [ValueID: Int] = [:]
    for number in numbers { sources[graph.inputs[number].value] = number }
    return usePacked { sources[$0] }
  }

  /// - `number`: of a root whose form may be made beforehand, nil for others.
  private mutating func usePacked(_ number: (ValueID) -> Int?) -> [Packing] {
    /// What makes two forms one: of a source, from there on, packed so.
    struct Key: Hashable {
      var source: Int
      var offset: Int
      var form: String
    }
    var packings: [Packing] = []
    var numbers: [Key: Int] = [:]
    for index in calls.indices {
      guard let packable = calls[index].call.packable else { continue }
      let operand = calls[index].operands[packable.operand]
      let (value, offset) = root(operand)
      guard let source = number(value) else { continue }
      let key = Key(source: source, offset: offset, form: packable.form)
      let number = numbers[key] ?? packings.count
      if number == packings.count {
        packings.append(Packing(source: source, operand: operand, packable: packable))
        numbers[key] = number
      }
      calls[index].call = packable.taking()
      calls[index].call.packable = packable
      calls[index].packing = number
    }
    return packings
  }

  /// The same calls in another order.
  func reordered(_ order: [Int]) -> LoweredGraph {
    var other = self
    other.calls = order.map { calls[$0] }
    return other
  }

  // MARK: Copies

  /// Whether an assignment changes nothing: a state assigned itself.
  func isIdentity(_ assignment: GraphAssignment) -> Bool {
    root(assignment.operand) == (assignment.state, 0)
      && assignment.operand.view?.isContiguous ?? true
  }

  private mutating func addCopies() throws {
    graph.assignments = graph.assignments.filter { !isIdentity($0) }
    let assigned = Set(graph.assignments.map(\.state))
    // An output or an assignment is read at the end of the step, densely. A state that the step
    // changes may by then hold its new value, so what is read of it is set aside.
    func mustCopy(_ operand: Operand) -> Bool {
      !(operand.view?.isContiguous ?? true) || assigned.contains(root(operand).value)
    }
    for index in graph.outputs.indices where mustCopy(graph.outputs[index].operand) {
      let name = graph.outputs[index].name
      graph.outputs[index].operand = try copy(
        graph.outputs[index].operand, origin: Origin(scope: "output \(name)"))
    }
    for index in graph.assignments.indices where mustCopy(graph.assignments[index].operand) {
      let state = stateNumbers[graph.assignments[index].state].map { graph.states[$0].name }
      graph.assignments[index].operand = try copy(
        graph.assignments[index].operand, origin: Origin(scope: "assign \(state ?? "")"))
    }
  }

  private mutating func copy(_ operand: Operand, origin: Origin) throws -> Operand {
    copies.insert(graph.nodes.count)
    isAlias.append(false)
    let shape = graph.type(of: operand).shape
    let results = try graph.addNode(Reshape(shape), [operand], origins: [origin])
    roots.append((results[0], 0))
    return Operand(results[0])
  }

  // MARK: Calls

  private func lower(_ index: Int, _ isa: ISA, _ precision: Precision) throws -> Call {
    let node = graph.nodes[index]
    let types = node.operands.map { graph.type(of: $0) }
    var call: KernelCall
    var loop: LoopPlan?
    if let scan = node.op as? Scan {
      let plan = try LoopPlan(
        scan, isa: isa, precision: precision, threads: team.threads, rates: team.rates)
      call = plan.call()
      loop = plan
    } else if copies.contains(index), node.operands[0].view?.isContiguous ?? true {
      call = ByteCopy.call(types[0])
    } else {
      let site = LoweringSite(
        operands: types, views: node.operands.map(\.view),
        results: node.results.map { graph.type(of: $0) }, isa: isa, precision: precision)
      do {
        call = try node.op.lower(site)
      } catch let error as ApusError {
        throw error.located(at: node.origins.first?.description ?? "")
      }
    }
    if call.bytes == 0 {
      let results = node.results.map { graph.type(of: $0) }
      call.bytes = Double((types + results).reduce(0) { $0 + $1.byteCount })
    }
    return Call(
      call: call, mnemonic: node.op.mnemonic, operands: node.operands, results: node.results,
      origins: node.origins, loop: loop)
  }
}

/// A copy of bytes as they lie.
enum ByteCopy {
  /// Operand 0 to result 0.
  static func call(_ type: TensorType) -> KernelCall {
    let (byteCount, run) = (type.byteCount, Int(CK_COPY_RUN))
    var call = KernelCall(
      "ck_copy_bytes", entry: KernelEntry(ck_copy(CK_COPY_BYTES, CK_ISA_REF)),
      block: ck_bytes_args(dst: nil, src: nil, count: Int64(byteCount)))
    call.bind(MemoryLayout<ck_bytes_args>.offset(of: \.dst)!, to: .result(0))
    call.bind(MemoryLayout<ck_bytes_args>.offset(of: \.src)!, to: .operand(0))
    call.partition = .tiles(
      count: (byteCount + run - 1) / run, elementsPerTile: run / type.dtype.byteCount,
      alignedOperands: [0])
    call.bytes = Double(2 * byteCount)
    return call
  }
}
