// How large gradients are: of each parameter, and through time at each step of recurrent layers.

import ApusAutodiff
import ApusData
import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Measures the gradients of a loss without training: where they vanish, where they explode.
///
///     let gradients = try GradientNorms(model) { crossEntropy($0($1.tokens), $1.next) }
///     let report = try gradients.measure(batch)
///     report.joint                                      // of all parameters together
///     report["head.weight"]                             // of one
///     try report.steps(of: "lstm.l0").fromLast          // how far back the last step sees
///
/// Layers behave as in training; nothing is changed, neither parameters nor running statistics. Random numbers are the
/// same in each call.
///
/// The gradient *at a step* is that by what the gates of the step take in (`W x + b`), through all later steps: the
/// error that back-propagation through time brings there (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013, "On the
/// difficulty of training recurrent neural networks").
public final class GradientNorms<Model: Module> {
  private struct Compiled {
    var executable: Executable
    /// The parameters' paths, in the order of the results.
    var paths: [String]
    /// The recurrent layers' names.
    var layers: [String]
    var assumptions: Assumptions
  }

  private let model: Model
  private let loss: LossFunction<Model>
  private let random: RandomSource
  private let compileOptions: CompileOptions
  /// Of the loss.
  private let location: String
  private let shapes = CompiledShapes<Compiled>("a measurement of gradients")
  private let wholeShapes = CompiledShapes<Compiled>("gradients")

  /// - `seed`: of dropout and all other random numbers.
  /// - `loss`: maps model and batch to one float, as a trainer's.
  /// - Throws: `missing` where the model is not initialised.
  public init(
    _ model: Model, seed: UInt64 = 0, compile: CompileOptions = CompileOptions(),
    file: StaticString = #fileID, line: UInt = #line, loss: @escaping LossFunction<Model>
  ) throws {
    location = sourceLocation(file, line)
    try model.requireInitialized(at: location)
    self.model = model
    self.loss = loss
    random = try RandomSource(seed: seed)
    compileOptions = compile
  }

  /// The norms for one batch. One that is not finite is told as it is.
  ///
  /// - Throws: mistakes of the model, with module path and line; `shapeMismatch` for a batch without examples and a loss
  ///   of several numbers; `invalidArgument` where the loss reaches no parameter that is trained; `outOfRange` for a
  ///   bad label.
  public func measure(_ batch: Batch) throws -> GradientReport {
    let batch = try batch.checked(at: location)
    try batch.requireExamples(at: location)
    let compiled = try shapes.entry(for: batch.fields, where: { $0.assumptions.hold }) {
      try compile(batch.fields)
    }
    let results = try compiled.executable.run(batch.arrays)
    let count = compiled.paths.count
    let parameters = zip(compiled.paths, results[1..<count + 1]).map { ($0, $1.scalar) }
    let steps = compiled.layers.enumerated().map { place, name in
      StepGradients(
        name: name, ofLoss: results[count + 1 + 2 * place].doubles,
        fromLast: results[count + 2 + 2 * place].doubles)
    }
    return GradientReport(loss: results[0].scalar, parameters: parameters, steps: steps)
  }

  /// The gradients themselves for one batch, of each parameter that is trained, in the model's order.
  ///
  ///     let recorder = try RunRecorder("runs/a", histogramsEvery: 1) { try norms.gradients(batch) }
  ///
  /// - Throws: as ``measure(_:)``.
  public func gradients(_ batch: Batch) throws -> [(path: String, gradient: NDArray)] {
    try evaluated(batch).gradients
  }

  /// The loss and its gradients.
  func evaluated(
    _ batch: Batch
  ) throws -> (loss: Double, gradients: [(path: String, gradient: NDArray)]) {
    let batch = try batch.checked(at: location)
    try batch.requireExamples(at: location)
    let compiled = try wholeShapes.entry(for: batch.fields, where: { $0.assumptions.hold }) {
      try compile(batch.fields, isWhole: true)
    }
    let results = try compiled.executable.run(batch.arrays)
    return (results[0].scalar, Array(zip(compiled.paths, results.dropFirst())))
  }

  // MARK: Recording

