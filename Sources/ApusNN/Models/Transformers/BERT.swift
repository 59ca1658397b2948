// BERT: an encoder of self-attention, read in both directions.

import ApusGraph
import ApusOps

/// BERT (Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers"): integers `[n, t]` → vectors
/// `[n, t, width]`.
///
///     tokens + positions + types → LayerNorm → layers × (attention, add, LayerNorm, 4·width, GELU, add, LayerNorm)
///
///     let bert = try BERT(contentsOf: "all-MiniLM-L6-v2")              // a folder of Hugging Face
///     let vectors = bert(batch.tokens, seeing: .lengths(batch.lengths))
///     let sentences = bert.sentenceEmbeddings(batch.tokens, lengths: batch.lengths)
///
/// Names are those of Hugging Face (`bert.encoder.layer.0.attention.self.query.weight`, …); files that say `gamma` and
/// `beta`, or lack `bert.`, are read too. A model may have a pooler and the head that tells masked tokens; one that is
/// read has those that its file has.
public struct BERT: PretrainedModel, Sendable {
  public let configuration: Configuration
  private let scope = Scope()
  private let tokens: Embedding
  private let positions: Embedding
  private let types: Embedding
  private let norm: LayerNorm
  private let drop: Dropout
  private let layers: [BERTLayer]
  private let pooler: Linear?
  private let head: BERTTokenHead?
  private let fault: ApusError?

  public init(_ configuration: Configuration) {
    self.configuration = configuration
    fault = configuration.mistake
    let c =
      fault == nil
      ? configuration
      : Configuration(vocabulary: 1, length: 1, width: 1, layers: 0, heads: 1, hidden: 1)
    let initial = Initializer.normal(mean: 0, deviation: c.initializerRange)
    tokens = Embedding(c.vocabulary, c.width, initializer: initial)
    positions = Embedding(c.length, c.width, initializer: initial)
    types = Embedding(c.types, c.width, initializer: initial)
    norm = LayerNorm(c.width, epsilon: c.epsilon)
    drop = Dropout(c.dropout)
    layers = (0..<c.layers).map { _ in BERTLayer(c) }
    pooler = c.hasPooler ? zeroBiased(c.width, c.width, initial) : nil
    head = c.hasTokenHead ? BERTTokenHead(c, tokens.weight) : nil
  }

  public var parts: [(name: String, value: Any)] {
    [("scope", scope)] + body(pooler) + [("cls", NamedParts(["predictions": head as Any]))]
  }

  /// What heads stand on, and a mistake of its sizes.
  func body(_ pooler: Linear?) -> [(name: String, value: Any)] {
    let embeddings = NamedParts([
      "word_embeddings": tokens, "position_embeddings": positions, "token_type_embeddings": types,
      "LayerNorm": norm, "drop": drop,
    ])
    let body = NamedParts([
      "embeddings": embeddings, "encoder": NamedParts(["layer": layers]),
      "pooler": NamedParts(["dense": pooler as Any]),
    ])
    return [("bert", body)] + (fault.map { [("configuration", $0)] } ?? [])
  }

