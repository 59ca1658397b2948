// `apus train`: a real classifier from one command.

import Apus
import ArgumentParser
import Foundation
import Synchronization

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model on real data.",
    discussion: """
      fashion-mnist: a 784-128-10 perceptron on 60000 images of clothes (Debian's package \
      dataset-fashion-mnist). Ctrl-C saves the weights as they are and exits with 130.
      """)

  @Argument(help: "The model: \(BundledModel.allCases.map(\.rawValue).joined(separator: ", ")).")
  var model: BundledModel

  @Option(help: "Passes over the training data.")
  var epochs = 5

  @Option(help: "Examples a step.")
  var batch = 64

  @Option(name: .customLong("learning-rate"), help: "Adam's learning rate.")
  var learningRate = 1e-3

  @Option(help: "Determines first weights and the order of the data.")
  var seed: UInt64 = 0

  @Option(help: "The data set's folder. Default: APUS_FASHION_MNIST, or Debian's.")
  var data: String?

  @Option(name: [.short, .long], help: "Where the weights go (safetensors).")
  var output = "fashion-mnist.safetensors"

  @OptionGroup var execution: ExecutionOptions

  @Flag(help: "One JSON object a line on standard output, and nothing else there.")
  var json = false

  func validate() throws {
    guard epochs >= 1 else {
      throw ValidationError("--epochs is \(epochs): at least 1 is expected.")
    }
    guard batch >= 1 else { throw ValidationError("--batch is \(batch): at least 1 is expected.") }
    guard learningRate > 0, learningRate.isFinite else {
      throw ValidationError(
        "--learning-rate is \(learningRate): a finite number above 0 is expected.")
    }
  }

  func run() throws {
    // Hours of training must not end in a folder that cannot be written.
    try AtomicFile.checkWritable(output)
    let data = try FashionMNIST(folder: data)
    let training = try data.train.batched(batch, shuffle: seed)
    let testing = try data.test.batched(1000)
    let trainer = try Trainer(
      FashionClassifier(), optimizer: Adam(learningRate: .constant(learningRate)), seed: seed,
      compile: execution.compileOptions, loss: FashionClassifier.loss)
    let interruption = Interruption()
    let progress = CommandProgress(json: json, interruption: interruption)
    let start = ContinuousClock.now
    let history: [EpochSummary]
    do {
      history = try trainer.fit(training, validation: testing, epochs: epochs, progress: progress)
    } catch is Interrupted {
      try trainer.save(output)
      throw Interrupted(
        description: "interrupted after \(trainer.step) steps; weights in \(output)")
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    try trainer.save(output)
    report(history, seconds)
  }

  private func report(_ history: [EpochSummary], _ seconds: Double) {
    guard let last = history.last, let test = last.validation else { return }
    let steps = history.reduce(0) { $0 + $1.steps }
    let rate = Double(steps) / history.reduce(0) { $0 + $1.seconds }
    let accuracy = test["accuracy"] ?? .nan
    if json {
      var line = JSONLine(event: "result")
      line.add("test_accuracy", accuracy)
      line.add("test_loss", test.loss)
      line.add("seconds", seconds)
      line.add("steps_per_s", rate)
      line.add("weights", output)
      line.write()
    } else {
      print(
        String(
          format: "test accuracy %.2f %%, test loss %.4f, %.1f s, %.0f steps/s, weights in %@",
          100 * accuracy, test.loss, seconds, rate, output))
    }
  }
}

/// Set by Ctrl-C, read between steps.
private let wasInterrupted = Atomic(false)

/// Ctrl-C as an error that training meets between steps.
struct Interruption {
  init() {
    // All that a signal handler may do: set a flag, or leave at once the second time, when the first
    // did not help.
    signal(SIGINT) { _ in
      if wasInterrupted.exchange(true, ordering: .relaxed) { _exit(130) }
    }
  }

  func check() throws {
    if wasInterrupted.load(ordering: .relaxed) { throw Interrupted(description: "interrupted") }
  }
}

/// A bar for people, or a JSON line an epoch; either way ends training on Ctrl-C.
private struct CommandProgress: TrainingProgress {
  let json: Bool
  let interruption: Interruption
  private let bar = ProgressBar()

  init(json: Bool, interruption: Interruption) {
    self.json = json
    self.interruption = interruption
  }

  func epochBegins(_ epoch: Int, of epochs: Int, batches: Int) {
    if !json { bar.epochBegins(epoch, of: epochs, batches: batches) }
  }

  func stepEnded(_ step: Int, _ result: StepResult) throws {
    if !json { bar.stepEnded(step, result) }
    try interruption.check()
  }

  func epochEnded(_ summary: EpochSummary) {
    guard json else { return bar.epochEnded(summary) }
    var line = JSONLine(event: "epoch")
    line.add("epoch", summary.epoch + 1)
    line.add("steps", summary.steps)
    line.add("seconds", summary.seconds)
    line.add("steps_per_s", summary.stepsPerSecond)
    line.add("training_loss", summary.training.loss)
    if let validation = summary.validation {
      line.add("test_loss", validation.loss)
      for (name, value) in validation.metrics { line.add("test_\(name)", value) }
    }
    line.write()
  }
}
