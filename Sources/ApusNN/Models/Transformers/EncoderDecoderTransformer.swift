// The transformer as it was first published: an encoder reads a row of tokens, a decoder writes another.

import ApusGraph
import ApusOps

/// Rows of tokens to rows of tokens: Vaswani et al. 2017, "Attention Is All You Need".
///
///     memory = encoder(√width · E[source] + positions)
///     scores = decoder(√width · E'[target so far] + positions, memory) · Wᵀ
///
/// For translation, summaries, transcriptions. A step of training is told what is to be written, and shifts it itself:
/// the decoder reads ``Configuration/startToken`` first and the right token before each place afterwards.
///
///     let model = EncoderDecoderTransformer(.init(vocabulary: 8000, length: 96, width: 256, layers: 3, heads: 4))
///     let step = try TrainingStep(model, optimizer: AdamW(learningRate: 1e-3)) { model, batch in
///       let scores = model(batch.source, lengths: batch.lengths, predicting: batch.target)
///       return crossEntropy(scores, batch.target, labelSmoothing: 0.1)
///     }
///     let generator = try EncoderDecoderGenerator(model)
///     let rows = try generator.generate([[5, 81, 7]])
///
/// Names are those of PyTorch's `nn.Transformer` (`encoder.layers.0.self_attn.in_proj_weight`, …), beside
/// `source_embedding`, `target_embedding` (or one `embedding`), `source_positions` and `target_positions` where they are
/// learnt, and `generator`, whose weight is the target's table unless the configuration says otherwise.
public struct EncoderDecoderTransformer: Module, Sendable {
  public let configuration: Configuration
  private let scope = Scope()
  private let source: Embedding
  private let target: Embedding
  private let sourcePositions: LearnedPositions?
  private let targetPositions: LearnedPositions?
  private let encoder: TransformerEncoder
  private let decoder: TransformerDecoder
  private let head: TokenScores
  private let copying: CopyMechanism?
  private let drop: Dropout
  private let fault: ApusError?

  public init(_ configuration: Configuration) {
    self.configuration = configuration
    fault = configuration.mistake
    let c =
      fault == nil
      ? configuration : Configuration(vocabulary: 2, length: 1, width: 1, layers: 0, heads: 1)
    // Times the root of the width, by which vectors are multiplied, of deviation 1.
    let table = Initializer.normal(mean: 0, deviation: 1 / Double(c.settings.width).squareRoot())
    let width = c.settings.width
    target = Embedding(c.targetVocabulary, width, initializer: table)
    source = c.sharesVocabulary ? target : Embedding(c.sourceVocabulary, width, initializer: table)
    let isLearned = c.positions == .learned
    sourcePositions = isLearned ? LearnedPositions(c.sourceLength, width) : nil
    targetPositions = isLearned ? LearnedPositions(c.targetLength, width) : nil
    encoder = TransformerEncoder(layers: c.encoderLayers, c.settings, finalNorm: c.finalNorm)
    decoder = TransformerDecoder(layers: c.decoderLayers, c.settings, finalNorm: c.finalNorm)
    head = TokenScores(
      weight: c.tiesScores
        ? target.weight.tied() : Parameter([c.targetVocabulary, width], table))
    copying = c.copiesSource ? CopyMechanism(width) : nil
    drop = Dropout(c.settings.dropout)
  }

  public var parts: [(name: String, value: Any)] {
    var parts: [(name: String, value: Any)] = [("scope", scope)]
    if configuration.sharesVocabulary {
      parts.append(("embedding", target))
    } else {
      parts += [("source_embedding", source), ("target_embedding", target)]
    }
    return parts + [
      ("source_positions", sourcePositions as Any), ("target_positions", targetPositions as Any),
      ("encoder", encoder), ("decoder", decoder), ("generator", head), ("copying", copying as Any),
      ("drop", drop),
    ] + (fault.map { [("configuration", $0)] } ?? [])
  }

