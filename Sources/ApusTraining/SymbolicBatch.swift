// The inputs of a step while it is recorded, and what it reports.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime
import Foundation

/// The name and type of one array of a batch.
public struct BatchField: Sendable, Hashable {
  public var name: String
  public var type: TensorType

  public init(_ name: String, _ type: TensorType) {
    self.name = name
    self.type = type
  }
}

/// The inputs of a step while it is recorded, by name: `batch.images`.
///
/// A name that the batch does not have is recorded as an error that lists the names there are, at the line of the
/// closure. What no step reads of its batches is said once (see ``Warnings``).
@dynamicMemberLookup
public struct SymbolicBatch {
  let trace: Trace
  let tensors: [(name: String, tensor: Tensor)]
  let reports: Reports
  private let read = ReadNames()

  init(_ trace: Trace, _ fields: [BatchField]) {
    self.trace = trace
    tensors = fields.map { ($0.name, trace.input($0.name, $0.type)) }
    reports = Reports()
  }

  /// As ``Batch/count``.
  var exampleCount: Int { tensors.first?.tensor.shape[0] ?? 0 }

  public subscript(dynamicMember name: String) -> Tensor { self[name] }

  public subscript(name: String) -> Tensor {
    if let entry = tensors.first(where: { $0.name == name }) {
      read.names.insert(name)
      return entry.tensor
    }
    return .poisoned(
      ApusError(
        .missing, "the batch has no '\(name)'",
        expected: tensors.isEmpty
          ? "a batch with arrays" : "one of " + tensors.map(\.name).joined(separator: ", ")),
      like: Tensor(trace: trace, value: nil, type: TensorType(.f32, [])))
  }

  /// Notes a number to report beside the loss.
  ///
  ///     batch.report("accuracy", accuracy(logits, batch.labels))
  ///
  /// Over an evaluation it is averaged, each batch with its weight: that of `weight`, else the divisor of the
  /// mean that it is (ignored labels count for nothing), else the batch's number of examples. So it does not
  /// depend on the size of the batches.
  ///
  /// - `value`: one number.
  /// - `weight`: one number, what the value is a mean over.
  public func report(
    _ name: String, _ value: Tensor, weight: Tensor? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) {
    note(name, value, weight, isPerplexity: false, sourceLocation(file, line))
  }

  /// Notes the perplexity of a loss, `e^loss`: among how many equally likely tokens the model would hesitate as much.
  ///
  ///     let loss = crossEntropy(logits, batch.next)      // -100 stands where nothing counts
  ///     batch.reportPerplexity(loss)
  ///
  /// Over an evaluation the *losses* are averaged over the tokens that count, and `e` is raised to their mean: the
  /// figure of the whole text, whatever the size of the batches.
  ///
  /// - `loss`: a mean of negative log-likelihoods (in nats).
  /// - `weight`: one number, what the loss is a mean over; by default what `crossEntropy` divided by.
  public func reportPerplexity(
    _ loss: Tensor, as name: String = "perplexity", weight: Tensor? = nil,
    file: StaticString = #fileID, line: UInt = #line
  ) {
    note(name, loss, weight, isPerplexity: true, sourceLocation(file, line))
  }

  private func note(
    _ name: String, _ value: Tensor, _ weight: Tensor?, isPerplexity: Bool, _ location: String
  ) {
    guard trace.owns(value, as: "metric '\(name)'", location: location) else { return }
    if let weight, !trace.owns(weight, as: "the weight of '\(name)'", location: location) { return }
    for tensor in [value, weight].compactMap({ $0 }) where tensor.type.count != 1 {
      trace.record(
        ApusError(
          .shapeMismatch, "metric '\(name)' is \(tensor.type)",
          expected: "one number, such as a mean over the batch"), location: location)
      return
    }
    guard name != "loss", !reports.metrics.contains(where: { $0.name == name }) else {
      trace.record(
        ApusError(
          .invalidArgument, "two results of a step are named '\(name)'",
          expected: "a name of its own for each metric; 'loss' is the loss"), location: location)
      return
    }
    reports.metrics.append((name, value, weight))
    if isPerplexity { reports.perplexities.insert(name) }
  }
}

