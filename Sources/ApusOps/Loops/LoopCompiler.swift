// From loop programs to the tile machine's instructions.
//
// The domain's axes are reordered so that folded ones come last (rows) or before the kept inner ones
// (columns), every value gets a phase (one more than the reductions it reads) and a slot, and what a
// later phase needs of an earlier one is emitted again there.

import ApusGraph
import CKernels

struct LoopCompiler {
  private let loop: Loop
  private let site: LoweringSite
  private let types: [TensorType]
  /// The domain's axes in the order in which the machine walks them.
  private var order: [Int] = []
  private var firstReduced = 0
  private var isColumns = false

  /// A value of the program, or an operand read into a slot.
  private enum Item: Hashable {
    case load(Int)
    case value(Int)
    /// What the first of two steps of a value's instruction leaves. It has a slot to itself: a slot that is
    /// written twice is no more known to be the same all along a row.
    case part(Int)
  }

  /// For a cast that loads and stores do by themselves, what it casts.
  private var elided: [Int: LoopProgram.Argument] = [:]
  private var phases: [Int] = []
  private var instructions: [ck_loop_instruction] = []
  private var slots: [Item: UInt8] = [:]
  /// Slots that can be used again, by what they hold: a slot keeps one class.
  private var freeSlots: [String: [UInt8]] = [:]
  private var slotCount = 0
  private var partClasses: [Int: String] = [:]
  /// How often each item is still to be read, in single-phase programs, where slots are used again.
  private var pendingReads: [Item: Int] = [:]
  private var reusesSlots = true
  /// Whether operands and constants have slots to themselves, as they do unless slots are short: an
  /// operand is mostly read where it lies, a constant is set once for all tiles.
  private var keepsSources = false
  /// The last phase in which each operand is loaded.
  private var lastLoad: [Int: Int] = [:]

  init(_ loop: Loop, _ site: LoweringSite) {
    self.loop = loop
    self.site = site
    types =
      (try? loop.program.types(
        site.operands, domain: loop.domain, reducedAxes: loop.reducedAxes)) ?? []
  }

  mutating func compile() throws -> KernelCall {
    _ = try compileInstructions()
    return try makeCall()
  }

  /// The program's instructions alone, for the epilogue of a matrix product and for loops over many
  /// arrays; operands are numbered first, then outputs.
  mutating func compileInstructions() throws -> [ck_loop_instruction] {
    if let wide = (site.operands + types).first(where: { $0.dtype == .f64 }) {
      throw ApusError(
        .unsupported, "\(wide) has no kernels: f64 is for the interpreter and for gradient checks",
        expected: "f32")
    }
    orderAxes()
    elided = loop.program.storageCasts(site.operands.map(\.dtype), types.map(\.dtype))
    assignPhases()
    countReads()
    let phaseCount = (phases.max() ?? 0) + (loop.program.reduces ? 1 : 0) + 1
    reusesSlots = phaseCount == 1
    for phase in 0..<phaseCount { try emit(phase: phase) }
    guard slotCount <= Int(CK_LOOP_SLOTS) else {
      throw ApusError(
        .unsupported,
        "a loop of \(loop.program.instructions.count) instructions needs \(slotCount) "
          + "slots", expected: "at most \(CK_LOOP_SLOTS)")
    }
    return instructions
  }

  // MARK: Domain

  private mutating func orderAxes() {
    let rank = loop.domain.rank
    let reduced = loop.program.reduces ? loop.reducedAxes : []
    let kept = (0..<rank).filter { !reduced.contains($0) }
    // Axes of extent 1 decide nothing.
    let lastReal = (0..<rank).last { loop.domain[$0] != 1 } ?? rank - 1
    isColumns = !reduced.isEmpty && !reduced.contains(lastReal)
    if isColumns {
      let outer = kept.filter { $0 < reduced[0] }
      order = outer + reduced + kept.filter { $0 > reduced[0] }
      firstReduced = outer.count
    } else {
      order = kept + reduced
      firstReduced = kept.count
    }
  }

