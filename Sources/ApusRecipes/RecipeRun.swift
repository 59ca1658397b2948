// One run of a recipe: what it is given, what it owes, what comes of it.

import Apus

/// A run of training, as a recipe is given it.
package struct RecipeRun {
  package let recipe: any Recipe
  package let options: RecipeOptions
  package let compile: CompileOptions
  /// Where the weights go.
  package let output: String
  /// A checkpoint to go on from.
  package internal(set) var resume: String?
  /// The folder for checkpoints while training goes on.
  let folder: String?
  /// The folder of all files, where the run has one.
  let files: RunFolder?
  /// What writes them, where that is wanted.
  let periodic: Checkpointing?
  let tell: (String) -> Void
  private let space: SpaceForFiles
  private let progress: [any Callback]
  private let isInterrupted: () -> Bool
  /// Whether it is a short look, at the beginning of the data.
  let isQuick: Bool
  /// Hears how large gradients are, where that is wanted.
  let hearGradients: ((Int, GradientReport) -> Void)?
  /// Hears what a report shows of the trained model, where one is wanted, once the weights are written.
  let hearEvidence: ((RunEvidence) throws -> Void)?

  /// - `files`: the folder of all files of the run; none by default.
  /// - `output`: where the weights go; by default into that folder, or `NAME.safetensors`.
  /// - `resume`: a checkpoint, or a folder of checkpoints; one without any is the beginning of a run.
  /// - `checkpoints`: the folder for checkpoints while training goes on; it is made where it is not there. That of all
  ///   files by default.
  /// - `every`: how often.
  /// - `isQuick`: whether epochs are only the first 50 batches, judged by the first 10.
  /// - `progress`: hears of every step and epoch.
  /// - `isInterrupted`: asked after every step; whether the user wants to stop.
  /// - `hearGradients`: hears how large gradients are, after how many steps; nothing is measured without.
  /// - `hearEvidence`: hears what a report shows of the trained model; nothing is looked at without.
  /// - `tell`: hears what is good to know, a line each; on standard error by default.
  package init(
    _ recipe: any Recipe, _ options: RecipeOptions, compile: CompileOptions = CompileOptions(),
    files: RunFolder? = nil, output: String? = nil, resume: String? = nil,
    checkpoints folder: String? = nil,
    every interval: Checkpointing.Interval = .time(.seconds(600)), isQuick: Bool = false,
    progress: [any Callback] = [],
    isInterrupted: @escaping () -> Bool = { false },
    hearGradients: ((Int, GradientReport) -> Void)? = nil,
    hearEvidence: ((RunEvidence) throws -> Void)? = nil,
    tell: @escaping (String) -> Void = { StandardError.write($0 + "\n") }
  ) {
    self.recipe = recipe
    self.options = options
    self.compile = compile
    let folder = folder ?? files?.path
    self.output = output ?? files?.weights ?? "\(recipe.name).safetensors"
    self.resume = resume
    self.folder = folder
    self.files = files
    self.progress = progress
    self.isQuick = isQuick
    self.isInterrupted = isInterrupted
    self.hearGradients = hearGradients
    self.hearEvidence = hearEvidence
    self.tell = tell
    let metadata = Self.metadata(recipe, options, compile)
    periodic = folder.map {
      Checkpointing(
        Self.checkpoint(of: recipe, in: $0, files), every: interval, metadata: metadata)
    }
    space = SpaceForFiles(
      weights: self.output, checkpoint: folder == nil ? Self.checkpoint(beside: self.output) : nil,
      metadata)
  }

  /// Whether this process, of several that train together, writes the files and tells the user.
  var isFirst: Bool { compile.processes?.isFirst ?? true }

  /// - Throws: `unsupported` for what several processes cannot do together.
  private func checkProcesses(_ recipe: any TrainableRecipe) throws {
    guard let processes = compile.processes, processes.size > 1 else { return }
    guard recipe is any SupervisedRecipe else {
      throw ApusError(
        .unsupported,
        "\(recipe.name) cannot be trained by \(processes.size) processes: its loop is its own",
        expected: "a recipe of one model and one loss, or one process")
    }
    guard hearGradients == nil else {
      throw ApusError(
        .unsupported,
        "gradients of \(recipe.name) cannot be measured in \(processes.size) processes",
        expected: "one process")
    }
  }

  /// Trains, having looked first whether all files can be written and the checkpoint is of such a run:
  /// hours of training must not end in a folder that cannot be written.
  ///
  /// - Throws: as ``TrainableRecipe/train(_:)``; `unsupported` for a recipe that does not train, or whose gradients
  ///   cannot be measured;
  ///   `invalidArgument` for a checkpoint of other options, and for a folder with the checkpoints of a run
  ///   that is not gone on from.
  package func start() throws -> RecipeOutcome {
    let recipe = try recipe.trainable()
    if hearGradients != nil, !(recipe is any SupervisedRecipe) {
      throw ApusError(
        .unsupported, "gradients of \(recipe.name) cannot be measured: its loop is its own",
        expected: "a recipe of one model and one loss")
    }
    try checkProcesses(recipe)
    var run = self
    if isFirst {
      if let files { try RunFolder.make(files.path, for: "the run") }
      try AtomicFile.checkWritable(output)
      run.resume = try prepareFiles()
    }
    // The others look for the checkpoint when the first has looked whether there is one.
    compile.processes?.barrier()
    if !isFirst { run.resume = resume.flatMap { checkpointToResume($0) } }
    return try recipe.train(run)
  }

  /// What the loop tells its events: progress, who writes checkpoints, then the wish to stop.
  package var callbacks: [any Callback] {
    if !isFirst { return [] }
    return progress + (periodic.map { [$0] } ?? []) + [space, StopWhereInterrupted(run: self)]
  }

  /// What determines the bits of the run besides its length, for a checkpoint's header.
  package var metadata: [String: String] { Self.metadata(recipe, options, compile) }

  private static func metadata(
    _ recipe: any Recipe, _ options: RecipeOptions, _ compile: CompileOptions
  ) -> [String: String] {
    Dictionary(
      settings(recipe, options, compile).map { ($0.key, $0.value) },
      uniquingKeysWith: { a, _ in a })
  }

  static func settings(
    _ recipe: any Recipe, _ options: RecipeOptions, _ compile: CompileOptions
  ) -> [(key: String, option: String, value: String)] {
    [
      ("apus.model", "model", recipe.name),
      ("apus.precision", "precision", compile.precision.rawValue),
    ] + options.settings
  }

  /// Ends the run after a step where the user wants that, once all it needs to go on has been written.
  private struct StopWhereInterrupted: Callback {
    let run: RecipeRun

    func handle(_ event: TrainingEvent, in training: any TrainingRun) throws -> Verdict {
      guard case .stepEnded = event, run.isInterrupted() else { return .goOn }
      do {
        try training.saveCheckpoint(run.checkpoint, metadata: run.metadata)
      } catch var error as ApusError where error.kind == .io {
        error.what += "; \(run.lastCheckpoint)"
        throw error
      }
      throw RunInterrupted(step: training.step, checkpoint: run.checkpoint)
    }
  }
}

/// A run was ended by its user; the checkpoint has all it needs to go on.
package struct RunInterrupted: Error, CustomStringConvertible {
  package var step: Int
  package var checkpoint: String

  package var description: String {
    "interrupted after step \(step); go on with --resume \(checkpoint)"
  }
}

/// What came of a run.
package struct RecipeOutcome: Sendable {
  /// A figure of what was learnt, on data that was held out.
  package struct Figure: Sendable, Equatable {
    /// "test accuracy".
    package var name: String
    package var value: Double
    /// Whether people want it in percent.
    package var isFraction: Bool

    package init(_ name: String, _ value: Double, isFraction: Bool = false) {
      self.name = name
      self.value = value
      self.isFraction = isFraction
    }
  }

  /// The one that decides comes first.
  package var figures: [Figure]
  /// Of the whole loop, validation included.
  package var seconds: Double
  package var stepsPerSecond: Double

  package init(figures: [Figure], seconds: Double, stepsPerSecond: Double) {
    self.figures = figures
    self.seconds = seconds
    self.stepsPerSecond = stepsPerSecond
  }
}
