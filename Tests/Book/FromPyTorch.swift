// The examples of Docs/FromPyTorch.md, and each name of its tables.

import Apus
import Foundation
import Testing

@Suite struct FromPyTorch {
  @Test func theSameProgramTwice() throws {
    let folder = try Book.folder()
    let set = try ArrayDataset([
      "x": NDArray((0..<784 * 20).map { Float($0 % 11) / 11 }, shape: [20, 784]),
      "y": NDArray((0..<20).map { Int32($0 % 10) }, shape: [20]),
    ])
    let loader = try set.batched(10)
    let model = Sequential {
      Linear(784, 128)
      ReLU()
      Linear(128, 10)
    }
    let options = StepOptions(clipNorm: 1)
    let trainer = try Trainer(model, optimizer: AdamW(learningRate: 1e-3), options: options) {
      model, batch in
      crossEntropy(model(batch.x), batch.y)
    }
    try trainer.fit(loader, epochs: 1, callbacks: [])
    try trainer.save("\(folder)/model.safetensors")
    #expect(trainer.step == 2 && trainer.history.count == 1)
    let batch = try set.batched(64).makeIterator(epoch: 0).next()
    #expect(batch?.count == 20)
  }

  @Test func dataSets() throws {
    let set = try LabeledImages(
      pixels: NDArray((0..<80).map { UInt8($0) }, shape: [5, 4, 4]),
      labels: NDArray([0, 1, 0, 1, 1] as [Int32], shape: [5]), classCount: 2)
    let sampler = try WeightedSampler(weights: [1, 1, 1, 1, 4], count: 100)
    let sequences = try SequenceDataset(["words": .tokens([[1, 2], Array(1...20)])])
    let i = [3, 1]
    #expect(try set.batched(64, sampler: sampler).exampleCount == 100)
    #expect(try sequences.batched(64, lengths: [16, 32]).batchCount == 2)
    #expect(try set.selecting(i).count == 2)
    #expect(try set.split([0.8, 0.2]).map(\.count) == [4, 1])
    let moved = try set.transformed([.randomCrop(4, 4, padding: 1)])
    #expect(moved.fields[0].type == .f32(4, 4, 1))
  }

  @Test func tensors() throws {
    let array = NDArray([1, 2], shape: [2])
    #expect(array.floats == [1, 2] && array.scalar == 1)
    let f = try compile([.f32(2, 4), .f32(4, 3), .i32(2, 1), .i32(1)]) { arguments in
      let (x, w, i, j) = (arguments[0], arguments[1], arguments[2], arguments[3])
      let y = x.reshaped([1, 2, 4]), z = x.expandingDims(at: 0), w0 = x.zerosLike()
      let results = [
        Tensor.zeros([3]), Tensor.randomNormal([2, 3]), x.reshaped([-1, 4]),
        y.transposed([0, 2, 1]), x.transposed(), z.squeezed(axis: 0),
        x.sum(axis: 1, keepDims: true), x.mean(), x.max(axis: 1), x.matmul(w),
        einsum("ij,jk->ik", x, w), concat([x, x], axis: 1), stack([x, x]),
        `where`(x .> 0, x, w0), clamp(x, low: 0, high: 1), (x .== x).cast(to: .f32),
        x.takeAlong(i, axis: 1), x.take(j), x.cast(to: .f32), x.cast(to: .i32), x.stopGradient(),
        j / 2, floorDivide(j, 2), truncatingDivide(j, 2),
      ]
      #expect(x.shape == [2, 4] && x.dtype == .f32)
      return results
    }
    let results: [NDArray] = try f(
      NDArray(zeros: .f32(2, 4)), NDArray(zeros: .f32(4, 3)), NDArray(zeros: .i32(2, 1)),
      NDArray(zeros: .i32(1)))
    let shapes: [Shape] = [
      [3], [2, 3], [2, 4], [1, 4, 2], [4, 2], [2, 4], [2, 1], [], [2], [2, 3], [2, 3], [2, 8],
      [2, 2, 4], [2, 4], [2, 4], [2, 4], [2, 1], [1, 4], [2, 4], [2, 4], [2, 4],
      [1], [1], [1],
    ]
    #expect(results.map(\.shape) == shapes)
  }

