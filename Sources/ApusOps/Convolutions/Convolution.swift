// The convolution over images of one to three axes.

import ApusGraph
import CKernels

/// `y[n, o, m] = Σ_t,c x[n, o · stride - before + t · dilation, c] · w[m, t, c]`: a cross-correlation, as all
/// libraries for learning call a convolution. Operands: x `[n, spatial…, c]` and w `[m, window…, c / groups]`.
/// What lies outside the image is 0. With groups, channel `m` meets the channels `c` of its group only.
package struct Convolution: ConvolutionOp, Contraction {
  package static let mnemonic = "convolution"
  package static let roles = (
    operands: [ConvolutionRole.image, .kernel], result: ConvolutionRole.result
  )
  package static let kind = CK_CONV_FORWARD
  package let geometry: ConvolutionGeometry
  package let result: DType?

  package init(_ window: Window, groups: Int = 1, result: DType? = nil) {
    geometry = ConvolutionGeometry(window, groups: groups)
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    geometry = try ConvolutionGeometry(attributes: attributes)
    result = try attributes.storageType()
  }

  package var attributes: [Attribute] { geometry.attributes + Attribute.storageType(result) }

  package func giving(_ result: DType?) -> Self {
    Self(geometry.window, groups: geometry.groups, result: result)
  }

  package func types(
    _ operands: [TensorType]
  ) throws -> (x: TensorType, w: TensorType, y: TensorType) {
    try expectFloats(operands)
    let (x, w) = (operands[0], operands[1])
    try expectImage(x, "an image")
    try expectKernel(w, image: x)
    return (x, w, try outputType(over: x, channels: w.shape[0]).with(result ?? x.dtype))
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, w, dy) = (context.operands[0], context.operands[1], context.gradient)
    return [
      context.isNeeded[0]
        ? .apply(
          ConvolutionDataGradient(geometry, image: x.shape, result: gradientType(x)), to: dy, w)
        : nil,
      context.isNeeded[1]
        ? .apply(ConvolutionWeightGradient(geometry, result: gradientType(w)), to: x, dy) : nil,
    ]
  }

  package var takesProgram: Bool { true }

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
