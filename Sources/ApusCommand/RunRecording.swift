// `apus train --run FOLDER`: what the folder gets besides weights and checkpoints.

import Apus
import ApusBenchmarks
import ApusRecipes

/// Notes a run into its folder: configuration, curves, and at its end the report.
final class RunRecording: Callback {
  let files: RunFolder
  private let recorder: RunRecorder
  private let recipe: any Recipe
  private let options: RecipeOptions
  private var compile: CompileOptions
  private let threads: ThreadCount
  private let level: ISA
  /// What a configuration says, where one describes the run: the file is written by then.
  private let described: RunConfiguration?
  private var evidence: RunEvidence?
  private var isBegun = false

  /// - `every`: steps between two points of the curves of steps.
  /// - `histogramsEvery`: epochs between histograms of parameters; nil for none.
  /// - `described`: the configuration that describes the run.
  /// - Throws: `invalidArgument` for numbers below 1.
  init(
    _ folder: String, _ recipe: any Recipe, _ options: RecipeOptions, compile: CompileOptions,
    threads: ThreadCount, level: ISA, every: Int, histogramsEvery: Int?,
    described: RunConfiguration? = nil
  ) throws {
    files = RunFolder(folder)
    self.recipe = recipe
    self.options = options
    self.compile = compile
    // The report's step is measured in one process.
    self.compile.processes = nil
    self.threads = threads
    self.level = level
    self.described = described
    var settings: [String: Hyperparameter] = [
      "recipe": .string(recipe.name), "precision": .string(compile.precision.rawValue),
    ]
    for (name, value) in described?.settings ?? options.texts {
      settings[name] = Hyperparameter(text: value)
    }
    recorder = try RunRecorder(
      folder, every: every, histogramsEvery: histogramsEvery, hyperparameters: settings)
  }

  func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    if case .epochBegan = event, !isBegun {
      isBegun = true
      if described == nil {
        try AtomicFile.write(configuration.text + "\n", to: files.configuration)
      }
      try AtomicFile.checkWritable(files.report)
    }
    return try recorder.handle(event, in: run)
  }

  func hear(_ evidence: RunEvidence) { self.evidence = evidence }

  /// What was asked for, with all defaults.
  private var configuration: JSON {
    .object([
      ("format", "apus-configuration"), ("version", 1), ("apus", .string(apusVersion)),
      ("recipe", .string(recipe.name)),
      ("options", .object(options.texts.map { ($0.name, .string($0.value)) })),
      ("precision", .string(compile.precision.rawValue)), ("threads", .integer(threads.count)),
      ("isa", .string(level.name)),
    ])
  }

  // MARK: The report

  /// Writes the report and the picture of the curves.
  ///
  /// - `isWhole`: whether the run came to its end. One that was interrupted gets curves and settings alone.
  /// - Throws: `io` where a file cannot be written.
  func writeReport(isWhole: Bool) throws {
    // Who is told to stop before the first step has noted nothing.
    guard isBegun else { return }
    recorder.settle()
    let history = try RunHistory(files.path)
    var report = RunReport(recipe.name, history)
    report.configuration =
      (described?.settings ?? options.texts) + [
        ("precision", compile.precision.rawValue), ("apus", apusVersion),
      ]
    report.machine =
      MachineFacts.current.rows + [
        ("level", level.name), ("threads", threads.description),
      ]
    if isWhole {
      if let evidence {
        report.model = evidence.model
        report.confusion = evidence.confusion
        report.classNames = evidence.classNames
        report.samples = evidence.samples
      }
      do {
        (report.memory, report.profile) = try measuredStep()
      } catch let error as ApusError {
        report.notes.append("Memory and profile of a step could not be measured: \(error)")
      }
    } else {
      report.notes.append("The run was interrupted: the report is of what came until then.")
    }
    try report.write(files.report)
    let charts = CurveCharts([(recipe.name, history)])
    try AtomicFile.write(charts.svg(title: recipe.name), to: files.curves)
  }

  /// Memory and times of the recipe's step on random data: of a model of its own, so that what was learnt stays.
  private func measuredStep() throws -> (MemoryReport, Profile) {
    let step = try recipe.steps(options, compile: compile)[0]
    let batch = try step.randomBatch()
    let executable = try step.step.executable(for: batch)
    // Gives the optimiser its numbers of a first step.
    try step.step.run(batch)
    let profiles = try (0..<5).map { _ in try executable.profile(batch.arrays).profile }
    let middle = profiles.sorted { $0.totalNanoseconds < $1.totalNanoseconds }[2]
    return (executable.memory, middle)
  }
}

extension MachineFacts {
  /// What the system tells, for people.
  var rows: [(name: String, value: String)] {
    let caches = caches.map { "\($0.name) \(byteText($0.bytes))" }
    return [
      ("processor", processor), ("online", "\(processorsOnline) processors"),
      ("caches", caches.isEmpty ? "unknown" : caches.joined(separator: ", ")),
      ("memory", byteText(memory)), ("huge pages", hugePages), ("system", system),
      ("compiler", compiler),
    ]
  }
}

/// `32 KiB`, `1 MiB`.
func byteText(_ bytes: Int) -> String {
  bytes >= 1 << 20 ? "\(bytes >> 20) MiB" : "\(bytes >> 10) KiB"
}
