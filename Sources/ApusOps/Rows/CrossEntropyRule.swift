// What the three cross-entropy ops have in common: attributes, operands, equations, argument blocks.

import ApusGraph
import CKernels
import Glibc

/// The attributes of a cross-entropy.
///
/// For each row i of logits x (its last axis is over C classes), with ε the smoothing, w the class
/// weights (or 1) and t_i the target distribution (or 1 at the label and 0 elsewhere):
///
///     q_c = w_c ((1 - ε) t_ic + ε / C)
///     loss_i = Σ_c q_c (logsumexp(x_i) - x_ic)
///
/// The mean divides by Σ_i w[label_i] (labels) or the number of rows (distributions). A row whose label
/// is `ignoreIndex` counts for nothing.
package struct CrossEntropyRule: Sendable, Hashable {
  package var reduction: LossReduction
  package var smoothing: Double
  package var ignoreIndex: Int

  /// - `ignoreIndex`: -100 as in PyTorch, which no label is by accident.
  package init(
    reduction: LossReduction = .mean, smoothing: Double = 0, ignoreIndex: Int = -100
  ) {
    self.reduction = reduction
    self.smoothing = smoothing
    self.ignoreIndex = ignoreIndex
  }

  init(attributes: AttributeReader) throws {
    self.init(
      reduction: try attributes.choice("reduction"), smoothing: try attributes.double("smoothing"),
      ignoreIndex: try attributes.int("ignoreIndex"))
  }

  var attributes: [Attribute] {
    [
      Attribute("reduction", .string(reduction.rawValue)),
      Attribute("smoothing", .double(smoothing)), Attribute("ignoreIndex", .int(ignoreIndex)),
    ]
  }

  // MARK: Types

  /// The class weights, which follow the target, if any.
  static func weights<Value>(of operands: [Value], targetAt place: Int) -> Value? {
    operands.dropFirst(place + 1).first
  }

  /// Checks logits, the target, which is the operand at `place`, and the weights, which may follow it;
  /// returns the type of the loss.
  ///
  /// - `arithmetic`: the element type of the loss, a distribution and the weights; nil for the logits'.
  func lossType(
    _ op: some Op, _ operands: [TensorType], targetAt place: Int, arithmetic: DType? = nil
  ) throws -> TensorType {
    try op.expect(operands.count == place + 2 ? place + 2 : place + 1, operands)
    let (logits, target) = (operands[0], operands[place])
    let weights = Self.weights(of: operands, targetAt: place)
    let name = op.mnemonic
    guard logits.dtype.isFloat, logits.rank >= 1, logits.shape[-1] > 0 else {
      throw ApusError(
        .dtypeMismatch, "\(name): logits are \(logits)", expected: "floats of [rows…, classes]")
    }
    let wide = logits.with(arithmetic ?? logits.dtype)
    if target.dtype.isFloat {
      guard target == wide else {
        throw ApusError(
          .shapeMismatch, "\(name): logits are \(logits), the target is \(target)",
          expected: "a distribution, \(wide), or integer labels")
      }
    } else {
      guard target.dtype.isInteger, target.shape == logits.shape.withoutLast else {
        throw ApusError(
          .shapeMismatch, "\(name): logits are \(logits), labels are \(target)",
          expected: "integer labels of shape \(logits.shape.withoutLast)")
      }
    }
    if let weights {
      guard weights == wide.lastAxis else {
        throw ApusError(
          .shapeMismatch, "\(name): class weights are \(weights)", expected: "\(wide.lastAxis)")
      }
    }
    guard (0...1).contains(smoothing) else {
      throw ApusError(
        .invalidArgument, "\(name): label smoothing is \(smoothing)", expected: "0 to 1")
    }
    return wide.with(reduction == .none ? logits.shape.withoutLast : [])
  }

  // MARK: Reference

  /// A row's weights q, and its part of the divisor; nil for a row that counts for nothing.
  struct Rows {
    var q: [[Double]?] = []
    var divisor = 0.0
  }

  func rows(_ name: String, _ operands: [NDArray], targetAt place: Int, count: Int) throws -> Rows {
    var result = Rows()
    let (target, classes) = (operands[place], operands[0].shape[-1])
    let weights = Self.weights(of: operands, targetAt: place)
    let w = weights?.doubles ?? Array(repeating: 1, count: classes)
    let isSoft = target.dtype.isFloat
    let soft = isSoft ? target.doubles : []
    let labels = isSoft ? [] : target.integers
    for i in 0..<count {
      if !isSoft && labels[i] == ignoreIndex {
        result.q.append(nil)
        continue
      }
      guard isSoft || (0..<classes).contains(labels[i]) else {
        throw ApusError(
          .outOfRange, "\(name): label \(labels[i]) at position \(i) is out of range",
          expected: "a class in 0..<\(classes)")
      }
      result.q.append(
        (0..<classes).map { c in
          let t = isSoft ? soft[i * classes + c] : labels[i] == c ? 1 : 0
          return w[c] * ((1 - smoothing) * t + smoothing / Double(classes))
        })
      result.divisor += isSoft ? 1 : w[labels[i]]
    }
    if reduction != .mean { result.divisor = 1 }
    return result
  }

  // MARK: Decomposition

  /// q for every class, and the mean's divisor, in primitives.
  func weights(_ operands: [Tensor], targetAt place: Int) -> (q: Tensor, divisor: Tensor) {
    let (logits, target) = (operands[0], operands[place])
    let weights = Self.weights(of: operands, targetAt: place)
    let classes = logits.shape[-1]
    let rowCount = logits.shape.withoutLast.count
    if target.dtype.isFloat {
      return (
        weighted(target, weights, classes), logits.scalar(reduction == .mean ? Double(rowCount) : 1)
      )
    }
    var labels = target
    var counts: Tensor?
    // An index that the labels' type cannot hold ignores nothing.
    if target.dtype != .u8 || (0...255).contains(ignoreIndex) {
      let ignored = equal(target, target.scalar(Double(ignoreIndex)))
      labels = `where`(ignored, target.scalar(0), target)
      counts = (1 - ignored.cast(to: logits.dtype)).reshaped(target.shape.appendingOne)
    }
    let indicators = labels.oneHot(classes, dtype: logits.dtype)
    var q = weighted(indicators, weights, classes)
    var total = weights.map { indicators * $0 } ?? indicators
    if let counts {
      q = q * counts
      total = total * counts
    }
    return (q, reduction == .mean ? total.sum() : logits.scalar(1))
  }

  private func weighted(_ t: Tensor, _ weights: Tensor?, _ classes: Int) -> Tensor {
    let smooth = smoothing == 0 ? t : t * (1 - smoothing) + smoothing / Double(classes)
    return weights.map { smooth * $0 } ?? smooth
  }

  // MARK: Lowering

  /// The argument block, for logits and target of those types; pointers are bound by ``bind``.
  func block(_ logits: TensorType, _ target: TensorType) -> ck_cross_entropy_args {
    var args = ck_cross_entropy_args()
    args.cols = Int64(logits.shape[-1])
    args.rows = Int64(logits.shape.withoutLast.count)
    args.logits_stride = args.cols
    args.gradient_stride = args.cols
    args.targets_stride = args.cols
    args.ignore_index = Int64(ignoreIndex)
    args.smoothing = Float(smoothing)
    args.label_dtype = target.dtype.kernelCode
    switch reduction {
    case .none: args.reduction = Int32(CK_REDUCTION_NONE.rawValue)
    case .sum: args.reduction = Int32(CK_REDUCTION_SUM.rawValue)
    case .mean: args.reduction = Int32(CK_REDUCTION_MEAN.rawValue)
    }
    return args
  }

  /// What the threads touch: rows in runs of `runLength` of the operands that are listed; results that have
  /// an element or a row of elements for each row of logits; the loss, where it is one number, at result 0.
  func partition(
    _ site: LoweringSite, runLength: Int, byRows: [Int], loss: Bool
  ) -> Partition {
    let rows = site.operands[0].shape.withoutLast.count
    // Elements a row; 0 for what is no array of rows.
    func width(_ type: TensorType) -> Int { rows > 0 ? type.count / rows : 0 }
    let operands = site.operands.indices.map {
      byRows.contains($0) ? width(site.operands[$0]) : 0
    }
    let results = site.results.map(width)
    let hasOneLoss = loss && reduction != .none
    return Partition { buffer, thread, threads in
      let width: Int
      switch buffer {
      case .operand(let index): width = operands[index]
      case .result(0) where hasOneLoss: return Region(thread == 0 ? 0..<1 : 0..<0)
      case .result(let index): width = results[index]
      default: width = 0
      }
      guard width > 0 else { return nil }
      let runs = Partition.share((rows + runLength - 1) / runLength, thread, threads)
      let own = min(runs.lowerBound * runLength, rows)..<min(runs.upperBound * runLength, rows)
      return Region(own.lowerBound * width..<own.upperBound * width)
    }
  }

  /// The call of `op`, with logits at operand 0, the target at that place and any weights after it.
  func call(
    _ op: ck_cross_entropy_op, _ name: String, _ site: LoweringSite, targetAt target: Int
  ) -> KernelCall {
    var args = block(site.operands[0], site.operands[target])
    args.logits_dtype = site.operands[0].dtype.kernelCode
    if op != CK_CROSS_ENTROPY_FORWARD {
      args.gradient_dtype = site.results[site.results.count - 1].dtype.kernelCode
    }
    var call = KernelCall(name, ck_cross_entropy(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_cross_entropy_args.logits, to: .operand(0))
    if site.operands[target].dtype.isFloat {
      call.bind(\ck_cross_entropy_args.targets, to: .operand(target))
    } else {
      call.bind(\ck_cross_entropy_args.labels, to: .operand(target))
      call.bind(\ck_cross_entropy_args.error, to: .errorSlot)
      call.checkedIndices = (target, site.operands[0].shape[-1])
    }
    if site.operands.count > target + 1 {
      call.bind(\ck_cross_entropy_args.class_weights, to: .operand(target + 1))
    }
    call.workspaceBytes = ck_cross_entropy_workspace_bytes(&args)
    call.bind(\ck_cross_entropy_args.workspace, to: .workspace)
    let isBackward = op == CK_CROSS_ENTROPY_BACKWARD
    // For what the mean divides by, a thread reads other rows of the labels than it then goes through.
    let isSoft = site.operands[target].dtype.isFloat
    let readsOwnTargets = isSoft || reduction != .mean
    call.partition = partition(
      site, runLength: isBackward ? 1 : Int(ck_cross_entropy_block_rows(&args)),
      byRows: readsOwnTargets ? [0, target] : [0], loss: !isBackward)
    call.flops = 20 * Double(site.operands[0].count)
    // A logarithm and three sums over lanes a row. Short rows of the forward pass have them sixteen
    // together: 7 ns a row measured for ten classes, arithmetic included.
    let isShort = args.cols <= CK_SHORT_COLUMNS && !isSoft && !isBackward
    let rates = rates(at: site.isa)
    call.overhead = (isShort ? rates.short_loss_row : rates.loss_row) * Double(args.rows)
    return call
  }
}
