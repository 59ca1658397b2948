// The sizes of a GPT-2, and its config.json.

import ApusGraph

extension GPT2 {
  /// The sizes and settings of a GPT-2, by default those of the smallest published one (124 million parameters).
  public struct Configuration: ModelConfiguration {
    /// Different tokens.
    public var vocabulary: Int
    /// The most tokens of a row.
    public var length: Int
    public var width: Int
    public var layers: Int
    public var heads: Int
    /// Units between the two products of a layer.
    public var hidden: Int
    public var activation: FeedForwardActivation
    /// Of what a layer adds.
    public var dropout: Double
    public var embeddingDropout: Double
    public var attentionDropout: Double
    /// Of the normalisations.
    public var epsilon: Double
    /// The deviation of first values.
    public var initializerRange: Double
    /// Whether the scores use the table of tokens.
    public var tiesScores: Bool
    /// The token that ends a text.
    public var endToken: Int?

    /// - `hidden`: four times the width by default.
    /// - `dropout`: of all three kinds.
    public init(
      vocabulary: Int = 50_257, length: Int = 1024, width: Int = 768, layers: Int = 12,
      heads: Int = 12, hidden: Int? = nil, activation: FeedForwardActivation = .geluTanh,
      dropout: Double = 0.1, epsilon: Double = 1e-5, initializerRange: Double = 0.02,
      tiesScores: Bool = true, endToken: Int? = nil
    ) {
      self.vocabulary = vocabulary
      self.length = length
      self.width = width
      self.layers = layers
      self.heads = heads
      self.hidden = hidden ?? width.multipliedReportingOverflow(by: 4).partialValue
      self.activation = activation
      (self.dropout, embeddingDropout, attentionDropout) = (dropout, dropout, dropout)
      self.epsilon = epsilon
      self.initializerRange = initializerRange
      self.tiesScores = tiesScores
      self.endToken = endToken
    }

    public init(json text: String, at path: String? = nil) throws {
      let reader = try ConfigurationReader(text, at: path, type: "gpt2")
      try reader.require("scale_attn_weights", true)
      try reader.require("scale_attn_by_inverse_layer_idx", false)
      try reader.require("add_cross_attention", false)
      self.init()
      vocabulary = try reader.count("vocab_size", default: vocabulary)
      length = try reader.count("n_positions", "n_ctx", default: length)
      width = try reader.count("n_embd", default: width)
      layers = try reader.count("n_layer", default: layers, least: 0)
      heads = try reader.count("n_head", default: heads)
      hidden = try reader.count("n_inner", default: 4 * width)
      activation = try reader.activation("activation_function", default: "gelu_new").function
      dropout = try reader.probability("resid_pdrop", default: dropout)
      embeddingDropout = try reader.probability("embd_pdrop", default: embeddingDropout)
      attentionDropout = try reader.probability("attn_pdrop", default: attentionDropout)
      epsilon = try reader.positive("layer_norm_epsilon", default: epsilon)
      initializerRange = try reader.positive("initializer_range", default: initializerRange)
      tiesScores = try reader.flag("tie_word_embeddings", default: true)
      endToken = try reader.token("eos_token_id")
      try validate(at: path)
    }

    public var json: String {
      JSON.object([
        ("architectures", ["GPT2LMHeadModel"]), ("model_type", "gpt2"),
        ("vocab_size", .integer(vocabulary)), ("n_positions", .integer(length)),
        ("n_embd", .integer(width)), ("n_layer", .integer(layers)), ("n_head", .integer(heads)),
        ("n_inner", .integer(hidden)),
        ("activation_function", .string(activation.configurationName)),
        ("resid_pdrop", .number(dropout)), ("embd_pdrop", .number(embeddingDropout)),
        ("attn_pdrop", .number(attentionDropout)), ("layer_norm_epsilon", .number(epsilon)),
        ("initializer_range", .number(initializerRange)),
        ("tie_word_embeddings", .bool(tiesScores)),
        ("bos_token_id", endToken.map { .integer($0) } ?? .null),
        ("eos_token_id", endToken.map { .integer($0) } ?? .null),
      ]).text
    }

    public func validate() throws {
      try validate(
        "GPT2", width: width, heads: heads, keyHeads: heads,
        sizes: ["vocabulary": vocabulary, "length": length, "width": width, "hidden": hidden],
        layers: layers)
      try validateRates(
        "GPT2", dropouts: [dropout, embeddingDropout, attentionDropout],
        positives: ["epsilon": epsilon, "initializerRange": initializerRange])
      guard activation != .swiGLU else {
        throw ApusError(
          .unsupported, "GPT2: the activation is swiGLU", expected: "one with two products")
      }
    }
  }
}

extension ModelConfiguration {
  /// What is wrong with it, for a model that cannot throw yet.
  var mistake: ApusError? {
    do {
      try validate()
      return nil
    } catch { return asApusError(error) }
  }

  func validate(at path: String?) throws {
    if let mistake { throw path.map { mistake.located(at: $0) } ?? mistake }
  }

  func validateRates(
    _ name: String, dropouts: [Double], positives: KeyValuePairs<String, Double>
  ) throws {
    for rate in dropouts where !(0..<1).contains(rate) {
      throw ApusError(.invalidArgument, "\(name): dropout is \(rate)", expected: "0 up to 1")
    }
    for (key, value) in positives where !(value > 0 && value.isFinite) {
      throw ApusError(.invalidArgument, "\(name): \(key) is \(value)", expected: "a number above 0")
    }
  }
}
