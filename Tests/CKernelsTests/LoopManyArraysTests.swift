// Programs of the tile machine over many arrays: what optimisers of a user's own become.

import CKernels
import Testing

@Suite struct LoopManyArraysTests {
  typealias Program = SuperinstructionTests.Program

  /// Adam as a user would write it, of parameter, gradient and both moments in slots 0 to 3 and the
  /// constants in 4 to 9.
  static let adam = Program(
    "scale_add_f32", "scale_add_square_f32", "sqrt_mul_add_f32", "mul_div_f32", "sub_f32"
  ) {
    for _ in 0..<4 { $0.load() }
    for (slot, value) in zip(4..., [0.9, 0.1, 0.999, 0.001, 1e-8, 0.03] as [Float]) {
      $0.apply("const_f32", x: value, into: UInt8(slot))
    }
    $0.apply("mul_f32", [2, 4], into: 10)
    $0.apply("mul_f32", [1, 5], into: 11)
    $0.apply("add_f32", [10, 11], into: 12)
    $0.apply("mul_f32", [3, 6], into: 10)
    $0.apply("mul_f32", [1, 1], into: 11)
    $0.apply("mul_f32", [11, 7], into: 11)
    $0.apply("add_f32", [10, 11], into: 13)
    $0.apply("sqrt_f32", [13], into: 10)
    $0.apply("mul_f32", [10, 9], into: 10)
    $0.apply("add_f32", [10, 8], into: 10)
    $0.apply("mul_f32", [12, 9], into: 11)
    $0.apply("div_f32", [11, 10], into: 11)
    $0.apply("sub_f32", [0, 11], into: 14)
    for slot: UInt8 in [14, 12, 13] { $0.store(slot) }
  }

  @Test func anUpdateInPlainInstructions_keepsItsBits_whenTheyAreJoined() {
    SuperinstructionTests().check(Self.adam)
  }

  /// A program over arrays of the given sizes, prepared and bound to numbers.
  final class ManyArrays {
    let block: UnsafeMutableRawPointer
    let args: UnsafeMutablePointer<ck_loop_multi_args>
    let loop: UnsafeMutablePointer<ck_loop_args>
    let memory: [[Guarded<Float>]]

    init(_ program: Program, counts: [Int]) {
      let operands = program.inputs + program.outputs
      let codeCount = Int32(program.code.count)
      let size = ck_loop_segment_offset(Int32(operands), codeCount, Int32(counts.count))
      block = .allocate(byteCount: size, alignment: 64)
      block.initializeMemory(as: UInt8.self, repeating: 0, count: size)
      args = block.assumingMemoryBound(to: ck_loop_multi_args.self)
      args.pointee.segments = Int32(counts.count)
      args.pointee.loop.operands = Int32(operands)
      args.pointee.loop.instructions = codeCount
      args.pointee.loop.dims = 1
      loop = (block + MemoryLayout<ck_loop_multi_args>.offset(of: \.loop)!)
        .assumingMemoryBound(to: ck_loop_args.self)
      for index in 0..<operands { ck_loop_operands(loop)![index].stride.0 = 1 }
      for (index, instruction) in program.code.enumerated() {
        ck_loop_instructions(loop)![index] = instruction
      }
      var numbers = TestNumbers(seed: 3)
      memory = counts.map { count in
        (0..<operands).map { _ in Guarded(numbers.floats(count).map { abs($0) + 0.25 }) }
      }
      for (index, count) in counts.enumerated() {
        let segment = block + ck_loop_segment_offset(Int32(operands), codeCount, Int32(index))
        segment.storeBytes(of: Int64(count), as: Int64.self)
        let data = segment + MemoryLayout<ck_loop_segment>.size
        for operand in 0..<operands {
          data.storeBytes(
            of: UnsafeRawPointer(memory[index][operand].pointer), toByteOffset: 8 * operand,
            as: UnsafeRawPointer.self)
        }
      }
      #expect(ck_loop_multi_prepare(args))
    }

    deinit { block.deallocate() }

    func run(thread index: Int32, of count: Int32) {
      let size = ck_loop_multi_scratch_bytes(args)
      let scratch = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
      defer { scratch.deallocate() }
      var thread = ck_thread(
        index: index, count: count, team: nil, scratch: scratch, scratch_bytes: size)
      ck_loop_multi(ck_isa_best())!(args, &thread)
    }
  }

  @Test(arguments: [SuperinstructionTests.joined[0], adam], [1, 3] as [Int32])
  func manyArrays_areFoundBehindAShorterProgram(program: Program, threads: Int32) {
    for counts in [[5, 0, 3000, 17], [70_000, 3, 40_000]] {
      let arrays = ManyArrays(program, counts: counts)
      #expect(arrays.loop.pointee.joined > 0)
      for index in 0..<threads { arrays.run(thread: index, of: threads) }
      for segment in arrays.memory {
        let expected = program.evaluate(segment.prefix(program.inputs).map(\.array))
        for (output, result) in expected.enumerated() {
          #expect(segment[program.inputs + output].array == result)
        }
        for guarded in segment { #expect(guarded.isIntact) }
      }
    }
  }

  /// Also where tiles are larger than CK_LOOP_TILE.
  @Test func regionOfAThread_isWhatItWrites() {
    let program = SuperinstructionTests.joined[0]
    let counts = [70_000, 3, 40_000]
    for index in 0..<Int32(3) {
      let arrays = ManyArrays(program, counts: counts)
      #expect(arrays.loop.pointee.tile_columns > CK_LOOP_TILE)
      let before = arrays.memory.map { $0[program.inputs].array }
      arrays.run(thread: index, of: 3)
      for segment in counts.indices {
        let after = arrays.memory[segment][program.inputs].array
        let changed = after.indices.filter { after[$0] != before[segment][$0] }
        let region = ck_loop_multi_region(arrays.args, Int32(segment), index, 3)
        #expect(changed.first.map { $0 >= Int(region.start) } ?? true)
        #expect(changed.last.map { $0 < Int(region.start + region.width) } ?? true)
        #expect(changed.count * 100 >= Int(region.width) * 99)
      }
    }
  }
}