extension SymbolicBatch {
  /// Says that a closure has been recorded which does not read all arrays of its batches.
  ///
  /// - `owner`: whose closure it is.
  func warnOfUnread(_ owner: String, unlessAlready hasWarned: inout Bool, at location: String) {
    let unread = tensors.map(\.name).filter { !read.names.contains($0) }
    guard !unread.isEmpty, !hasWarned else { return }
    hasWarned = true
    Warnings.say(
      "\(owner) does not read \(unread.map { "'\($0)'" }.joined(separator: ", ")) of its batches "
        + "(\(location))")
  }
}

/// The arrays of a batch that a closure has read so far.
private final class ReadNames {
  var names: Set<String> = []
}

/// What a step reports while it is recorded.
final class Reports {
  var metrics: [(name: String, value: Tensor, weight: Tensor?)] = []
  /// Those of them that are told as `e` to their power.
  var perplexities: Set<String> = []
  /// Whole arrays.
  var arrays: [(name: String, value: Tensor)] = []
}

/// How the outputs of a step's graph are to be read.
struct ResultLayout {
  /// The names of numbers, with the places of value and weight among the outputs.
  var numbers: [(name: String, value: Int, weight: Int?)] = []
  var arrays: [(name: String, value: Int)] = []
  /// The numbers that are told as `e` to their power.
  private(set) var perplexities: Set<String> = []

  /// The names and places of numbers that must be finite for the step to change anything.
  var required: [(name: String, value: Int)] = []
  /// Whether a number has a weight of its own.
  private(set) var isWeighted = false
  /// The place of the joint norm of the gradients.
  private(set) var gradientNorm: Int?

  /// Makes losses, metrics and arrays outputs of the graph.
  ///
  /// - `weights`: whether means over several batches are wanted.
  /// - `required`: numbers that must be finite for the step to change anything, as the losses must.
  init(
    _ trace: Trace, losses: [(name: String, value: Tensor)], _ reports: Reports, metrics: Bool,
    weights: Bool, required norms: [(name: String, value: Tensor)] = []
  ) {
    func output(_ name: String, _ tensor: Tensor, isRequired: Bool = false) -> Int {
      trace.output(name, tensor, isRequired: isRequired)
      return trace.graph.outputs.count - 1
    }
    let lossCount = losses.count
    func number(_ name: String, _ value: Tensor, _ weight: Tensor?) {
      let isRequired = trace.mode == .training && numbers.count < lossCount
      let place = output(name, value.reshaped([]).cast(to: .f32), isRequired: isRequired)
      if isRequired { required.append((name, place)) }
      let weight = weights ? weight ?? trace.weight(ofMean: value) : nil
      numbers.append(
        (name, place, weight.map { output("\(name).weight", $0.reshaped([]).cast(to: .f32)) }))
    }
    for (name, value) in losses { number(name, value, nil) }
    for (name, value) in norms {
      let place = output(name, value.reshaped([]).cast(to: .f32), isRequired: true)
      required.append((name, place))
      if name.hasSuffix(StepRecorder.gradientNormName) { gradientNorm = gradientNorm ?? place }
    }
    if metrics { for (name, value, weight) in reports.metrics { number(name, value, weight) } }
    perplexities = reports.perplexities
    for (name, value) in reports.arrays { arrays.append((name, output(name, value))) }
    isWeighted = numbers.contains { $0.weight != nil }
  }
}

