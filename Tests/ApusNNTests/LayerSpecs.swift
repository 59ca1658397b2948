// A line for each layer: how it is made, what it takes and gives, what its parameters are called, and whether training
// differs from evaluation. Every line is held to its types, to a gradient check in double, and to its two modes. Values
// stand in the reference files of LayerVectorTests, ConvolutionTests, PoolingTests and others.

import Apus
import Foundation
import Testing

/// What is known of a layer.
private struct LayerSpec: Sendable, CustomTestStringConvertible {
  var name: String
  var input: TensorType
  var output: TensorType
  var parameters: [String]
  /// Whether training gives something else than evaluation.
  var differs: Bool
  var make: @Sendable () -> any Layer

  init(
    _ name: String, _ input: TensorType, _ output: TensorType? = nil, _ parameters: [String] = [],
    differs: Bool = false, _ make: @escaping @Sendable () -> any Layer
  ) {
    self.name = name
    self.input = input
    self.output = output ?? input
    self.parameters = parameters
    self.differs = differs
    self.make = make
  }

  var testDescription: String { name }
}

private let affine = ["weight", "bias"]
private let row = TensorType.f32(3, 4)
private let series = TensorType.f32(2, 6, 4)
private let image = TensorType.f32(2, 4, 6, 4)
private let volume = TensorType.f32(1, 4, 4, 4, 2)

