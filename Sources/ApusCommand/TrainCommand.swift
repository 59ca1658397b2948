// `apus train`: a real classifier from one command.

import Apus
import ArgumentParser
import Foundation

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a model on real data.",
    discussion: """
      fashion-mnist: a 784-128-10 perceptron on 60000 images of clothes (Debian's package \
      dataset-fashion-mnist), with Adam.

      The weights depend on the options alone, not on the number of threads; nor, in the highest \
      precision and without AMX, on the kernels' level. \
      Ctrl-C writes a checkpoint and exits with 130; --resume goes on from it, to the same weights as an \
      uninterrupted run.
      """)

  @Argument(help: "The model: \(TrainableModel.allCases.map(\.rawValue).joined(separator: ", ")).")
  var model: TrainableModel

  @Option(help: "Passes over the training data.")
  var epochs = 5

  @Option(help: "Examples a step.")
  var batch = 64

  @Option(
    name: .customLong("learning-rate"),
    help: "Adam's first learning rate; it falls by 30 % an epoch.")
  var learningRate = 2e-3

  @Option(help: "Determines first weights and the order of the data.")
  var seed: UInt64 = 0

  @Option(help: "The data set's folder. Default: APUS_FASHION_MNIST, or Debian's.")
  var data: String?

  @Option(name: [.short, .long], help: "Where the weights go (safetensors).")
  var output = "fashion-mnist.safetensors"

  @Option(help: "A checkpoint of a run with the same options, to go on from.")
  var resume: String?

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
    guard !output.isEmpty else { throw ValidationError("--output is empty: a file is expected.") }
  }

  func run() throws {
    // Hours of training must not end in a folder that cannot be written.
    try AtomicFile.checkWritable(output)
    let data = try FashionMNIST(folder: data)
    let training = try data.train.batched(batch, shuffle: .seed(seed))
    let testing = try data.test.batched(1000)
    let trainer = try Trainer(
      FashionClassifier(), optimizer: Adam(learningRate: schedule(training)), seed: seed,
      compile: execution.compileOptions, loss: FashionClassifier.loss)
    if let resume {
      try checkSettings(of: resume)
      try trainer.resume(from: resume)
      guard trainer.epoch < epochs else {
        throw ApusError(
          .invalidArgument, "the checkpoint has all \(trainer.epoch) epochs behind it", at: resume,
          expected: "--epochs above \(trainer.epoch)")
      }
    }
    Interruption.listen()
    let start = ContinuousClock.now
    let history: [EpochSummary]
    do {
      history = try trainer.fit(
        training, validation: testing, epochs: epochs - trainer.epoch,
        callbacks: [CommandProgress(json: json)])
    } catch let stop as Interrupted {
      throw try interrupted(trainer, stop)
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    try trainer.save(output)
    try TrainingResult(history, seconds: seconds, weights: output)?.write(json: json)
  }

  /// Falls smoothly, by the same factor every epoch whatever their number, so that a run that is
  /// resumed for more epochs goes on as if it had been asked for them at first.
  private func schedule(_ training: Batches) -> LearningRate {
    .exponential(from: learningRate, factor: pow(0.7, 1 / Double(training.batchCount)))
  }

  // MARK: Interrupted runs

  /// What determines the bits of a run, besides the number of epochs.
  private var settings: [String: String] {
    [
      "apus.model": model.rawValue, "apus.seed": "\(seed)", "apus.batch": "\(batch)",
      "apus.learning_rate": "\(learningRate)", "apus.precision": execution.precision,
    ]
  }

  private func interrupted(
    _ trainer: Trainer<FashionClassifier>, _ stop: Interrupted
  ) throws -> Interrupted {
    let path = checkpointPath
    try trainer.saveCheckpoint(path, metadata: settings)
    if json {
      try Output.line(
        .object([
          ("event", "interrupted"), ("step", .integer(trainer.step)),
          ("checkpoint", .string(path)),
        ]))
    }
    return Interrupted(
      signal: stop.signal,
      description: "interrupted after step \(trainer.step); go on with --resume \(path)")
  }

  /// Beside the weights: `fashion-mnist.checkpoint.safetensors`.
  private var checkpointPath: String {
    let suffix = ".safetensors"
    let stem = output.hasSuffix(suffix) ? String(output.dropLast(suffix.count)) : output
    return stem + ".checkpoint" + suffix
  }

  /// - Throws: `invalidArgument` where the checkpoint was made with other options: going on would give
  ///   weights that no uninterrupted run gives.
  private func checkSettings(of path: String) throws {
    let metadata = try SafetensorsFile(path).metadata
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
      guard let stored = metadata[name], stored != value else { continue }
      let option = "--" + name.dropFirst("apus.".count).map { $0 == "_" ? "-" : $0 }
      throw ApusError(
        .invalidArgument, "the checkpoint was made with \(option) \(stored), not \(value)",
        at: path, expected: "the options of the run that is resumed")
    }
  }
}
