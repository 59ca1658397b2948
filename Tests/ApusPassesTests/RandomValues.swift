// Random arrays for graphs, and the comparison of what two graphs compute from them.

import ApusGraph
import Testing

/// The SplitMix64 generator (Steele, Lea & Flood 2014): small, seeded, the same everywhere.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

extension NDArray {
  /// Floats in [-2, 2), integers and bools 0 or 1, so that they can be indices of any axis.
  static func random(_ type: TensorType, using generator: inout SplitMix) -> NDArray {
    let wide = type.with(type.dtype.widened)
    let values = (0..<type.count).map { _ in
      type.dtype.isFloat
        ? Double.random(in: -2..<2, using: &generator)
        : Double(Int.random(in: 0...1, using: &generator))
    }
    return NDArray(doubles: values, type: wide)
  }
}

/// Whether two numbers agree to 1e-12, relative to their size where that is above 1; NaN agrees with NaN.
func agree(_ a: Double, _ b: Double) -> Bool {
  if a.isNaN || b.isNaN { return a.isNaN && b.isNaN }
  return a == b || abs(a - b) <= 1e-12 * max(1, abs(a), abs(b))
}

/// Runs both graphs on the same random arrays and expects equal outputs and states.
func expectEqualValues(
  _ a: Graph, _ b: Graph, seed: Int = 1, _ comment: @autoclosure () -> String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  var generator = SplitMix(seed: seed)
  let inputs = a.inputs.map { NDArray.random(a.type(of: $0.value), using: &generator) }
  let states = a.states.map { NDArray.random(a.type(of: $0.value), using: &generator) }
  let before = try a.interpret(inputs: inputs, states: states)
  let after = try b.interpret(inputs: inputs, states: states)
  #expect(a.outputs.map(\.name) == b.outputs.map(\.name), sourceLocation: sourceLocation)
  let pairs = zip(before.outputs + before.states, after.outputs + after.states)
  for (index, (x, y)) in pairs.enumerated() {
    let isEqual = x.type == y.type && zip(x.doubles, y.doubles).allSatisfy(agree)
    #expect(
      isEqual, "result \(index): \(x) became \(y). \(comment())\n\(a)=>\n\(b)",
      sourceLocation: sourceLocation)
  }
}
