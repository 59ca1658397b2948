// Scaled dot product attention.

import ApusGraph
import CKernels

/// `o_i = Σ_j p_ij v_j` with `p_i = softmax_j(scale q_i · k_j + …)` over the keys that query i sees, and the
/// logarithm of each softmax's denominator: Vaswani et al., "Attention is all you need" (2017), computed as
/// Dao, "FlashAttention-2" (2023), which never stores the scores.
///
/// Operands: query `[B, T, H, D]`, key `[B, S, K, D]` and value `[B, S, K, E]`, where each head of keys
/// serves `H / K` neighbouring heads of queries; then those that the rule names, in this order: mask,
/// lengths, slopes, random key. Results: `[B, T, H, E]`, and the logarithms `[B, T, H]`, f32 (f64 of f64).
///
/// A query that sees no key gives zeros, a logarithm of 0, and gradients of 0.
package struct Attention: CompositeOp {
  package static let mnemonic = "attention"
  package let rule: AttentionRule
  /// The element type of the first result; nil for that of the query, which key and value then have too.
  package let result: DType?

  package init(_ rule: AttentionRule, result: DType? = nil) {
    self.rule = rule
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(try AttentionRule(attributes: attributes), result: try attributes.storageType())
  }

  package var attributes: [Attribute] { rule.attributes + Attribute.storageType(result) }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(3 + rule.extraCount, operands)
    let (q, k, v) = (operands[0], operands[1], operands[2])
    let e = try rule.extents(self, q, k, v, Array(operands[3...]))
    guard result?.isFloat ?? (q.dtype == k.dtype && q.dtype == v.dtype) else {
      throw ApusError(
        .dtypeMismatch, "attention: query \(q), key \(k), value \(v)",
        expected: "one type of floats")
    }
    let wide = DType.attentionArithmetic([q.dtype, k.dtype, v.dtype])
    return [TensorType(result ?? q.dtype, e.output), TensorType(wide, e.rows)]
  }

  // With g the gradient of o and c that of the logarithm: everything that flows into a row of scores is
  // p (g·v - (g·o - c)).
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let operands = context.operands
    guard let flow = context.gradients[0], context.isNeeded[3...].allSatisfy({ !$0 }) else {
      return try gradientOfDecomposition(context)
    }
    let wide = context.results[1].dtype
    var delta = (flow.cast(to: wide) * context.results[0].cast(to: wide)).sum(axes: [-1])
    if let other = context.gradients[1] { delta = delta - other }
    let op = AttentionGradient(
      rule, results: result == nil ? [] : operands.prefix(3).map(\.dtype))
    let given = [flow] + operands.prefix(3) + [context.results[1], delta] + operands[3...]
    let found = Tensor.applyAll(op, to: given, resultCount: 3)
    return found + operands[3...].map { _ in nil }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let walk = try AttentionWalk(self, rule, Array(operands[0..<3]), Array(operands[3...]))
    let e = walk.extents
    var output = [Double](repeating: 0, count: e.output.count)
    var logarithms = [Double](repeating: 0, count: e.rows.count)
    for row in walk.rows {
      let (p, logarithm) = AttentionWalk.probabilities(walk.scores(row))
      logarithms[row.place] = logarithm
      for j in 0..<e.keys where p[j] != 0 {
        let factor = p[j] * walk.kept(row, j)
        let value = walk.valueStart(row, j)
        for c in 0..<e.valueWidth {
          output[row.place * e.valueWidth + c] += factor * walk.v[value + c]
        }
      }
    }
    return [
      NDArray(doubles: output, type: results[0]), NDArray(doubles: logarithms, type: results[1]),
    ]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    if index < 3 { return AttentionLowering.acceptsRows(view) }
    return rule.maskPlace == index - 3 ? AttentionLowering.acceptsMask(view) : view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    AttentionLowering.hasKernel(
      operands.prefix(3).map(\.dtype), result.map { [$0] } ?? [],
      rule.maskPlace.map { operands[3 + $0] })
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let graph = AttentionGraph(rule, Array(operands[0..<3]), Array(operands[3...]))
    let scores = graph.scores
    let rows = graph.extents.rows
    guard graph.extents.keys > 0 else {
      let trace = operands[0].trace
      return [
        trace.full(graph.extents.output, 0, result ?? operands[0].dtype),
        trace.full(rows, 0, graph.wide),
      ]
    }
    let mask = MaskedSlices(scores, 3)
    let e = exp(scores - mask.shift)
    let sum = mask.orOne(e.sum(axes: [3], keepDims: true))
    let output = graph.ungrouped(
      graph.grouped(graph.dropped(e / sum)).product(graph.v, false, false))
    let logarithm = (mask.shift + log(sum)).squeezed(axes: [3]).transposed([0, 2, 1])
    return [output.cast(to: result ?? operands[0].dtype), logarithm]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let places = AttentionLowering.Places(query: 0, extras: 3)
    var block = AttentionLowering.block(rule, site, places)
    block.out_dtype = site.results[0].dtype.kernelCode
    var call = AttentionLowering.call(rule, site, places, isBackward: false, block)
    call.bind(\ck_attention_args.out, to: .result(0))
    call.bind(\ck_attention_args.logarithms, to: .result(1))
    return call
  }
}

extension Attention: NarrowableOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index < 3 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { index == 0 }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    Attention(rule, result: results[0])
  }
}
