// The tile machine in other roles: piece by piece on blocks of a matrix product's result, and one
// program over many arrays.

import CKernels
import Testing

@Suite struct LoopBlockTests {
  // MARK: - Blocks

  /// Calls to a level's block function, as one kernel.
  private struct Blocks {
    let function: ck_loop_block_fn
    let args: UnsafePointer<ck_loop_args>
    let extents: (batch: Int, rows: Int, columns: Int)
    let piece: (rows: Int, columns: Int)
    /// The product, batch after batch, which operand 0 is read from where it is given.
    let tile: UnsafePointer<Float>?
  }

  private static let runBlocks: ck_kernel = { args, thread in
    let all = args!.assumingMemoryBound(to: Blocks.self).pointee
    let (rows, columns) = (all.extents.rows, all.extents.columns)
    for batch in 0..<all.extents.batch {
      for row in stride(from: 0, to: rows, by: all.piece.rows) {
        for column in stride(from: 0, to: columns, by: all.piece.columns) {
          all.function(
            all.args, thread!.pointee.scratch, Int64(batch), Int64(row),
            Int64(min(all.piece.rows, rows - row)), Int64(column),
            Int64(min(all.piece.columns, columns - column)),
            all.tile.map { $0 + (batch * rows + row) * columns + column }, Int64(columns))
        }
      }
    }
  }

  /// Two results of a product and of operands of every kind.
  private static func epilogue(_ extents: [Int], product: [Float]) -> LoopProgram {
    var program = LoopProgram(extents)
    let (rows, columns) = (extents[1], extents[2])
    func operand(_ dtype: ck_dtype, _ strides: [Int]) -> LoopOperand {
      LoopMemoryTests.operand(dtype, extents, strides, room: false)
    }
    let x = program.load(LoopOperand(program.dense, product))
    let bias = program.load(operand(CK_F32, [0, 0, 1]))
    let perRow = program.load(operand(CK_BF16, [0, 1, 0]))
    let scale = program.load(operand(CK_F32, [0, 0, 0]))
    let turned = program.load(operand(CK_F32, [rows * columns, 1, rows]))
    let mask = program.load(operand(CK_BOOL, [0, columns, 1]))
    let wide = program.load(operand(CK_I64, [columns, 0, 1]))
    let biased = program.apply("add_f32", [x, bias])
    let scaled = program.apply("mul_add_f32", [biased, scale, perRow])
    let kept = program.apply("select_f32", [mask, scaled, turned])
    let sum = program.apply("add_relu_f32", [kept, program.apply("cast_i64_f32", [wide])])
    program.store(kept, to: LoopOperand(CK_F16, program.dense, room: program.points))
    program.store(
      sum,
      to: LoopOperand(
        CK_F32, [rows * (columns + 3), columns + 3, 1],
        room: extents[0] * rows * (columns + 3)))
    program.store(
      program.apply("not_bool", [mask]),
      to: LoopOperand(CK_BOOL, program.dense, room: program.points))
    return program
  }

