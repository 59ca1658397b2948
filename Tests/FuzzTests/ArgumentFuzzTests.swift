// Every public function that takes integers or shapes, with extreme ones: an error or a result, never a trap.

import Apus
import ApusGraph
import ApusOps
import ApusRuntime
import Foundation
import TestSupport
import Testing

/// What a call is made of.
struct Arguments {
  private var random: SplitMix
  /// A tensor of floats, and one of indices.
  let x: Tensor
  let indices: Tensor

  init(_ random: SplitMix, _ trace: Trace) {
    self.random = random
    var own = random
    let shapes: [Shape] = [[], [3], [2, 3], [4, 1, 2], [0, 3], [2, 2, 2, 2]]
    x = trace.input("x", TensorType(.f32, shapes.randomElement(using: &own)!))
    indices = trace.input("i", TensorType(.i32, [[], [3], [2, 3]].randomElement(using: &own)!))
    self.random = own
  }

  /// Images where the rank allows any, and a window's numbers.
  var images: Tensor {
    mutating get {
      let shapes: [Shape] = [
        [2, 5, 3], [2, 5, 4, 3], [1, 3, 4, 5, 2], [0, 4, 4, 1], [1, 0, 4, 2],
      ]
      return flag ? x : x.trace.full(shapes.randomElement(using: &random)!, 0.5)
    }
  }
  var perAxis: PerAxis { mutating get { flag ? PerAxis(n) : PerAxis(ns) } }
  var padding: Padding {
    mutating get {
      switch Int.random(in: 0...3, using: &random) {
      case 0: .same
      case 1: .all(n)
      case 2: .each(ns)
      default: .sides(before: ns, after: ns)
      }
    }
  }

  private static let extremes: [Int] = [
    0, 1, -1, 2, 3, 7, -4, .max, .min, .max - 1, .min + 1, 1 << 31, -(1 << 31), 1 << 32, 1 << 40,
    -(1 << 40),
    1 << 47, 1 << 48, 1 << 60, 1 << 62, 4096,
  ]

  /// Half the time a number that may well be right.
  var n: Int {
    mutating get {
      Bool.random(using: &random)
        ? Int.random(in: -3...4, using: &random) : Self.extremes.randomElement(using: &random)!
    }
  }

  /// A number of features: none that a machine might just have memory for.
  var size: Int {
    mutating get {
      let n = n
      return (1 << 20..<1 << 40).contains(n) ? 1 << 41 : n
    }
  }

  var ns: [Int] {
    mutating get {
      let count = Bool.random(using: &random) ? x.rank : Int.random(in: 0...5, using: &random)
      var list: [Int] = []
      for _ in 0..<count { list.append(n) }
      return list
    }
  }

  var shape: Shape { mutating get { Shape(ns) } }

  var d: Double {
    mutating get {
      [0, 1, -1, 0.5, .nan, .infinity, -.infinity, 1e300, -1e300, 0x1p-1022, 0x1p63, Double(n)]
        .randomElement(using: &random)!
    }
  }

  var flag: Bool { mutating get { Bool.random(using: &random) } }

  var dtype: DType { mutating get { DType.allCases.randomElement(using: &random)! } }

  /// A weight that may go with the images.
  var kernel: Tensor {
    mutating get {
      let shapes: [Shape] = [
        [4, 3, 3], [4, 3, 2, 3], [2, 1, 2, 1, 2], [3, 3, 3, 1], [2, 1, 1, 2], [0, 2, 2, 1],
        [3, 0, 1, 3],
      ]
      return x.trace.full(shapes.randomElement(using: &random)!, 0.5)
    }
  }

  /// A window's numbers, half the time those of a plain one.
  var window: (stride: PerAxis, padding: Padding, dilation: PerAxis, groups: Int) {
    mutating get {
      (flag ? 1 : perAxis, flag ? .same : padding, flag ? 1 : perAxis, flag ? 1 : n)
    }
  }

  /// A range with both ends, or one.
  var range: (Int?, Int?) { mutating get { (flag ? n : nil, flag ? n : nil) } }
}

