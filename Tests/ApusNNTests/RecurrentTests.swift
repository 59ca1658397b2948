// Recurrent layers do what PyTorch's do, gradients included (data by Tests/reference/recurrent.py).

import Apus
import ApusGraph
import Foundation
import TestSupport
import Testing

private struct Reference: Decodable {
  struct Case: Decodable {
    var kind: String
    var layers: Int
    var bidirectional, relu, bias: Bool
    var lengths: [Int]?
    var x, y, dx: [Double]
    var last: [[Double]]
    var initial, dinitial: [[Double]]?
    var weights, gradients: [String: [Double]]
  }
  var batch, time, inputs, hidden: Int
  var cases: [String: Case]

  static let all: Reference = {
    let url = Bundle.module.url(
      forResource: "recurrent", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode(Reference.self, from: Data(contentsOf: url))
  }()
}

@Suite struct RecurrentTests {
  /// Any of the layers as a function from x and first states to the outputs and the last states.
  private struct AnyRecurrent {
    var module: any Module
    var apply: (Tensor, [Tensor]?, Tensor?) -> [Tensor]
  }

  private static func layer(_ reference: Reference.Case) -> AnyRecurrent {
    let (inputs, hidden) = (Reference.all.inputs, Reference.all.hidden)
    switch reference.kind {
    case "LSTM":
      let lstm = LSTM(
        inputs, hidden, layers: reference.layers, isBidirectional: reference.bidirectional,
        bias: reference.bias)
      return AnyRecurrent(module: lstm) { x, initial, lengths in
        let first = initial.map { LSTM.State(hidden: $0[0], cell: $0[1]) }
        let (y, state) = lstm(x, initial: first, lengths: lengths)
        return [y, state.hidden, state.cell]
      }
    case "GRU":
      let gru = GRU(
        inputs, hidden, layers: reference.layers, isBidirectional: reference.bidirectional,
        bias: reference.bias)
      return AnyRecurrent(module: gru) { x, initial, lengths in
        let (y, state) = gru(x, initial: initial?[0], lengths: lengths)
        return [y, state]
      }
    default:
      let rnn = RNN(
        inputs, hidden, layers: reference.layers, nonlinearity: reference.relu ? .relu : .tanh,
        isBidirectional: reference.bidirectional, bias: reference.bias)
      return AnyRecurrent(module: rnn) { x, initial, lengths in
        let (y, state) = rnn(x, initial: initial?[0], lengths: lengths)
        return [y, state]
      }
    }
  }

  private static func expectClose(
    _ found: NDArray, _ expected: [Double], _ what: String, tolerance: Double = 1e-5
  ) {
    #expect(found.count == expected.count, "\(what)")
    let worst = zip(found.doubles, expected).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? 0
    #expect(worst <= tolerance, "\(what) is off by \(worst)")
  }

  @Test(arguments: Reference.all.cases.keys.sorted())
  func everyCaseIsPyTorchs(name: String) throws {
    let reference = try #require(Reference.all.cases[name])
    let sizes = Reference.all
    let layer = Self.layer(reference)
    try layer.module.initialize(seed: 1)
    let parameters = layer.module.parameters
    #expect(Set(parameters.map(\.path)) == Set(reference.weights.keys))
    for (path, parameter) in parameters {
      try parameter.set(NDArray(doubles: reference.weights[path] ?? [], type: parameter.type))
    }
    let directions = reference.bidirectional ? 2 : 1
    let stateType = TensorType.f32(reference.layers * directions, sizes.batch, sizes.hidden)
    let xType = TensorType.f32(sizes.batch, sizes.time, sizes.inputs)
    let initial = reference.initial?.map { NDArray(doubles: $0, type: stateType) } ?? []
    let lengths = reference.lengths.map { NDArray($0.map(Int32.init), shape: [sizes.batch]) }
    var arrays = [NDArray(doubles: reference.x, type: xType)] + initial
    if let lengths { arrays.append(lengths) }
    let f = try compile(arrays.map(\.type)) { t in
      let first = initial.isEmpty ? nil : Array(t[1...initial.count])
      let results = layer.apply(t[0], first, lengths == nil ? nil : t[1 + initial.count])
      let flat = concat(results.map { $0.reshaped([$0.type.count]) })
      let weights = NDArray((0..<flat.type.count).map { cos(Float($0)) }, shape: flat.shape)
      let loss = (flat * Tensor.constant(weights)).sum()
      return results
        + gradients(
          of: loss,
          withRespectTo: [t[0]] + (first ?? []) + parameters.map(\.parameter.tensor))
    }
    var results = try f.executable.run(arrays)[...]
    Self.expectClose(results.removeFirst(), reference.y, "outputs")
    for (index, last) in reference.last.enumerated() {
      Self.expectClose(results.removeFirst(), last, "last state \(index)")
    }
    Self.expectClose(results.removeFirst(), reference.dx, "dx", tolerance: 5e-5)
    for (index, gradient) in (reference.dinitial ?? []).enumerated() {
      Self.expectClose(results.removeFirst(), gradient, "d initial \(index)", tolerance: 5e-5)
    }
    for (path, _) in parameters {
      Self.expectClose(
        results.removeFirst(), reference.gradients[path] ?? [], "d \(path)", tolerance: 5e-5)
    }
  }

