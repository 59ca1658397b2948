// Runs of recipes: one that a trainer runs, and one with a loop of its own, as a GAN has it.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite struct RecipeRunTests {
  @Test func aSupervisedRecipeLearns_andTellsItsFigures() throws {
    try withFolder { folder in
      let output = folder.appending(path: "w.safetensors").path
      let run = try RecipeRun(Corners(), options(epochs: 30), output: output)
      let outcome = try run.start()
      #expect(outcome.figures.map(\.name) == ["test accuracy", "test loss"])
      #expect(outcome.figures[0].isFraction && outcome.figures[0].value > 0.95)
      #expect(outcome.seconds > 0 && outcome.stepsPerSecond > 0)
      #expect(try SafetensorsFile(output).names.contains("hidden.weight"))
      #expect(try names(in: folder) == ["w.safetensors"])
    }
  }

  @Test func gradientsAreMeasured_andTheWeightsAreTheSameBits() throws {
    try withFolder { folder in
      var steps: [Int] = [], joints: [Double] = []
      let output = folder.appending(path: "w.safetensors").path
      _ = try RecipeRun(
        Corners(), options(epochs: 2), output: output,
        hearGradients: {
          steps.append($0)
          joints.append($1.joint)
        }
      ).start()
      #expect(steps.prefix(4) == [0, 1, 2, 3] && steps.count > 8)
      #expect(joints.allSatisfy { $0 > 0 && $0.isFinite })
      let plain = folder.appending(path: "plain.safetensors").path
      _ = try RecipeRun(Corners(), options(epochs: 2), output: plain).start()
      #expect(try Data(contentsOf: URL(filePath: output)) == Data(contentsOf: URL(filePath: plain)))

      let error = #expect(throws: ApusError.self) {
        try RecipeRun(Duel(), Duel().defaults, output: output, hearGradients: { _, _ in }).start()
      }
      #expect(error?.kind == .unsupported && error?.what.contains("duel") == true)
    }
  }

  @Test func anInterruptedRun_goesOnToTheSameBits() throws {
    try withFolder { folder in
      let whole = folder.appending(path: "whole.safetensors").path
      _ = try RecipeRun(Corners(), options(epochs: 3), output: whole).start()

      // In the middle of the second epoch.
      let output = folder.appending(path: "w.safetensors").path
      let stop = try #require(
        #expect(throws: RunInterrupted.self) {
          try RecipeRun(
            Corners(), options(epochs: 3), output: output, isInterrupted: afterAsking(14)
          ).start()
        })
      #expect(stop.step == 14)
      #expect(stop.checkpoint == folder.appending(path: "w.checkpoint.safetensors").path)
      #expect(stop.description.contains("--resume \(stop.checkpoint)"))
      #expect(!FileManager.default.fileExists(atPath: output))

      for (changed, value, option) in [
        ("seed", "1", "--seed 0, not 1"), ("hidden", "8", "--hidden 16, not 8"),
      ] {
        var others = try options(epochs: 3)
        try others.set(changed, to: value)
        let error = #expect(throws: ApusError.self) {
          try RecipeRun(Corners(), others, output: output, resume: stop.checkpoint).start()
        }
        #expect(error?.kind == .invalidArgument && error?.what.contains(option) == true)
      }
      _ = try RecipeRun(
        Corners(), options(epochs: 3), output: output, resume: stop.checkpoint
      ).start()
      #expect(try Data(contentsOf: URL(filePath: output)) == Data(contentsOf: URL(filePath: whole)))
    }
  }

  @Test func aCheckpointWithAllEpochsBehindIt_isRefused() throws {
    try withFolder { folder in
      let output = folder.appending(path: "w.safetensors").path
      let stop = try #require(
        #expect(throws: RunInterrupted.self) {
          try RecipeRun(
            Corners(), options(epochs: 2), output: output, isInterrupted: afterAsking(11)
          ).start()
        })
      let error = #expect(throws: ApusError.self) {
        try RecipeRun(
          Corners(), options(epochs: 1), output: output, resume: stop.checkpoint
        ).start()
      }
      #expect(error?.what.contains("all 1 epochs behind it") == true)
    }
  }

  @Test func aFolderOfCheckpoints_isGoneOnFrom_toTheSameBits() throws {
    try withFolder { folder in
      let whole = folder.appending(path: "whole").path
      _ = try RecipeRun(Corners(), options(epochs: 2), output: whole).start()
      let output = folder.appending(path: "w").path, checkpoints = folder.appending(path: "c").path
      var words: [String] = []
      func run(_ stop: Int, resume: String?) throws -> RecipeOutcome {
        try RecipeRun(
          Corners(), options(epochs: 2), output: output, resume: resume, checkpoints: checkpoints,
          every: .steps(3), isInterrupted: afterAsking(stop), tell: { words.append($0) }
        ).start()
      }
      let stop = #expect(throws: RunInterrupted.self) { try run(7, resume: checkpoints) }
      #expect(words.count == 1 && words[0].contains("training begins"))
      #expect(stop?.checkpoint == "\(checkpoints)/corners.checkpoint.safetensors")
      // Another run does not write over this one's checkpoints.
      let refused = #expect(throws: ApusError.self) { try run(100, resume: nil) }
      #expect(refused?.kind == .invalidArgument && "\(refused!)".contains("--resume"))
      let outcome = try run(100, resume: checkpoints)
      #expect(outcome.figures.map(\.name) == ["test accuracy", "test loss"] && words.count == 1)
      #expect(try Data(contentsOf: URL(filePath: output)) == Data(contentsOf: URL(filePath: whole)))
      #expect(try names(in: folder) == ["c", "w", "whole"])
    }
  }

  @Test func anInterruptedRunWhoseDiskRefuses_namesItsLastGoodCheckpoint() throws {
    try withFolder { folder in
      let checkpoints = folder.appending(path: "c")
      // From step 5 on the old file cannot be kept, and so no new one is written.
      let previous = checkpoints.appending(path: "corners.checkpoint.safetensors.previous")
      let obstacle = Ears()
      obstacle.body = { step in
        guard step == 5 else { return }
        try FileManager.default.removeItem(at: previous)
        try FileManager.default.createDirectory(at: previous, withIntermediateDirectories: false)
      }
      let error = #expect(throws: ApusError.self) {
        try RecipeRun(
          Corners(), options(epochs: 2), output: folder.appending(path: "w").path,
          checkpoints: checkpoints.path, every: .steps(2), progress: [obstacle],
          isInterrupted: afterAsking(7)
        ).start()
      }
      #expect(error?.kind == .io)
      #expect(error?.what.contains("the last good checkpoint is of step 4") == true, "\(error!)")
    }
  }

  @Test func aRunThatEndedBeforeItsWeights_writesThemOfItsLastCheckpoint() throws {
    try withFolder { folder in
      let output = folder.appending(path: "w").path, checkpoints = folder.appending(path: "c").path
      let first = try RecipeRun(
        Corners(), options(epochs: 2), output: output, checkpoints: checkpoints, every: .epochs(1)
      ).start()
      let weights = try Data(contentsOf: URL(filePath: output))
      try FileManager.default.removeItem(atPath: output)
      let second = try RecipeRun(
        Corners(), options(epochs: 2), output: output, resume: checkpoints
      ).start()
      #expect(second.figures == first.figures)
      #expect(try Data(contentsOf: URL(filePath: output)) == weights)
    }
  }

  @Test func whatCannotBeWritten_isFoundBeforeDataIsRead() throws {
    let run = RecipeRun(Unreadable(), Unreadable().defaults, output: "/nowhere/w.safetensors")
    let error = #expect(throws: ApusError.self) { try run.start() }
    #expect(error?.kind == .io && "\(error!)".contains("/nowhere"))
  }

  @Test func aBenchmarksRecipe_doesNotTrain() throws {
    let recipe = PerceptronBenchmark.tiny
    let error = #expect(throws: ApusError.self) {
      try RecipeRun(recipe, recipe.defaults).start()
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.what.contains("apus bench train mlp_tiny") == true)
  }

  @Test func aLoopOfItsOwn_isARecipe() throws {
    try withFolder { folder in
      let output = folder.appending(path: "gan.safetensors").path
      let recipe = Duel(), heard = Ears()
      let outcome = try RecipeRun(recipe, recipe.defaults, output: output, progress: [heard])
        .start()
      #expect(outcome.figures.map(\.name) == ["distance of means"])
      #expect(outcome.figures[0].value < 1, "\(outcome.figures[0].value)")
      #expect(heard.steps == 400)
      #expect(try SafetensorsFile(output).names.count == 8)

      let stop = #expect(throws: RunInterrupted.self) {
        try RecipeRun(
          recipe, recipe.defaults, output: output, isInterrupted: afterAsking(5)
        ).start()
      }
      #expect(stop?.step == 5)
    }
  }

  @Test func aRecipeOfTwoSteps_showsBoth() throws {
    let steps = try Duel().steps(Duel().defaults, compile: CompileOptions())
    #expect(steps.map(\.name) == ["discriminator", "generator"])
    for step in steps {
      let trained = try step.graph().states.filter { $0.name.hasPrefix("optimizer.first_moment") }
      #expect(trained.count == 4 && trained.allSatisfy { $0.name.contains(step.name) })
      #expect(try step.step.run(step.randomBatch()).loss.isFinite)
    }
  }

  // MARK: Recipes

  private func options(epochs: Int) throws -> RecipeOptions {
    var options = Corners().defaults
    try options.set("epochs", to: "\(epochs)")
    return options
  }

  /// Tells four quarters of a square apart: a problem of microseconds.
  private struct Corners: SupervisedRecipe {
    static let hidden = RecipeOption("hidden", default: 16, .between(1, 64), "Hidden units.")
    let name = "corners"
    let summary = "quarters of a square"
    let discussion = "Four classes."
    let options: [any OptionDeclaration] = [
      CommonOption.epochs, CommonOption.batch.with(default: 50),
      CommonOption.learningRate.with(default: 0.02), CommonOption.seed, hidden,
    ]
    let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

    func model(_ options: RecipeOptions) -> Perceptron {
      Perceptron(2, hidden: [("hidden", options[Self.hidden])], classes: 4)
    }
    func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
      Adam(learningRate: .constant(options.learningRate))
    }
    func loss(_ model: Perceptron, _ batch: SymbolicBatch) -> Tensor {
      classificationLoss(model(batch.images), batch)
    }
    func fields(_ options: RecipeOptions) -> [RandomField] {
      [
        RandomField("images", [options.batch, 2], .normal),
        RandomField("labels", [options.batch], .integers(below: 4)),
      ]
    }
    func data(_ options: RecipeOptions) throws -> RecipeData {
      let field = RandomField("x", [500, 2], .normal)
      let step = RecipeStep("", try TrainingStep { _, _ in }, fields: [field]) { _ in Graph() }
      let points = try step.randomBatch().arrays[0]
      let values = points.floats
      let labels = (0..<500).map { row in
        Int32((values[2 * row] > 0 ? 1 : 0) + (values[2 * row + 1] > 0 ? 2 : 0))
      }
      let data = try ArrayDataset(["images": points, "labels": NDArray(labels, shape: [500])])
      return RecipeData(
        training: try data.batched(options.batch), validation: try data.batched(100))
    }
  }

  /// Must not be asked for its data.
  private struct Unreadable: TrainableRecipe {
    let name = "unreadable", summary = "", discussion = ""
    let options: [any OptionDeclaration] = []
    func steps(_ options: RecipeOptions, compile: CompileOptions) -> [RecipeStep] { [] }
    func train(_ run: RecipeRun) throws -> RecipeOutcome {
      Issue.record("trained")
      return RecipeOutcome(figures: [], seconds: 0, stepsPerSecond: 0)
    }
  }

  /// A GAN of the normal distribution around 3: two steps in turns, in a loop of its own.
  private struct Duel: TrainableRecipe {
    struct Pair: Module {
      let discriminator = Perceptron(1, hidden: [("hidden", 16)], classes: 1)
      let generator = Perceptron(2, hidden: [("hidden", 16)], classes: 1)
    }
    let name = "duel", summary = "", discussion = ""
    let options: [any OptionDeclaration] = [
      CommonOption.batch, CommonOption.learningRate.with(default: 5e-3), CommonOption.seed,
    ]

    func steps(_ options: RecipeOptions, compile: CompileOptions) throws -> [RecipeStep] {
      try steps(Pair(), options, compile)
    }

    private func steps(
      _ pair: Pair, _ options: RecipeOptions, _ compile: CompileOptions
    ) throws -> [RecipeStep] {
      try pair.initialize(seed: options.seed)
      let rule = Adam(learningRate: .constant(options.learningRate), beta1: 0.5)
      func recorded(_ part: some Module, _ loss: @escaping (SymbolicBatch) -> Tensor) throws -> (
        TrainingStep, ([BatchField]) throws -> Graph
      ) {
        let step = try TrainingStep(seed: options.seed, compile: compile) { step, batch in
          step.minimize(loss(batch), over: part, with: rule)
        }
        let evaluation = try EvaluationStep(pair, compile: compile) { loss($1) }
        return (step, evaluation.graph)
      }
      func made(_ batch: SymbolicBatch) -> Tensor { pair.generator(batch.noise) }
      let (discriminate, judged) = try recorded(pair.discriminator) { batch in
        bceWithLogits(pair.discriminator(batch.real), 1)
          + bceWithLogits(pair.discriminator(made(batch).stopGradient()), 0)
      }
      let (generate, faked) = try recorded(pair.generator) { batch in
        bceWithLogits(pair.discriminator(made(batch)), 1)
      }
      let noise = RandomField("noise", [options.batch, 2], .normal)
      let real = RandomField("real", [options.batch, 1], .normal)
      return [
        RecipeStep("discriminator", discriminate, fields: [real, noise], evaluation: judged),
        RecipeStep("generator", generate, fields: [noise], evaluation: faked),
      ]
    }

    func train(_ run: RecipeRun) throws -> RecipeOutcome {
      let pair = Pair()
      let steps = try steps(pair, run.options, run.compile)
      let random = try steps[0].randomBatch()
      let noise = random.noise!
      let real = NDArray(random.real!.floats.map { $0 + 3 }, shape: random.real!.shape)
      let loop = Loop(pair)
      while loop.step < 400 {
        let judged = try steps[0].step.run(Batch(["real": real, "noise": noise]))
        _ = try steps[1].step.run(Batch(["noise": noise]))
        loop.step += 1
        for callback in run.callbacks {
          _ = try callback.handle(.stepEnded(step: loop.step, judged), in: loop)
        }
      }
      try run.save(loop)
      let fakes = try Predictor(pair) { $0.generator($1) }(noise).floats
      func mean(_ values: [Float]) -> Double {
        Double(values.reduce(0, +)) / Double(values.count)
      }
      return RecipeOutcome(
        figures: [.init("distance of means", abs(mean(fakes) - mean(real.floats)))], seconds: 1,
        stepsPerSecond: 400)
    }

    private final class Loop: TrainingRun {
      var step = 0
      let epoch = 0
      let history: [EpochSummary] = []
      let summaryMetrics: [String] = []
      let pair: Pair
      init(_ pair: Pair) { self.pair = pair }
      var trainedModel: any Module { pair }
      func save(_ path: String) throws { try pair.save(path) }
      func saveCheckpoint(_ path: String, metadata: [String: String]) throws {
        try pair.save(path)
      }
    }
  }

  private final class Ears: Callback {
    var steps = 0
    var body: (Int) throws -> Void = { _ in }
    func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
      if case .stepEnded = event {
        steps += 1
        try body(steps)
      }
      return .goOn
    }
  }

  // MARK: Helpers

  /// True from the call of that number on.
  private func afterAsking(_ count: Int) -> () -> Bool {
    var asked = 0
    return {
      asked += 1
      return asked >= count
    }
  }

  private func withFolder(_ body: (URL) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "apus-recipes-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder)
  }

  private func names(in folder: URL) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
  }
}