/// By name: what takes integers, shapes or numbers that could be none.
nonisolated(unsafe) private let calls: [(String, (inout Arguments) -> [Tensor])] = [
  ("sum", { [$0.x.sum(axes: $0.ns, keepDims: $0.flag), $0.x.sum(axis: $0.n)] }),
  ("mean", { [$0.x.mean(axes: $0.ns), $0.x.mean(axis: $0.n)] }),
  ("max", { [$0.x.max(axes: $0.ns), $0.x.max(axis: $0.n)] }),
  ("min", { [$0.x.min(axes: $0.ns), $0.x.min(axis: $0.n)] }),
  ("product", { [$0.x.product(axes: $0.ns), $0.x.product(axis: $0.n)] }),
  ("any", { [$0.x.any(axes: $0.ns)] }), ("all", { [$0.x.all(axis: $0.n)] }),
  ("variance", { [$0.x.variance(axes: $0.ns, correction: $0.d)] }),
  ("std", { [$0.x.std(axis: $0.n, correction: $0.d)] }),
  ("logsumexp", { [$0.x.logsumexp(axes: $0.ns)] }),
  ("norm", { [$0.x.norm(order: $0.d, axes: $0.ns), $0.x.norm(axis: $0.n)] }),
  ("argmax", { [$0.x.argmax(axis: $0.n)] }), ("argmin", { [$0.x.argmin(axis: $0.n)] }),
  ("sorted", { [$0.x.sorted(axis: $0.n).values] }),
  ("topK", { [$0.x.topK($0.n, axis: $0.n).values] }),
  ("cumulativeSum", { [$0.x.cumulativeSum(axis: $0.n, isReverse: $0.flag)] }),
  ("softmax", { [softmax($0.x, axis: $0.n), $0.x.softmax(axis: $0.n)] }),
  ("logSoftmax", { [logSoftmax($0.x, axis: $0.n)] }),
  ("reshaped", { [$0.x.reshaped($0.shape)] }), ("flattened", { [$0.x.flattened(from: $0.n)] }),
  ("broadcast", { [$0.x.broadcast(to: $0.shape)] }), ("sum(to:)", { [$0.x.sum(to: $0.shape)] }),
  ("transposed", { [$0.x.transposed($0.ns)] }),
  ("swappingAxes", { [$0.x.swappingAxes($0.n, $0.n)] }),
  ("movingAxis", { [$0.x.movingAxis($0.n, to: $0.n)] }),
  ("squeezed", { [$0.x.squeezed(axes: $0.ns), $0.x.squeezed(axis: $0.n)] }),
  ("expandingDims", { [$0.x.expandingDims(at: $0.n)] }),
  ("repeated", { [$0.x.repeated($0.n, axis: $0.n)] }), ("tiled", { [$0.x.tiled($0.ns)] }),
  ("lowerTriangle", { [$0.x.lowerTriangle(diagonal: $0.n)] }),
  ("upperTriangle", { [$0.x.upperTriangle(diagonal: $0.n)] }),
  ("sliced", { [$0.x.sliced(axis: $0.n, from: $0.n, to: $0.n, step: $0.n)] }),
  ("sliced(starts:)", { [$0.x.sliced(starts: $0.ns, stops: $0.ns)] }),
  ("subscript", { [$0.x[$0.n, axis: $0.n]] }),
  (
    "subscript range",
    {
      let n = $0.n; return [$0.x[n..., axis: $0.n], $0.x[..<max(n, 0), axis: 0]]
    }
  ),
  ("flipped", { [$0.x.flipped(axes: $0.ns), $0.x.flipped(axis: $0.n)] }),
  ("padded", { [$0.x.padded(low: $0.ns, high: $0.ns, value: $0.d)] }),
  ("rolled", { [$0.x.rolled(by: $0.n, axis: $0.n)] }),
  ("split", { $0.x.split($0.ns, axis: $0.n) }),
  ("chunked", { $0.x.chunked(into: $0.n, axis: $0.n) }),
  ("concat", { [concat([$0.x, $0.x], axis: $0.n)] }),
  ("stack", { [stack([$0.x, $0.x], axis: $0.n)] }),
  ("take", { [$0.x.take($0.indices, axis: $0.n)] }),
  ("takeAlong", { [$0.x.takeAlong($0.indices, axis: $0.n)] }),
  ("scatterAdd", { [$0.x.scatterAdd($0.x, at: $0.indices, axis: $0.n)] }),
  ("scatterAddAlong", { [$0.x.scatterAddAlong($0.x, at: $0.indices, axis: $0.n)] }),
  ("oneHot", { [$0.indices.oneHot($0.n, dtype: $0.dtype)] }),
  ("lengthMask", { [$0.indices.lengthMask($0.n)] }),
  (
    "scan",
    {
      let (last, outputs) = scan(
        [$0.x], from: [$0.x.sum()], length: $0.flag ? $0.n : nil, isReversed: $0.flag,
        checkpoint: $0.flag ? $0.n : nil
      ) { carry, slices in (carry: [carry[0] + slices[0].sum()], outputs: slices) }
      return last + outputs
    }
  ),
  (
    "scaledDotProductAttention",
    {
      let x = $0.flag ? $0.x : $0.x.trace.full([2, 3, 2, 4], 0.5)
      return [scaledDotProductAttention(x, x, x, isCausal: $0.flag, window: $0.n)]
    }
  ),
  (
    "rotaryPositions",
    {
      let x = $0.flag ? $0.x : $0.x.trace.full([2, 3, 2, 4], 0.5)
      return [rotaryPositions(x, offset: $0.n, rotated: $0.flag ? $0.n : nil)]
    }
  ),
  ("alibiSlopes", { [alibiSlopes(heads: $0.n)] }),
  ("sinusoidalPositions", { [sinusoidalPositions(length: $0.n, width: $0.n)] }),
  ("full", { [Tensor.full($0.shape, $0.d, $0.dtype), $0.x.fullLike($0.d)] }),
  ("zeros", { [Tensor.zeros($0.shape, $0.dtype)] }), ("ones", { [Tensor.ones($0.shape)] }),
  ("iota", { [Tensor.iota($0.shape, axis: $0.n, $0.dtype)] }),
  ("eye", { [Tensor.eye($0.n, columns: $0.flag ? $0.n : nil, $0.dtype)] }),
  ("arange", { [Tensor.arange(from: $0.d, to: $0.d, by: $0.d, $0.dtype)] }),
  ("randomNormal", { [Tensor.randomNormal($0.shape, mean: $0.d, deviation: $0.d)] }),
  (
    "randomUniform",
    {
      let d = $0.d; return [Tensor.randomUniform($0.shape, in: 0..<(d > 0 ? d : 1))]
    }
  ),
  ("randomBernoulli", { [Tensor.randomBernoulli($0.shape, p: $0.d)] }),
  ("dropout", { [$0.x.dropout($0.d)] }),
  ("clamp", { [clamp($0.x, low: $0.d, high: $0.d)] }),
  (
    "conv1d",
    {
      let w = $0.window
      return [
        conv1d(
          $0.images, $0.kernel, stride: w.stride, padding: w.padding, dilation: w.dilation,
          groups: w.groups)
      ]
    }
  ),
  (
    "conv2d",
    {
      let w = $0.window
      return [
        conv2d(
          $0.images, $0.kernel, stride: w.stride, padding: w.padding, dilation: w.dilation,
          groups: w.groups)
      ]
    }
  ),
  (
    "conv3d",
    {
      let w = $0.window
      return [
        conv3d(
          $0.images, $0.kernel, stride: w.stride, padding: w.padding, dilation: w.dilation,
          groups: w.groups)
      ]
    }
  ),
  (
    "convTranspose1d",
    {
      let w = $0.window
      let further = $0.flag ? 0 : $0.perAxis
      return [
        convTranspose1d(
          $0.images, $0.kernel, stride: w.stride, padding: w.padding,
          outputPadding: further, dilation: w.dilation,
          groups: w.groups)
      ]
    }
  ),
  (
    "convTranspose2d",
    {
      let w = $0.window
      let further = $0.flag ? 0 : $0.perAxis
      return [
        convTranspose2d(
          $0.images, $0.kernel, stride: w.stride, padding: w.padding,
          outputPadding: further, dilation: w.dilation,
          groups: w.groups)
      ]
    }
  ),
  (
    "convTranspose3d",
    {
      let w = $0.window
      let further = $0.flag ? 0 : $0.perAxis
      return [
        convTranspose3d(
          $0.images, $0.kernel, stride: w.stride, padding: w.padding,
          outputPadding: further, dilation: w.dilation,
          groups: w.groups)
      ]
    }
  ),
  ("leakyRelu", { [leakyRelu($0.x, slope: $0.d)] }),
  ("elu", { [elu($0.x, alpha: $0.d)] }), ("pow", { [pow($0.x, $0.d), pow($0.d, $0.x)] }),
  ("batchNorm", { [batchNorm($0.x, epsilon: $0.d).result] }),
  ("groupNorm", { [groupNorm($0.x, groups: $0.n, epsilon: $0.d)] }),
  ("instanceNorm", { [instanceNorm($0.x, epsilon: $0.d)] }),
  (
    "localResponseNorm",
    { [localResponseNorm($0.x, size: $0.n, alpha: $0.d, beta: $0.d, k: $0.d)] }
  ),
  (
    "interpolate",
    {
      let mode = Interpolation.allCases[$0.ns.count % 4]
      return [
        interpolate($0.x, size: $0.ns, mode: mode, alignCorners: $0.flag),
        interpolate($0.x, scale: [$0.d], mode: mode, alignCorners: $0.flag),
      ]
    }
  ),
  ("pixelShuffle", { [pixelShuffle($0.x, $0.n)] }),
  ("pixelUnshuffle", { [pixelUnshuffle($0.x, $0.n)] }),
  (
    "padded mode",
    { [$0.x.padded(low: $0.ns, high: $0.ns, mode: PaddingMode.allCases[$0.ns.count % 4])] }
  ),
  ("layerNorm", { [layerNorm($0.x, epsilon: $0.d)] }),
  ("rmsNorm", { [rmsNorm($0.x, epsilon: $0.d)] }),
  (
    "arithmetic",
    { [$0.indices + $0.d, $0.indices * $0.d, mod($0.indices, $0.d), $0.indices .< $0.d] }
  ),
  ("crossEntropy", { [crossEntropy($0.x, $0.indices, ignoreIndex: $0.n, labelSmoothing: $0.d)] }),
  ("nll", { [nll($0.x, $0.indices)] }), ("huber", { [huber($0.x, $0.x, delta: $0.d)] }),
  ("focalLoss", { [focalLoss($0.x, $0.x, alpha: $0.d, gamma: $0.d)] }),
  ("smoothL1", { [smoothL1($0.x, $0.x, beta: $0.d)] }),
  ("diceLoss", { [diceLoss($0.x, $0.indices, smoothing: $0.d)] }),
  (
    "margins",
    {
      [
        hinge($0.x, $0.x, margin: $0.d), hingeEmbeddingLoss($0.x, $0.x, margin: $0.d),
        marginRankingLoss($0.x, $0.x, $0.d, margin: $0.d),
        multiMarginLoss($0.x, $0.indices, power: $0.n, margin: $0.d),
        contrastiveLoss($0.x, $0.x, $0.indices, margin: $0.d),
        infoNCE($0.x, $0.x, temperature: $0.d),
      ]
    }
  ),
  (
    "likelihoods",
    {
      [
        poissonNLL($0.x, $0.x, isLog: $0.flag, isFull: $0.flag, epsilon: $0.d),
        gaussianNLL($0.x, $0.x, variance: $0.x, isFull: $0.flag, epsilon: $0.d),
        ctcLoss($0.images, $0.indices, blank: $0.n),
      ]
    }
  ),
  ("psnr", { [psnr($0.x, $0.x, range: $0.d), ssim($0.images, $0.images, range: $0.d)] }),
  (
    "maxPool",
    {
      [
        maxPool(
          $0.images, $0.perAxis, stride: $0.flag ? $0.perAxis : nil, padding: $0.padding,
          dilation: $0.perAxis, ceilMode: $0.flag)
      ]
    }
  ),
  (
    "averagePool",
    {
      [
        averagePool(
          $0.images, $0.perAxis, stride: $0.flag ? $0.perAxis : nil, padding: $0.padding,
          ceilMode: $0.flag, countsPadding: $0.flag, divisor: $0.flag ? $0.d : nil)
      ]
    }
  ),
  (
    "maxUnpool",
    {
      let (y, places) = maxPoolWithIndices($0.images, $0.perAxis, stride: $0.perAxis)
      return [
        maxUnpool(
          y, places, $0.perAxis, stride: $0.perAxis, padding: $0.padding, dilation: $0.perAxis,
          to: $0.flag ? $0.ns : nil)
      ]
    }
  ),
  ("lpPool", { [lpPool($0.images, $0.d, $0.perAxis, stride: $0.perAxis)] }),
  (
    "adaptivePool",
    {
      [
        adaptiveAveragePool($0.images, to: $0.perAxis), adaptiveMaxPool($0.images, to: $0.perAxis),
        globalAveragePool($0.images), globalMaxPool($0.images, keepDims: $0.flag),
      ]
    }
  ),
  ("topKAccuracy", { [topKAccuracy($0.x, $0.indices, k: $0.n)] }),
  ("Linear", { args in built(args.x) { Linear(args.size, args.size) } }),
  ("Conv1d", { args in built(args.images) { Conv1d(args.size, args.size, args.size) } }),
  (
    "Conv2d",
    { args in
      let (w, images, i, o, size) = (args.window, args.images, args.size, args.size, args.perAxis)
      return built(images) {
        Conv2d(
          i, o, size, stride: w.stride, padding: w.padding, dilation: w.dilation, groups: w.groups)
      }
    }
  ),
  (
    "ConvTranspose2d",
    { args in
      let (w, images, i, o, size) = (args.window, args.images, args.size, args.size, args.perAxis)
      let further = args.flag ? 0 : args.perAxis
      return built(images) {
        ConvTranspose2d(
          i, o, size, stride: w.stride, padding: w.padding, outputPadding: further,
          dilation: w.dilation, groups: w.groups)
      }
    }
  ),
  ("Embedding", { args in built(args.indices) { Embedding(args.size, args.size) } }),
  ("LayerNorm", { args in built(args.x) { LayerNorm(args.size, epsilon: args.d) } }),
  (
    "BatchNorm",
    { args in
      let (size, d) = (args.size, args.d)
      return built(args.x) { BatchNorm(size, epsilon: args.d, momentum: d) }
    }
  ),
  ("GroupNorm", { args in built(args.x) { GroupNorm(args.n, args.size, epsilon: args.d) } }),
  (
    "InstanceNorm",
    { args in
      let (size, d) = (args.size, args.d)
      return built(args.x) {
        InstanceNorm(size, epsilon: d, momentum: d, affine: true, tracksStatistics: true)
      }
    }
  ),
  ("Upsample", { args in built(args.x) { Upsample(scale: args.d, mode: .cubic) } }),
  (
    "Pad", { args in built(args.x) { Pad(.sides(before: args.ns, after: args.ns), value: args.d) } }
  ),
  ("RMSNorm", { args in built(args.x) { RMSNorm(args.size, epsilon: args.d) } }),
  ("Flatten", { args in built(args.x) { Flatten(from: args.n) } }),
  ("Dropout", { args in built(args.x) { Dropout(args.d) } }),
  ("AlphaDropout", { args in built(args.x) { AlphaDropout(args.d) } }),
  ("GaussianNoise", { args in built(args.x) { GaussianNoise(args.d) } }),
  ("PReLU", { args in built(args.x) { PReLU(args.size, initial: args.d) } }),
  ("CELU", { args in built(args.x) { CELU(alpha: args.d) } }),
  ("Concat", { args in built(args.x) { Concat(axis: args.n) { [Identity(), ReLU()] } } }),
  (
    "penalties",
    { args in
      let layer = Linear(2, 2)
      do { try layer.initialize() } catch { return [] }
      return [layer.l1Penalty(args.d), layer.l2Penalty(args.d, args.flag ? "*" : "*.no")]
    }
  ),
  ("Stack", { args in built(args.x) { Stack(args.n) { Linear(3, 3) } } }),
]

