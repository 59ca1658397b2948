// Copies, ties and buffers: who shares weights and who does not.

import Apus
import Testing

/// A part in every kind of place that a copy must find.
private struct Varied: Module {
  let plain = Linear(2, 2)
  let list = [Linear(2, 2), Linear(2, 2)]
  let maybe: Linear? = Linear(2, 2, bias: false)
  let none: Linear? = nil
  let any: any Layer = Linear(2, 2)
  let named: [String: any Module] = ["l": Linear(2, 2), "m": Linear(2, 2)]
  let pair = (first: Linear(2, 2), second: Parameter([3], .ones))
  let network = Sequential {
    Linear(2, 2)
    ReLU()
    LayerNorm(2)
  }
  let stack = Stack(3) { Linear(2, 2) }
  let count = Buffer([], .zeros)
  let numbers: [Float] = [1, 2, 3]
  let text = "a"
}

private struct Head: Module {
  let weight: Parameter
  func callAsFunction(_ x: Tensor) -> Tensor { x.matmul(weight.tensor, transposeOther: true) }
}

private struct LanguageModel: Module {
  let head: Head
  let wte: Embedding
  init(tied: Bool) {
    wte = Embedding(5, 4)
    head = Head(weight: tied ? wte.weight.tied() : wte.weight)
  }
}

private struct Kind: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let make: @Sendable () -> any Module

  init(_ name: String, _ make: @escaping @Sendable () -> any Module) {
    (testDescription, self.make) = (name, make)
  }
}

/// What is built of more than lists of layers.
private let kinds = [
  Kind("RNN") { RNN(3, 4, layers: 2) },
  Kind("GRU") { GRU(3, 4, isBidirectional: true) },
  Kind("LSTM") { LSTM(3, 4, layers: 2, isBidirectional: true, hasPeepholes: true) },
  Kind("Bilinear") { Bilinear(2, 3, 4) },
  Kind("attention") { MultiHeadAttention(8, heads: 2) },
  Kind("encoder") { TransformerEncoder(layers: 2, TransformerSettings(8, heads: 2, hidden: 12)) },
  Kind("decoder") { TransformerDecoder(layers: 2, TransformerSettings(8, heads: 2, hidden: 12)) },
  Kind("BERT") { BERT(.init(vocabulary: 9, length: 4, width: 8, layers: 2, heads: 2)) },
  Kind("GPT2") { GPT2(.init(vocabulary: 9, length: 4, width: 8, layers: 2, heads: 2)) },
  Kind("Llama") {
    Llama(.init(vocabulary: 9, length: 4, width: 8, hidden: 8, layers: 2, heads: 2))
  },
  Kind("translator") {
    EncoderDecoderTransformer(.init(vocabulary: 9, length: 4, width: 8, layers: 2, heads: 2))
  },
  Kind("U-Net") { UNet(classes: 2, channels: 1, width: 2, depth: 2) },
  Kind("autoencoder") { ConvAutoencoder(channels: 1, width: 2, depth: 2) },
  Kind("ResNet") { ResNet.cifar(blocks: 1, classes: 2) },
  Kind("LeNet") { LeNet() },
]

@Suite struct CopyTests {
  @Test func aCopy_hasItsOwnWeightsOfEqualValues_inEveryKindOfPlace() throws {
    let model = Varied()
    try model.initialize(seed: 3)
    model.list[1].freeze()
    let copy = try model.copy()
    #expect(copy.parameters.map(\.path) == model.parameters.map(\.path))
    #expect(copy.parameters.count == 26)
    for ((path, mine), (_, theirs)) in zip(model.parameters, copy.parameters) {
      #expect(mine !== theirs, "\(path)")
      #expect(try mine.value() == theirs.value(), "\(path)")
      #expect(mine.isTrainable == theirs.isTrainable && theirs.path == path)
    }
    #expect(copy.count !== model.count && copy.numbers == model.numbers)
    try model.plain.weight.set(NDArray(zeros: .f32(2, 2)))
    #expect(try copy.plain.weight.value() != model.plain.weight.value())
  }

  @Test(arguments: kinds) fileprivate func everyModelCanBeCopied(kind: Kind) throws {
    func check(_ model: some Module) throws {
      try model.initialize(seed: 5)
      let copy = try model.copy()
      #expect(!model.parameters.isEmpty)
      #expect(copy.parameters.map(\.path) == model.parameters.map(\.path))
      for ((path, mine), (_, theirs)) in zip(model.parameters, copy.parameters) {
        #expect(try mine !== theirs && mine.value() == theirs.value(), "\(path)")
      }
    }
    try check(kind.make())
  }

