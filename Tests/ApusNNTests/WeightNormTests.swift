// Weights that are normalised before they are used: what they are, what they learn, how they are saved.

import Apus
import Foundation
import Testing

@Suite struct WeightNormTests {
  private let x = NDArray([1, 2, 3, -1, 0, 1], shape: [2, 3])

  private func result(_ model: Sequential, _ x: NDArray) throws -> [Float] {
    try Predictor(model) { [$0($1[0])] }(x).floats
  }

  @Test func weightNorm_computesAtFirstWhatTheLayerWould() throws {
    let plain = Sequential { Linear(3, 2) }
    let normed = Sequential { WeightNorm(Linear(3, 2)) }
    try plain.initialize(seed: 3)
    try normed.initialize(seed: 3)
    #expect(normed.parameters.map(\.path) == ["0.weight", "0.bias", "0.weight_g"])
    #expect(normed.parameters[2].parameter.shape == [2, 1])
    for (a, b) in zip(try result(plain, x), try result(normed, x)) { #expect(abs(a - b) < 1e-6) }
    // The direction's length is of no matter.
    let weight = normed.parameters[0].parameter
    try weight.set(NDArray(weight.value().floats.map { $0 * 7 }, shape: [2, 3]))
    for (a, b) in zip(try result(plain, x), try result(normed, x)) { #expect(abs(a - b) < 1e-6) }
    // A layer that has a value gives its length.
    let late = Linear(3, 1)
    try late.initialize()
    try late.weight.set(NDArray([0, 3, 4], shape: [1, 3]))
    let wrapped = WeightNorm(late)
    try wrapped.initialize()
    #expect(try wrapped.length?.value().floats == [5])
  }

  @Test func weightNorm_learnsLengthAndDirectionApart() throws {
    let model = WeightNorm(Conv2d(1, 2, 2))
    try model.initialize(seed: 1)
    let (weight, length) = (model.layer.weight, try #require(model.length))
    let images = NDArray((0..<18).map { Float($0 % 5) }, shape: [2, 3, 3, 1])
    let results: [NDArray] = try compile([images.type]) {
      let loss = square(model($0[0])).sum()
      return gradients(of: loss, withRespectTo: [weight.tensor, length.tensor])
    }(images)
    #expect(results[1].shape == [2, 1, 1, 1] && results[1].floats.allSatisfy { $0 != 0 })
    // What changes a row's length does nothing: the gradient is orthogonal to it.
    let (v, slope) = (try weight.value().doubles, results[0].doubles)
    for row in 0..<2 {
      let product = (row * 4..<row * 4 + 4).reduce(0) { $0 + v[$1] * slope[$1] }
      #expect(abs(product) < 1e-3)
      #expect((row * 4..<row * 4 + 4).contains { slope[$0] != 0 })
    }
  }

  @Test func spectralNorm_bringsTheGreatestSingularValueTo1() throws {
    let model = Sequential { SpectralNorm(Linear(2, 2, bias: false)) }
    try model.initialize(seed: 2)
    #expect(model.parameters.map(\.path) == ["0.weight"])
    #expect(model.buffers.map(\.path) == ["0.weight_u"])
    try model.parameters[0].parameter.set(NDArray([0, 4, 1, 0], shape: [2, 2]))
    let before = try model.buffers[0].buffer.value()
    let still = NDArray([0, 1, 1, 0], shape: [2, 2])
    _ = try result(model, still)
    #expect(try model.buffers[0].buffer.value() == before)
    let step = try TrainingStep(model, optimizer: SGD(learningRate: 0)) { $0($1.x).sum() }
    for _ in 0..<12 { try step.run(Batch(["x": still])) }
    #expect(try model.buffers[0].buffer.value() != before)
    // y = x Wᵀ / 4
    let found = try result(model, still)
    for (a, b) in zip(found, [1, 0, 0, 0.25] as [Float]) { #expect(abs(a - b) < 1e-5) }
  }

  @Test func normedLayers_learnAreCopiedAndSaved() throws {
    let model = Sequential {
      SpectralNorm(Linear(3, 4))
      Tanh()
      WeightNorm(Linear(4, 1))
    }
    let trainer = try Trainer(model, optimizer: Adam(learningRate: 0.01)) {
      square($0($1.x) - 1).mean()
    }
    let first = try trainer.train(on: Batch(["x": x])).loss
    for _ in 0..<30 { try trainer.train(on: Batch(["x": x])) }
    #expect(try trainer.train(on: Batch(["x": x])).loss < first)
    let path = "\(FileManager.default.temporaryDirectory.path)/\(UUID().uuidString).safetensors"
    try trainer.save(path)
    let loaded = Sequential {
      SpectralNorm(Linear(3, 4))
      Tanh()
      WeightNorm(Linear(4, 1))
    }
    try loaded.load(path)
    #expect(try result(loaded, x) == result(model, x))
    #expect(try result(model.copy(), x) == result(model, x))
  }

  @Test func layersWithoutAWeight_areRefused() throws {
    let layers: [any Layer] = [
      WeightNorm(ReLU()), SpectralNorm(Tanh()), SpectralNorm(PReLU(3)),
      SpectralNorm(Linear(3, 3), iterations: 0),
    ]
    for layer in layers {
      try layer.initialize()
      let error = #expect(throws: ApusError.self) {
        _ = try compile([.f32(2, 3)]) { [layer($0[0])] }
      }
      #expect(error?.kind == .invalidArgument)
    }
  }
}
