// What attention and its gradient are told alike: which keys a query sees, and what is added to scores.

import ApusGraph

/// Which keys each query may attend to, what its scores are scaled by, and which further operands there
/// are.
package struct AttentionRule: Sendable, Hashable {
  /// Query i sees keys j ≤ i.
  package var isCausal = false
  /// Query i sees keys with i - window < j, and j < i + window where not causal.
  package var window: Int?
  package var scale: Double
  /// A mask: bool, where true is seen, or floats that are added.
  package var hasMask = false
  /// Integers `[batch]`: keys at or beyond them are not seen.
  package var hasLengths = false
  /// Whether lengths outside are cut, and no error: who calls has looked at them. A check of the kernel's would hold
  /// back whatever writes a state until all attentions have run.
  package var cutsLengths = false
  /// Slopes `[heads]`: `slope (j - i)` is added.
  package var hasAlibi = false
  /// The part of the probabilities that becomes 0; with it the last operand is the random key.
  package var dropout = 0.0
  /// The number that sets the draws apart from those of other ops.
  package var stream = 0

  package init(
    scale: Double, isCausal: Bool = false, window: Int? = nil, hasMask: Bool = false,
    hasLengths: Bool = false, cutsLengths: Bool = false, hasAlibi: Bool = false,
    dropout: Double = 0, stream: Int = 0
  ) {
    self.scale = scale
    self.isCausal = isCausal
    self.window = window
    self.hasMask = hasMask
    self.hasLengths = hasLengths
    self.cutsLengths = cutsLengths
    self.hasAlibi = hasAlibi
    self.dropout = dropout
    self.stream = stream
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      scale: try attributes.double("scale"), isCausal: try attributes.bool("causal"),
      window: attributes.has("window") ? try attributes.int("window") : nil,
      hasMask: try attributes.bool("mask"), hasLengths: try attributes.bool("lengths"),
      cutsLengths: attributes.has("cuts") ? try attributes.bool("cuts") : false,
      hasAlibi: try attributes.bool("alibi"),
      dropout: attributes.has("dropout") ? try attributes.double("dropout") : 0,
      stream: attributes.has("dropout") ? try attributes.int("stream") : 0)
  }

  package var attributes: [Attribute] {
    var list = [Attribute("scale", .double(scale)), Attribute("causal", .bool(isCausal))]
    if let window { list.append(Attribute("window", .int(window))) }
    list += [
      Attribute("mask", .bool(hasMask)), Attribute("lengths", .bool(hasLengths)),
      Attribute("alibi", .bool(hasAlibi)),
    ]
    if cutsLengths { list.append(Attribute("cuts", .bool(true))) }
    if dropout != 0 {
      list += [Attribute("dropout", .double(dropout)), Attribute("stream", .int(stream))]
    }
    return list
  }

  // MARK: Further operands

  /// How many operands follow those that every call has.
  var extraCount: Int {
    (hasMask ? 1 : 0) + (hasLengths ? 1 : 0) + (hasAlibi ? 1 : 0) + (dropout != 0 ? 1 : 0)
  }

  /// Where each stands among them; nil where it is not there.
  var maskPlace: Int? { hasMask ? 0 : nil }
  var lengthsPlace: Int? { hasLengths ? (hasMask ? 1 : 0) : nil }
  var alibiPlace: Int? { hasAlibi ? (hasMask ? 1 : 0) + (hasLengths ? 1 : 0) : nil }
  var keyPlace: Int? { dropout != 0 ? extraCount - 1 : nil }

  /// The share of probabilities that stay, as the kernel has it, and what those are multiplied by.
  var keep: Double { 1 - Double(Float(dropout)) }
  var keptScale: Double { keep > 0 ? 1 / keep : 0 }

  /// Whether query i may see key j as far as their positions say.
  func sees(_ i: Int, _ j: Int) -> Bool {
    guard let window else { return !isCausal || j <= i }
    return i - window < j && (isCausal ? j <= i : j - window < i)
  }

  // MARK: Types

  /// The extents of a call.
  ///
  /// - Throws: `shapeMismatch`, `dtypeMismatch`, `invalidArgument` for operands that do not fit together.
  func extents(
    _ op: some Op, _ q: TensorType, _ k: TensorType, _ v: TensorType, _ extras: [TensorType]
  ) throws -> AttentionExtents {
    guard [q, k, v].allSatisfy({ $0.rank == 4 && $0.dtype.isFloat }) else {
      throw ApusError(
        .shapeMismatch, "\(op.mnemonic): query \(q), key \(k), value \(v)",
        expected: "floats [batch, time, heads, width] each")
    }
    let e = AttentionExtents(q.shape, k.shape, v.shape)
    guard k.shape[0] == e.batch, v.shape[0] == e.batch, v.shape[1] == e.keys,
      v.shape[2] == e.keyHeads, k.shape[3] == e.width
    else {
      throw ApusError(
        .shapeMismatch, "\(op.mnemonic): query \(q), key \(k), value \(v)",
        expected: "one batch; key and value of one time and heads; query and key of one width")
    }
    guard e.keyHeads > 0 ? e.heads % e.keyHeads == 0 : e.heads == 0 else {
      throw ApusError(
        .shapeMismatch, "\(op.mnemonic): \(e.heads) heads of queries, \(e.keyHeads) of keys",
        expected: "heads that are a multiple of the keys'")
    }
    guard scale.isFinite, dropout >= 0, dropout <= 1, window ?? 1 >= 1 else {
      throw ApusError(
        .invalidArgument,
        "\(op.mnemonic): scale \(scale), dropout \(dropout)"
          + (window.map { ", window \($0)" } ?? ""),
        expected: "a finite scale, a probability, a window of 1 or more")
    }
    try check(op, extras, e, wide: .attentionArithmetic([q.dtype, k.dtype, v.dtype]))
    return e
  }

  private func check(
    _ op: some Op, _ extras: [TensorType], _ e: AttentionExtents, wide: DType
  ) throws {
    if let mask = maskPlace.map({ extras[$0] }) {
      let full = e.scores
      guard mask.rank <= 4, (try? Shape.broadcast(mask.shape, full)) == full else {
        throw ApusError(
          .shapeMismatch,
          "\(op.mnemonic): a mask \(mask) for \(e.queries) queries and \(e.keys) keys",
          expected: "a shape that broadcasts to [batch, heads, queries, keys], \(full)")
      }
      guard mask.dtype == .bool || mask.dtype == wide else {
        throw ApusError(
          .dtypeMismatch, "\(op.mnemonic): a mask \(mask)", expected: "bool or \(wide)")
      }
    }
    if let lengths = lengthsPlace.map({ extras[$0] }) {
      guard [.i32, .i64].contains(lengths.dtype), lengths.shape == [e.batch] else {
        throw ApusError(
          .shapeMismatch, "\(op.mnemonic): lengths \(lengths)",
          expected: "i32 or i64 [\(e.batch)], one for each sequence of the batch")
      }
    }
    if let alibi = alibiPlace.map({ extras[$0] }) {
      guard alibi == TensorType(wide, [e.heads]) else {
        throw ApusError(
          .shapeMismatch, "\(op.mnemonic): slopes \(alibi)",
          expected: "\(TensorType(wide, [e.heads])), one for each head")
      }
    }
    if let key = keyPlace.map({ extras[$0] }) {
      try op.expectRandom(key, stream: stream)
      guard Shape.product(e.draws.count, 1) < 1 << 42 else {
        throw ApusError(
          .invalidArgument, "\(op.mnemonic): dropout of \(e.scores) probabilities",
          expected: "less than 2^42")
      }
    }
  }
}

/// The extents of a call of attention.
struct AttentionExtents {
  let batch, queries, heads, width, keys, keyHeads, valueWidth: Int

  init(_ q: Shape, _ k: Shape, _ v: Shape) {
    (batch, queries, heads, width) = (q[0], q[1], q[2], q[3])
    (keys, keyHeads, valueWidth) = (k[1], k[2], v[3])
  }

  /// Heads of queries to each head of keys.
  var group: Int { keyHeads > 0 ? heads / keyHeads : 1 }
  var scores: Shape { [batch, heads, queries, keys] }
  var output: Shape { [batch, queries, heads, valueWidth] }
  var rows: Shape { [batch, queries, heads] }
  /// Numbers drawn for dropout: rows are padded, so that each begins with a block of the generator's and
  /// vectors of a row are whole groups of blocks.
  var draws: Shape { [batch, heads, queries, (min(keys, 1 << 50) + 31) / 32 * 32] }
}

extension DType {
  /// What attention on those types is computed in.
  static func attentionArithmetic(_ types: [DType]) -> DType {
    types.contains(.f64) ? .f64 : .f32
  }
}
