// The examples of Docs/PrecisionAndSpeed.md.

import Apus
import Testing

@Suite struct PrecisionAndSpeed {
  struct Classifier: Module {
    let hidden = [Linear(64, 64), Linear(64, 64), Linear(64, 64), Linear(64, 64)]
    let output = Linear(64, 10)
    func callAsFunction(_ x: Tensor) -> Tensor { output(hidden.reduce(x) { gelu($1($0)) }) }
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
    #expect(executable.memory.arena > 0)
    let (_, profile) = try executable.profile(batch.arrays)
    print(profile)
    #expect("\(profile)".contains("hidden"))
    #expect(try trainer.train(on: batch).loss < first)
  }

  @Test func memoryLimits() throws {
    let batch = Batch([
      "x": NDArray((0..<32768).map { Float($0 % 13) / 13 }, shape: [512, 64]),
      "y": NDArray((0..<512).map { Int32($0 % 10) }, shape: [512]),
    ])
    let trainer = try Trainer(Classifier(), optimizer: Adam(learningRate: 1e-3)) {
      crossEntropy($0($1.x), $1.y)
    }
    let executable = try trainer.trainingStep.executable(for: batch)
    let limit = executable.memory.arena * 3 / 4
    let limited = try Trainer(
      Classifier(), optimizer: Adam(learningRate: 1e-3), compile: CompileOptions(memoryLimit: limit)
    ) { model, batch in crossEntropy(model(batch.x), batch.y) }
    let memory = try limited.trainingStep.executable(for: batch).memory
    print(memory.arena, memory.unlimitedArena, memory.recomputed)
    #expect(memory.arena <= limit && memory.recomputed > 0)
    #expect(try limited.train(on: batch).loss == trainer.train(on: batch).loss)
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
    let f = try compile(.f32(2, 64)) { checkpoint($0) { model.hidden[0]($0) } }
    #expect(try f(NDArray(zeros: .f32(2, 64))).shape == [2, 64])
  }
}