  @Test func layersOfImages() throws {
    let layers: [any Layer] = [
      BatchNorm(4), BatchNorm(4, momentum: nil, affine: false, tracksStatistics: false),
      GroupNorm(2, 4), InstanceNorm(4), Upsample(scale: 2, mode: .bilinear), PixelShuffle(2),
      PixelUnshuffle(2), Pad(1), Pad(1, mode: .reflect),
    ]
    for layer in layers { try layer.initialize() }
    let f = try compile([.f32(2, 4, 4, 4)]) { arguments in
      let x = arguments[0]
      return layers.map { $0(x) } + [
        interpolate(x, size: [8, 8], mode: .bicubic, alignCorners: true),
        x.padded(low: [0, 0, 1, 0], high: [0, 0, 1, 0], mode: .replicate),
        x.padded(low: [0, 0, 1, 0], high: [0, 0, 1, 0], mode: .circular),
        localResponseNorm(x, size: 5),
      ]
    }
    let results: [NDArray] = try f(NDArray(zeros: .f32(2, 4, 4, 4)))
    let extents = results.map { $0.shape.dimensions[1...] }
    #expect(
      extents == [
        [4, 4, 4], [4, 4, 4], [4, 4, 4], [4, 4, 4], [8, 8, 4], [8, 8, 1], [2, 2, 16], [6, 6, 4],
        [6, 6, 4], [8, 8, 4], [4, 6, 4], [4, 6, 4], [4, 4, 4],
      ])
  }

  @Test func attention() throws {
    let types: [TensorType] = [.f32(2, 5, 4, 8), .f32(2, 6, 2, 8), .f32(2, 6, 2, 8)]
    let f = try compile(types) { arguments in
      let (q, k, v) = (arguments[0], arguments[1], arguments[2])
      let mask = Tensor.ones([5, 6]) .> 0
      return [
        scaledDotProductAttention(q, k, v, isCausal: true),
        scaledDotProductAttention(q, k, v, mask: mask, dropout: 0.1),
      ]
    }
    let zeros = types.map { NDArray(zeros: $0) }
    let results: [NDArray] = try f(zeros[0], zeros[1], zeros[2])
    #expect(results.map(\.shape) == [[2, 5, 4, 8], [2, 5, 4, 8]])
  }

  @Test func transformers() throws {
    struct Parts: Module {
      let attention = MultiHeadAttention(4, heads: 2)
      let encoder = TransformerEncoderLayer(.init(4, heads: 2, hidden: 16))
      let decoder = TransformerDecoder(layers: 2, .init(4, heads: 2))
    }
    let parts = Parts()
    try parts.initialize()
    let run = try Predictor(parts) { parts, x in
      parts.decoder(parts.encoder(parts.attention(x)), memory: x)
    }
    #expect(try run(NDArray(zeros: .f32(1, 3, 4))).shape == [1, 3, 4])
    let d = "\(try Book.folder())/gpt"
    let gpt = GPT2(.init(vocabulary: 50, length: 8, width: 4, layers: 1, heads: 2))
    try gpt.initialize()
    try gpt.save(folder: d)
    let generator = try TokenGenerator(gpt)
    let rows = try generator.continue([[1]], by: 3, sampling: TokenSampling(topK: 40))
    #expect(rows[0].count == 4)
    #expect(try generator.search([1], by: 3, beams: BeamSearch(width: 4)).count == 4)
    #expect(try GPT2(contentsOf: d).parameterCount == gpt.parameterCount)
  }

  @Test func layersAndLosses() throws {
    let layers: [any Layer] = [
      Linear(4, 8), Embedding(10, 4), LayerNorm(4), RMSNorm(4), Dropout(0.1), ReLU(),
      GELU(approximate: true), Flatten(), Stack(3) { Linear(4, 4) },
    ]
    let activations: [any Layer] = [
      ELU(), SELU(), CELU(), Mish(), HardSwish(), PReLU(4), GLU(), Identity(), AlphaDropout(0.1),
      GaussianNoise(0.1),
    ]
    let initializers = [
      Initializer.varianceScaling(2, .output, .normal), Initializer.identity(),
    ]
    #expect(activations.map { $0.parameters.count }.reduce(0, +) == 1 && initializers.count == 2)
    #expect(Bilinear(4, 2, 3).parameterCount == 27)
    let normed: [any Layer] = [WeightNorm(Linear(4, 2)), SpectralNorm(Linear(4, 2))]
    #expect(normed.map(\.parameterCount) == [12, 10])
    let states: [ModelState] = [Parameter([3], .ones), Buffer([3], .zeros)]
    #expect(layers.map { $0.parameters.count } == [2, 1, 2, 1, 0, 0, 0, 0, 6] && states.count == 2)
    let f = try compile([.f32(2, 4), .i32(2)]) { arguments in
      let (x, y) = (arguments[0], arguments[1])
      return [
        crossEntropy(x, y, labelSmoothing: 0.1), mse(x, x), mae(x, x), huber(x, x),
        bceWithLogits(x, x), nll(logSoftmax(x, axis: -1), y, ignoring: 0),
      ]
    }
    let losses: [NDArray] = try f(
      NDArray([1, 2, 3, 4, 4, 3, 2, 1], shape: [2, 4]), NDArray([0, 1] as [Int32], shape: [2]))
    let further = try compile([.f32(2, 4), .i32(2), .f32(2, 4), .f32(2, 5, 4)]) { arguments in
      let (x, y) = (arguments[0], arguments[1])
      let p = logSoftmax(arguments[3])
      let ctc = { (y: Tensor, n: Tensor, m: Tensor) in
        ctcLoss(p, y, lengths: n, labelLengths: m)
      }
      return [
        multiMarginLoss(x, y), hingeEmbeddingLoss(x, x), marginRankingLoss(x, x, 1),
        poissonNLL(x, x), gaussianNLL(x, x, variance: x), infoNCE(x, x, isSymmetric: true),
        contrastiveLoss(x, x, y), ctc(y.expandingDims(at: 1) + 1, y + 3, y),
      ]
    }
    let more: [NDArray] = try further(
      NDArray([1, 2, 3, 4, 4, 3, 2, 1], shape: [2, 4]), NDArray([0, 1] as [Int32], shape: [2]),
      NDArray(zeros: .f32(2, 4)), NDArray(zeros: .f32(2, 5, 4)))
    #expect(more.allSatisfy { $0.scalar.isFinite && $0.shape == [] })
    #expect(losses.count == 6 && losses.allSatisfy { $0.scalar.isFinite && $0.shape == [] })
  }

  @Test func recurrentNetworks() throws {
    let modules: [any Module] = [
      LSTM(4, 8, layers: 2, isBidirectional: true), GRU(4, 8), RNN(4, 8),
    ]
    #expect(modules.map { $0.parameters.count } == [16, 4, 4])
  }

  @Test func convolutions() throws {
    let layers: [any Layer] = [
      Conv2d(3, 8, 3, padding: 1), Conv2d(8, 8, [1, 7], padding: .same, groups: 8),
      ConvTranspose2d(8, 3, 3, stride: 2, padding: 1, outputPadding: 1),
    ]
    let line = Conv1d(3, 8, 5, stride: 2)
    let mirrored = Conv2d(3, 8, 3, padding: 1, paddingMode: .reflect)
    for layer in layers + [line, mirrored] { try layer.initialize() }
    let f = try compile([.f32(2, 6, 6, 3), .f32(4, 3, 3, 3), .f32(2, 9, 3)]) { arguments in
      let (images, weight) = (arguments[0], arguments[1])
      return [
        layers.reduce(images) { $1($0) }, conv2d(images, weight, dilation: 2), line(arguments[2]),
        mirrored(images),
      ]
    }
    let results: [NDArray] = try f(
      NDArray(zeros: .f32(2, 6, 6, 3)), NDArray(zeros: .f32(4, 3, 3, 3)),
      NDArray(zeros: .f32(2, 9, 3)))
    #expect(results.map(\.shape) == [[2, 12, 12, 3], [2, 2, 2, 4], [2, 3, 8], [2, 6, 6, 8]])
    let models = [ResNet.resNet18(), ResNet.resNet50(classes: 10)]
    #expect(models.map { $0.fc.weight.shape } == [[1000, 512], [10, 2048]])
  }

  @Test func segmentationAndDetection() throws {
    let f = try compile([.f32(2, 12, 12, 4), .i32(2, 12, 12)]) { arguments in
      let (x, y) = (arguments[0], arguments[1])
      return [
        focalLoss(x, x), smoothL1(x, x, beta: 0.5), diceLoss(x, y), psnr(x, x * 0.5), ssim(x, x),
      ]
    }
    let values = (0..<1152).map { Float($0 % 7) / 7 }
    let losses: [NDArray] = try f(
      NDArray(values, shape: [2, 12, 12, 4]), NDArray(zeros: .i32(2, 12, 12)))
    #expect(losses.allSatisfy { $0.scalar.isFinite && $0.shape == [] })

    let boxes = NDArray([0, 0, 4, 4, 1, 0, 4, 4, 5, 5, 9, 9], shape: [3, 4])
    let scores = NDArray([0.5, 0.9, 0.3], shape: [3])
    let labels = NDArray([0, 0, 1] as [Int32], shape: [3])
    #expect(try Boxes.iou(boxes, boxes).shape == [3, 3])
    #expect(try Boxes.generalizedIoU(boxes, boxes).shape == [3, 3])
    #expect(try Boxes.converted(boxes, from: .corners, to: .centerSize).shape == [3, 4])
    #expect(try nonMaximumSuppression(boxes, scores, iouThreshold: 0.5) == [1, 2])
    #expect(
      try batchedNonMaximumSuppression(boxes, scores, labels, iouThreshold: 0.5) == [1, 2])
    var precision = try MeanAveragePrecision(classes: 2)
    try precision.add(
      Detections(boxes: boxes, scores: scores, labels: labels),
      truth: GroundTruth(boxes: boxes, labels: labels, classes: 2))
    #expect(precision.mean(.voc, iouThreshold: 0.5) == 1)
    var matrix = ConfusionMatrix(classes: 2)
    try matrix.add(predictions: labels, labels: labels)
    #expect(matrix.meanIntersectionOverUnion == 1)
    #expect(matrix.f1(.macro) == 1)
  }

  @Test func metrics() throws {
    let scores = NDArray([0.1, 0.9, 0.8, 0.2], shape: [2, 2])
    let labels = NDArray([1, 0] as [Int32], shape: [2])
    var best = TopKAccuracy(k: 2)
    try best.add(scores: scores, labels: labels)
    var perplexity = Perplexity()
    try perplexity.add(logits: scores, labels: labels)
    var ranking = BinaryRanking()
    try ranking.add(scores: NDArray([0.1, 0.9], shape: [2]), labels: labels)
    var errors = RegressionErrors()
    try errors.add(predictions: scores, targets: scores)
    #expect(best.value == 1 && perplexity.value! > 1)
    #expect(ranking.rocAUC == 0 && ranking.averagePrecision == 0.5)
    #expect(errors.meanAbsolute == 0 && errors.r2 == 1)
  }

  @Test func pooling() throws {
    let layers: [any Layer] = [
      MaxPool2d(3, stride: 2, padding: 1), AvgPool2d(2, countsPadding: false),
      GlobalAveragePool(), AdaptiveMaxPool2d(7),
    ]
    let f = try compile([.f32(2, 14, 14, 3)]) { arguments in
      let images = arguments[0]
      let (small, places) = maxPoolWithIndices(images, 2)
      func unpooled(_ images: Tensor) -> Tensor { maxUnpool(images, places, 2) }
      return layers.map { $0(images) } + [unpooled(small)]
    }
    let results: [NDArray] = try f(NDArray(zeros: .f32(2, 14, 14, 3)))
    let shapes: [Shape] = [[2, 7, 7, 3], [2, 7, 7, 3], [2, 3], [2, 7, 7, 3], [2, 14, 14, 3]]
    #expect(results.map(\.shape) == shapes)
  }

  @Test func training() throws {
    let folder = try Book.folder()
    let f = "\(folder)/f.safetensors"
    let model = Linear(2, 1)
    try model.initialize(seed: 1)
    let rules: [any Optimizer] = [
      SGD(learningRate: 0.1, momentum: 0.9), Adam(learningRate: 1e-3, beta1: 0.5),
      SGD(learningRate: LearningRate.schedule { step in 0.1 / Double(1 + step) }),
      SGD(learningRate: 0.1, momentum: 0.9, dampening: 0.1), Adam(amsgrad: true), NAdam(),
      RAdam(), Adamax(), RMSProp(centered: true), Adagrad(), Adadelta(), Adafactor(), Muon(),
      Lion(), LAMB(), AdamW().decayingMatricesOnly(),
    ]
    let schedules = [
      LearningRate.step(from: 1, every: 30),
      LearningRate.multiStep(from: 1, milestones: [30, 60]),
      LearningRate.exponential(from: 1, factor: 0.9),
      LearningRate.linear(from: 1, to: 0, steps: 9),
      LearningRate.polynomial(from: 1, steps: 9),
      LearningRate.cosine(from: 1, steps: 9),
      LearningRate.cosineWithRestarts(from: 1, steps: 9),
      LearningRate.oneCycle(peak: 1, steps: 9),
      LearningRate.oneCycleMomentum(steps: 9),
      LearningRate.sequence([1, 0.1], changingAt: [9]),
      LearningRate.constant(1).scaled(by: 0.1),
      ReduceOnPlateau(from: 1).rate,
    ]
    for schedule in schedules { try Adam(learningRate: schedule).validate() }
    for rule in rules { try rule.validate() }
    let optimizer = SGD(learningRate: 0.1)
    _ = try Trainer(
      Linear(3, 2), optimizer: optimizer, accumulating: 4, options: StepOptions(clipValue: 1)
    ) { model, batch in model(batch.x).sum() }
    let lbfgs = try LBFGS(model, lineSearch: .strongWolfe) { square($0($1.x)).sum() }
    #expect(lbfgs.settings.iterations == 20)
    let options = StepOptions(
      clipNorm: 1,
      groups: ["*.bias": SGD(learningRate: 0.1)])
    let step = try TrainingStep(compile: CompileOptions(precision: .mixed)) { step, batch in
      let loss = model(batch.x).sum()
      let w = model.weight.tensor
      let slope = gradients(of: loss, withRespectTo: [w])[0]
      step.output("slope", slope)
      step.minimize(loss, over: model, with: optimizer)
    }
    let batch = Batch(["x": NDArray([1, 2], shape: [1, 2])])
    try step.accumulate(batch)
    let result = try step.run(batch)
    #expect(result.arrays["slope"]?.floats == [1, 2] && options.clipNorm == 1)
    let copy = try model.copy()
    model.freeze()
    copy.unfreeze()
    do {
      struct Two: Module { let layers = [Linear(2, 2), Linear(2, 2)] }
      let model = Two()
      #expect(try model.freeze("*.bias") == 2)
    }
    try model.save(f)
    #expect(try model.load(f, strict: false).loaded.count == 2)
    try images(in: folder)
    let evaluation = try EvaluationStep(model) { $0($1.x).sum() }
    #expect(try evaluation.run(Batch(["x": NDArray(zeros: .f32(1, 2))])).loss.isFinite)
    let dropping = try Predictor(model, mode: .training) { $0($1) }
    #expect(try dropping(NDArray(zeros: .f32(1, 2))).shape == [1, 1])
  }

  private func images(in folder: String) throws {
    var model = ResNet.cifar(blocks: 1)
    let f = "\(folder)/images.safetensors"
    try model.initialize(seed: 1)
    try SafetensorsFile.write(
      Dictionary(
        uniqueKeysWithValues: model.snapshot().arrays.map { ("module." + $0.key, $0.value) }),
      metadata: [:], to: f)
    try model.load(f, renaming: ["module.": ""])
    try model.save(f)
    model.head = Linear(64, 5)
    try model.load(f, except: ["fc.*"])
    try model.initialize(seed: 2)
    let bn = model.bn1
    bn.freeze()
    try model.freeze("*.running_*")
    let images = NDArray((0..<96).map { Float($0 % 5) }, shape: [2, 4, 4, 3])
    let hook = try Predictor(model) { model, x in
      try model.capturing(["layer1.0"]) { model(x) }.outputs[0]
    }
    #expect(try hook(images).shape == [2, 4, 4, 16])
    do {
      let f = "\(folder)/images.png"
      try Picture(images).write(png: f)
    }
  }
}