  /// Strides over the domain, in the machine's order, of an operand.
  private func strides(operand index: Int) -> [Int] {
    let view = site.views[index].broadcast(to: loop.domain)
    return order.map { loop.domain[$0] == 1 ? 0 : view.strides[$0] }
  }

  /// Strides over the domain of a dense result; 0 along folded axes.
  private func strides(output index: Int) -> [Int] {
    let view = View(dense: types[loop.program.outputs[index]].shape).broadcast(to: loop.domain)
    return order.map { loop.domain[$0] == 1 ? 0 : view.strides[$0] }
  }

  // MARK: Phases

  private mutating func assignPhases() {
    for instruction in loop.program.instructions {
      var phase = 0
      for case .value(let index) in instruction.arguments {
        phase = max(phase, phases[index] + (isReduction(index) ? 1 : 0))
      }
      phases.append(phase)
    }
  }

  private func isReduction(_ index: Int) -> Bool {
    if case .reduce = loop.program.instructions[index].action { true } else { false }
  }

  /// The phase in which an output can be stored: a reduction's value exists after its own phase.
  private func storePhase(_ value: Int) -> Int { phases[value] + (isReduction(value) ? 1 : 0) }

  private mutating func countReads() {
    for (index, instruction) in loop.program.instructions.enumerated() where elided[index] == nil {
      for argument in instruction.arguments { pendingReads[item(argument), default: 0] += 1 }
    }
    for output in loop.program.outputs { pendingReads[item(.value(output)), default: 0] += 1 }
    keepsSources = loop.program.instructions.count + site.operands.count <= Int(CK_LOOP_SLOTS)
    guard keepsSources else { return }
    for operand in site.operands.indices { pendingReads[.load(operand), default: 0] += 1 }
    for (index, instruction) in loop.program.instructions.enumerated() {
      if case .constant = instruction.action { pendingReads[.value(index), default: 0] += 1 }
    }
  }

  private func isOutput(_ item: Item) -> Bool {
    if case .value(let index) = item { loop.program.outputs.contains(index) } else { false }
  }

  private func isSource(_ item: Item) -> Bool {
    if case .load = item { return true }
    guard case .value(let index) = item else { return false }
    if case .constant = loop.program.instructions[index].action { return true }
    return false
  }

  private func item(_ argument: LoopProgram.Argument) -> Item {
    switch argument {
    case .operand(let index): .load(index)
    case .value(let index): elided[index].map { item($0) } ?? .value(index)
    }
  }

  // MARK: Instructions

  private mutating func emit(phase: Int) throws {
    /// What this phase already has in slots.
    var present = Set<Item>()
    for index in loop.program.instructions.indices
    where phases[index] == phase && elided[index] == nil {
      try ensure(.value(index), phase: phase, &present)
    }
    // Stores last, so that a result may share the memory of an operand that dies here.
    for (index, value) in loop.program.outputs.enumerated() where storePhase(value) == phase {
      let item = item(.value(value))
      try ensure(item, phase: phase, &present)
      append(CK_OP_store, phase, dst: 0, a: slots[item]!, b: UInt8(operandCount + index))
      read(item)
    }
  }

  private var operandCount: Int { site.operands.count }

  /// Makes an item's value stand in its slot in this phase.
  private mutating func ensure(_ item: Item, phase: Int, _ present: inout Set<Item>) throws {
    guard !present.contains(item) else { return }
    if case .value(let index) = item, isReduction(index), phases[index] < phase { return }
    present.insert(item)
    // In `columns`, later phases walk the reduced domain: slots of the first phase do not fit them.
    let isRepeat = slots[item] != nil && !isColumns
    if isColumns && phase > 0 { slots[item] = nil }
    let flags = isRepeat ? UInt8(CK_LOOP_REPEAT) : 0
    switch item {
    // Made and read within its instruction.
    case .part: break
    case .load(let operand):
      let slot = slot(for: item)
      append(CK_OP_load, phase, flags, dst: slot, a: UInt8(operand))
      lastLoad[operand] = phase
    case .value(let index):
      let instruction = loop.program.instructions[index]
      for argument in instruction.arguments {
        try ensure(self.item(argument), phase: phase, &present)
      }
      let sources = instruction.arguments.map { slots[self.item($0)]! }
      let slot = slot(for: item)
      try append(instruction, index, sources, phase, flags, dst: slot)
      if !isRepeat { for argument in instruction.arguments { read(self.item(argument)) } }
    }
  }

