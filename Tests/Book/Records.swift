// The examples of Docs/Records.md.

import Apus
import Foundation
import Testing

@Suite struct Records {
  struct Network: Module {
    let first = Linear(4, 8)
    let last = Linear(8, 3)
    func callAsFunction(_ x: Tensor) -> Tensor { last(tanh(first(x))) }
  }

  private static func data(_ count: Int) throws -> ArrayDataset {
    try ArrayDataset([
      "x": NDArray((0..<4 * count).map { Float($0 % 7) / 5 }, shape: [count, 4]),
      "y": NDArray((0..<count).map { Int32($0 % 3) }, shape: [count]),
    ])
  }

  @Test func records() throws {
    let folder = try Book.folder()
    let (data, test) = (try Self.data(24), try Self.data(12))
    let trainer = try Trainer(Network(), optimizer: Adam(learningRate: 0.02), seed: 3) {
      let logits = $0($1.x)
      $1.report("accuracy", accuracy(logits, $1.y))
      return crossEntropy(logits, $1.y)
    }
    let weights = try trainer.model.first.weight.value()
    let recorder = try RunRecorder("\(folder)/a", hyperparameters: ["rate": 0.02, "hidden": 8])
    let history = try trainer.fit(
      data.batched(8), validation: test.batched(8), epochs: 3,
      callbacks: [ProgressBar(), recorder, Checkpointing(RunFolder("\(folder)/a").checkpoint)])
    try recorder.text("note", "three epochs", at: trainer.step)
    try recorder.image("weights", Picture(weights, scale: .symmetric), at: trainer.step)
    recorder.settle()

    let step = try TrainingStep(trainer.model, optimizer: SGD(learningRate: 0.1)) {
      crossEntropy($0($1.x), $1.y)
    }
    let batches = try [Self.data(8), Self.data(8)].map {
      try #require(try $0.batched(8).makeIterator(epoch: 0).next())
    }
    let own = try RunRecorder("\(folder)/own")
    try own.begin(at: step.count)
    for batch in batches {
      let result = try step.run(batch)
      try own.scalar("loss/step", result.loss, at: step.count)
    }
    try own.histogram("weight", trainer.model.first.weight.value(), at: step.count)
    own.settle()
    #expect(try RunHistory("\(folder)/own").curve("loss/step").points.map(\.step) == [1, 2])

    let curves = try RunHistory("\(folder)/a")
    let loss = try curves.curve("loss/validation")
    print(loss.least?.step ?? 0, loss.last?.value ?? .nan, curves.hyperparameters)
    #expect(loss.points.map(\.value) == history.compactMap { $0.validation?.loss })
    #expect(curves.texts.map(\.text) == ["three epochs"] && curves.hyperparameters["hidden"] == 8)

    var matrix = ConfusionMatrix(classes: 3)
    try matrix.add(
      predictions: NDArray([Int32(1)], shape: [1]), labels: NDArray([Int32(1)], shape: [1]))
    var report = RunReport("three epochs", curves)
    report.configuration = [("rate", "0.02"), ("data", "rings")]
    report.confusion = matrix
    report.classNames = ["inner", "middle", "outer"]
    report.samples = [.init(try Picture(weights, scale: .symmetric), "the first layer's weights")]
    try report.write("\(folder)/a/report.html")
    #expect(
      try String(contentsOfFile: "\(folder)/a/report.html", encoding: .utf8).contains("outer"))

    let best = BestCheckpoint("\(folder)/best.safetensors", on: "accuracy", .larger)
    try trainer.fit(
      data.batched(8), validation: test.batched(8), epochs: 20,
      callbacks: [best, EarlyStopping(patience: 3)])
    print(best.best?.epoch ?? 0, best.best?.value ?? 0)
    #expect(best.best != nil)
  }
}
