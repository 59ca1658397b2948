// The examples of Docs/PrecisionAndSpeed.md.

import Apus
import Testing

@Suite struct PrecisionAndSpeed {
  struct Classifier: Module {
    let hidden = Linear(64, 64)
    let output = Linear(64, 10)
    func callAsFunction(_ x: Tensor) -> Tensor { output(relu(hidden(x))) }
  }

  @Test func settings_memoryAndProfile() throws {
    let batch = Batch([
      "x": NDArray((0..<2048).map { Float($0 % 13) / 13 }, shape: [32, 64]),
      "y": NDArray((0..<32).map { Int32($0 % 10) }, shape: [32]),
    ])
    let trainer = try Trainer(
      Classifier(), optimizer: Adam(learningRate: 1e-3), compile: CompileOptions(precision: .mixed)
    ) { model, batch in crossEntropy(model(batch.x), batch.y) }
    let first = try trainer.train(on: batch).loss
    let executable = try trainer.trainingStep.executable(for: batch)
    print(executable.memory.arena, executable.memory.lowerBound)
    let limited = CompileOptions(memoryLimit: 1 << 30)
    #expect(executable.memory.arena > 0 && limited.memoryLimit == 1 << 30)
    let (_, profile) = try executable.profile(batch.arrays)
    print(profile)
    #expect("\(profile)".contains("hidden"))
    #expect(try trainer.train(on: batch).loss < first)
    let small = CompileOptions(memoryLimit: 64)
    let step = try TrainingStep(Self.trained(), optimizer: SGD(learningRate: 1), compile: small) {
      crossEntropy($0($1.x), $1.y)
    }
    #expect(throws: ApusError.self) { try step.run(batch) }
  }

  static func trained() throws -> Classifier {
    let model = Classifier()
    try model.initialize(seed: 1)
    return model
  }

  @Test func warningsAndCheckpoints() throws {
    let standard = Warnings.handler
    defer { Warnings.handler = standard }
    Warnings.handler = { text in print("apus:", text) }
    let model = try Self.trained()
    let f = try compile(.f32(2, 64)) { checkpoint($0) { model.hidden($0) } }
    #expect(try f(NDArray(zeros: .f32(2, 64))).shape == [2, 64])
  }
}
