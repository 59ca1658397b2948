// Activations and small layers do what PyTorch's do (data by Tests/reference/layers.py); layers of layers; noise in
// training alone; penalties.

import Apus
import Foundation
import TestSupport
import Testing

/// A layer's result as the reference file has it.
private struct LayerCase: Decodable {
  struct Input: Decodable {
    var shape: [Int]
    var values: [Double]
    var array: NDArray { NDArray(doubles: values, type: TensorType(.f32, Shape(shape))) }
  }
  var inputs: [String: Input]
  var result: [Double]
  var gradients: [String: [Double]]
}

private let reference: [String: LayerCase] = {
  let url = Bundle.module.url(
    forResource: "layers", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: LayerCase].self, from: Data(contentsOf: url))
}()

private let layers: [String: any Layer & Sendable] = [
  "ELU": ELU(alpha: 0.7), "SELU": SELU(), "CELU": CELU(alpha: 0.7), "Mish": Mish(),
  "ReLU6": ReLU6(), "HardTanh": HardTanh(), "HardSigmoid": HardSigmoid(),
  "HardSwish": HardSwish(), "Softplus": Softplus(), "Softsign": Softsign(),
  "LogSigmoid": LogSigmoid(), "LogSoftmax": LogSoftmax(), "GLU": GLU(), "Identity": Identity(),
  "GLU relu": GLU(.relu), "GLU gelu": GLU(.gelu), "GLU silu": GLU(.silu),
  "GLU identity": GLU(.identity), "PReLU": PReLU(6), "PReLU one": PReLU(),
  "HardShrink": HardShrink(lambda: 0.7), "SoftShrink": SoftShrink(lambda: 0.7),
  "TanhShrink": TanhShrink(), "Threshold": Threshold(0.3, value: -2), "Softmin": Softmin(),
]

@Suite struct LayerVectorTests {
  /// What a closure makes of the inputs, and the gradients of its sum times 1, 2, 3, … for inputs and parameters.
  private func run(
    _ model: some Module, _ expected: LayerCase, _ body: ([Tensor]) -> Tensor
  ) throws -> [[Double]] {
    try model.initialize()
    for (path, parameter) in model.parameters {
      try parameter.set(try #require(expected.inputs[path]).array)
    }
    let own = Set(model.parameters.map(\.path))
    let names = ["x", "z"].filter { expected.inputs[$0] != nil }
    let arrays = names.map { expected.inputs[$0]!.array }
    let function = try compile(arrays.map(\.type)) { tensors in
      let y = body(tensors)
      let ramp = NDArray(
        doubles: (1...y.type.count).map(Double.init), type: TensorType(.f32, y.shape))
      let all =
        tensors
        + own.sorted().map { path in
          model.parameters.first { $0.path == path }!.parameter.tensor
        }
      return [y] + gradients(of: (y * y.trace.constant(ramp)).sum(), withRespectTo: all)
    }
    let results = try function.executable.run(arrays)
    return results.map(\.doubles)
  }

  private func expectClose(_ found: [Double], _ wanted: [Double]?, _ what: String) {
    #expect(found.count == wanted?.count, "\(what)")
    for (a, b) in zip(found, wanted ?? []) {
      #expect(Swift.abs(a - b) <= 2e-5 * Swift.max(1, Swift.abs(b)), "\(what): \(a), not \(b)")
    }
  }

  @Test func everyLayerOfTheReferenceIsTested() {
    #expect(Set(layers.keys).union(["Bilinear"]) == Set(reference.keys))
  }

  @Test(arguments: layers.keys.sorted()) func results_arePyTorchs(name: String) throws {
    let expected = try #require(reference[name])
    let layer = try #require(layers[name])
    let found = try run(layer, expected) { layer($0[0]) }
    expectClose(found[0], expected.result, name)
    expectClose(found[1], expected.gradients["x"], "\(name): gradient")
    if found.count > 2 { expectClose(found[2], expected.gradients["weight"], "\(name): slopes") }
  }

  @Test func bilinear_isPyTorchs() throws {
    let expected = try #require(reference["Bilinear"])
    let layer = Bilinear(4, 2, 3)
    #expect(layer.parameters.map(\.path) == ["weight", "bias"])
    let found = try run(layer, expected) { layer($0[0], $0[1]) }
    expectClose(found[0], expected.result, "Bilinear")
    for (values, name) in zip(found.dropFirst(), ["x", "z", "bias", "weight"]) {
      expectClose(values, expected.gradients[name], "Bilinear: gradient of \(name)")
    }
  }

  // MARK: Layers of layers

  @Test func residuals_addWhatTheyKeep() throws {
    let plain = Residual {
      Linear(3, 3, initializer: .identity(gain: 2))
      Lambda { $0 + 1 }
    }
    let wide = Residual(shortcut: Linear(3, 1, initializer: .ones)) {
      Linear(3, 1, initializer: .ones)
    }
    #expect(plain.parameters.map(\.path) == ["0.weight", "0.bias"])
    #expect(wide.parameters.map(\.path).contains("shortcut.weight"))
    try plain.initialize()
    try wide.initialize()
    for (_, parameter) in plain.parameters + wide.parameters where parameter.shape.rank == 1 {
      try parameter.set(NDArray(zeros: parameter.type))
    }
    let results: [NDArray] = try compile([.f32(1, 3)]) { [plain($0[0]), wide($0[0])] }(
      NDArray([1, 2, 3], shape: [1, 3]))
    #expect(results[0].floats == [4, 7, 10])
    #expect(results[1].floats == [12])
  }

  @Test func branches_areAddedOrPutSideBySide() throws {
    let sum = Parallel {
      Identity()
      Lambda { $0 * 10 }
    }
    let joined = Concat {
      Identity()
      Lambda { $0 * 10 }
    }
    let results: [NDArray] = try compile([.f32(1, 2)]) { [sum($0[0]), joined($0[0])] }(
      NDArray([1, 2], shape: [1, 2]))
    #expect(results[0].floats == [11, 22])
    #expect(results[1].floats == [1, 2, 10, 20])
    let learnt = Concat {
      Linear(2, 3)
      Sequential {
        Linear(2, 4)
        ReLU()
      }
    }
    #expect(
      learnt.parameters.map(\.path) == ["0.weight", "0.bias", "1.0.weight", "1.0.bias"])
  }

