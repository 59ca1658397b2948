// Recurrent layers forwards and backwards, as a compiled graph runs them; Benchmarks/peers has the same names.

import Apus

/// Which layer, and whether all sequences are as long as the array.
package enum RecurrentVariant: String, Sendable, CaseIterable {
  case lstm, gru, rnn
  /// Lengths drawn evenly from 1 to the array's time.
  case lstmLengths = "lstm-lengths"
  case gruLengths = "gru-lengths"
  case rnnLengths = "rnn-lengths"

  var hasLengths: Bool { rawValue.hasSuffix("-lengths") }

  /// How many times as many rows as units the weights have.
  var gates: Int {
    switch self {
    case .lstm, .lstmLengths: 4
    case .gru, .gruLengths: 3
    case .rnn, .rnnLengths: 1
    }
  }

  /// A layer of as many units as inputs, and what applies it.
  fileprivate func layer(
    _ units: Int
  ) -> (model: any Module, outputs: (Tensor, _ lengths: Tensor?) -> Tensor) {
    switch self {
    case .lstm, .lstmLengths:
      let layer = LSTM(units, units)
      return (layer, { layer($0, lengths: $1).outputs })
    case .gru, .gruLengths:
      let layer = GRU(units, units)
      return (layer, { layer($0, lengths: $1).outputs })
    case .rnn, .rnnLengths:
      let layer = RNN(units, units)
      return (layer, { layer($0, lengths: $1).outputs })
    }
  }
}

/// `BxTxH`: sequences, steps, units; inputs are as many as units.
package struct SequenceShape: Sendable, CustomStringConvertible {
  package let batch, time, units: Int

  package static let expectation = "BxTxH, as in 32x128x512, at most 2^28 elements"

  /// - Throws: `invalidArgument` for anything else.
  package init(_ text: String) throws {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    let extents = numbers.compactMap { $0 }
    guard numbers.count == 3, extents.count == 3,
      extents.allSatisfy({ (1...1 << 28).contains($0) }), extents[2] <= 1 << 13,
      Shape([extents[0], extents[1], 4 * extents[2]]).count <= 1 << 30
    else {
      throw ApusError(.invalidArgument, "shape '\(text)'", expected: Self.expectation)
    }
    self.init(extents[0], extents[1], extents[2])
  }

  init(_ batch: Int, _ time: Int, _ units: Int) {
    (self.batch, self.time, self.units) = (batch, time, units)
  }

  package var description: String { "\(batch)x\(time)x\(units)" }

  /// Weights that fit a core's cache, and weights that do not.
  package static let usual = [
    SequenceShape(16, 128, 128), SequenceShape(32, 128, 128), SequenceShape(32, 128, 512),
  ]

  /// Evenly from 1 to the time, in mixed order; one sequence alone has half of it.
  package var lengths: [Int] {
    guard batch > 1 else { return [(time + 1) / 2] }
    // Steps of about 0.618 of the batch, which have no divisor in common with it, visit each place once.
    var step = max(1, Int(0.618 * Double(batch)))
    while gcd(step, batch) != 1 { step += 1 }
    return (0..<batch).map { 1 + ($0 * step % batch) * (time - 1) / (batch - 1) }
  }
}

private func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }

extension BenchmarkCase {
  /// A layer and the gradients of its input, `[batch, time, units]`, and of all its weights.
  ///
  /// Operations are those of the products with what comes in and with the state, of the steps that sequences have:
  /// once forwards and twice backwards. What the gates compute besides is not counted.
  package static func recurrent(
    _ shape: SequenceShape, _ variant: RecurrentVariant
  ) -> BenchmarkCase {
    let units = shape.units, lengths = variant.hasLengths ? shape.lengths : []
    let steps = lengths.isEmpty ? shape.batch * shape.time : lengths.reduce(0, +)
    let weights = Double(variant.gates * 2 * units * units)
    let rows: Shape = [shape.batch, shape.time, units]
    return BenchmarkCase(
      bench: "rnn", name: "\(variant.rawValue) \(shape)",
      flops: 3 * 2 * Double(steps) * weights,
      bytes: 4 * (4 * Double(rows.count) + 2 * weights), settings: [],
      peerCase: .object([
        ("family", "rnn"), ("operation", .string(variant.rawValue)),
        ("shape", .array(rows.dimensions.map(JSON.integer))),
        ("lengths", .array(lengths.map(JSON.integer))),
      ])
    ) { options in
      let (model, outputs) = variant.layer(units)
      try model.initialize(seed: 0)
      var operands = [Operand(rows), Operand(rows)]
      if !lengths.isEmpty { operands.append(Operand([shape.batch], .given(lengths))) }
      return try GraphSide(operands, options) { x in
        let y = outputs(x[0], x.count > 2 ? x[2] : nil)
        let parameters = model.parameters.map(\.parameter.tensor)
        return [y] + gradients(of: y, withRespectTo: [x[0]] + parameters, seed: x[1])
      }
    }
  }
}