  /// Vectors of tokens: integers `[n, t]` → `[n, t, width]`.
  ///
  /// - `types`: which of two texts a token belongs to, integers `[n, t]`; the first by default.
  /// - `pattern`: `.lengths` where rows end in padding.
  public func callAsFunction(
    _ ids: Tensor, types kinds: Tensor? = nil, seeing pattern: AttentionPattern = .all,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      if let mistake = fault ?? ids.mistake(ofTokens: configuration.length, "BERT") {
        return .poisoned(mistake, like: vector(of: ids))
      }
      if let kinds, !kinds.isPoisoned, kinds.shape != ids.shape || !kinds.dtype.isInteger {
        return .poisoned(
          ApusError(
            .shapeMismatch, "BERT is given types \(kinds.type) of tokens \(ids.type)",
            expected: "integers of one shape"), like: vector(of: ids))
      }
      let place = positions.weight.tensor.sliced(axis: 0, to: ids.shape[1])
      let kind = kinds.map { types($0) } ?? types.weight.tensor.sliced(axis: 0, to: 1)
      let x = drop(norm(tokens(ids) + place + kind))
      return layers.reduce(x) { $1($0, pattern) }
    }
  }

  /// A stand-in of the result's rank, for mistakes.
  private func vector(of ids: Tensor) -> Tensor {
    Tensor(trace: ids.trace, value: nil, type: .f32(1, 1, configuration.width))
  }

  /// One vector a row, `tanh` of a product of the first token's: `[n, t, width]` → `[n, width]`.
  public func pooled(
    _ vectors: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      guard let pooler else {
        return .poisoned(lacks("a pooler", "hasPooler"), like: vectors)
      }
      if let mistake = vectors.mistake(ofSequences: configuration.width, "BERT's pooler") {
        return .poisoned(mistake, like: vectors)
      }
      return tanh(pooler(vectors[0, axis: 1]))
    }
  }

  /// Scores of what the tokens are: `[n, t, width]` → `[n, t, vocabulary]`.
  ///
  ///     let (inputs, labels) = maskedTokens(batch.tokens, mask: 103, vocabulary: 30_522)
  ///     let loss = crossEntropy(bert.tokenLogits(bert(inputs)), labels)
  public func tokenLogits(
    _ vectors: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      guard let head else {
        return .poisoned(lacks("a head that tells tokens", "hasTokenHead"), like: vectors)
      }
      return head(vectors)
    }
  }

  private func lacks(_ part: String, _ setting: String) -> ApusError {
    ApusError(
      .missing, "this BERT has no \(part)", expected: "a configuration with \(setting), or a file")
  }

  /// Vectors of whole texts, of length 1: means over the tokens that are there (Reimers & Gurevych 2019,
  /// "Sentence-BERT"). `[n, t]` → `[n, width]`; their products are the cosines of the texts.
  ///
  /// - `lengths`: integers `[n]`; a row of length 0 gets zeros.
  public func sentenceEmbeddings(
    _ ids: Tensor, lengths: Tensor, types: Tensor? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      let x = self(ids, types: types, seeing: .lengths(lengths))
      let count = lengths.cast(to: x.dtype).expandingDims(at: 1)
      let place = Tensor.arange(to: Double(ids.shape[1])).expandingDims(at: 0)
      let isThere = place .< lengths.cast(to: .i32).expandingDims(at: 1)
      let sum = `where`(isThere.expandingDims(at: -1), x, 0).sum(axis: 1)
      let mean = sum / maximum(count, 1)
      let squares = (mean * mean).sum(axis: -1, keepDims: true)
      return mean / sqrt(maximum(squares, 1e-24))
    }
  }

  public static func path(ofStored name: String) -> String? {
    if name.hasSuffix("embeddings.position_ids") || name.hasPrefix("cls.seq_relationship.") {
      return nil
    }
    var path = prefixed(name, "bert.", besides: ["cls."])
    for (old, new) in [(".gamma", ".weight"), (".beta", ".bias")] where path.hasSuffix(old) {
      path = path.dropLast(old.count) + new
    }
    return path
  }

  public static func adapted(
    _ configuration: Configuration, to paths: Set<String>
  ) -> Configuration {
    var adapted = configuration
    adapted.hasPooler = paths.contains("bert.pooler.dense.weight")
    adapted.hasTokenHead = paths.contains("cls.predictions.transform.dense.weight")
    return adapted
  }
}

/// A linear layer whose bias starts at zero.
private func zeroBiased(_ inputs: Int, _ outputs: Int, _ initial: Initializer) -> Linear {
  Linear(inputs, outputs, initializer: initial, bias: .zeros)
}

/// One layer: attention and two products, each added to its input and normalised.
struct BERTLayer: Module, Sendable {
  let scope = Scope()
  private let heads: Int
  private let attentionDropout: Double
  private let query, key, value, attentionOutput, expand, contract: Linear
  private let attentionNorm, norm: LayerNorm
  private let drop: Dropout
  private let activation: FeedForwardActivation

  init(_ c: BERT.Configuration) {
    let initial = Initializer.normal(mean: 0, deviation: c.initializerRange)
    func square() -> Linear { zeroBiased(c.width, c.width, initial) }
    (heads, attentionDropout) = (c.heads, c.attentionDropout)
    (query, key, value, attentionOutput) = (square(), square(), square(), square())
    expand = zeroBiased(c.width, c.hidden, initial)
    contract = zeroBiased(c.hidden, c.width, initial)
    attentionNorm = LayerNorm(c.width, epsilon: c.epsilon)
    norm = LayerNorm(c.width, epsilon: c.epsilon)
    drop = Dropout(c.dropout)
    activation = c.activation
  }

