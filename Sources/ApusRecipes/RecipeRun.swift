// One run of a recipe: what it is given, what it owes, what comes of it.

import Apus
import Foundation

/// A run of training, as a recipe is given it.
package struct RecipeRun {
  package let recipe: any Recipe
  package let options: RecipeOptions
  package let compile: CompileOptions
  /// Where the weights go.
  package let output: String
  /// A checkpoint to go on from.
  package let resume: String?
  private let progress: [any Callback]
  private let isInterrupted: () -> Bool

  /// - `output`: where the weights go; `NAME.safetensors` by default.
  /// - `progress`: hears of every step and epoch.
  /// - `isInterrupted`: asked after every step; whether the user wants to stop.
  package init(
    _ recipe: any Recipe, _ options: RecipeOptions, compile: CompileOptions = CompileOptions(),
    output: String? = nil, resume: String? = nil, progress: [any Callback] = [],
    isInterrupted: @escaping () -> Bool = { false }
  ) {
    self.recipe = recipe
    self.options = options
    self.compile = compile
    self.output = output ?? "\(recipe.name).safetensors"
    self.resume = resume
    self.progress = progress
    self.isInterrupted = isInterrupted
  }

  /// Trains, having looked first whether the weights can be written and the checkpoint is of such a run:
  /// hours of training must not end in a folder that cannot be written.
  ///
  /// - Throws: as ``TrainableRecipe/train(_:)``; `unsupported` for a recipe that does not train;
  ///   `invalidArgument` for a checkpoint of other options.
  package func start() throws -> RecipeOutcome {
    let recipe = try recipe.trainable()
    try AtomicFile.checkWritable(output)
    if let resume { try checkSettings(of: resume) }
    return try recipe.train(self)
  }

  /// What the loop tells its events: progress, then the wish to stop.
  package var callbacks: [any Callback] { progress + [StopWhereInterrupted(run: self)] }

  /// Where a run that is interrupted leaves all it needs to go on, beside the weights:
  /// `fashion-mnist.checkpoint.safetensors`.
  package var checkpoint: String {
    let suffix = ".safetensors"
    let stem = output.hasSuffix(suffix) ? String(output.dropLast(suffix.count)) : output
    return stem + ".checkpoint" + suffix
  }

  /// What determines the bits of the run besides its length, for a checkpoint's header.
  package var metadata: [String: String] {
    Dictionary(settings.map { ($0.key, $0.value) }, uniquingKeysWith: { a, _ in a })
  }

  private var settings: [(key: String, option: String, value: String)] {
    [
      ("apus.model", "model", recipe.name),
      ("apus.precision", "precision", compile.precision.rawValue),
    ] + options.settings
  }

  /// - Throws: `invalidArgument` where the checkpoint was made with other options: going on would give
  ///   weights that no uninterrupted run gives.
  private func checkSettings(of path: String) throws {
    let metadata = try SafetensorsFile(path).metadata
    for (key, option, value) in settings.sorted(by: { $0.key < $1.key }) {
      guard let stored = metadata[key], stored != value else { continue }
      throw ApusError(
        .invalidArgument, "the checkpoint was made with --\(option) \(stored), not \(value)",
        at: path, expected: "the options of the run that is resumed")
    }
  }

  /// Ends the run after a step where the user wants that, once all it needs to go on has been written.
  private struct StopWhereInterrupted: Callback {
    let run: RecipeRun

    func handle(_ event: TrainingEvent, in training: any TrainingRun) throws -> Verdict {
      if case .stepEnded = event, run.isInterrupted() {
        try training.saveCheckpoint(run.checkpoint, metadata: run.metadata)
        throw RunInterrupted(step: training.step, checkpoint: run.checkpoint)
      }
      return .goOn
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