private let specs: [LayerSpec] = [
  LayerSpec("Linear", row, .f32(3, 5), affine) { Linear(4, 5) },
  LayerSpec("Embedding", .i32(3), .f32(3, 5), ["weight"]) { Embedding(7, 5) },
  LayerSpec("Flatten", image, .f32(2, 96)) { Flatten() },
  LayerSpec("Conv1d", series, .f32(2, 4, 3), affine) { Conv1d(4, 3, 3) },
  LayerSpec("Conv2d", image, .f32(2, 2, 3, 3), affine) {
    Conv2d(4, 3, 3, stride: 2, padding: 1)
  },
  LayerSpec("Conv3d", volume, .f32(1, 3, 3, 3, 3), affine) { Conv3d(2, 3, 2) },
  LayerSpec("ConvTranspose1d", series, .f32(2, 8, 3), affine) { ConvTranspose1d(4, 3, 3) },
  LayerSpec("ConvTranspose2d", image, .f32(2, 5, 7, 3), affine) { ConvTranspose2d(4, 3, 2) },
  LayerSpec("ConvTranspose3d", volume, .f32(1, 5, 5, 5, 3), affine) { ConvTranspose3d(2, 3, 2) },
  LayerSpec("MaxPool1d", series, .f32(2, 3, 4)) { MaxPool1d(2) },
  LayerSpec("MaxPool2d", image, .f32(2, 2, 3, 4)) { MaxPool2d(2) },
  LayerSpec("MaxPool3d", volume, .f32(1, 2, 2, 2, 2)) { MaxPool3d(2) },
  LayerSpec("AvgPool1d", series, .f32(2, 3, 4)) { AvgPool1d(2) },
  LayerSpec("AvgPool2d", image, .f32(2, 2, 3, 4)) { AvgPool2d(2) },
  LayerSpec("AvgPool3d", volume, .f32(1, 2, 2, 2, 2)) { AvgPool3d(2) },
  LayerSpec("AdaptiveAvgPool1d", series, .f32(2, 4, 4)) { AdaptiveAvgPool1d(4) },
  LayerSpec("AdaptiveAvgPool2d", image, .f32(2, 3, 3, 4)) { AdaptiveAvgPool2d(3) },
  LayerSpec("AdaptiveAvgPool3d", volume, .f32(1, 3, 3, 3, 2)) { AdaptiveAvgPool3d(3) },
  LayerSpec("AdaptiveMaxPool1d", series, .f32(2, 4, 4)) { AdaptiveMaxPool1d(4) },
  LayerSpec("AdaptiveMaxPool2d", image, .f32(2, 3, 3, 4)) { AdaptiveMaxPool2d(3) },
  LayerSpec("AdaptiveMaxPool3d", volume, .f32(1, 3, 3, 3, 2)) { AdaptiveMaxPool3d(3) },
  LayerSpec("GlobalAveragePool", image, .f32(2, 4)) { GlobalAveragePool() },
  LayerSpec("GlobalMaxPool", image, .f32(2, 4)) { GlobalMaxPool() },
  LayerSpec("LPPool", image, .f32(2, 2, 3, 4)) { LPPool(2, 2) },
  LayerSpec("Upsample", image, .f32(2, 8, 12, 4)) { Upsample(scale: 2, mode: .linear) },
  LayerSpec("PixelShuffle", image, .f32(2, 8, 12, 1)) { PixelShuffle(2) },
  LayerSpec("PixelUnshuffle", image, .f32(2, 2, 3, 16)) { PixelUnshuffle(2) },
  LayerSpec("Pad", image, .f32(2, 6, 8, 4)) { Pad(1, mode: .reflect) },
  LayerSpec("BatchNorm", row, nil, affine, differs: true) { BatchNorm(4) },
  LayerSpec("GroupNorm", image, nil, affine) { GroupNorm(2, 4) },
  LayerSpec("InstanceNorm", image) { InstanceNorm(4) },
  LayerSpec("LayerNorm", row, nil, affine) { LayerNorm(4) },
  LayerSpec("RMSNorm", row, nil, ["weight"]) { RMSNorm(4) },
  LayerSpec("WeightNorm", row, .f32(3, 5), affine + ["weight_g"]) { WeightNorm(Linear(4, 5)) },
  // No gradient goes through the singular vectors, which counts for nothing where they have been found.
  LayerSpec("SpectralNorm", row, .f32(3, 5), affine) {
    SpectralNorm(Linear(4, 5), iterations: 100)
  },
  LayerSpec("LearnedPositions", series, nil, ["weight"]) { LearnedPositions(8, 4) },
  LayerSpec("SinusoidalPositions", series) { SinusoidalPositions() },
  LayerSpec("ResidualBlock", image, .f32(2, 2, 3, 2), blockParameters, differs: true) {
    ResidualBlock(4, 2, stride: 2)
  },
  LayerSpec("Dropout", row, differs: true) { Dropout(0.5) },
  LayerSpec("AlphaDropout", row, differs: true) { AlphaDropout(0.5) },
  LayerSpec("GaussianNoise", row, differs: true) { GaussianNoise(0.3) },
  LayerSpec("Identity", row) { Identity() },
  LayerSpec("Lambda", row) { Lambda { $0 * 2 } },
  LayerSpec("Sequential", row, .f32(3, 2), ["0.weight", "0.bias"]) {
    Sequential {
      Linear(4, 2)
      Tanh()
    }
  },
  LayerSpec("Stack", row, nil, ["0.weight", "0.bias", "1.weight", "1.bias"]) {
    Stack(2) { Linear(4, 4) }
  },
  LayerSpec("Residual", row, nil, ["0.weight", "0.bias"]) { Residual { Linear(4, 4) } },
  LayerSpec("Parallel", row, .f32(3, 2), ["0.weight", "0.bias", "1.weight", "1.bias"]) {
    Parallel {
      Linear(4, 2)
      Linear(4, 2)
    }
  },
  LayerSpec("Concat", row, .f32(3, 6), ["0.weight", "0.bias"]) {
    Concat {
      Linear(4, 2)
      Identity()
    }
  },
  LayerSpec("ReLU", row) { ReLU() },
  LayerSpec("LeakyReLU", row) { LeakyReLU() },
  LayerSpec("PReLU", row, nil, ["weight"]) { PReLU(4) },
  LayerSpec("ReLU6", row) { ReLU6() },
  LayerSpec("GELU", row) { GELU() },
  LayerSpec("SiLU", row) { SiLU() },
  LayerSpec("Mish", row) { Mish() },
  LayerSpec("ELU", row) { ELU() },
  LayerSpec("SELU", row) { SELU() },
  LayerSpec("CELU", row) { CELU(alpha: 0.7) },
  LayerSpec("GLU", row, .f32(3, 2)) { GLU(.silu) },
  LayerSpec("Sigmoid", row) { Sigmoid() },
  LayerSpec("LogSigmoid", row) { LogSigmoid() },
  LayerSpec("HardSigmoid", row) { HardSigmoid() },
  LayerSpec("HardSwish", row) { HardSwish() },
  LayerSpec("HardTanh", row) { HardTanh() },
  LayerSpec("Tanh", row) { Tanh() },
  LayerSpec("Softmax", row) { Softmax() },
  LayerSpec("LogSoftmax", row) { LogSoftmax() },
  LayerSpec("Softmin", row) { Softmin() },
  LayerSpec("Softplus", row) { Softplus() },
  LayerSpec("Softsign", row) { Softsign() },
  LayerSpec("HardShrink", row) { HardShrink() },
  LayerSpec("SoftShrink", row) { SoftShrink() },
  LayerSpec("TanhShrink", row) { TanhShrink() },
  LayerSpec("Threshold", row) { Threshold(0.2, value: -1) },
]

