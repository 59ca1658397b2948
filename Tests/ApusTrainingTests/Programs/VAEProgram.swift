// A variational autoencoder, and samples from it: Kingma & Welling 2014.

import Apus
import Testing

private struct VAE: Module {
  let encoder = [Linear(6, 8), Linear(8, 4)]
  let decoder = [Linear(2, 8), Linear(8, 6)]
  func encode(_ x: Tensor) -> [Tensor] { encoder[1](tanh(encoder[0](x))).chunked(into: 2, axis: 1) }
  func decode(_ z: Tensor) -> Tensor { decoder[1](tanh(decoder[0](z))) }
}

@Suite struct VAEProgram {
  @Test func trainingAndSampling_followPyTorch() throws {
    let vae = VAE()
    try ProgramData.fill(vae)
    let trainer = try Trainer(vae, optimizer: Adam(learningRate: 0.02)) { vae, batch in
      let code = vae.encode(batch.x)
      let (mean, logVariance) = (code[0], code[1])
      let z = mean + batch.noise * exp(0.5 * logVariance)
      let divergence = (1 + logVariance - square(mean) - exp(logVariance)).sum(axes: [1]).mean()
      return mse(vae.decode(z), batch.x) - 0.05 * divergence
    }
    let curve = try (0..<50).map { step in
      try trainer.train(
        on: Batch([
          "x": ProgramData.array(step, [8, 6]), "noise": ProgramData.array(1000 + step, [8, 2]),
        ])
      ).loss
    }
    try ProgramData.expectEqual(curve, "vae")
    let sample = try Predictor(vae, seed: 7) { vae, _ in vae.decode(.randomNormal([64, 2])) }
    let first = try sample(NDArray(0)), second = try sample(NDArray(0))
    #expect(first.shape == [64, 6] && first != second)
    let again = try Predictor(vae, seed: 7) { vae, _ in vae.decode(.randomNormal([64, 2])) }
    #expect(try again(NDArray(0)) == first)
  }
}
