// Maps of a known form, which are done in registers: which programs are such, and that the bits are
// those of the same loop by tiles.

import CKernels
import Testing

@Suite struct LoopChainTests {
  enum Form: String, CaseIterable {
    case normal, normalAndArray, arrayAndNormal, twoNormals, gated
  }

  /// What a chain's arrays are stored as.
  struct Types {
    var x = CK_F32, y = CK_F32, gate = CK_F32, result = CK_F32

    static let narrow = Types(x: CK_BF16, y: CK_BF16, gate: CK_BF16, result: CK_BF16)
    static let mixed = Types(x: CK_BF16, y: CK_F32, gate: CK_BF16, result: CK_F32)
  }

  /// Numbers of both signs, without an order.
  private static func numbers(_ count: Int, seed: Int) -> [Number] {
    (0..<count).map { index -> Number in
      let mixed: Int = (index * 2_654_435_761 + seed * 40503) >> 7
      return .real(Double(mixed % 2001 - 1000) / 256)
    }
  }

  private static func program(
    _ form: Form, rows: Int, columns: Int, activation: String? = nil, types: Types = Types(),
    inPlace: Bool = false, changing: (inout LoopProgram) -> Void = { _ in }
  ) -> LoopProgram {
    var program = LoopProgram([rows, columns])
    var seed = 0
    func array(_ dtype: ck_dtype) -> UInt8 {
      seed += 1
      return program.load(
        LoopOperand(dtype, [columns, 1], numbers(rows * columns, seed: seed)))
    }
    func normal(_ x: UInt8) -> UInt8 {
      let row = (0..<3).map { k in
        program.load(LoopOperand(CK_F32, [0, 1], numbers(columns, seed: 100 + 3 * seed + k)))
      }
      let product = program.apply("mul_f32", [program.apply("sub_f32", [x, row[0]]), row[1]])
      return program.apply("add_f32", [product, row[2]])
    }
    var value = array(types.x)
    switch form {
    case .normal: value = normal(value)
    case .normalAndArray: value = program.apply("add_f32", [normal(value), array(types.y)])
    case .arrayAndNormal:
      let y = array(types.y)
      value = program.apply("add_f32", [y, normal(value)])
    case .twoNormals:
      let y = array(types.y)
      value = program.apply("add_f32", [normal(value), normal(y)])
    case .gated:
      value = program.apply("add_f32", [value, array(types.y)])
      value = program.apply("gate_f32", [array(types.gate), value])
    }
    if let activation { value = program.apply(activation, [value]) }
    var result = LoopOperand(types.result, [columns, 1], room: rows * columns)
    if inPlace { result.sharedWith = 0 }
    program.store(value, to: result)
    changing(&program)
    return program
  }

  private static func isChain(_ program: LoopProgram) -> Bool {
    let block = LoopBlock(program)
    #expect(block.isPrepared)
    return block.args.pointee.chain.form != 0
  }

  @Test(arguments: Form.allCases) func whatStandsBetweenConvolutions_isAChain(form: Form) {
    #expect(Self.isChain(Self.program(form, rows: 20, columns: 16)))
    #expect(Self.isChain(Self.program(form, rows: 20, columns: 16, types: .narrow)))
    guard form != .gated else { return }
    #expect(Self.isChain(Self.program(form, rows: 20, columns: 16, activation: "relu_f32")))
    #expect(Self.isChain(Self.program(form, rows: 20, columns: 16, activation: "relu6_f32")))
  }

  @Test func anythingElse_isNone() {
    func isChain(_ activation: String? = nil, _ changing: (inout LoopProgram) -> Void) -> Bool {
      Self.isChain(
        Self.program(.normal, rows: 20, columns: 16, activation: activation, changing: changing))
    }
    #expect(!isChain("exp_f32") { _ in })
    // Rows that lie apart, a mean for each row, another type, two results.
    #expect(
      !isChain {
        $0.operands[0] = LoopOperand(CK_F32, [17, 1], Self.numbers(20 * 17, seed: 1))
      })
    #expect(
      !isChain { $0.operands[1] = LoopOperand(CK_F32, [1, 0], Self.numbers(20, seed: 1)) })
    #expect(
      !isChain { $0.operands[1] = LoopOperand(CK_BF16, [0, 1], Self.numbers(16, seed: 1)) })
    #expect(
      !isChain { $0.store($0.code.last!.a, to: LoopOperand(CK_F32, [16, 1], room: 320)) })
  }

  /// Columns of which several rows make whole vectors, of which none do, that are cut into tiles;
  /// rests after the last whole period of rows and after the last vector.
  @Test(arguments: Form.allCases) func bitsAreThoseOfTheTiles(form: Form) {
    let shapes = [
      (1, 16), (37, 16), (700, 16), (131, 3), (90, 24), (33, 32), (77, 65), (9, 441), (40, 512),
      (6, 1000), (5, 2048), (3, 5003),
    ]
    let activations: [String?] = form == .gated ? [nil] : [nil, "relu_f32", "relu6_f32"]
    for (index, shape) in shapes.enumerated() {
      for types in [Types(), .narrow, .mixed] {
        let inPlace = index % 2 == 1 && types.x == types.result
        let activation = activations[index % activations.count]
        let program = Self.program(
          form, rows: shape.0, columns: shape.1, activation: activation, types: types,
          inPlace: inPlace)
        let name = "\(form) \(shape) \(activation ?? "")\(inPlace ? " in place" : "")"
        let chain = LoopBlock(program), tiles = LoopBlock(program)
        #expect(chain.isPrepared && tiles.isPrepared)
        tiles.args.pointee.chain.form = 0
        // Where rows and columns are one dimension, no operand is a row.
        #expect(chain.args.pointee.chain.form != 0 || (shape.0 == 1 && form != .gated))
        for row in loopRows {
          let expected = run(
            program, tiles, row, team: 0, offset: 4, "\(name) by tiles", #_sourceLocation)
          for team in TestTeams.sizes.indices {
            for offset in [0, 4] {
              chain.args.pointee.streams = offset == 0 ? 1 : 0
              let got = run(program, chain, row, team: team, offset: offset, name, #_sourceLocation)
              #expect(
                got == expected, "\(name), \(row.level) on \(TestTeams.sizes[team]) threads")
            }
          }
        }
      }
    }
  }
}
