// Attention of several heads, with the products around it.

import ApusGraph
import ApusOps

/// Attention of several heads: Vaswani et al. 2017, "Attention Is All You Need".
///
///     [q, k, v] = x·W_inᵀ + b_in,   y = attention(q, k, v)·W_outᵀ + b_out
///
///     let attention = MultiHeadAttention(384, heads: 6)
///     let y = attention(x, seeing: .causal)                 // f32[n,t,384] → f32[n,t,384]
///     let z = attention(x, context: memory)                 // queries of x, keys and values of memory
///
/// Queries, keys and values of one input are one product. Parameters have PyTorch's names and shapes
/// (`in_proj_weight [3·width, width]`, `in_proj_bias`, `out_proj.weight`, `out_proj.bias`), so that the state of an
/// `nn.MultiheadAttention` loads. With fewer `keyHeads` than heads, each is shared by several queries' heads
/// (Ainslie et al. 2023, "GQA"), and `in_proj_weight` is `[width + 2·keyHeads·width/heads, width]`. With a context of
/// another width there are `q_proj_weight`, `k_proj_weight` and `v_proj_weight` instead.
public struct MultiHeadAttention: Module, Sendable {
  let scope = Scope()
  public let width: Int
  public let heads: Int
  /// Those of keys and values.
  public let keyHeads: Int
  /// The probability with which an attention weight is dropped in training.
  public let dropout: Double
  /// All three in one, or nil where the context has another width.
  private let input: Parameter?
  private let separate: [Parameter]
  private let bias: Parameter?
  private let output: Linear
  private let fault: ApusError?

  /// - `width`: of queries and results; a multiple of `heads`.
  /// - `keyHeads`: heads of keys and values, of which `heads` is a multiple; as many by default.
  /// - `contextWidth`: of what keys and values are made from, where it is not `width`.
  /// - `bias`: whether the products add biases.
  /// - `dropout`: of the attention's weights, 0 up to 1.
  ///
  /// Numbers that do not go together are thrown by what initialises or records the layer.
  public init(
    _ width: Int, heads: Int, keyHeads: Int? = nil, contextWidth: Int? = nil, bias: Bool = true,
    dropout: Double = 0
  ) {
    let keyHeads = keyHeads ?? heads
    fault = Self.mistake(width, heads, keyHeads, contextWidth ?? width, dropout)
    let (w, h, k, c) = fault == nil ? (width, heads, keyHeads, contextWidth ?? width) : (1, 1, 1, 1)
    (self.width, self.heads, self.keyHeads) = (w, h, k)
    self.dropout = dropout
    let inner = w / h * k
    if c == w {
      input = Parameter([w + 2 * inner, w], .xavierUniform)
      separate = []
    } else {
      input = nil
      separate = [(w, w), (inner, c), (inner, c)].map { Parameter([$0.0, $0.1], .xavierUniform) }
    }
    self.bias = bias ? Parameter([w + 2 * inner], .zeros) : nil
    output = Linear(w, w, bias: bias)
  }

  private static func mistake(
    _ width: Int, _ heads: Int, _ keyHeads: Int, _ contextWidth: Int, _ dropout: Double
  ) -> ApusError? {
    let most = 1 << 24
    func refused(_ what: String, _ expected: String) -> ApusError {
      ApusError(.invalidArgument, "MultiHeadAttention: \(what)", expected: expected)
    }
    guard (1...most).contains(width), (1...most).contains(contextWidth) else {
      return refused(
        "the width is \(width), the context's \(contextWidth)", "widths from 1 to \(most)")
    }
    guard heads >= 1, width % heads == 0 else {
      return refused("\(heads) heads of a width of \(width)", "a number that divides the width")
    }
    guard keyHeads >= 1, heads % keyHeads == 0 else {
      return refused("\(keyHeads) heads of keys for \(heads) heads", "a number that divides them")
    }
    guard (0..<1).contains(dropout) else {
      return refused("dropout is \(dropout)", "0 ≤ dropout < 1")
    }
    return nil
  }

  /// Named as in PyTorch, so that its files fit.
  public var parts: [(name: String, value: Any)] {
    let names = ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    return [("scope", scope), ("in_proj_weight", input as Any)]
      + zip(names, separate).map { ($0, $1 as Any) }
      + [("in_proj_bias", bias as Any), ("out_proj", output)]
      + (fault.map { [("heads", $0)] } ?? [])
  }

  /// `[n, t, width]` → `[n, t, width]`.
  ///
  /// - `context`: what keys and values are made from, `[n, keys, contextWidth]`; the input itself by default.
  /// - `pattern`: which keys a query sees.
  public func callAsFunction(
    _ x: Tensor, context: Tensor? = nil, seeing pattern: AttentionPattern = .all,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    applied(x, context, pattern, nil, file, line)
  }

  /// Tokens that follow those of a cache, in which their keys and values are kept: `[n, count, width]` → the same.
  ///
  /// - `position`: `i32[]`, the number of tokens before these.
  public func callAsFunction(
    _ x: Tensor, cache: KeyValueCache, at position: Tensor, window: Int? = nil,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    applied(
      x, nil, AttentionPattern(isCausal: true, window: window), (cache, position), file, line)
  }

