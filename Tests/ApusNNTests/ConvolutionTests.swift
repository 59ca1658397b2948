// Convolutions do what PyTorch's do (data by Tests/reference/convolutions.py), as functions in double and as
// layers in f32, and refuse what has no meaning.

import Apus
import Foundation
import TestSupport
import Testing

/// A convolution as the reference file has it.
private struct ConvolutionReference: Decodable, Sendable {
  var kind: String
  var image, weight: [Int]
  var outputs: Int
  var stride, before, after, dilation: [Int]
  var groups: Int
  var outputPadding: [Int]
  var isSame: Bool
  var shape: [Int]
  var y: [Double]
  var gradients, second: [[Double]]

  static let all: [String: ConvolutionReference] = {
    let url = Bundle.module.url(
      forResource: "convolutions", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode([String: Self].self, from: Data(contentsOf: url))
  }()

  /// What the script calls `numbered`.
  private static func numbered(
    _ shape: [Int], _ factor: Int, _ modulus: Int, _ middle: Double, _ scale: Double
  ) -> NDArray {
    let count = shape.reduce(1, *)
    return NDArray(
      doubles: (0..<count).map { (Double(factor * $0 % modulus) - middle) / scale },
      type: TensorType(.f64, Shape(shape)))
  }

  /// Image, weight, bias.
  var operands: [NDArray] {
    [
      Self.numbered(image, 37, 127, 63.25, 64), Self.numbered(weight, 53, 97, 48, 64),
      Self.numbered([outputs], 29, 31, 15, 16),
    ]
  }

  var padding: Padding { isSame ? .same : .sides(before: before, after: after) }

  func function(_ x: Tensor, _ w: Tensor, _ b: Tensor) -> Tensor {
    let (s, d, o) = (PerAxis(stride), PerAxis(dilation), PerAxis(outputPadding))
    return switch kind {
    case "conv1d":
      conv1d(x, w, bias: b, stride: s, padding: padding, dilation: d, groups: groups)
    case "conv2d":
      conv2d(x, w, bias: b, stride: s, padding: padding, dilation: d, groups: groups)
    case "conv3d":
      conv3d(x, w, bias: b, stride: s, padding: padding, dilation: d, groups: groups)
    case "convTranspose1d":
      convTranspose1d(
        x, w, bias: b, stride: s, padding: padding, outputPadding: o, dilation: d, groups: groups)
    case "convTranspose2d":
      convTranspose2d(
        x, w, bias: b, stride: s, padding: padding, outputPadding: o, dilation: d, groups: groups)
    default:
      convTranspose3d(
        x, w, bias: b, stride: s, padding: padding, outputPadding: o, dilation: d, groups: groups)
    }
  }

  /// The layer, with weight and bias; nil where there is none of that kind.
  var layer: (layer: any Layer, weight: Parameter, bias: Parameter?)? {
    let (s, d, o) = (PerAxis(stride), PerAxis(dilation), PerAxis(outputPadding))
    let sizes = Array(weight.dropFirst().dropLast()), inputs = image.last!
    switch kind {
    case "conv1d":
      let layer = Conv1d(
        inputs, outputs, sizes[0], stride: s, padding: padding, dilation: d, groups: groups)
      return (layer, layer.weight, layer.bias)
    case "conv2d":
      let layer = Conv2d(
        inputs, outputs, PerAxis(sizes), stride: s, padding: padding, dilation: d, groups: groups)
      return (layer, layer.weight, layer.bias)
    case "conv3d":
      let layer = Conv3d(
        inputs, outputs, PerAxis(sizes), stride: s, padding: padding, dilation: d, groups: groups)
      return (layer, layer.weight, layer.bias)
    case "convTranspose1d":
      let layer = ConvTranspose1d(
        inputs, outputs, sizes[0], stride: s, padding: padding, outputPadding: o, dilation: d,
        groups: groups)
      return (layer, layer.weight, layer.bias)
    case "convTranspose2d":
      let layer = ConvTranspose2d(
        inputs, outputs, PerAxis(sizes), stride: s, padding: padding, outputPadding: o,
        dilation: d, groups: groups)
      return (layer, layer.weight, layer.bias)
    default: return nil
    }
  }
}

@Suite struct ConvolutionTests {
  private func expectClose(
    _ found: [Double], _ expected: [Double], _ what: String, tolerance: Double
  ) {
    #expect(found.count == expected.count, "\(what)")
    let greatest = expected.reduce(1) { max($0, abs($1)) }
    for (index, (a, b)) in zip(found, expected).enumerated()
    where !(abs(a - b) <= tolerance * greatest) {
      Issue.record("\(what), element \(index): \(a), not \(b)")
    }
  }

