// GPT-2: a decoder of self-attention, as published by OpenAI.

import ApusGraph
import ApusOps

/// GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): integers `[n, t]` → logits
/// `[n, t, vocabulary]`.
///
///     tokens + positions → layers × (LayerNorm, attention, LayerNorm, 4·width, GELU) → LayerNorm → scores
///
///     let gpt = try GPT2(contentsOf: "gpt2")                           // a folder of Hugging Face
///     let small = GPT2(.init(vocabulary: 96, length: 256, width: 384, layers: 6, heads: 6))
///     let loss = crossEntropy(small(batch.tokens), batch.next)
///
/// Names are those of `GPT2LMHeadModel` (`transformer.h.0.attn.c_attn.weight`, …), whose weights of products lie
/// `[in, out]`. The scores use the table of tokens (`lm_head.weight` is tied to it) unless the configuration says
/// otherwise. First values are the paper's: N(0, 0.02²), those that end a residual branch divided by √(2·layers).
public struct GPT2: CausalLanguageModel, PretrainedModel, Sendable {
  public let configuration: Configuration
  private let scope = Scope()
  private let tokens: Embedding
  private let positions: Embedding
  private let blocks: [Block]
  private let norm: LayerNorm
  private let head: TokenScores
  private let drop: Dropout
  private let fault: ApusError?

  public init(_ configuration: Configuration) {
    self.configuration = configuration
    fault = configuration.mistake
    let c =
      fault == nil
      ? configuration : Configuration(vocabulary: 1, length: 1, width: 1, layers: 0, heads: 1)
    let initial = Initializer.normal(mean: 0, deviation: c.initializerRange)
    tokens = Embedding(c.vocabulary, c.width, initializer: initial)
    positions = Embedding(c.length, c.width, initializer: initial)
    blocks = (0..<c.layers).map { _ in Block(c) }
    norm = LayerNorm(c.width, epsilon: c.epsilon)
    head = TokenScores(
      weight: c.tiesScores ? tokens.weight.tied() : Parameter([c.vocabulary, c.width], initial))
    drop = Dropout(c.embeddingDropout)
  }

  public var parts: [(name: String, value: Any)] {
    let body = NamedParts([
      "wte": tokens, "wpe": positions, "drop": drop, "h": blocks, "ln_f": norm,
    ])
    return [("scope", scope), ("transformer", body), ("lm_head", head)]
      + (fault.map { [("configuration", $0)] } ?? [])
  }

  public var vocabularySize: Int { configuration.vocabulary }
  public var maximumLength: Int { configuration.length }

  public func logits(_ tokens: Tensor) -> Tensor { scoped { head(hidden(tokens, nil, nil)) } }

  public func logits(_ tokens: Tensor, caches: [KeyValueCache], at position: Tensor) -> Tensor {
    scoped { head(hidden(tokens, caches, position)) }
  }

  /// What the scores are made from, after the last normalisation: integers `[n, t]` → `[n, t, width]`.
  public func hiddenStates(_ tokens: Tensor) -> Tensor { scoped { hidden(tokens, nil, nil) } }

  private func hidden(_ ids: Tensor, _ caches: [KeyValueCache]?, _ position: Tensor?) -> Tensor {
    if let mistake = fault ?? ids.mistake(ofTokens: configuration.length, "GPT2") {
      return .poisoned(mistake, like: positions.weight.tensor)
    }
    let count = ids.shape[1]
    let place =
      if let position {
        positions(Tensor.arange(to: Double(count)) + position)
      } else {
        positions.weight.tensor.sliced(axis: 0, to: count)
      }
    var x = drop(tokens(ids) + place)
    for (index, block) in blocks.enumerated() {
      let cached = position.flatMap { position in
        caches.map { CachedPlace(cache: $0[index], position: position) }
      }
      x = block(x, cached)
    }
    return norm(x)
  }

  public func makeCaches(batch: Int, length: Int) -> [KeyValueCache] {
    let c = configuration
    return blocks.map { _ in
      KeyValueCache(batch: batch, length: length, heads: c.heads, width: c.width / c.heads)
    }
  }

  public static func path(ofStored name: String) -> String? {
    let path = prefixed(name, "transformer.", besides: ["lm_head."])
    // Tables of the causal mask in old files.
    let isMask = path.hasSuffix(".attn.bias") || path.hasSuffix(".attn.masked_bias")
    return isMask ? nil : path
  }

  /// A product whose weight lies `[in, out]`, as in GPT-2's files (their `Conv1D`).
  struct InputsFirst: Layer, Sendable {
    let scope = Scope()
    let weight: Parameter
    let bias: Parameter

    init(_ inputs: Int, _ outputs: Int, deviation: Double) {
      weight = Parameter([inputs, outputs], .normal(mean: 0, deviation: deviation))
      bias = Parameter([outputs], .zeros)
    }

    func forward(_ x: Tensor) -> Tensor { x.matmul(weight.tensor) + bias.tensor }
  }

  /// One layer: `x + attention(norm(x))`, `x + mlp(norm(x))`.
  struct Block: Module, Sendable {
    let scope = Scope()
    private let heads: Int
    private let attentionDropout: Double
    private let norm1: LayerNorm
    private let queryKeyValue: InputsFirst
    private let attentionOutput: InputsFirst
    private let norm2: LayerNorm
    private let expand: InputsFirst
    private let contract: InputsFirst
    private let drop: Dropout
    private let activation: FeedForwardActivation

    init(_ c: Configuration) {
      let deviation = c.initializerRange
      let ending = deviation / Double(2 * c.layers).squareRoot()
      heads = c.heads
      attentionDropout = c.attentionDropout
      norm1 = LayerNorm(c.width, epsilon: c.epsilon)
      queryKeyValue = InputsFirst(c.width, 3 * c.width, deviation: deviation)
      attentionOutput = InputsFirst(c.width, c.width, deviation: ending)
      norm2 = LayerNorm(c.width, epsilon: c.epsilon)
      expand = InputsFirst(c.width, c.hidden, deviation: deviation)
      contract = InputsFirst(c.hidden, c.width, deviation: ending)
      drop = Dropout(c.dropout)
      activation = c.activation
    }

    var parts: [(name: String, value: Any)] {
      [
        ("scope", scope), ("ln_1", norm1),
        ("attn", NamedParts(["c_attn": queryKeyValue, "c_proj": attentionOutput])), ("ln_2", norm2),
        ("mlp", NamedParts(["c_fc": expand, "c_proj": contract])),
      ]
    }

    func callAsFunction(_ x: Tensor, _ place: CachedPlace?) -> Tensor {
      scoped {
        let (n, t, width) = (x.shape[0], x.shape[1], x.shape[2])
        let all = queryKeyValue(norm1(x)).chunked(into: 3, axis: -1).map {
          $0.reshaped([n, t, heads, width / heads])
        }
        let attended = causalAttention(all[0], all[1], all[2], place, dropout: attentionDropout)
        let y = x + drop(attentionOutput(attended.reshaped([n, t, width])))
        return y + drop(contract(activation.applied(to: expand(norm2(y)))))
      }
    }
  }
}
