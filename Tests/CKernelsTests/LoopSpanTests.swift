// Loops of one operation from memory to memory, which a thread does without tiles: which programs are
// such, and that the bits are those of the same loop by tiles.

import CKernels
import Testing

@Suite struct LoopSpanTests {
  /// `op` of arrays of `count` floats; `changing` sees the program before it is used.
  private static func program(
    _ op: String, count: Int, changing: (inout LoopProgram) -> Void = { _ in }
  )
    -> LoopProgram
  {
    let arrays = LoopOps.describe(op).operands.enumerated().map {
      LoopOpTests.ordinary($1, count, seed: UInt64($0 + 11))
    }
    var program = LoopOpTests.program(op, arrays, count: count)
    changing(&program)
    return program
  }

  private static func isSpan(_ program: LoopProgram) -> Bool {
    let block = LoopBlock(program)
    #expect(block.isPrepared)
    return block.args.pointee.spans != 0
  }

  @Test(arguments: [
    "add_f32", "exp_f32", "mul_add_relu_f32", "add_i32", "add_i64", "scale_add_f32",
  ])
  func oneOperationOnDenseArrays_isASpan(op: String) {
    #expect(Self.isSpan(Self.program(op, count: 5000)))
  }

  @Test func scalarsAndDimensionsThatJoin_leaveASpan() {
    let arrays = [LoopOpTests.ordinary(CK_CLASS_F32, 600, seed: 1)]
    #expect(Self.isSpan(LoopOpTests.program("mul_f32", arrays + arrays, count: 600, scalars: 2)))
    var matrix = LoopProgram([20, 30])
    let x = matrix.load(LoopOperand(CK_F32, [30, 1], arrays[0]))
    matrix.store(matrix.apply("exp_f32", [x]), to: LoopOperand(CK_F32, [30, 1], room: 600))
    #expect(Self.isSpan(matrix))
  }

  @Test func whatNeedsASlot_isNoSpan() {
    let numbers = LoopOpTests.ordinary(CK_CLASS_F32, 600, seed: 1)
    func program(
      _ source: LoopOperand, _ extents: [Int] = [600], ops: [String] = ["exp_f32"],
      to dtype: ck_dtype = CK_F32, stores: Int = 1
    ) -> LoopProgram {
      var program = LoopProgram(extents)
      var value = program.load(source)
      for op in ops { value = program.apply(op, [value]) }
      for _ in 0..<stores {
        program.store(value, to: LoopOperand(dtype, program.dense, room: program.points))
      }
      return program
    }
    let dense = LoopOperand(CK_F32, [1], numbers)
    #expect(Self.isSpan(program(dense)))
    #expect(!Self.isSpan(program(dense, ops: ["exp_f32", "sqrt_f32"])))
    #expect(!Self.isSpan(program(dense, ops: [])))
    #expect(!Self.isSpan(program(dense, stores: 2)))
    #expect(!Self.isSpan(program(dense, to: CK_BF16)))
    #expect(!Self.isSpan(program(dense, ops: ["is_nan_f32"], to: CK_BOOL)))
    #expect(!Self.isSpan(program(LoopOperand(CK_F32, [2], numbers), [300])))
    #expect(!Self.isSpan(program(LoopOperand(CK_BF16, [1], numbers))))
    #expect(!Self.isSpan(program(LoopOperand(CK_F32, [0, 1], numbers), [4, 600])))
    #expect(!Self.isSpan(program(.index(CK_I32, [1], start: 3), ops: ["neg_i32"], to: CK_I32)))
  }

  /// Several tiles for every thread of every team, with every kind of rest after the last vector.
  @Test(arguments: ["add_f32", "exp_f32", "mul_add_relu_f32", "add_i64", "scale_add_f32"])
  func bitsAreThoseOfTheTiles(op: String) {
    for count in [2, 15, 16, 17, 511, 8192] + (0..<16).map({ 16 * 512 * 3 - 7 + $0 }) {
      for inPlace in [false, true] {
        let program = Self.program(op, count: count) {
          if inPlace { $0.operands[$0.operands.count - 1].sharedWith = 0 }
        }
        let name = "\(op) of \(count)\(inPlace ? " in place" : "")"
        let spans = LoopBlock(program), tiles = LoopBlock(program)
        #expect(spans.isPrepared && tiles.isPrepared && spans.args.pointee.spans != 0)
        tiles.args.pointee.spans = 0
        for row in loopRows {
          let expected = run(
            program, tiles, row, team: 0, offset: 4, "\(name) by tiles", #_sourceLocation)
          for team in TestTeams.sizes.indices {
            let got = run(program, spans, row, team: team, offset: 4, name, #_sourceLocation)
            #expect(
              got == expected, "\(name), \(row.level) on \(TestTeams.sizes[team]) threads")
          }
        }
      }
    }
  }

  /// Every operand is read before the result is written where it lay.
  @Test(arguments: [1, 2]) func anyOperandsMemory_canTakeTheResult(operand: Int) {
    let count = 9001
    let apart = Self.program("mul_add_relu_f32", count: count)
    let shared = Self.program("mul_add_relu_f32", count: count) {
      $0.operands[$0.operands.count - 1].sharedWith = operand
    }
    #expect(
      runEverywhere(shared, "on operand \(operand)")[3] == runEverywhere(apart, "apart")[3])
  }
}