  @Test(arguments: [
    [1, 1, 1], [2, 3, 17], [1, 15, 33], [3, 30, 40], [1, 4, 1100], [2, 600, 3],
  ])
  func blocksOfAnySize(extents: [Int]) {
    let points = extents.reduce(1, *)
    let product = Guarded((0..<points).map { Float($0 % 509) / 4 - 60 }, offset: 5)
    let program = Self.epilogue(extents, product: product.array)
    let block = LoopBlock(program)
    guard block.isPreparedAsBlock else {
      Issue.record("ck_loop_prepare_block refuses it")
      return
    }
    let pieces = [(1, 16), (14, 32), (5, 7), (extents[1], extents[2]), (1, extents[2])]
    var same = SameBytes()
    for row in loopRows {
      for (isTile, piece) in [false, true].flatMap({ isTile in pieces.map { (isTile, $0) } }) {
        let name = "\(row.level), blocks of \(piece), tile \(isTile)"
        let memory = LoopMemory(program, offset: 4)
        memory.bind(block.args)
        // With a tile, operand 0 has no memory of its own.
        if isTile { ck_loop_operands(block.args)![0].data = nil }
        var calls = Blocks(
          function: row.block, args: block.args, extents: (extents[0], extents[1], extents[2]),
          piece: piece, tile: isTile ? UnsafePointer(product.pointer) : nil)
        runGuarded(
          Self.runBlocks, &calls, scratch: ck_loop_scratch_bytes(block.args), team: 0, name,
          #_sourceLocation)
        memory.check(name, #_sourceLocation)
        same.expect(
          Dictionary(uniqueKeysWithValues: program.outputs.map { ($0, memory.bytes($0)) }), name,
          program, #_sourceLocation)
      }
    }
    #expect(product.isIntact)
    expect(same.results, matchModelOf: program, "blocks of \(extents)")
  }

  @Test(arguments: [[1, 3, 5], [1, 29, 65], [3, 14, 40], [1, 150, 530]])
  func programsOnAProductsBlocks(extents: [Int]) {
    let (batch, rows, columns) = (extents[0], extents[1], extents[2]), depth = 9
    // Small integers: the product is exact in any order.
    let a = Guarded((0..<batch * rows * depth).map { Float($0 * 7 % 13) - 6 })
    let b = Guarded((0..<batch * depth * columns).map { Float($0 * 5 % 11) - 5 })
    var product: [Float] = []
    for t in 0..<batch {
      for i in 0..<rows {
        for j in 0..<columns {
          var sum: Float = 0
          for k in 0..<depth {
            sum += a.pointer[(t * rows + i) * depth + k] * b.pointer[(t * depth + k) * columns + j]
          }
          product.append(sum)
        }
      }
    }
    let program = Self.epilogue(extents, product: product)
    let lead = (MemoryLayout<ck_gemm_args>.size + 63) & ~63
    let block = LoopBlock(program, lead: lead)
    guard block.isPreparedAsBlock else {
      Issue.record("ck_loop_prepare_block refuses it")
      return
    }
    let args = block.start.assumingMemoryBound(to: ck_gemm_args.self)
    args.pointee.a = UnsafePointer(a.pointer)
    args.pointee.b = UnsafePointer(b.pointer)
    (args.pointee.M, args.pointee.N, args.pointee.K) = (Int64(rows), Int64(columns), Int64(depth))
    (args.pointee.a_row, args.pointee.a_col) = (Int64(depth), 1)
    (args.pointee.b_row, args.pointee.b_col) = (Int64(columns), 1)
    args.pointee.c_row = Int64(columns)
    args.pointee.batch = (1, 1, 1, 1, 1, Int64(batch))
    args.pointee.a_batch.5 = Int64(rows * depth)
    args.pointee.b_batch.5 = Int64(depth * columns)
    args.pointee.alpha = 1
    args.pointee.epilogue.program = Int64(lead)
    var same = SameBytes()
    for row in loopRows {
      for team in TestTeams.sizes.indices {
        let name = "\(row.level) on \(TestTeams.sizes[team]) threads, product \(extents)"
        let memory = LoopMemory(program, offset: 4)
        memory.bind(block.args)
        ck_loop_operands(block.args)![0].data = nil
        runGuarded(
          ck_gemm(row.isa), args, scratch: ck_gemm_scratch_bytes(args, row.isa), team: team, name,
          #_sourceLocation)
        memory.check(name, #_sourceLocation)
        same.expect(
          Dictionary(uniqueKeysWithValues: program.outputs.map { ($0, memory.bytes($0)) }), name,
          program, #_sourceLocation)
      }
    }
    expect(same.results, matchModelOf: program, "product \(extents)")
  }

  // MARK: - Many arrays

  /// The program over one array of a list: its own memory, the same code.
  typealias Segment = @Sendable (_ index: Int, _ count: Int) -> LoopProgram

  /// A step of SGD with momentum, in place; the learning rate is one number for all arrays.
  static let momentum: Segment = { index, count in
    var program = LoopProgram([count])
    var random = TestNumbers(seed: UInt64(index * 5000 + count))
    let weights = program.add(LoopOperand([1], random.floats(count)))
    let velocity = program.add(LoopOperand([1], random.floats(count)))
    let gradient = program.add(
      LoopOperand(CK_BF16, [1], random.floats(count).map { .real(Double($0)) }))
    let rate = program.add(LoopOperand([0], [0.125]))
    let decay = program.apply("const_f32", [], 0.75)
    let v = program.apply(
      "mul_add_f32", [program.load(velocity), decay, program.load(gradient)])
    let w = program.apply("sub_mul_f32", [program.load(weights), program.load(rate), v])
    var output = LoopOperand(CK_F32, [1], room: 0)
    output.sharedWith = velocity
    program.store(v, to: output)
    output.sharedWith = weights
    program.store(w, to: output)
    return program
  }

  /// Of every stored type, into arrays of their own.
  static let conversions: Segment = { _, count in
    var program = LoopProgram([count])
    for dtype in ck_dtype.ofLoops {
      let x = program.load(LoopOperand(dtype, [1], LoopMemoryTests.numbers(dtype, count)))
      program.store(
        LoopMemoryTests.changed(dtype, x, &program), to: LoopOperand(dtype, [1], room: count))
    }
    return program
  }

  static let lists: [[Int]] = [
    [], [0], [1], [0, 0, 5, 0], [1, 15, 16, 17, 33, 0, 511, 512, 513, 1000, 4097, 0, 3],
    [Int](repeating: 7, count: 200), [70_001, 1, 2], [512, 512, 1024, 0],
  ]

  @Test(arguments: lists) func stepsOverManyArrays(counts: [Int]) throws {
    try check(counts, Self.momentum, "momentum")
  }

  @Test(arguments: lists.dropLast(2)) func conversionsOfManyArrays(counts: [Int]) throws {
    try check(counts, Self.conversions, "conversions")
  }

  private func check(_ counts: [Int], _ segment: Segment, _ what: String) throws {
    let programs = counts.enumerated().map { segment($0, $1) }
    let first = programs.first ?? segment(0, 0)
    let operands = Int32(first.operands.count), instructions = Int32(first.code.count)
    let lead = try #require(MemoryLayout<ck_loop_multi_args>.offset(of: \.loop))
    let segmentBytes = ck_loop_segment_bytes(operands)
    let block = LoopBlock(first, lead: lead, trail: (counts.count + 1) * segmentBytes)
    let args = block.start.assumingMemoryBound(to: ck_loop_multi_args.self)
    args.pointee.segments = Int32(counts.count)
    func at(_ index: Int) -> UnsafeMutableRawPointer {
      block.start + ck_loop_segment_offset(operands, instructions, Int32(index))
    }
    for (index, count) in counts.enumerated() {
      at(index).assumingMemoryBound(to: ck_loop_segment.self).pointee.count = Int64(count)
    }
    try #require(ck_loop_multi_prepare(args))
    var same = programs.map { _ in SameBytes() }
    for row in loopRows {
      for team in TestTeams.sizes.indices {
        let name = "\(row.level) on \(TestTeams.sizes[team]) threads, \(what) over \(counts)"
        let memories = programs.enumerated().map { LoopMemory($1, offset: $0 * 12) }
        for (index, memory) in memories.enumerated() {
          let pointers = (at(index) + MemoryLayout<ck_loop_segment>.size)
            .assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
          for operand in 0..<Int(operands) {
            if first.operands[operand].strides == [0] {
              // Shared: at the operand itself, and nowhere else.
              ck_loop_operands(block.args)![operand].data = memories[0].origin(operand)
              pointers[operand] = nil
            } else {
              pointers[operand] = memory.origin(operand)
            }
          }
        }
        runGuarded(
          row.multi, args, scratch: ck_loop_multi_scratch_bytes(args), team: team, name,
          #_sourceLocation)
        for (index, memory) in memories.enumerated() {
          memory.check(name, #_sourceLocation)
          same[index].expect(
            Dictionary(
              programs[index].outputs.map { ($0, memory.bytes($0)) }, uniquingKeysWith: { $1 }),
            name, programs[index], #_sourceLocation)
        }
      }
    }
    for (index, program) in programs.enumerated() {
      expect(same[index].results, matchModelOf: program, "\(what): array \(index) of \(counts)")
    }
  }
}