  /// - `isWhole`: whether the results are the gradients and not their norms.
  private func compile(_ fields: [BatchField], isWhole: Bool = false) throws -> Compiled {
    let freezes = Assumptions.now
    // Another model that holds this one may have named its parts since.
    ModelTree(model).name()
    let trace = Trace(at: location)
    trace.mode = .training
    let names = try Trace.$current.withValue(trace) { try record(fields, trace, isWhole) }
    var graph = try trace.finish()
    graph.assignments = []
    let executable = try Executable(
      graph, states: try StateStore(of: trace, random: random.cell), options: compileOptions,
      arena: (isWhole ? wholeShapes : shapes).arena)
    return Compiled(
      executable: executable, paths: names.paths, layers: names.layers,
      assumptions: Assumptions(of: trace, from: freezes))
  }

  private func record(
    _ fields: [BatchField], _ trace: Trace, _ isWhole: Bool
  ) throws -> (paths: [String], layers: [String]) {
    let batch = SymbolicBatch(trace, fields)
    let watch = RecurrenceWatch()
    let value = try RecurrenceWatch.$current.withValue(watch) { try loss(model, batch) }
    try trace.requireLoss(value, at: location)
    let trained = model.parameters.filter(\.parameter.isTrainable).flatMap { path, parameter in
      (parameter.cell.map(trace.versions(of:)) ?? []).map { (path: path, tensor: $0) }
    }
    let layers = isWhole ? [] : watch.layers
    let all = try flows(
      of: value.reshaped([]),
      into: trained.map(\.tensor) + layers.flatMap { $0.sums + [$0.outputs] + $0.last })
    let known = zip(trained, all).filter { $1 != nil }.map { (path: $0.path, gradient: $1!) }
    guard !known.isEmpty else {
      throw ApusError(
        .invalidArgument, "no gradient of the loss reaches a trainable parameter of \(Model.self)",
        at: location, expected: "a loss computed by the model that is measured (is it a copy?)")
    }
    trace.output("loss", value.reshaped([]).cast(to: .f32))
    for (place, parameter) in known.enumerated() {
      trace.output(
        "parameter \(place)",
        isWhole ? parameter.gradient : parameter.gradient.norm().cast(to: .f32))
    }
    var rest = all.dropFirst(trained.count)
    func next(_ count: Int) -> [Tensor?] {
      defer { rest = rest.dropFirst(count) }
      return Array(rest.prefix(count))
    }
    var names: [String] = []
    for layer in layers {
      let ofLoss = next(layer.sums.count)
      let fromLast = try layer.fromLast(outputs: next(1)[0], last: next(layer.last.count))
      for (place, sum) in layer.sums.enumerated() {
        for gradient in [ofLoss[place], fromLast[place]] {
          let norms = gradient.map { $0.cast(to: .f32).norm(axes: [1, 2]) }
          trace.output("steps \(trace.graph.outputs.count)", norms ?? trace.full([sum.shape[0]], 0))
        }
        names.append(layer.name(of: place, among: names))
      }
    }
    try trace.check()
    return (known.map(\.path), names)
  }
}

extension RecurrenceWatch.Layers {
  /// The gradients by what each step takes in, as far as they come from what the layers give at a sequence's end:
  /// the last step's outputs (the first step's of a backward direction), and the last states.
  ///
  /// - `outputs`, `last`: what arrives there from the loss; nil where nothing does.
  fileprivate func fromLast(outputs arriving: Tensor?, last states: [Tensor?]) throws -> [Tensor?] {
    var seeds = zip(last, states).compactMap { tensor, seed in seed.map { (tensor, $0) } }
    if let arriving {
      let (time, width) = (outputs.shape[1], outputs.shape[2] / directions)
      let places = Tensor.arange(to: Double(time)).cast(to: .i32).reshaped([1, time, 1])
      let ends =
        lengths.map { ($0.cast(to: .i32) - 1).reshaped([-1, 1, 1]) }
        ?? places.scalar(Double(time - 1))
      let isEnd = (places .== ends).cast(to: arriving.dtype)
      let isStart = (places .== 0).cast(to: arriving.dtype)
      let parts = (0..<directions).map { direction in
        arriving.sliced(axis: 2, from: direction * width, to: (direction + 1) * width)
          * (direction == 0 ? isEnd : isStart)
      }
      seeds.append((outputs, parts.count == 1 ? parts[0] : concat(parts, axis: 2)))
    }
    guard !seeds.isEmpty else { return sums.map { _ in nil } }
    var walk = ReverseWalk(outputs.trace, to: sums)
    try walk.run(from: seeds)
    return sums.map { walk.gradient(of: $0) }
  }

