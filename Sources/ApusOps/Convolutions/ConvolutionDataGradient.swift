// The gradient of a convolution by its image, which is the transposed convolution.

import ApusGraph
import CKernels

/// `dx[n, i, c] = Σ dy[n, o, m] · w[m, t, c]` over all places o and taps t of the convolution that meet
/// element i. Operands: dy `[n, outputs…, m]` and w `[m, window…, c / groups]`. By itself it is the transposed
/// convolution.
///
/// Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
package struct ConvolutionDataGradient: ConvolutionOp, Contraction {
  package static let mnemonic = "convolution_data_gradient"
  package static let roles = (
    operands: [ConvolutionRole.result, .kernel], result: ConvolutionRole.image
  )
  package static let kind = CK_CONV_DATA
  package let geometry: ConvolutionGeometry
  /// The image's spatial extents: several give the same outputs.
  package let image: [Int]
  package let result: DType?

  package init(_ geometry: ConvolutionGeometry, image: [Int], result: DType? = nil) {
    self.geometry = geometry
    self.image = image
    self.result = result
  }

  /// - `image`: `[n, spatial…, c]`.
  init(_ geometry: ConvolutionGeometry, image: Shape, result: DType? = nil) {
    self.init(geometry, image: Array(image.dimensions.dropFirst().dropLast()), result: result)
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      try ConvolutionGeometry(attributes: attributes), image: try attributes.ints("image"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    geometry.attributes + [Attribute("image", .ints(image))] + Attribute.storageType(result)
  }

  package func giving(_ result: DType?) -> Self { Self(geometry, image: image, result: result) }

  package func types(
    _ operands: [TensorType]
  ) throws -> (x: TensorType, w: TensorType, y: TensorType) {
    try expectFloats(operands)
    let (y, w) = (operands[0], operands[1])
    try expectImage(y, "a gradient")
    guard image.count == geometry.window.rank, image.allSatisfy({ $0 >= 0 }), w.rank >= 2 else {
      throw ApusError(
        .invalidArgument, "\(mnemonic): a kernel \(w) and an image of extents \(image)",
        expected: "an extent for each spatial axis")
    }
    let channels = Shape.product(w.shape[-1], geometry.groups)
    let x = try y.with(Shape([y.shape[0]] + image + [channels])).with(result ?? y.dtype).checked(
      mnemonic)
    try expectKernel(w, image: x)
    let wanted = try outputType(over: x, channels: w.shape[0]).with(y.dtype)
    guard y == wanted else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(y) for an image of extents \(image) and a kernel \(w)",
        expected: "\(wanted)")
    }
    return (x, w, y)
  }

  // The form is linear in each of its three arrays.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (dy, w, g) = (context.operands[0], context.operands[1], context.gradient)
    return [
      context.isNeeded[0]
        ? .apply(
          Convolution(geometry.window, groups: geometry.groups, result: gradientType(dy)), to: g, w)
        : nil,
      context.isNeeded[1]
        ? .apply(ConvolutionWeightGradient(geometry, result: gradientType(w)), to: g, dy) : nil,
    ]
  }

  /// With a stride the image is made in phases.
  package var takesProgram: Bool { geometry.window.strides.allSatisfy { $0 == 1 } }

  package func canFollow(_ view: View, result: Shape) -> Bool {
    ConvolutionLowering.canFollow(view, result: result)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try ConvolutionLowering.call(self, site)
  }

  package func lower(_ site: LoweringSite, program: LoopProgram) throws -> KernelCall {
    try ConvolutionLowering.call(self, program, site)
  }
}
