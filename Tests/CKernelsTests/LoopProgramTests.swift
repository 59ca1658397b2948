// Programs as programs: the largest there may be, random ones, and those that are refused.

import CKernels
import Testing

@Suite struct LoopProgramTests {
  // MARK: - Large

  /// Every slot holds something that is needed after all of them are written.
  @Test(arguments: [CK_F32, CK_I32, CK_I64, CK_BOOL]) func asManySlotsAsThereAre(dtype: ck_dtype) {
    for count in [1, 33, 512, 1100] {
      var program = LoopProgram([count])
      let x = program.load(LoopOperand(dtype, [1], LoopMemoryTests.numbers(dtype, count)))
      let step = ["add_f32", "add_i32", "add_i64", "xor_bool"][
        [CK_F32, CK_I32, CK_I64, CK_BOOL].firstIndex(of: dtype)!]
      var slots = [x]
      while slots.count < Int(CK_LOOP_SLOTS) {
        slots.append(program.apply(step, [slots.last!, slots[slots.count / 2]]))
      }
      for slot in slots.dropFirst() { _ = program.apply(step, [x, slot], into: x) }
      program.store(x, to: LoopOperand(dtype, [1], room: count))
      check(program, "\(CK_LOOP_SLOTS) slots of \(dtype), \(count) elements", teams: [0, 1])
    }
  }

  @Test func asManyInstructionsAsThereAre() {
    var program = LoopProgram([70])
    let x = program.load(LoopOperand([1], (0..<70).map { Float($0) }))
    let one = program.apply("const_f32", [], 1)
    while program.code.count < Int(CK_LOOP_INSTRUCTIONS) - 1 {
      _ = program.apply(program.code.count % 3 == 0 ? "sub_f32" : "add_f32", [x, one], into: x)
    }
    program.store(x, to: LoopOperand(CK_F32, [1], room: 70))
    check(program, "\(CK_LOOP_INSTRUCTIONS) instructions", teams: [0])
  }

  @Test func manyOperands() {
    var program = LoopProgram([45])
    let total = program.load(LoopOperand([1], [Float](repeating: 0, count: 45)))
    let other = program.newSlot()
    for index in 1..<255 {
      let operand = program.add(
        LoopOperand([index % 5 == 0 ? 0 : 1], (0..<45).map { Float($0 + index) }))
      _ = program.load(operand, into: other)
      _ = program.apply("add_f32", [total, other], into: total)
    }
    program.store(total, to: LoopOperand(CK_F32, [1], room: 45))
    check(program, "255 operands and a result", teams: [0, 1])
  }

  @Test func manyResultsInPlaceAndBesides() {
    for count in [16, 33, 1024] {
      var program = LoopProgram([count])
      let x = program.load(LoopOperand([1], (0..<count).map { Float($0) }))
      let y = program.load(LoopOperand([1], (0..<count).map { Float(-$0) }))
      var sum = program.apply("add_f32", [x, y])
      let difference = program.apply("sub_f32", [x, y])
      sum = program.apply("sub_mul_f32", [sum, difference, x])
      var output = LoopOperand(CK_F32, [1], room: 0)
      output.sharedWith = 0
      program.store(difference, to: output)
      output.sharedWith = 1
      program.store(sum, to: output)
      // The same slot to three places.
      program.store(difference, to: LoopOperand(CK_F32, [1], room: count))
      program.store(difference, to: LoopOperand(CK_BF16, [1], room: count))
      program.store(difference, to: LoopOperand(CK_F32, [-1], room: count, origin: count - 1))
      check(program, "results of \(count) elements in place and besides", teams: [0, 1])
    }
  }

  @Test func aLoopOfNothing_writesNothing() {
    var program = LoopProgram([4, 0, 3])
    let x = program.load(LoopOperand(CK_F32, [0, 0, 0], room: 1))
    program.store(x, to: LoopOperand(CK_F32, [0, 0, 0], room: 1))
    check(program, "nothing")
  }

  // MARK: - Random

