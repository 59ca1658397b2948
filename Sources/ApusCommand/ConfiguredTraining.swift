// `apus train run.yaml`: a run that a file describes.

import Apus
import ApusRecipes
import ArgumentParser

extension TrainCommand {
  /// - Throws: usage errors for what a configuration says itself.
  func validateConfigured() throws {
    if let word = recipe.words.dropFirst().first {
      throw ValidationError(
        "Unexpected argument '\(word)' after \(recipe.words[0]): --set key=value sets a key.")
    }
    for (option, value) in [("--output", output), ("--checkpoint", checkpoint)] where value != nil {
      throw ValidationError(
        "\(option) with a configuration: --set folder=… names the folder of all the run's files.")
    }
  }

  /// What the command's own options set in a configuration, before `--set` does.
  private func ownSettings(isRecipe: Bool) -> [String] {
    let (batchKey, rateKey, dataKey) =
      isRecipe
      ? ("options.batch", "options.learning_rate", "options.data")
      : ("data.batch", "optimizer.rate", "data.folder")
    let all: [(String, String?)] = [
      ("epochs", epochs ?? (quick ? "1" : nil)), ("seed", seed), (batchKey, batch),
      (rateKey, learningRate), (dataKey, data), ("precision", execution.precision),
      ("memory_limit", memory.memoryLimit.map { "\($0.bytes)" }), ("quick", quick ? "true" : nil),
      ("folder", records.run), ("records.every", records.recordEvery.map { "\($0)" }),
      ("records.histograms_every", records.histogramsEvery.map { "\($0)" }),
      every?.setting.map { ($0.key, $0.value) } ?? ("checkpoint", nil),
    ]
    return all.compactMap { key, value in value.map { "\(key)=\($0)" } }
  }

  func trainConfigured(_ file: String) throws {
    let isRecipe = try ConfigurationFile.hasRecipe(file)
    let configuration = try ConfigurationFile.run(
      file, setting: ownSettings(isRecipe: isRecipe) + settings)
    let configured = try ConfiguredRun(configuration)
    if gradientCheck {
      let (recipe, options) = try configuration.recipe()
      return try check(
        recipe, options, configuration.compileOptions(execution.compileOptions))
    }
    let gradients = try gradientNorms.map { try GradientFile($0, title: configuration.name) }
    let output = RunOutput()
    let recording = try configuration.records.map {
      try RunRecording(
        configured.folder, configured.recipe, configured.options,
        compile: configuration.compileOptions(execution.compileOptions),
        threads: execution.threadCount, level: execution.level.isa, every: $0.every,
        histogramsEvery: $0.histogramsEvery, described: configuration)
    }
    var compile = execution.compileOptions
    compile.processes = ProcessLaunch.processes
    let run = try configured.prepared(
      compile: compile,
      resume: resume == Self.folderOfCheckpoint ? configured.folder : resume,
      progress: [CommandProgress(json: json, output)] + (recording.map { [$0] } ?? []),
      isInterrupted: { Interruption.signal != nil }, hearGradients: gradients?.add,
      hearEvidence: recording?.hear)
    try carryOut(run, output, gradients, recording)
  }

  /// `--gradient-check`: tells what was compared; where a gradient is off, that is the error.
  func check(
    _ recipe: any Recipe, _ options: RecipeOptions, _ compile: CompileOptions
  ) throws {
    guard let recipe = recipe as? any SupervisedRecipe else {
      throw ApusError(
        .unsupported, "gradients of \(recipe.name) cannot be checked: its loop is its own",
        expected: "a recipe of one model and one loss")
    }
    let check = try recipe.checkedGradients(options)
    if json {
      try Output.line(check.json)
    } else {
      try Output.line("loss \(check.loss), \(check.parameters.count) parameters, the worst first:")
      try Output.line("\(check)")
    }
  }
}

extension CheckpointPeriod {
  /// The period as a configuration says it.
  fileprivate var setting: (key: String, value: String)? {
    switch interval {
    case .steps(let count): ("checkpoint.every_steps", "\(count)")
    case .epochs(let count): ("checkpoint.every_epochs", "\(count)")
    case .time(let duration): ("checkpoint.every_seconds", "\(duration.components.seconds)")
    }
  }
}

extension ModelGradientCheck {
  /// For programs.
  fileprivate var json: JSON {
    .object([
      ("event", "gradient_check"), ("loss", .number(loss)),
      ("worst", worst.map { .string($0.path) } ?? .null),
      (
        "parameters",
        .array(
          parameters.map {
            .object([
              ("path", .string($0.path)), ("analytic", .number($0.analytic)),
              ("numeric", .number($0.numeric)), ("error", .number($0.error)),
            ])
          })
      ),
    ])
  }
}