  @Test func theAverageOfARecurrentModel_isJudgedInItsPlace() throws {
    let trainer = try Trainer(
      LSTM(2, 3, isBidirectional: true), optimizer: SGD(learningRate: 0.1), movingAverage: 0.5
    ) { model, batch in model(batch.x).outputs.sum() }
    let kept = try #require(trainer.average)
    let before = try LifeCycle.values(kept)
    try trainer.train(on: Batch(["x": NDArray([1, 2, 3, 4, 5, 6, 7, 8], shape: [1, 4, 2])]))
    let average = try LifeCycle.values(kept), now = try LifeCycle.values(trainer.model)
    #expect(average != before)
    for (path, value) in average {
      let first = try #require(before[path]).doubles, last = try #require(now[path]).doubles
      for (own, ends) in zip(value.doubles, zip(first, last)) {
        #expect(abs(own - (ends.0 + ends.1) / 2) < 1e-6, "\(path)")
      }
    }
  }

  @Test func whatIsTied_isTiedInTheCopy() throws {
    let model = LanguageModel(tied: true)
    try model.initialize()
    let copy = try model.copy()
    #expect(copy.head.weight === copy.wte.weight && copy.wte.weight !== model.wte.weight)
  }

  @Test func aModelWithoutValues_isCopiedWithoutValues() throws {
    let copy = try TwoLayers().copy()
    #expect(!copy.a.weight.isInitialized)
    try copy.initialize(seed: 1)
    #expect(copy.a.weight.isInitialized)
  }

  @Test func aClassCannotBeCopied_andSaysSo() throws {
    final class Net: Module { let layer = Linear(2, 2) }
    struct Holder: Module { let net = Net() }
    for attempt in [{ _ = try Net().copy() }, { _ = try Holder().copy() }] as [() throws -> Void] {
      let error = #expect(throws: ApusError.self) { try attempt() }
      #expect(error?.kind == .unsupported && "\(error!)".contains("Net"))
    }
  }

  @Test func copyParameters_takesValues_andRefusesOtherStructures() throws {
    let online = TwoLayers(), target = TwoLayers()
    try online.initialize(seed: 1)
    try target.copyParameters(from: online)
    #expect(try LifeCycle.values(target) == LifeCycle.values(online))
    let same = online
    let shared = #expect(throws: ApusError.self) { try same.copyParameters(from: online) }
    #expect("\(shared!)".contains("both models have the same"))
    let other = #expect(throws: ApusError.self) { try target.copyParameters(from: online.a) }
    #expect(other?.kind == .missing)
    let empty = #expect(throws: ApusError.self) { try target.copyParameters(from: TwoLayers()) }
    #expect(empty?.kind == .missing)
  }

  @Test func follow_movesTowardsTheUpdatedModel_withinTheStep() throws {
    struct Scale: Module { let w = Parameter([2], .zeros); let n = Buffer([], .zeros) }
    let online = Scale()
    try online.initialize()
    let target = try online.copy()
    let step = try TrainingStep { step, batch in
      online.n.update(to: online.n.tensor + 1)
      step.minimize((batch.x * online.w).sum(), over: online, with: SGD(learningRate: 1))
      target.follow(online, rate: 0.25)
    }
    let batch = Batch(["x": NDArray([-4, 8], shape: [2])])
    try step.run(batch)
    #expect(try online.w.value().floats == [4, -8])
    #expect(try target.w.value().floats == [1, -2])
    #expect(try target.n.value().floats == [1])
    try step.run(batch)
    // 1 + (8 - 1)/4 and -2 + (-16 + 2)/4.
    #expect(try target.w.value().floats == [2.75, -5.5])
    let wrong = try TrainingStep { step, batch in
      step.minimize((batch.x * online.w).sum(), over: online, with: SGD(learningRate: 1))
      online.follow(online, rate: 0.5)
    }
    #expect(throws: ApusError.self) { try wrong.run(batch) }
  }

