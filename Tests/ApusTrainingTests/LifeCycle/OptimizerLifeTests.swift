// Optimisers within steps: they resume to the bits of an uninterrupted run, schedules recompile nothing, vectors may
// be spared, and a plateau's patience is in the checkpoint.

import Apus
import Foundation
import Testing

@Suite struct OptimizerLifeTests {
  private let path: String

  init() throws {
    path = try LifeCycle.folder().appendingPathComponent("c.safetensors").path
  }

  static let optimizers: [any Optimizer] = [
    SGD(learningRate: 0.1, momentum: 0.9, dampening: 0.2), Adam(amsgrad: true),
    Adagrad(rateDecay: 0.1, initialAccumulator: 0.1), Adadelta(),
    RMSProp(momentum: 0.9, centered: true), Adamax(), NAdam(learningRate: 0.05),
    RAdam(learningRate: 0.05, beta2: 0.9), Lion(learningRate: 0.01), LAMB(learningRate: 0.1),
    Adafactor(learningRate: 0.1), Muon(learningRate: 0.05, others: Adam(learningRate: 0.05)),
    AdamW(learningRate: .warmUp(steps: 4, then: 0.1)).decayingMatricesOnly(),
    SGD(learningRate: .oneCycle(peak: 0.1, steps: 6), momentum: .oneCycleMomentum(steps: 6)),
  ]

  private func trainer(_ optimizer: any Optimizer, seed: UInt64 = 1) throws -> Trainer<TwoLayers> {
    try Trainer(TwoLayers(), optimizer: optimizer, seed: seed, loss: LifeCycle.loss)
  }

  private static func data() throws -> Batches {
    let batch = LifeCycle.batch()
    return try ArrayDataset(["x": batch.arrays[0], "y": batch.arrays[1]]).batched(6)
  }

  /// Batches of two sizes, so that two recordings share the slots.
  private func train(_ trainer: Trainer<TwoLayers>, to step: Int) throws {
    while trainer.step < step {
      try trainer.train(on: LifeCycle.batch(trainer.step % 3 == 2 ? 4 : 6))
    }
  }

  @Test(arguments: optimizers.indices)
  func everyOptimizer_resumesToTheBitsOfAnUninterruptedRun(index: Int) throws {
    let optimizer = Self.optimizers[index]
    let whole = try trainer(optimizer)
    try train(whole, to: 6)
    let interrupted = try trainer(optimizer)
    let start = try LifeCycle.values(interrupted.model)
    try train(interrupted, to: 3)
    #expect(try LifeCycle.values(interrupted.model) != start)
    try interrupted.saveCheckpoint(path)
    let resumed = try trainer(optimizer, seed: 5)
    try resumed.resume(from: path)
    try train(resumed, to: 6)
    #expect(try LifeCycle.values(resumed.model) == LifeCycle.values(whole.model))
  }

  /// Small rates: what a rule does not break, it improves.
  @Test(arguments: optimizers.indices) func everyOptimizer_makesTheLossSmaller(index: Int) throws {
    let trainer = try trainer(Self.optimizers[index])
    let first = try trainer.train(on: LifeCycle.batch()).loss
    for _ in 0..<20 { try trainer.train(on: LifeCycle.batch()) }
    let last = try trainer.train(on: LifeCycle.batch()).loss
    #expect(last < first, "\(Self.optimizers[index].rule)")
  }

  @Test func schedulesOfAllSettings_recompileNothing() throws {
    let model = TwoLayers()
    try model.initialize(seed: 1)
    let fall = LearningRate.linear(from: 0.1, to: 0.01, steps: 5)
    let step = try TrainingStep(
      model,
      optimizer: AdamW(
        learningRate: fall, beta1: .linear(from: 0.95, to: 0.85, steps: 5), weightDecay: fall),
      loss: LifeCycle.loss)
    let batch = LifeCycle.batch()
    let first = try step.executable(for: batch)
    for _ in 0..<7 { try step.run(batch) }
    #expect(try step.executable(for: batch) === first)
  }

  /// What records note: of the rule for all others first, also where it is a part of another.
  @Test func learningRates_areThoseOfTheStepBefore_ofEachRule() throws {
    let rule = AdamW(learningRate: .linear(from: 0.4, to: 0, steps: 4)).decayingMatricesOnly()
    let trainer = try Trainer(
      TwoLayers(), optimizer: rule,
      options: StepOptions(groups: ["*.bias": SGD(learningRate: 0.5)]), loss: LifeCycle.loss)
    for expected in [0.4, 0.3, 0.2] {
      try trainer.train(on: LifeCycle.batch())
      #expect(trainer.learningRates.map(\.name) == ["*", "*.bias"])
      #expect(abs(trainer.learningRates[0].rate - expected) < 1e-12)
      #expect(trainer.learningRates[1].rate == 0.5)
    }
  }