  private mutating func slot(for item: Item) -> UInt8 {
    if let slot = slots[item] { return slot }
    // An output has its slot to itself, so that it can be made in its own memory.
    let isAlone = isOutput(item) || (keepsSources && isSource(item))
    let used = isAlone ? nil : freeSlots[slotClass(item)]?.popLast()
    let slot = used ?? UInt8(truncatingIfNeeded: slotCount)
    if Int(slot) == slotCount { slotCount += 1 }
    slots[item] = slot
    return slot
  }

  /// Notes that an item has been read once; its slot is free after the last time.
  private mutating func read(_ item: Item) {
    guard reusesSlots else { return }
    pendingReads[item]! -= 1
    if pendingReads[item] == 0, let slot = slots[item] {
      freeSlots[slotClass(item), default: []].append(slot)
    }
  }

  private func slotClass(_ item: Item) -> String {
    switch item {
    case .load(let operand): Self.suffix(site.operands[operand].dtype)
    case .value(let index): Self.suffix(types[index].dtype)
    case .part(let index): partClasses[index]!
    }
  }

  /// Two steps or one: the first leaves its result, of that class, in a slot of its own.
  private mutating func append(
    steps: [ck_op], _ index: Int, through class: String, _ phase: Int, _ flags: UInt8, dst: UInt8,
    _ sources: [UInt8], imm: (Float, Float) = (0, 0)
  ) {
    func source(_ index: Int) -> UInt8 { index < sources.count ? sources[index] : 0 }
    guard steps.count == 2 else {
      append(
        steps[0], phase, flags, dst: dst, a: source(0), b: source(1), c: source(2), imm: imm)
      return
    }
    let part = Item.part(index)
    partClasses[index] = `class`
    if isColumns && phase > 0 { slots[part] = nil }
    let between = slot(for: part)
    append(steps[0], phase, flags, dst: between, a: source(0), b: source(1), c: source(2), imm: imm)
    append(steps[1], phase, flags, dst: dst, a: between)
    if reusesSlots { freeSlots[`class`, default: []].append(between) }
  }

  private mutating func append(
    _ op: ck_op, _ phase: Int, _ flags: UInt8 = 0, dst: UInt8, a: UInt8 = 0, b: UInt8 = 0,
    c: UInt8 = 0, imm: (Float, Float) = (0, 0)
  ) {
    instructions.append(
      ck_loop_instruction(
        op: UInt16(op.rawValue), phase: UInt8(truncatingIfNeeded: phase), flags: flags, dst: dst,
        a: a, b: b, c: c, imm: imm))
  }

  private mutating func append(
    _ instruction: LoopProgram.Instruction, _ index: Int, _ sources: [UInt8], _ phase: Int,
    _ flags: UInt8, dst: UInt8
  ) throws {
    let arguments = instruction.arguments.map { argument -> DType in
      switch argument {
      case .operand(let index): site.operands[index].dtype
      case .value(let index): types[index].dtype
      }
    }
    switch instruction.action {
    case .constant(let value, let dtype):
      try append(constant: value, dtype, phase, flags, dst: dst)
    case .reduce(let type):
      let name = Self.name(reducing: type.mnemonic, arguments[0])
      let op = try opcode(name, for: type.mnemonic, arguments)
      append(op, phase, flags, dst: dst, a: sources[0])
    case .apply(let cast as Cast):
      let steps = try castSteps(from: arguments[0], to: cast.dtype)
      let between = Self.suffix(cast.dtype)
      append(steps: steps, index, through: between, phase, flags, dst: dst, sources)
    case .apply(let op):
      // select's first operand is its condition: the last one says the class.
      let name = Self.name(applying: op.mnemonic, arguments.last ?? .f32)
      let immediates = op.immediates.map { Float($0) }
      var steps = [try opcode(name, for: op.mnemonic, arguments)]
      let leavesBytes =
        (op as? any IntegerElementwiseOp).map { type(of: $0).leavesBytes } ?? false
      if leavesBytes && arguments.last == .u8 { steps.append(CK_OP_cast_i32_u8) }
      append(
        steps: steps, index, through: "i32", phase, flags, dst: dst, sources,
        imm: (immediates.first ?? 0, immediates.count > 1 ? immediates[1] : 0))
    }
  }

