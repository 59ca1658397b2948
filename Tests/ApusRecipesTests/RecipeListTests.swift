// Every recipe of the list keeps the contract: what a new one is held to without a test of its own.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

/// A recipe by its name, as an argument of a test.
private let names = recipes.map(\.name)

@Suite struct RecipeListTests {
  @Test func everyRecipeHasANameOfItsOwn_asOnTheCommandLine() throws {
    #expect(Set(names).count == names.count)
    for name in names {
      #expect(name.wholeMatch(of: /[a-z][a-z0-9]*([-_][a-z0-9]+)*/) != nil, "\(name)")
      #expect(try recipes.named(name).name == name)
    }
  }

  @Test func aNameThatIsNot_isToldWithThoseThatAre() throws {
    let error = #expect(throws: ApusError.self) { try recipes.named("imagenet") }
    #expect(error?.kind == .missing && error?.what.contains("'imagenet'") == true)
    #expect(error?.expected == "one of \(names.joined(separator: ", "))")
  }

  /// A line of help: the names' column and two spaces before it.
  @Test(arguments: names) func everySummaryFitsIntoALineOfHelp(name: String) throws {
    let recipe = try recipes.named(name)
    let column = (names.map(\.count).max() ?? 0) + 2
    #expect(!recipe.summary.isEmpty && column + recipe.summary.count <= 78)
    #expect(!recipe.summary.contains("\n") && recipe.discussion.hasSuffix("."))
  }

  @Test(arguments: names) func everyOptionIsWellFormed_andItsDefaultIsTaken(name: String) throws {
    let recipe = try recipes.named(name)
    let options = recipe.options
    #expect(Set(options.map(\.name)).count == options.count)
    let settings = options.compactMap(\.setting)
    // What checkpoints say of themselves must stay what it is.
    let reserved: Set = [
      "apus.model", "apus.precision", "apus.checkpoint", "apus.step", "apus.epoch",
      "apus.batches_done", "apus.optimizer", "apus.slots", "apus.data",
    ]
    #expect(Set(settings).count == settings.count && reserved.isDisjoint(with: settings))
    // The commands' own, which a recipe would never hear of.
    let flags: Set = [
      "list", "output", "resume", "json", "threads", "isa", "precision", "stage", "format", "step",
      "disable-pass", "help", "version", "weights", "count", "layer",
      "quick", "gradient-norms", "memory-limit",
    ]
    #expect(flags.isDisjoint(with: options.map(\.name)))
    var values = recipe.defaults
    for option in options {
      #expect(option.name.wholeMatch(of: /[a-z][a-z0-9]*(-[a-z0-9]+)*/) != nil, "\(option.name)")
      #expect(option.help.hasSuffix(".") && !option.expectation.isEmpty, "\(option.name)")
      try values.set(option.name, to: option.initial.optionText)
    }
    #expect(values.batch == recipe.defaults.batch && values.batch >= 1)
  }

  @Test(arguments: names) func everyGraphVerifies_atTheDefaultBatch(name: String) throws {
    let recipe = try recipes.named(name)
    let steps = try recipe.steps(recipe.defaults, compile: CompileOptions())
    #expect(!steps.isEmpty && Set(steps.map(\.name)).count == steps.count)
    for step in steps {
      let (forward, whole) = (try step.forwardGraph(), try step.graph())
      try forward.verify()
      try whole.verify()
      // An evaluation draws random numbers, and changes nothing else.
      let changed = forward.assignments.map { assignment in
        forward.states.first { $0.value == assignment.state }?.name
      }
      #expect(changed.isEmpty || changed == ["random.key"], "\(changed)")
      #expect(!whole.assignments.isEmpty)
      #expect(whole.inputs.map(\.name) == step.fields.map(\.name))
      for field in step.fields { #expect(field.shape[0] == recipe.defaults.batch) }
    }
  }

  @Test(arguments: names) func aStepOnRandomData_lowersTheLoss(name: String) throws {
    let recipe = try recipes.named(name)
    for step in try recipe.steps(recipe.defaults, compile: CompileOptions()) {
      let batch = try step.randomBatch()
      #expect(batch.names == step.fields.map(\.name))
      #expect(batch.arrays.map(\.type) == step.fields.map(\.field.type))
      let first = try step.step.run(batch).loss, second = try step.step.run(batch).loss
      #expect(first.isFinite && second < first, "\(first), then \(second)")
    }
  }

  @Test func randomBatchesAreTheSame_andNoTwoArraysAreAlike() throws {
    let recipe = try recipes.named("mlp_small")
    let step = try #require(recipe.steps(recipe.defaults, compile: CompileOptions()).first)
    let batch = try step.randomBatch()
    #expect(try step.randomBatch().arrays == batch.arrays)
    let values = batch.arrays[0].floats
    let mean = values.reduce(0, +) / Float(values.count)
    let square = values.reduce(0) { $0 + $1 * $1 } / Float(values.count)
    #expect(abs(mean) < 0.02 && abs(square - 1) < 0.02)
    #expect(Set(batch.arrays[1].integers) == Set(0..<10))
  }

  @Test func whatTrainsHasData_andWhatDoesNotIsABenchmarks() throws {
    let trainable = [
      "fashion-mnist", "fashion-mnist-cnn",
      "fashion-mnist-resnet", "fashion-mnist-transfer",
      "fashion-mnist-multitask", "fashion-mnist-segmentation", "fashion-mnist-detection",
      "fashion-mnist-denoising", "japanese-vowels", "japanese-vowels-gru", "turkish-tags",
      "sentiment-lstm", "sentiment-bert", "el-nino", "king-james-gpt", "king-james-lstm",
      "italian-sounds", "king-james-words", "irish-tunes", "word-vectors", "verse-translation",
      "package-summaries", "king-james-bert", "king-james-cloze", "logic-gates", "loss-landscape",
      "over-fitting",
    ]
    #expect(recipes.trainable.map(\.name) == trainable)
    #expect(
      recipes.benchmarks.map(\.name) == [
        "mlp_tiny", "mlp_small", "mlp_large", "mlp_wide", "lenet", "resnet20", "lstm",
        "gru", "gpt", "bert",
      ])
    let error = #expect(throws: ApusError.self) { try recipes.named("mlp_large").trainable() }
    #expect(
      error?.kind == .unsupported
        && error?.expected == "one of \(trainable.joined(separator: ", "))")
  }

  @Test(
    arguments: recipes.trainable.filter { $0.options.contains { $0.name == "data" } }.map(\.name))
  func dataThatIsNotThere_isToldWithItsPlace(name: String) throws {
    let recipe = try recipes.named(name)
    var options = recipe.defaults
    try options.set("data", to: "/nowhere/at/all")
    let output = FileManager.default.temporaryDirectory.appending(
      path: "apus-\(UUID()).safetensors")
    let run = RecipeRun(recipe, options, output: output.path)
    let error = #expect(throws: ApusError.self) { try run.start() }
    #expect(error?.kind == .io && error?.location?.contains("/nowhere/at/all") == true)
    // The last is how apt's own index is written down.
    let commands = ["apt install", "pip download", "apt-helper cat-file"]
    let isTold = error?.expected.map { expected in commands.contains { expected.contains($0) } }
    #expect(isTold == true)
    #expect(!FileManager.default.fileExists(atPath: output.path))
  }
}
