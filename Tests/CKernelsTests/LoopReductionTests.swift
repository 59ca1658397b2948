// Reductions of the tile machine along rows and columns, at lengths around every edge, in one phase
// and in several, against sums in double.

import CKernels
import Testing

@Suite struct LoopReductionTests {
  /// Extents, and which of them are reduced.
  struct Domain: CustomStringConvertible, Sendable {
    let extents: [Int]
    let reduced: Range<Int>
    init(_ extents: [Int], _ reduced: Range<Int>) {
      (self.extents, self.reduced) = (extents, reduced)
    }
    var description: String { "\(extents) over dimensions \(reduced)" }
    var reducedCount: Int { extents[reduced].reduce(1, *) }
    /// The strides of dense results, one for each group of reduced points.
    var resultStrides: [Int] {
      var strides = [Int](repeating: 0, count: extents.count), size = 1
      for d in extents.indices.reversed() where !reduced.contains(d) {
        strides[d] = size
        size *= extents[d]
      }
      return strides
    }
    var results: Int {
      extents.indices.filter { !reduced.contains($0) }.reduce(1) { $0 * extents[$1] }
    }
    /// Enough of it to tell: large domains on every team, small ones on one.
    var teams: [Int] { extents.reduce(1, *) > 2000 ? [0, 1, 2] : [0, 1] }
  }

  static let lengths = [1, 15, 16, 17, 33, 1000, 4097, 70_001]
  static let domains: [Domain] =
    lengths.flatMap { length in
      [
        Domain([length], 0..<1), Domain([length, 2], 0..<1), Domain([3, length], 1..<2),
      ] + (length < 1000 ? [Domain([length, 37], 0..<1), Domain([40, length], 1..<2)] : [])
    }
    + [
      Domain([4, 33, 5], 1..<2), Domain([5, 3, 70, 2], 1..<3), Domain([2, 3, 4, 5, 6, 7], 2..<5),
      Domain([6, 5, 4, 3, 2, 2], 0..<2), Domain([3, 70, 40], 0..<2), Domain([60, 260], 1..<2),
      Domain([13, 600], 0..<1), Domain([3, 5, 1, 1], 2..<4),
    ]

  /// What the op reduces well: sums of numbers of either sign, products that stay in range.
  static func numbers(_ op: String, _ count: Int) -> [Number] {
    let info = LoopOps.describe(op)
    var random = TestNumbers(seed: UInt64(count))
    return (0..<count).map { _ in
      switch info.result {
      case CK_CLASS_F32 where op == "reduce_product_f32":
        .real(Double(Float.random(in: 0.9995...1.0005, using: &random)))
      case CK_CLASS_F32: .real(Double(Float.random(in: -1...1, using: &random)))
      case CK_CLASS_BOOL:
        .whole(Int.random(in: 0..<1000, using: &random) == 0 ? 1 : 0)
      case CK_CLASS_I32: .whole(Int64(Int32.random(in: .min ... .max, using: &random) | 1))
      default: .whole(Int64.random(in: .min ... .max, using: &random) | 1)
      }
    }
  }

  /// Rounding errors of a pairwise sum grow with the depth of its tree, on numbers of either sign
  /// less; of a product with the number of factors, as a random walk.
  static func tolerance(_ op: String, _ count: Int) -> Tolerance {
    let n = Double(count)
    switch op {
    case "reduce_sum_f32":
      return Tolerance(absolute: 0x1p-24 * 4 * n.squareRoot() * (n < 16 ? 1 : 2))
    case "reduce_product_f32": return Tolerance(ulp: 2 + 4 * n.squareRoot())
    default: return Tolerance(signedZeros: false)
    }
  }

  @Test(arguments: domains) func everyReduction(domain: Domain) {
    let points = domain.extents.reduce(1, *)
    // Of the largest, one op: the tree is the same for all.
    let ops =
      points > 10_000 ? [points % 2 == 0 ? "reduce_max_i64" : "reduce_sum_f32"] : LoopOps.reductions
    for op in ops {
      let dtype = LoopOps.describe(op).result.dtype
      var program = LoopProgram(domain.extents, reduced: domain.reduced)
      var numbers = Self.numbers(op, points)
      if op == "reduce_all_bool" { numbers = numbers.map { .whole(1 - $0.whole) } }
      let x = program.load(LoopOperand(dtype, program.dense, numbers))
      let total = program.apply(op, [x])
      program.phase = 1
      program.store(total, to: LoopOperand(dtype, domain.resultStrides, room: domain.results))
      check(
        program, "\(op) of \(domain)", Self.tolerance(op, domain.reducedCount), teams: domain.teams)
    }
  }

