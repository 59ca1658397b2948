// Llama: a decoder with rotary positions and gated feed-forward parts.

import ApusGraph
import ApusOps

/// A decoder of Llama's kind (Touvron et al. 2023, "LLaMA: Open and Efficient Foundation Language Models"): integers
/// `[n, t]` → logits `[n, t, vocabulary]`.
///
///     tokens → layers × (RMSNorm, rotary attention, RMSNorm, SwiGLU) → RMSNorm → scores
///
///     let llama = try Llama(contentsOf: "TinyLlama")                   // a folder of Hugging Face
///     let small = Llama(.init(vocabulary: 96, length: 256, width: 384, hidden: 1024, layers: 6, heads: 6, keyHeads: 2))
///
/// Names are those of `LlamaForCausalLM` (`model.layers.0.self_attn.q_proj.weight`, …). Several heads of queries share
/// one of keys where there are fewer of those.
public struct Llama: CausalLanguageModel, PretrainedModel, Sendable {
  public let configuration: Configuration
  private let scope = Scope()
  private let tokens: Embedding
  private let blocks: [Block]
  private let norm: RMSNorm
  private let head: TokenScores
  private let fault: ApusError?

  public init(_ configuration: Configuration) {
    self.configuration = configuration
    fault = configuration.mistake
    let c =
      fault == nil
      ? configuration
      : Configuration(vocabulary: 1, length: 1, width: 2, hidden: 1, layers: 0, heads: 1)
    let initial = Initializer.normal(mean: 0, deviation: c.initializerRange)
    tokens = Embedding(c.vocabulary, c.width, initializer: initial)
    blocks = (0..<c.layers).map { _ in Block(c) }
    norm = RMSNorm(c.width, epsilon: c.epsilon)
    head = TokenScores(
      weight: c.tiesScores ? tokens.weight.tied() : Parameter([c.vocabulary, c.width], initial))
  }

  public var parts: [(name: String, value: Any)] {
    let body = NamedParts(["embed_tokens": tokens, "layers": blocks, "norm": norm])
    return [("scope", scope), ("model", body), ("lm_head", head)]
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
    if let mistake = fault ?? ids.mistake(ofTokens: configuration.length, "Llama") {
      return .poisoned(mistake, like: tokens.weight.tensor)
    }
    var x = tokens(ids)
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
      KeyValueCache(batch: batch, length: length, heads: c.keyHeads, width: c.headWidth)
    }
  }

  public static func path(ofStored name: String) -> String? {
    let path = prefixed(name, "model.", besides: ["lm_head."])
    // Tables of rotations in old files.
    return path.hasSuffix(".rotary_emb.inv_freq") ? nil : path
  }

  /// One layer: `x + attention(norm(x))`, `x + down(silu(gate(y)) · up(y))`.
  struct Block: Module, Sendable {
    let scope = Scope()
    private let settings: Configuration
    private let query, key, value, attentionOutput, gate, up, down: Linear
    private let norm1, norm2: RMSNorm

    init(_ c: Configuration) {
      settings = c
      func linear(_ inputs: Int, _ outputs: Int, _ bias: Bool) -> Linear {
        let initial = Initializer.normal(mean: 0, deviation: c.initializerRange)
        return Linear(inputs, outputs, initializer: initial, bias: bias ? .zeros : nil)
      }
      let (own, shared) = (c.heads * c.headWidth, c.keyHeads * c.headWidth)
      query = linear(c.width, own, c.attentionBias)
      key = linear(c.width, shared, c.attentionBias)
      value = linear(c.width, shared, c.attentionBias)
      attentionOutput = linear(own, c.width, c.attentionBias)
      gate = linear(c.width, c.hidden, c.feedForwardBias)
      up = linear(c.width, c.hidden, c.feedForwardBias)
      down = linear(c.hidden, c.width, c.feedForwardBias)
      norm1 = RMSNorm(c.width, epsilon: c.epsilon)
      norm2 = RMSNorm(c.width, epsilon: c.epsilon)
    }

    var parts: [(name: String, value: Any)] {
      [
        ("scope", scope), ("input_layernorm", norm1),
        (
          "self_attn",
          NamedParts([
            "q_proj": query, "k_proj": key, "v_proj": value, "o_proj": attentionOutput,
          ])
        ), ("post_attention_layernorm", norm2),
        ("mlp", NamedParts(["gate_proj": gate, "up_proj": up, "down_proj": down])),
      ]
    }

    func callAsFunction(_ x: Tensor, _ place: CachedPlace?) -> Tensor {
      scoped {
        let (n, t, width) = (x.shape[0], x.shape[1], settings.headWidth)
        let normed = norm1(x)
        func heads(_ layer: Linear, _ count: Int) -> Tensor {
          layer(normed).reshaped([n, t, count, width])
        }
        let positions = place.map { Tensor.arange(to: Double(t)) + $0.position }
        func turned(_ x: Tensor) -> Tensor {
          rotaryPositions(x, base: Float(settings.rotaryBase), positions: positions)
        }
        let attended = causalAttention(
          turned(heads(query, settings.heads)), turned(heads(key, settings.keyHeads)),
          heads(value, settings.keyHeads), place, dropout: settings.attentionDropout)
        let y = x + attentionOutput(attended.reshaped([n, t, settings.heads * width]))
        let z = norm2(y)
        return y + down(silu(gate(z)) * up(z))
      }
    }
  }
}