  // MARK: Noise

  private func moments(_ layer: some Layer, _ mode: Mode) throws -> (mean: Double, variance: Double)
  {
    let predictor = try Predictor(Sequential { layer }, mode: mode) { [$0($1[0])] }
    let count = 40_000
    // A normal distribution, by its quantiles.
    let x = (0..<count).map { index in
      let u = (Double(index) + 0.5) / Double(count)
      return Float((2 * u - 1) * 3.0.squareRoot())
    }
    let y = try predictor(NDArray(x, shape: [count])).doubles
    let mean = y.reduce(0, +) / Double(count)
    return (mean, y.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count))
  }

  @Test(arguments: [0.1, 0.5]) func alphaDropout_keepsMeanAndVariance(p: Double) throws {
    let trained = try moments(AlphaDropout(p), .training)
    #expect(Swift.abs(trained.mean) < 0.03 && Swift.abs(trained.variance - 1) < 0.05)
    let evaluated = try moments(AlphaDropout(p), .evaluation)
    #expect(Swift.abs(evaluated.mean) < 1e-3 && Swift.abs(evaluated.variance - 1) < 1e-3)
  }

  @Test func gaussianNoise_addsItsVariance_inTrainingAlone() throws {
    let trained = try moments(GaussianNoise(2), .training)
    #expect(Swift.abs(trained.mean) < 0.06 && Swift.abs(trained.variance - 5) < 0.2)
    #expect(Swift.abs(try moments(GaussianNoise(2), .evaluation).variance - 1) < 1e-3)
  }

  // MARK: Penalties

  @Test func penalties_areSumsOverWhatMatches() throws {
    let model = Sequential { Linear(2, 2, initializer: .constant(-3)) }
    try model.initialize()
    let (weight, bias) = (model[0, as: Linear.self]!.weight, model[0, as: Linear.self]!.bias!)
    try bias.set(NDArray([1, -2], shape: [2]))
    let results: [NDArray] = try compile([.f32(1)]) { _ in
      let l2 = model.l2Penalty(0.5, "*.weight")
      return [
        model.l1Penalty(0.1), l2, model.l2Penalty(1, "*.bias"),
        gradients(of: l2, withRespectTo: [weight.tensor])[0],
        gradients(of: model.l1Penalty(0.1), withRespectTo: [bias.tensor])[0],
      ]
    }(NDArray(zeros: .f32(1)))
    #expect(Swift.abs(results[0].scalar - 1.5) < 1e-6)
    #expect(results[1].scalar == 18 && results[2].scalar == 5)
    #expect(results[3].floats == [-3, -3, -3, -3])
    #expect(results[4].floats == [0.1, -0.1])
  }

  // MARK: Mistakes

  @Test func mistakes_sayWhatWasExpected() throws {
    let model = Linear(3, 3)
    try model.initialize()
    let bilinear = Bilinear(3, 2, 1)
    try bilinear.initialize()
    let prelu = PReLU(2)
    try prelu.initialize()
    let mistakes: [(Tensor) -> Tensor] = [
      { prelu($0) }, { GLU()($0) }, { CELU(alpha: 0)($0) }, { AlphaDropout(1)($0) },
      { GaussianNoise(-1)($0) }, { SoftShrink(lambda: -1)($0) }, { bilinear($0, $0) },
      { model.l1Penalty(-1) + $0 },
      { model.l2Penalty(1, "*.wait") + $0 },
      { x in Residual { Lambda { $0.sum(axis: 0) } }(x) },
      { x in
        Parallel {
          Identity()
          Lambda { $0.sum(axis: 0) }
        }(x)
      },
      { x in
        Concat {
          Identity()
          Lambda { $0.sum(axis: 0) }
        }(x)
      },
    ]
    for (index, mistake) in mistakes.enumerated() {
      let error = #expect(throws: ApusError.self, "mistake \(index)") {
        try traced([.f32(4, 3)]) { [mistake($0[0])] }
      }
      #expect(error?.expected?.isEmpty == false, "mistake \(index)")
      #expect(
        error?.location?.contains("LayerVectorTests.swift") == true,
        "mistake \(index): \(error as Any)")
    }
  }
}