  private mutating func append(
    constant value: Double, _ dtype: DType, _ phase: Int, _ flags: UInt8, dst: UInt8
  ) throws {
    switch dtype {
    case .f32: append(CK_OP_const_f32, phase, flags, dst: dst, imm: (Float(value), 0))
    case .bf16, .f16:
      let rounded = NDArray(doubles: [value], type: TensorType(dtype, [])).floats[0]
      append(CK_OP_const_f32, phase, flags, dst: dst, imm: (rounded, 0))
    case .i32, .u8:
      let bits = UInt32(bitPattern: Int32(truncatingIfNeeded: integer(value, dtype)))
      append(CK_OP_const_i32, phase, flags, dst: dst, imm: (Float(bitPattern: bits), 0))
    case .i64:
      let bits = UInt64(bitPattern: integer(value, dtype))
      append(
        CK_OP_const_i64, phase, flags, dst: dst,
        imm: (
          Float(bitPattern: UInt32(truncatingIfNeeded: bits)),
          Float(bitPattern: UInt32(truncatingIfNeeded: bits >> 32))
        ))
    case .bool: append(CK_OP_const_bool, phase, flags, dst: dst, imm: (value != 0 ? 1 : 0, 0))
    case .f64: throw ApusError(.unsupported, "an f64 constant has no kernel", expected: "f32")
    }
  }

  /// The number as an element of an integer type, by the rule of casts.
  private func integer(_ value: Double, _ dtype: DType) -> Int64 {
    Int64(NDArray(doubles: [value], type: TensorType(dtype, [])).integers[0])
  }

  // MARK: The argument block