  static let elementwise: [any Optimizer] = [
    Lion(beta1: .linear(from: 0.95, to: 0.85, steps: 9)),
    RMSProp(momentum: 0.9, centered: true), NAdam(), RAdam(), Adadelta(),
    Adagrad(weightDecay: .linear(from: 0.1, to: 0, steps: 9)),
    Adamax(), Adam(amsgrad: true), SGD(learningRate: 0.1, momentum: 0.9, dampening: 0.1),
    AdamW(beta1: .linear(from: 0.95, to: 0.85, steps: 9)),
  ]

  /// Of all small parameters together, in one pass over them, their gradients and their slots.
  @Test(arguments: elementwise.indices) func updatesOfAStep_areOneLoop(index: Int) throws {
    let trainer = try trainer(Self.elementwise[index])
    let plan = try trainer.trainingStep.executable(for: LifeCycle.batch()).plan
    let loops = plan.steps.filter { $0.mnemonic == "multi_loop" }
    #expect(loops.count == 1, "\(plan.steps.map(\.mnemonic))")
  }

  static let named: [(rule: any Optimizer, op: String)] = [
    (Lion(), "lion_step"), (Lion(weightDecay: 0), "lion_step"), (RMSProp(), "rms_step"),
    (Adagrad(weightDecay: 0.1), "rms_step"), (AdamW(), "adam_step"),
    (SGD(learningRate: 0.1, momentum: 0.9), "momentum_step"),
  ]

  /// Rules that have a kernel of their own: one call for all small parameters, and no loop.
  @Test(arguments: named.indices) func updatesOfAStep_areOneCallOfTheirKernel(index: Int) throws {
    let trainer = try trainer(Self.named[index].rule)
    let plan = try trainer.trainingStep.executable(for: LifeCycle.batch()).plan
    let calls = plan.steps.map(\.mnemonic)
    #expect(calls.count { $0 == Self.named[index].op } == 1, "\(calls)")
    #expect(!calls.contains("multi_loop"), "\(calls)")
  }

  @Test func decayOfMatricesOnly_sparesVectors() throws {
    let rule = SGD(learningRate: 0.1, weightDecay: 0.5)
    func after(_ optimizer: any Optimizer) throws -> [String: NDArray] {
      let trainer = try trainer(optimizer)
      // From 0 a bias is not decayed in the first step.
      for _ in 0..<3 { try trainer.train(on: LifeCycle.batch()) }
      return try LifeCycle.values(trainer.model)
    }
    let spared = try after(rule.decayingMatricesOnly())
    let grouped = try Trainer(
      TwoLayers(), optimizer: rule, seed: 1,
      options: StepOptions(groups: ["*.bias": SGD(learningRate: 0.1)]), loss: LifeCycle.loss)
    for _ in 0..<3 { try grouped.train(on: LifeCycle.batch()) }
    #expect(try spared == LifeCycle.values(grouped.model))
    #expect(try spared["a.bias"] != after(rule)["a.bias"])
  }

  @Test func muonsOthers_haveNumbersOfTheirOwn() throws {
    // Both rules ask for a number of one name.
    let others = Adam(learningRate: 0.5)
    let muon = try trainer(Muon(learningRate: 1e-9, weightDecay: 0, others: others))
    let before = try LifeCycle.values(muon.model)
    try muon.train(on: LifeCycle.batch())
    let after = try LifeCycle.values(muon.model)
    let moved = zip(before["a.bias"]!.floats, after["a.bias"]!.floats).map { abs($0 - $1) }
    #expect(moved.allSatisfy { $0 > 0.4 })
    let still = zip(before["a.weight"]!.floats, after["a.weight"]!.floats).map { abs($0 - $1) }
    #expect(still.allSatisfy { $0 < 1e-6 })
  }

  // MARK: Plateaus

