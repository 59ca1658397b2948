// The encoder of a transformer: layers of self-attention.

import ApusGraph
import ApusOps

/// Self-attention and a feed-forward part, each added to its input: `[n, t, width]` → the same.
///
///     normFirst:   x ← x + attention(norm1(x));        x ← x + feedForward(norm2(x))
///     otherwise:   x ← norm1(x + attention(x));        x ← norm2(x + feedForward(x))
///
///     let layer = TransformerEncoderLayer(.init(384, heads: 6, activation: .gelu))
///     let y = layer(x, seeing: .lengths(batch.lengths))
///
/// Parameters have the names and shapes of PyTorch's `nn.TransformerEncoderLayer` (`self_attn.in_proj_weight`, …,
/// `linear1`, `linear2`, `norm1`, `norm2`); `linear3` is the third product of SwiGLU.
public struct TransformerEncoderLayer: Module, Sendable {
  let scope = Scope()
  public let settings: TransformerSettings
  public let attention: MultiHeadAttention
  private let feedForward: FeedForward
  private let norms: [BlockNorm]
  private let drop: Dropout

  public init(_ settings: TransformerSettings) {
    self.settings = settings
    attention = settings.attention()
    feedForward = FeedForward(settings)
    norms = [settings.normalization(), settings.normalization()]
    drop = Dropout(settings.dropout)
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("self_attn", attention)] + feedForward.parts
      + [("norm1", norms[0]), ("norm2", norms[1])]
      + (settings.mistake.map { [("settings", $0)] } ?? [])
  }

  public func callAsFunction(
    _ x: Tensor, seeing pattern: AttentionPattern = .all, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      if settings.normFirst {
        let y = x + drop(attention(norms[0](x), seeing: pattern))
        return y + drop(feedForward(norms[1](y)))
      }
      let y = norms[0](x + drop(attention(x, seeing: pattern)))
      return norms[1](y + drop(feedForward(y)))
    }
  }
}

/// Encoder layers one after the other: `[n, t, width]` → the same.
///
///     let encoder = TransformerEncoder(layers: 6, .init(512, heads: 8))
///     let memory = encoder(x, seeing: .lengths(lengths))
///
/// Names are those of `nn.TransformerEncoder`: `layers.0.self_attn.…`, and `norm` where there is one at the end.
public struct TransformerEncoder: Module, Sendable {
  let scope = Scope()
  public let layers: [TransformerEncoderLayer]
  private let norm: BlockNorm?
  private let fault: ApusError?

  /// - `count`: layers, 0 to 65,536; another number is thrown by what initialises or records it.
  /// - `finalNorm`: whether the result is normalised; by default where the layers normalise first.
  public init(layers count: Int, _ settings: TransformerSettings, finalNorm: Bool? = nil) {
    fault = layerCountMistake(count)
    layers = (0..<(fault == nil ? count : 0)).map { _ in TransformerEncoderLayer(settings) }
    norm = finalNorm ?? settings.normFirst ? settings.normalization() : nil
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("layers", layers), ("norm", norm as Any)]
      + (fault.map { [("count", $0)] } ?? [])
  }

  public func callAsFunction(
    _ x: Tensor, seeing pattern: AttentionPattern = .all, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      if let fault { x.trace.record(fault) }
      let y = layers.reduce(x) { $1($0, seeing: pattern) }
      return norm?(y) ?? y
    }
  }
}

/// What is wrong with a number of layers.
func layerCountMistake(_ count: Int) -> ApusError? {
  (0...65_536).contains(count)
    ? nil
    : ApusError(.invalidArgument, "a transformer of \(count) layers", expected: "0 to 65536")
}
