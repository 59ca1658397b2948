// The elementary functions where they are delicate: around overflow, underflow, results that are no
// normal floats, the edges between two formulas and the breakpoints of the arguments' reductions.
// Every float near each of these, against the double-precision function, at every level with the
// same bits. (The tests of the operations above sample all floats.)

import CKernels
import Foundation
import Testing

@Suite struct ElementaryFunctionTests {
  /// A function and the places to look at closely.
  struct Case: CustomStringConvertible, Sendable {
    let name: String
    /// Around these, 600 floats to either side.
    let edges: [Double]
    /// Around these, ten.
    let breakpoints: [Double]
    var description: String { name }

    init(_ name: String, _ edges: [Double], _ breakpoints: [Double] = []) {
      (self.name, self.edges, self.breakpoints) = ("\(name)_f32", edges, breakpoints)
    }

    var arguments: [Float] {
      func near(_ places: [Double], _ count: Int) -> [Float] {
        places.flatMap { place -> [Float] in
          [Float(place), Float(-place)].flatMap { center in
            (-count...count).compactMap { step in
              let bits = Int64(center.bitPattern & 0x7fff_ffff) + Int64(step)
              guard (0...0x7f80_0000).contains(bits) else { return nil }
              return Float(bitPattern: UInt32(bits) | center.bitPattern & 0x8000_0000)
            }
          }
        }
      }
      return near(edges + ends, TestSize.isReduced ? 100 : 600) + near(breakpoints, 10)
    }

    /// Of all functions: nothing, the least and the greatest floats, small and large numbers.
    private var ends: [Double] {
      [0, 0x1p-126, 0x1.fffffep127, 0x1p-64, 0x1p-24, 0x1p-12, 1, 0x1p12, 0x1p24, 0x1p64]
    }
  }

  private static let ln2 = Foundation.log(2.0)
  private static let halves: [Double] = (-150...128).map { Double($0) + 0.5 }
  private static let expBreaks: [Double] = halves.map { $0 * ln2 }
  private static let tanhBreaks: [Double] = expBreaks.map { $0 / 2 }
  /// The edges of the sixteen pieces, and where the sixteenths of -x² / (2 ln 2) change.
  private static let bellPieces: [Double] = (0..<16).map { piece in
    let octave = exp2(Double(piece / 4)), quarter = Double(piece % 4) / 4
    return (octave * (1 + quarter) - 1) / 1.12
  }
  private static let bellBreaks: [Double] = (0..<2050).map { sixteenth in
    let k = (Double(sixteenth) + 0.5) / 16
    return (2 * ln2 * k).squareRoot()
  }
  private static let sixteenthBreaks: [Double] = (0..<2170).map { (Double($0) + 0.5) / 16 * ln2 }
  private static let powersOfTwo: [Double] = (-126...127).map { exp2(Double($0)) }
  private static let powersOfTen: [Double] = (-37...38).map { pow(10.0, Double($0)) }
  private static let tenths: [Double] = (0...40).map { Double($0) / 10 }
  private static let eighths: [Double] = (0...200).map { Double($0) * Double.pi / 4 }
  private static let quarterTurns: [Double] =
    eighths + (0...120).map { exp2(Double($0)) * Double.pi / 2 }
  /// Where the quotient's exponent is settled: 2/3 of a power of two.
  private static let logBreaks: [Double] = powersOfTwo.map { $0 * 2 / 3 }
  private static let log1pBreaks: [Double] = logBreaks.map { $0 - 1 }

