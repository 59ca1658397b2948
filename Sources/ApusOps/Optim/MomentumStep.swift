// The update of gradient descent with momentum.

import ApusGraph
import CKernels

/// Gradient descent with momentum, as PyTorch's SGD has it: with `g = ∇ + λ p`,
///
///     v' = μ v + g
///     p' = p - η v', or p - η (g + μ v') with Nesterov's momentum
///
/// Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning"
/// (2013). Operands: of each parameter p, ∇ and v; then η, and where `isScaled` a factor of ∇. Results: of
/// each parameter p' and v'. See ``UpdateOp``.
package struct MomentumStep: UpdateOp {
  package static let mnemonic = "momentum_step"
  package static let slots = 1
  package static let kernel = (op: CK_OPTIM_MOMENTUM, name: "ck_momentum")
  package static let flops = 4.0
  /// μ.
  package let momentum: Double
  package let nesterov: Bool
  /// λ; with 0 nothing is added to the gradient.
  package let weightDecay: Double
  package var parameters: Int
  package var isScaled: Bool
  package var scalars: Int { 1 }

  package init(
    momentum: Double, nesterov: Bool = false, weightDecay: Double = 0, parameters: Int = 1,
    isScaled: Bool = false
  ) {
    self.momentum = momentum
    self.nesterov = nesterov
    self.weightDecay = weightDecay
    self.parameters = parameters
    self.isScaled = isScaled
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      momentum: try attributes.double("momentum"), nesterov: try attributes.bool("nesterov"),
      weightDecay: try attributes.double("weightDecay"),
      parameters: try attributes.int("parameters"), isScaled: try attributes.bool("scaled"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("momentum", .double(momentum)), Attribute("nesterov", .bool(nesterov)),
      Attribute("weightDecay", .double(weightDecay)),
    ] + shared()
  }

  package func updated(_ arrays: [Tensor], _ numbers: [Tensor]) -> [Tensor] {
    let (p, old) = (arrays[0], arrays[2])
    let g = weightDecay == 0 ? arrays[1] : arrays[1] + p * weightDecay
    let v = old * momentum + g
    return [p - (nesterov ? g + v * momentum : v) * numbers[0], v]
  }

  package func updated(_ elements: [Double], _ numbers: [Double]) -> [Double] {
    let g = weightDecay == 0 ? elements[1] : elements[1] + weightDecay * elements[0]
    let v = momentum * elements[2] + g
    return [elements[0] - numbers[0] * (nesterov ? g + momentum * v : v), v]
  }

  package func fill(_ block: inout ck_optim_args) {
    block.first_decay = Float(momentum)
    block.decay = Float(weightDecay)
    block.nesterov = nesterov ? 1 : 0
  }

  package var fields: [Int] { [MemoryLayout<ck_optim_args>.offset(of: \.rate)!] }
}

/// A step of gradient descent with momentum: the parameter's new value and its new velocity.
///
///     let (p, v) = momentumStep(weight, gradient, velocity: old, rate: rate, momentum: 0.9)
///     trace.assign(weight, p)
///     trace.assign(old, v)
///
/// All are kept in the parameter's element type; arrays have its shape.
///
/// - `rate`: a scalar, and so is `scale`, a factor of the gradient such as clipping by norm gives.
/// - `weightDecay`: what of the parameter is added to the gradient.
/// - Records `shapeMismatch` where shapes differ, `dtypeMismatch` where something is no float.
package func momentumStep(
  _ parameter: Tensor, _ gradient: Tensor, velocity: Tensor, rate: Tensor, momentum: Double,
  nesterov: Bool = false, weightDecay: Double = 0, scale: Tensor? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> (parameter: Tensor, velocity: Tensor) {
  let op = MomentumStep(
    momentum: momentum, nesterov: nesterov, weightDecay: weightDecay, isScaled: scale != nil)
  let new = parameter.update(
    op, gradient: gradient, slots: [velocity], scalars: [rate] + (scale.map { [$0] } ?? []),
    location: sourceLocation(file, line))
  return (new[0], new[1])
}
