// The sizes of an encoder and decoder.

import ApusGraph

extension EncoderDecoderTransformer {
  /// How places of tokens are told.
  public enum Positions: String, Sendable, Hashable, CaseIterable {
    /// Sines and cosines, as of 2017.
    case sinusoidal
    /// A vector for each place.
    case learned
  }

  /// The sizes and settings of an ``EncoderDecoderTransformer``.
  ///
  ///     .init(vocabulary: 8000, length: 96, width: 256, layers: 3, heads: 4)
  ///
  /// Layers are normalised first unless `settings` say otherwise, which learns without a long warm-up (Xiong et al.
  /// 2020).
  public struct Configuration: Sendable, Hashable {
    /// Different tokens of the source.
    public var sourceVocabulary: Int
    /// Different tokens of the target, start and end among them.
    public var targetVocabulary: Int
    /// Whether source and target have one vocabulary and one table of vectors.
    public var sharesVocabulary: Bool
    /// The most tokens of a source.
    public var sourceLength: Int
    /// The most tokens of a target, the end token among them.
    public var targetLength: Int
    public var encoderLayers: Int
    public var decoderLayers: Int
    /// Of the layers of both.
    public var settings: TransformerSettings
    /// Whether what the last layers give is normalised; by default where the layers normalise first. `nn.Transformer`
    /// always does.
    public var finalNorm: Bool?
    public var positions: Positions
    /// Whether the scores use the target's table of vectors (Press & Wolf 2017).
    public var tiesScores: Bool
    /// Whether tokens of the source can be copied (See, Liu & Manning 2017). It needs one vocabulary.
    public var copiesSource: Bool
    /// What the decoder reads before the first token.
    public var startToken: Int
    /// What ends a target.
    public var endToken: Int

    /// - `vocabulary`: of source and target, which share it.
    /// - `length`: the most tokens of either.
    /// - `layers`: of the encoder, and as many of the decoder.
    /// - `hidden`: four times the width by default.
    public init(
      vocabulary: Int, length: Int, width: Int, layers: Int, heads: Int, hidden: Int? = nil,
      activation: FeedForwardActivation = .relu, dropout: Double = 0.1,
      positions: Positions = .sinusoidal, copiesSource: Bool = false, startToken: Int = 0,
      endToken: Int = 1
    ) {
      (sourceVocabulary, targetVocabulary, sharesVocabulary) = (vocabulary, vocabulary, true)
      (sourceLength, targetLength) = (length, length)
      (encoderLayers, decoderLayers) = (layers, layers)
      settings = TransformerSettings(
        width, heads: heads, hidden: hidden, activation: activation, dropout: dropout,
        normFirst: true)
      self.positions = positions
      tiesScores = true
      self.copiesSource = copiesSource
      self.startToken = startToken
      self.endToken = endToken
    }

    /// What is wrong, for a model that cannot throw yet.
    var mistake: ApusError? {
      func refused(_ what: String, _ expected: String) -> ApusError {
        ApusError(.invalidArgument, "EncoderDecoderTransformer: \(what)", expected: expected)
      }
      let most = 1 << 24
      let sizes = [
        ("sourceVocabulary", sourceVocabulary), ("targetVocabulary", targetVocabulary),
        ("sourceLength", sourceLength), ("targetLength", targetLength), ("width", settings.width),
      ]
      if let (name, size) = sizes.first(where: { !(1...most).contains($0.1) }) {
        return refused("\(name) is \(size)", "1 to \(most)")
      }
      guard !sharesVocabulary || sourceVocabulary == targetVocabulary else {
        return refused(
          "one vocabulary is of \(sourceVocabulary) and of \(targetVocabulary) tokens",
          "equal numbers, or sharesVocabulary: false")
      }
      guard !copiesSource || sharesVocabulary else {
        return refused("tokens are copied from another vocabulary", "sharesVocabulary: true")
      }
      let tokens = 0..<targetVocabulary
      guard tokens.contains(startToken), tokens.contains(endToken), startToken != endToken else {
        return refused(
          "the start token is \(startToken), the end token \(endToken)",
          "two tokens below \(targetVocabulary)")
      }
      return nil
    }
  }
}
