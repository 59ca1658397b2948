// `apus train`: a recipe, trained on real data from one command.

import Apus
import ApusBenchmarks
import ApusRecipes
import ArgumentParser
import Foundation

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model on real data.",
    discussion: """
      Recipes:
      \(RecipeList.summaries(recipes.trainable))

      --list tells what each learns and which options it has, with their defaults. Options of a recipe's \
      own come after its name: apus train fashion-mnist --hidden 256.

      A file that ends in .yaml, .yml or .json describes a run, a model of its own or a recipe, with all its \
      settings: apus train run.yaml --set optimizer.rate=3e-4. The run's folder then has all of them, in \
      config.json, of which the same run can be made again; apus evaluate, predict and export read it.

      The weights depend on the options alone, not on the number of threads; nor, in the highest \
      precision and without AMX, on the kernels' level. \
      Ctrl-C, SIGTERM and a hang-up write a checkpoint and exit with 128 and the signal's number, 130 for \
      Ctrl-C; --resume goes on from it, to the same weights as an uninterrupted run. With --checkpoint one \
      is written while training goes on: the same command with --resume goes on after whatever happened.
      """)

  @OptionGroup var recipe: RecipeArguments

  @Flag(help: "Tell all about the recipes, or the one that is named, and train nothing.")
  var list = false

  @Option(
    name: .customLong("set"),
    help: ArgumentHelp(
      "Sets a key of the configuration, such as optimizer.rate=3e-4; repeatable.",
      valueName: "key=value"))
  var settings: [String] = []

  @Flag(
    name: .customLong("gradient-check"),
    help: """
      Compare the gradients of the first weights with differences in double, on the first examples, and train \
      nothing: every parameter, the worst first.
      """)
  var gradientCheck = false

  @Flag(
    help:
      "A short look: epochs of 50 steps and 10 batches to judge at most; one, where --epochs says nothing."
  )
  var quick = false

  @Option(help: "Passes over the training data. Default: the recipe's.")
  var epochs: String?

  @Option(help: "Examples a step. Default: the recipe's.")
  var batch: String?

  @Option(
    name: .customLong("learning-rate"), help: "The first learning rate. Default: the recipe's.")
  var learningRate: String?

  @Option(help: "Determines first weights and the order of the data. Default: 0.")
  var seed: String?

  @Option(help: "The data set's folder. Default: the recipe's, such as APUS_FASHION_MNIST.")
  var data: String?

  @Option(
    name: [.short, .long], help: "Where the weights go. Default: the recipe's name.safetensors.")
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Go on from a checkpoint of a run with the same options: a file, or a folder; without either, that of "
        + "--checkpoint. A folder without a checkpoint begins a run.", valueName: "path"))
  var resume: String?

  @Option(
    help: ArgumentHelp(
      "Write checkpoints into this folder while training goes on.", valueName: "folder"))
  var checkpoint: String?

  @Option(
    help: ArgumentHelp(
      "How often: a number of steps, or a time such as 90s, 5m, 2h. Default: 10m.",
      valueName: "steps-or-time"))
  var every: CheckpointPeriod?

  @Option(
    name: .customLong("gradient-norms"),
    help: ArgumentHelp(
      "Measure gradients in the course of training, of each parameter and at each step of recurrent layers: "
        + "a picture (.svg) or numbers (.json).", valueName: "file"))
  var gradientNorms: String?

  @OptionGroup var records: RecordOptions

  @OptionGroup var execution: ExecutionOptions

  @OptionGroup var memory: MemoryLimitOption

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  private func options() throws -> RecipeOptions {
    try recipe.options([
      ("epochs", epochs ?? (quick ? "1" : nil)), ("batch", batch), ("learning-rate", learningRate),
      ("seed", seed),
      ("data", data),
    ])
  }

  func validate() throws {
    if list {
      if !recipe.words.isEmpty { _ = try recipe.recipe() }
      return
    }
    if recipe.configurationFile == nil {
      guard settings.isEmpty else {
        throw ValidationError("--set without a configuration: a file such as run.yaml is expected.")
      }
      _ = try usage { try recipe.recipe().trainable() }
      _ = try options()
    } else {
      try validateConfigured()
    }
    guard output != "" else { throw ValidationError("--output is empty: a file is expected.") }
    if let gradientNorms, !GradientFile.endings.contains(where: gradientNorms.hasSuffix) {
      throw ValidationError(
        "--gradient-norms is '\(gradientNorms)': a file that ends in "
          + "\(GradientFile.endings.joined(separator: " or ")) is expected.")
    }
    guard checkpoint != "" else {
      throw ValidationError("--checkpoint is empty: a folder is expected.")
    }
    guard resume != "" else { throw ValidationError("--resume is empty: a file is expected.") }
    guard resume != Self.folderOfCheckpoint || keepsRun else {
      throw ValidationError(
        "--resume has no file or folder: one is expected, or --checkpoint, or --run.")
    }
    guard every == nil || keepsRun else {
      throw ValidationError(
        "--every without --checkpoint or --run: a folder for checkpoints is expected.")
    }
  }

  /// Whether there is a folder for checkpoints.
  private var keepsRun: Bool {
    checkpoint != nil || records.run != nil || recipe.configurationFile != nil
  }

  /// What a `--resume` without a value has: no argument can be this.
  static let folderOfCheckpoint = "\0"

  /// Gives a `--resume` that stands alone the value that means the folder of `--checkpoint`.
  static func completed(_ arguments: [String]) -> [String] {
    guard arguments.first == configuration.commandName else { return arguments }
    return arguments.indices.map { place in
      let isAlone =
        arguments[place] == "--resume"
        && (place + 1 == arguments.count || arguments[place + 1].hasPrefix("-"))
      return isAlone ? "--resume=\(folderOfCheckpoint)" : arguments[place]
    }
  }

  func run() throws {
    if list { return try tellRecipes() }
    try ProcessLaunch.begin()
    try execution.warnOfManyThreads()
    try ProcessLaunch.tell(execution.threadCount)
    if let file = recipe.configurationFile { return try trainConfigured(file) }
    var compile = execution.compileOptions
    compile.memoryLimit = memory.memoryLimit?.bytes
    compile.processes = ProcessLaunch.processes
    if gradientCheck { return try check(recipe.recipe(), options(), compile) }
    let gradients = try gradientNorms.map { try GradientFile($0, title: recipe.words[0]) }
    let output = RunOutput()
    let recording = try records.recording(
      of: recipe.recipe(), options(), compile: compile, execution)
    let run = RecipeRun(
      try recipe.recipe(), try options(), compile: compile, files: recording?.files,
      output: self.output,
      resume: resume == Self.folderOfCheckpoint ? checkpoint ?? records.run : resume,
      checkpoints: checkpoint, every: every?.interval ?? CheckpointPeriod.standard,
      isQuick: quick,
      progress: [CommandProgress(json: json, output)] + (recording.map { [$0] } ?? []),
      isInterrupted: { Interruption.signal != nil }, hearGradients: gradients?.add,
      hearEvidence: recording?.hear)
    try carryOut(run, output, gradients, recording)
  }

  /// Trains, and tells what came of it.
  func carryOut(
    _ run: RecipeRun, _ output: RunOutput, _ gradients: GradientFile?, _ recording: RunRecording?
  ) throws {
    do {
      let outcome = try run.start()
      guard ProcessLaunch.isFirst else { return }
      try gradients?.write()
      try recording?.writeReport(isWhole: true)
      outcome.write(weights: run.output, json: json, to: output)
    } catch let stop as RunInterrupted {
      try gradients?.write()
      try recording?.writeReport(isWhole: false)
      if json { output.line(stop.json) }
      throw Interrupted(signal: Interruption.signal ?? SIGINT, description: stop.description)
    }
    try output.requireWritten("the weights are in \(run.output)")
  }

  private func tellRecipes() throws {
    for recipe in recipe.words.isEmpty ? recipes : [try recipe.recipe()] {
      if json {
        try Output.line(RecipeList.json(recipe))
      } else {
        try Output.line(RecipeList.text(recipe) + "\n")
      }
    }
  }
}