  /// Programs of exact operations over any domain, any layouts, all classes.
  @Test(arguments: 0..<(TestSize.isReduced ? 60 : 240)) func randomPrograms(seed: Int) {
    var random = TestNumbers(seed: UInt64(seed))
    let dims = Int.random(in: 1...4, using: &random)
    let longest = [700, 40, 11, 6][dims - 1]
    let extents = (0..<dims).map { _ in Int.random(in: 1...longest, using: &random) }
    let isReduction = Bool.random(using: &random)
    let first = Int.random(in: 0..<dims, using: &random)
    let reduced =
      isReduction ? first..<Int.random(in: first + 1...dims, using: &random) : 0..<0
    var program = LoopProgram(extents, reduced: reduced)
    var slots: [ck_class: [UInt8]] = [:]
    var whole: [(UInt8, ck_class)] = []

    for _ in 0..<Int.random(in: 1...4, using: &random) {
      let dtype = ck_dtype.ofLoops.randomElement(using: &random)!
      let slot = program.load(
        LoopMemoryTests.operand(dtype, extents, strides(&random, extents), room: false))
      slots[ck_class_of(dtype), default: []].append(slot)
    }
    for phase in 0..<UInt8(isReduction ? 3 : 1) {
      program.phase = phase
      for _ in 0..<Int.random(in: 1...9, using: &random) {
        let op = Self.exactOps.randomElement(using: &random)!
        let info = LoopOps.describe(op)
        // What differs along a row is there in its own phase only.
        let read = info.operands.compactMap { slots[$0]?.randomElement(using: &random) }
        guard read.count == info.operands.count, program.slots < 50 else { continue }
        slots[info.result, default: []].append(program.apply(op, read, 2, 5))
      }
      guard isReduction else { break }
      var found: [(UInt8, ck_class)] = []
      for op in Self.exactReductions.shuffled(using: &random).prefix(2) where phase < 2 {
        let info = LoopOps.describe(op)
        guard let read = slots[info.result]?.randomElement(using: &random) else { continue }
        found.append((program.apply(op, [read]), info.result))
      }
      store(&random, &program, slots, extents)
      whole += found
      slots = [:]
      for (slot, held) in whole { slots[held, default: []].append(slot) }
      if phase < 2, Bool.random(using: &random) {
        program.phase = phase + 1
        let slot = program.load(
          LoopMemoryTests.operand(CK_F32, extents, strides(&random, extents), room: false))
        slots[CK_CLASS_F32, default: []].append(slot)
      }
    }
    if !isReduction { store(&random, &program, slots, extents) }
    check(
      program, "program \(seed) over \(extents), reduced \(reduced)",
      Tolerance(signedZeros: false), teams: [0, seed % 2 + 1], offset: seed % 16 * 4)
  }

  private static let exactOps = LoopOps.elementwise.filter { name in
    let others = [
      "pow_f32", "atan2_f32", "rsqrt_f32", "sigmoid_f32", "softplus_f32", "gelu_f32", "silu_f32",
      "gelu_tanh_f32", "gelu_derivative_f32", "gelu_tanh_derivative_f32", "silu_derivative_f32",
      "elu_f32", "selu_f32", "erf_f32", "rem_f32",
    ]
    let isFunction = name.contains(/^a?(exp|log|sin|cos|tan)/)
    return !others.contains(name) && !isFunction
  }
  private static let exactReductions = LoopOps.reductions.filter {
    $0 != "reduce_sum_f32" && $0 != "reduce_product_f32"
  }

  /// Dense in some order of the dimensions, or with gaps, or the same along some.
  private func strides(_ random: inout TestNumbers, _ extents: [Int]) -> [Int] {
    var strides = [Int](repeating: 0, count: extents.count), size = 1
    let order =
      Bool.random(using: &random)
      ? Array(extents.indices.reversed()) : extents.indices.shuffled(using: &random)
    for d in order {
      strides[d] = size
      size *= extents[d] + (Int.random(in: 0..<6, using: &random) == 0 ? 1 : 0)
    }
    for d in extents.indices where Int.random(in: 0..<4, using: &random) == 0 { strides[d] = 0 }
    return strides
  }

  private func store(
    _ random: inout TestNumbers, _ program: inout LoopProgram, _ slots: [ck_class: [UInt8]],
    _ extents: [Int]
  ) {
    for held in [CK_CLASS_F32, CK_CLASS_I32, CK_CLASS_I64, CK_CLASS_BOOL] {
      guard let slot = slots[held]?.last else { continue }
      var strides = [Int](repeating: 0, count: extents.count), size = 1
      for d in extents.indices.shuffled(using: &random) {
        strides[d] = size
        size *= extents[d]
      }
      if Bool.random(using: &random) { strides = program.dense }
      program.store(slot, to: LoopOperand(held.dtype, strides, room: program.points))
    }
  }

  // MARK: - Refused

  /// A program that is accepted, to be broken: `y = x + x`, of 20 elements.
  private static func sound() -> LoopProgram {
    var program = LoopProgram([4, 5])
    let x = program.load(LoopOperand(program.dense, [Float](repeating: 1, count: 20)))
    let sum = program.apply("add_f32", [x, x])
    program.store(sum, to: LoopOperand(CK_F32, program.dense, room: 20))
    return program
  }

