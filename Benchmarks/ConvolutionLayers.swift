// The layers that `apus bench conv` times: those of known networks, each once.

import Apus

/// A convolution of images with as much padding as keeps their extents at a stride of 1.
package struct ConvolutionLayer: Sendable, Hashable, CustomStringConvertible {
  /// Height and width of the image.
  let height, width: Int
  let inputs, outputs: Int
  /// Of the window, on both axes; odd.
  let size: Int
  let stride, groups: Int

  init(
    _ extents: (height: Int, width: Int), _ inputs: Int, _ outputs: Int, _ size: Int,
    stride: Int = 1, groups: Int = 1
  ) {
    (height, width) = extents
    (self.inputs, self.outputs, self.size) = (inputs, outputs, size)
    (self.stride, self.groups) = (stride, groups)
  }

  package static let expectation =
    "HxWxINPUTS:OUTPUTS:WINDOW[:STRIDE[:GROUPS]] with an odd window, as in 56x56x64:64:3"

  /// Reads `56x56x64:128:3:2`.
  ///
  /// - Throws: `invalidArgument` for anything else, numbers that no convolution has, and arrays of more than
  ///   2^30 elements an image.
  package init(_ text: String) throws {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let image = (parts.first ?? "").split(separator: "x", omittingEmptySubsequences: false)
    let numbers = (image + parts.dropFirst()).map { Int($0) ?? 0 }
    let limit = 1 << 30
    guard image.count == 3, (3...5).contains(parts.count),
      numbers.allSatisfy({ (1...1 << 20).contains($0) }), numbers[4] % 2 == 1
    else { throw Self.mistake(text) }
    self.init(
      (numbers[0], numbers[1]), numbers[2], numbers[3], numbers[4],
      stride: numbers.count > 5 ? numbers[5] : 1, groups: numbers.count > 6 ? numbers[6] : 1)
    guard inputs % groups == 0, outputs % groups == 0,
      max(imageShape(1).count, resultShape(1).count, kernelShape.count) <= limit
    else { throw Self.mistake(text) }
  }

  private static func mistake(_ text: String) -> ApusError {
    ApusError(.invalidArgument, "layer '\(text)'", expected: expectation)
  }

  package var description: String {
    let isDepthwise = groups > 1 && groups == inputs && groups == outputs
    return "\(size)x\(size)" + (stride > 1 ? "/\(stride)" : "") + " \(inputs) to \(outputs)"
      + (isDepthwise ? " depthwise" : groups > 1 ? " in \(groups)" : "") + " at \(height)x\(width)"
  }

  private func places(_ extent: Int) -> Int { (extent - 1) / stride + 1 }

  func imageShape(_ batch: Int) -> Shape { [batch, height, width, inputs] }
  func resultShape(_ batch: Int) -> Shape { [batch, places(height), places(width), outputs] }
  var kernelShape: Shape { [outputs, size, size, inputs / groups] }
}

/// The layers of a network.
package enum ConvolutionSet: String, Sendable, CaseIterable {
  case resnet50, mobilenetv2, vgg16, unet

  package var layers: [ConvolutionLayer] {
    switch self {
    case .resnet50: Self.resNet50
    case .mobilenetv2: Self.mobileNetV2
    case .vgg16: Self.vgg
    case .unet: Self.uNet
    }
  }

  /// A square image of so many pixels a side.
  private static func layer(
    _ side: Int, _ inputs: Int, _ outputs: Int, _ size: Int, stride: Int = 1, groups: Int = 1
  ) -> ConvolutionLayer {
    ConvolutionLayer((side, side), inputs, outputs, size, stride: stride, groups: groups)
  }

  /// Of images of 224 x 224, with the stride at the 3x3 convolutions.
  private static let resNet50: [ConvolutionLayer] =
    [layer(224, 3, 64, 7, stride: 2), layer(56, 64, 64, 1)]
    + [(56, 64), (28, 128), (14, 256), (7, 512)].flatMap { side, width -> [ConvolutionLayer] in
      // What leads into a stage from the one before.
      let entry =
        width == 64
        ? []
        : [
          layer(2 * side, 2 * width, width, 1), layer(2 * side, width, width, 3, stride: 2),
          layer(2 * side, 2 * width, 4 * width, 1, stride: 2),
        ]
      return entry + [
        layer(side, width, width, 3), layer(side, width, 4 * width, 1),
        layer(side, 4 * width, width, 1),
      ]
    }

  private static let mobileNetV2: [ConvolutionLayer] =
    [layer(224, 3, 32, 3, stride: 2)]
    + [
      (112, 32, 1), (112, 96, 2), (56, 144, 1), (56, 144, 2), (28, 192, 1), (28, 192, 2),
      (14, 384, 1), (14, 576, 1), (14, 576, 2), (7, 960, 1),
    ].map { layer($0, $1, $1, 3, stride: $2, groups: $1) }
    + [
      (112, 32, 16), (112, 16, 96), (56, 24, 144), (56, 144, 24), (28, 32, 192), (28, 192, 32),
      (14, 64, 384), (14, 384, 64), (14, 96, 576), (14, 576, 96), (7, 160, 960), (7, 960, 160),
      (7, 960, 320), (7, 320, 1280),
    ].map { layer($0, $1, $2, 1) }

  private static let vgg: [ConvolutionLayer] = [
    (224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), (56, 256, 256),
    (28, 256, 512), (28, 512, 512), (14, 512, 512),
  ].map { layer($0, $1, $2, 3) }

  /// Of images of 128 x 128; what leads up is the data gradient of the layers with a stride.
  private static let uNet: [ConvolutionLayer] =
    [
      (128, 1, 64), (128, 64, 64), (64, 64, 128), (64, 128, 128), (32, 128, 256), (32, 256, 256),
      (16, 256, 512), (16, 512, 512), (8, 512, 1024), (8, 1024, 1024), (16, 1024, 512),
      (32, 512, 256), (64, 256, 128), (128, 128, 64),
    ].map { layer($0, $1, $2, 3) }
    + [(128, 64, 64), (64, 128, 128), (32, 256, 256), (16, 512, 512)].map {
      layer($0, $1, $2, 3, stride: 2)
    } + [layer(128, 64, 2, 1)]
}
