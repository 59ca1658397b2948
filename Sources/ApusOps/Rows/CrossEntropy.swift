// Cross-entropy of logits.

import ApusGraph
import CKernels
import Glibc

/// The loss of ``CrossEntropyRule``, and the row's log-sum-exp, which the gradient reads.
///
/// Operands: logits `[rows…, C]`; integer labels `[rows…]` or a distribution of the logits' type; and
/// optionally class weights `[C]`. Results: the loss (a scalar, or `[rows…]` without reduction) and
/// `logsumexp(x)`, `[rows…]`.
package struct CrossEntropy: CrossEntropyOp {
  package static let mnemonic = "cross_entropy"
  package static let gradientResult: Int? = nil
  package let rule: CrossEntropyRule
  package let result: DType?

  package init(_ rule: CrossEntropyRule = CrossEntropyRule(), result: DType? = nil) {
    self.rule = rule
    self.result = result
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let loss = try lossType(operands, targetAt: 1)
    return [loss, TensorType(loss.dtype, operands[0].shape.withoutLast)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (operands, results) = (context.operands, context.results)
    // A distribution or weights that are themselves computed are rare.
    if context.isNeeded.dropFirst().contains(true) || result != nil {
      return try gradientOfDecomposition(context)
    }
    var flow: Tensor?
    if let upstream = context.gradients[0] {
      flow =
        Tensor.applyAll(
          CrossEntropyGradient(rule),
          to: [operands[0], results[1], upstream] + operands.dropFirst())[0]
    }
    if let upstream = context.gradients[1] {
      let column = results[1].shape.appendingOne
      let p = exp(operands[0] - results[1].reshaped(column)) * upstream.reshaped(column)
      flow = flow.map { $0 + p } ?? p
    }
    return [flow] + operands.dropFirst().map { _ in nil }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let classes = operands[0].shape[-1]
    let count = results[1].count
    let x = operands[0].doubles
    let rows = try rule.rows(mnemonic, operands, targetAt: 1, count: count)
    var losses: [Double] = []
    var logSums: [Double] = []
    for i in 0..<count {
      let row = x[i * classes..<(i + 1) * classes]
      let m = row.reduce(-.infinity, greatest)
      let logSum = log(row.reduce(0) { $0 + exp($1 - m) })
      logSums.append(m + logSum)
      // q of 0 takes no part: a masked class may have the logit -∞.
      losses.append(
        zip(rows.q[i] ?? [], row).reduce(0) { $1.0 == 0 ? $0 : $0 + $1.0 * (logSum - ($1.1 - m)) })
    }
    let loss = rule.reduction == .none ? losses : [losses.reduce(0, +) / rows.divisor]
    return [
      NDArray(doubles: loss, type: results[0]), NDArray(doubles: logSums, type: results[1]),
    ]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = widened(operands[0])
    let (q, divisor) = rule.weights([x] + operands.dropFirst(), targetAt: 1)
    let m = greatestAlong(x, x.rank - 1)
    let shifted = x - m
    let logSum = log(exp(shifted).sum(axes: [-1], keepDims: true))
    // A class of weight 0 may have the logit -∞: 0 · ∞ must not be met, here or in a derivative.
    let surprise = logSum - shifted
    let counted = `where`(logicalAnd(q .== 0, surprise .== .infinity), 0, surprise)
    let terms = q * counted
    let rows = terms.sum(axes: [-1])
    return [
      rule.reduction == .none ? rows : rows.sum() / divisor,
      (m + logSum).reshaped(x.shape.withoutLast),
    ]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = rule.call(CK_CROSS_ENTROPY_FORWARD, "ck_cross_entropy", site, targetAt: 1)
    call.bind(\ck_cross_entropy_args.loss, to: .result(0))
    call.bind(\ck_cross_entropy_args.log_sum, to: .result(1))
    return call
  }
}

/// The gradient of the loss of ``CrossEntropy`` for its logits, written in one pass:
/// `u / D (exp(x - logSum) Σ q - q)`; 0 where D is.
///
/// Operands: logits, log-sum-exp, the gradient `u` of the loss, labels or a distribution, and optionally
/// class weights.
package struct CrossEntropyGradient: CrossEntropyOp {
  package static let mnemonic = "cross_entropy_gradient"
  package static let gradientResult: Int? = 0
  package let rule: CrossEntropyRule
  package let result: DType?

  package init(_ rule: CrossEntropyRule = CrossEntropyRule(), result: DType? = nil) {
    self.rule = rule
    self.result = result
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let loss = try lossType(operands, targetAt: 3)
    let logSum = TensorType(loss.dtype, operands[0].shape.withoutLast)
    guard operands[1] == logSum, operands[2] == loss else {
      throw ApusError(
        .shapeMismatch,
        "cross_entropy_gradient: the log-sum is \(operands[1]), the loss's gradient \(operands[2])",
        expected: "\(logSum) and \(loss)")
    }
    return [operands[0].with(result ?? operands[0].dtype)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let classes = operands[0].shape[-1]
    let count = operands[1].count
    let (x, logSums, upstream) = (operands[0].doubles, operands[1].doubles, operands[2].doubles)
    let rows = try rule.rows(mnemonic, operands, targetAt: 3, count: count)
    var values: [Double] = []
    for i in 0..<count {
      guard let q = rows.q[i] else {
        values += Array(repeating: 0, count: classes)
        continue
      }
      let total = q.reduce(0, +)
      let u = upstream[rule.reduction == .none ? i : 0]
      let scale = rows.divisor == 0 ? 0 : u / rows.divisor
      for c in 0..<classes {
        values.append(scale * (total * exp(x[i * classes + c] - logSums[i]) - q[c]))
      }
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let x = widened(operands[0])
    let (q, divisor) = rule.weights([x] + operands.dropFirst(), targetAt: 3)
    let column = operands[1].shape.appendingOne
    let p = exp(x - operands[1].reshaped(column))
    let upstream = rule.reduction == .none ? operands[2].reshaped(column) : operands[2]
    // A mean of nothing that counts is a NaN without a gradient.
    let hasDivisor = rule.reduction == .mean && !operands[3].dtype.isFloat
    let scale = hasDivisor ? `where`(divisor .== 0, 0, upstream / divisor) : upstream / divisor
    return [stored(scale * (p * q.sum(axes: [-1], keepDims: true) - q))]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var call = rule.call(
      CK_CROSS_ENTROPY_BACKWARD, "ck_cross_entropy_backward", site, targetAt: 3)
    call.bind(\ck_cross_entropy_args.log_sum, to: .operand(1))
    call.bind(\ck_cross_entropy_args.upstream, to: .operand(2))
    call.bind(\ck_cross_entropy_args.gradient, to: .result(0))
    call.inPlace = gradientInPlace(site)
    return call
  }
}

/// The cross-entropy of logits, over their last axis (Goodfellow, Bengio, Courville, "Deep Learning",
/// 6.2), as PyTorch's `cross_entropy`.
///
///     let loss = crossEntropy(logits, labels)                         // f32[64,10], u8[64] → f32[]
///     let soft = crossEntropy(logits, teacher, labelSmoothing: 0.1)   // f32[64,10], f32[64,10]
///
/// - `target`: class numbers (integers of the logits' shape without its last axis), or a distribution
///   over the classes (floats of the logits' shape).
/// - `weights`: a weight for each class.
/// - `ignoreIndex`: rows with this label count for nothing.
/// - `labelSmoothing`: the part of the target that is spread evenly over all classes.
/// - `reduction`: a scalar (the mean or the sum), or a loss for each row.
/// A class that the target gives nothing may have a logit of -∞ (PyTorch gives NaN for such a
/// distribution). Where no row counts, all of them ignored or of weight 0, the mean is NaN, as in PyTorch,
/// and the gradient 0.
///
/// - Returns: the loss. A label outside the classes is an `outOfRange` error of the run.
public func crossEntropy(
  _ logits: Tensor, _ target: Tensor, weights: Tensor? = nil, ignoreIndex: Int = -100,
  labelSmoothing: Double = 0, reduction: LossReduction = .mean, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  let rule = CrossEntropyRule(
    reduction: reduction, smoothing: labelSmoothing, ignoreIndex: ignoreIndex)
  let location = sourceLocation(file, line)
  let target = target.dtype.isFloat ? target.cast(to: logits.dtype, location: location) : target
  let loss = Tensor.applyAll(
    CrossEntropy(rule), to: [logits, target] + (weights.map { [$0] } ?? []), resultCount: 2,
    location: location)[0]
  if reduction == .mean, !target.dtype.isFloat {
    loss.trace.noteMean(loss) {
      rule.meanWeight(labels: target, weights: weights, of: logits, location)
    }
  }
  return loss
}

extension CrossEntropyRule {
  /// What the mean over integer labels is divided by: the weights of the rows that count, added up.
  fileprivate func meanWeight(
    labels: Tensor, weights: Tensor?, of logits: Tensor, _ location: String
  ) -> Tensor {
    logits.trace.withCallLocation(location) {
      guard let weights else {
        let holdsIndex = labels.dtype != .u8 || (0...255).contains(ignoreIndex)
        guard holdsIndex else { return logits.trace.constant(Double(labels.type.count)) }
        let ignored = equal(labels, labels.scalar(Double(ignoreIndex))).cast(to: .f32)
        return Double(labels.type.count) - ignored.sum()
      }
      return self.weights([logits, labels, weights.cast(to: logits.dtype)], targetAt: 1)
        .divisor.cast(to: .f32)
    }
  }
}
