// The sizes of a Llama, and its config.json.

import ApusGraph

extension Llama {
  /// The sizes and settings of a Llama, by default those of the first one of seven thousand million parameters.
  public struct Configuration: ModelConfiguration {
    /// Different tokens.
    public var vocabulary: Int
    /// The most tokens of a row.
    public var length: Int
    public var width: Int
    /// Units of the feed-forward parts.
    public var hidden: Int
    public var layers: Int
    public var heads: Int
    /// Heads of keys and values.
    public var keyHeads: Int
    /// Of one head; even.
    public var headWidth: Int
    /// Of the normalisations.
    public var epsilon: Double
    /// The base of the rotations' rates.
    public var rotaryBase: Double
    public var attentionDropout: Double
    public var attentionBias: Bool
    public var feedForwardBias: Bool
    /// The deviation of first values.
    public var initializerRange: Double
    /// Whether the scores use the table of tokens.
    public var tiesScores: Bool
    /// The token that ends a text.
    public var endToken: Int?

    /// - `keyHeads`: as many as heads by default.
    /// - `headWidth`: the width over the heads by default.
    public init(
      vocabulary: Int = 32_000, length: Int = 2048, width: Int = 4096, hidden: Int = 11_008,
      layers: Int = 32, heads: Int = 32, keyHeads: Int? = nil, headWidth: Int? = nil,
      epsilon: Double = 1e-6, rotaryBase: Double = 10_000, initializerRange: Double = 0.02,
      tiesScores: Bool = false, endToken: Int? = nil
    ) {
      self.vocabulary = vocabulary
      self.length = length
      self.width = width
      self.hidden = hidden
      self.layers = layers
      self.heads = heads
      self.keyHeads = keyHeads ?? heads
      self.headWidth = headWidth ?? width / max(heads, 1)
      self.epsilon = epsilon
      self.rotaryBase = rotaryBase
      (attentionDropout, attentionBias, feedForwardBias) = (0, false, false)
      self.initializerRange = initializerRange
      self.tiesScores = tiesScores
      self.endToken = endToken
    }

    public init(json text: String, at path: String? = nil) throws {
      let reader = try ConfigurationReader(text, at: path, type: "llama")
      try reader.require("hidden_act", "silu", "swish")
      try reader.require("rope_scaling")
      try reader.require("pretraining_tp", 1)
      if let kind = reader.nested("rope_parameters", "rope_type"), kind != "default" {
        throw reader.error(
          .unsupported, "'rope_parameters.rope_type' is \(kind.text)", "\"default\"")
      }
      self.init()
      vocabulary = try reader.count("vocab_size", default: vocabulary)
      length = try reader.count("max_position_embeddings", default: length)
      width = try reader.count("hidden_size", default: width)
      hidden = try reader.count("intermediate_size", default: hidden)
      layers = try reader.count("num_hidden_layers", default: layers, least: 0)
      heads = try reader.count("num_attention_heads", default: heads)
      keyHeads = try reader.count("num_key_value_heads", default: heads)
      headWidth = try reader.count("head_dim", default: max(width / heads, 1))
      epsilon = try reader.positive("rms_norm_eps", default: epsilon)
      rotaryBase = try reader.positive("rope_theta", default: rotaryBase)
      if let json = reader.nested("rope_parameters", "rope_theta") {
        guard let base = json.double, base > 0, base.isFinite else {
          throw reader.error(
            .invalidArgument, "'rope_parameters.rope_theta' is \(json.text)", "a number above 0")
        }
        rotaryBase = base
      }
      attentionDropout = try reader.probability("attention_dropout", default: 0)
      attentionBias = try reader.flag("attention_bias", default: false)
      feedForwardBias = try reader.flag("mlp_bias", default: false)
      initializerRange = try reader.positive("initializer_range", default: initializerRange)
      tiesScores = try reader.flag("tie_word_embeddings", default: false)
      endToken = try reader.token("eos_token_id")
      try validate(at: path)
    }

    public var json: String {
      JSON.object([
        ("architectures", ["LlamaForCausalLM"]), ("model_type", "llama"),
        ("vocab_size", .integer(vocabulary)), ("max_position_embeddings", .integer(length)),
        ("hidden_size", .integer(width)), ("intermediate_size", .integer(hidden)),
        ("num_hidden_layers", .integer(layers)), ("num_attention_heads", .integer(heads)),
        ("num_key_value_heads", .integer(keyHeads)), ("head_dim", .integer(headWidth)),
        ("hidden_act", "silu"), ("rms_norm_eps", .number(epsilon)),
        ("rope_theta", .number(rotaryBase)), ("attention_dropout", .number(attentionDropout)),
        ("attention_bias", .bool(attentionBias)), ("mlp_bias", .bool(feedForwardBias)),
        ("initializer_range", .number(initializerRange)),
        ("tie_word_embeddings", .bool(tiesScores)),
        ("eos_token_id", endToken.map { .integer($0) } ?? .null),
      ]).text
    }

    public func validate() throws {
      try validate(
        "Llama", width: heads, heads: heads, keyHeads: keyHeads,
        sizes: [
          "vocabulary": vocabulary, "length": length, "width": width, "hidden": hidden,
          "heads": heads, "headWidth": headWidth,
        ], layers: layers)
      guard headWidth % 2 == 0, heads * headWidth <= 1 << 24 else {
        throw ApusError(
          .invalidArgument, "Llama: \(heads) heads of width \(headWidth)",
          expected: "heads of an even width, which rotations turn by pairs")
      }
      try validateRates(
        "Llama", dropouts: [attentionDropout],
        positives: [
          "epsilon": epsilon, "rotaryBase": rotaryBase, "initializerRange": initializerRange,
        ])
    }
  }
}
