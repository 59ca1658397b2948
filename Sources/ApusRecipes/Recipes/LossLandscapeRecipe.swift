// loss-landscape: the ways of four optimisers over the loss of two weights.

import Apus
import Foundation

/// A network of two weights, `w₁ · tanh(w₀ · x)`, which four optimisers train from one place. The loss is a landscape over
/// the plane of the weights, which is drawn with the four paths.
struct LossLandscapeRecipe: SupervisedRecipe {
  static let walkers = ["sgd", "momentum", "rmsprop", "adam"]
  /// Where all begin: the wrong side of a valley that is steep across and flat along.
  static let start: [Float] = [2.6, -0.8]
  /// What is learnt: the weights 1.2 and 1.5.
  static let goal = [1.2, 1.5]
  private static let points = 64
  private static let rounds = 20

  let name = "loss-landscape"
  let summary = "four optimisers over the loss of two weights"
  let discussion = """
    A network of two weights learns a curve. SGD, momentum, RMSProp and Adam begin at one place and train a copy each; the \
    file NAME.svg beside the weights has the loss over the plane of the weights as contour lines, and the four paths. \
    Plain descent crawls along the valley, momentum shoots beyond its floor and comes back, the other two take steps \
    of their own length in each direction.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 10), CommonOption.batch.with(default: 64),
    CommonOption.learningRate.with(default: 5e-2), CommonOption.seed,
  ]
  let metric = RecipeMetric("loss by adam", goal: .smaller)
  let otherMetrics = walkers.dropLast().map { RecipeMetric("loss by \($0)", goal: .smaller) }

  func model(_ options: RecipeOptions) -> Walkers { Walkers() }

  /// That of plain descent; the others are groups.
  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    SGD(learningRate: .constant(options.learningRate))
  }

  func update(_ options: RecipeOptions, stepsPerEpoch: Int?) -> RecipeUpdate {
    let rate = LearningRate.constant(options.learningRate)
    var update = RecipeUpdate(optimizer(options, stepsPerEpoch: stepsPerEpoch))
    update.groups = [
      ("momentum.*", SGD(learningRate: rate, momentum: 0.9)),
      ("rmsprop.*", RMSProp(learningRate: rate)),
      ("adam.*", Adam(learningRate: rate.scaled(by: 2))),
    ]
    return update
  }

  func loss(_ model: Walkers, _ batch: SymbolicBatch) -> Tensor {
    let losses = model.all.map { name, walker in
      let loss = mse(walker(batch.x), batch.y)
      batch.report("loss by \(name)", loss)
      return loss
    }
    return losses.dropFirst().reduce(losses[0]) { $0 + $1 }
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("x", [options.batch, 1], .normal), RandomField("y", [options.batch, 1], .normal),
    ]
  }

  /// The points of the curve, from -2 to 2.
  static let xs = (0..<points).map { -2 + 4 * Double($0) / Double(points - 1) }
  static let ys = xs.map { goal[1] * tanh(goal[0] * $0) }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    func curve(_ rounds: Int) throws -> ArrayDataset {
      func array(_ values: [Double]) throws -> NDArray {
        let all = (0..<rounds).flatMap { _ in values.map { Float($0) } }
        return try NDArray(checking: all, shape: [all.count, 1])
      }
      return try ArrayDataset(["x": array(Self.xs), "y": array(Self.ys)])
    }
    return RecipeData(
      training: try curve(Self.rounds).batched(options.batch, shuffle: nil),
      validation: try curve(1).batched(Self.points, shuffle: nil))
  }

  func train(_ run: RecipeRun) throws -> RecipeOutcome {
    let paths = SeriesLog("paths") { event, run in
      switch event {
      case .epochBegan where run.step == 0: try Self.places(run)
      case .stepEnded: try Self.places(run)
      default: []
      }
    }
    let outcome = try fit(run, telling: [paths])
    let plot = LandscapePlot(
      title: "The loss of two weights, and four ways down",
      paths: Self.walkers.map { walker in
        let (x, y) = (paths.series["\(walker) 0"] ?? [], paths.series["\(walker) 1"] ?? [])
        return (walker, Array(zip(x, y)))
      }, height: Self.height)
    try AtomicFile.write(plot.svg, to: run.path(ending: ".svg"))
    return outcome
  }

  /// The weights of each walker.
  private static func places(_ run: any TrainingRun) throws -> [(name: String, value: Double)] {
    guard let model = run.trainedModel as? Walkers else { return [] }
    return try model.all.flatMap { name, walker in
      let weights = try walker.weights.value().doubles
      return [("\(name) 0", weights[0]), ("\(name) 1", weights[1])]
    }
  }

  /// The loss at two weights.
  static func height(_ a: Double, _ b: Double) -> Double {
    zip(xs, ys).reduce(0) { sum, point in
      let error = b * tanh(a * point.0) - point.1
      return sum + error * error
    } / Double(xs.count)
  }
}

/// A network of two weights for each optimiser.
struct Walkers: Module {
  let sgd = TwoWeights()
  let momentum = TwoWeights()
  let rmsprop = TwoWeights()
  let adam = TwoWeights()

  var all: [(name: String, walker: TwoWeights)] {
    [("sgd", sgd), ("momentum", momentum), ("rmsprop", rmsprop), ("adam", adam)]
  }
}

/// `w₁ · tanh(w₀ · x)`.
struct TwoWeights: Module {
  let weights = Parameter(
    [2], .custom { type, _ in try NDArray(checking: LossLandscapeRecipe.start, shape: type.shape) })

  func callAsFunction(_ x: Tensor) -> Tensor {
    let w = weights.tensor
    return tanh(x * w.sliced(axis: 0, from: 0, to: 1)) * w.sliced(axis: 0, from: 1, to: 2)
  }
}
