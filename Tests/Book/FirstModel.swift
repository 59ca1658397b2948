// The examples of Docs/FirstModel.md.

import Apus
import Testing

@Suite struct FirstModel {
  struct Curve: Module {
    let first = Linear(1, 32)
    let second = Linear(32, 32)
    let last = Linear(32, 1)

    func callAsFunction(_ x: Tensor) -> Tensor { last(tanh(second(tanh(first(x))))) }
  }

  @Test func aSmallProgram_partByPart() throws {
    let points = (0..<200).map { Float($0) / 100 - 1 }
    let data = try ArrayDataset([
      "x": NDArray(points, shape: [200, 1]),
      "y": NDArray(points.map { $0 * $0 * $0 - $0 }, shape: [200, 1]),
    ])
    let training = try data.subset(0..<160).batched(16)
    let validation = try data.subset(160..<200).batched(40)
    let trainer = try Trainer(Curve(), optimizer: Adam(learningRate: 0.01)) { model, batch in
      let prediction = model(batch.x)
      batch.report("mae", mae(prediction, batch.y))
      return mse(prediction, batch.y)
    }
    print(trainer.model.summary)
    let table = try Curve().summary(for: [.f32(16, 1)]) { model, inputs in [model(inputs[0])] }
    print(table)
    #expect(table.rows.prefix(3).map(\.path) == ["first", "second", "last"])
    #expect(table.parameters == 1153)
    let history = try trainer.fit(training, validation: validation, epochs: 60, callbacks: [])
    for epoch in history.suffix(3) {
      print(epoch.training.loss, epoch.validation!.loss, epoch.validation!["mae"]!)
    }
    let stopping = EarlyStopping(on: "mae", patience: 5)
    try trainer.fit(training, validation: validation, epochs: 200, callbacks: [stopping])
    print(trainer.stopReason ?? "all epochs")
    let result = try trainer.evaluate(data.batched(64))
    print(result.loss, result["mae"]!)

    let curve = try Predictor(trainer.model) { $0($1) }
    let y = try curve(NDArray([-0.5, 0, 0.5], shape: [3, 1]))
    #expect(trainer.model.summary.contains("1153 parameters"))
    #expect(history.count == 60 && history[59].training.loss < 0.1 * history[0].training.loss)
    #expect(result.loss < 0.05 && result["mae"]! < 0.2)
    #expect(y.shape == [3, 1])
  }
}