  static let cases: [Case] = [
    Case("exp", [128 * ln2, 126 * ln2, 150 * ln2, ln2 / 2, 87, 88], expBreaks),
    Case("exp2", [128, 126, 127, 149, 0.5], halves),
    Case("expm1", [128 * ln2, 126 * ln2, 20, 17.3, ln2 / 2], expBreaks),
    Case("log", [4.0 / 3, 2.0 / 3, 0.5, 2], logBreaks),
    Case("log2", [4.0 / 3, 2.0 / 3, 0.5, 2], logBreaks + powersOfTwo),
    Case("log10", [4.0 / 3, 2.0 / 3, 0.5, 10], logBreaks + powersOfTen),
    Case("log1p", [1.0 / 3, 0.5, 0x1p25, 0x1p126], log1pBreaks + powersOfTwo),
    Case("sin", [.pi, .pi / 2, .pi / 4, 0x1p15, 1e5], quarterTurns),
    Case("cos", [.pi, .pi / 2, .pi / 4, 0x1p15, 1e5], quarterTurns),
    Case("tan", [.pi, .pi / 2, .pi / 4, 0x1p15, 1e5], quarterTurns),
    Case("asin", [0.5, 0.5.squareRoot()]), Case("acos", [0.5, 0.5.squareRoot()]),
    Case("atan", [0.5, 2], powersOfTwo),
    Case("sinh", [129 * ln2, 128 * ln2, 9, 20], expBreaks),
    Case("cosh", [129 * ln2, 128 * ln2, 9, 20], expBreaks),
    Case("tanh", [0.625, 9.01, 10, 44], tanhBreaks),
    Case("asinh", [0x1p30, 0x1p31, 0x1p63], powersOfTwo),
    Case("acosh", [0x1p30, 0x1p31, 0x1p63, 2], powersOfTwo),
    Case("atanh", [0.5, 1.0 / 3, 0.25], powersOfTwo),
    Case("erf", [0.92, 4, 3.92, 0.5], tenths),
    Case("sigmoid", [126 * ln2, 128 * ln2, 17, 24 * ln2], expBreaks + sixteenthBreaks),
    Case("softplus", [126 * ln2, 128 * ln2, 17, 24 * ln2], expBreaks),
    Case("silu", [128 * ln2, 17, 88, 89.5, 91.75, 100], expBreaks),
    Case(
      "silu_derivative", [1.2785, 126 * ln2, 88, 92.88, 93.5] + sixteenthBreaks.prefix(8),
      sixteenthBreaks),
    Case("gelu", [13.2, 13.04] + bellPieces, bellBreaks),
    Case("gelu_derivative", [0.7518, 13.2, 13.34, 13.375] + bellPieces, bellBreaks),
    Case("gelu_tanh", [5, 10]),
    Case("gelu_tanh_derivative", [0.7525, 5, 9.9, 10, 11], sixteenthBreaks),
    Case("elu", [20, 17.3, 128 * ln2]), Case("selu", [20, 17.3, 128 * ln2]),
    Case("sqrt", [2, 4], powersOfTwo), Case("rsqrt", [2, 4], powersOfTwo),
    Case("reciprocal", [2, 3, 0x1p126, 0x1p127], powersOfTwo),
    Case("round_f16", [65504, 65520, 0x1p-14, 0x1p-24, 0x1p-25], powersOfTwo),
    Case("round_bf16", [0x1.fep127, 0x1.ffp127], powersOfTwo),
  ]

  @Test(arguments: cases) func nearTheDelicatePlaces(at: Case) {
    Self.check(at.name, [at.arguments])
  }

  private static func check(_ name: String, _ operands: [[Float]]) {
    let arrays = operands.map { floats in floats.map { Number.real(Double($0)) } }
    LoopOpTests.check(
      name, LoopOpTests.program(name, arrays, count: operands[0].count), "near an edge", teams: [0])
  }

  /// Bases and exponents whose power is about the greatest, the least, or one.
  @Test func powersNearTheEndsOfTheFloats() {
    var bases: [Float] = []
    var exponents: [Float] = []
    let some: [Float] = [
      2, 0.5, 1.5, 10, 1e-3, 0.999, 1.001, 3e38, 2e-38, 0x1.000002p0, 0x1.fffffep-1,
    ]
    let logarithms: [Double] = [128, -126, -149, 127, 1e-7, 0.5]
    for base in some {
      for logarithm in logarithms {
        let exponent = Float(logarithm / Foundation.log2(Double(base)))
        for step in -20...20 {
          bases.append(base)
          exponents.append(Float(bitPattern: UInt32(Int64(exponent.bitPattern) + Int64(step))))
        }
      }
    }
    Self.check("pow_f32", [bases, exponents])
    // Whole exponents give the powers of negative numbers their sign.
    let whole = (-40...40).map { Float($0) }
    Self.check("pow_f32", [whole.map { _ in -1.5 }, whole])
    Self.check("pow_f32", [whole.map { _ in -1 }, whole.map { 0x1p24 + $0 }])
  }

  @Test func anglesNearTheDiagonalsAndAxes() {
    var y: [Float] = [], x: [Float] = []
    for size in [Float(1), 1e-30, 1e30, 3] {
      for (a, b) in [(1.0, 1.0), (1, 1e-6), (1e-6, 1), (1, 2), (2, 1)] {
        for step in -10...10 {
          for sign in 0..<4 {
            let turned = Float(a) * size
            let up = Float(bitPattern: UInt32(Int64(turned.bitPattern) + Int64(step)))
            y.append(sign & 1 == 0 ? up : -up)
            x.append(sign & 2 == 0 ? Float(b) * size : -Float(b) * size)
          }
        }
      }
    }
    Self.check("atan2_f32", [y, x])
  }

  @Test func remaindersOfAnyQuotient() {
    var random = TestNumbers(seed: 9)
    let x = (0..<4000).map { _ in exp2(Float.random(in: -120...120, using: &random)) }
    let y = x.map { x in
      let quotient = exp2(Float.random(in: -3...60, using: &random))
      return max(x / quotient, 0x1p-100) * (Bool.random(using: &random) ? 1 : -1)
    }
    Self.check("rem_f32", [x, y])
    Self.check("rem_f32", [y, x])
  }
}
