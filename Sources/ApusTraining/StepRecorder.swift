// What a training step is made of while it is recorded: losses, who learns from them, and by which rule.

import ApusAutodiff
import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime

/// Records a training step. See ``TrainingStep``.
public final class StepRecorder {
  public let trace: Trace
  let batch: SymbolicBatch
  let slots: OptimizerSlots
  /// The gradients of batches before this one, and what becomes of this one's.
  let kept: KeptGradients
  let use: GradientUse
  let scalars = HostScalars()
  private(set) var losses: [(name: String, value: Tensor)] = []
  /// Puts gradients and numbers of several processes together; nil in one that trains alone.
  let joint: JointMeans?
  /// What the loss of each `minimize` is a mean over in this process, where there are others.
  private(set) var lossWeights: [Tensor] = []
  /// The losses of this process's examples alone.
  private(set) var ownLosses: [Tensor] = []
  /// Which of the norms are bounds of this process's own gradients, and what those are means over.
  private(set) var bounds: [(place: Int, weight: Tensor)] = []
  /// What must be finite besides the losses: joint norms of gradients where they are computed anyway, bounds
  /// of gradients elsewhere.
  private(set) var norms: [(name: String, value: Tensor)] = []
  private(set) var minimizations: [Minimization] = []
  /// Every parameter that a `minimize` looked at.
  private(set) var considered: [Parameter] = []
  /// The parameters whose gradients are kept, with their optimisers.
  var learners: Set<OptimizerSlots.Key> = []
  /// The optimisers so far, each with its name and the rule that it trains by.
  private(set) var optimizers: [(name: String, rule: String)] = []

  init(
    _ trace: Trace, _ batch: SymbolicBatch, slots: OptimizerSlots, kept: KeptGradients,
    use: GradientUse, parallel: DataParallel? = nil
  ) {
    self.trace = trace
    self.batch = batch
    self.slots = slots
    self.kept = kept
    self.use = use
    joint = parallel.map { JointMeans(trace, $0) }
  }

  func replaceLoss(_ place: Int, by value: Tensor) { losses[place].value = value }
  func replaceNorm(_ place: Int, by value: Tensor) { norms[place].value = value }

