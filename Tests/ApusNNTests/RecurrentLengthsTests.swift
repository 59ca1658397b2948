// Sequences with lengths: what each gives alone, whatever stands beside and behind it, on any team and level.

import Apus
import ApusGraph
import ApusRuntime
import Foundation
import TestSupport
import Testing

@Suite struct RecurrentLengthsTests {
  private enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case lstm, peepholes, gru, rnn

    var testDescription: String { rawValue }

    func layer(
      _ inputs: Int, _ units: Int, layers: Int = 1, isBidirectional: Bool = false,
      dropout: Double = 0
    ) -> (module: any Module, outputs: (Tensor, Tensor?) -> [Tensor]) {
      switch self {
      case .lstm, .peepholes:
        let lstm = LSTM(
          inputs, units, layers: layers, isBidirectional: isBidirectional, dropout: dropout,
          hasPeepholes: self == .peepholes)
        return (
          lstm,
          { x, lengths in
            let (y, state) = lstm(x, lengths: lengths)
            return [y, state.hidden, state.cell]
          }
        )
      case .gru:
        let gru = GRU(
          inputs, units, layers: layers, isBidirectional: isBidirectional, dropout: dropout)
        return (
          gru,
          { x, lengths in
            let (y, state) = gru(x, lengths: lengths)
            return [y, state]
          }
        )
      case .rnn:
        let rnn = RNN(
          inputs, units, layers: layers, isBidirectional: isBidirectional, dropout: dropout)
        return (
          rnn,
          { x, lengths in
            let (y, state) = rnn(x, lengths: lengths)
            return [y, state]
          }
        )
      }
    }
  }

  /// A loss that no two elements enter alike, of outputs `[batch, time, …]` and states `[…, batch, …]`.
  private static func loss(_ results: [Tensor], sequence: Int = 0, time: Int) -> Tensor {
    results.enumerated().map { number, result in
      let batchAxis = number == 0 ? 0 : 1
      let weights = (0..<result.type.count).map { flat -> Float in
        var rest = flat
        var place = [Int](repeating: 0, count: 3)
        for axis in [2, 1, 0] {
          place[axis] = rest % result.shape[axis]
          rest /= result.shape[axis]
        }
        place[batchAxis] += sequence
        let angle: Int = place[0] * 31 + place[1] * 7 + place[2] + number
        return cos(Float(angle))
      }
      return (result * Tensor.constant(NDArray(weights, shape: result.shape))).sum()
    }.reduce(nil) { sum, part in sum.map { $0 + part } ?? part }!
  }

  private static func numbers(_ shape: Shape, seed: UInt64) -> NDArray {
    var random = SplitMix(seed: seed)
    return NDArray(
      (0..<shape.count).map { _ in Float.random(in: -1...1, using: &random) }, shape: shape)
  }

  private static func expectClose(
    _ found: [Double], _ expected: [Double], _ what: String, _ tolerance: Double = 3e-5
  ) {
    #expect(found.count == expected.count, "\(what)")
    let worst = zip(found, expected).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? 0
    #expect(worst <= tolerance, "\(what) is off by \(worst)")
  }

  /// The formula without lengths, of each sequence by itself, in double.
  private func check(_ kind: Kind, _ lengths: [Int], time: Int, isDeep: Bool) throws {
    let (inputs, units) = (3, 5), batch = lengths.count
    let (module, apply) = kind.layer(
      inputs, units, layers: isDeep ? 2 : 1, isBidirectional: isDeep)
    try module.initialize(seed: 5)
    let parameters = module.parameters
    func values(of name: String) throws -> NDArray {
      try #require(parameters.first { name.hasSuffix($0.path) }).parameter.value()
    }
    let x = Self.numbers([batch, time, inputs], seed: 11)
    let f = try compile([.f32(batch, time, inputs), .i32(batch)]) { t in
      let results = apply(t[0], t[1])
      let loss = Self.loss(results, time: time)
      return results
        + gradients(of: loss, withRespectTo: [t[0]] + parameters.map(\.parameter.tensor))
    }
    let found: [NDArray] = try f(x, NDArray(lengths.map(Int32.init), shape: [batch]))

    let width = (isDeep ? 2 : 1) * units, states = found.count - 2 - parameters.count
    var outputs = [Double](repeating: 0, count: batch * time * width)
    var flows = [Double](repeating: 0, count: batch * time * inputs)
    var sums = [[Double]](repeating: [], count: parameters.count)
    for (sequence, length) in lengths.enumerated() {
      let trace = Trace()
      trace.mode = .evaluation
      Trace.$current.withValue(trace) {
        let x = trace.input("x", .f32(1, length, inputs)), results = apply(x, nil)
        let weights = module.parameters.map(\.parameter.tensor)
        let loss = Self.loss(results, sequence: sequence, time: time)
        let all = results + gradients(of: loss, withRespectTo: [x] + weights)
        for (index, result) in all.enumerated() { trace.output("\(index)", result) }
      }
      let graph = try trace.finish()
      let begin = sequence * time
      let own = Array(x.doubles[begin * inputs..<(begin + length) * inputs])
      let results = try graph.interpret(
        inputs: [NDArray(doubles: own, type: .f32(1, length, inputs))],
        states: graph.states.map { try values(of: $0.name) }
      ).outputs.map(\.doubles)
      outputs.replaceSubrange(begin * width..<(begin + length) * width, with: results[0])
      flows.replaceSubrange(
        begin * inputs..<(begin + length) * inputs, with: results[1 + states])
      for state in 1...states {
        let all = found[state].doubles, layers = found[state].shape[0]
        for layer in 0..<layers {
          let at = (layer * batch + sequence) * units
          Self.expectClose(
            Array(all[at..<at + units]),
            Array(results[state][layer * units..<(layer + 1) * units]), "state of \(sequence)")
        }
      }
      for (index, gradient) in results.dropFirst(2 + states).enumerated() {
        sums[index] = sums[index].isEmpty ? gradient : zip(sums[index], gradient).map(+)
      }
    }
    Self.expectClose(found[0].doubles, outputs, "outputs")
    Self.expectClose(found[1 + states].doubles, flows, "dx")
    for (index, sum) in sums.enumerated() {
      Self.expectClose(found[2 + states + index].doubles, sum, "parameter \(index)")
    }
  }

  @Test(arguments: Kind.allCases)
  private func sequencesGiveWhatTheyGiveAlone(kind: Kind) throws {
    try check(kind, [3, 7, 1, 5], time: 7, isDeep: false)
    try check(kind, [2, 1, 6, 6, 3], time: 6, isDeep: true)
    try check(kind, [4, 4, 4], time: 4, isDeep: true)
    try check(kind, [1, 1], time: 5, isDeep: false)
    try check(kind, [3], time: 5, isDeep: true)
  }

  /// Of a layer so wide and long that a team shares it.
  private static func step(
    _ kind: Kind, _ options: CompileOptions, dropout: Double = 0
  ) throws -> [NDArray] {
    let (batch, time, inputs) = (13, 12, 40)
    let (module, apply) = kind.layer(
      inputs, 48, layers: 2, isBidirectional: true, dropout: dropout)
    try module.initialize(seed: 2)
    let f = try compile(
      [.f32(batch, time, inputs), .i32(batch)], options: options
    ) { t in
      let results = apply(t[0], t[1])
      let loss = Self.loss(results, time: time)
      let parameters = module.parameters.map(\.parameter.tensor)
      return results + gradients(of: loss, withRespectTo: [t[0]] + parameters)
    }
    let lengths = NDArray((0..<batch).map { Int32(1 + $0 * 5 % time) }, shape: [batch])
    var x = numbers([batch, time, inputs], seed: 7)
    // What an earlier call has left behind must not come back.
    let full = NDArray([Int32](repeating: Int32(time), count: batch), shape: [batch])
    if dropout == 0 {
      x = NDArray([Float](repeating: .nan, count: x.count), shape: x.shape)
      _ = try f.executable.run([x, full])
      x = numbers([batch, time, inputs], seed: 7)
    }
    return try f.executable.run([x, lengths])
  }

  @Test(arguments: Kind.allCases, [Precision.highest, .mixed])
  private func everyTeamGivesTheSameBits(kind: Kind, precision: Precision) throws {
    for dropout in [0, 0.25] {
      var first: [NDArray]?
      for threads in [1, 2, 7] {
        let found = try Self.step(
          kind, CompileOptions(threads: threads, precision: precision), dropout: dropout)
        #expect(found.allSatisfy { $0.doubles.allSatisfy(\.isFinite) })
        #expect(first ?? found == found, "\(threads) threads, dropout \(dropout)")
        first = first ?? found
      }
    }
  }

  @Test(arguments: Kind.allCases)
  private func everyLevelFollowsTheReference(kind: Kind) throws {
    let wanted = try Self.step(kind, CompileOptions(isa: .ref, threads: 1))
    for isa in Environment.availableISAs {
      for precision in [Precision.highest, .mixed] {
        let found = try Self.step(
          kind, CompileOptions(isa: isa, threads: 2, precision: precision))
        for (index, (found, wanted)) in zip(found, wanted).enumerated() {
          let scale = wanted.doubles.map(abs).max() ?? 1
          let tolerance = (precision == .mixed ? 4e-2 : 1e-4) * max(1, scale)
          let worst = zip(found.doubles, wanted.doubles).map { abs($0 - $1) }.max() ?? 0
          #expect(worst <= tolerance, "\(isa) \(precision) result \(index): \(worst)")
        }
      }
    }
  }
}
