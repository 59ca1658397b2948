// `apus dump`: a model's step at every stage, for people, programs and Graphviz.

import Apus
import ApusPasses
import ArgumentParser

struct DumpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump", abstract: "Show a model's training step as a graph.",
    discussion: """
      Stages: trace (the model and its loss as recorded), gradient (the whole step: forward, backward, \
      update), optimised (after all passes, as it is run), plan (kernel calls, threads, memory).

      Formats: text; dot, for Graphviz (`apus dump mlp_small --format dot | dot -Tsvg`); json, one object \
      on one line (Docs/GraphJSON.md).
      """)

  enum Stage: String, CaseIterable, ExpressibleByArgument { case trace, gradient, optimised, plan }
  enum Format: String, CaseIterable, ExpressibleByArgument { case text, dot, json }

  @Argument(help: "The model: \(DumpableModel.allCases.map(\.rawValue).joined(separator: ", ")).")
  var model: DumpableModel

  @Option(help: "How far: trace, gradient, optimised or plan.")
  var stage = Stage.optimised

  @Option(help: "text, dot or json.")
  var format = Format.text

  @Option(name: [.short, .long], help: "The file to write. Default: standard output.")
  var output: String?

  @Option(help: "Examples a step. Default: that of the model's benchmark.")
  var batch: Int?

  @Option(
    name: .customLong("disable-pass"),
    help: "A pass to leave out, repeatable: \(PassManager().names.joined(separator: ", ")).")
  var disabledPasses: [String] = []

  @OptionGroup var execution: ExecutionOptions

  func validate() throws {
    if let batch, !(1...1 << 20).contains(batch) {
      throw ValidationError("--batch is \(batch): a number from 1 to \(1 << 20) is expected.")
    }
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

  private func text() throws -> String {
    let graphs = try model.graphs(batch: batch ?? model.batch)
    var options = execution.compileOptions
    options.disabledPasses = Set(disabledPasses)
    switch stage {
    case .trace: return text(graphs.forward)
    case .gradient: return text(graphs.step)
    case .optimised:
      let level = try execution.level.isa
      return text(try optimised(graphs.step, options: options.passOptions(for: level)))
    case .plan:
      let executable = try Executable(
        graphs.step, states: StateStore(zerosFor: graphs.step), options: options)
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
