// Convolutions by pairs of bf16: sums close to double, whatever is stored how, with the same bits on every
// team; and the reference of what is stored so.

import CKernels
import Testing

@Suite struct ConvolutionPairsTests {
  /// Close to double at both ends and between, and the same on all teams.
  private func check(
    _ problem: ConvolutionProblem, _ op: ck_conv_op, _ row: ck_entry,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let shape = problem.shape, name = String(cString: row.name)
    let result = problem.run(op, row, team: 0)
    for team in TestTeams.sizes.indices.dropFirst() {
      let other = problem.run(op, row, team: team)
      let isSame = zip(result, other).allSatisfy {
        $0.bitPattern == $1.bitPattern || $0.isNaN && $1.isNaN
      }
      #expect(
        isSame, "\(name) on \(TestTeams.sizes[team]) threads: \(shape)",
        sourceLocation: sourceLocation)
    }
    let rounding = op == CK_CONV_WEIGHTS ? 0 : problem.storage.rounding
    for index in Set(stride(from: 0, to: result.count, by: max(result.count / 16, 1) | 1))
      .union(result.indices.suffix(1))
    {
      let (value, magnitude) = problem.expected(op, index)
      let found = Double(result[index])
      let isRight = abs(found - value) <= 4e-6 * magnitude + rounding * abs(value)
      #expect(
        isRight, "\(name), element \(index): \(found), not \(value), \(shape)",
        sourceLocation: sourceLocation)
    }
  }

  /// The row that takes pairs, where the machine has it.
  private func pairsRow(_ problem: ConvolutionProblem, _ op: ck_conv_op) -> ck_entry? {
    var args = problem.block(op)
    let row = ConvolutionProblem.rows(op).first { $0.isa == CK_ISA_AVX512BF16 }
    return ck_conv_by_pairs(&args, op, CK_ISA_AVX512BF16) ? row : nil
  }

  @Test(arguments: 0..<(TestSize.isReduced ? 1 : 5))
  func anyShape_isCloseToDouble_howeverItIsStored(seed: Int) throws {
    var numbers = TestNumbers(seed: UInt64(seed) + 71)
    var count = 0
    while count < 8 {
      guard let shape = ConvolutionCase(random: &numbers) else { continue }
      func type() -> ck_dtype { Bool.random(using: &numbers) ? CK_F32 : CK_BF16 }
      let problem = ConvolutionProblem(
        shape,
        ConvolutionStorage(
          a: type(), b: type(), c: type(), other: type(), precision: CK_GEMM_MIXED))
      for op in convolutionOps {
        if let row = pairsRow(problem, op) { check(problem, op, row) }
        check(problem, op, try #require(ConvolutionProblem.rows(op).last))
      }
      count += 1
    }
  }

  @Test(arguments: ConvolutionKernelTests.shapes)
  func layersAndEdges_areCloseToDouble(shape: ConvolutionCase) throws {
    var shape = shape
    (shape.hasBias, shape.hasReLU, shape.combination) = (true, true, CK_ADD)
    let problem = ConvolutionProblem(
      shape,
      ConvolutionStorage(
        a: CK_BF16, b: CK_BF16, c: CK_BF16, other: CK_BF16, precision: CK_GEMM_MIXED))
    for op in convolutionOps {
      if let row = pairsRow(problem, op) { check(problem, op, row) }
    }
  }

  @Test func whatIsStoredNarrow_runsAtEveryLevel() throws {
    // Two channels of a group of three are no pair: there the reference computes.
    let shape = ConvolutionCase(
      2, 9, 6, image: [5, 7], kernel: [3, 3], before: [1, 1], groups: 3)
    let problem = ConvolutionProblem(
      shape, ConvolutionStorage(a: CK_BF16, b: CK_BF16, c: CK_BF16, other: CK_BF16))
    for op in convolutionOps {
      for row in ConvolutionProblem.rows(op) { check(problem, op, row) }
    }
  }

  @Test func theResult_mayTakeThePlaceOfWhatItIsAddedTo() throws {
    for combination in [CK_ADD, CK_GATE] {
      for stride in [1, 2] {
        var shape = ConvolutionCase(
          3, 20, 36, image: [7, 9], kernel: [3, 3], stride: [stride, stride], before: [1, 1])
        shape.combination = combination
        let problem = ConvolutionProblem(
          shape, ConvolutionStorage(a: CK_BF16, c: CK_BF16, other: CK_BF16))
        for op in [CK_CONV_FORWARD, CK_CONV_DATA] {
          guard let row = pairsRow(problem, op) else { continue }
          let apart = problem.run(op, row, team: 2)
          #expect(apart == problem.run(op, row, team: 2, inPlace: true), "\(shape)")
        }
      }
    }
  }

  @Test func pairs_areNotTaken_inTheHighestPrecision_orWhereChannelsHaveNone() {
    let even = ConvolutionCase(1, 4, 6, image: [5, 5], kernel: [3, 3], groups: 2)
    let odd = ConvolutionCase(1, 6, 6, image: [5, 5], kernel: [3, 3], groups: 2)
    let deep = ConvolutionCase(1, 6, 6, image: [5, 5], kernel: [3, 3], groups: 6)
    let mixed = ConvolutionStorage(a: CK_BF16, precision: CK_GEMM_MIXED)
    func takes(_ shape: ConvolutionCase, _ storage: ConvolutionStorage, _ op: ck_conv_op) -> Bool {
      var args = ConvolutionProblem(shape, storage).block(op)
      return ck_conv_by_pairs(&args, op, CK_ISA_AVX512BF16)
    }
    #expect(takes(even, mixed, CK_CONV_FORWARD))
    #expect(!takes(odd, mixed, CK_CONV_FORWARD))
    #expect(!takes(odd, mixed, CK_CONV_DATA))
    #expect(takes(odd, mixed, CK_CONV_WEIGHTS))
    #expect(!takes(deep, mixed, CK_CONV_WEIGHTS))
    #expect(!takes(even, ConvolutionStorage(), CK_CONV_FORWARD))
    var args = ConvolutionProblem(even, mixed).block(CK_CONV_FORWARD)
    #expect(!ck_conv_by_pairs(&args, CK_CONV_FORWARD, CK_ISA_AVX512))
  }
}