  /// Trains the parameters of `model` to make `loss` smaller.
  ///
  ///     step.minimize(loss, over: gan.discriminator, with: Adam(learningRate: 2e-4))
  ///
  /// Trained are the parameters that are not frozen and that the loss depends on; one that it reaches only
  /// through `stopGradient` or not at all is left alone, as in PyTorch. Several calls take effect in their
  /// order: what is recorded after one reads the updated parameters.
  ///
  /// - `loss`: one float, such as a mean over the batch.
  /// - `model`: the model or the part of it that learns.
  /// - `optimizer`: the rule.
  /// - `groups`: other rules for parameters whose paths within `model` match a pattern, such as no decay on
  ///   biases. A pattern that matches none is an error.
  /// - `name`: tells several optimisers of a step apart, and their slots and losses: `optimizer`,
  ///   `optimizer2`, … by default.
  /// - `clipNorm`: gradients are scaled down together so that their joint L2 norm is at most this:
  ///   Pascanu et al. 2013.
  /// - `clipValue`: each element of each gradient is brought into -`clipValue`…`clipValue` by itself, as PyTorch's
  ///   `clip_grad_value_` does it. Not together with `clipNorm`.
  /// - `checksGradients`: whether a gradient that is not finite keeps the step from changing anything, as a
  ///   loss that is not finite always does. What it costs is a look at each gradient, or at the two factors
  ///   of its product where they are smaller; where gradients are clipped, nothing.
  /// - `reportsNorm`: whether ``StepResult/gradientNorm`` is wanted where nothing is clipped. It costs a look at each
  ///   gradient, which then is the check as well.
  /// - Returns: the gradients, for who wants to report them.
  @discardableResult
  public func minimize(
    _ loss: Tensor, over model: some Module, with optimizer: any Optimizer,
    groups: ParameterGroups = [:], named name: String? = nil, clipNorm: Double? = nil,
    clipValue: Double? = nil,
    checksGradients: Bool = true, reportsNorm: Bool = false, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Minimization {
    let location = sourceLocation(file, line)
    do {
      guard trace.owns(loss, as: "the loss", location: location), !loss.isPoisoned else {
        return Minimization(trace: trace, gradients: [], normed: [])
      }
      return try trace.withCallLocation(location) {
        let name =
          name ?? (optimizers.isEmpty ? "optimizer" : "optimizer\(optimizers.count + 1)")
        return try record(
          loss, Learners(model), Rules(optimizer, groups), name,
          GradientLimit(norm: clipNorm, value: clipValue), checksGradients, reportsNorm)
      }
    } catch {
      trace.record(
        asApusError(error), location: location)
      return Minimization(trace: trace, gradients: [], normed: [])
    }
  }

  /// Notes a number to report beside the loss; see ``SymbolicBatch/report(_:_:weight:file:line:)``.
  public func report(
    _ name: String, _ value: Tensor, weight: Tensor? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) { batch.report(name, value, weight: weight, file: file, line: line) }

  /// Makes a whole array a result of the step: `result.arrays[name]`.
  public func output(
    _ name: String, _ value: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) {
    let location = sourceLocation(file, line)
    guard trace.owns(value, as: "output '\(name)'", location: location) else { return }
    guard !batch.reports.arrays.contains(where: { $0.name == name }) else {
      trace.record(
        ApusError(
          .invalidArgument, "two outputs of a step are named '\(name)'", expected: "unique names"),
        location: location)
      return
    }
    batch.reports.arrays.append((name, value))
  }

  // MARK: Recording

  /// Behind an optimiser's name.
  static let gradientNormName = ".gradient_norm"

  private func record(
    _ loss: Tensor, _ model: Learners, _ rules: Rules, _ name: String,
    _ limit: GradientLimit, _ checksGradients: Bool, _ reportsNorm: Bool
  ) throws -> Minimization {
    guard loss.dtype.isFloat, loss.type.count == 1 else {
      throw ApusError(
        .shapeMismatch, "the loss is \(loss.type)",
        expected: "one float, such as a mean over the batch")
    }
    guard !optimizers.contains(where: { $0.name == name }) else {
      throw ApusError(
        .invalidArgument, "two optimisers of a step are named '\(name)'", expected: "unique names")
    }
    let loss = loss.reshaped([])
    considered += model.all.map(\.parameter)
    let groups = try model.groups(rules.all.map(\.pattern))
    var trained = try trained(loss, model)
    losses.append((losses.isEmpty ? "loss" : name, loss))
    optimizers.append((name, rules.text(limit)))

    let rule = { (entry: Trained) in rules.all[groups[entry.path]!].optimizer }
    let own = trained.map { ($0.path, $0.gradient) }
    ownLosses.append(loss)
    if let joint {
      let weight = joint.weight(trace.weight(ofMean: loss))
      lossWeights.append(weight)
      trained = try joined(trained, weight, joint, rule)
    }
    if use != .updates {
      let total = try withKept(trained, of: loss, by: name, rule)
      guard let total else {
        if checksGradients || limit.isSet || reportsNorm {
          norms.append(("\(name).gradient_bound", magnitudeBound(trained.map(\.gradient))))
        }
        return noted(trained, normed: trained.map(\.gradient), own)
      }
      trained = total
    }
    // Sums over several batches have all rows.
    let tables = trained.map {
      use == .updates ? RowGradient($0.gradient, of: $0.parameter, for: rule($0), in: trace) : nil
    }
    var gradients = zip(trained, tables).map { $1?.sums ?? $0.gradient }
    let looked = gradients
    if limit.norm != nil || reportsNorm {
      let norm = jointNorm(gradients)
      norms.append((name + Self.gradientNormName, norm))
      gradients = limit.applied(to: gradients, norm)
    } else {
      if checksGradients || limit.isSet {
        // Of several processes each looks at its own: where the mean of their bounds is finite, so is every sum.
        let isOwn = joint != nil && use == .updates
        if isOwn, let weight = lossWeights.last { bounds.append((norms.count, weight)) }
        norms.append(
          ("\(name).gradient_bound", magnitudeBound(isOwn ? own.map(\.1) : gradients)))
      }
      gradients = limit.applied(to: gradients, nil)
    }
    let result = noted(trained, normed: looked, own)
    for (index, entry) in trained.enumerated() {
      let group = groups[entry.path]!
      let isLast = group == rules.all.count - 1
      let source = UpdateRecorder(
        trace, entry.parameter, entry.cell, slots: slots, scalars: scalars, name: name,
        scalarName: isLast ? name : "\(name).\(rules.all[group].pattern)")
      trace.withScope(path: entry.path.split(separator: ".").dropLast().joined(separator: ".")) {
        let old = entry.parameter.tensor
        let new: Tensor
        if let table = tables[index] {
          new = table.with(gradients[index]).update(old, by: rule(entry), source)
        } else {
          var state = UpdateState(source, of: entry.parameter.type)
          new = rule(entry).update(old, gradients[index], &state)
        }
        trace.detach(new)
        trace.assign(entry.cell, new)
      }
    }
    return result
  }

  /// - `own`: the gradients of this process's examples alone.
  private func noted(
    _ trained: [Trained], normed: [Tensor], _ own: [(path: String, gradient: Tensor)]
  ) -> Minimization {
    let result = Minimization(
      trace: trace, gradients: trained.map { ($0.path, $0.gradient) }, normed: normed, own: own)
    minimizations.append(result)
    return result
  }

  /// A parameter that a loss teaches something.
  struct Trained {
    var path: String
    var parameter: Parameter
    var cell: StateCell
    var gradient: Tensor
  }

  /// The parameters that the loss teaches something.
  private func trained(_ loss: Tensor, _ model: Learners) throws -> [Trained] {
    guard !model.all.isEmpty else {
      throw ApusError(
        .invalidArgument, "\(model.type) has no parameters", expected: "a model that can learn")
    }
    let trainable = model.all.filter { $0.parameter.isTrainable }
    guard !trainable.isEmpty else {
      throw ApusError(
        .invalidArgument, "all \(model.all.count) parameters of \(model.type) are frozen",
        expected: "unfreeze() of those that are to learn")
    }
    // A parameter that was updated earlier in this step has several values, any of which the loss may read.
    let uses = try trainable.map { path, parameter in
      guard let cell = parameter.cell else { throw parameter.uninitialized }
      return (path: path, parameter: parameter, cell: cell, versions: trace.versions(of: cell))
    }
    guard uses.contains(where: { !$0.versions.isEmpty }) else {
      throw ApusError(
        .invalidArgument, "the loss uses none of the parameters of \(model.type)",
        expected: "a loss computed by the model that is trained (is it a copy?)")
    }
    let all = try flows(of: loss, into: uses.flatMap(\.versions))
    var next = 0
    var result: [Trained] = []
    for use in uses {
      let own = all[next..<next + use.versions.count].compactMap { $0 }
      next += use.versions.count
      guard let first = own.first else { continue }
      result.append(
        Trained(
          path: use.path, parameter: use.parameter, cell: use.cell,
          gradient: own.dropFirst().reduce(first) { $0 + $1 }))
    }
    guard !result.isEmpty else {
      throw ApusError(
        .invalidArgument, "no gradient of the loss reaches a trainable parameter of \(model.type)",
        expected: "a way back that is not cut by stopGradient, argmax, comparisons or integers")
    }
    return result
  }
}

/// What came of a `minimize`: the gradients, before clipping.
public struct Minimization {
  let trace: Trace
  /// The gradient of each parameter that is trained, by its path within the model.
  public let gradients: [(path: String, gradient: Tensor)]
  /// What has their norms: of a table, its rows that were looked up.
  let normed: [Tensor]
  /// The gradients of this process's examples alone.
  var own: [(path: String, gradient: Tensor)] = []