  private func applied(
    _ x: Tensor, _ context: Tensor?, _ pattern: AttentionPattern,
    _ cached: (cache: KeyValueCache, position: Tensor)?, _ file: StaticString, _ line: UInt
  ) -> Tensor {
    scoped(file: file, line: line) {
      if let mistake = fault ?? x.mistake(ofSequences: width, "MultiHeadAttention") {
        return .poisoned(mistake, like: x)
      }
      let contextWidth = separate.isEmpty ? width : separate[1].shape[1]
      if let mistake = (context ?? x).mistake(
        ofSequences: contextWidth, "MultiHeadAttention's context")
      {
        return .poisoned(mistake, like: x)
      }
      let (query, key, value) = projected(x, context)
      let attended =
        if let cached {
          pattern.attend(query, key, value, through: cached.cache, at: cached.position)
        } else {
          pattern.attend(query, key, value, dropout: dropout)
        }
      return output(attended.reshaped([x.shape[0], x.shape[1], width]))
    }
  }

  /// Keys and values of a context, `[n, keys, keyHeads, width of a head]` each: what a decoder looks at at every token,
  /// computed once.
  func keysAndValues(of context: Tensor) -> (keys: Tensor, values: Tensor) {
    scoped {
      let contextWidth = separate.isEmpty ? width : separate[1].shape[1]
      if let mistake = fault
        ?? context.mistake(ofSequences: contextWidth, "MultiHeadAttention's context")
      {
        return (.poisoned(mistake, like: context), .poisoned(mistake, like: context))
      }
      return projectedContext(context)
    }
  }

  /// The attention of tokens to keys and values that stand already: `[n·r, t, width]` → the same.
  ///
  /// - `keys`, `values`: those of ``keysAndValues(of:)``, `[n, keys, keyHeads, width of a head]`. Each serves `r` rows in
  ///   turn.
  /// - `lengths`: `i32[n]`, keys that there are.
  func attended(_ x: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) -> Tensor {
    scoped {
      if let mistake = fault ?? x.mistake(ofSequences: width, "MultiHeadAttention") {
        return .poisoned(mistake, like: x)
      }
      if x.isPoisoned || keys.isPoisoned || values.isPoisoned { return x }
      // Rows of one source are queries of one sequence: no key is copied.
      let query = projectedQuery(x)
        .reshaped([keys.shape[0], x.shape[0] / keys.shape[0] * x.shape[1], heads, width / heads])
      let y = AttentionPattern.lengths(lengths).attend(query, keys, values)
      return output(y.reshaped(x.shape))
    }
  }

  /// Queries, keys and values: `[n, t, heads, width of a head]`.
  private func projected(
    _ x: Tensor, _ context: Tensor?
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    guard let input, context == nil else {
      let (keys, values) = projectedContext(context ?? x)
      return (projectedQuery(x), keys, values)
    }
    let all = product(x, input.tensor, bias?.tensor).split(sizes, axis: -1).map(cut)
    return (all[0], all[1], all[2])
  }

  private func projectedQuery(_ x: Tensor) -> Tensor {
    let weight = input.map { $0.tensor.split([width, 2 * inner])[0] } ?? separate[0].tensor
    return cut(product(x, weight, bias.map { $0.tensor.split(sizes)[0] }))
  }

  private func projectedContext(_ context: Tensor) -> (keys: Tensor, values: Tensor) {
    guard let input else {
      let biases = bias.map { $0.tensor.split(sizes) }
      let both = (1...2).map { cut(product(context, separate[$0].tensor, biases?[$0])) }
      return (both[0], both[1])
    }
    let weight = input.tensor.split([width, 2 * inner])[1]
    let both = product(context, weight, bias.map { $0.tensor.split([width, 2 * inner])[1] })
      .chunked(into: 2, axis: -1).map(cut)
    return (both[0], both[1])
  }

  private var inner: Int { width / heads * keyHeads }
  private var sizes: [Int] { [width, inner, inner] }

  private func cut(_ y: Tensor) -> Tensor {
    let one = width / heads
    return y.reshaped([y.shape[0], y.shape[1], y.shape[2] / one, one])
  }

  private func product(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) -> Tensor {
    let y = x.matmul(weight, transposeOther: true)
    return bias.map { y + $0 } ?? y
  }
}

extension Tensor {
  /// What is wrong where this is not `[n, t, width]` of floats; nil where it is, or is poisoned already.
  func mistake(ofSequences width: Int, _ name: String) -> ApusError? {
    if isPoisoned || rank == 3 && shape[2] == width && dtype.isFloat { return nil }
    return ApusError(
      .shapeMismatch, "\(name) is given \(type)", expected: "floats [n,t,\(width)]")
  }

  /// What is wrong where this is not `[n, t]` token numbers, t at most `longest`.
  func mistake(ofTokens longest: Int?, _ name: String) -> ApusError? {
    if isPoisoned { return nil }
    guard rank == 2, dtype.isInteger else {
      return ApusError(
        dtype.isInteger ? .shapeMismatch : .dtypeMismatch, "\(name) is given \(type)",
        expected: "token numbers: integers [n,t]")
    }
    guard let longest, shape[1] > longest else { return nil }
    return ApusError(
      .shapeMismatch, "\(name) is given \(shape[1]) tokens a row",
      expected: "at most \(longest), as it has positions")
  }
}
