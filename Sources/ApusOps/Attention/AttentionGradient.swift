// The gradients of attention for query, key and value.

import ApusGraph
import CKernels

/// With `p_ij = exp(s_ij - l_i)` of the scores s and their logarithms l, and m the dropout's factors:
/// `ds_ij = p_ij (m_ij g_i · v_j - δ_i)`, `dq_i = scale Σ_j ds_ij k_j`, `dk_j = scale Σ_i ds_ij q_i`,
/// `dv_j = Σ_i p_ij m_ij g_i`.
///
/// Operands: the output's gradient g `[B, T, H, E]`; query, key and value as ``Attention`` has them; its
/// logarithms l and δ, `g · o` less the gradient of l, `[B, T, H]`; and what the rule names. Results: the
/// gradients of query, key and value.
package struct AttentionGradient: CompositeOp {
  package static let mnemonic = "attention_gradient"
  package let rule: AttentionRule
  /// The element types of the results; none for those of query, key and value, which g then has too.
  package let results: [DType]

  package init(_ rule: AttentionRule, results: [DType] = []) {
    self.rule = rule
    self.results = results
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try AttentionRule(attributes: attributes),
      results: try attributes.storageTypes())
  }

  package var attributes: [Attribute] { rule.attributes + Attribute.storageTypes(results) }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(6 + rule.extraCount, operands)
    let rows = Array(operands[1..<4])
    let e = try rule.extents(self, rows[0], rows[1], rows[2], Array(operands[6...]))
    let g = operands[0]
    let isOneType = rows.allSatisfy { $0.dtype == g.dtype }
    guard g.dtype.isFloat, results.isEmpty ? isOneType : results.count == 3,
      results.allSatisfy(\.isFloat)
    else {
      throw ApusError(
        .dtypeMismatch,
        "attention_gradient: gradient \(g), query \(rows[0]), key \(rows[1]), value \(rows[2])",
        expected: "one type of floats, or three results of floats")
    }
    let statistics = TensorType(.attentionArithmetic(rows.map(\.dtype)), e.rows)
    guard g.shape == e.output, operands[4] == statistics, operands[5] == statistics else {
      throw ApusError(
        .shapeMismatch,
        "attention_gradient: gradient \(g), logarithms \(operands[4]), δ \(operands[5])",
        expected: "\(g.with(e.output)), \(statistics), \(statistics)")
    }
    return results.isEmpty ? rows : zip(rows, results).map { $0.with($1) }
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    try gradientOfDecomposition(context)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let walk = try AttentionWalk(self, rule, Array(operands[1..<4]), Array(operands[6...]))
    let e = walk.extents
    let g = operands[0].doubles, logarithms = operands[4].doubles, delta = operands[5].doubles
    var dq = [Double](repeating: 0, count: walk.q.count)
    var dk = [Double](repeating: 0, count: walk.k.count)
    var dv = [Double](repeating: 0, count: walk.v.count)
    for row in walk.rows {
      let scores = walk.scores(row)
      for j in 0..<e.keys where scores[j] != -.infinity {
        let p = AttentionWalk.exponential(scores[j] - logarithms[row.place])
        let kept = walk.kept(row, j)
        let (value, key) = (walk.valueStart(row, j), walk.keyStart(row, j))
        var flow = 0.0
        for c in 0..<e.valueWidth {
          let upstream = g[row.place * e.valueWidth + c]
          flow += upstream * walk.v[value + c]
          dv[value + c] += p * kept * upstream
        }
        let ds = p * (kept * flow - delta[row.place]) * rule.scale
        for d in 0..<e.width {
          dq[row.place * e.width + d] += ds * walk.k[key + d]
          dk[key + d] += ds * walk.q[row.place * e.width + d]
        }
      }
    }
    return zip([dq, dk, dv], results).map { NDArray(doubles: $0, type: $1) }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    if index < 4 { return AttentionLowering.acceptsRows(view) }
    return rule.maskPlace == index - 6 ? AttentionLowering.acceptsMask(view) : view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    AttentionLowering.hasKernel(
      operands.prefix(4).map(\.dtype), results, rule.maskPlace.map { operands[6 + $0] })
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let graph = AttentionGraph(rule, Array(operands[1..<4]), Array(operands[6...]))
    let g = graph.heads(operands[0].cast(to: graph.wide))
    func column(_ x: Tensor) -> Tensor { x.transposed([0, 2, 1]).expandingDims(at: 3) }
    let p = exp(graph.scores - column(operands[4]))
    let dv = graph.grouped(graph.dropped(p)).product(g, true, false)
    let flow = graph.dropped(graph.together(g.product(graph.v, false, true)))
    let ds = graph.grouped(p * (flow - column(operands[5]))) * rule.scale
    let (dq, dk) = (ds.product(graph.k, false, false), ds.product(graph.q, true, false))
    let found = [graph.ungrouped(dq), graph.ofKeys(dk), graph.ofKeys(dv)]
    return zip(found, operands[1..<4]).enumerated().map { index, pair in
      pair.0.cast(to: results.isEmpty ? pair.1.dtype : results[index])
    }
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let places = AttentionLowering.Places(query: 1, extras: 6)
    var block = AttentionLowering.block(rule, site, places)
    block.flow = AttentionLowering.rows(site, 0)
    block.dq_dtype = site.results[0].dtype.kernelCode
    block.dk_dtype = site.results[1].dtype.kernelCode
    block.dv_dtype = site.results[2].dtype.kernelCode
    var call = AttentionLowering.call(rule, site, places, isBackward: true, block)
    call.bind(\ck_attention_args.flow.p, to: .operand(0))
    call.bind(\ck_attention_args.logarithms, to: .operand(4))
    call.bind(\ck_attention_args.delta, to: .operand(5))
    call.bind(\ck_attention_args.dq, to: .result(0))
    call.bind(\ck_attention_args.dk, to: .result(1))
    call.bind(\ck_attention_args.dv, to: .result(2))
    return call
  }
}

extension AttentionGradient: NarrowableOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index < 4 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { true }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    AttentionGradient(rule, results: results)
  }
}
