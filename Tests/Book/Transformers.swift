// The examples of Docs/Transformers.md.

import Apus
import Testing

let settings = TransformerSettings(
  64, heads: 4, activation: .swiGLU, dropout: 0.1, normFirst: true, norm: .rms(), bias: false)

@Suite struct Transformers {
  struct Attentions: Module {
    let attention = MultiHeadAttention(64, heads: 4, dropout: 0.1)

    func attended(_ x: Tensor, _ memory: Tensor, _ lengths: Tensor) -> [Tensor] {
      [
        attention(x, seeing: .causal),
        attention(x, seeing: .lengths(lengths)),  // rows end in padding
        attention(x, seeing: AttentionPattern(isCausal: true, window: 16)),
        attention(x, context: memory),  // keys and values of another sequence
      ]
    }
  }

  struct Translator: Module {
    let source = Embedding(1000, 64)
    let target = Embedding(1000, 64)
    let positions = SinusoidalPositions()
    let encoder = TransformerEncoder(layers: 2, settings)
    let decoder = TransformerDecoder(layers: 2, settings)
    let scores = Linear(64, 1000)

    /// i32[n,s], i32[n] and i32[n,t] → f32[n,t,1000]
    func callAsFunction(_ text: Tensor, lengths: Tensor, _ soFar: Tensor) -> Tensor {
      let memory = encoder(positions(source(text)), seeing: .lengths(lengths))
      let y = decoder(
        positions(target(soFar)), memory: memory, seeing: .causal, memorySeeing: .lengths(lengths))
      return scores(y)
    }
  }

  private func initialized<M: Module>(_ model: M) throws -> M {
    try model.initialize(seed: 1)
    return model
  }

  private func tokens(_ rows: Int, _ length: Int) -> NDArray {
    NDArray((0..<rows * length).map { Int32($0 * 7 % 11) }, shape: [rows, length])
  }

  @Test func attention() throws {
    let model = try initialized(Attentions())
    let run = try Predictor(model) { $0.attended($1[0], $1[1], $1[2]) }
    let found = try run.run([
      NDArray(zeros: .f32(2, 20, 64)), NDArray(zeros: .f32(2, 7, 64)),
      NDArray([20, 3] as [Int32], shape: [2]),
    ])
    #expect(found.allSatisfy { $0.shape == [2, 20, 64] && $0.floats.allSatisfy(\.isFinite) })
  }

  @Test func translation() throws {
    let model = try initialized(Translator())
    let step = try TrainingStep(model, optimizer: Adam()) { model, batch in
      crossEntropy(model(batch.text, lengths: batch.lengths, batch.soFar), batch.next)
    }
    let batch = Batch([
      "text": tokens(2, 9), "lengths": NDArray([9, 4] as [Int32], shape: [2]),
      "soFar": tokens(2, 5), "next": tokens(2, 5),
    ])
    let first = try step.run(batch).loss
    for _ in 0..<5 { try step.run(batch) }
    #expect(try step.run(batch).loss < first)
  }

  @Test func filesTrainingAndText() throws {
    let folder = try Book.folder()
    let small = GPT2(.init(vocabulary: 96, length: 64, width: 32, layers: 2, heads: 4))
    try small.initialize(seed: 1)
    try small.save(folder: "\(folder)/small")

    let again = try GPT2(contentsOf: "\(folder)/small")
    print(again.configuration.width)  // 32
    #expect(again.configuration == small.configuration)

    let data = try ArrayDataset(["tokens": tokens(32, 16), "next": tokens(32, 16)])
    let trainer = try Trainer(small, optimizer: AdamW(learningRate: 3e-3)) { model, batch in
      let loss = crossEntropy(model(batch.tokens), batch.next)
      batch.reportPerplexity(loss)
      return loss
    }
    try trainer.fit(data.batched(8), epochs: 3, callbacks: [])
    let perplexity = try trainer.evaluate(data.batched(5))["perplexity"]
    #expect((1..<20).contains(perplexity ?? 0))

    let generator = try TokenGenerator(small, length: 48)
    let rows = try generator.continue([[5, 9], [7, 1, 2, 8]], by: 20)  // the likeliest
    let sampled = try generator.continue(
      [[5, 9]], by: 20, sampling: TokenSampling(temperature: 0.8, topK: 40, topP: 0.95), seed: 7,
      ends: [0]
    ) { token, _ in print(token) }
    #expect(rows.map(\.count) == [22, 24] && sampled[0].count <= 22)

    let found = try generator.search(
      [5, 9], by: 20, beams: BeamSearch(width: 4, lengthPenalty: 1), ends: [0])
    print(found[0].tokens, found[0].score)
    #expect(found.count == 4 && found[0].score >= found[3].score)
  }

  @Test func aSearchThroughADecoderOfYourOwn() throws {
    let cell = try initialized(SmallDecoder())
    let decoder = try Predictor(cell) { cell, inputs in cell.step(inputs[0], inputs[1]) }
    let taking = try Predictor(cell) { _, inputs in [inputs[0].take(inputs[1], axis: 0)] }
    func taken(_ states: NDArray, _ rows: [Int]) throws -> NDArray {
      try taking.run([states, NDArray(rows.map(Int32.init), shape: [rows.count])])[0]
    }
    var states = NDArray(zeros: .f32(8, 16))  // of 2 starts, 4 rows each
    let best = try BeamSearch(width: 4).hypotheses(after: [1, 1], by: 10, ends: [2]) { step in
      if !step.keepsRows { states = try taken(states, step.parents) }
      let results = try decoder.run([NDArray(step.tokens.map(Int32.init), shape: [8]), states])
      states = results[1]
      return results[0]
    }
    #expect(best.count == 2 && best[0] == best[1])
  }

  @Test func hiddenTokensAndVectors() throws {
    let bert = BERT(.init(vocabulary: 96, length: 32, width: 32, layers: 2, heads: 4))
    let step = try TrainingStep(initialized(bert), optimizer: AdamW(learningRate: 1e-3)) {
      bert, batch in
      let (inputs, labels) = maskedTokens(
        batch.tokens, mask: 3, vocabulary: 96, lengths: batch.lengths)
      let vectors = bert(inputs, seeing: .lengths(batch.lengths))
      return crossEntropy(bert.tokenLogits(vectors), labels)
    }
    let tokens = tokens(4, 12)
    let lengths = NDArray([12, 5, 7, 12] as [Int32], shape: [4])
    let batch = Batch(["tokens": tokens, "lengths": lengths])
    let losses = try (0..<30).map { _ in try step.run(batch).loss }
    #expect(losses[29] < losses[0])

    let embed = try Predictor(bert) { bert, inputs in
      let vectors = bert.sentenceEmbeddings(inputs[0], lengths: inputs[1])
      return [vectors.matmul(vectors, transposeOther: true)]
    }
    let cosines = try embed.run([tokens, lengths])[0]
    for row in 0..<4 { #expect(abs(cosines.floats[5 * row] - 1) < 1e-5) }
  }
}

/// A state and a token give a state, and scores of the next token.
private struct SmallDecoder: Module {
  let tokens = Embedding(12, 16)
  let join = Linear(32, 16)
  let scores = Linear(16, 12)

  func step(_ token: Tensor, _ state: Tensor) -> [Tensor] {
    let next = tanh(join(concat([tokens(token), state], axis: -1)))
    return [scores(next), next]
  }
}
