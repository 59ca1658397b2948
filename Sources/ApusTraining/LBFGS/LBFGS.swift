// L-BFGS: full batches, few steps, each of several evaluations.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

/// Minimises a loss over one batch by the limited-memory BFGS method: for small models and data that fit into one
/// batch, where it needs far fewer evaluations than a first-order rule.
///
///     let lbfgs = try LBFGS(model, lineSearch: .strongWolfe) { mse($0($1.x), $1.y) }
///     for _ in 0..<20 {
///       let result = try lbfgs.run(batch)
///       print(result.loss, result.end)
///       if result.end != .iterations { break }
///     }
///
/// It is no `Optimizer`: an optimiser sees one gradient and makes one update, this evaluates the loss as often as it
/// needs. Settings, their defaults and the order of all decisions are those of PyTorch's `torch.optim.LBFGS`, whose
/// closure is the `loss` here. Inner products are sums in double.
///
/// Layers behave as in training, with the same random numbers in all evaluations of a call; running statistics stay
/// as they are. Source: Nocedal & Wright, "Numerical Optimization" (2006), algorithms 7.4 and 7.5.
public final class LBFGS<Model: Module> {
  public let model: Model
  public let settings: LBFGSSettings
  private let gradients: GradientNorms<Model>
  private let location: String
  /// What is known of the curvature, and the way that was last gone.
  private var pairs: CurvaturePairs
  private var iterations = 0
  private var direction: [Float] = []
  private var length = 0.0
  private var previous: [Float] = []
  /// The parameters that all this is of, in their order.
  private var paths: [String] = []

  /// - `learningRate`: the length of a step, or where the line search begins.
  /// - `iterations`: changes of direction in one call of ``run(_:)``.
  /// - `evaluations`: of the loss in one call, at most; 5/4 of the iterations by default.
  /// - `gradientTolerance`: a call ends where no element of the gradient is greater.
  /// - `changeTolerance`: a call ends where a step changes no parameter, or the loss, by more.
  /// - `history`: pairs of steps and changes of the gradient that are kept, each as large as the parameters.
  /// - `lineSearch`: how far to go along a direction; `learningRate` where nil.
  /// - Throws: `invalidArgument` for settings that make no sense, `missing` where the model is not initialised.
  public init(
    _ model: Model, learningRate: Double = 1, iterations: Int = 20, evaluations: Int? = nil,
    gradientTolerance: Double = 1e-7, changeTolerance: Double = 1e-9, history: Int = 100,
    lineSearch: LineSearch? = nil, seed: UInt64 = 0, compile: CompileOptions = CompileOptions(),
    file: StaticString = #fileID, line: UInt = #line, loss: @escaping LossFunction<Model>
  ) throws {
    location = sourceLocation(file, line)
    settings = LBFGSSettings(
      learningRate: learningRate, iterations: iterations,
      evaluations: evaluations ?? iterations + iterations / 4,
      gradientTolerance: gradientTolerance, changeTolerance: changeTolerance, history: history,
      lineSearch: lineSearch)
    try settings.check(at: location)
    if let processes = compile.processes, processes.size > 1 {
      throw ApusError(
        .unsupported, "L-BFGS minimises in one process, and there are \(processes.size)",
        at: location, expected: "a TrainingStep, or compile options without processes")
    }
    self.model = model
    pairs = CurvaturePairs(limit: history)
    gradients = try GradientNorms(
      model, seed: seed, compile: compile, file: file, line: line, loss: loss)
  }

  /// Goes on minimising over a batch, from what earlier calls found out.
  ///
  /// - Throws: as ``TrainingStep/run(_:)``; `nonFinite` where the loss or its gradient is not finite at the start, or
  ///   along a direction without a line search: the parameters are then the last ones at which both were. Where
  ///   something was frozen or unfrozen since the last call, what was known of the curvature is forgotten.
  @discardableResult
  public func run(_ batch: Batch) throws -> LBFGSResult {
    var here = try evaluated(batch, at: nil)
    var result = LBFGSResult(loss: here.loss, before: here.loss, gradient: here.greatest)
    guard here.isFinite else {
      throw ApusError(
        .nonFinite, "the loss is \(here.loss), its gradient at most \(here.greatest)", at: location,
        expected: "finite numbers where the search begins")
    }
    if here.greatest <= settings.gradientTolerance { return result.ended(.gradient) }
    while true {
      result.iterations += 1
      turn(at: here)
      let slope = dot(here.gradient, direction)
      guard slope < -settings.changeTolerance else { return result.ended(.noDescent) }
      let before = here.loss
      let isLast = result.iterations == settings.iterations
      try go(batch, slope, isLast, &here, &result)
      result.loss = here.loss
      result.gradient = here.greatest
      if isLast { return result.ended(.iterations) }
      if result.evaluations >= settings.evaluations { return result.ended(.evaluations) }
      if here.greatest <= settings.gradientTolerance { return result.ended(.gradient) }
      if length * Double(greatest(direction)) <= settings.changeTolerance {
        return result.ended(.change)
      }
      if abs(here.loss - before) < settings.changeTolerance { return result.ended(.change) }
    }
  }

  /// Forgets what was found out of the curvature: the next iteration goes down the gradient.
  public func reset() {
    pairs = CurvaturePairs(limit: settings.history)
    iterations = 0
    (direction, previous) = ([], [])
  }

  // MARK: An iteration

