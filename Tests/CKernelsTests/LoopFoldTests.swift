// The folds of f32 that have a loop of their own: sums of products, and the greatest and the least of
// rows, which look at every element for NaN only where a row has one.

import CKernels
import Testing

@Suite struct LoopFoldTests {
  typealias Domain = LoopReductionTests.Domain

  static let domains = [
    Domain([40, 1], 1..<2), Domain([40, 15], 1..<2), Domain([9, 16], 1..<2),
    Domain([40, 127], 1..<2), Domain([40, 128], 1..<2), Domain([70, 145], 1..<2),
    Domain([70, 1024], 1..<2), Domain([3, 1500], 1..<2), Domain([2, 70_001], 1..<2),
    Domain([70_001], 0..<1), Domain([70, 33], 0..<1), Domain([600, 3], 0..<1),
    Domain([1000, 260], 0..<1), Domain([4, 33, 5], 1..<2), Domain([3, 70, 40], 0..<2),
  ]

  private func random(_ count: Int, seed: UInt64) -> [Float] {
    var numbers = TestNumbers(seed: seed)
    return (0..<count).map { _ in Float.random(in: -1...1, using: &numbers) }
  }

  /// Σ x y, Σ x², Σ x w where w is the same in all rows, and Σ x v where v is one number a row.
  @Test(arguments: domains) func sumsOfProducts(domain: Domain) {
    let last = domain.extents.count - 1
    var program = LoopProgram(domain.extents, reduced: domain.reduced)
    var along = [Int](repeating: 0, count: last + 1)
    var across = along
    along[last] = 1
    across[0] = 1
    let x = program.load(LoopOperand(program.dense, random(program.points, seed: 3)))
    let others = [
      program.load(LoopOperand(program.dense, random(program.points, seed: 5))), x,
      program.load(LoopOperand(along, random(domain.extents[last], seed: 7))),
      program.load(LoopOperand(across, random(domain.extents[0], seed: 9))),
    ]
    let sums = others.map { other in
      let product = program.apply("mul_f32", [x, other])
      return program.apply("reduce_sum_f32", [product])
    }
    program.phase = 1
    for sum in sums {
      program.store(sum, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
    }
    // Those of squares grow with their number, and their errors with them.
    var tolerance = LoopReductionTests.tolerance("reduce_sum_f32", domain.reducedCount)
    tolerance.ulp = 8
    check(program, "sums of products of \(domain)", tolerance, teams: domain.teams)
  }

  /// A product that something else reads too is not taken into its sum: the same bits.
  @Test(arguments: domains.prefix(7)) func sumsOfProducts_keepTheirBits(domain: Domain) {
    let rows = domain.extents[0]
    func bits(alone: Bool) -> [UInt8] {
      var program = LoopProgram(domain.extents, reduced: domain.reduced)
      let x = program.load(LoopOperand(program.dense, random(program.points, seed: 3)))
      let y = program.load(LoopOperand(program.dense, random(program.points, seed: 5)))
      let product = program.apply("mul_f32", [x, y])
      let sum = program.apply("reduce_sum_f32", [product])
      let other = alone ? sum : program.apply("reduce_max_f32", [product])
      program.phase = 1
      program.store(sum, to: LoopOperand(CK_F32, [1, 0], room: rows))
      program.store(other, to: LoopOperand(CK_F32, [1, 0], room: rows))
      return runEverywhere(program, "sum of products of \(domain)", teams: [0])[2] ?? []
    }
    #expect(bits(alone: true) == bits(alone: false) && bits(alone: true).count == 4 * rows)
  }

  /// Rows as they are, one with NaN, one with both infinities, one of nothing but -Inf.
  @Test(arguments: ["reduce_max_f32", "reduce_min_f32"], [1, 15, 16, 17, 127, 128, 145, 1024])
  func extremesOfRows(op: String, columns: Int) {
    let rows = 40
    for place in Set([0, columns / 2, columns - 1]) {
      var floats = random(rows * columns, seed: UInt64(columns))
      floats[3 * columns + place] = .nan
      floats[5 * columns + place] = .infinity
      floats[7 * columns + place] = -.infinity
      floats[9 * columns + place] = .infinity
      floats[9 * columns + (place + 1) % columns] = -.infinity
      for c in 0..<columns { floats[11 * columns + c] = -.infinity }
      for c in 0..<columns { floats[13 * columns + c] = .nan }
      floats[rows * columns - columns + place] = .nan
      var program = LoopProgram([rows, columns], reduced: 1..<2)
      let x = program.load(LoopOperand(program.dense, floats))
      let result = program.apply(op, [x])
      program.phase = 1
      program.store(result, to: LoopOperand(CK_F32, [1, 0], room: rows))
      check(
        program, "\(op) of \(columns) columns", Tolerance(signedZeros: false), teams: [0, 1, 2])
    }
  }

  /// A NaN's row takes the general way, which the rows after it go too: the same zeros either way.
  @Test(arguments: ["reduce_max_f32", "reduce_min_f32"]) func zerosKeepTheirSigns(op: String) {
    let rows = 32, columns = 144
    var numbers = TestNumbers(seed: 11)
    let zeros = (0..<rows * columns).map { _ in
      Bool.random(using: &numbers) ? Float(0) : -Float(0)
    }
    func bits(_ floats: [Float]) -> [UInt8] {
      var program = LoopProgram([rows, columns], reduced: 1..<2)
      let x = program.load(LoopOperand(program.dense, floats))
      let result = program.apply(op, [x])
      program.phase = 1
      program.store(result, to: LoopOperand(CK_F32, [1, 0], room: rows))
      return runEverywhere(program, op, teams: [0])[1] ?? []
    }
    var first = zeros
    first[0] = .nan
    let plain = bits(zeros).dropFirst(4)
    #expect(plain == bits(first).dropFirst(4) && plain.count == 4 * (rows - 1))
  }
}
