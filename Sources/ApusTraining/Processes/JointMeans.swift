// Means over the examples of all processes, while a step is recorded.

import ApusGraph
import ApusNN
import ApusOps

/// Means over processes, as ops of a trace.
struct JointMeans {
  private let trace: Trace
  private let share: Tensor
  private let counter = BucketCounter()

  /// Floats of a bucket: large enough for the way to cost little beside the bytes, small enough for the first to be
  /// under way early. A larger array is a bucket of its own. Bits do not depend on it.
  static let bucketElements = 1 << 18

  /// The numbers of a trace's buckets.
  private final class BucketCounter {
    private var next = 0
    func take() -> Int {
      defer { next += 1 }
      return next
    }
  }

  init(_ trace: Trace, _ parallel: DataParallel) {
    self.trace = trace
    share = trace.state(of: parallel.share, named: "processes.share", .f32())
  }

  /// What a number is a mean over in this process; 0 where its examples do not count.
  ///
  /// - `weight`: where it is not the number of examples.
  func weight(_ weight: Tensor?) -> Tensor {
    // The number of examples is told by the host: an op of its own would be fused with others, and every sum would wait
    // for those.
    guard let weight else { return share }
    return `where`(share .== 0, 0, weight.reshaped([]).cast(to: .f32))
  }

  /// The means of arrays over all processes, in the arrays' types.
  ///
  /// - `weight`: what they are means over in this process, as ``weight(_:)`` says.
  /// - Returns: nothing where an array is of another type than `f32` or `bf16`: that is noted as a mistake.
  func means(_ arrays: [Tensor], _ weight: Tensor) -> [Tensor] {
    if let bad = arrays.first(where: { $0.dtype != .f32 && $0.dtype != .bf16 }) {
      trace.record(
        ApusError(
          .unsupported, "a gradient or statistic \(bad.type) in training by several processes",
          expected: "f32 or bf16: a cast of the parameter"))
      return []
    }
    var means = arrays
    for bucket in buckets(arrays) {
      let results = sums(bucket.map { arrays[$0].cast(to: .f32) }, weight)
      for (index, result) in zip(bucket, results) {
        means[index] = result.cast(to: arrays[index].dtype)
      }
    }
    return means
  }

  /// The places of arrays that share a bucket. What can be made first goes first: backward comes to the last layers'
  /// gradients first. Small arrays wait for each other, large ones for nobody.
  private func buckets(_ arrays: [Tensor]) -> [[Int]] {
    // Of a weight's gradient that is a product: when the gradient behind the layer is there, whenever it is recorded.
    let readiness = arrays.map { array -> ValueID in
      let value = source(array.value ?? ValueID(0))
      return trace.maker(of: value)?.operands.map { source($0.value) }.max() ?? value
    }
    var buckets: [[Int]] = [], open: [Int] = []
    var filled = 0
    for index in arrays.indices.sorted(by: { (readiness[$0], $0) < (readiness[$1], $1) }) {
      let size = arrays[index].type.count
      if size >= Self.bucketElements {
        buckets.append([index])
        continue
      }
      if filled + size > Self.bucketElements {
        buckets.append(open)
        (open, filled) = ([], 0)
      }
      open.append(index)
      filled += size
    }
    return open.isEmpty ? buckets : buckets + [open]
  }

  /// What a value is made of by transposing, summing and other ops of one operand.
  private func source(_ value: ValueID) -> ValueID {
    var value = value
    while let node = trace.maker(of: value), node.operands.count == 1 {
      value = node.operands[0].value
    }
    return value
  }

  /// The means of numbers, each over its own weight, and the sums of those.
  func means(_ numbers: [(value: Tensor, weight: Tensor)]) -> [(mean: Tensor, weight: Tensor)] {
    if numbers.isEmpty { return [] }
    let parts = numbers.flatMap { value, weight -> [Tensor] in
      let value = value.reshaped([]).cast(to: .f32)
      // A mean over nothing is no number.
      return [`where`(weight .== 0, 0, value * weight), weight]
    }
    let sums = sums(parts, nil)
    return numbers.indices.map { index in
      (sums[2 * index] / sums[2 * index + 1], sums[2 * index + 1])
    }
  }

  /// The sum of a number over all processes.
  func sum(_ number: Tensor) -> Tensor { sums([number], nil)[0] }

  private func sums(_ arrays: [Tensor], _ weight: Tensor?) -> [Tensor] {
    let number = counter.take()
    let bucket = Tensor.applyAll(
      AllReduceStart(number: number, isWeighted: weight != nil),
      to: arrays + (weight.map { [$0] } ?? []))
    return Tensor.applyAll(
      AllReduceEnd(
        number: number, isWeighted: weight != nil, shapes: arrays.map(\.type.shape)),
      to: bucket, resultCount: arrays.count)
  }
}

extension StepRecorder {
  /// The same parameters, each with the mean of its gradients over the examples of all processes.
  ///
  /// - `weight`: what the loss is a mean over in this process.
  /// - `rule`: the optimiser of a parameter.
  /// - Throws: `unsupported` for rules that update the looked up rows of a table alone, and for other gradients than
  ///   `f32` and `bf16`.
  func joined(
    _ trained: [Trained], _ weight: Tensor, _ joint: JointMeans,
    _ rule: (Trained) -> any Optimizer
  ) throws -> [Trained] {
    if let lazy = trained.first(where: {
      rule($0).rowUpdates == .always
        && RowGradient($0.gradient, of: $0.parameter, for: rule($0), in: trace) != nil
    }) {
      throw ApusError(
        .unsupported,
        "\(rule(lazy).rule) updates the rows of '\(lazy.path)' that were looked up, which differ from process to "
          + "process",
        expected: "a rule that is not lazy in training by several processes")
    }
    var result = trained
    let means = joint.means(trained.map(\.gradient), weight)
    try trace.check()
    for index in result.indices { result[index].gradient = means[index] }
    return result
  }

  /// Puts the statistics that layers keep of the examples together: those of the whole batch, weighted by examples.
  func joinStatistics() {
    guard let joint else { return }
    let cells = trace.statistics.compactMap { owner in
      trace.versions(of: owner).last.map { (owner, $0) }
    }.filter { $0.1.dtype.isFloat }
    let means = joint.means(cells.map(\.1), joint.weight(nil))
    for ((owner, _), mean) in zip(cells, means) {
      trace.detach(mean)
      trace.assign(owner, mean)
    }
  }

  /// Puts what the step reports together: losses, what must be finite, and the metrics that are wanted.
  func joinNumbers(metrics: Bool) {
    guard let joint else { return }
    var numbers = zip(losses, lossWeights).map { (value: $0.value, weight: $1) }
    numbers += bounds.map { (norms[$0.place].value, $0.weight) }
    let reported = metrics ? batch.reports.metrics : []
    numbers += reported.map { metric in
      (metric.value, joint.weight(metric.weight ?? trace.weight(ofMean: metric.value)))
    }
    var means = joint.means(numbers)[...]
    func next() -> (mean: Tensor, weight: Tensor)? { means.popFirst() }
    for place in losses.indices {
      guard let (mean, weight) = next() else { return }
      replaceLoss(place, by: mean)
      trace.noteMean(mean) { weight }
    }
    for bound in bounds { if let (mean, _) = next() { replaceNorm(bound.place, by: mean) } }
    for place in reported.indices {
      guard let (mean, weight) = next() else { return }
      batch.reports.metrics[place].value = mean
      batch.reports.metrics[place].weight = weight
    }
  }
}