  /// The next direction, and how far to go along it at first.
  private func turn(at here: Evaluation) {
    iterations += 1
    if iterations == 1 {
      direction = here.gradient.map { -$0 }
      let sum = here.gradient.reduce(0.0) { $0 + Double(abs($1)) }
      length = min(1, 1 / sum) * settings.learningRate
    } else {
      pairs.add(step: direction, length, change: zip(here.gradient, previous).map { $0 - $1 })
      direction = pairs.direction(for: here.gradient)
      length = settings.learningRate
    }
    previous = here.gradient
  }

  /// Goes along the direction.
  ///
  /// - `isLast`: whether nobody asks what is there, as long as nothing is searched.
  private func go(
    _ batch: Batch, _ slope: Double, _ isLast: Bool, _ here: inout Evaluation,
    _ result: inout LBFGSResult
  ) throws {
    let start = here.point
    func at(_ length: Double) throws -> Evaluation {
      result.evaluations += 1
      do {
        return try evaluated(batch, at: moved(start, by: length, along: direction))
      } catch {
        try set(start)
        throw error
      }
    }
    if settings.lineSearch == .strongWolfe {
      var search = StrongWolfe(from: here, along: direction, slope: slope)
      let found = try search.run(from: length, at)
      length = found.length
      here = found.evaluation
      try set(here.point)
      return
    }
    if isLast {
      here.point = moved(start, by: length, along: direction)
      return try set(here.point)
    }
    let next = try at(length)
    guard next.isFinite else {
      try set(start)
      throw ApusError(
        .nonFinite,
        "the loss is \(next.loss) after \(result.iterations) iterations, its gradient at most "
          + "\(next.greatest)", at: location,
        expected: "finite numbers; lineSearch: .strongWolfe, or a smaller learningRate")
    }
    here = next
  }

  /// The loss and its gradient at a point; where the model is, where nil.
  private func evaluated(_ batch: Batch, at point: [Float]?) throws -> Evaluation {
    if let point { try set(point) }
    let (loss, all) = try gradients.evaluated(batch)
    let found = all.map(\.path)
    if found != paths {
      reset()
      paths = found
    }
    var gradient: [Float] = []
    for (_, array) in all { gradient += array.cast(to: .f32).floats }
    return Evaluation(
      point: try point ?? parameters().flatMap { try $0.value().cast(to: .f32).floats },
      loss: loss, gradient: gradient)
  }

  private func parameters() -> [Parameter] {
    let all = Dictionary(uniqueKeysWithValues: model.parameters.map { ($0.path, $0.parameter) })
    return paths.compactMap { all[$0] }
  }

  private func set(_ point: [Float]) throws {
    var place = 0
    for parameter in parameters() {
      let count = parameter.shape.count
      let values = NDArray(Array(point[place..<place + count]), shape: parameter.shape)
      try parameter.set(values.cast(to: parameter.type.dtype))
      place += count
    }
  }
}

/// How far an L-BFGS step goes along its direction.
public enum LineSearch: String, Sendable, Hashable, CaseIterable {
  /// Until the loss has come down far enough and its slope is flat enough: the strong Wolfe conditions, with
  /// 10⁻⁴ and 0.9 (Nocedal & Wright, section 3.5).
  case strongWolfe
}

/// The settings of an ``LBFGS``.
public struct LBFGSSettings: Sendable, Hashable {
  public var learningRate: Double
  public var iterations: Int
  public var evaluations: Int
  public var gradientTolerance: Double
  public var changeTolerance: Double
  public var history: Int
  public var lineSearch: LineSearch?

  /// - Throws: `invalidArgument` for what makes no sense.
  func check(at location: String) throws {
    func require(_ isFine: Bool, _ what: String, _ expected: String) throws {
      guard isFine else {
        throw ApusError(.invalidArgument, "LBFGS: \(what)", at: location, expected: expected)
      }
    }
    let rate = learningRate
    try require(rate > 0 && rate.isFinite, "learningRate is \(rate)", "a number above 0")
    try require(iterations >= 1, "\(iterations) iterations", "at least 1")
    try require(evaluations >= 1, "\(evaluations) evaluations", "at least 1")
    try require(history >= 1, "a history of \(history)", "at least 1")
    for (name, value) in [
      ("gradientTolerance", gradientTolerance), ("changeTolerance", changeTolerance),
    ] { try require(value >= 0, "\(name) is \(value)", "0 or more") }
  }
}

/// What came of one call of ``LBFGS/run(_:)``.
public struct LBFGSResult: Sendable {
  /// Why it ended.
  public enum End: String, Sendable, Hashable {
    /// No element of the gradient is beyond the tolerance.
    case gradient
    /// A step changed the parameters or the loss no more.
    case change
    /// The direction leads down no further.
    case noDescent
    case iterations, evaluations
  }
  /// Where it was evaluated last: without a line search, before the last step.
  public internal(set) var loss: Double
  /// At the start.
  public let before: Double
  /// The greatest magnitude in the gradient there.
  public internal(set) var gradient: Double
  public internal(set) var iterations = 0
  public internal(set) var evaluations = 1
  public internal(set) var end = End.iterations

  init(loss: Double, before: Double, gradient: Double) {
    self.loss = loss
    self.before = before
    self.gradient = gradient
  }

  func ended(_ end: End) -> LBFGSResult {
    var result = self
    result.end = end
    return result
  }
}
