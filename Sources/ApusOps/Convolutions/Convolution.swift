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
  package let geometry: ConvolutionGeometry

  package init(_ window: Window, groups: Int = 1) {
    geometry = ConvolutionGeometry(window, groups: groups)
  }

  package init(attributes: AttributeReader) throws {
    geometry = try ConvolutionGeometry(attributes: attributes)
  }

  package var attributes: [Attribute] { geometry.attributes }

  package func types(
    _ operands: [TensorType]
  ) throws -> (x: TensorType, w: TensorType, y: TensorType) {
    try expectFloats(operands)
    let (x, w) = (operands[0], operands[1])
    try expectImage(x, "an image")
    try expectKernel(w, image: x)
    return (x, w, try outputType(over: x, channels: w.shape[0]))
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (x, w, dy) = (context.operands[0], context.operands[1], context.gradient)
    return [
      context.isNeeded[0]
        ? .apply(ConvolutionDataGradient(geometry, image: x.shape), to: dy, w) : nil,
      context.isNeeded[1] ? .apply(ConvolutionWeightGradient(geometry), to: x, dy) : nil,
    ]
  }

  package var takesProgram: Bool { true }

  package func canFollow(_ view: View, result: Shape) -> Bool {
    ConvolutionLowering.canFollow(view, result: result)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try ConvolutionLowering.call(self, CK_CONV_FORWARD, site)
  }

  package func lower(_ site: LoweringSite, program: LoopProgram) throws -> KernelCall {
    try ConvolutionLowering.call(self, CK_CONV_FORWARD, program, site)
  }
}
