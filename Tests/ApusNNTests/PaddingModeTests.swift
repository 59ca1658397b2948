// Convolution layers pad as PyTorch's `padding_mode` says (data by Tests/reference/padding_modes.py).

import Apus
import Foundation
import Testing

private struct Reference: Decodable, Sendable {
  var image, window, stride, padding, dilation, shape: [Int]
  var outputs, groups: Int
  var mode: String
  var y: [Double]
  var gradients: [[Double]]

  static let all: [String: Reference] = {
    let url = Bundle.module.url(
      forResource: "padding-modes", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode([String: Reference].self, from: Data(contentsOf: url))
  }()

  /// What the script calls `numbered`.
  static func numbered(
    _ shape: [Int], _ factor: Int, _ modulus: Int, _ middle: Double, _ scale: Double
  ) -> NDArray {
    NDArray(
      doubles: (0..<shape.reduce(1, *)).map { (Double(factor * $0 % modulus) - middle) / scale },
      type: TensorType(.f32, Shape(shape)))
  }

  /// The layer, with its weight and bias.
  func layer() throws -> (layer: any Layer, parameters: [Parameter]) {
    let inputs = image[image.count - 1]
    let paddingMode = try #require(PaddingMode.allCases.first { "\($0)" == mode })
    let padding: Padding = padding.isEmpty ? .same : .each(padding)
    let (s, d) = (PerAxis(stride), PerAxis(dilation))
    let result: (any Layer, [Parameter?])
    switch window.count {
    case 1:
      let layer = Conv1d(
        inputs, outputs, window[0], stride: s, padding: padding, dilation: d, groups: groups,
        paddingMode: paddingMode)
      result = (layer, [layer.weight, layer.bias])
    case 2:
      let layer = Conv2d(
        inputs, outputs, PerAxis(window), stride: s, padding: padding, dilation: d, groups: groups,
        paddingMode: paddingMode)
      result = (layer, [layer.weight, layer.bias])
    default:
      let layer = Conv3d(
        inputs, outputs, PerAxis(window), stride: s, padding: padding, dilation: d, groups: groups,
        paddingMode: paddingMode)
      result = (layer, [layer.weight, layer.bias])
    }
    let parameters = try result.1.map { try #require($0) }
    try parameters[0].set(Self.numbered(parameters[0].shape.dimensions, 53, 97, 48, 64))
    try parameters[1].set(Self.numbered([outputs], 29, 31, 15, 16))
    return (result.0, parameters)
  }
}

@Suite struct PaddingModeTests {
  @Test(arguments: Reference.all.keys.sorted())
  func layersPad_asPyTorchs(name: String) throws {
    let reference = try #require(Reference.all[name])
    let (layer, parameters) = try reference.layer()
    let x = Reference.numbered(reference.image, 37, 127, 63.25, 64)
    let function = try compile([x.type]) { inputs in
      let y = layer(inputs[0])
      let all = [inputs[0]] + parameters.map(\.tensor)
      return [y] + gradients(of: (y * y).sum() * 0.5, withRespectTo: all)
    }
    let found: [NDArray] = try function(x)
    #expect(found[0].shape.dimensions == reference.shape)
    for (array, expected) in zip(found, [reference.y] + reference.gradients) {
      let size = max(expected.reduce(0) { max($0, abs($1)) }, 1)
      #expect(array.count == expected.count)
      for (a, b) in zip(array.doubles, expected) {
        #expect(abs(a - b) <= 2e-6 * size, "\(name): \(a), not \(b)")
      }
    }
  }

  @Test func theReferenceHasEveryModeInEveryRank() {
    for mode in PaddingMode.allCases {
      for rank in 1...3 {
        #expect(
          Reference.all.values.contains { $0.mode == "\(mode)" && $0.window.count == rank },
          "\(mode), \(rank)")
      }
    }
  }

  @Test func zeros_arePaddingWithZeros() throws {
    let x = NDArray([1, 2, 3, 4], shape: [2, 2])
    let function = try compile(x.type) { $0.padded(low: [1, 0], high: [0, 1], mode: .zeros) }
    let found: NDArray = try function(x)
    #expect(found == NDArray([0, 0, 0, 1, 2, 0, 3, 4, 0], shape: [3, 3]))
  }

  @Test func mistakes_nameTheLayerAndTheNumbers() throws {
    struct Model: Module {
      let first: Conv2d
      func callAsFunction(_ x: Tensor) -> Tensor { first(x) }
    }
    func mistake(_ layer: Conv2d, _ type: TensorType = .f32(1, 3, 4, 2)) throws -> ApusError? {
      let model = Model(first: layer)
      try model.initialize()
      return #expect(throws: ApusError.self) { try compile(type) { model($0) } }
    }
    let wide = try mistake(Conv2d(2, 3, 7, padding: 3, paddingMode: .reflect))
    #expect(wide?.kind == .invalidArgument && wide?.location?.contains("first") == true)
    #expect(wide?.expected == "at most 2 along axis 1", "\(wide!)")
    let round = try mistake(Conv2d(2, 3, 9, padding: 4, paddingMode: .circular))
    #expect(round?.expected == "at most 3 along axis 1", "\(round!)")
    // What is no window is told as of zeros.
    let none = try mistake(Conv2d(2, 3, 3, stride: 0, padding: 1, paddingMode: .circular))
    #expect(none?.kind == .invalidArgument && "\(none!)".contains("strides"), "\(none!)")
    let rank = try mistake(Conv2d(2, 3, 3, padding: 1, paddingMode: .reflect), .f32(3, 4, 2))
    #expect(rank?.kind == .shapeMismatch && "\(rank!)".contains("conv2d"), "\(rank!)")
    let negative = try mistake(Conv2d(2, 3, 3, padding: .all(-1), paddingMode: .replicate))
    #expect(negative?.kind == .invalidArgument, "\(negative!)")
    let large = try mistake(Conv2d(2, 3, 9, padding: 2, paddingMode: .replicate))
    #expect(large?.kind == .shapeMismatch && large?.location?.contains("first") == true)
  }
}
