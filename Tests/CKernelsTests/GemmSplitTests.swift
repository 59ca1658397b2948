// Products of f32 numbers split into bf16 parts, by the emulated tiles (and by AMX where this machine
// has it): their error beside that of fused multiply-adds, and what the guard hands back to those.

import CKernels
import Testing

/// How the numbers of A and B are drawn.
private struct Distribution: Sendable, CustomTestStringConvertible {
  var name: String
  var draw: @Sendable (_ noise: inout ProductNoise) -> Double
  var drawB: (@Sendable (_ noise: inout ProductNoise) -> Double)?
  /// B's lower half is minus its upper half, but for this much of it.
  var cancelsTo: Double?

  var testDescription: String { name }

  init(
    _ name: String, cancelsTo: Double? = nil,
    b: (@Sendable (_ noise: inout ProductNoise) -> Double)? = nil,
    _ draw: @escaping @Sendable (_ noise: inout ProductNoise) -> Double
  ) {
    self.name = name
    self.draw = draw
    self.drawB = b
    self.cancelsTo = cancelsTo
  }
}

/// A number whose binary exponent is anywhere within ± `decades` decades.
private func wide(_ noise: inout ProductNoise, decades: Double) -> Double {
  let exponent = (2 * noise.uniform() - 1) * decades * 3.3219
  let value = Double(sign: .plus, exponent: Int(exponent.rounded(.down)), significand: 1)
  return (noise.uniform() < 0.5 ? -1 : 1) * value * (1 + noise.uniform())
}

private let distributions = [
  Distribution("normal") { $0.normal() },
  Distribution("uniform") { $0.uniform() },
  Distribution("rectified", b: { 0.05 * $0.normal() }) { max(0, $0.normal()) },
  Distribution("ill-conditioned", cancelsTo: 1e-6) { $0.normal() },
  Distribution("A wide, 1e±30", b: { $0.normal() }) { wide(&$0, decades: 30) },
  Distribution("both wide, 1e±15") { wide(&$0, decades: 15) },
  Distribution("both wide, 1e±5") { wide(&$0, decades: 5) },
  Distribution("tiny", b: { $0.normal() }) { 1e-35 * $0.normal() },
  Distribution("products tiny") { 1e-18 * $0.normal() },
  Distribution("products huge") { 1e17 * $0.normal() },
]

private nonisolated(unsafe) let table: [ck_gemm_row] = {
  var count = 0
  let table = ck_gemm_rows(&count)!
  return (0..<count).map { table[$0] }
}()

private let hasAVX512 = ck_isa_best().rawValue >= CK_ISA_AVX512.rawValue
private let hasAMX = ck_isa_best().rawValue >= CK_ISA_AMX.rawValue

private func row(_ isa: ck_isa, emulated: Bool = false) -> ck_gemm_row {
  table.first { $0.isa == isa && $0.emulated == emulated }!
}

