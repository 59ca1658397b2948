// What the layers of all transformers are made of: the choice of normalisation and activation, and the two layers
// that follow from it.

import ApusGraph
import ApusOps

/// The normalisation in a transformer's layers.
public enum TransformerNorm: Sendable, Hashable {
  /// ``LayerNorm``.
  case layer(epsilon: Double = 1e-5)
  /// ``RMSNorm``.
  case rms(epsilon: Double = 1e-6)
}

/// The activation between the two products of a transformer's feed-forward part.
public enum FeedForwardActivation: String, Sendable, Hashable, CaseIterable {
  case relu, gelu, geluTanh, silu
  /// `silu(x·W₁ᵀ) · x·W₃ᵀ`, with a third product: Shazeer 2020, "GLU Variants Improve Transformer".
  case swiGLU

  func applied(to x: Tensor) -> Tensor { activated(x, by: self) }
}

/// Outside of the enumeration, whose cases have the functions' names.
private func activated(_ x: Tensor, by activation: FeedForwardActivation) -> Tensor {
  switch activation {
  case .relu: relu(x)
  case .gelu: gelu(x)
  case .geluTanh: geluTanh(x)
  case .silu, .swiGLU: silu(x)
  }
}

/// A normalisation of either kind, under PyTorch's names.
struct BlockNorm: Layer, Sendable {
  let scope = Scope()
  let kind: TransformerNorm
  let weight: Parameter
  let bias: Parameter?

  init(_ width: Int, _ kind: TransformerNorm, bias: Bool = true) {
    self.kind = kind
    weight = Parameter([width], .ones)
    if case .layer = kind, bias { self.bias = Parameter([width], .zeros) } else { self.bias = nil }
  }

  func forward(_ x: Tensor) -> Tensor {
    switch kind {
    case .layer(let epsilon):
      layerNorm(x, gamma: weight.tensor, beta: bias?.tensor, epsilon: epsilon)
    case .rms(let epsilon): rmsNorm(x, gamma: weight.tensor, epsilon: epsilon)
    }
  }
}

/// How the layers of a transformer are made; one value for all layers of a stack.
///
///     let settings = TransformerSettings(384, heads: 6, activation: .geluTanh, normFirst: true)
///     let encoder = TransformerEncoder(layers: 6, settings)
public struct TransformerSettings: Sendable, Hashable {
  /// Of the tokens' vectors.
  public var width: Int
  public var heads: Int
  /// Heads of keys and values.
  public var keyHeads: Int
  /// Units between the two products of the feed-forward part.
  public var hidden: Int
  public var activation: FeedForwardActivation
  /// The probability with which elements are dropped: of attention's weights, of the hidden units, of what is
  /// added to the tokens.
  public var dropout: Double
  /// Whether parts are normalised before (Xiong et al. 2020) or, as of 2017, after what they add.
  public var normFirst: Bool
  public var norm: TransformerNorm
  /// Whether products and normalisations have biases.
  public var bias: Bool

  /// - `width`: a multiple of `heads`.
  /// - `hidden`: four times the width by default.
  ///
  /// The defaults are those of PyTorch's `nn.TransformerEncoderLayer` but for `hidden`, which is 2048 there.
  public init(
    _ width: Int, heads: Int, keyHeads: Int? = nil, hidden: Int? = nil,
    activation: FeedForwardActivation = .relu, dropout: Double = 0.1, normFirst: Bool = false,
    norm: TransformerNorm = .layer(), bias: Bool = true
  ) {
    self.width = width
    self.heads = heads
    self.keyHeads = keyHeads ?? heads
    self.hidden = hidden ?? width.multipliedReportingOverflow(by: 4).partialValue
    self.activation = activation
    self.dropout = dropout
    self.normFirst = normFirst
    self.norm = norm
    self.bias = bias
  }

  /// What is wrong beside what the attention finds.
  var mistake: ApusError? {
    let most = 1 << 24
    if (1...most).contains(hidden), (0..<1).contains(dropout) { return nil }
    return ApusError(
      .invalidArgument, "a transformer's layer has \(hidden) hidden units and dropout \(dropout)",
      expected: "1 to \(most) units and 0 ≤ dropout < 1")
  }

  func attention() -> MultiHeadAttention {
    MultiHeadAttention(width, heads: heads, keyHeads: keyHeads, bias: bias, dropout: dropout)
  }

  /// A normalisation; of one element where the width makes no sense, which the attention tells.
  func normalization() -> BlockNorm { BlockNorm(min(max(width, 1), 1 << 24), norm, bias: bias) }
}

/// The feed-forward part of a layer: `linear2(drop(activation(linear1(x))))`. Its layers stand in the layer itself, as
/// in PyTorch.
struct FeedForward: Module, Sendable {
  let first: Linear
  let second: Linear
  let third: Linear?
  let drop: Dropout
  let activation: FeedForwardActivation

  init(_ settings: TransformerSettings) {
    let width = min(max(settings.width, 1), 1 << 24)
    let hidden = min(max(settings.hidden, 1), 1 << 24)
    first = Linear(width, hidden, bias: settings.bias)
    second = Linear(hidden, width, bias: settings.bias)
    third = settings.activation == .swiGLU ? Linear(width, hidden, bias: settings.bias) : nil
    drop = Dropout(settings.dropout)
    activation = settings.activation
  }

  var parts: [(name: String, value: Any)] {
    [("linear1", first), ("linear2", second)] + (third.map { [("linear3", $0)] } ?? [])
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    var hidden = activation.applied(to: first(x))
    if let third { hidden = hidden * third(x) }
    return second(drop(hidden))
  }
}
