// A generative adversarial network: two optimisers over two parts of one model, in turns.

import Apus
import Testing

private struct MLP: Module {
  let first: Linear
  let last: Linear
  init(_ inputs: Int, _ hidden: Int, _ outputs: Int) {
    first = Linear(inputs, hidden)
    last = Linear(hidden, outputs)
  }
  func callAsFunction(_ x: Tensor) -> Tensor { last(tanh(first(x))) }
}

private struct GAN: Module {
  let generator = MLP(4, 16, 2)
  let discriminator = MLP(2, 16, 1)
}

@Suite struct GANProgram {
  @Test func twoOptimisersOverPartsOfOneModel_followPyTorch() throws {
    let gan = GAN()
    try ProgramData.fill(gan)
    let discriminate = try TrainingStep { step, batch in
      let fake = gan.discriminator(gan.generator(batch.noise).stopGradient())
      let real = gan.discriminator(batch.real)
      let loss = bceWithLogits(real, real.onesLike()) + bceWithLogits(fake, fake.zerosLike())
      step.minimize(loss, over: gan.discriminator, with: Adam(learningRate: 0.02, beta1: 0.5))
    }
    let generate = try TrainingStep { step, batch in
      let score = gan.discriminator(gan.generator(batch.noise))
      let loss = bceWithLogits(score, score.onesLike())
      step.minimize(loss, over: gan.generator, with: Adam(learningRate: 0.01, beta1: 0.5))
    }
    var curve: [Double] = []
    for step in 0..<40 {
      let noise = ProgramData.array(1000 + step, [16, 4])
      let real = ProgramData.map(ProgramData.array(step, [16, 2])) { 0.5 * $0 + 1 }
      curve.append(try discriminate.run(Batch(["real": real, "noise": noise])).loss)
      curve.append(try generate.run(Batch(["noise": noise])).loss)
    }
    try ProgramData.expectEqual(curve, "gan")
  }
}