@Suite(.enabled(if: hasAVX512)) struct GemmSplitTests {
  private func problem(
    _ distribution: Distribution, _ M: Int, _ N: Int, _ K: Int, _ precision: ck_gemm_precision,
    isPacked: Bool = false
  ) -> TypedProblem {
    let problem = TypedProblem(
      TypedProduct(M: M, N: N, K: K, precision: precision, isPacked: isPacked), fill: false)
    var noise = ProductNoise(state: 7)
    for index in 0..<problem.a.count { problem.a[index] = distribution.draw(&noise) }
    let drawB = distribution.drawB ?? distribution.draw
    for index in 0..<problem.b.count { problem.b[index] = drawB(&noise) }
    if let rest = distribution.cancelsTo {
      let half = K / 2
      for i in 0..<M {
        for p in 0..<half {
          problem.a[problem.placeInA(i, p + half)] = problem.a[problem.placeInA(i, p)]
        }
      }
      for p in 0..<half {
        for j in 0..<N {
          problem.b[problem.placeInB(p + half, j)] =
            -problem.b[problem.placeInB(p, j)] * (1 + rest * noise.normal())
        }
      }
    }
    return problem
  }

  /// Root mean square of the errors, each relative to the sum of absolute products.
  private func error(_ problem: TypedProblem, _ result: [UInt32]) -> Double {
    let (M, N, K) = (problem.shape.M, problem.shape.N, problem.shape.K)
    let a = (0..<problem.a.count).map { problem.a[$0] }
    let b = (0..<problem.b.count).map { problem.b[$0] }
    var total = 0.0
    for i in 0..<M {
      var value = [Double](repeating: 0, count: N)
      var magnitude = value
      for p in 0..<K {
        let factor = a[i * K + p]
        for j in 0..<N {
          let product = factor * b[p * N + j]
          value[j] += product
          magnitude[j] += abs(product)
        }
      }
      for j in 0..<N where magnitude[j] > 0 {
        let got = TypedElements.value(result[problem.place(0, i, j)], CK_F32)
        let relative = (got - value[j]) / magnitude[j]
        total += relative * relative
      }
    }
    return (total / Double(M * N)).squareRoot()
  }

  @Test(arguments: distributions)
  private func sixProductsErrNoMoreThanMultiplyAdds(_ distribution: Distribution) throws {
    for (K, isPacked) in [(48, false), (512, true)] {
      let problem = problem(distribution, 48, 48, K, CK_GEMM_HIGHEST, isPacked: isPacked)
      let split = error(problem, try problem.run(row(CK_ISA_AMX, emulated: true), threads: 1))
      let whole = error(problem, try problem.run(row(CK_ISA_AVX512), threads: 1))
      #expect(split <= whole, "K \(K): \(split) by six products, \(whole) by multiply-adds")
    }
  }

  @Test func normalNumbersReallyAreSplit() throws {
    // Half the error of multiply-adds or less: that these were used instead would show.
    for isPacked in [false, true] {
      let problem = problem(distributions[0], 64, 64, 512, CK_GEMM_HIGHEST, isPacked: isPacked)
      let split = error(problem, try problem.run(row(CK_ISA_AMX, emulated: true), threads: 1))
      let whole = error(problem, try problem.run(row(CK_ISA_AVX512), threads: 1))
      #expect(split < 0.5 * whole, "\(split) by six products, \(whole) by multiply-adds")
    }
  }

  @Test func threeProductsAndOneKeepTheirPromise() throws {
    for (precision, least, most) in [
      (CK_GEMM_HIGH, 1e-8, 0x1p-20), (CK_GEMM_MIXED, 1e-5, 0x1p-11),
    ] {
      let problem = problem(distributions[0], 64, 64, 512, precision)
      let got = error(problem, try problem.run(row(CK_ISA_AMX, emulated: true), threads: 1))
      #expect(got > least && got < most, "precision \(precision.rawValue): \(got)")
    }
  }

  /// Where the guard trips for every block, the bits are those of the multiply-adds.
  @Test func whatCannotBeSplitIsMultipliedWhole() throws {
    for distribution in distributions where ["tiny", "products tiny"].contains(distribution.name) {
      for precision in [CK_GEMM_HIGHEST, CK_GEMM_HIGH] {
        for isPacked in [false, true] {
          // Of a B packed in two parts 16 bits are left, if it is A that cannot be split.
          if precision == CK_GEMM_HIGH && isPacked { continue }
          let problem = problem(distribution, 40, 50, 130, precision, isPacked: isPacked)
          let split = try problem.run(row(CK_ISA_AMX, emulated: true), threads: 2)
          let whole = try problem.run(row(CK_ISA_AVX512), threads: 2)
          #expect(split == whole, "\(distribution.name), packed \(isPacked)")
        }
      }
    }
  }

  @Test func specialNumbersGiveWhatMultiplyAddsGive() throws {
    let specials: [Float] = [
      .infinity, -.infinity, .nan, Float(bitPattern: 0x7f80_0001), Float(bitPattern: 0x7fff_ffff),
      .greatestFiniteMagnitude, 3.39e38, .leastNormalMagnitude, .leastNonzeroMagnitude, -0.0, 1e-38,
    ]
    for special in specials {
      for isInA in [false, true] {
        for isPacked in [false, true] {
          let shape = problem(distributions[0], 70, 75, 40, CK_GEMM_HIGHEST, isPacked: isPacked)
          if isInA {
            shape.a.setBits(shape.placeInA(35, 7), special.bitPattern)
          } else {
            shape.b.setBits(shape.placeInB(7, 40), special.bitPattern)
          }
          let whole = try shape.run(row(CK_ISA_AVX512), threads: 1)
          for threads in [1, 2, 7] {
            let split = try shape.run(row(CK_ISA_AMX, emulated: true), threads: threads)
            for i in 0..<70 {
              for j in 0..<75 {
                let got = TypedElements.value(split[shape.place(0, i, j)], CK_F32)
                let want = TypedElements.value(whole[shape.place(0, i, j)], CK_F32)
                let agrees =
                  want.isFinite
                  ? abs(got - want) <= 1e-5 + 1e-5 * abs(want)
                  : got == want || got.isNaN && want.isNaN
                #expect(
                  agrees, "\(special) in \(isInA ? "A" : "B"): \(got), not \(want), at \(i), \(j)")
              }
            }
          }
        }
      }
    }
  }

  @Test func theGuardsAnswerDoesNotDependOnTheTeam() throws {
    let problem = problem(distributions[0], 200, 170, 1100, CK_GEMM_HIGHEST)
    var noise = ProductNoise(state: 3)
    for _ in 0..<6 {
      problem.a[Int(noise.uniform() * Double(problem.a.count))] = 1e-37
      problem.b[Int(noise.uniform() * Double(problem.b.count))] = 1e30
    }
    let alone = try problem.run(row(CK_ISA_AMX, emulated: true), threads: 1)
    for threads in [2, 3, 7] {
      #expect(try problem.run(row(CK_ISA_AMX, emulated: true), threads: threads) == alone)
    }
  }

  /// One tile product, number by number as the processor's manual has it.
  @Test func emulatedTilesKeepTheInstructionsOrder() throws {
    let problem = TypedProblem(
      TypedProduct(M: 16, N: 16, K: 32, a: CK_BF16, b: CK_BF16, c: CK_F32))
    // Products that round, and a denormal, which counts as zero.
    for index in 0..<problem.a.count where index % 3 == 0 { problem.a[index] *= 0x1p-9 }
    problem.a.setBits(5, 0x0040)
    let result = try problem.run(row(CK_ISA_AMX, emulated: true), threads: 1)
    func element(_ elements: TypedElements, _ index: Int) -> Float {
      let value = Float(elements[index])
      return value.isSubnormal ? 0 : value
    }
    for i in 0..<16 {
      for j in 0..<16 {
        var (even, odd) = (Float(0), Float(0))
        for p in stride(from: 0, to: 32, by: 2) {
          even.addProduct(
            element(problem.a, problem.placeInA(i, p)), element(problem.b, problem.placeInB(p, j)))
          odd.addProduct(
            element(problem.a, problem.placeInA(i, p + 1)),
            element(problem.b, problem.placeInB(p + 1, j)))
        }
        #expect(result[problem.place(0, i, j)] == (even + odd).bitPattern, "at \(i), \(j)")
      }
    }
  }

  @Test(.enabled(if: hasAMX)) func tilesGiveTheBitsOfTheirEmulation() throws {
    for precision in [CK_GEMM_HIGHEST, CK_GEMM_HIGH, CK_GEMM_MIXED] {
      for distribution in distributions {
        let problem = problem(distribution, 70, 200, 600, precision, isPacked: true)
        let real = try problem.run(row(CK_ISA_AMX), threads: 2)
        #expect(try problem.run(row(CK_ISA_AMX, emulated: true), threads: 2) == real)
      }
    }
  }
}
