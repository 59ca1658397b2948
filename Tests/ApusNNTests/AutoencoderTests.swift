// The convolutional autoencoder: images of the same extents, gradients for all parameters, and what it refuses.

import Apus
import TestSupport
import Testing

@Suite struct AutoencoderTests {
  @Test func imagesComeOutAsLargeAsTheyWent() throws {
    #expect(ConvAutoencoder().parameterCount == 69_795)
    for (depth, image) in [
      (1, TensorType.f32(2, 6, 10, 3)), (2, .f32(0, 8, 4, 3)), (3, .f32(1, 8, 16, 3)),
    ] {
      let model = ConvAutoencoder(channels: 3, width: 4, depth: depth)
      try model.initialize(seed: 1)
      let function = try compile([image]) { inputs in
        let y = model(inputs[0])
        let all = model.parameters.map(\.parameter.tensor)
        return [y] + gradients(of: mse(y, inputs[0]), withRespectTo: all)
      }
      var random = SplitMix("autoencoder")
      let x = NDArray(
        (0..<image.count).map { _ in Float(random.uniform(0...1)) }, shape: image.shape)
      let found: [NDArray] = try function(x)
      #expect(found[0].type == image)
      guard image.count > 0 else { continue }
      for ((path, _), gradient) in zip(model.parameters, found.dropFirst()) {
        // Biases before a normalisation have no slope but that of rounding.
        let values = gradient.floats
        #expect(values.allSatisfy { $0.isFinite } && values.contains { $0 != 0 }, "\(path)")
      }
    }
    #expect(
      ConvAutoencoder(depth: 1).parameters.map(\.path) == [
        "encoder.0.0.weight", "encoder.0.0.bias", "encoder.0.1.weight", "encoder.0.1.bias",
        "decoder.0.0.weight", "decoder.0.0.bias", "decoder.0.1.weight", "decoder.0.1.bias",
        "output.weight", "output.bias",
      ])
  }

  @Test func extentsThatAreNotHalvedEvenly_areRefused() throws {
    let model = ConvAutoencoder(channels: 1)
    try model.initialize()
    for image in [TensorType.f32(1, 28, 30, 1), .f32(1, 28, 28), .f32(1, 28, 28, 3)] {
      let error = #expect(throws: ApusError.self) { try traced([image]) { [model($0[0])] } }
      #expect(error?.kind == .shapeMismatch)
    }
  }

  @Test func noiseIsTakenAway() throws {
    let model = ConvAutoencoder(channels: 1, width: 8)
    let trainer = try Trainer(model, optimizer: Adam(learningRate: 1e-2)) { model, batch in
      mse(model(batch.noisy), batch.clean)
    }
    // Bars at different places.
    var random = SplitMix("bars")
    var clean: [Float] = []
    for image in 0..<16 {
      for pixel in 0..<64 { clean.append(pixel % 8 / 2 == image % 4 ? 1 : 0) }
    }
    let noisy = clean.map { $0 + Float(random.uniform(-0.5...0.5)) }
    let batch = Batch([
      "noisy": NDArray(noisy, shape: [16, 8, 8, 1]), "clean": NDArray(clean, shape: [16, 8, 8, 1]),
    ])
    let before = try trainer.train(on: batch).loss
    for _ in 0..<60 { try trainer.train(on: batch) }
    let after = try trainer.train(on: batch).loss
    // The noise alone is 1/12.
    #expect(after < 0.03 && after < before / 4, "\(before), then \(after)")
  }
}