  private static let reference: [String: [Double]] = {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "../../ApusNNTests/Reference/schedules.json")
    return try! JSONDecoder().decode([String: [Double]].self, from: Data(contentsOf: url))
  }()

  @Test func plateaus_arePyTorchs() throws {
    let losses = try #require(Self.reference["plateau losses"])
    let cases: [(String, ReduceOnPlateau, sign: Double)] = [
      ("plateau", ReduceOnPlateau(from: 0.1, patience: 1), 1),
      (
        "plateau absolute",
        ReduceOnPlateau(
          from: 0.1, factor: 0.5, patience: 2, threshold: .absolute(0.01), cooldown: 4, least: 0.01),
        1
      ),
      (
        "plateau larger",
        ReduceOnPlateau(
          from: 0.1, .larger, factor: 0.3, patience: 5, threshold: .relative(1e-3)), -1
      ),
    ]
    for (name, plateau, sign) in cases {
      for (epoch, wanted) in try #require(Self.reference[name]).enumerated() {
        let got = plateau.rate.value(at: 0)
        #expect(abs(got - wanted) < 1e-15, "\(name), epoch \(epoch): \(got), not \(wanted)")
        // And one that was resumed in every epoch.
        let other = ReduceOnPlateau(from: 9)
        try other.restore(plateau.state)
        #expect(other.state == plateau.state)
        try plateau.note(sign > 0 ? losses[epoch] : 10 - losses[epoch])
      }
      #expect(plateau.currentRate < 0.1)
    }
  }

  @Test func aPlateausPatience_isInTheCheckpoint() throws {
    let data = try Self.data()
    // No epoch is better by so much: the rate halves every second epoch.
    func run() throws -> (Trainer<TwoLayers>, ReduceOnPlateau) {
      let plateau = ReduceOnPlateau(
        from: 0.1, factor: 0.5, patience: 1, threshold: .absolute(10))
      return (try trainer(Adam(learningRate: plateau.rate)), plateau)
    }
    let (whole, wholePlateau) = try run()
    try whole.fit(data, epochs: 8, callbacks: [wholePlateau])
    let (interrupted, plateau) = try run()
    // Written by a callback that stands before the plateau.
    try interrupted.fit(
      data, epochs: 4, callbacks: [Checkpointing(path, every: .epochs(4)), plateau])
    let (resumed, resumedPlateau) = try run()
    try resumed.resume(from: path)
    // What was resumed is not lost by a checkpoint before the next epoch.
    try resumed.saveCheckpoint(path)
    try resumed.resume(from: path)
    try resumed.fit(data, epochs: 4, callbacks: [resumedPlateau])
    #expect(resumedPlateau.state == wholePlateau.state)
    #expect(resumedPlateau.currentRate < 0.03)
    #expect(try LifeCycle.values(resumed.model) == LifeCycle.values(whole.model))
  }

  @Test func damagedStatesOfCallbacks_areRefused() throws {
    let data = try Self.data()
    let trainer = try trainer(Adam())
    try trainer.fit(data, epochs: 1, callbacks: [ReduceOnPlateau(from: 1)])
    for damage in ["{", "[]", #"{"ReduceOnPlateau":{"rate":"x"}}"#, #"{"ReduceOnPlateau":{}}"#] {
      try trainer.saveCheckpoint(path)
      let file = try SafetensorsFile(path)
      let arrays = Dictionary(uniqueKeysWithValues: try file.arrays().map { $0 })
      var metadata = file.metadata
      #expect(metadata["apus.callbacks"] != nil)
      metadata["apus.callbacks"] = damage
      try SafetensorsFile.write(arrays, metadata: metadata, to: path)
      let other = try self.trainer(Adam())
      #expect(throws: ApusError.self, "\(damage)") {
        try other.resume(from: path)
        try other.fit(data, epochs: 1, callbacks: [ReduceOnPlateau(from: 1)])
      }
      #expect(other.history.isEmpty)
    }
  }

  @Test(arguments: [
    ReduceOnPlateau(from: -1), ReduceOnPlateau(from: 1, factor: 1),
    ReduceOnPlateau(from: 1, patience: -1),
    ReduceOnPlateau(from: 1, threshold: .relative(.nan)),
    ReduceOnPlateau(from: 1, least: .infinity),
    ReduceOnPlateau(from: .nan),
  ])
  func senselessPlateaus_areRefused(plateau: ReduceOnPlateau) {
    let error = #expect(throws: ApusError.self) { try plateau.note(1) }
    #expect(error?.kind == .invalidArgument)
  }

  @Test func plateausOfWhatIsNotThere_sayWhatIs() throws {
    let data = try Self.data()
    let trainer = try trainer(Adam())
    let error = #expect(throws: ApusError.self) {
      try trainer.fit(data, epochs: 1, callbacks: [ReduceOnPlateau(from: 1, on: "f1", .larger)])
    }
    #expect(error?.kind == .missing && error?.what.contains("'f1'") == true)
    #expect(throws: ApusError.self) { try ReduceOnPlateau(from: 1).note(.nan) }
  }
}