  @Test func weightsTiedByAccident_areAnErrorThatNamesBothPaths() throws {
    struct Deep: Module { let blocks = [Linear](repeating: Linear(4, 4), count: 3) }
    let repeated = #expect(throws: ApusError.self) { try Deep().initialize() }
    #expect(
      "\(repeated!)".contains("'blocks.0.weight' and 'blocks.1.weight' are one parameter"))
    struct Two: Module {
      let a = Linear(2, 2)
      let b: Linear
      init() { b = a }
    }
    let assigned = #expect(throws: ApusError.self) {
      _ = try Trainer(Two(), optimizer: SGD(learningRate: 1)) { $0.b($0.a($1.x)).sum() }
    }
    #expect("\(assigned!)".contains("'a.weight' and 'b.weight'"))
    #expect(throws: ApusError.self) { try LanguageModel(tied: false).initialize() }
    #expect(throws: Never.self) { try LanguageModel(tied: true).initialize() }
    struct Asked: Module {
      let a = Linear(2, 2)
      let b: Linear
      init() { b = a.tied() }
    }
    #expect(throws: Never.self) { try Asked().initialize() }
    #expect(Stack(3) { Linear(4, 4) }.parameterCount == 60)
  }

  @Test func tiedWeights_areWrittenUnderBothNames_andReadUnderEither() throws {
    let folder = try LifeCycle.folder()
    let model = LanguageModel(tied: true)
    try model.initialize(seed: 2)
    let both = folder.appendingPathComponent("both.safetensors").path
    try model.save(both)
    let file = try SafetensorsFile(both)
    #expect(file.names.sorted() == ["head.weight", "wte.weight"])
    #expect(try file.array("head.weight") == file.array("wte.weight"))
    for name in ["head.weight", "wte.weight"] {
      let one = folder.appendingPathComponent("one.safetensors").path
      try SafetensorsFile.write([name: file.array(name)], metadata: [:], to: one)
      let other = LanguageModel(tied: true)
      #expect(try other.load(one).loaded == ["head.weight"])
      #expect(try other.wte.weight.value() == model.wte.weight.value())
    }
  }

  @Test func partsThatCannotBeFound_areErrors() throws {
    enum Choice { case one(Linear), none }
    struct InEnum: Module { let choice = Choice.one(Linear(2, 2)) }
    struct Plain { let layer = Linear(2, 2) }
    struct InStruct: Module { let plain = Plain() }
    final class Holder { let weight = Parameter([2]) }
    struct InClass: Module { let holder = Holder() }
    final class Selfish: Module {
      let layer = Linear(2, 2)
      var parent: Selfish?
    }
    let selfish = Selfish()
    selfish.parent = selfish
    for (model, path) in [
      (InEnum(), "choice"), (InStruct(), "plain"), (InClass(), "holder"), (selfish, "parent"),
    ] as [(any Module, String)] {
      let error = #expect(throws: ApusError.self) { try model.initialize() }
      #expect(error?.kind == .invalidArgument && "\(error!)".contains("'\(path)"), "\(error!)")
    }
    selfish.parent = nil
    #expect(throws: Never.self) { try selfish.initialize() }
  }

  @Test func twoParametersOfOnePath_areAnError() throws {
    struct In: Module { let b = Linear(2, 2) }
    struct C: Module { let m: [String: any Module] = ["a.b": Linear(2, 2), "a": In()] }
    let error = #expect(throws: ApusError.self) { try C().initialize() }
    #expect("\(error!)".contains("m.a.b.weight"))
  }

  @Test func aBufferAppliedTwice_updatesTwice_inTrainingOnly() throws {
    // Batch norm by hand, of two inputs: 0.1·m₁ then 0.9·that + 0.1·m₂.
    struct Mean: Module {
      let weight = Parameter([1], .ones)
      let running = Buffer([1], .zeros)
      func callAsFunction(_ x: Tensor) -> Tensor {
        guard x.trace.mode == .training else { return (x - running) * weight }
        let mean = x.mean(axes: [0])
        running.update(to: running.tensor * 0.9 + mean * 0.1)
        return (x - mean) * weight
      }
    }
    let trainer = try Trainer(Mean(), optimizer: SGD(learningRate: 0)) { model, batch in
      (square(model(batch.a)) + square(model(batch.b))).mean()
    }
    let batch = Batch([
      "a": NDArray([0, 2], shape: [2, 1]), "b": NDArray([2, 4], shape: [2, 1]),
    ])
    try trainer.train(on: batch)
    // 0.9 · 0.1 · 1 + 0.1 · 3; the first update lost would be 0.3.
    #expect(abs(try trainer.model.running.value().doubles[0] - 0.39) < 1e-6)
    _ = try trainer.evaluate(ArrayDataset(["a": batch.a!, "b": batch.b!]).batched(2))
    #expect(abs(try trainer.model.running.value().doubles[0] - 0.39) < 1e-6)
    trainer.model.unfreeze()
    #expect(trainer.model.parameters.map(\.path) == ["weight"])
    #expect(trainer.model.buffers.map(\.path) == ["running"])
    let path = try LifeCycle.folder().appendingPathComponent("m.safetensors").path
    try trainer.save(path)
    let fresh = Mean()
    #expect(try fresh.load(path).loaded == ["weight", "running"])
    #expect(try fresh.running.value() == trainer.model.running.value())
  }
}
