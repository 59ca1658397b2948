// Which pairs of instructions ck_loop_prepare makes one of, which it must not, and that results keep
// their bits.

import CKernels
import Testing

@Suite struct SuperinstructionTests {
  /// A map over arrays of floats: operands are inputs, then outputs.
  struct Program: CustomTestStringConvertible {
    var inputs = 0
    var outputs = 0
    var code: [ck_loop_instruction] = []
    /// The opcodes left after joining, loads, constants and stores aside.
    var expected: [String]
    /// Inputs that are one number for all elements.
    var still: Set<Int> = []
    var testDescription: String { expected.joined(separator: " ") }

    init(_ expected: String..., build: (inout Program) -> Void) {
      self.expected = expected
      build(&self)
    }

    mutating func apply(
      _ name: String, _ slots: [UInt8] = [], x: Float = 0, into slot: UInt8, phase: UInt8 = 0,
      repeats: Bool = false
    ) {
      code.append(
        ck_loop_instruction(
          op: UInt16(ck_op_from_name(name)), phase: phase,
          flags: repeats ? UInt8(CK_LOOP_REPEAT) : 0, dst: slot, a: slots.first ?? 0,
          b: slots.count > 1 ? slots[1] : 0, c: slots.count > 2 ? slots[2] : 0, imm: (x, 0)))
    }

    /// The next input in slot `slot`, by default of its own number.
    mutating func load(into slot: UInt8? = nil, phase: UInt8 = 0, repeats: Bool = false) {
      apply(
        "load", [UInt8(inputs)], into: slot ?? UInt8(inputs), phase: phase, repeats: repeats)
      inputs += 1
    }

    /// The next output; inputs must be loaded by now.
    mutating func store(_ slot: UInt8, phase: UInt8 = 0) {
      apply("store", [slot, UInt8(inputs + outputs)], into: 0, phase: phase)
      outputs += 1
    }

    /// Every output by plain float arithmetic, one rounding an instruction.
    func evaluate(_ input: [[Float]]) -> [[Float]] {
      let count = input[0].count
      var slots = [[Float]](repeating: [], count: 64)
      var results: [[Float]] = []
      for at in code {
        let a = slots[Int(at.a)], b = slots[Int(at.b)]
        func each(_ body: (Int) -> Float) -> [Float] { (0..<count).map(body) }
        switch String(cString: ck_op_describe(Int32(at.op)).pointee.name) {
        case "load": slots[Int(at.dst)] = input[Int(at.a)]
        case "store": results.append(a)
        case "const_f32": slots[Int(at.dst)] = each { _ in at.imm.0 }
        case "mul_f32": slots[Int(at.dst)] = each { a[$0] * b[$0] }
        case "add_f32": slots[Int(at.dst)] = each { a[$0] + b[$0] }
        case "sub_f32": slots[Int(at.dst)] = each { a[$0] - b[$0] }
        case "div_f32": slots[Int(at.dst)] = each { a[$0] / b[$0] }
        case "sqrt_f32": slots[Int(at.dst)] = each { a[$0].squareRoot() }
        case "relu_f32": slots[Int(at.dst)] = each { max(a[$0], 0) }
        case let name: Issue.record("\(name) has no model")
        }
      }
      return results
    }
  }

  static let joined = [
    Program("mul_add_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("add_f32", [2, 3], into: 4)
      $0.store(4)
    },
    Program("mul_sub_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("sub_f32", [3, 2], into: 4)
      $0.store(4)
    },
    Program("sub_mul_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("sub_f32", [2, 3], into: 4)
      $0.store(4)
    },
    Program("add_relu_f32") {
      for _ in 0..<2 { $0.load() }
      $0.apply("add_f32", [0, 1], into: 2)
      $0.apply("relu_f32", [2], into: 3)
      $0.store(3)
    },
    Program("mul_add_relu_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("add_f32", [3, 2], into: 4)
      $0.apply("relu_f32", [4], into: 5)
      $0.store(5)
    },
    Program("mul_mul_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("mul_f32", [3, 2], into: 3)
      $0.store(3)
    },
    Program("mul_div_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("div_f32", [3, 2], into: 4)
      $0.store(4)
    },
  ]

