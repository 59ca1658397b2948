// Matrix products with a program on their blocks: the bits of the product and of the program run one
// after the other, at every level and on every team, and nothing written but the program's results.

import CKernels
import Testing

@Suite struct GemmEpilogueTests {
  /// `D = relu(A B + R)` for each matrix, R one matrix for all; D's rows have a gap.
  private struct Problem {
    let M: Int, N: Int, K: Int, matrices: Int
    let isPacked: Bool
    let precision: ck_gemm_precision
    let gap = 3
    let a: [Float], b: [Float], residual: [Float]

    init(
      _ M: Int, _ N: Int, _ K: Int, matrices: Int = 1, isPacked: Bool = false,
      precision: ck_gemm_precision = CK_GEMM_HIGHEST
    ) {
      (self.M, self.N, self.K, self.matrices, self.isPacked) = (M, N, K, matrices, isPacked)
      self.precision = precision
      func numbers(_ count: Int, _ seed: Int) -> [Float] {
        (0..<count).map { Float(($0 &* 7919 &+ seed &* 104_729) % 1009) / 512 - 1 }
      }
      a = numbers(M * K * matrices, 1)
      b = numbers(K * N, 2)
      residual = numbers(M * N, 3)
    }

    static let canary: Float = -9876.5

    /// The product alone, dense, by the reference.
    func product() throws -> [Float] {
      try run(CK_ISA_REF, threads: 1, isFused: false)
    }

    /// D with its gaps, or the product.
    func run(
      _ isa: ck_isa, threads: Int, isFused: Bool, kernel: ck_kernel? = nil
    ) throws -> [Float] {
      let width = isFused ? N + gap : N
      var result = [Float](repeating: Self.canary, count: matrices * M * width)
      let loopBytes = ck_loop_args_bytes(3, 5)
      let offset = (MemoryLayout<ck_gemm_args>.size + 63) & ~63
      let block = UnsafeMutableRawBufferPointer.allocate(
        byteCount: offset + loopBytes, alignment: 64)
      block.initializeMemory(as: UInt8.self, repeating: 0)
      let packed = UnsafeMutableRawBufferPointer.allocate(
        byteCount: packedBytes(isa), alignment: 64)
      let team = try #require(ck_team_create(Int32(threads), 64))
      defer {
        block.deallocate()
        packed.deallocate()
        ck_team_destroy(team)
      }
      let args = block.baseAddress!.assumingMemoryBound(to: ck_gemm_args.self)
      try a.withUnsafeBufferPointer { a in
        try b.withUnsafeBufferPointer { b in
          try residual.withUnsafeBufferPointer { residual in
            try result.withUnsafeMutableBufferPointer { result in
              fill(args, a.baseAddress!, b.baseAddress!)
              if isFused {
                args.pointee.epilogue.program = Int64(offset)
                let loop = (block.baseAddress! + offset).assumingMemoryBound(to: ck_loop_args.self)
                let residual = UnsafeMutableRawPointer(mutating: residual.baseAddress!)
                #expect(write(loop, residual, result.baseAddress!, width))
              } else {
                args.pointee.c = result.baseAddress!
              }
              if isPacked { pack(args, packed, isa, team) }
              try #require(ck_team_reserve_scratch(team, ck_gemm_scratch_bytes(args, isa)))
              var step = ck_step(
                kernel: kernel ?? ck_gemm(isa), args: args, threads: 0, barrier: 1, condition: nil)
              ck_run(team, &step, 1)
            }
          }
        }
      }
      return result
    }

    private func fill(
      _ args: UnsafeMutablePointer<ck_gemm_args>, _ a: UnsafePointer<Float>,
      _ b: UnsafePointer<Float>
    ) {
      args.pointee.a = a
      args.pointee.b = b
      (args.pointee.M, args.pointee.N, args.pointee.K) = (Int64(M), Int64(N), Int64(K))
      (args.pointee.a_row, args.pointee.a_col) = (Int64(K), 1)
      (args.pointee.b_row, args.pointee.b_col) = (1, Int64(K))
      args.pointee.c_row = Int64(N)
      args.pointee.batch = (1, 1, 1, 1, Int64(matrices), 1)
      args.pointee.a_batch.4 = Int64(M * K)
      args.pointee.c_batch.4 = Int64(M * N)
      args.pointee.alpha = 1
      args.pointee.precision = Int16(precision.rawValue)
    }

    private func packedBytes(_ isa: ck_isa) -> Int {
      var pack = ck_gemm_pack_args()
      (pack.K, pack.N, pack.precision) = (Int64(K), Int64(N), Int16(precision.rawValue))
      return ck_gemm_packed_bytes(&pack, isa)
    }

    private func pack(
      _ args: UnsafeMutablePointer<ck_gemm_args>, _ packed: UnsafeMutableRawBufferPointer,
      _ isa: ck_isa, _ team: OpaquePointer
    ) {
      var pack = ck_gemm_pack_args()
      pack.packed = packed.baseAddress!.assumingMemoryBound(to: Float.self)
      pack.b = args.pointee.b
      (pack.K, pack.N, pack.b_row, pack.b_col) = (Int64(K), Int64(N), 1, Int64(K))
      pack.count = 1
      pack.precision = Int16(precision.rawValue)
      withUnsafePointer(to: &pack) { pack in
        var step = ck_step(
          kernel: ck_gemm_pack_b(isa), args: pack, threads: 0, barrier: 1, condition: nil)
        ck_run(team, &step, 1)
      }
      args.pointee.b = UnsafePointer(pack.packed)
      args.pointee.b_packed = 1
    }

