// One vector of the vectors of a text's tokens, and what is made of it afterwards.

import Apus

/// How the vectors of a text's tokens become one: the modes of the Python package `sentence-transformers` (Reimers &
/// Gurevych 2019, "Sentence-BERT") that need no more than the vectors and the number of tokens.
public enum SentencePooling: String, Sendable, Hashable, CaseIterable {
  /// The vector of the first token.
  case cls
  /// The greatest value of each element.
  case max
  /// The mean over the tokens.
  case mean
  /// The sum over the tokens, divided by the square root of their number.
  case meanSqrtLength = "mean_sqrt_len_tokens"

  /// - `vectors`: `[n, t, width]`.
  /// - `isThere`: bools `[n, t, 1]`, false for padding.
  /// - `count`: floats `[n, 1]`, the tokens of each text.
  func applied(to vectors: Tensor, _ isThere: Tensor, _ count: Tensor) -> Tensor {
    switch self {
    case .cls: vectors[0, axis: 1]
    // As in the Python package: finite, so that a row without tokens has no infinities.
    case .max: `where`(isThere, vectors, -1e9).max(axis: 1)
    case .mean: `where`(isThere, vectors, 0).sum(axis: 1) / maximum(count, 1)
    case .meanSqrtLength: `where`(isThere, vectors, 0).sum(axis: 1) / sqrt(maximum(count, 1))
    }
  }
}

/// What stands behind the pooling.
enum SentenceStage: Sendable {
  /// A product and an activation.
  case dense(SentenceDense)
  /// To length 1.
  case normalize

  func applied(to x: Tensor) -> Tensor {
    switch self {
    case .dense(let dense): return dense(x)
    case .normalize:
      let squares = (x * x).sum(axis: -1, keepDims: true)
      return x / sqrt(maximum(squares, 1e-24))
    }
  }
}

/// `activation(x·Wᵀ + b)`.
struct SentenceDense: Layer, Sendable {
  enum Activation: String, Sendable, CaseIterable {
    case identity = "torch.nn.modules.linear.Identity"
    case tanh = "torch.nn.modules.activation.Tanh"
    case relu = "torch.nn.modules.activation.ReLU"
    case gelu = "torch.nn.modules.activation.GELU"
  }

  let scope = Scope()
  let linear: Linear
  let activation: Activation

  func forward(_ x: Tensor) -> Tensor { activated(linear(x), by: activation) }
}

/// Outside of the type, whose cases have the functions' names.
private func activated(_ x: Tensor, by activation: SentenceDense.Activation) -> Tensor {
  switch activation {
  case .identity: x
  case .tanh: tanh(x)
  case .relu: relu(x)
  case .gelu: gelu(x)
  }
}

/// An encoder of tokens, its pooling and what stands behind it: integers `[n, t]` → vectors `[n, width]`.
///
/// It is what ``SentenceEncoder`` runs, and a module like others, so that it can be trained:
///
///     let step = try TrainingStep(encoder.model, optimizer: AdamW(learningRate: 2e-5)) { model, batch in
///       let x = model(batch.first, lengths: batch.firstLengths)
///       let y = model(batch.second, lengths: batch.secondLengths)
///       return crossEntropy(20 * x.matmul(y, transposeOther: true), batch.pairs)
///     }
public struct SentenceModel: Module, Sendable {
  public let encoder: BERT
  /// Several stand side by side.
  public let pooling: [SentencePooling]
  let stages: [SentenceStage]
  private let scope = Scope()

  /// A model that only pools, and normalises where that is wanted.
  ///
  /// - `isNormalized`: whether vectors get length 1, so that their products are cosines.
  public init(_ encoder: BERT, pooling: SentencePooling = .mean, isNormalized: Bool = true) {
    self.init(encoder, [pooling], isNormalized ? [.normalize] : [])
  }

  init(_ encoder: BERT, _ pooling: [SentencePooling], _ stages: [SentenceStage]) {
    self.encoder = encoder
    self.pooling = pooling
    self.stages = stages
  }

  /// The encoder's parameters keep the names that they have in its files.
  public var parts: [(name: String, value: Any)] {
    let dense = stages.compactMap { if case .dense(let dense) = $0 { dense } else { nil } }
    return encoder.parts.filter { $0.name != "scope" } + [("scope", scope), ("dense", dense)]
  }

  /// Elements of a text's vector.
  public var width: Int {
    for case .dense(let dense) in stages.reversed() { return dense.linear.weight.shape[0] }
    return encoder.configuration.width * pooling.count
  }

  /// Whether vectors have length 1.
  public var isNormalized: Bool { if case .normalize? = stages.last { true } else { false } }

  /// Vectors of texts: integers `[n, t]` → `[n, width]`.
  ///
  /// - `lengths`: integers `[n]`, the tokens of each row; what stands behind them counts for nothing.
  public func callAsFunction(
    _ ids: Tensor, lengths: Tensor, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      let vectors = encoder(ids, seeing: .lengths(lengths))
      guard !vectors.isPoisoned else { return vectors }
      let count = lengths.cast(to: vectors.dtype).expandingDims(at: 1)
      let place = Tensor.arange(to: Double(ids.shape[1])).expandingDims(at: 0)
      let isThere = (place .< lengths.cast(to: .i32).expandingDims(at: 1)).expandingDims(at: -1)
      let pooled = pooling.map { $0.applied(to: vectors, isThere, count) }
      let joined = pooled.count == 1 ? pooled[0] : concat(pooled, axis: -1)
      return stages.reduce(joined) { $1.applied(to: $0) }
    }
  }
}