/// The layer's result, where it can be initialised.
private func built(_ x: Tensor, _ make: () -> some Layer) -> [Tensor] {
  let layer = make()
  do {
    try layer.initialize(seed: 1)
  } catch {
    return []
  }
  return [layer(x)]
}

@Suite struct ArgumentFuzzTests {
  @Test func extremeArguments_giveResultsOrErrors() throws {
    try Fuzz.run("arguments", rounds: 1500) { random in
      let (name, call) = calls.randomElement(using: &random)!
      let trace = Trace(at: "a round of \(name)")
      try Trace.$current.withValue(trace) {
        var arguments = Arguments(random, trace)
        for (index, result) in call(&arguments).enumerated() { trace.output("y\(index)", result) }
        trace.advanceRandomKey()
        do {
          let executable = try Executable(
            recorded: trace, random: RandomSource(seed: 1),
            options: CompileOptions(memoryLimit: 1 << 28))
          guard executable.memory.arena < 1 << 24 else { return }
          let inputs = executable.plan.inputs.map { NDArray(zeros: $0.type) }
          let results = try executable.run(inputs)
          guard results.allSatisfy({ $0.count >= 0 }) else { throw Fuzz.Wrong("a negative count") }
        } catch let error as ApusError {
          guard !error.what.isEmpty, error.kind != .invalidGraph else { throw error }
        }
      }
    }
  }