  private func makeCall() throws -> KernelCall {
    var extents = order.map { loop.domain[$0] }
    var all =
      (0..<operandCount).map { strides(operand: $0) }
      + loop.program.outputs.indices.map { strides(output: $0) }
    var reducedDims = loop.program.reduces ? loop.reducedAxes.count : 0
    var first = reducedDims == 0 ? 0 : firstReduced
    if extents.isEmpty {
      extents = [1]
      all = all.map { _ in [0] }
    }
    if loop.program.reduces && reducedDims == 0 {
      // Folding over no axes, or a scalar's fold: one more axis of extent 1 to fold over.
      first = extents.count
      extents.append(1)
      all = all.map { $0 + [0] }
      reducedDims = 1
    }
    collapse(&extents, &all, &first, &reducedDims)
    let whole = all
    let outer = try OuterAxes(peeling: &extents, &all, &first, reducedDims, of: loop)

    let operands = all.count
    let size = ck_loop_args_bytes(Int32(operands), Int32(instructions.count))
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { block.deallocate() }
    block.initializeMemory(as: UInt8.self, repeating: 0)
    let args = block.baseAddress!.assumingMemoryBound(to: ck_loop_args.self)
    args.pointee.operands = Int32(operands)
    args.pointee.instructions = Int32(instructions.count)
    args.pointee.dims = Int32(extents.count)
    args.pointee.first_reduced = Int32(first)
    args.pointee.reduced_dims = Int32(reducedDims)
    withUnsafeMutableBytes(of: &args.pointee.extent) { bytes in
      let target = bytes.bindMemory(to: Int64.self)
      for (axis, extent) in extents.enumerated() { target[axis] = Int64(extent) }
    }
    let table = ck_loop_operands(args)!
    for (index, strides) in all.enumerated() {
      let dtype =
        index < operandCount
        ? site.operands[index].dtype : types[loop.program.outputs[index - operandCount]].dtype
      table[index].dtype = Int16(dtype.kernelCode)
      withUnsafeMutableBytes(of: &table[index].stride) { bytes in
        let target = bytes.bindMemory(to: Int64.self)
        for (axis, stride) in strides.enumerated() { target[axis] = Int64(stride) }
      }
    }
    let code = ck_loop_instructions(args)!
    for (index, instruction) in instructions.enumerated() { code[index] = instruction }
    guard ck_loop_prepare(args) else {
      throw ApusError(
        .unsupported, "the tile machine refuses a loop over \(loop.domain): \(loop.program.lines)",
        expected: "a program that it can run")
    }

    var call = KernelCall(
      "ck_loop_\(site.isa.name)", entry: KernelEntry(ck_loop(ck_isa(site.isa))),
      bytes: Array(block))
    call.scratchBytesPerThread = ck_loop_scratch_bytes(args)
    call.partition = Self.partition(of: call.arguments, operandCount)
    let start = outer.map { $0.wrap(&call, site.isa) } ?? 0
    let tableOffset = start + MemoryLayout<ck_loop_args>.size
    let dataOffset = MemoryLayout<ck_loop_operand>.offset(of: \.data)!
    for index in 0..<operands {
      let field = tableOffset + index * MemoryLayout<ck_loop_operand>.stride + dataOffset
      call.bind(field, to: index < operandCount ? .operand(index) : .result(index - operandCount))
    }
    call.workspaceBytes = ck_loop_workspace_bytes(args)
    if call.workspaceBytes > 0 {
      call.bind(start + MemoryLayout<ck_loop_args>.offset(of: \.workspace)!, to: .workspace)
    }
    call.inPlace = inPlacePairs(whole)
    call.tile = Tile(rows: Int(args.pointee.tile_rows), columns: Int(args.pointee.tile_columns))
    call.isa = Self.level(site.isa)
    call.flops = Double(loop.domain.count * loop.program.instructions.count)
    call.bytes = Double(
      site.operands.reduce(0) { $0 + $1.byteCount } + site.results.reduce(0) { $0 + $1.byteCount })
    return call
  }

  /// Joins neighbouring axes that every operand walks as one, where there are more than the machine has
  /// dimensions.
  private func collapse(
    _ extents: inout [Int], _ strides: inout [[Int]], _ first: inout Int, _ reduced: inout Int
  ) {
    var axis = extents.count - 2
    while extents.count > Int(CK_LOOP_DIMS) && axis >= 0 {
      let folded = first..<first + reduced
      let joins =
        folded.contains(axis) == folded.contains(axis + 1)
        && strides.allSatisfy { $0[axis] == $0[axis + 1] * extents[axis + 1] }
      if joins {
        if folded.contains(axis) { reduced -= 1 } else if axis < first { first -= 1 }
        extents[axis] *= extents[axis + 1]
        extents.remove(at: axis + 1)
        for index in strides.indices { strides[index].remove(at: axis) }
      }
      axis -= 1
    }
  }

  /// An operand that lies just as a whole-domain output does, and is not loaded after that is stored.
  private func inPlacePairs(_ strides: [[Int]]) -> [(operand: Int, result: Int)] {
    var pairs: [(operand: Int, result: Int)] = []
    for (result, value) in loop.program.outputs.enumerated()
    where types[value].shape == loop.domain {
      for operand in 0..<operandCount
      where strides[operand] == strides[operandCount + result]
        && site.operands[operand].dtype.byteCount == types[value].dtype.byteCount
        && lastLoad[operand, default: 0] <= storePhase(value) && !isColumns
      {
        pairs.append((operand, result))
      }
    }
    return pairs
  }
}