/// Of a block with a shortcut of its own.
private let blockParameters = [
  "conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias",
  "downsample.0.weight", "downsample.1.weight", "downsample.1.bias",
]

/// A layer and, where it takes floats, its input as a parameter: the gradient of it is checked as well.
private struct Probe: Module {
  let layer: Sequential
  let input: Parameter?

  func callAsFunction(_ x: Tensor) -> Tensor { layer(input?.tensor ?? x) }
}

@Suite struct LayerSpecTests {
  /// Models have tests of their own.
  private static let models: Set = ["UNet", "ConvAutoencoder"]

  @Test func everyLayerHasALine() throws {
    var root = URL(filePath: #filePath)
    for _ in 0..<3 { root.deleteLastPathComponent() }
    let folder = root.appending(path: "Sources/ApusNN")
    var found: Set<String> = []
    for case let path as String in FileManager.default.enumerator(atPath: folder.path)!
    where path.hasSuffix(".swift") {
      let text = try String(contentsOf: folder.appending(path: path), encoding: .utf8)
      for match in text.matches(of: /(?m)^public struct (\w+)(?:<[^>]*>)?: [\w, ]*\bLayer\b/) {
        found.insert(String(match.1))
      }
    }
    #expect(found.count > 60)
    #expect(found.subtracting(Self.models) == Set(specs.map(\.name)))
  }

  /// Numbers that are no neighbours of a kink: no two are equal, none is whole.
  private func values(_ type: TensorType, _ seed: Int = 0) -> NDArray {
    if type.dtype == .i32 {
      return try! NDArray(
        checking: (0..<type.count).map { Int32(($0 * 3 + 1) % 7) }, shape: type.shape)
    }
    let values = (0..<type.count).map { index in
      Float(sin(Double(index + seed) * 2.399) * 1.7 + 0.0371)
    }
    return try! NDArray(checking: values, shape: type.shape)
  }

  @Test(arguments: specs) fileprivate func aLayerIsWhatItsLineSays(spec: LayerSpec) throws {
    let layer = spec.make()
    #expect(layer.parameters.map(\.path).sorted() == spec.parameters.sorted())
    let model = Sequential([layer])
    #expect(try model.summary(for: spec.input).parameters == layer.parameterCount)
    try model.initialize(seed: 3)
    let x = values(spec.input)
    func run(_ mode: Mode, _ seed: UInt64) throws -> NDArray {
      try Predictor(model, mode: mode, seed: seed) { $0($1) }(x)
    }
    let evaluated = try run(.evaluation, 1)
    #expect(evaluated.type == spec.output && evaluated.isFinite)
    #expect(try run(.evaluation, 2) == evaluated)
    let copy = try model.copy()
    #expect(try Predictor(copy, seed: 1) { $0($1) }(x) == evaluated)
    #expect(try (run(.training, 1) != evaluated) == spec.differs)
  }

  @Test(arguments: specs) fileprivate func gradientsAreThoseOfDifferences(spec: LayerSpec) throws {
    let isFloat = spec.input.dtype.isFloat
    let x = values(spec.input)
    let probe = Probe(
      layer: Sequential([spec.make()]),
      input: isFloat ? Parameter(spec.input.shape, .custom { _, _ in x }) : nil)
    try probe.initialize(seed: 5)
    let weights = values(spec.output, 7)
    let batch = Batch(["x": x, "weights": weights])
    let check = try checkGradients(of: probe, on: batch) { model, batch in
      (model(batch.x) * batch.weights).sum() + (batch.x.cast(to: .f32) * 0).sum()
    }
    #expect(check.parameters.count == spec.parameters.count + (isFloat ? 1 : 0))
  }
}
