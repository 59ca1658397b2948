// Progress on standard error: a bar on a terminal, plain lines elsewhere.

import Foundation

/// Shows steps per second, loss, metrics and the time left.
///
///     epoch 2/5 ━━━━━━━━━━━━━━╸━━━━━ 702/938  8123 steps/s  loss 0.3521  eta 0.0 s
///
/// On a terminal the line is redrawn at most ten times a second; elsewhere (a file, a pipe) a line is
/// written every few seconds and after each epoch. `NO_COLOR` leaves colours out.
public final class ProgressBar: Callback {
  /// Where text goes; false where it goes nowhere any more.
  public typealias Output = (String) -> Bool

  private let isTerminal: Bool
  private let hasColor: Bool
  private let write: Output
  /// False once text could not be written: training goes on without a bar.
  private var isShown = true
  private let now: () -> Double
  private let plainInterval: Double

  private var epoch = 0
  private var epochs = 0
  private var batches = 0
  private var start = 0.0
  /// Steps of this epoch that an interrupted run had done.
  private var stepsBefore: Int?
  private var lastDrawn = 0.0
  private var loss = 0.0
  private var lineLength = 0

  /// A bar on standard error.
  public convenience init() {
    let isTerminal = isatty(STDERR_FILENO) == 1
    let environment = ProcessInfo.processInfo.environment
    self.init(
      isTerminal: isTerminal && environment["TERM"] != "dumb",
      hasColor: isTerminal && (environment["NO_COLOR"] ?? "").isEmpty,
      output: StandardError.write)
  }

  /// - `isTerminal`: whether a line can be redrawn.
  /// - `plainInterval`: seconds between lines where it cannot.
  /// - `now`: a clock in seconds.
  public init(
    isTerminal: Bool, hasColor: Bool = false, plainInterval: Double = 5, output: @escaping Output,
    now: @escaping () -> Double = { ProcessInfo.processInfo.systemUptime }
  ) {
    self.isTerminal = isTerminal
    self.hasColor = hasColor
    self.plainInterval = plainInterval
    write = output
    self.now = now
  }

  public func handle(_ event: TrainingEvent, in run: any TrainingRun) -> Verdict {
    show(event)
    return .goOn
  }

  /// Shows an event, whoever's.
  package func show(_ event: TrainingEvent) {
    switch event {
    case .epochBegan(let epoch, let epochs, let batches):
      epochBegins(epoch, of: epochs, batches: batches)
    case .stepEnded(let step, let result): stepEnded(step, result)
    case .epochEnded(let summary): epochEnded(summary)
    case .ended(let reason): if let reason { output("ended: \(reason)\n") }
    }
  }

  private func output(_ text: String) {
    if isShown { isShown = write(text) }
  }

  private func epochBegins(_ epoch: Int, of epochs: Int, batches: Int) {
    self.epoch = epoch
    self.epochs = epochs
    self.batches = batches
    start = now()
    lastDrawn = start
    loss = .nan
    stepsBefore = nil
  }

  private func stepEnded(_ step: Int, _ result: StepResult) {
    // A moving mean: single batches jump about.
    loss = loss.isNaN ? result.loss : 0.98 * loss + 0.02 * result.loss
    let before = stepsBefore ?? step - 1
    stepsBefore = before
    let time = now()
    guard time - lastDrawn >= (isTerminal ? 0.1 : plainInterval) else { return }
    lastDrawn = time
    let rate = Double(step - before) / max(time - start, 1e-9)
    let left = Double(batches - step) / max(rate, 1e-9)
    let numbers =
      "\(step)/\(batches)  \(Self.rate(rate)) steps/s  loss \(Self.number(loss))"
      + "  eta \(Self.seconds(left))"
    if isTerminal {
      draw("\(head) \(bar(Double(step) / Double(max(batches, 1)))) \(numbers)")
    } else {
      output("\(head) \(numbers)\n")
    }
  }

  private func epochEnded(_ summary: EpochSummary) {
    var line =
      "\(head) \(summary.steps) steps in \(Self.seconds(summary.seconds))"
      + " (\(Self.rate(summary.stepsPerSecond)) steps/s)  loss \(Self.number(summary.training.loss))"
    if let validation = summary.validation {
      line += "  validation loss \(Self.number(validation.loss))"
      for (name, value) in validation.metrics { line += "  \(name) \(Self.number(value))" }
    }
    if isTerminal {
      draw(line)
      lineLength = 0
      output("\n")
    } else {
      output(line + "\n")
    }
  }

  private var head: String { "epoch \(epoch + 1)/\(epochs)" }

  private func bar(_ fraction: Double) -> String {
    let width = 24
    let full = min(width, Int(fraction * Double(width)))
    let done = String(repeating: "━", count: full)
    let rest = String(repeating: hasColor ? "━" : " ", count: width - full)
    return hasColor ? "\u{1b}[36m\(done)\u{1b}[90m\(rest)\u{1b}[0m" : done + rest
  }

  /// Replaces the line that stands, blanking what the new one does not cover.
  private func draw(_ line: String) {
    let padding = String(repeating: " ", count: max(0, lineLength - line.count))
    lineLength = line.count
    output("\r\(line)\(padding)")
  }

  private static func rate(_ value: Double) -> String {
    value >= 100 ? "\(Int(value.rounded()))" : String(format: "%.1f", value)
  }
  private static func number(_ value: Double) -> String { String(format: "%.4f", value) }
  private static func seconds(_ value: Double) -> String {
    value < 60
      ? String(format: "%.1f s", value)
      : "\(Int(value) / 60):" + String(format: "%02d", Int(value) % 60)
  }
}
