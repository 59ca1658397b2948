// Convolutions and their two gradients, as a compiled graph runs them.

import Apus

/// Which of the three is timed.
package enum ConvolutionPass: String, Sendable, CaseIterable {
  case forward
  /// The gradient of the image.
  case data
  /// The gradient of the weight.
  case weights
}

extension BenchmarkCase {
  /// A convolution of a batch of images, or one of its gradients; all three have the same products.
  ///
  /// - `precision`: in `mixed` all arrays are bf16.
  package static func convolution(
    _ layer: ConvolutionLayer, _ pass: ConvolutionPass, batch: Int,
    precision: Precision = .highest
  ) -> BenchmarkCase {
    let type = precision == .mixed ? DType.bf16 : .f32
    let shapes = [layer.imageShape(batch), layer.kernelShape, layer.resultShape(batch)]
    let terms = layer.kernelShape.count / layer.outputs
    return BenchmarkCase(
      bench: "conv", name: "\(layer) \(pass.rawValue)",
      flops: 2 * Double(shapes[2].count) * Double(terms),
      bytes: Double(type.byteCount) * shapes.reduce(0) { $0 + Double($1.count) },
      settings: [("batch", .integer(batch))],
      peerCase: .object([
        ("family", "conv"), ("operation", .string(pass.rawValue)),
        ("shape", .array(shapes[0].dimensions.map(JSON.integer))),
        ("outputs", .integer(layer.outputs)), ("window", .integer(layer.size)),
        ("stride", .integer(layer.stride)), ("groups", .integer(layer.groups)),
      ])
    ) { options in
      try GraphSide(shapes.map { Operand($0, dtype: type) }, options) { operands in
        let (x, w, seed) = (operands[0], operands[1], operands[2])
        let y = conv2d(
          x, w, stride: PerAxis(layer.stride), padding: .all(layer.size / 2), groups: layer.groups)
        switch pass {
        case .forward: return [y]
        // What is not asked for is not computed: the convolution itself, for one.
        case .data: return gradients(of: y, withRespectTo: [x], seed: seed)
        case .weights: return gradients(of: y, withRespectTo: [w], seed: seed)
        }
      }
    }
  }
}
