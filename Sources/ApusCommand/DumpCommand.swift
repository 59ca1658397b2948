// `apus dump`: a model's step at every stage, for people, programs and Graphviz.

import Apus
import ApusPasses
import ApusRecipes
import ArgumentParser

struct DumpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump", abstract: "Show a model's training step as a graph.",
    discussion: """
      Stages: trace (the model and its loss as recorded), gradient (the whole step: forward, backward, \
      update), optimised (after all passes, as it is run), plan (kernel calls, threads, memory).

      Formats: text; dot, for Graphviz (`apus dump mlp_small --format dot | dot -Tsvg`); json, one object \
      on one line (Docs/GraphJSON.md).

      Recipes:
      \(RecipeList.summaries(recipes))
      """)

  enum Stage: String, CaseIterable, ExpressibleByArgument { case trace, gradient, optimised, plan }
  enum Format: String, CaseIterable, ExpressibleByArgument { case text, dot, json }

  @OptionGroup var recipe: RecipeArguments

  @Option(help: "How far: trace, gradient, optimised or plan.")
  var stage = Stage.optimised

  @Option(help: "text, dot or json.")
  var format = Format.text

  @Option(name: [.short, .long], help: "The file to write. Default: standard output.")
  var output: String?

  @Option(help: "Which step, of a recipe that has several. Default: the first.")
  var step: String?

  @Option(help: "Examples a step. Default: the recipe's.")
  var batch: String?

  @Option(
    name: .customLong("disable-pass"),
    help: "A pass to leave out, repeatable: \(PassManager().names.joined(separator: ", ")).")
  var disabledPasses: [String] = []

  @OptionGroup var execution: ExecutionOptions

  @OptionGroup var memory: MemoryLimitOption

  func validate() throws {
    _ = try options()
    let names = PassManager().names
    if let unknown = disabledPasses.first(where: { !names.contains($0) }) {
      throw ValidationError(
        "--disable-pass is '\(unknown)': one of \(names.joined(separator: ", ")) is expected.")
    }
  }

  func run() throws {
    if let output { try AtomicFile.checkWritable(output) }
    let text = try text()
    if let output {
      try AtomicFile.write(text, to: output)
    } else {
      try Output.write(text)
    }
  }

  private func options() throws -> RecipeOptions { try recipe.options([("batch", batch)]) }

  /// The step that is shown.
  private func chosenStep() throws -> RecipeStep {
    let steps = try recipe.recipe().steps(options(), compile: execution.compileOptions)
    guard let chosen = steps.first(where: { step == nil || step == $0.name }) else {
      throw ApusError(
        .missing, "\(try options().recipe) has no step '\(step ?? "")'",
        expected: "one of \(steps.map(\.name).joined(separator: ", "))"
      ).asUsage
    }
    return chosen
  }

  private func text() throws -> String {
    let step = try chosenStep()
    var options = execution.compileOptions
    options.disabledPasses = Set(disabledPasses)
    options.memoryLimit = memory.memoryLimit?.bytes
    switch stage {
    case .trace: return text(try step.forwardGraph())
    case .gradient: return text(try step.graph())
    case .optimised:
      let level = try execution.level.isa
      return text(try optimised(step.graph(), options: options.passOptions(for: level)))
    case .plan:
      let graph = try step.graph()
      let executable = try Executable(
        graph, states: StateStore(zerosFor: graph), options: options)
      let (plan, schedule) = (executable.plan, executable.schedule)
      switch format {
      case .text: return plan.text(schedule)
      case .dot: return plan.dot(schedule)
      // As all JSON of this program: one line.
      case .json: return try JSON(parsing: Array(plan.json(schedule))).text + "\n"
      }
    }
  }

  private func text(_ graph: Graph) -> String {
    switch format {
    case .text: graph.description
    case .dot: graph.dot
    case .json: graph.json + "\n"
    }
  }
}