  /// `lstm.l1_reverse`, as PyTorch ends the names of weights. A module that is applied again has a number.
  fileprivate func name(of place: Int, among others: [String]) -> String {
    let layer = place / directions, isReversed = place % directions == 1
    let name = (path.isEmpty ? "" : "\(path).") + "l\(layer)" + (isReversed ? "_reverse" : "")
    let earlier = others.count { $0 == name || $0.hasPrefix("\(name) (") }
    return earlier == 0 ? name : "\(name) (\(earlier + 1))"
  }
}

/// The norms of a loss's gradients on one batch; see ``GradientNorms``.
public struct GradientReport: Sendable {
  public let loss: Double
  /// The L2 norm of the gradient of each parameter that is trained, in the model's order.
  public let parameters: [(path: String, norm: Double)]
  /// The gradients at each step of the recurrent layers, in the order in which they are applied.
  public let steps: [StepGradients]

  /// The L2 norm of all parameters' gradients together, which `clipNorm` looks at.
  public var joint: Double {
    let greatest = parameters.map(\.norm).max() ?? 0
    guard greatest > 0, greatest.isFinite else { return greatest }
    // Squares of small norms do not vanish.
    return greatest
      * parameters.reduce(0) { $0 + ($1.norm / greatest) * ($1.norm / greatest) }.squareRoot()
  }

  /// The norm of a parameter's gradient; nil for one that is not trained.
  public subscript(path: String) -> Double? { parameters.first { $0.path == path }?.norm }

  /// The gradients at each step of a recurrent layer.
  ///
  /// - `layer`: the module's path, and `l0` for its lowest layer: `lstm.l0`, `lstm.l0_reverse`.
  /// - Throws: `missing` with the layers that there are.
  public func steps(of layer: String) throws -> StepGradients {
    if let found = steps.first(where: { $0.name == layer }) { return found }
    throw ApusError(
      .missing, "no recurrent layer '\(layer)'",
      expected: steps.isEmpty
        ? "a model that applies an RNN, a GRU or an LSTM"
        : "one of \(steps.map(\.name).joined(separator: ", "))")
  }
}

/// The gradients at each step of one recurrent layer in one direction, as L2 norms over batch and units.
public struct StepGradients: Sendable, Hashable {
  /// `lstm.l0`, `lstm.l1_reverse`.
  public let name: String
  /// Of the whole loss, by step.
  public let ofLoss: [Double]
  /// Of the part of the loss that goes through what the layers give at their sequences' ends (the last step's outputs,
  /// and the last state), by step. That it falls by orders of magnitude towards the first steps is the vanishing
  /// gradient; that it grows is the exploding one. Where the loss reads nothing else, it is ``ofLoss``.
  public let fromLast: [Double]
}

/// Measures gradients in the course of training: a callback.
///
///     let log = GradientLog(gradients, on: batch)
///     try trainer.fit(batches, epochs: 5, callbacks: [ProgressBar(), log])
///     log.history.map { ($0.step, $0.report.joint) }
///
/// It measures before the first step, after the first ones each, and then ever less often: some ten times for each
/// tenfold of steps. Each measurement takes about as long as two steps.
public final class GradientLog<Model: Module>: Callback {
  /// What has been measured, and after how many steps.
  public private(set) var history: [(step: Int, report: GradientReport)] = []
  private let gradients: GradientNorms<Model>
  private let batch: Batch
  private let hear: (Int, GradientReport) -> Void
  private var next = 0

  /// - `batch`: what is measured, the same all the time.
  /// - `hear`: told of each measurement.
  public init(
    _ gradients: GradientNorms<Model>, on batch: Batch,
    _ hear: @escaping (_ step: Int, _ report: GradientReport) -> Void = { _, _ in }
  ) {
    self.gradients = gradients
    self.batch = batch
    self.hear = hear
  }

  /// - Throws: as ``GradientNorms/measure(_:)``.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan where history.isEmpty: try measure(run.step)
    case .stepEnded where run.step >= next: try measure(run.step)
    case .ended where history.last?.step != run.step: try measure(run.step)
    default: break
    }
    return .goOn
  }

  private func measure(_ step: Int) throws {
    let report = try gradients.measure(batch)
    history.append((step, report))
    hear(step, report)
    next = max(step + 1, Int((Double(step) * 1.25).rounded(.up)))
  }
}
