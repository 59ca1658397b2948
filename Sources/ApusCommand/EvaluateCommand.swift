// `apus evaluate`: what a run's model is worth on data that was held out.

import Apus
import ApusRecipes
import ArgumentParser

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Judge the model of a run.",
    discussion: """
      Reads the folder that 'apus train run.yaml' wrote. The model is judged by the test data, or by what the run \
      held out where there is none. Figures are over all examples: they do not depend on the size of batches. \
      Of classes, precision, recall and F1 of each are told too, and with --json the confusion matrix.
      """)

  @Argument(help: "The folder of a run.")
  var folder: String

  @Option(
    name: [.short, .long],
    help: "A file of weights, or a checkpoint. Default: the run's weights.safetensors.")
  var weights: String?

  @OptionGroup var execution: ExecutionOptions

  @Flag(help: "One JSON object on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard weights != "" else { throw ValidationError("--weights is empty: a file is expected.") }
  }

  func run() throws {
    let run = try ConfiguredRun(openedIn: folder)
    let judgement = try run.judged(weights: weights, compile: execution.compileOptions)
    if json { return try Output.line(judgement.json) }
    for figure in judgement.figures { try Output.line(figure.text) }
    guard !judgement.classes.isEmpty else { return }
    for line in judgement.table { try Output.line(line) }
  }
}

extension RunJudgement {
  /// The classes, a line each.
  fileprivate var table: [String] {
    func share(_ value: Double?) -> String { value.map { decimals($0, 4) } ?? "-" }
    let rows =
      [["class", "examples", "precision", "recall", "f1"]]
      + classes.map {
        [$0.name, "\($0.examples)", share($0.precision), share($0.recall), share($0.f1)]
      }
    let widths = (0..<5).map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      row.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + space : space + row[column]
      }.joined(separator: "  ")
    }
  }

  fileprivate var json: JSON {
    func number(_ value: Double?) -> JSON { value.map { .number($0) } ?? .null }
    var members: [(String, JSON)] =
      [("event", "evaluation"), ("examples", .integer(examples))]
      + figures.map { ($0.name.replacing(" ", with: "_"), .number($0.value)) }
    if !classes.isEmpty {
      members.append(
        (
          "classes",
          .array(
            classes.map {
              .object([
                ("name", .string($0.name)), ("examples", .integer($0.examples)),
                ("precision", number($0.precision)), ("recall", number($0.recall)),
                ("f1", number($0.f1)),
              ])
            })
        ))
    }
    if let matrix {
      let rows = (0..<matrix.classes).map { row in
        JSON.array(
          matrix.counts[row * matrix.classes..<(row + 1) * matrix.classes].map { .integer($0) })
      }
      members.append(("confusion_matrix", .array(rows)))
    }
    return .object(members)
  }
}
