// Whose a weight is: it keeps its value through every step, trainer, predictor and store that comes by.

import Apus
import Foundation
import Testing

/// Two layers of a model whose parts learn and are used apart.
struct TwoLayers: Module {
  let a = Linear(4, 4)
  let b = Linear(4, 3)
  func callAsFunction(_ x: Tensor) -> Tensor { b(tanh(a(x))) }
}

enum LifeCycle {
  static func batch(_ rows: Int = 6) -> Batch {
    Batch([
      "x": NDArray((0..<4 * rows).map { Float(($0 * 7) % 11) / 5 - 1 }, shape: [rows, 4]),
      "y": NDArray((0..<rows).map { Int32($0 % 3) }, shape: [rows]),
    ])
  }

  static func values(_ model: some Module) throws -> [String: NDArray] {
    Dictionary(
      uniqueKeysWithValues: try model.parameters.map { ($0.path, try $0.parameter.value()) })
  }

  static func loss(_ model: TwoLayers, _ batch: SymbolicBatch) -> Tensor {
    crossEntropy(model(batch.x), batch.y)
  }

  static func folder() throws -> URL {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url
  }
}

@Suite struct ParameterLifeTests {
  @Test func aStepOnAPartOfAModel_trainsThatPart() throws {
    let model = TwoLayers()
    try model.initialize(seed: 1)
    let before = try LifeCycle.values(model)
    let step = try TrainingStep { step, batch in
      step.minimize(
        LifeCycle.loss(model, batch), over: model.a, with: SGD(learningRate: 0.5))
    }
    let losses = try (0..<20).map { _ in try step.run(LifeCycle.batch()).loss }
    #expect(losses[19] < 0.9 * losses[0])
    let after = try LifeCycle.values(model)
    #expect(after["a.weight"] != before["a.weight"] && after["a.bias"] != before["a.bias"])
    #expect(after["b.weight"] == before["b.weight"] && after["b.bias"] == before["b.bias"])
  }

  @Test func aTrainerOnAPart_leavesTheRest() throws {
    let model = TwoLayers()
    let trainer = try Trainer(
      model, optimizer: AdamW(learningRate: 0.1), training: model.b, loss: LifeCycle.loss)
    let before = try LifeCycle.values(model)
    try trainer.train(on: LifeCycle.batch())
    let after = try LifeCycle.values(model)
    #expect(after["a.weight"] == before["a.weight"])
    #expect(after["b.weight"] != before["b.weight"])
  }

  @Test func aCompiledClosure_computesWithTheModelsWeights() throws {
    let model = TwoLayers()
    try model.initialize(seed: 1)
    let x = try #require(LifeCycle.batch().x)
    let function = try compile(x.type) { model($0) }
    let predictor = try Predictor(model) { $0($1) }
    let first: NDArray = try function(x)
    #expect(first.floats.contains { $0 != 0 })
    #expect(try first == predictor(x))
    try model.b.bias!.set(NDArray([5, 6, 7], shape: [3]))
    let second: NDArray = try function(x)
    #expect(second != first)
    #expect(try second == predictor(x))
  }

  @Test func aLayerNamedByASecondModel_keepsItsValuesInTheFirst() throws {
    struct Outer: Module {
      let encoder: TwoLayers
      let head = Linear(3, 2)
    }
    let trainer = try Trainer(
      TwoLayers(), optimizer: SGD(learningRate: 0.1), loss: LifeCycle.loss)
    let full = try trainer.train(on: LifeCycle.batch(6)).loss
    try Outer(encoder: trainer.model).initialize(seed: 9)
    #expect(trainer.model.a.weight.path == "encoder.a.weight")
    // A batch of another size is compiled now: a zero model would lose log 3.
    let partial = try trainer.train(on: LifeCycle.batch(3)).loss
    #expect(abs(partial - log(3)) > 1e-3 && abs(partial - full) < 0.5)
  }

  @Test func aSecondTrainer_goesOnWithWhatTheFirstLearnt() throws {
    struct Classifier: Module {
      let encoder: Linear
      let head = Linear(4, 3)
    }
    let first = try Trainer(
      TwoLayers(), optimizer: SGD(learningRate: 0.5), seed: 3, loss: LifeCycle.loss)
    for _ in 0..<5 { try first.train(on: LifeCycle.batch()) }
    let learnt = try first.model.a.weight.value()
    let second = try Trainer(
      Classifier(encoder: first.model.a), optimizer: SGD(learningRate: 0.5), seed: 4
    ) { crossEntropy($0.head($0.encoder($1.x)), $1.y) }
    #expect(try first.model.a.weight.value() == learnt)
    try second.train(on: LifeCycle.batch())
    #expect(try first.model.a.weight.value() != learnt)
    try first.train(on: LifeCycle.batch())
  }

