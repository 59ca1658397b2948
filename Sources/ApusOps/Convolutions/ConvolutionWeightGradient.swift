// The gradient of a convolution by its kernel.

import ApusGraph
import CKernels

/// `dw[m, t, c] = Σ_n,o dy[n, o, m] · x[n, o · stride - before + t · dilation, c]`. Operands: x
/// `[n, spatial…, c]` and dy `[n, outputs…, m]`.
package struct ConvolutionWeightGradient: ConvolutionOp {
  package static let mnemonic = "convolution_weight_gradient"
  package static let roles = (
    operands: [ConvolutionRole.image, .result], result: ConvolutionRole.kernel
  )
  package static let kind = CK_CONV_WEIGHTS
  package let geometry: ConvolutionGeometry
  package let result: DType?

  package init(_ geometry: ConvolutionGeometry, result: DType? = nil) {
    self.geometry = geometry
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    geometry = try ConvolutionGeometry(attributes: attributes)
    result = try attributes.storageType()
  }

  package var attributes: [Attribute] { geometry.attributes + Attribute.storageType(result) }

  package func giving(_ result: DType?) -> Self { Self(geometry, result: result) }

  package func types(
    _ operands: [TensorType]
  ) throws -> (x: TensorType, w: TensorType, y: TensorType) {
    try expectFloats(operands)
    let (x, y) = (operands[0], operands[1])
    try expectImage(x, "an image")
    try expectImage(y, "a gradient")
    try expectGroups(x.shape[-1], "input channels")
    try expectGroups(y.shape[-1], "output channels")
    let wanted = try outputType(over: x, channels: y.shape[-1]).with(y.dtype)
    guard y == wanted else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(y) for an image \(x)", expected: "\(wanted)")
    }
    let w = Shape([y.shape[-1]] + geometry.window.sizes + [x.shape[-1] / geometry.groups])
    return (x, try x.with(w).with(result ?? x.dtype).checked(mnemonic), y)
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, dy, g) = (context.operands[0], context.operands[1], context.gradient)
    return [
      context.isNeeded[0]
        ? .apply(
          ConvolutionDataGradient(geometry, image: x.shape, result: gradientType(x)), to: dy, g)
        : nil,
      context.isNeeded[1]
        ? .apply(
          Convolution(geometry.window, groups: geometry.groups, result: gradientType(dy)), to: x, g)
        : nil,
    ]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try ConvolutionLowering.call(self, site)
  }
}
