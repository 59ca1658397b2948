// over-fitting: what a network learns by heart, and what keeps it from that.

import Apus

/// One network on few examples, four times: as it is, with dropout, with an L2 penalty, and as it is but stopped early.
struct OverFittingRecipe: SupervisedRecipe {
  static let examples = RecipeOption(
    "examples", default: 30, .between(5, 1000), "Training examples of each class.")
  static let dropout = RecipeOption(
    "dropout", default: 0.6, OptionRange.share, "The share of units that are dropped.")
  static let penalty = RecipeOption(
    "l2", default: 2e-3, OptionRange.factor, "The factor of the sum of squares of the weights.")
  static let patience = RecipeOption(
    "patience", default: 3, .between(1, 1000), "Epochs without a better loss that end a run early.",
    isSetting: false)

  let name = "over-fitting"
  let summary = "few examples learnt by heart, and three cures"
  let discussion = """
    A perceptron with 256 hidden units learns 30 images of each class of Fashion-MNIST (Debian's package \
    dataset-fashion-mnist), judged by 2000 others: as it is, with dropout, with an L2 penalty. Its loss on what it learns falls \
    to nothing; on the others it rises again. NAME.svg beside the weights has the curves of both, and the epoch at which \
    early stopping would have ended the plain run.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 60), CommonOption.batch.with(default: 30),
    CommonOption.learningRate.with(default: 1e-3), CommonOption.seed, CommonOption.data, examples,
    dropout, penalty, patience,
  ]
  let metric = RecipeMetric("loss with dropout", goal: .smaller)
  let otherMetrics =
    [RecipeMetric("loss with L2", goal: .smaller), RecipeMetric("plain loss", goal: .smaller)]
    + ["plain", "dropout", "L2"].map {
      RecipeMetric("accuracy, \($0)", isFraction: true, goal: .larger)
    }

  func model(_ options: RecipeOptions) -> OverFitters {
    OverFitters(dropout: options[Self.dropout], penalty: options[Self.penalty])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(learningRate: .constant(options.learningRate))
  }

  func loss(_ model: OverFitters, _ batch: SymbolicBatch) -> Tensor {
    func part(_ loss: String, _ short: String, _ logits: Tensor) -> Tensor {
      let value = crossEntropy(logits, batch.labels)
      batch.report(loss, value)
      batch.report("accuracy, \(short)", accuracy(logits, batch.labels))
      return value
    }
    let plain = part("plain loss", "plain", model.plain(batch.images))
    let dropped = part(metric.name, "dropout", model.dropped(batch.images))
    let shrunk = part("loss with L2", "L2", model.shrunk(batch.images))
    let sum = plain + dropped + shrunk
    guard sum.trace.mode == .training, model.penalty > 0 else { return sum }
    return sum + model.shrunk.l2Penalty(model.penalty, "*.weight")
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    RandomField.fashionMNIST(options.batch)
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let data = try FashionMNIST(folder: options.data)
    return RecipeData(
      training: try data.train.few(options[Self.examples]).batched(options.batch),
      validation: try data.test.few(200).batched(1000))
  }

  func train(_ run: RecipeRun) throws -> RecipeOutcome {
    let data = try data(run.options)
    let learnt = run.isQuick ? data.beginning(quickSteps).training : data.training
    let names = ["plain loss", metric.name, "loss with L2"]
    // Loss on what is learnt, without dropout and penalty, as it is on what is held out.
    var evaluation: EvaluationStep<OverFitters>?
    let curves = SeriesLog("curves") { event, training in
      guard case .epochEnded(let summary) = event, let held = summary.validation,
        let model = training.trainedModel as? OverFitters
      else { return [] }
      let judge =
        try evaluation
        ?? EvaluationStep(model, seed: run.options.seed, compile: run.compile, loss: loss)
      evaluation = judge
      let own = try judge.run(over: learnt)
      return names.flatMap { name in
        [("\(name), held out", held[name] ?? .nan), ("\(name), learnt", own[name] ?? .nan)]
      }
    }
    var outcome = try fit(run, telling: [curves])
    let plain = curves.series["plain loss, held out"] ?? []
    let stop = Self.stop(plain, patience: run.options[Self.patience])
    if let stop {
      outcome.figures.append(.init("plain loss, stopped early", plain[stop.best]))
      outcome.figures.append(.init("epochs of early stopping", Double(stop.last + 1)))
    }
    for name in names {
      if let last = curves.series["\(name), learnt"]?.last {
        outcome.figures.append(.init("training \(name)", last))
      }
    }
    try AtomicFile.write(
      Self.picture(names, curves.series, stop), to: run.path(ending: ".svg"))
    return outcome
  }

  /// Where early stopping ends a run, and the epoch whose weights it gives back; nil without epochs.
  static func stop(_ losses: [Double], patience: Int) -> (best: Int, last: Int)? {
    guard !losses.isEmpty else { return nil }
    var best = 0
    for (epoch, loss) in losses.enumerated() {
      if loss < losses[best] { best = epoch }
      if epoch - best >= patience { return (best, epoch) }
    }
    return (best, losses.count - 1)
  }

  private static func picture(
    _ names: [String], _ series: [String: [Double]], _ stop: (best: Int, last: Int)?
  ) -> String {
    func points(_ name: String) -> [(x: Double, y: Double)] {
      (series[name] ?? []).enumerated().map { (Double($0.offset + 1), $0.element) }
    }
    var curves = zip(names, plotColours).flatMap { name, colour in
      [
        LinePlot.Curve(
          name: "\(name), held out", colour: colour, points: points("\(name), held out")),
        LinePlot.Curve(
          name: "\(name), learnt", colour: colour, points: points("\(name), learnt"),
          isDashed: true),
      ]
    }
    if let stop, let loss = series["plain loss, held out"]?[stop.best] {
      curves.append(
        LinePlot.Curve(
          name: "stopped early: epoch \(stop.best + 1)", colour: "#111",
          points: [(Double(stop.best + 1), loss), (Double(stop.last + 1), loss)]))
    }
    let plot = LinePlot(
      title: "Loss on 2000 images that were held out, and on those that were learnt",
      xTitle: "epoch", hasLogY: false, curves: curves)
    var svg = SVG(width: LinePlot.width, height: LinePlot.height + 40, title: "Over-fitting")
    svg.rectangle(x: 0, y: 0, width: LinePlot.width, height: LinePlot.height + 40, fill: "#fff")
    plot.draw(into: &svg, at: 20)
    return svg.document
  }
}

/// Three perceptrons of one form.
struct OverFitters: Module {
  let plain = Perceptron(784, hidden: [("hidden", 256)], classes: 10)
  let dropped: Dropped
  let shrunk = Perceptron(784, hidden: [("hidden", 256)], classes: 10)
  let penalty: Double

  init(dropout: Double, penalty: Double) {
    dropped = Dropped(dropout)
    self.penalty = penalty
  }

  /// One whose hidden units are dropped.
  struct Dropped: Module {
    let hidden = Linear(784, 256)
    let dropout: Dropout
    let output = Linear(256, 10)

    init(_ p: Double) { dropout = Dropout(p) }

    func callAsFunction(_ x: Tensor) -> Tensor {
      output(dropout(relu(hidden(x.flattened(from: 1)))))
    }
  }
}
