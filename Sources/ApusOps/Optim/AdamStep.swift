// The updates of Adam and AdamW.

import ApusGraph
import CKernels

/// Adam's update, with `g = ∇ + λ p`:
///
///     m' = β₁ m + (1 - β₁) g
///     v' = β₂ v + (1 - β₂) g²
///     p' = p - η m' / (√v' c + ε), where p is shrunk first in the decoupled form
///
/// Kingma, Ba, "Adam: a method for stochastic optimization" (2015); the decoupled form is AdamW of Loshchilov,
/// Hutter, "Decoupled weight decay regularization" (2019). η is the step size, the rate over 1 - β₁ᵗ, and
/// c the correction 1 / √(1 - β₂ᵗ).
///
/// Operands: of each parameter p, ∇, m and v; then η, c, with `shrinks` the factor of p, and where
/// `isScaled` a factor of ∇. Results: of each parameter p', m' and v'. See ``UpdateOp``.
package struct AdamStep: UpdateOp {
  package static let mnemonic = "adam_step"
  package static let slots = 2
  package static let kernel = (op: CK_OPTIM_ADAM, name: "ck_adam")
  package static let flops = 20.0
  package let beta1: Double
  package let beta2: Double
  package let epsilon: Double
  /// λ; with 0 nothing is added to the gradient.
  package let weightDecay: Double
  /// Whether p is multiplied by an operand first, 1 - ηλ of AdamW.
  package let shrinks: Bool
  package var parameters: Int
  package var isScaled: Bool
  package var scalars: Int { shrinks ? 3 : 2 }

  package init(
    beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double = 0, shrinks: Bool = false,
    parameters: Int = 1, isScaled: Bool = false
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.shrinks = shrinks
    self.parameters = parameters
    self.isScaled = isScaled
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      beta1: try attributes.double("beta1"), beta2: try attributes.double("beta2"),
      epsilon: try attributes.double("epsilon"),
      weightDecay: try attributes.double("weightDecay"), shrinks: try attributes.bool("shrinks"),
      parameters: try attributes.int("parameters"), isScaled: try attributes.bool("scaled"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("beta1", .double(beta1)), Attribute("beta2", .double(beta2)),
      Attribute("epsilon", .double(epsilon)), Attribute("weightDecay", .double(weightDecay)),
      Attribute("shrinks", .bool(shrinks)),
    ] + shared()
  }

  package func updated(_ arrays: [Tensor], _ numbers: [Tensor]) -> [Tensor] {
    let (p, first, second) = (arrays[0], arrays[2], arrays[3])
    let g = weightDecay == 0 ? arrays[1] : arrays[1] + p * weightDecay
    let m = first * beta1 + g * (1 - beta1)
    let v = second * beta2 + g * g * (1 - beta2)
    let denominator = sqrt(v) * numbers[1] + epsilon
    return [(shrinks ? p * numbers[2] : p) - m * numbers[0] / denominator, m, v]
  }

  package func updated(_ elements: [Double], _ numbers: [Double]) -> [Double] {
    let (p, first, second) = (elements[0], elements[2], elements[3])
    let g = weightDecay == 0 ? elements[1] : elements[1] + weightDecay * p
    let m = beta1 * first + (1 - beta1) * g
    let v = beta2 * second + (1 - beta2) * (g * g)
    let change = numbers[0] * m / (v.squareRoot() * numbers[1] + epsilon)
    return [(shrinks ? numbers[2] : 1) * p - change, m, v]
  }

  package func fill(_ block: inout ck_optim_args) {
    block.decay = Float(weightDecay)
    block.first_decay = Float(beta1)
    block.first_share = Float(1 - beta1)
    block.second_decay = Float(beta2)
    block.second_share = Float(1 - beta2)
    block.epsilon = Float(epsilon)
  }

  package var fields: [Int] {
    [
      MemoryLayout<ck_optim_args>.offset(of: \.rate)!,
      MemoryLayout<ck_optim_args>.offset(of: \.correction)!,
    ] + (shrinks ? [MemoryLayout<ck_optim_args>.offset(of: \.shrinkage)!] : [])
  }
}

/// A step of Adam, or of AdamW: the parameter's new value and its new moments.
///
///     let new = adamStep(
///       weight, gradient, firstMoment: m, secondMoment: v, stepSize: size,
///       inverseRootCorrection: correction)
///     trace.assign(weight, new.parameter)
///
/// All are kept in the parameter's element type; arrays have its shape.
///
/// - `stepSize`: the rate over 1 - β₁ᵗ, a scalar as are the next three.
/// - `inverseRootCorrection`: 1 / √(1 - β₂ᵗ).
/// - `shrinkage`: what the parameter is multiplied by first, 1 - ηλ of AdamW.
/// - `scale`: a factor of the gradient such as clipping by norm gives.
/// - `weightDecay`: what of the parameter is added to the gradient.
/// - Records `shapeMismatch` where shapes differ, `dtypeMismatch` where something is no float.
package func adamStep(
  _ parameter: Tensor, _ gradient: Tensor, firstMoment: Tensor, secondMoment: Tensor,
  stepSize: Tensor, inverseRootCorrection: Tensor, shrinkage: Tensor? = nil, scale: Tensor? = nil,
  beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0,
  file: StaticString = #fileID, line: UInt = #line
) -> (parameter: Tensor, firstMoment: Tensor, secondMoment: Tensor) {
  let op = AdamStep(
    beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: weightDecay,
    shrinks: shrinkage != nil, isScaled: scale != nil)
  let new = parameter.update(
    op, gradient: gradient, slots: [firstMoment, secondMoment],
    scalars: [stepSize, inverseRootCorrection] + [shrinkage, scale].compactMap { $0 },
    location: sourceLocation(file, line))
  return (new[0], new[1], new[2])
}
