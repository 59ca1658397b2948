// Progress on standard error: a bar on a terminal, plain lines elsewhere.

import Foundation

/// Shows steps per second, loss, metrics and the time left.
///
///     epoch 2/5 ━━━━━━━━━━━━━━╸━━━━━ 702/938  8123 steps/s  loss 0.3521  0.1 s, eta 0.0 s
///
/// On a terminal the line is redrawn at most ten times a second and cut to the terminal's width; elsewhere (a file, a
/// pipe) a line is written every few seconds and after each epoch. The speed is a moving mean, as tqdm's; below one step
/// a second it is told in seconds a step. `NO_COLOR` leaves colours out.
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
  /// The terminal's width; nil where it is not known.
  private let columns: () -> Int?

  private var epoch = 0
  private var epochs = 0
  private var batches = 0
  private var start = 0.0
  /// Steps of this epoch that an interrupted run had done.
  private var stepsBefore: Int?
  private var lastDrawn = 0.0
  private var lastStep = 0
  /// Steps a second; nil before anything was shown.
  private var speed: Double?
  private var loss = 0.0
  private var lineLength = 0

  /// A bar on standard error.
  public convenience init() {
    let isTerminal = isatty(STDERR_FILENO) == 1
    let environment = ProcessInfo.processInfo.environment
    self.init(
      isTerminal: isTerminal && environment["TERM"] != "dumb",
      hasColor: isTerminal && (environment["NO_COLOR"] ?? "").isEmpty,
      columns: { StandardError.columns }, output: StandardError.write)
  }

  /// - `isTerminal`: whether a line can be redrawn.
  /// - `plainInterval`: seconds between lines where it cannot.
  /// - `columns`: asked for the terminal's width before a line is drawn; nil where it is not known.
  /// - `now`: a clock in seconds.
  public init(
    isTerminal: Bool, hasColor: Bool = false, plainInterval: Double = 5,
    columns: @escaping () -> Int? = { nil }, output: @escaping Output,
    now: @escaping () -> Double = { ProcessInfo.processInfo.systemUptime }
  ) {
    self.columns = columns
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
    speed = nil
  }

  private func stepEnded(_ step: Int, _ result: StepResult) {
    // A moving mean: single batches jump about.
    if !result.wasSkipped {
      loss = loss.isNaN ? result.loss : 0.98 * loss + 0.02 * result.loss
    }
    if stepsBefore == nil {
      stepsBefore = step - 1
      lastStep = step - 1
    }
    let time = now()
    guard time - lastDrawn >= (isTerminal ? 0.1 : plainInterval) else { return }
    // tqdm's smoothing.
    let recent = Double(step - lastStep) / max(time - lastDrawn, 1e-9)
    let rate = speed.map { 0.3 * recent + 0.7 * $0 } ?? recent
    (speed, lastDrawn, lastStep) = (rate, time, step)
    let left = Double(batches - step) / max(rate, 1e-9)
    let numbers =
      "\(step)/\(batches)  \(Self.rate(rate))  loss \(Self.number(loss))"
      + "  \(Self.seconds(time - start)), eta \(Self.seconds(left))"
    if isTerminal {
      let fraction = Double(step) / Double(max(batches, 1))
      draw(fitting: [head, numbers], bar: fraction)
    } else {
      output("\(head) \(numbers)\n")
    }
  }

  private func epochEnded(_ summary: EpochSummary) {
    var line =
      "\(head) \(summary.steps) steps in \(Self.seconds(summary.seconds))"
      + " (\(Self.rate(summary.stepsPerSecond)))  loss \(Self.number(summary.training.loss))"
    if summary.skipped > 0 { line += "  \(summary.skipped) batches skipped (not finite)" }
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

  /// Draws a line with a bar between its two parts: a shorter bar, or none, where the terminal is narrow.
  private func draw(fitting parts: [String], bar fraction: Double) {
    let space = (columns() ?? .max) - parts.reduce(0) { $0 + $1.count } - 3
    guard space >= 4 else { return draw(parts.joined(separator: " ")) }
    let width = min(space, 24)
    draw(
      "\(parts[0]) \(bar(fraction, width)) \(parts[1])",
      visible: parts[0].count + width + parts[1].count + 2)
  }

  private func bar(_ fraction: Double, _ width: Int) -> String {
    let full = min(width, Int(fraction * Double(width)))
    let done = String(repeating: "━", count: full)
    let rest = String(repeating: hasColor ? "━" : " ", count: width - full)
    return hasColor ? "\u{1b}[36m\(done)\u{1b}[90m\(rest)\u{1b}[0m" : done + rest
  }

  /// Replaces the line that stands, blanking what the new one does not cover. A line that is wider than the terminal
  /// would be redrawn on the next one: it is cut.
  ///
  /// - `visible`: its columns, where it was made to fit; colours take none.
  private func draw(_ line: String, visible: Int? = nil) {
    var line = line
    if visible == nil, let columns = columns(), columns > 1, line.count >= columns {
      line = line.prefix(columns - 2) + "…"
    }
    let length = visible ?? line.count
    let padding = String(repeating: " ", count: max(0, lineLength - length))
    lineLength = length
    output("\r\(line)\(padding)")
  }

  private static func rate(_ value: Double) -> String {
    if value >= 100, value < 1e9 { return "\(Int(value.rounded())) steps/s" }
    return value >= 1 || value <= 0
      ? String(format: "%.1f steps/s", value) : String(format: "%.2f s/step", 1 / value)
  }
  private static func number(_ value: Double) -> String { String(format: "%.4f", value) }
  private static func seconds(_ value: Double) -> String {
    value < 60
      ? String(format: "%.1f s", value)
      : "\(Int(value) / 60):" + String(format: "%02d", Int(value) % 60)
  }
}
