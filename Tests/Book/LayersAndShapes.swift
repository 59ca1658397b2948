// The examples of Docs/LayersAndShapes.md.

import Apus
import Testing

@Suite struct LayersAndShapes {
  struct Residual: Layer {
    let scope = Scope()
    let norm: LayerNorm
    let inner: Linear
    let drop = Dropout(0.1)

    init(_ width: Int) {
      norm = LayerNorm(width)
      inner = Linear(width, width, bias: false)
    }

    func forward(_ x: Tensor) -> Tensor { x + drop(gelu(inner(norm(x)))) }
  }

  struct TextClassifier: Module {
    let tokens = Embedding(1000, 32)
    let positions = Parameter([64, 32], .normal(mean: 0, deviation: 0.02))
    let blocks: [Residual]
    let classify: Linear?

    init(depth: Int, classes: Int?) {
      blocks = (0..<depth).map { _ in Residual(32) }
      classify = classes.map { Linear(32, $0) }
    }

    /// i32[n,64] → f32[n,classes], or f32[n,32].
    func callAsFunction(_ ids: Tensor) -> Tensor {
      var x = tokens(ids) + positions
      for block in blocks { x = block(x) }
      let pooled = x.mean(axis: 1)
      return classify?(pooled) ?? pooled
    }
  }

  func heads(_ x: Tensor, _ count: Int) -> Tensor {
    let (n, length, width) = (x.shape[0], x.shape[1], x.shape[2])
    return x.reshaped([n, length, count, width / count]).transposed([0, 2, 1, 3])
  }

  func pooled(_ x: Tensor) -> [Tensor] {  // f32[n,112,112,64]
    let stem = maxPool(x, 3, stride: 2, padding: 1)  // f32[n,56,56,64]
    let narrow = averagePool(x, [2, 1])  // f32[n,56,112,64]
    let (y, places) = maxPoolWithIndices(x, 2)  // f32[n,56,56,64], u8 of that shape
    let back = maxUnpool(y, places, 2)  // f32[n,112,112,64]
    return [stem, narrow, back, globalAveragePool(x)]  // f32[n,64]
  }

  struct LanguageModel: Module {
    let embed: Embedding
    let weight: Parameter

    init(_ words: Int, _ width: Int) {
      embed = Embedding(words, width)
      weight = embed.weight.tied()
    }

    func callAsFunction(_ ids: Tensor) -> Tensor {
      embed(ids).matmul(weight.tensor, transposeOther: true)
    }
  }

  @Test func layersOneAfterTheOther() throws {
    let network = Sequential {
      Flatten()
      Linear(784, 64)
      ReLU()
      Stack(3) { Linear(64, 64) }
      Linear(64, 10)
    }
    print(network.parameters.map(\.path))
    #expect(network.parameters.count == 10 && network.parameters[2].path == "3.0.weight")
    try network.initialize(seed: 1)
    let f = try Predictor(network) { $0($1) }
    #expect(try f(NDArray(zeros: .f32(2, 28, 28, 1))).shape == [2, 10])
  }

  @Test func blocksOfYourOwn() throws {
    for classes in [nil, 5] {
      let model = TextClassifier(depth: 2, classes: classes)
      try model.initialize(seed: 1)
      #expect(model.parameters.map(\.path).contains("blocks.1.inner.weight"))
      let f = try Predictor(model) { $0($1) }
      #expect(try f(NDArray(zeros: .i32(3, 64))).shape == [3, classes ?? 32])
    }
  }

  @Test func shapesAreComputedWith() throws {
    let f = try compile(.f32(2, 3, 8)) { heads($0, 4) }
    #expect(try f(NDArray(zeros: .f32(2, 3, 8))).shape == [2, 4, 3, 2])
  }

  @Test func poolingHasManyForms() throws {
    let f = try compile(.f32(1, 112, 112, 64)) { x in
      pooled(x).map { $0.flattened() }.reduce(into: x.sum()) { $0 = $0 + $1.sum() }
    }
    #expect(try f(NDArray(zeros: .f32(1, 112, 112, 64))).floats == [0])
  }

  struct SmallNetwork: Module {
    let first = Linear(16, 32, bias: false)
    let norm = BatchNorm(32)
    let last = Linear(32, 10)
    func callAsFunction(_ x: Tensor) -> Tensor { last(relu(norm(first(x)))) }
  }

  @Test func batchNorm_learnsItsEstimatesInTraining() throws {
    let model = SmallNetwork()
    let trainer = try Trainer(model, optimizer: SGD(learningRate: 0.1)) {
      crossEntropy($0($1.x), $1.y)
    }
    let x = NDArray((0..<64).map { Float($0 % 7) }, shape: [4, 16])
    let batch = Batch(["x": x, "y": NDArray([0, 1, 2, 3] as [Int32], shape: [4])])
    let before = try model.norm.runningVariance!.value()
    try trainer.train(on: batch)
    let after = try model.norm.runningVariance!.value()
    #expect(after != before)
    model.norm.freeze()
    try trainer.train(on: batch)
    #expect(try model.norm.runningVariance!.value() == after)
  }

  @Test func sharedWeights_areAskedFor() throws {
    let model = LanguageModel(50, 8)
    try model.initialize(seed: 1)
    #expect(model.parameters.count == 1)
    let f = try Predictor(model) { $0($1) }
    #expect(try f(NDArray(zeros: .i32(2, 7))).shape == [2, 7, 50])
  }
}
