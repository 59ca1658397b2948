// Pre-training as an autoencoder, then a classifier on the encoder, which thaws layer by layer.

import Apus
import Testing

private struct Autoencoder: Module {
  let encoder = Linear(4, 8)
  let decoder = Linear(8, 4)
}

private struct Classifier: Module {
  let encoder: Linear
  let head = Linear(8, 3)
}

@Suite struct FineTuningProgram {
  @Test func gradualUnfreezing_followsPyTorch() throws {
    let auto = Autoencoder()
    try ProgramData.fill(auto)
    let pretraining = try Trainer(auto, optimizer: Adam(learningRate: 0.02)) { model, batch in
      mse(model.decoder(tanh(model.encoder(batch.x))), batch.x)
    }
    var curve = try (0..<20).map {
      try pretraining.train(on: Batch(["x": ProgramData.array($0, [8, 4])])).loss
    }
    let model = Classifier(encoder: auto.encoder)
    try ProgramData.fill(model.head, first: 104)
    let tuning = try Trainer(model, optimizer: AdamW(learningRate: 0.02, weightDecay: 0.1)) {
      crossEntropy($0.head(tanh($0.encoder($1.x))), $1.y)
    }
    model.encoder.freeze()
    for step in 0..<30 {
      if step == 10 { try model.unfreeze("encoder.bias") }
      if step == 20 { model.unfreeze() }
      let x = ProgramData.array(1000 + step, [8, 4])
      let labels = (0..<8).map { row -> Int32 in
        let scores = x.floats[4 * row..<4 * row + 3]
        return Int32(scores.firstIndex(of: scores.max()!)! - 4 * row)
      }
      curve.append(try tuning.train(on: Batch(["x": x, "y": NDArray(labels, shape: [8])])).loss)
    }
    try ProgramData.expectEqual(curve, "fine_tuning")
  }
}
