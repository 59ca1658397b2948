// Recording a model's whole step, forward, backward, clipping and update, as one graph.

import ApusAutodiff
import ApusGraph
import ApusNN
import ApusOps

/// The inputs of a step while it is recorded, by name: `batch.images`.
///
/// A name that the batch does not have is recorded as an error that lists the names there are.
@dynamicMemberLookup
public struct SymbolicBatch {
  let trace: Trace
  let tensors: [(name: String, tensor: Tensor)]

  public subscript(dynamicMember name: String) -> Tensor { self[name] }

  public subscript(name: String) -> Tensor {
    if let entry = tensors.first(where: { $0.name == name }) { return entry.tensor }
    return .poisoned(
      ApusError(
        .missing, "the batch has no '\(name)'",
        expected: tensors.map(\.name).joined(separator: ", ")),
      like: Tensor(trace: trace, value: nil, type: TensorType(.f32, [])))
  }
}

/// The name and type of one array of a batch.
public struct BatchField: Sendable, Hashable {
  public var name: String
  public var type: TensorType

  public init(_ name: String, _ type: TensorType) {
    self.name = name
    self.type = type
  }
}

/// Settings of a training step that belong to no optimiser.
public struct StepOptions: Sendable {
  /// Gradients are scaled down together so that their joint L2 norm is at most this: Pascanu et al. 2013.
  public var clipNorm: Double?
  /// Whether metrics are computed in training steps too, not only in evaluation.
  public var trainingMetrics = false

  public init(clipNorm: Double? = nil, trainingMetrics: Bool = false) {
    self.clipNorm = clipNorm
    self.trainingMetrics = trainingMetrics
  }
}

/// Notes a value to report besides the loss: `metric("accuracy", accuracy(logits, labels))`.
///
/// The value, a scalar, is averaged over the batches of an evaluation, each weighted by its size.
public func metric(_ name: String, _ value: Tensor) {
  Trace.current?.report(name, value)
}

/// A step's loss function over a model and a symbolic batch; returns a scalar.
public typealias LossFunction<Model: Module> = (Model, SymbolicBatch) throws -> Tensor

/// Records the step that trains `model`: forward, backward, clipping, update.
///
/// Inputs are the batch's fields, then the optimiser's scalars; the first output is `loss`, metrics
/// follow. Parameters that the loss does not use are left alone.
///
/// - Throws: the first mistake of the model, with module path and line.
public func trainingGraph<Model: Module>(
  _ model: Model, optimizer: some Optimizer, batch fields: [BatchField],
  options: StepOptions = StepOptions(), loss body: LossFunction<Model>
) throws -> Graph {
  try optimizer.validate()
  let trace = Trace()
  trace.isTraining = true
  try Trace.$current.withValue(trace) {
    let loss = try recordLoss(model, trace, fields, body)
    let scalars = optimizer.scalarNames.map { trace.input("optimizer.\($0)", .f32()) }
    let trained = model.parameters.filter { path, parameter in
      parameter.isTrainable && trace.graph.states.contains { $0.name == path }
    }
    let parameters = trained.map(\.parameter.tensor)
    var flows = gradients(of: loss, withRespectTo: parameters)
    if let clipNorm = options.clipNorm { flows = clipped(flows, norm: clipNorm) }
    for (index, (path, parameter)) in trained.enumerated() {
      let slots = optimizer.slots.map { trace.state(slotName($0, path), parameter.type) }
      trace.withScope(path: path.split(separator: ".").dropLast().joined(separator: ".")) {
        let update = optimizer.update(
          parameters[index], gradient: flows[index], slots: slots, scalars: scalars)
        trace.assign(parameters[index], update.parameter)
        for (slot, value) in zip(slots, update.slots) { trace.assign(slot, value) }
      }
    }
    if trace.graph.states.contains(where: { $0.name == Trace.randomKeyState }) {
      let key = trace.state(Trace.randomKeyState, .i64(2))
      trace.assign(key, key + trace.constant(NDArray([0, 1] as [Int64], shape: [2])))
    }
    trace.output("loss", loss)
    if options.trainingMetrics { recordMetrics(trace) }
    try trace.check()
  }
  return try trace.finish()
}

/// Records the step that evaluates `model`: the loss and all metrics, nothing changed.
///
/// - Throws: the first mistake of the model, with module path and line.
public func evaluationGraph<Model: Module>(
  _ model: Model, batch fields: [BatchField], loss body: LossFunction<Model>
) throws -> Graph {
  let trace = Trace()
  trace.isTraining = false
  try Trace.$current.withValue(trace) {
    trace.output("loss", try recordLoss(model, trace, fields, body))
    recordMetrics(trace)
    try trace.check()
  }
  return try trace.finish()
}

/// The name of an optimiser's slot for a parameter among the states.
public func slotName(_ slot: String, _ path: String) -> String { "optimizer.\(slot).\(path)" }

private func recordLoss<Model: Module>(
  _ model: Model, _ trace: Trace, _ fields: [BatchField], _ body: LossFunction<Model>
) throws -> Tensor {
  let tensors = fields.map { (name: $0.name, tensor: trace.input($0.name, $0.type)) }
  let loss = try body(model, SymbolicBatch(trace: trace, tensors: tensors))
  _ = trace.owns(loss, as: "the loss")
  try trace.check()
  guard loss.dtype.isFloat, loss.type.count == 1 else {
    throw ApusError(
      .shapeMismatch, "the loss is \(loss.type)",
      expected: "one float, such as a mean over the batch")
  }
  return loss.reshaped([])
}

private func recordMetrics(_ trace: Trace) {
  for (name, tensor) in trace.metrics {
    guard tensor.type.count == 1 else {
      trace.record(
        ApusError(
          .shapeMismatch, "metric '\(name)' is \(tensor.type)", expected: "one number"))
      continue
    }
    trace.output(name, tensor.reshaped([]).cast(to: .f32))
  }
}

/// The gradients times min(1, norm / ‖all gradients‖).
private func clipped(_ gradients: [Tensor], norm: Double) -> [Tensor] {
  guard let first = gradients.first else { return [] }
  let squares = gradients.map { ($0 * $0).sum() }
  let total = sqrt(squares.dropFirst().reduce(squares[0]) { $0 + $1 })
  // As PyTorch's clip_grad_norm_: 1e-6 keeps a zero gradient from dividing by zero.
  let scale = minimum(first.scalar(norm) / (total + 1e-6), first.scalar(1))
  return gradients.map { $0 * scale }
}
