// fashion-mnist-transfer: what a network has learnt of five classes, put to use for five others.

import Apus

/// A residual network learns five classes of clothes from all their examples, and then five others from a few: with its
/// backbone as it is, with all of it tuned, and, to compare, from first values.
struct FashionMNISTTransferRecipe: SupervisedRecipe {
  let name = "fashion-mnist-transfer"
  let summary = "network of five classes, put to use for others"
  let discussion = """
    A residual network of eight layers learns T-shirts, trousers, pullovers, sandals and sneakers from all 30000 images \
    of them (Debian's package dataset-fashion-mnist). Its weights are then read by networks with a new head for dresses, \
    coats, shirts, bags and ankle boots, of which there are few examples: one learns the head alone, and is then tuned \
    as a whole; another begins from first values. All three are judged by the 5000 test images of the new \
    classes; the figures are means of several sets of examples.
    """
  let metric = RecipeMetric("accuracy", isFraction: true, goal: .larger)

  static let examples = RecipeOption(
    "examples", default: 5, .between(1, 100), "Examples of each new class.")
  static let sets = RecipeOption(
    "sets", default: 3, .between(1, 50), "Sets of examples that the figures are means of.")

  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 2), CommonOption.batch.with(default: 128),
    CommonOption.learningRate.with(default: 1e-3), CommonOption.seed, CommonOption.data, examples,
    sets,
  ]

  /// The classes that are learnt first, and those that come after.
  static let known = [0, 1, 2, 5, 7], new = [3, 4, 6, 8, 9]

  func model(_ options: RecipeOptions) -> ResNet { Self.network(Self.known.count) }

  private static func network(_ classes: Int) -> ResNet {
    ResNet.cifar(blocks: 1, classes: classes, channels: 1)
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(learningRate: .warmUp(steps: 5, then: .constant(options.learningRate)))
  }

  func loss(_ model: ResNet, _ batch: SymbolicBatch) -> Tensor {
    classificationLoss(model(batch.images), batch)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("images", [options.batch, 28, 28, 1], .normal),
      RandomField("labels", [options.batch], .integers(below: Self.known.count)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    let data = try clothes(options)
    return RecipeData(
      training: try data.train.ofClasses(Self.known).batched(options.batch),
      validation: try data.test.ofClasses(Self.known).batched(1000))
  }

  private func clothes(_ options: RecipeOptions) throws -> FashionMNIST {
    try FashionMNIST(
      folder: options.data, scale: .normalized(mean: 0.2860, deviation: 0.3530))
  }

  // MARK: The new classes

  func judge(
    _ model: ResNet, _ data: RecipeData, _ run: RecipeRun
  ) throws -> [RecipeOutcome.Figure] {
    let all = try clothes(run.options)
    let (train, test) = (try all.train.ofClasses(Self.new), try all.test.ofClasses(Self.new))
    let judge = try test.batched(1000)
    let (count, sets) = (run.options[Self.examples], run.options[Self.sets])
    var (headAlone, tuned, scratch) = (0.0, 0.0, 0.0)
    for set in 0..<sets {
      let few = try train.few(count, startingAt: set * count).batched(32)
      let seed = run.options.seed &+ UInt64(set)

      let backbone = Self.network(Self.new.count)
      try backbone.load(run.output, except: ["fc.*"])
      backbone.freeze()
      backbone.head.unfreeze()
      headAlone += try learn(backbone, few, judge, rate: 1e-2, seed, run)
      backbone.unfreeze()
      tuned += try learn(backbone, few, judge, rate: 3e-4, seed, run)

      scratch += try learn(Self.network(Self.new.count), few, judge, rate: 1e-3, seed, run)
    }
    func figure(_ name: String, _ sum: Double) -> RecipeOutcome.Figure {
      RecipeOutcome.Figure(name, sum / Double(sets), isFraction: true)
    }
    return [
      figure("new head accuracy", headAlone), figure("tuned accuracy", tuned),
      figure("from scratch accuracy", scratch),
    ]
  }

  /// The share of test images that are right after as many steps as a few examples are worth.
  private func learn(
    _ model: ResNet, _ few: Batches, _ judge: Batches, rate: Double, _ seed: UInt64,
    _ run: RecipeRun
  ) throws -> Double {
    let trainer = try Trainer(
      model, optimizer: Adam(learningRate: .constant(rate)), seed: seed, compile: run.compile,
      loss: loss)
    try trainer.fit(few, epochs: max(300 / few.batchCount, 1), callbacks: [])
    return try trainer.evaluate(judge)[metric.name] ?? .nan
  }
}
