// A linear layer and the cross-entropy of its results as one op.

import ApusGraph
import CKernels

/// `cross_entropy(x W + b, labels)`, with the gradients of `x`, `W` and `b` where they are asked for:
/// what a model's last layer and its loss come to, without logits in memory.
///
/// `FuseLinearCrossEntropy` makes these nodes where there are many rows and classes. Operands: `x`
/// `[N, D]`; `W` `[D, C]` (`[C, D]` where `transposeW`); the bias `[C]` where `hasBias`; the loss's
/// gradient where a gradient is asked for; integer labels `[N]`; and optionally class weights `[C]`.
/// Results: the loss (a scalar, or `[N]` without reduction), then the gradients asked for, in the order
/// `x`, `W`, `b`.
package struct LinearCrossEntropy: CompositeOp {
  /// The gradients that are results.
  package struct Gradients: Sendable, Hashable {
    package var x: Bool
    package var weight: Bool
    package var bias: Bool

    package init(x: Bool = false, weight: Bool = false, bias: Bool = false) {
      self.x = x
      self.weight = weight
      self.bias = bias
    }

    package var any: Bool { x || weight || bias }
  }

  package static let mnemonic = "linear_cross_entropy"
  package let rule: CrossEntropyRule
  package let transposeW: Bool
  package let hasBias: Bool
  package let gradients: Gradients

  package init(
    _ rule: CrossEntropyRule = CrossEntropyRule(), transposeW: Bool = false, hasBias: Bool = false,
    gradients: Gradients = Gradients()
  ) {
    self.rule = rule
    self.transposeW = transposeW
    self.hasBias = hasBias
    self.gradients = gradients
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try CrossEntropyRule(attributes: attributes),
      transposeW: try attributes.bool("transposeW"), hasBias: try attributes.bool("hasBias"),
      gradients: Gradients(
        x: try attributes.bool("gradientX"), weight: try attributes.bool("gradientW"),
        bias: try attributes.bool("gradientBias")))
  }

  package var attributes: [Attribute] {
    rule.attributes + [
      Attribute("transposeW", .bool(transposeW)), Attribute("hasBias", .bool(hasBias)),
      Attribute("gradientX", .bool(gradients.x)), Attribute("gradientW", .bool(gradients.weight)),
      Attribute("gradientBias", .bool(gradients.bias)),
    ]
  }

  /// Where the operands stand.
  private var upstream: Int { hasBias ? 3 : 2 }
  private var labels: Int { upstream + (gradients.any ? 1 : 0) }
  private var product: MatMul { MatMul(transposeB: transposeW) }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(operands.count == labels + 2 ? labels + 2 : labels + 1, operands)
    let (x, w) = (operands[0], operands[1])
    guard x.rank == 2, w.rank == 2 else {
      throw ApusError(
        .shapeMismatch, "linear_cross_entropy: x is \(x), the weight is \(w)",
        expected: "two axes each")
    }
    let logits = try product.resultTypes([x, w])[0]
    let bias = x.with(Shape([logits.shape[1]]))
    if hasBias, operands[2] != bias {
      throw ApusError(
        .shapeMismatch, "linear_cross_entropy: the bias is \(operands[2])", expected: "\(bias)")
    }
    guard hasBias || !gradients.bias else {
      throw ApusError(
        .invalidArgument, "linear_cross_entropy: the gradient of a bias that it does not have",
        expected: "hasBias")
    }
    guard !operands[labels].dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "linear_cross_entropy: labels are \(operands[labels])",
        expected: "integers")
    }
    let loss = try rule.lossType(
      self, [logits, operands[labels]] + operands.dropFirst(labels + 1), targetAt: 1)
    if gradients.any, operands[upstream] != loss {
      throw ApusError(
        .shapeMismatch,
        "linear_cross_entropy: the loss's gradient is \(operands[upstream])", expected: "\(loss)")
    }
    return [loss] + (gradients.x ? [x] : []) + (gradients.weight ? [w] : [])
      + (gradients.bias ? [bias] : [])
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let (x, w) = (operands[0], operands[1])
    let logitsType = try product.resultTypes([x.type, w.type])[0]
    var logits = try product.reference([x, w], results: [logitsType])[0]
    if hasBias { logits = try Add().reference([logits, operands[2]], results: [logitsType])[0] }
    let target = operands[labels...]
    guard gradients.any else {
      let logSum = logitsType.with(logitsType.shape.withoutLast)
      return [
        try CrossEntropy(rule).reference([logits] + target, results: [results[0], logSum])[0]
      ]
    }
    let both = try CrossEntropyWithGradient(rule).reference(
      [logits, operands[upstream]] + target, results: [results[0], logitsType])
    let flow = both[1]
    var found = [both[0]]
    if gradients.x {
      found += try MatMul(transposeB: !transposeW).reference([flow, w], results: [x.type])
    }
    if gradients.weight {
      found += try MatMul(transposeA: true).reference(
        transposeW ? [flow, x] : [x, flow], results: [w.type])
    }
    if gradients.bias {
      found += try Sum(axes: [0], keepDims: false).reference([flow], results: [results.last!])
    }
    return found
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    index < 2 || view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool { operands[0].dtype == .f32 }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (x, w) = (operands[0], operands[1])
    var logits = x.product(w, false, transposeW)
    if hasBias { logits = logits + operands[2] }
    let target = operands[labels...]
    guard gradients.any else {
      return [Tensor.applyAll(CrossEntropy(rule), to: [logits] + target, resultCount: 2)[0]]
    }
    let both = Tensor.applyAll(
      CrossEntropyWithGradient(rule), to: [logits, operands[upstream]] + target, resultCount: 2)
    let flow = both[1]
    var found = [both[0]]
    if gradients.x { found.append(flow.product(w, false, !transposeW)) }
    if gradients.weight {
      found.append(transposeW ? flow.product(x, true, false) : x.product(flow, true, false))
    }
    if gradients.bias { found.append(flow.sum(axes: [0])) }
    return found
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let (x, w) = (site.views[0], site.views[1])
    let logits = try product.resultTypes(Array(site.operands.prefix(2)))[0]
    let loss = rule.block(logits, site.operands[labels])
    var args = ck_linear_cross_entropy_args()
    (args.rows, args.cols, args.depth) = (loss.rows, loss.cols, Int64(x.shape[1]))
    (args.x_row, args.x_col) = (Int64(x.strides[0]), Int64(x.strides[1]))
    let (depth, classes) = transposeW ? (1, 0) : (0, 1)
    (args.w_row, args.w_col) = (Int64(w.strides[depth]), Int64(w.strides[classes]))
    args.ignore_index = loss.ignore_index
    args.smoothing = loss.smoothing
    args.label_dtype = loss.label_dtype
    args.reduction = loss.reduction
    args.dw_transposed = transposeW ? 1 : 0
    args.precision = Int32(ck_gemm_precision(site.precision).rawValue)
    args.isa = site.isa.rawValue
    var call = KernelCall(
      "ck_linear_cross_entropy \(args.rows)x\(args.cols)x\(args.depth)",
      entry: KernelEntry(ck_linear_cross_entropy()), block: args)
    call.workspaceBytes = ck_linear_cross_entropy_workspace_bytes(&args)
    call.scratchBytesPerThread = ck_linear_cross_entropy_scratch_bytes(&args)
    let products = 1 + (gradients.x ? 1.0 : 0) + (gradients.weight ? 1.0 : 0)
    call.flops =
      Double(logits.count) * (20 + 2 * Double(args.depth) * products + (gradients.bias ? 1 : 0))
    bind(&call, site)
    return call
  }

  private func bind(_ call: inout KernelCall, _ site: LoweringSite) {
    call.bind(\ck_linear_cross_entropy_args.x, to: .operand(0))
    call.bind(\ck_linear_cross_entropy_args.w, to: .operand(1))
    if hasBias { call.bind(\ck_linear_cross_entropy_args.bias, to: .operand(2)) }
    if gradients.any { call.bind(\ck_linear_cross_entropy_args.upstream, to: .operand(upstream)) }
    call.bind(\ck_linear_cross_entropy_args.labels, to: .operand(labels))
    if site.operands.count > labels + 1 {
      call.bind(\ck_linear_cross_entropy_args.class_weights, to: .operand(labels + 1))
    }
    call.bind(\ck_linear_cross_entropy_args.error, to: .errorSlot)
    call.checkedIndices = (labels, site.operands[1].shape[0])
    call.bind(\ck_linear_cross_entropy_args.workspace, to: .workspace)
    call.bind(\ck_linear_cross_entropy_args.loss, to: .result(0))
    var next = 1
    func takeResult() -> KernelCall.Buffer {
      next += 1
      return .result(next - 1)
    }
    if gradients.x { call.bind(\ck_linear_cross_entropy_args.dx, to: takeResult()) }
    if gradients.weight { call.bind(\ck_linear_cross_entropy_args.dw, to: takeResult()) }
    if gradients.bias { call.bind(\ck_linear_cross_entropy_args.db, to: takeResult()) }
  }
}
