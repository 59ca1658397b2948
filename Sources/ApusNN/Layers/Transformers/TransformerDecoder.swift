// The decoder of a transformer: layers of self-attention that look at a memory besides.

import ApusGraph
import ApusOps

/// Self-attention, attention to a memory and a feed-forward part, each added to its input: `[n, t, width]` → the same.
///
///     let layer = TransformerDecoderLayer(.init(512, heads: 8))
///     let y = layer(x, memory: memory, seeing: .causal, memorySeeing: .lengths(lengths))
///
/// Parameters have the names and shapes of PyTorch's `nn.TransformerDecoderLayer` (`self_attn`, `multihead_attn`,
/// `linear1`, `linear2`, `norm1` to `norm3`).
public struct TransformerDecoderLayer: Module, Sendable {
  let scope = Scope()
  public let settings: TransformerSettings
  public let attention: MultiHeadAttention
  /// To the memory.
  public let crossAttention: MultiHeadAttention
  private let feedForward: FeedForward
  private let norms: [BlockNorm]
  private let drop: Dropout

  public init(_ settings: TransformerSettings) {
    self.settings = settings
    attention = settings.attention()
    crossAttention = settings.attention()
    feedForward = FeedForward(settings)
    norms = (0..<3).map { _ in settings.normalization() }
    drop = Dropout(settings.dropout)
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("self_attn", attention), ("multihead_attn", crossAttention)]
      + feedForward.parts + norms.enumerated().map { ("norm\($0.offset + 1)", $0.element) }
      + (settings.mistake.map { [("settings", $0)] } ?? [])
  }

  /// - `memory`: what an encoder made, `[n, keys, width]`.
  /// - `pattern`: what tokens see of each other.
  /// - `memoryPattern`: what they see of the memory.
  public func callAsFunction(
    _ x: Tensor, memory: Tensor, seeing pattern: AttentionPattern = .causal,
    memorySeeing memoryPattern: AttentionPattern = .all, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      applied(
        x, attend: { attention($0, seeing: pattern) },
        look: { crossAttention($0, context: memory, seeing: memoryPattern) })
    }
  }

  /// Tokens that follow those of a cache: `[rows, count, width]` → the same.
  func callAsFunction(
    _ x: Tensor, cache: TransformerDecoderCache.Layer, memoryLengths: Tensor, at position: Tensor
  ) -> Tensor {
    scoped {
      applied(
        x, attend: { attention($0, cache: cache.own, at: position) },
        look: {
          crossAttention.attended(
            $0, keys: cache.keys.tensor, values: cache.values.tensor, lengths: memoryLengths)
        })
    }
  }

  /// The layer's way, whatever its attentions read.
  private func applied(
    _ x: Tensor, attend: (Tensor) -> Tensor, look: (Tensor) -> Tensor
  ) -> Tensor {
    if settings.normFirst {
      let y = x + drop(attend(norms[0](x)))
      let z = y + drop(look(norms[1](y)))
      return z + drop(feedForward(norms[2](z)))
    }
    let y = norms[0](x + drop(attend(x)))
    let z = norms[1](y + drop(look(y)))
    return norms[2](z + drop(feedForward(z)))
  }
}

/// Decoder layers one after the other, which all look at one memory: `[n, t, width]` → the same.
///
///     let y = decoder(embedded, memory: encoder(x), seeing: .causal)
///
/// Names are those of `nn.TransformerDecoder`.
public struct TransformerDecoder: Module, Sendable {
  let scope = Scope()
  public let layers: [TransformerDecoderLayer]
  let settings: TransformerSettings
  private let norm: BlockNorm?
  private let fault: ApusError?

  /// - `count`: layers, 0 to 65,536; another number is thrown by what initialises or records it.
  /// - `finalNorm`: whether the result is normalised; by default where the layers normalise first.
  public init(layers count: Int, _ settings: TransformerSettings, finalNorm: Bool? = nil) {
    self.settings = settings
    fault = layerCountMistake(count)
    layers = (0..<(fault == nil ? count : 0)).map { _ in TransformerDecoderLayer(settings) }
    norm = finalNorm ?? settings.normFirst ? settings.normalization() : nil
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope), ("layers", layers), ("norm", norm as Any)]
      + (fault.map { [("count", $0)] } ?? [])
  }

  /// As that of ``TransformerDecoderLayer``.
  public func callAsFunction(
    _ x: Tensor, memory: Tensor, seeing pattern: AttentionPattern = .causal,
    memorySeeing memoryPattern: AttentionPattern = .all, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      if let fault { x.trace.record(fault) }
      return normalized(
        layers.reduce(x) { $1($0, memory: memory, seeing: pattern, memorySeeing: memoryPattern) })
    }
  }

  func normalized(_ x: Tensor) -> Tensor { norm?(x) ?? x }
}