/// What a step reports.
public struct StepResult: Sendable {
  /// The loss; of several, the first.
  public var loss: Double
  /// Further losses and metrics, in the order in which they were reported.
  public var metrics: [(name: String, value: Double)]
  /// Whole arrays, by the names given to ``StepRecorder/output(_:_:file:line:)``.
  public var arrays: [String: NDArray]
  /// The joint L2 norm of all gradients, before clipping, where the step computes it: with `clipNorm`, or where
  /// ``StepOptions/reportsGradientNorm`` asks for it. Of several calls of `minimize`, the first.
  public internal(set) var gradientNorm: Double?
  /// Whether the step changed nothing: there was nothing to learn from, such as a batch in which all
  /// labels are ignored.
  public var wasSkipped = false
  /// What was not finite, where the step changed nothing for that reason and is one that skips such batches: see
  /// ``NonFinitePolicy``.
  public internal(set) var nonFinite: ApusError?
  /// What each number is a mean over, where that is not the number of examples: the loss's first.
  var weights: [Double?]
  /// The metrics whose logarithms are averaged over several batches.
  private(set) var perplexities: Set<String> = []

  /// - `metrics`: in the order in which they were reported.
  public init(
    loss: Double, metrics: [(name: String, value: Double)] = [], arrays: [String: NDArray] = [:]
  ) {
    self.loss = loss
    self.metrics = metrics
    self.arrays = arrays
    weights = []
  }

  init(_ results: Executable.Results, _ layout: ResultLayout) {
    self.init(loss: layout.numbers.isEmpty ? 0 : results.number(layout.numbers[0].value))
    if layout.numbers.count > 1 {
      metrics = layout.numbers.dropFirst().map { ($0.name, results.number($0.value)) }
      perplexities = layout.perplexities
      for place in metrics.indices where perplexities.contains(metrics[place].name) {
        metrics[place].value = exp(metrics[place].value)
      }
    }
    for (name, place) in layout.arrays { arrays[name] = results.array(place) }
    gradientNorm = layout.gradientNorm.map { results.number($0) }
    if layout.isWeighted {
      weights = layout.numbers.map { $0.weight.map { results.number($0) } }
    }
  }

  /// This result with the loss and the metrics of that one.
  func with(_ mean: StepResult) -> StepResult {
    var result = self
    (result.loss, result.metrics) = (mean.loss, mean.metrics)
    return result
  }

  /// The metric of that name, if there is one.
  public subscript(metric: String) -> Double? { metrics.first { $0.name == metric }?.value }
}

/// The mean of results over several batches.
struct ResultMean {
  var sums: [(name: String, total: Double, weight: Double)] = []
  var perplexities: Set<String> = []
  /// The batches whose numbers were not finite.
  var skipped = 0

  /// Adds what a batch came to; a step that changed nothing has no numbers.
  ///
  /// - `count`: the examples of the batch, which weigh where a number says nothing else.
  mutating func add(_ result: StepResult, count: Int) {
    if result.nonFinite != nil { skipped += 1 }
    if result.wasSkipped { return }
    perplexities.formUnion(result.perplexities)
    let numbers =
      [("loss", result.loss)]
      + result.metrics.map { name, value in
        (name, perplexities.contains(name) ? log(value) : value)
      }
    for (index, (name, value)) in numbers.enumerated() {
      let weight =
        (result.weights.indices.contains(index) ? result.weights[index] : nil) ?? Double(count)
      if index == sums.count { sums.append((name, 0, 0)) }
      // A mean over nothing is no number and counts for nothing.
      if weight == 0 { continue }
      sums[index].total += value * weight
      sums[index].weight += weight
    }
  }

  /// Numbers that had nothing to be a mean over are 0.
  var mean: StepResult {
    let means = sums.map { name, total, weight in
      let mean = weight == 0 ? 0 : total / weight
      return (name, perplexities.contains(name) ? exp(mean) : mean)
    }
    return StepResult(loss: means.first?.1 ?? 0, metrics: means.dropFirst().map { ($0.0, $0.1) })
  }
}

extension Trace {
  /// - `location`: of the closure that the loss is from.
  /// - Throws: the first mistake recorded so far; `shapeMismatch` unless the loss is one float.
  func requireLoss(_ value: Tensor, at location: String) throws {
    _ = owns(value, as: "the loss", location: location)
    try check()
    guard value.dtype.isFloat, value.type.count == 1 else {
      throw ApusError(
        .shapeMismatch, "the loss is \(value.type)", at: location,
        expected: "one float, such as a mean over the batch")
    }
  }
}
