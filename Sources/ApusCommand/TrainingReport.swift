// What a training run says while it goes on and at its end.

import Apus
import ApusRecipes

/// A bar for people, or a JSON line an epoch.
struct CommandProgress: Callback {
  private let json: Bool
  private let output: RunOutput
  private let bar = ProgressBar()

  init(json: Bool, _ output: RunOutput) {
    self.json = json
    self.output = output
  }

  func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
    if !json {
      _ = bar.handle(event, in: run)
    } else if case .epochEnded(let summary) = event {
      output.line(line(summary))
    }
    // Not before: until there is something to save, Ctrl-C ends the process at once.
    if case .epochBegan = event { Interruption.listen() }
    return .goOn
  }

  private func line(_ summary: EpochSummary) -> JSON {
    var members: [(String, JSON)] = [
      ("event", "epoch"), ("epoch", .integer(summary.epoch + 1)),
      ("steps", .integer(summary.steps)), ("seconds", .number(summary.seconds)),
      ("steps_per_s", .number(summary.stepsPerSecond)),
      ("training_loss", .number(summary.training.loss)),
    ]
    if let test = summary.validation {
      members.append(("test_loss", .number(test.loss)))
      for (name, value) in test.metrics { members.append(("test_\(name)", .number(value))) }
    }
    return .object(members)
  }
}

extension RecipeOutcome {
  /// Writes the last line of a run.
  func write(weights: String, json: Bool, to output: RunOutput) {
    if json {
      output.line(
        .object(
          [("event", "result")]
            + figures.map { ($0.name.replacing(" ", with: "_"), .number($0.value)) }
            + [
              ("seconds", .number(seconds)), ("steps_per_s", .number(stepsPerSecond)),
              ("weights", .string(weights)),
            ]))
    } else {
      let figures = figures.map(\.text)
      // Many stand one below the other, and the one that decides in the last line too.
      let isLong = figures.count > 5
      if isLong { for figure in figures { output.line(figure) } }
      output.line(
        ((isLong ? Array(figures.prefix(1)) : figures) + [
          "\(decimals(seconds, 1)) s", "\(decimals(stepsPerSecond, 0)) steps/s",
          "weights in \(weights)",
        ]).joined(separator: ", "))
    }
  }
}

extension RecipeOutcome.Figure {
  /// `test accuracy 87.60 %`, for people.
  var text: String {
    isFraction ? "\(name) \(decimals(100 * value, 2)) %" : "\(name) \(decimals(value, 4))"
  }
}

extension RunInterrupted {
  /// The last line of a run that its user has ended.
  var json: JSON {
    .object([
      ("event", "interrupted"), ("step", .integer(step)), ("checkpoint", .string(checkpoint)),
    ])
  }
}