  @Test(arguments: ConvolutionReference.all.keys.sorted())
  func valuesAndGradients_twice_arePyTorchs_inDouble(name: String) throws {
    let reference = try #require(ConvolutionReference.all[name])
    let graph = try traced(reference.operands.map(\.type)) { tensors in
      let y = reference.function(tensors[0], tensors[1], tensors[2])
      let first = gradients(of: (y * y).sum() * 0.5, withRespectTo: tensors)
      let energy = ((first[0] * first[0]).sum() + (first[1] * first[1]).sum()) * 0.5
      return [y] + first + gradients(of: energy, withRespectTo: Array(tensors[0...1]))
    }
    let found = try graph.interpret(inputs: reference.operands).outputs
    #expect(found[0].shape == Shape(reference.shape))
    let expected = [reference.y] + reference.gradients + reference.second
    #expect(found.count == expected.count)
    for (index, (a, b)) in zip(found, expected).enumerated() {
      expectClose(a.doubles, b, "\(name), result \(index)", tolerance: 1e-8)
    }
  }

  @Test(arguments: ConvolutionReference.all.keys.sorted())
  func layers_givePyTorchsValuesAndGradients(name: String) throws {
    let reference = try #require(ConvolutionReference.all[name])
    guard let (layer, weight, bias) = reference.layer else {
      // There is a function alone.
      #expect(reference.kind == "convTranspose3d")
      return
    }
    try layer.initialize()
    let operands = reference.operands.map { $0.cast(to: .f32) }
    try weight.set(operands[1])
    try #require(bias).set(operands[2])
    let function = try compile([operands[0].type]) { inputs in
      let y = layer(inputs[0])
      let all = [inputs[0], weight.tensor, bias!.tensor]
      return [y] + gradients(of: (y * y).sum() * 0.5, withRespectTo: all)
    }
    let found: [NDArray] = try function(operands[0])
    for (index, expected) in ([reference.y] + reference.gradients).enumerated() {
      expectClose(found[index].doubles, expected, "\(name), result \(index)", tolerance: 2e-6)
    }
  }

  @Test func theReferenceHasEveryKind() {
    #expect(Set(ConvolutionReference.all.values.map(\.kind)).count == 6)
    #expect(ConvolutionReference.all.count == 20)
  }

  @Test func weightsAndBiases_startWithinPyTorchsBounds() throws {
    struct Model: Module {
      let plain = Conv2d(16, 64, 3)
      let grouped = Conv2d(64, 64, 3, groups: 32)
      let line = Conv1d(32, 64, 5)
      let volume = Conv3d(8, 64, 2)
      // PyTorch takes the second axis of the weight, which has the outputs, for the terms.
      let back = ConvTranspose2d(64, 16, 3, stride: 2)
      let bare = Conv2d(3, 4, 1, bias: false)
    }
    let model = Model()
    try model.initialize(seed: 5)
    func check(_ parameter: Parameter?, _ terms: Int, _ shape: Shape) throws {
      guard let found = parameter else {
        Issue.record("there is no parameter of \(shape)")
        return
      }
      #expect(found.shape == shape)
      let bound = 1 / Double(terms).squareRoot()
      let values = try found.value().doubles
      #expect(values.allSatisfy { abs($0) <= bound * 1.000_001 })
      #expect(values.max()! > 0.85 * bound && values.min()! < -0.85 * bound)
    }
    try check(model.plain.weight, 144, [64, 3, 3, 16])
    try check(model.plain.bias, 144, [64])
    try check(model.grouped.weight, 18, [64, 3, 3, 2])
    try check(model.line.weight, 160, [64, 5, 32])
    try check(model.line.bias, 160, [64])
    try check(model.volume.weight, 64, [64, 2, 2, 2, 8])
    try check(model.back.weight, 144, [64, 3, 3, 16])
    #expect(model.back.bias?.shape == [16])
    #expect(model.bare.bias == nil)
    #expect(
      model.parameters.map(\.path).prefix(2) == ["plain.weight", "plain.bias"]
        && model.parameters.count == 11)
  }

  @Test func emptyBatches_haveGradientsOfZero() throws {
    let layer = Conv2d(3, 5, 3, stride: 2, padding: 1)
    try layer.initialize()
    let function = try compile([.f32(0, 8, 8, 3)]) { inputs in
      let y = layer(inputs[0])
      return [y] + gradients(of: y.sum(), withRespectTo: [inputs[0], layer.weight.tensor])
    }
    let found: [NDArray] = try function(NDArray(zeros: .f32(0, 8, 8, 3)))
    #expect(found.map(\.shape) == [[0, 4, 4, 5], [0, 8, 8, 3], [5, 3, 3, 3]])
    #expect(found[2].doubles.allSatisfy { $0 == 0 })
  }

  @Test func aTransposedConvolution_ofOnePlace_isTheKernel() throws {
    let x = NDArray([2, 3], shape: [1, 1, 1, 2])
    let w = NDArray([1, 2, 3, 4], shape: [2, 1, 2, 1])
    let function = try compile([x.type, w.type]) { [convTranspose2d($0[0], $0[1], stride: 3)] }
    let found: [NDArray] = try function(x, w)
    #expect(found[0] == NDArray([11, 16], shape: [1, 1, 2, 1]))
  }

  // MARK: Mistakes