  /// Scores of the target's tokens, each by what stands before it: `[n, t, targetVocabulary]`.
  ///
  /// - `tokens`: of the source, integers `[n, s]`.
  /// - `lengths`: integers `[n]`: tokens of the source from there on are padding. All of them count where it is nil.
  /// - `labels`: what is to be written, integers `[n, t]`, the end token last; padding is below 0, as losses ignore it.
  public func callAsFunction(
    _ tokens: Tensor, lengths: Tensor? = nil, predicting labels: Tensor,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      if let mistake = fault ?? mistake(source: tokens) ?? mistake(target: labels) {
        return .poisoned(mistake, like: head.weight.tensor)
      }
      let memory = encoded(tokens, lengths)
      let start = labels.trace.full(
        [labels.shape[0], 1], Double(configuration.startToken), .i32)
      let before = concat(
        [start, labels.cast(to: .i32).sliced(axis: 1, to: labels.shape[1] - 1)], axis: 1)
      // Whatever stands for padding is read by no place that counts.
      let x = placed(target(maximum(before, 0)), targetPositions)
      let pattern = lengths.map { AttentionPattern.lengths($0) } ?? .all
      let hidden = decoder(drop(x), memory: memory, memorySeeing: pattern)
      let scores = head(hidden)
      guard let copying else { return scores }
      return copying(
        scores, hidden, keys: copying.keys(of: memory), source: tokens,
        lengths: lengths ?? labels.trace.full([tokens.shape[0]], Double(tokens.shape[1]), .i32))
    }
  }

  private func mistake(source tokens: Tensor) -> ApusError? {
    tokens.mistake(ofTokens: configuration.sourceLength, "EncoderDecoderTransformer's source")
  }

  private func mistake(target tokens: Tensor) -> ApusError? {
    tokens.mistake(ofTokens: configuration.targetLength, "EncoderDecoderTransformer's target")
  }

  /// `√width · x + positions`, the positions from the first on.
  private func placed(_ x: Tensor, _ positions: LearnedPositions?) -> Tensor {
    let y = x * Double(configuration.settings.width).squareRoot()
    return positions?(y) ?? SinusoidalPositions()(y)
  }

  private func encoded(_ tokens: Tensor, _ lengths: Tensor?) -> Tensor {
    encoder(
      drop(placed(source(tokens), sourcePositions)),
      seeing: lengths.map { .lengths($0) } ?? .all)
  }
}

// MARK: Token by token

/// What is kept beside an ``EncoderDecoderTransformer`` while it writes: made by
/// `makeCache(sources:rowsPerSource:length:sourceLength:)`.
package struct EncoderDecoderCache: Module, Sendable {
  package let decoder: TransformerDecoderCache
  /// `i32[sources, sourceLength]` and the keys by which places of the source are found, where the model copies.
  let source: Buffer?
  let copyKeys: Buffer?
}

extension EncoderDecoderTransformer {
  /// A cache for rows that are written side by side.
  ///
  /// - `sources`: rows of tokens that are read.
  /// - `rowsPerSource`: rows that are written for each, 1 or the beams of a search.
  /// - `length`: the most tokens of a row that is written, the start token among them.
  /// - `sourceLength`: what sources are padded to.
  package func makeCache(
    sources: Int, rowsPerSource: Int, length: Int, sourceLength: Int
  ) -> EncoderDecoderCache {
    let kept = decoder.makeCache(
      sources: sources, rowsPerSource: rowsPerSource, length: length, memoryLength: sourceLength)
    let places = [kept.sources, kept.memoryLength]
    return EncoderDecoderCache(
      decoder: kept, source: copying.map { _ in Buffer(Shape(places), dtype: .i32) },
      copyKeys: copying.map { Buffer(Shape(places + [$0.width])) })
  }

  /// Reads sources and keeps what the decoder needs of them.
  ///
  /// - `tokens`: integers `[sources, sourceLength]`; `lengths`: integers `[sources]`.
  package func read(_ tokens: Tensor, lengths: Tensor, into cache: EncoderDecoderCache) {
    scoped {
      if let mistake = fault ?? mistake(source: tokens) {
        return tokens.trace.record(mistake)
      }
      let memory = encoded(tokens, lengths)
      decoder.remember(memory, lengths: lengths, in: cache.decoder)
      guard let copying, !memory.isPoisoned else { return }
      cache.source?.update(to: tokens.cast(to: .i32))
      cache.copyKeys?.update(to: copying.keys(of: memory).cast(to: .f32))
    }
  }

  /// Scores after the last of some tokens that follow those of the cache: integers `[rows, count]` →
  /// `f32[rows, targetVocabulary]`.
  ///
  /// - `position`: `i32[]`, the number of tokens before these.
  package func scores(
    _ tokens: Tensor, cache: EncoderDecoderCache, at position: Tensor
  ) -> Tensor {
    scoped {
      if let mistake = fault ?? mistake(target: tokens) {
        return .poisoned(mistake, like: head.weight.tensor)
      }
      let (count, width) = (tokens.shape[1], configuration.settings.width)
      let table =
        targetPositions?.weight.tensor
        ?? sinusoidalPositions(length: configuration.targetLength, width: width)
      let place = table.take(Tensor.arange(to: Double(count)) + position, axis: 0)
      let x = target(tokens) * Double(width).squareRoot() + place
      let hidden = decoder(x, cache: cache.decoder, at: position).sliced(axis: 1, from: count - 1)
      var scores = head(hidden)
      if let copying, let source = cache.source, let keys = cache.copyKeys {
        scores = copying(
          scores, hidden, keys: keys.tensor, source: source.tensor,
          lengths: cache.decoder.memoryLengths.tensor)
      }
      return scores[-1, axis: 1].cast(to: .f32)
    }
  }
}