  var parts: [(name: String, value: Any)] {
    [
      ("scope", scope),
      (
        "attention",
        NamedParts([
          "self": NamedParts(["query": query, "key": key, "value": value]),
          "output": NamedParts(["dense": attentionOutput, "LayerNorm": attentionNorm]),
        ])
      ), ("intermediate", NamedParts(["dense": expand])),
      ("output", NamedParts(["dense": contract, "LayerNorm": norm])),
    ]
  }

  func callAsFunction(_ x: Tensor, _ pattern: AttentionPattern) -> Tensor {
    scoped {
      let (n, t, width) = (x.shape[0], x.shape[1], x.shape[2])
      let all = [query, key, value].map { $0(x).reshaped([n, t, heads, width / heads]) }
      let attended = pattern.attend(all[0], all[1], all[2], dropout: attentionDropout)
      let y = attentionNorm(x + drop(attentionOutput(attended.reshaped([n, t, width]))))
      return norm(y + drop(contract(activation.applied(to: expand(y)))))
    }
  }
}

/// What tells masked tokens: a product, an activation and a normalisation, then scores by the table of tokens.
struct BERTTokenHead: Module, Sendable {
  let scope = Scope()
  private let dense: Linear
  private let norm: LayerNorm
  private let weight: Parameter
  private let bias: Parameter
  private let activation: FeedForwardActivation

  /// - `table`: of the tokens' vectors.
  init(_ c: BERT.Configuration, _ table: Parameter) {
    let initial = Initializer.normal(mean: 0, deviation: c.initializerRange)
    dense = zeroBiased(c.width, c.width, initial)
    norm = LayerNorm(c.width, epsilon: c.epsilon)
    weight = c.tiesScores ? table.tied() : Parameter([c.vocabulary, c.width], initial)
    bias = Parameter([c.vocabulary], .zeros).tied()
    activation = c.activation
  }

  /// The bias stands in two places, as in Hugging Face's files.
  var parts: [(name: String, value: Any)] {
    [
      ("scope", scope), ("bias", bias),
      ("transform", NamedParts(["dense": dense, "LayerNorm": norm])),
      ("decoder", NamedParts(["weight": weight, "bias": bias])),
    ]
  }

  func callAsFunction(_ x: Tensor) -> Tensor {
    scoped {
      let y = norm(activation.applied(to: dense(x)))
      return y.matmul(weight.tensor, transposeOther: true) + bias.tensor
    }
  }
}

/// Tokens for a model that learns to tell hidden ones, and what they were: Devlin et al. 2019. Of each token in
/// `share` of all places, chosen at random in each step, the label is the token; elsewhere it is -100, which
/// `crossEntropy` leaves out. Eight of ten chosen ones become `mask`, one a random token, one stays.
///
///     let (inputs, labels) = maskedTokens(batch.tokens, mask: 103, vocabulary: 30_522, lengths: batch.lengths)
///
/// - `ids`: integers `[n, t]`.
/// - `lengths`: integers `[n]`: places from there on are not chosen.
public func maskedTokens(
  _ ids: Tensor, mask: Int, vocabulary: Int, share: Double = 0.15, lengths: Tensor? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> (inputs: Tensor, labels: Tensor) {
  ids.trace.withCallLocation(sourceLocation(file, line)) {
    var mistake = ids.mistake(ofTokens: nil, "maskedTokens")
    if !(0...1).contains(share) || !(1...(1 << 24)).contains(vocabulary)
      || !(0..<vocabulary).contains(mask)
    {
      mistake =
        mistake
        ?? ApusError(
          .invalidArgument,
          "maskedTokens: share \(share), mask \(mask) of a vocabulary of \(vocabulary)",
          expected: "a share from 0 to 1 and a token of the vocabulary")
    }
    if let mistake {
      let poisoned = Tensor.poisoned(mistake, like: ids)
      return (poisoned, poisoned)
    }
    let ids = ids.cast(to: .i32)
    var isChosen = Tensor.randomUniform(ids.shape) .< share
    if let lengths {
      let place = Tensor.arange(to: Double(ids.shape[1])).expandingDims(at: 0)
      let isThere = place .< lengths.cast(to: .i32).expandingDims(at: 1)
      isChosen = logicalAnd(isChosen, isThere)
    }
    let kind = Tensor.randomUniform(ids.shape)
    let other = floor(Tensor.randomUniform(ids.shape) * Double(vocabulary)).cast(to: .i32)
    let random = minimum(other, Double(vocabulary - 1))
    let changed = `where`(kind .< 0.8, Double(mask), `where`(kind .< 0.9, random, ids))
    return (`where`(isChosen, changed, ids), `where`(isChosen, ids, -100))
  }
}