  /// What works on arrays of the host.
  @Test func extremeArguments_ofArraysAndData() throws {
    try Fuzz.run("host arguments", rounds: 1500) { random in
      let trace = Trace()
      var a = Arguments(random, trace)
      let x = NDArray([1, 2, 3, 4, 5, 6], shape: [2, 3])
      let labels = NDArray([0, 1] as [Int32], shape: [2])
      func attempt(_ body: () throws -> Any) throws {
        do {
          _ = try body()
        } catch is ApusError {}
      }
      let (n, m, list, shape) = (a.n, a.n, a.ns, a.shape)
      try attempt { try NDArray(checking: TensorType(a.dtype, shape)).count }
      try attempt { try NDArray(checking: [1, 2] as [Float], shape: shape) }
      try attempt {
        try NDArray(repeating: NDArray(1), shape: Shape(list.map { min($0, 1 << 5) }))
      }
      try attempt { try x.reshaped(shape) }
      try attempt { try x.slice(axis: n, m...) }
      try attempt { try x.slice(axis: 0, ..<max(m, 0)) }
      try attempt { try x.rows(at: list) }
      try attempt { try x.mean(axis: n) }
      try attempt { try x.standardDeviation(axis: n, correction: a.d) }
      try attempt { try x.standardized(axis: n).values }
      try attempt { try shape.normalized(axis: n) }
      try attempt { try shape.normalized(axes: list) }
      try attempt { try Shape.broadcast(shape, a.shape) }
      try attempt { x.shape[n] }
      let data = try ArrayDataset(["x": x, "y": labels])
      try attempt { try data.batched(n) }
      try attempt { try data.subset(min(n, m)..<max(n, m)) }
      let batches = try data.batched(2)
      try attempt { try batches.makeIterator(epoch: n, startingAt: m).next() as Any }
      try attempt { batches.order(epoch: n) }
      let schedules: [LearningRate] = [
        .step(from: a.d, factor: a.d, every: n), .multiStep(from: a.d, milestones: list),
        .polynomial(from: a.d, steps: n, power: a.d), .cosine(from: a.d, to: a.d, steps: n),
        .cosineWithRestarts(from: a.d, steps: n, growth: m), .inverseRoot(peak: a.d, warmUp: n),
        .oneCycle(peak: a.d, steps: n, rise: a.d, divisor: a.d), .warmUp(steps: n, then: 1),
        .sequence([1, 2], changingAt: [n]), .sequence([1, 2], changingAt: list),
      ]
      for schedule in schedules {
        _ = [schedule.value(at: m), schedule.value(at: 3)]
        try attempt { try Adam(learningRate: schedule).validate() }
      }
      try attempt { try Muon(iterations: n).validate() }
      var top = TopKAccuracy(k: n)
      try attempt { try top.add(scores: x, labels: labels) }
      let table = try CSV.parse(Array("a,b\n1,2\n3,4\n".utf8))
      try attempt { try table.columns(min(n, m)..<max(n, m)) }
      for rate in [
        LearningRate.cosine(from: 0.1, steps: n), .linear(from: 0.1, to: 0, steps: n),
        .step(from: 0.1, factor: a.d, every: n), .exponential(from: 0.1, factor: a.d),
        .warmUp(steps: m, then: 0.1),
      ] {
        _ = rate.value(at: a.n)
      }
      _ = EarlyStopping(patience: n, delta: a.d)
      _ = Checkpointing("a file", every: .steps(n))
    }
  }

  /// A function that takes integers and is not tried would be missed.
  @Test func everyFunctionOfIntegersIsTried() throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/ApusOps")
    var names = Set<String>()
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "swift" else { continue }
      let text = try String(contentsOf: file, encoding: .utf8)
      let pattern = /public (?:static )?func `?(\w+)`?(?:<[^>]*>)?\(([^{}]*?)\)\s*->/
      for match in text.matches(of: pattern)
      where match.2.contains(/: (Int|\[Int\]|Shape)\b/) && match.2.contains("file: StaticString") {
        names.insert(String(match.1))
      }
    }
    #expect(names.count > 40)
    let known = Set(calls.map { String($0.0.prefix { $0.isLetter || $0.isNumber }) })
    let others: Set<String> = [
      // Made of those that are tried, with the same arguments.
      "bernoulli", "range",
    ]
    #expect(names.subtracting(known).subtracting(others).sorted() == [])
  }
}