  private struct Net: Module {
    let stem = Conv2d(3, 8, 3, padding: 1)
    let features: [Conv2d]
    let up: ConvTranspose2d?
    let line: Conv1d?

    init(_ layer: Conv2d? = nil, up: ConvTranspose2d? = nil, line: Conv1d? = nil) {
      features = layer.map { [$0] } ?? []
      self.up = up
      self.line = line
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
      if let up { return up(x) }
      if let line { return line(x) }
      return features.reduce(features.isEmpty ? stem(x) : x) { $1($0) }
    }
  }

  private func failure(_ net: Net, _ shape: Shape) throws -> ApusError {
    do {
      try net.initialize()
      _ = try compile([TensorType(.f32, shape)]) { [net($0[0])] }
    } catch let error as ApusError {
      return error
    }
    Issue.record("nothing is wrong with \(shape)")
    return ApusError(.unsupported, "nothing")
  }

  @Test func mistakes_nameModuleLineAndNumbers() throws {
    let cases: [(Net, Shape, ApusError.Kind, [String])] = [
      // NCHW: both readings.
      (
        Net(), [8, 3, 32, 32], .shapeMismatch,
        ["f32[8,3,32,32]", "32 channels", "takes 3", "axis 1 has 3"]
      ),
      (Net(), [8, 32, 32, 4], .shapeMismatch, ["4 channels", "takes 3", "stem"]),
      (Net(), [32, 32, 3], .shapeMismatch, ["f32[32,32,3]", "2 spatial axes", "stem"]),
      (
        Net(Conv2d(6, 8, 3, groups: 4)), [1, 5, 5, 6], .invalidArgument,
        ["6 input channels", "4 groups", "features.0"]
      ),
      (
        Net(Conv2d(8, 6, 3, groups: 4)), [1, 5, 5, 8], .invalidArgument,
        ["6 output channels", "4 groups"]
      ),
      (
        Net(Conv2d(8, 8, 3, groups: 0)), [1, 5, 5, 8], .invalidArgument, ["0 groups", "features.0"]
      ),
      (Net(Conv2d(3, 8, 7)), [1, 5, 6, 3], .shapeMismatch, ["spans 7", "[5, 6]", "features.0"]),
      (Net(Conv2d(3, 8, 3, dilation: 4)), [1, 8, 9, 3], .shapeMismatch, ["spans 9", "[8, 9]"]),
      (
        Net(Conv2d(3, 8, 3, stride: 0)), [1, 5, 5, 3], .invalidArgument,
        ["strides [0, 0]", "features.0"]
      ),
      (
        Net(Conv2d(3, 8, 3, stride: [1, 2, 3])), [1, 5, 5, 3], .invalidArgument,
        ["strides", "2 spatial axes"]
      ),
      (
        Net(Conv2d(3, 8, 3, padding: .all(-1))), [1, 5, 5, 3], .invalidArgument,
        ["padding [-1, -1]"]
      ),
      (Net(Conv2d(3, 8, 3, dilation: 0)), [1, 5, 5, 3], .invalidArgument, ["dilations [0, 0]"]),
      (
        Net(up: ConvTranspose2d(3, 8, 3, stride: 2, outputPadding: 2)), [1, 5, 5, 3],
        .invalidArgument, ["output padding of 2", "[2, 2]", "up"]
      ),
      (
        Net(up: ConvTranspose2d(3, 8, 3, padding: 4)), [1, 3, 3, 3], .shapeMismatch,
        ["padding of 4", "axis 0", "up"]
      ),
      (Net(up: ConvTranspose2d(3, 8, 3)), [1, 3, 3, 4], .shapeMismatch, ["4", "3", "up"]),
      (Net(line: Conv1d(3, 8, 3)), [1, 9, 9, 3], .shapeMismatch, ["1 spatial axes", "line"]),
    ]
    for (net, shape, kind, parts) in cases {
      let error = try failure(net, shape)
      let text = "\(error)"
      #expect(error.kind == kind, "\(text)")
      for part in parts + ["ConvolutionTests.swift:"] {
        #expect(text.contains(part), "'\(part)' is not in: \(text)")
      }
    }
  }

  @Test func wholeNumbersAndBiasesOfAnotherLength_areRefused() throws {
    func failure(_ types: [TensorType], _ body: ([Tensor]) -> Tensor) -> String {
      let result = Result { try traced(types) { [body($0)] } }
      guard case .failure(let error) = result else { return "" }
      return "\(error)"
    }
    let image = TensorType.f32(1, 4, 4, 3), weight = TensorType.f32(8, 3, 3, 3)
    #expect(
      failure([image.with(.i32), weight.with(.i32)]) { conv2d($0[0], $0[1]) }.contains(
        "floating-point"))
    #expect(
      failure([image, weight, .f32(3)]) { conv2d($0[0], $0[1], bias: $0[2]) }.contains(
        "f32[3] for 8 channels"))
    #expect(failure([image, .f32(8, 3, 3)]) { conv2d($0[0], $0[1]) }.contains("f32[8,3,3]"))
  }
}