  static let left = [
    // The product is read twice.
    Program("mul_f32", "add_f32", "sub_f32") {
      for _ in 0..<2 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 2)
      $0.apply("add_f32", [2, 1], into: 3)
      $0.apply("sub_f32", [2, 3], into: 4)
      $0.store(4)
    },
    // Twice by one instruction.
    Program("mul_f32", "add_f32") {
      for _ in 0..<2 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 2)
      $0.apply("add_f32", [2, 2], into: 3)
      $0.store(3)
    },
    // It is an output.
    Program("mul_f32", "add_f32") {
      for _ in 0..<2 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 2)
      $0.apply("add_f32", [2, 1], into: 3)
      $0.store(2)
      $0.store(3)
    },
    // The sum under a rectifier is an output too.
    Program("mul_add_f32", "relu_f32") {
      for _ in 0..<3 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 3)
      $0.apply("add_f32", [3, 2], into: 4)
      $0.apply("relu_f32", [4], into: 5)
      $0.store(4)
      $0.store(5)
    },
    // A factor is no longer in its slot.
    Program("mul_f32", "sqrt_f32", "add_f32") {
      for _ in 0..<2 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 2)
      $0.apply("sqrt_f32", [1], into: 0)
      $0.apply("add_f32", [2, 0], into: 3)
      $0.store(3)
    },
  ]

  /// The prepared block of a program over `count` elements, as a map or with its rows reduced.
  func prepare(_ program: Program, count: Int, isReduction: Bool = false) -> UnsafeMutableRawPointer
  {
    let operands = program.inputs + program.outputs
    let size = ck_loop_args_bytes(Int32(operands), Int32(program.code.count))
    let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    block.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    let args = block.assumingMemoryBound(to: ck_loop_args.self)
    args.pointee.operands = Int32(operands)
    args.pointee.instructions = Int32(program.code.count)
    args.pointee.dims = 1
    args.pointee.extent.0 = Int64(count)
    args.pointee.reduced_dims = isReduction ? 1 : 0
    for index in 0..<operands {
      let isResult = isReduction && index >= program.inputs
      ck_loop_operands(args)![index].stride.0 = isResult || program.still.contains(index) ? 0 : 1
    }
    for (index, instruction) in program.code.enumerated() {
      ck_loop_instructions(args)![index] = instruction
    }
    #expect(ck_loop_prepare(args))
    return block
  }

  /// What a prepared program does between loads and stores, constants aside.
  func names(_ args: UnsafeMutablePointer<ck_loop_args>) -> [String] {
    let aside = ["load", "store", "const_f32"]
    return (0..<Int(args.pointee.instructions)).map {
      String(cString: ck_op_describe(Int32(ck_loop_instructions(args)![$0].op)).pointee.name)
    }.filter { !aside.contains($0) }
  }

  func check(_ program: Program) {
    for count in [1, 15, 16, 513, 20_000] {
      let block = prepare(program, count: count)
      defer { block.deallocate() }
      let args = block.assumingMemoryBound(to: ck_loop_args.self)
      #expect(names(args).sorted() == program.expected.sorted())
      #expect(Int(args.pointee.joined + args.pointee.instructions) == program.code.count)
      var numbers = TestNumbers(seed: UInt64(count))
      let input = (0..<program.inputs).map { index in
        let values = numbers.floats(count).map { abs($0) + 0.25 }
        return program.still.contains(index) ? values.map { _ in values[0] } : values
      }
      let expected = program.evaluate(input)
      var levels: Int32 = 0
      let rows = ck_loop_kernel_rows(&levels)!
      for level in 0..<Int(levels) where rows[level].isa.rawValue <= ck_isa_best().rawValue {
        let memory = input.map { Guarded($0) } + expected.map { Guarded(Float(7), count: $0.count) }
        for (index, guarded) in memory.enumerated() {
          ck_loop_operands(args)![index].data = UnsafeMutableRawPointer(guarded.pointer)
        }
        let scratch = UnsafeMutableRawPointer.allocate(
          byteCount: ck_loop_scratch_bytes(args), alignment: 64)
        defer { scratch.deallocate() }
        var thread = ck_thread(
          index: 0, count: 1, team: nil, scratch: scratch,
          scratch_bytes: ck_loop_scratch_bytes(args))
        rows[level].kernel(args, &thread)
        for (index, result) in expected.enumerated() {
          #expect(memory[program.inputs + index].array == result, "output \(index) of \(count)")
        }
        for guarded in memory { #expect(guarded.isIntact) }
      }
    }
  }

  @Test(arguments: joined)
  func pairBecomesOneInstruction_withTheSameBits(program: Program) { check(program) }

  @Test(arguments: left)
  func pairStays_whereAnotherReadsItOrAFactorIsGone(program: Program) { check(program) }

  @Test func productThatALaterPhaseRepeats_stays() {
    let program = Program(
      "mul_f32", "add_f32", "reduce_sum_f32", "mul_f32", "add_f32", "sub_f32", "reduce_max_f32"
    ) {
      for _ in 0..<2 { $0.load() }
      $0.apply("mul_f32", [0, 1], into: 2)
      $0.apply("add_f32", [2, 1], into: 3)
      $0.apply("reduce_sum_f32", [3], into: 4)
      $0.inputs = 0
      for _ in 0..<2 { $0.load(phase: 1, repeats: true) }
      $0.apply("mul_f32", [0, 1], into: 2, phase: 1, repeats: true)
      $0.apply("add_f32", [2, 1], into: 3, phase: 1, repeats: true)
      $0.apply("sub_f32", [3, 4], into: 5, phase: 1)
      $0.apply("reduce_max_f32", [5], into: 6, phase: 1)
      $0.store(6, phase: 2)
    }
    let block = prepare(program, count: 700, isReduction: true)
    defer { block.deallocate() }
    let args = block.assumingMemoryBound(to: ck_loop_args.self)
    #expect(names(args) == program.expected)
    #expect(args.pointee.joined == 0)
  }
}
