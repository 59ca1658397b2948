// The sizes of a BERT, and its config.json.

import ApusGraph

extension BERT {
  /// The sizes and settings of a BERT, by default those of the published base model (110 million parameters).
  public struct Configuration: ModelConfiguration {
    /// Different tokens.
    public var vocabulary: Int
    /// The most tokens of a row.
    public var length: Int
    /// Kinds of tokens: first text or second.
    public var types: Int
    public var width: Int
    public var layers: Int
    public var heads: Int
    /// Units between the two products of a layer.
    public var hidden: Int
    public var activation: FeedForwardActivation
    public var dropout: Double
    public var attentionDropout: Double
    /// Of the normalisations.
    public var epsilon: Double
    /// The deviation of first values.
    public var initializerRange: Double
    /// Whether the head uses the table of tokens.
    public var tiesScores: Bool
    /// Whether it has what ``BERT/pooled(_:file:line:)`` needs.
    public var hasPooler: Bool
    /// Whether it has what ``BERT/tokenLogits(_:file:line:)`` needs.
    public var hasTokenHead: Bool

    /// - `hidden`: four times the width by default.
    /// - `dropout`: of both kinds.
    public init(
      vocabulary: Int = 30_522, length: Int = 512, types: Int = 2, width: Int = 768,
      layers: Int = 12, heads: Int = 12, hidden: Int? = nil,
      activation: FeedForwardActivation = .gelu, dropout: Double = 0.1, epsilon: Double = 1e-12,
      initializerRange: Double = 0.02, tiesScores: Bool = true, hasPooler: Bool = false,
      hasTokenHead: Bool = true
    ) {
      self.vocabulary = vocabulary
      self.length = length
      self.types = types
      self.width = width
      self.layers = layers
      self.heads = heads
      self.hidden = hidden ?? width.multipliedReportingOverflow(by: 4).partialValue
      self.activation = activation
      (self.dropout, attentionDropout) = (dropout, dropout)
      self.epsilon = epsilon
      self.initializerRange = initializerRange
      self.tiesScores = tiesScores
      self.hasPooler = hasPooler
      self.hasTokenHead = hasTokenHead
    }

    public init(json text: String, at path: String? = nil) throws {
      let reader = try ConfigurationReader(text, at: path, type: "bert")
      try reader.require("position_embedding_type", "absolute")
      try reader.require("is_decoder", false)
      self.init()
      vocabulary = try reader.count("vocab_size", default: vocabulary)
      length = try reader.count("max_position_embeddings", default: length)
      types = try reader.count("type_vocab_size", default: types)
      width = try reader.count("hidden_size", default: width)
      layers = try reader.count("num_hidden_layers", default: layers, least: 0)
      heads = try reader.count("num_attention_heads", default: heads)
      hidden = try reader.count("intermediate_size", default: hidden)
      activation = try reader.activation("hidden_act", default: "gelu").function
      dropout = try reader.probability("hidden_dropout_prob", default: dropout)
      attentionDropout = try reader.probability(
        "attention_probs_dropout_prob", default: attentionDropout)
      epsilon = try reader.positive("layer_norm_eps", default: epsilon)
      initializerRange = try reader.positive("initializer_range", default: initializerRange)
      tiesScores = try reader.flag("tie_word_embeddings", default: true)
      hasPooler = reader.architecture != "BertForMaskedLM"
      hasTokenHead = ["BertForMaskedLM", "BertForPreTraining"].contains(reader.architecture)
      try validate(at: path)
    }

    public var json: String {
      json(
        architecture: hasTokenHead
          ? (hasPooler ? "BertForPreTraining" : "BertForMaskedLM") : "BertModel")
    }

    /// - `architecture`: the class of `transformers` that has the model's parts.
    func json(architecture: String) -> String {
      JSON.object([
        ("architectures", [.string(architecture)]), ("model_type", "bert"),
        ("vocab_size", .integer(vocabulary)), ("max_position_embeddings", .integer(length)),
        ("type_vocab_size", .integer(types)), ("hidden_size", .integer(width)),
        ("num_hidden_layers", .integer(layers)), ("num_attention_heads", .integer(heads)),
        ("intermediate_size", .integer(hidden)),
        ("hidden_act", .string(activation.configurationName)),
        ("hidden_dropout_prob", .number(dropout)),
        ("attention_probs_dropout_prob", .number(attentionDropout)),
        ("layer_norm_eps", .number(epsilon)), ("initializer_range", .number(initializerRange)),
        ("tie_word_embeddings", .bool(tiesScores)), ("position_embedding_type", "absolute"),
      ]).text
    }

    public func validate() throws {
      try validate(
        "BERT", width: width, heads: heads, keyHeads: heads,
        sizes: [
          "vocabulary": vocabulary, "length": length, "types": types, "width": width,
          "hidden": hidden,
        ], layers: layers)
      try validateRates(
        "BERT", dropouts: [dropout, attentionDropout],
        positives: ["epsilon": epsilon, "initializerRange": initializerRange])
      guard activation != .swiGLU else {
        throw ApusError(
          .unsupported, "BERT: the activation is swiGLU", expected: "one with two products")
      }
    }
  }
}
