// What a training run says while it goes on and at its end.

import Apus

/// A bar for people, or a JSON line an epoch; either way ends training on Ctrl-C.
struct CommandProgress: Callback {
  let json: Bool
  private let bar = ProgressBar()

  init(json: Bool) { self.json = json }

  func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    if !json {
      _ = bar.handle(event, in: run)
    } else if case .epochEnded(let summary) = event {
      try Output.line(line(summary))
    }
    if case .stepEnded = event { try Interruption.check() }
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

/// The last line of a run.
struct TrainingResult {
  var accuracy: Double
  var loss: Double
  var seconds: Double
  var stepsPerSecond: Double
  var weights: String

  init?(_ history: [EpochSummary], seconds: Double, weights: String) {
    guard let test = history.last?.validation else { return nil }
    let steps = history.reduce(0) { $0 + $1.steps }
    accuracy = test["accuracy"] ?? .nan
    loss = test.loss
    self.seconds = seconds
    stepsPerSecond = Double(steps) / max(history.reduce(0) { $0 + $1.seconds }, 1e-9)
    self.weights = weights
  }

  func write(json: Bool) throws {
    if json {
      try Output.line(
        .object([
          ("event", "result"), ("test_accuracy", .number(accuracy)), ("test_loss", .number(loss)),
          ("seconds", .number(seconds)), ("steps_per_s", .number(stepsPerSecond)),
          ("weights", .string(weights)),
        ]))
    } else {
      try Output.line(
        "test accuracy \(decimals(100 * accuracy, 2)) %, test loss \(decimals(loss, 4)), "
          + "\(decimals(seconds, 1)) s, \(decimals(stepsPerSecond, 0)) steps/s, weights in \(weights)"
      )
    }
  }
}

/// A number with that many decimals.
private func decimals(_ value: Double, _ places: Int) -> String {
  guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
  let scale = (0..<places).reduce(1) { scale, _ in scale * 10 }
  let scaled = Int((value.magnitude * Double(scale)).rounded())
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard places > 0 else { return "\(sign)\(scaled)" }
  let fraction = String(scaled % scale)
  let zeros = String(repeating: "0", count: places - fraction.count)
  return "\(sign)\(scaled / scale).\(zeros)\(fraction)"
}