    /// The program `relu(a0 + a1)` into operand 2.
    private func write(
      _ loop: UnsafeMutablePointer<ck_loop_args>, _ residual: UnsafeMutableRawPointer,
      _ result: UnsafeMutablePointer<Float>, _ width: Int
    ) -> Bool {
      loop.pointee.operands = 3
      loop.pointee.instructions = 5
      loop.pointee.dims = 3
      let operands = ck_loop_operands(loop)!
      operands[0].stride = (Int64(M * N), Int64(N), 1, 0, 0, 0)
      operands[1].data = residual
      operands[1].stride = (0, Int64(N), 1, 0, 0, 0)
      operands[2].data = UnsafeMutableRawPointer(result)
      operands[2].stride = (Int64(M * width), Int64(width), 1, 0, 0, 0)
      let code = ck_loop_instructions(loop)!
      func instruction(_ op: ck_op, dst: UInt8, a: UInt8, b: UInt8) -> ck_loop_instruction {
        ck_loop_instruction(
          op: UInt16(op.rawValue), phase: 0, flags: 0, dst: dst, a: a, b: b, c: 0, imm: (0, 0))
      }
      code[0] = instruction(CK_OP_load, dst: 0, a: 0, b: 0)
      code[1] = instruction(CK_OP_load, dst: 1, a: 1, b: 0)
      code[2] = instruction(CK_OP_add_f32, dst: 2, a: 0, b: 1)
      code[3] = instruction(CK_OP_relu_f32, dst: 3, a: 2, b: 0)
      code[4] = instruction(CK_OP_store, dst: 0, a: 3, b: 2)
      return ck_loop_prepare_block(loop)
    }
  }

  private static let levels = [CK_ISA_REF, CK_ISA_AVX2, CK_ISA_AVX512].filter {
    $0.rawValue <= ck_isa_best().rawValue
  }

  /// D with its gaps, from the product.
  private func expected(_ problem: Problem, _ product: [Float]) -> [Float] {
    let (M, N, width) = (problem.M, problem.N, problem.N + problem.gap)
    var expected = [Float](repeating: Problem.canary, count: problem.matrices * M * width)
    for row in 0..<problem.matrices * M {
      for j in 0..<N {
        expected[row * width + j] = max(0, product[row * N + j] + problem.residual[row % M * N + j])
      }
    }
    return expected
  }

  private func expectFusedIsProductThenProgram(_ problem: Problem) throws {
    let expected = expected(problem, try problem.product())
    let (M, N) = (problem.M, problem.N)
    for isa in Self.levels {
      for threads in [1, 2, 7] {
        let result = try problem.run(isa, threads: threads, isFused: true)
        #expect(
          result == expected,
          "\(M)x\(N)x\(problem.K), \(String(cString: ck_isa_name(isa))), \(threads) threads")
      }
    }
  }

  @Test func smallProductsGoThroughTheProgram() throws {
    for (M, N, K) in [(1, 1, 1), (3, 5, 7), (14, 32, 9), (15, 33, 8), (29, 65, 40), (7, 10, 0)] {
      try expectFusedIsProductThenProgram(Problem(M, N, K))
    }
  }

  @Test func productsOfManyBlocksGoThroughTheProgram() throws {
    for (M, N, K) in [(150, 40, 30), (20, 530, 12), (290, 1040, 20), (145, 70, 1030)] {
      try expectFusedIsProductThenProgram(Problem(M, N, K))
    }
  }

  /// The bf16 pairs and the emulated tiles: their own product, then the program.
  @Test(.enabled(if: ck_isa_best().rawValue >= CK_ISA_AVX512.rawValue))
  func roundedAndSplitProductsGoThroughTheProgram() throws {
    var count = 0
    let table = UnsafeBufferPointer(start: ck_gemm_rows(&count), count: count)
    let rows = table.filter {
      $0.emulated
        || $0.isa == CK_ISA_AVX512BF16 && $0.isa.rawValue <= ck_isa_best().rawValue
    }
    for precision in [CK_GEMM_HIGHEST, CK_GEMM_HIGH, CK_GEMM_MIXED] {
      for (M, N, K, isPacked) in [(33, 40, 35, false), (210, 560, 64, true), (40, 70, 1100, false)]
      {
        let problem = Problem(M, N, K, matrices: 2, isPacked: isPacked, precision: precision)
        for row in rows {
          let product = try problem.run(row.isa, threads: 1, isFused: false, kernel: row.kernel)
          for threads in [1, 2, 7] {
            let result = try problem.run(
              row.isa, threads: threads, isFused: true, kernel: row.kernel)
            #expect(
              result == expected(problem, product),
              "\(M)x\(N)x\(K), \(String(cString: row.name)), \(threads) threads")
          }
        }
      }
    }
  }

  @Test func manyMatricesGoThroughTheProgram() throws {
    try expectFusedIsProductThenProgram(Problem(11, 20, 6, matrices: 5))
    try expectFusedIsProductThenProgram(Problem(150, 35, 12, matrices: 2))
  }

  @Test func oneRowOrColumnGoesThroughTheProgram() throws {
    for (M, N, K) in [(1, 40, 30), (40, 1, 30), (1, 1, 9), (1, 1100, 20), (1100, 1, 4100)] {
      try expectFusedIsProductThenProgram(Problem(M, N, K, matrices: 2))
    }
    try expectFusedIsProductThenProgram(Problem(1, 50, 520, matrices: 3, isPacked: true))
    try expectFusedIsProductThenProgram(Problem(50, 1, 520, isPacked: true))
  }

  @Test func packedProductsGoThroughTheProgram() throws {
    try expectFusedIsProductThenProgram(Problem(31, 50, 20, isPacked: true))
    try expectFusedIsProductThenProgram(Problem(150, 530, 600, matrices: 2, isPacked: true))
  }
}
