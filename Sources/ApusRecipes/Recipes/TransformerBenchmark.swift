// gpt, bert: transformers whose steps are timed. Benchmarks/peers/train.py has the same.

import Apus

/// A transformer on random tokens.
struct TransformerBenchmark<Model: Module>: ModelRecipe {
  let name: String
  let summary: String
  let vocabulary: Int
  let length: Int
  private let batch: Int
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
      CommonOption.learningRate.with(default: BenchmarkUpdate.adamW.learningRate),
      CommonOption.seed,
    ]
  }

  func model(_ options: RecipeOptions) -> Model { make() }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    BenchmarkUpdate.adamW.optimizer(options.learningRate)
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

extension TransformerBenchmark<GPT2> {
  static var gpt: Self {
    Self(
      name: "gpt", summary: "GPT of 6 layers on 256 characters, AdamW", vocabulary: 96, length: 256,
      batch: 8, otherFields: { _ in [] },
      make: {
        GPT2(.init(vocabulary: 96, length: 256, width: 384, layers: 6, heads: 6, dropout: 0))
      }, scores: { ($0($1.tokens), $1.labels) })
  }
}

extension TransformerBenchmark<BERT> {
  /// Three places of twenty have a label.
  static var bert: Self {
    Self(
      name: "bert", summary: "BERT of 6 layers on 128 tokens, AdamW", vocabulary: 8192, length: 128,
      batch: 16, otherFields: { [RandomField("places", $0, .integers(below: 20))] },
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