  private static let malformed: [(String, @Sendable (inout LoopProgram) -> Void)] = [
    ("an opcode beyond the list", { $0.code[1].op = UInt16(CK_OP_COUNT.number) }),
    ("the last opcode there could be", { $0.code[1].op = .max }),
    ("a slot read before it is written", { $0.code[1].b = 7 }),
    ("a store of a slot that nothing wrote", { $0.code[2].a = 9 }),
    ("a slot of another class", { $0.code[1].op = UInt16(CK_OP_add_i32.rawValue) }),
    (
      "a slot that changes its class",
      {
        $0.code[1].op = UInt16(CK_OP_eq_f32.rawValue); $0.code[1].dst = 0
      }
    ),
    ("a store into another class", { $0.operands[1].dtype = CK_I32 }),
    ("a slot too many to write", { $0.code[1].dst = UInt8(CK_LOOP_SLOTS) }),
    ("a slot too many to read", { $0.code[1].b = UInt8(CK_LOOP_SLOTS) }),
    ("a slot too many to store", { $0.code[2].a = UInt8(CK_LOOP_SLOTS) }),
    ("a load of no operand", { $0.code[0].a = 2 }),
    ("a store to no operand", { $0.code[2].b = 2 }),
    ("phases out of order", { $0.code[0].phase = 1 }),
    ("a phase too many", { for i in 0..<3 { $0.code[i].phase = UInt8(CK_LOOP_PHASES) } }),
    (
      "a slot that varies, read in a later phase",
      {
        $0.code[1].phase = 1; $0.code[2].phase = 1
      }
    ),
    ("a reduction in a map", { $0.code[1].op = UInt16(CK_OP_reduce_sum_f32.rawValue) }),
    ("doubles", { $0.operands[0].dtype = CK_F64 }),
    ("a type that there is not", { $0.operands[0].dtype = ck_dtype(rawValue: 8) }),
    ("a place of the domain in floats", { $0.operands[0].indexStart = 0 }),
    ("a store to a place of the domain", { $0.operands[1].indexStart = 0 }),
    ("no dimensions", { $0.extents = [] }),
    ("a dimension too many", { $0.extents = [1, 1, 1, 1, 1, 4, 5] }),
    ("a negative extent", { $0.extents = [4, -5] }),
    ("a reduction beyond the domain", { $0.reduced = 1..<3 }),
    (
      "more instructions than there may be",
      { program in
        program.code += Array(repeating: program.code[2], count: Int(CK_LOOP_INSTRUCTIONS))
      }
    ),
    (
      "more operands than there may be",
      { program in
        program.operands += Array(repeating: program.operands[1], count: 255)
      }
    ),
  ]

  @Test func theProgramThatIsBrokenBelow_isSound() {
    check(Self.sound(), "the sound program")
  }

  @Test(arguments: malformed.indices) func malformedProgramsAreRefused(index: Int) {
    var program = Self.sound()
    Self.malformed[index].1(&program)
    #expect(!LoopBlock(program).isPrepared, "\(Self.malformed[index].0)")
  }

  @Test func malformedReductionsAreRefused() {
    func reduction(_ change: (inout LoopProgram) -> Void) -> LoopProgram {
      var program = LoopProgram([4, 5], reduced: 1..<2)
      let x = program.load(LoopOperand(program.dense, [Float](repeating: 1, count: 20)))
      let sum = program.apply("reduce_sum_f32", [x])
      program.phase = 1
      program.store(sum, to: LoopOperand(CK_F32, [1, 0], room: 4))
      change(&program)
      return program
    }
    #expect(LoopBlock(reduction { _ in }).isPrepared)
    #expect(!LoopBlock(reduction { $0.code[1].dst = $0.code[1].a }).isPrepared, "into itself")
    #expect(!LoopBlock(reduction { $0.code[2].phase = 0 }).isPrepared, "read in its own phase")
    #expect(!LoopBlock(reduction { $0.code[2].a = 0 }).isPrepared, "elements into a row's result")
  }

  @Test func whatABlockOrManyArraysCannotBe_isRefused() {
    var program = Self.sound()
    #expect(!LoopBlock(program).isPreparedAsBlock, "two dimensions")
    program.extents = [1, 4, 5]
    for index in program.operands.indices { program.operands[index].strides = [20, 5, 1] }
    #expect(LoopBlock(program).isPreparedAsBlock)
    program.reduced = 2..<3
    #expect(!LoopBlock(program).isPreparedAsBlock, "a reduction")
    program.reduced = 0..<0
    program.code[2].phase = 1
    #expect(!LoopBlock(program).isPreparedAsBlock, "two phases")

    func isPreparedForMany(_ program: LoopProgram) -> Bool {
      let lead = MemoryLayout<ck_loop_multi_args>.offset(of: \.loop)!
      let block = LoopBlock(program, lead: lead)
      return ck_loop_multi_prepare(block.start.assumingMemoryBound(to: ck_loop_multi_args.self))
    }
    var line = Self.sound()
    #expect(!isPreparedForMany(line), "two dimensions")
    line.extents = [20]
    for index in line.operands.indices { line.operands[index].strides = [1] }
    #expect(isPreparedForMany(line))
    line.reduced = 0..<1
    #expect(!isPreparedForMany(line), "a reduction")
    line.reduced = 0..<0
    line.code[1].b = 7
    #expect(!isPreparedForMany(line), "a slot read before it is written")
  }
}
