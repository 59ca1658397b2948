// lstm, gru, gpt, bert: networks of sequences whose steps are timed. Benchmarks/peers/train.py has the same.

import Apus

/// A network that labels tokens, on random ones.
struct TokenBenchmark<Model: Module>: ModelRecipe {
  let name: String
  let summary: String
  let vocabulary: Int
  let length: Int
  private let batch: Int
  private let update: BenchmarkUpdate
  /// What a batch has besides `tokens` and `labels`.
  private let otherFields: @Sendable (Shape) -> [RandomField]
  private let make: @Sendable () -> Model
  private let scores: @Sendable (Model, SymbolicBatch) -> (logits: Tensor, labels: Tensor)

  let discussion = """
    A benchmark's: random tokens, nothing is dropped, and a rate so small that many steps on one batch do not run into \
    gradients of zero. PyTorch and JAX have the same.
    """

  var options: [any OptionDeclaration] {
    [
      CommonOption.batch.with(default: batch),
      CommonOption.learningRate.with(default: update.learningRate),
      CommonOption.seed,
    ]
  }

  func model(_ options: RecipeOptions) -> Model { make() }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    update.optimizer(options.learningRate)
  }

  func loss(_ model: Model, _ batch: SymbolicBatch) -> Tensor {
    let (logits, labels) = scores(model, batch)
    return crossEntropy(logits, labels)
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    let shape: Shape = [options.batch, length]
    return ["tokens", "labels"].map { RandomField($0, shape, .integers(below: vocabulary)) }
      + otherFields(shape)
  }
}

extension TokenBenchmark<GPT2> {
  static var gpt: Self {
    Self(
      name: "gpt", summary: "GPT of 6 layers on 256 characters, AdamW", vocabulary: 96, length: 256,
      batch: 8, update: .adamW, otherFields: { _ in [] },
      make: {
        GPT2(.init(vocabulary: 96, length: 256, width: 384, layers: 6, heads: 6, dropout: 0))
      }, scores: { ($0($1.tokens), $1.labels) })
  }
}

extension TokenBenchmark<BERT> {
  /// Three places of twenty have a label.
  static var bert: Self {
    Self(
      name: "bert", summary: "BERT of 6 layers on 128 tokens, AdamW", vocabulary: 8192, length: 128,
      batch: 16, update: .adamW, otherFields: { [RandomField("places", $0, .integers(below: 20))] },
      make: {
        BERT(
          .init(vocabulary: 8192, length: 128, width: 384, layers: 6, heads: 12, dropout: 0))
      },
      scores: { model, batch in
        (
          model.tokenLogits(model(batch.tokens)),
          `where`(batch.places .< 3, batch.labels, -100)
        )
      })
  }
}

/// Characters' vectors, a recurrent network of two layers, scores of the next character at each place.
struct CharacterNetwork<Core: Module & Sendable>: Module, Sendable {
  let embedding: Embedding
  let core: Core
  let head: Linear
  private let run: @Sendable (Core, Tensor) -> Tensor

  init(
    _ core: Core, characters: Int, width: Int, hidden: Int,
    run: @escaping @Sendable (Core, Tensor) -> Tensor
  ) {
    embedding = Embedding(characters, width)
    self.core = core
    head = Linear(hidden, characters)
    self.run = run
  }

  var parts: [(name: String, value: Any)] {
    [("embedding", embedding), ("core", core), ("head", head)]
  }

  /// `[batch, time]` → `[batch, time, characters]`.
  func callAsFunction(_ tokens: Tensor) -> Tensor { head(run(core, embedding(tokens))) }
}

extension TokenBenchmark<CharacterNetwork<LSTM>> {
  static var lstm: Self { recurrent("lstm", "LSTM", LSTM(128, 256, layers: 2)) { $0($1).outputs } }
}

extension TokenBenchmark<CharacterNetwork<GRU>> {
  static var gru: Self { recurrent("gru", "GRU", GRU(128, 256, layers: 2)) { $0($1).outputs } }
}

extension TokenBenchmark {
  fileprivate static func recurrent<Core: Module & Sendable>(
    _ name: String, _ kind: String, _ core: @autoclosure @escaping @Sendable () -> Core,
    _ run: @escaping @Sendable (Core, Tensor) -> Tensor
  ) -> Self where Model == CharacterNetwork<Core> {
    Self(
      name: name, summary: "\(kind) of 2 layers on 64 characters, Adam",
      vocabulary: 96, length: 64, batch: 32, update: .adam, otherFields: { _ in [] },
      make: { CharacterNetwork(core(), characters: 96, width: 128, hidden: 256, run: run) },
      scores: { ($0($1.tokens), $1.labels) })
  }
}