  /// Nor a gradient: the weights' are sums over all steps, and 0 · NaN would be NaN.
  @Test(arguments: ["LSTM", "GRU", "RNN"])
  func paddingReachesNoStateAndNoGradient(kind: String) throws {
    var reference = try #require(
      Reference.all.cases["two layers of LSTM in both directions"])
    reference.kind = kind
    let layer = Self.layer(reference)
    try layer.module.initialize(seed: 3)
    let parameters = layer.module.parameters.map(\.parameter)
    let f = try compile([.f32(2, 6, 2), .i32(2)]) { t in
      let results = layer.apply(t[0], nil, t[1])
      return results
        + gradients(of: results[0].sum(), withRespectTo: [t[0]] + parameters.map(\.tensor))
    }
    var random = SplitMix(seed: 4)
    var numbers = (0..<24).map { _ in Float.random(in: -1...1, using: &random) }
    let lengths = NDArray([4, 6] as [Int32], shape: [2])
    let plain: [NDArray] = try f(NDArray(numbers, shape: [2, 6, 2]), lengths)
    // The steps behind the first sequence's end, even NaN.
    for place in 8..<12 { numbers[place] = .nan }
    #expect(try f(NDArray(numbers, shape: [2, 6, 2]), lengths) as [NDArray] == plain)
  }

  @Test func lengthsThatDoNotFitAreNamed() throws {
    let gru = GRU(2, 3)
    try gru.initialize()
    let f = try compile([.f32(3, 4, 2), .i64(3)], mode: .evaluation) { t in
      [gru(t[0], lengths: t[1]).outputs]
    }
    let x = NDArray(zeros: .f32(3, 4, 2))
    for bad in [0, 5, -1] {
      let error = #expect(throws: ApusError.self) {
        let _: [NDArray] = try f(x, NDArray([4, Int64(bad), 1], shape: [3]))
      }
      #expect(error?.kind == .outOfRange)
      #expect(error?.what.contains("hold \(bad) at row 1") == true)
      #expect(error?.expected == "1..<5")
    }
  }

  @Test func mistakesAreNamed() throws {
    func error(_ body: @escaping ([Tensor]) -> Tensor) -> ApusError? {
      do {
        _ = try compile([.f32(3, 4, 2), .f32(4, 2), .i32(3, 4, 2), .f32(1, 2, 5)]) { [body($0)] }
        return nil
      } catch { return error as? ApusError }
    }
    let lstm = LSTM(2, 5)
    try lstm.initialize()
    #expect(error { lstm($0[1]).outputs }?.what == "LSTM: the input is f32[4,2]")
    #expect(
      error { lstm($0[1]).outputs }?.expected?.contains("x.expandingDims(at: 0)") == true)
    #expect(error { lstm($0[2]).outputs }?.what == "LSTM: the input is i32[3,4,2]")
    #expect(
      error { lstm($0[0], initial: .init(hidden: $0[3], cell: $0[3])).outputs }?.what
        == "LSTM: an initial state is f32[1,2,5]")
    #expect(error { lstm($0[0], lengths: $0[2]).outputs }?.what == "LSTM: lengths are i32[3,4,2]")
    for (layer, what) in [
      (LSTM(0, 5), "LSTM: 0 inputs"), (LSTM(2, -1), "LSTM: -1 units"),
      (LSTM(2, 5, layers: 0), "LSTM: 0 layers"), (LSTM(2, 5, dropout: 1), "LSTM: dropout is 1.0"),
    ] {
      #expect(throws: ApusError.self) { try layer.initialize() }
      #expect(error { layer($0[0]).outputs }?.what == what)
    }
    let fresh = LSTM(2, 5)
    #expect(error { fresh($0[0]).outputs }?.kind == .missing)
  }

  @Test func variantsDiffer() throws {
    func last(_ module: some Module, _ run: @escaping (Tensor) -> Tensor) throws -> [Double] {
      try module.initialize(seed: 9)
      let f = try compile([.f32(1, 3, 2)]) { [run($0[0])] }
      let x = NDArray([1, 2, -1, 0.5, 0.25, -2] as [Float], shape: [1, 3, 2])
      return try (f(x) as [NDArray])[0].doubles
    }
    let plain = GRU(2, 3), first = GRU(2, 3, resetsFirst: true)
    #expect(try last(plain) { plain($0).state } != last(first) { first($0).state })
    let seen = LSTM(2, 3, hasPeepholes: true)
    try seen.initialize(seed: 9)
    #expect(
      seen.parameters.map(\.path) == [
        "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ci_l0", "weight_cf_l0",
        "weight_co_l0",
      ])
    let lstm = LSTM(2, 3)
    #expect(try last(lstm) { lstm($0).state.cell } != last(seen) { seen($0).state.cell })
    let open = LSTM(2, 3, forgetBias: 1)
    try open.initialize()
    let bias = try #require(open.parameters.first { $0.path == "bias_ih_l0" })
    #expect(try bias.parameter.value().doubles == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0])
  }
}
