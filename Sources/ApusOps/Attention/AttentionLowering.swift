// From attention to the kernels' argument block.

import ApusGraph
import CKernels

/// Builds argument blocks of `ck_attention`.
enum AttentionLowering {
  /// Whether a kernel reads query, key and value of those types, with these further operands.
  static func hasKernel(_ rows: [DType], _ results: [DType], _ mask: TensorType?) -> Bool {
    (rows + results).allSatisfy { $0 == .f32 || $0 == .bf16 }
      && mask.map { $0.dtype == .bool || $0.dtype == .f32 } ?? true
  }

  /// Whether rows are read so: what is strided are batch, time and heads. So heads may be slices of one
  /// fused projection.
  static func acceptsRows(_ view: View) -> Bool { view.shape[3] <= 1 || view.strides[3] == 1 }

  /// Whether a mask is read so: along the keys densely, or as one element for all of them.
  static func acceptsMask(_ view: View) -> Bool {
    view.shape.rank == 0 || view.shape[-1] <= 1 || [0, 1].contains(view.strides.last!)
  }

  /// Where the operands stand: query, and the first of those that the rule names.
  struct Places {
    let query, extras: Int
  }

  /// The block of either direction, results apart.
  static func block(_ rule: AttentionRule, _ site: LoweringSite, _ at: Places) -> ck_attention_args
  {
    let rows = Array(site.operands[at.query..<at.query + 3])
    let e = AttentionExtents(rows[0].shape, rows[1].shape, rows[2].shape)
    var args = ck_attention_args()
    (args.batch, args.queries, args.keys) = (Int64(e.batch), Int64(e.queries), Int64(e.keys))
    (args.heads, args.key_heads) = (Int64(e.heads), Int64(e.keyHeads))
    (args.width, args.value_width) = (Int64(e.width), Int64(e.valueWidth))
    args.q = Self.rows(site, at.query)
    args.k = Self.rows(site, at.query + 1)
    args.v = Self.rows(site, at.query + 2)
    args.scale = Float(rule.scale)
    args.dropout = Float(rule.dropout)
    args.stream = Int64(rule.stream)
    args.is_causal = rule.isCausal ? 1 : 0
    args.window = Int64(min(rule.window ?? 0, 1 << 40))
    if let place = rule.maskPlace.map({ at.extras + $0 }) {
      let strides = site.views[place].broadcast(to: e.scores).strides.map { Int64($0) }
      (args.mask_batch, args.mask_head) = (strides[0], strides[1])
      (args.mask_query, args.mask_key) = (strides[2], e.keys > 1 ? strides[3] : 0)
      args.mask_dtype = site.operands[place].dtype.kernelCode
    }
    if let place = rule.lengthsPlace.map({ at.extras + $0 }) {
      args.lengths_dtype = site.operands[place].dtype.kernelCode
    }
    return args
  }

  static func rows(_ site: LoweringSite, _ index: Int) -> ck_attention_rows {
    let strides = site.views[index].strides.map { Int64($0) }
    return ck_attention_rows(
      p: nil, batch: strides[0], time: strides[1], head: strides[2],
      dtype: Int64(site.operands[index].dtype.kernelCode))
  }

  /// The call of either direction, results apart.
  static func call(
    _ rule: AttentionRule, _ site: LoweringSite, _ at: Places, isBackward: Bool,
    _ block: ck_attention_args
  ) -> KernelCall {
    // Few queries are bound by reading, where pairs gain nothing.
    let isPaired =
      (isBackward || block.queries > Int64(CK_ATTENTION_FEW)) && site.precision == .mixed
      && site.isa >= .avx512bf16 && ck_multiplies_bf16_pairs_fast()
    let op: ck_attention_op =
      isBackward
      ? (isPaired ? CK_ATTENTION_BACKWARD_PAIRS : CK_ATTENTION_BACKWARD)
      : (isPaired ? CK_ATTENTION_FORWARD_PAIRS : CK_ATTENTION_FORWARD)
    let name = isBackward ? "ck_attention_backward" : "ck_attention_forward"
    var call = KernelCall(name, ck_attention(op, ck_isa(site.isa)), site, block: block)
    var args = block
    call.workspaceBytes = ck_attention_workspace_bytes(&args, op)
    call.scratchBytesPerThread = ck_attention_scratch_bytes(&args, op)
    call.bind(\ck_attention_args.q.p, to: .operand(at.query))
    call.bind(\ck_attention_args.k.p, to: .operand(at.query + 1))
    call.bind(\ck_attention_args.v.p, to: .operand(at.query + 2))
    if let place = rule.maskPlace {
      call.bind(\ck_attention_args.mask, to: .operand(at.extras + place))
    }
    if let place = rule.lengthsPlace {
      call.bind(\ck_attention_args.lengths, to: .operand(at.extras + place))
      if !rule.cutsLengths {
        call.bind(\ck_attention_args.error, to: .errorSlot)
        call.checkedIndices = (at.extras + place, Int(block.keys) + 1)
      }
    }
    if let place = rule.alibiPlace {
      call.bind(\ck_attention_args.slopes, to: .operand(at.extras + place))
    }
    if let place = rule.keyPlace {
      call.bind(\ck_attention_args.random, to: .operand(at.extras + place))
    }
    call.bind(\ck_attention_args.workspace, to: .workspace)
    let seen = rule.seenPairs(queries: Int(block.queries), keys: Int(block.keys))
    let pairs = Double(block.batch * block.heads) * seen
    let widths = Double(block.width + block.value_width)
    call.flops =
      pairs * (isBackward ? 2 * (widths * 2 + Double(block.width)) + 24 : 2 * widths + 20)
    return call
  }
}

extension AttentionRule {
  /// How many pairs of a query and a key positions let through, of one head.
  fileprivate func seenPairs(queries: Int, keys: Int) -> Double {
    guard isCausal || window != nil else { return Double(queries) * Double(keys) }
    let reach = window ?? Int.max
    return (0..<queries).reduce(0.0) { sum, i in
      let low = max(0, i - min(reach, i + 1) + 1)
      let high = isCausal ? i + 1 : i + min(reach, keys)
      return sum + Double(max(0, min(keys, high) - low))
    }
  }
}
