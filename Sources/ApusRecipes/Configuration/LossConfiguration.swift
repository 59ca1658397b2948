// Losses, penalties and metrics as a configuration says them.

import Apus

/// What is minimised, and what else is reported.
///
///     loss: cross_entropy
///     loss: { name: huber, delta: 0.5 }
///     metrics: [accuracy, top5]
///     penalty: { l2: 1e-4, parameters: "*.weight" }
struct LossConfiguration: Sendable {
  static let names = [
    "cross_entropy", "mse", "mae", "huber", "smooth_l1", "bce", "focal", "poisson",
  ]

  let name: String
  let kind: TargetKind
  let metrics: [RecipeMetric]
  private let value: @Sendable (_ prediction: Tensor, _ target: Tensor) -> Tensor
  private let l1: Double
  private let l2: Double
  private let penalized: String

  /// - `usual`: the loss where none is said; nil where one must be.
  /// - `run`: the file's reader: `loss`, `metrics` and `penalty` stand at the top.
  /// - Throws: what reading keys throws.
  init(_ run: ConfigurationReader, usual: String?) throws {
    let reader = try run.group("loss")
    let name = try reader.choice("name", usual, of: Self.names)
    self.name = name
    kind = name == "cross_entropy" ? .classes : .numbers
    switch name {
    case "cross_entropy":
      let smoothing = try reader.value("label_smoothing", 0.0, .share)
      value = { crossEntropy($0, $1, labelSmoothing: smoothing) }
    case "mae": value = { mae($0, $1) }
    case "huber":
      let delta = try reader.value("delta", 1.0, .positive)
      value = { huber($0, $1, delta: delta) }
    case "smooth_l1":
      let beta = try reader.value("beta", 1.0, .factor)
      value = { smoothL1($0, $1, beta: beta) }
    case "bce": value = { bceWithLogits($0, $1) }
    case "focal":
      let (alpha, gamma) = (
        try reader.value("alpha", 0.25, .unit), try reader.value("gamma", 2.0, .factor)
      )
      value = { focalLoss($0, $1, alpha: alpha, gamma: gamma) }
    case "poisson": value = { poissonNLL($0, $1) }
    default: value = { mse($0, $1) }
    }
    try reader.finish()
    metrics = try Self.metrics(run, kind, isLogit: name == "bce" || name == "focal")
    let penalty = try run.group("penalty")
    l1 = try penalty.value("l1", 0.0, .factor)
    l2 = try penalty.value("l2", 0.0, .factor)
    penalized = try penalty.value("parameters", "*weight")
    try penalty.finish()
  }

  private static func metrics(
    _ run: ConfigurationReader, _ kind: TargetKind, isLogit: Bool
  ) throws -> [RecipeMetric] {
    let known =
      kind == .classes
      ? ["accuracy", "top2", "top3", "top5", "top10", "perplexity"]
      : isLogit ? ["accuracy"] : ["mae", "mse"]
    let usual = isLogit || kind == .classes ? ["accuracy"] : ["mae"]
    let texts: [String] = try run.list("metrics") ?? usual
    let names = try texts.enumerated().map {
      try ConfigurationReader.named(
        $0.element, of: known, "\(run.path(of: "metrics")).\($0.offset)",
        at: run.place(of: "metrics"))
    }
    guard Set(names).count == names.count else {
      throw ApusError(
        .invalidArgument, "\(run.path(of: "metrics")) names one twice",
        at: run.place(of: "metrics"), expected: "each once")
    }
    run.note("metrics", .array(names.map { .string($0) }))
    return names.map { name in
      let isShare = name == "accuracy" || name.hasPrefix("top")
      return RecipeMetric(name, isFraction: isShare, goal: isShare ? .larger : .smaller)
    }
  }

  /// The loss of a batch, metrics reported; penalties count in training alone, so that what is told of held-out data is
  /// the loss itself.
  func callAsFunction(
    _ model: ConfiguredModel, _ prediction: Tensor, _ target: Tensor, _ batch: SymbolicBatch
  ) -> Tensor {
    var loss = value(prediction, target)
    for metric in metrics { report(metric.name, loss, prediction, target, batch) }
    guard prediction.trace.mode == .training else { return loss }
    if l1 > 0 { loss = loss + model.l1Penalty(l1, penalized) }
    if l2 > 0 { loss = loss + model.l2Penalty(l2, penalized) }
    return loss
  }

  private func report(
    _ name: String, _ loss: Tensor, _ prediction: Tensor, _ target: Tensor, _ batch: SymbolicBatch
  ) {
    switch name {
    case "perplexity": batch.reportPerplexity(loss)
    case "mae": batch.report(name, mae(prediction, target))
    case "mse": batch.report(name, mse(prediction, target))
    case "accuracy" where kind == .numbers:
      // Of logits: right where the sign is the target's.
      let isRight = (prediction .> 0) .== (target .> 0.5)
      batch.report(name, isRight.cast(to: .f32).mean())
    case "accuracy": batch.report(name, accuracy(prediction, target))
    default:
      batch.report(name, topKAccuracy(prediction, target, k: Int(name.dropFirst(3)) ?? 1))
    }
  }

  /// Outputs that a model must have for the data.
  func outputs(_ signature: ModelSignature) -> Int {
    signature.classes ?? signature.targetWidth ?? 1
  }
}