  @Test(arguments: [0, 4, 28, 60]) func everyOffset(bytes: Int) {
    for domain in [
      Domain([5, 33], 1..<2), Domain([3, 1025], 1..<2), Domain([33, 21], 0..<1),
      Domain([600, 40], 0..<1),
    ] {
      var program = LoopProgram(domain.extents, reduced: domain.reduced)
      let numbers = Self.numbers("reduce_sum_f32", program.points)
      let x = program.load(LoopOperand(CK_F32, program.dense, numbers))
      let sum = program.apply("reduce_sum_f32", [x])
      program.phase = 1
      program.store(sum, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
      check(
        program, "sum of \(domain) at offset \(bytes)",
        Self.tolerance("reduce_sum_f32", domain.reducedCount), teams: [0], offset: bytes)
    }
  }

  /// Equal numbers that are no floats: a running sum in f32 would be off by hundreds of units.
  @Test(arguments: [1, 16, 33, 1000, 4097, 70_001])
  func sumsOfManyEqualNumbers_areWithinAFewUnits(length: Int) {
    for domain in [
      Domain([length], 0..<1), Domain([length, 3], 0..<1), Domain([2, length], 1..<2),
    ] {
      var program = LoopProgram(domain.extents, reduced: domain.reduced)
      let x = program.load(
        LoopOperand(program.dense, [Float](repeating: 0.1, count: program.points)))
      let sum = program.apply("reduce_sum_f32", [x])
      program.phase = 1
      program.store(sum, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
      check(program, "0.1 x \(length), \(domain)", Tolerance(ulp: 8), teams: [0])
    }
  }

  @Test(arguments: ["reduce_sum_f32", "reduce_product_f32", "reduce_max_f32", "reduce_min_f32"])
  func notANumberAndInfinity(op: String) {
    for domain in [Domain([4, 70], 1..<2), Domain([70, 4], 0..<1), Domain([4, 1500], 1..<2)] {
      for special in [Float.nan, .infinity, -.infinity] {
        for place in [0, 13, 69] {
          var program = LoopProgram(domain.extents, reduced: domain.reduced)
          var floats = [Float](repeating: 1.5, count: program.points)
          // In the second group alone.
          let isRows = domain.reduced.lowerBound == 1
          floats[isRows ? domain.extents[1] + place : place * 4 + 1] = special
          let x = program.load(LoopOperand(program.dense, floats))
          let total = program.apply(op, [x])
          program.phase = 1
          program.store(total, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
          check(
            program, "\(op) of \(special) at \(place) of \(domain)", Tolerance(ulp: 4),
            teams: [0, 1])
        }
      }
    }
  }

  @Test(arguments: LoopOps.reductions) func reductionsOfNothing_giveTheIdentity(op: String) {
    let dtype = LoopOps.describe(op).result.dtype
    for domain in [
      Domain([0], 0..<1), Domain([3, 0], 1..<2), Domain([0, 40], 0..<1), Domain([5, 0, 4], 1..<3),
      Domain([0, 3], 1..<2), Domain([700, 0], 1..<2),
    ] {
      var program = LoopProgram(domain.extents, reduced: domain.reduced)
      let x = program.load(
        LoopOperand(dtype, program.dense, [.whole(1)].filter { _ in dtype != CK_F32 }))
      let total = program.apply(op, [x])
      program.phase = 1
      program.store(total, to: LoopOperand(dtype, domain.resultStrides, room: domain.results))
      let results = runEverywhere(program, "\(op) of \(domain)")
      let got = dtype.decode(results[1] ?? [])
      #expect(
        got == Array(repeating: LoopOp(op).identity, count: domain.results), "\(op) of \(domain)")
    }
  }

  // MARK: - Operands of other layouts

  @Test func operandsThatAreTurnedOrBroadcast() {
    for (rows, columns) in [(3, 17), (40, 33), (2, 1000), (600, 5), (7, 600)] {
      for reduced in [0..<1, 1..<2] {
        let domain = Domain([rows, columns], reduced)
        for strides in [
          [1, rows], [columns + 5, 1], [0, 1], [1, 0], [0, 0], [-columns, 1], [2 * columns, 2],
        ] {
          var program = LoopProgram(domain.extents, reduced: reduced)
          let a = program.load(
            LoopMemoryTests.operand(CK_F32, domain.extents, strides, room: false))
          let b = program.load(
            LoopMemoryTests.operand(CK_BF16, domain.extents, [columns, 1], room: false))
          let product = program.apply("mul_f32", [a, b])
          let sum = program.apply("reduce_sum_f32", [product])
          let greatest = program.apply("reduce_max_f32", [a])
          program.phase = 1
          program.store(sum, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
          program.store(
            greatest, to: LoopOperand(CK_F16, domain.resultStrides, room: domain.results))
          // Eighths of small integers: sums are exact.
          check(
            program, "strides \(strides), \(domain)", Tolerance(signedZeros: false), teams: [0, 1])
        }
      }
    }
  }

  // MARK: - Several phases

  /// The elements stored, and each result again over its row.
  static func softmax(_ domain: Domain, repeats: Bool) -> LoopProgram {
    var program = LoopProgram(domain.extents, reduced: domain.reduced)
    var random = TestNumbers(seed: UInt64(program.points))
    let input = program.add(
      LoopOperand(program.dense, random.floats(program.points, scale: 6)))
    var x = program.load(input)
    let greatest = program.apply("reduce_max_f32", [x])
    program.phase = 1
    x = program.load(input, into: repeats ? x : nil, repeats: repeats)
    let shifted = program.apply("sub_f32", [x, greatest])
    var power = program.apply("exp_f32", [shifted])
    let sum = program.apply("reduce_sum_f32", [power])
    program.phase = 2
    x = program.load(input, into: repeats ? x : nil, repeats: repeats)
    let again = program.apply(
      "sub_f32", [x, greatest], into: repeats ? shifted : nil, repeats: repeats)
    power = program.apply("exp_f32", [again], into: repeats ? power : nil, repeats: repeats)
    let inverse = program.apply("reciprocal_f32", [sum])
    let result = program.apply("mul_f32", [power, inverse])
    program.store(result, to: LoopOperand(CK_F32, program.dense, room: program.points))
    program.store(sum, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
    return program
  }

  static let phased: [Domain] =
    [1, 15, 16, 17, 33, 255, 256, 257, 512, 513, 1000, 4097].flatMap {
      [Domain([3, $0], 1..<2), Domain([$0, 3], 0..<1)]
    }
    + [
      Domain([70, 40], 1..<2), Domain([70_001], 0..<1),
      Domain([4, 6, 20], 1..<3), Domain([4, 300, 3], 1..<2), Domain([9_000], 0..<1),
    ]

  @Test(arguments: phased) func softmaxOfThreePhases(domain: Domain) {
    let tolerance = Tolerance(ulp: 16, absolute: 1e-7)
    let fresh = Self.softmax(domain, repeats: false)
    let results = runEverywhere(fresh, "softmax of \(domain)", teams: domain.teams)
    expect(results, matchModelOf: fresh, "softmax of \(domain)", tolerance)
    // Told that it repeats itself, the loop may skip; the bits stay.
    let repeated = Self.softmax(domain, repeats: true)
    let skipped = runEverywhere(repeated, "softmax of \(domain), repeating", teams: domain.teams)
    #expect(results == skipped, "softmax of \(domain): what is repeated differs")
  }

  @Test(arguments: phased) func varianceAndWhatStandsOnIt(domain: Domain) {
    // Two passes: the mean, then the mean square of what differs from it; then all of it in use.
    var program = LoopProgram(domain.extents, reduced: domain.reduced)
    var random = TestNumbers(seed: 3)
    let input = program.add(
      LoopOperand(program.dense, random.floats(program.points).map { $0 + 2 }))
    let weights = program.add(
      LoopOperand([Int](repeating: 0, count: domain.extents.count), [0.5]))
    let scale = program.apply("const_f32", [], 1 / Float(max(1, domain.reducedCount)))
    let x = program.load(input)
    let total = program.apply("reduce_sum_f32", [x])
    program.phase = 1
    let mean = program.apply("mul_f32", [total, scale])
    let difference = program.apply("sub_f32", [program.load(input), mean])
    let squares = program.apply(
      "reduce_sum_f32", [program.apply("square_f32", [difference])])
    program.phase = 2
    let variance = program.apply("mul_f32", [squares, scale])
    let epsilon = program.apply("const_f32", [], 1e-5)
    let inverse = program.apply("rsqrt_f32", [program.apply("add_f32", [variance, epsilon])])
    let normal = program.apply(
      "mul_f32", [program.apply("sub_f32", [program.load(input), mean]), inverse])
    let result = program.apply("mul_f32", [normal, program.load(weights)])
    program.store(result, to: LoopOperand(CK_F32, program.dense, room: program.points))
    program.store(mean, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
    program.store(variance, to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
    // One element differs from its mean by a rounding, which is as good as nothing.
    check(program, "variance of \(domain)", Tolerance(ulp: 8, absolute: 2e-4), teams: domain.teams)
  }

  /// As many phases as there are, each with a result that the next one uses.
  @Test(arguments: [Domain([5, 40], 1..<2), Domain([2, 3000], 1..<2)])
  func asManyPhasesAsThereAre(domain: Domain) {
    var program = LoopProgram(domain.extents, reduced: domain.reduced)
    let input = program.add(
      LoopOperand(program.dense, (0..<program.points).map { Float($0 % 7) }))
    let zero = program.add(LoopOperand([Int](repeating: 0, count: domain.extents.count), [0]))
    var last = program.load(zero)
    for phase in 0..<UInt8(CK_LOOP_PHASES - 1) {
      program.phase = phase
      let x = program.load(input)
      let differs = program.apply("max_f32", [x, last])
      last = program.apply("reduce_min_f32", [differs])
    }
    program.phase = UInt8(CK_LOOP_PHASES - 1)
    let result = program.apply("add_f32", [program.load(input), last])
    program.store(result, to: LoopOperand(CK_F32, program.dense, room: program.points))
    check(program, "eight phases of \(domain)", Tolerance(signedZeros: false), teams: domain.teams)
  }

  @Test(arguments: [
    Domain([6, 200], 1..<2), Domain([3, 1200], 1..<2), Domain([200, 6], 0..<1),
    Domain([70_001], 0..<1),
  ])
  func manyReductionsOfAllClassesInOnePhase(domain: Domain) {
    var program = LoopProgram(domain.extents, reduced: domain.reduced)
    let f = program.load(
      LoopOperand(CK_F32, program.dense, LoopMemoryTests.numbers(CK_F32, program.points)))
    let l = program.load(
      LoopOperand(CK_I64, program.dense, LoopMemoryTests.numbers(CK_I64, program.points)))
    let i = program.load(
      LoopOperand(CK_U8, program.dense, LoopMemoryTests.numbers(CK_U8, program.points)))
    let b = program.load(
      LoopOperand(CK_BOOL, program.dense, LoopMemoryTests.numbers(CK_BOOL, program.points)))
    var totals: [(UInt8, ck_dtype)] = []
    for op in LoopOps.reductions where op != "reduce_product_f32" {
      let dtype = LoopOps.describe(op).result.dtype
      let slot = [CK_F32: f, CK_I64: l, CK_I32: i][dtype] ?? b
      totals.append((program.apply(op, [slot]), dtype))
    }
    program.phase = 1
    for (slot, dtype) in totals {
      program.store(slot, to: LoopOperand(dtype, domain.resultStrides, room: domain.results))
    }
    // Eighths of integers: every sum is exact.
    check(
      program, "all reductions of \(domain)", Tolerance(signedZeros: false), teams: domain.teams)
  }

  /// What the first phase makes of the elements is stored beside what they are reduced to.
  @Test(arguments: [
    Domain([6, 200], 1..<2), Domain([3, 1200], 1..<2), Domain([200, 6], 0..<1),
    Domain([70_001, 2], 0..<1),
    Domain([2, 66_000], 1..<2),
  ])
  func elementsStoredWhileTheyAreReduced(domain: Domain) {
    var program = LoopProgram(domain.extents, reduced: domain.reduced)
    let x = program.load(
      LoopOperand(CK_F32, program.dense, LoopMemoryTests.numbers(CK_F32, program.points)))
    let doubled = program.apply("add_f32", [x, x])
    let total = program.apply("reduce_sum_f32", [doubled])
    program.store(doubled, to: LoopOperand(CK_F32, program.dense, room: program.points))
    program.phase = 1
    program.store(
      program.apply("neg_f32", [total]),
      to: LoopOperand(CK_F32, domain.resultStrides, room: domain.results))
    check(
      program, "stored while reduced: \(domain)", Tolerance(signedZeros: false), teams: domain.teams
    )
  }
}