  @Test func weightsThatWereLoaded_stayInATrainer_andPredictorsMadeBeforeSeeIt() throws {
    let path = try LifeCycle.folder().appendingPathComponent("w.safetensors").path
    let source = TwoLayers()
    try source.initialize(seed: 5)
    try source.save(path)
    // Never initialised: the file gives all values.
    let model = TwoLayers()
    try model.load(path)
    let x = try #require(LifeCycle.batch().x)
    let predictor = try Predictor(model) { $0($1) }
    let before = try predictor(x)
    let trainer = try Trainer(
      model, optimizer: SGD(learningRate: 0.5), seed: 77, loss: LifeCycle.loss)
    #expect(try LifeCycle.values(model) == LifeCycle.values(source))
    try trainer.train(on: LifeCycle.batch())
    #expect(try predictor(x) != before)
    #expect(try predictor(x) == Predictor(trainer.model) { $0($1) }(x))
  }

  @Test func twoModelsOfOneArchitecture_haveTheirOwnWeights() throws {
    let actor = TwoLayers(), critic = TwoLayers()
    try actor.initialize(seed: 1)
    try critic.initialize(seed: 2)
    let step = try TrainingStep { step, batch in
      let sum = LifeCycle.loss(actor, batch) + LifeCycle.loss(critic, batch)
      step.minimize(sum, over: actor, with: Adam(learningRate: 0.01))
    }
    let before = (try LifeCycle.values(actor), try LifeCycle.values(critic))
    #expect(before.0["a.weight"] != before.1["a.weight"])
    try step.run(LifeCycle.batch())
    #expect(try LifeCycle.values(critic) == before.1)
    #expect(try LifeCycle.values(actor)["a.weight"] != before.0["a.weight"])
    let names = try step.executable(for: LifeCycle.batch()).states.names
    #expect(names.contains("a.weight") && names.contains("a.weight#2"))
  }

  @Test func initialize_drawsOnlyWhatHasNoValue_unlessAsked() throws {
    let model = TwoLayers()
    try model.a.initialize(seed: 1)
    let drawn = try model.a.weight.value()
    try model.initialize(seed: 2)
    #expect(try model.a.weight.value() == drawn)
    #expect(model.b.weight.isInitialized)
    try model.initialize(seed: 2, reinitialize: true)
    let fresh = TwoLayers()
    try fresh.initialize(seed: 2)
    #expect(try LifeCycle.values(model) == LifeCycle.values(fresh))
  }

  @Test func aModelWithoutValues_saysSo() throws {
    let model = TwoLayers()
    let step = try TrainingStep(model, optimizer: SGD(learningRate: 0.1), loss: LifeCycle.loss)
    let never = #expect(throws: ApusError.self) { try step.run(LifeCycle.batch()) }
    #expect(
      never?.kind == .missing && "\(never!)".contains("no model that was initialised lists it"))
    let predictor = #expect(throws: ApusError.self) { _ = try Predictor(model) { $0($1) } }
    #expect(
      "\(predictor!)".contains("'a.weight' has no value: its model is not initialised"),
      "\(predictor!)")
  }

  @Test func aGraphsStateWithoutAValue_isAnError() throws {
    let trace = Trace()
    trace.output("y", trace.state("w", .f32(2)) + 1)
    let graph = try trace.finish()
    let error = #expect(throws: ApusError.self) { try Executable(graph) }
    #expect(error?.kind == .missing && "\(error!)".contains("'w'"))
  }

  @Test func exclusiveAccess_letsTheSameThreadReadAndRun() throws {
    let trace = Trace()
    let w = trace.state("w", .f32(2))
    trace.assign(w, w + 1)
    let store = StateStore()
    try store.set("w", NDArray([1, 2], shape: [2]))
    let executable = try Executable(trace.finish(), states: store)
    let values = try store.withExclusiveAccess {
      _ = try executable.run([])
      return try store.array("w").floats
    }
    #expect(values == [2, 3])
  }
}
