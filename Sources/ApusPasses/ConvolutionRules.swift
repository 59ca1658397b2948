// The identities of convolutions.

import ApusGraph
import ApusOps

extension AlgebraRules {
  /// A window of one element that meets every element of the image is a matrix product of channels, with all
  /// that products can do.
  ///
  ///     %2 = convolution(%0, %1) {sizes=[1, 1], …} : f32[8,7,7,64]        %2 = reshape(%1) : f32[64,256]
  ///                                                                 =>    %3 = matmul(%0, %2) {transposeB=true}
  static let convolutions: [AlgebraRule] = [
    .init("convolution-of-points", Convolution.self) { s, op in
      guard let kernel = try s.matrix(s[1], op.geometry) else { return nil }
      return try s.make(MatMul(transposeB: true), s[0], kernel)
    },
    .init("gradient-of-points", ConvolutionDataGradient.self) { s, op in
      guard let kernel = try s.matrix(s[1], op.geometry) else { return nil }
      return try s.make(MatMul(), s[0], kernel)
    },
    .init("kernel-gradient-of-points", ConvolutionWeightGradient.self) { s, op in
      guard op.geometry.meetsPoints else { return nil }
      let (x, dy) = (s.type(of: s[0]).shape, s.type(of: s[1]).shape)
      let rows = dy.dimensions.dropLast().reduce(1, *)
      guard !sumsPlaces(rows: rows, channels: x[-1] + dy[-1]) else { return nil }
      let product = try s.make(
        MatMul(transposeA: true), s.reshape(s[1], [rows, dy[-1]]), s.reshape(s[0], [rows, x[-1]]))
      return try s.reshape(product, s.type.shape)
    },
  ]

  /// Whether the convolution's kernel makes a kernel's gradient of so many places. It sums in blocks of places,
  /// of which it reads both arrays near the processor, where a product of few channels waits for memory. Measured
  /// on Zen 5, 56x56 places of 16 images, 64 to 256 channels: 440 GFLOPS beside 370, and by pairs of bf16 780
  /// beside 300; from 512 channels on, at 28x28, no faster.
  private static func sumsPlaces(rows: Int, channels: Int) -> Bool {
    rows >= 32768 || rows >= 8192 && channels <= 512
  }
}

extension ConvolutionGeometry {
  /// Whether each place of the result is made of the one element of the image at the same place.
  fileprivate var meetsPoints: Bool {
    groups == 1 && window.count == 1 && window.strides.allSatisfy { $0 == 1 }
      && (window.before + window.after).allSatisfy { $0 == 0 }
  }
}

extension Site {
  /// The kernel as `[outputs, inputs]` where its window is one element.
  fileprivate func matrix(_ kernel: Operand, _ geometry: ConvolutionGeometry) throws -> Operand? {
    guard geometry.meetsPoints else { return nil }
    let shape = type(of: kernel).shape
    return try reshape(kernel, [shape[0], shape[-1]])
  }
}