  /// The joint L2 norm of all gradients; 0 where a mistake left none.
  ///
  ///     step.report("gradient_norm", step.minimize(loss, over: model, with: adam).gradientNorm)
  public var gradientNorm: Tensor {
    normed.isEmpty ? trace.constant(0) : jointNorm(normed)
  }

  /// The gradient of a parameter, if it is trained.
  public subscript(path: String) -> Tensor? { gradients.first { $0.path == path }?.gradient }
}

/// The parameters of a model that is to be trained.
private struct Learners {
  let type: String
  let all: [(path: String, parameter: Parameter)]

  /// - Throws: as `Module.initialize`.
  init<M: Module>(_ model: M) throws {
    type = "\(M.self)"
    let tree = ModelTree(model)
    try tree.check()
    all = tree.states.compactMap { path, state in (state as? Parameter).map { (path, $0) } }
  }

  /// For each parameter, the place of the first pattern that it matches.
  ///
  /// - Throws: `missing` for a pattern that no parameter matches.
  func groups(_ patterns: [String]) throws -> [String: Int] {
    let matchers = patterns.map { PathPattern($0) }
    var result: [String: Int] = [:]
    var isUsed = [Bool](repeating: false, count: patterns.count)
    for (path, _) in all {
      for (index, matcher) in matchers.enumerated() where matcher.matches(path) {
        isUsed[index] = true
        if result[path] == nil { result[path] = index }
      }
    }
    if let unused = isUsed.dropLast().firstIndex(of: false) {
      throw ApusError(
        .missing, "no parameter's path matches the group '\(patterns[unused])'",
        expected: all.prefix(6).map(\.path).joined(separator: ", "))
    }
    return result
  }
}
