// The updates of RMSProp and Adagrad.

import ApusGraph
import CKernels

/// The update of RMSProp, neither centred nor with momentum, and of Adagrad: with `g = ∇ + λ p`,
///
///     v' = α v + (1 - α) g²               Adagrad: v' = v + g²
///     p' = p - η g / (√v' + ε)
///
/// Tieleman, Hinton, lecture 6.5 of "Neural networks for machine learning" (2012); Duchi, Hazan, Singer,
/// "Adaptive subgradient methods" (2011). Operands: of each parameter p, ∇ and v; then η, and where
/// `isScaled` a factor of ∇. Results: of each parameter p' and v'. See ``UpdateOp``.
package struct RMSStep: UpdateOp {
  package static let mnemonic = "rms_step"
  package static let slots = 1
  package static let kernel = (op: CK_OPTIM_RMS, name: "ck_rms")
  package static let flops = 16.0
  /// α; nil of Adagrad, where squares are added up.
  package let alpha: Double?
  package let epsilon: Double
  /// λ; with 0 nothing is added to the gradient.
  package let weightDecay: Double
  package var parameters: Int
  package var isScaled: Bool
  package var scalars: Int { 1 }

  package init(
    alpha: Double?, epsilon: Double, weightDecay: Double = 0, parameters: Int = 1,
    isScaled: Bool = false
  ) {
    self.alpha = alpha
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.parameters = parameters
    self.isScaled = isScaled
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      alpha: attributes.has("alpha") ? try attributes.double("alpha") : nil,
      epsilon: try attributes.double("epsilon"),
      weightDecay: try attributes.double("weightDecay"),
      parameters: try attributes.int("parameters"), isScaled: try attributes.bool("scaled"))
  }

  package var attributes: [Attribute] {
    (alpha.map { [Attribute("alpha", .double($0))] } ?? []) + [
      Attribute("epsilon", .double(epsilon)), Attribute("weightDecay", .double(weightDecay)),
    ] + shared()
  }

  package func updated(_ arrays: [Tensor], _ numbers: [Tensor]) -> [Tensor] {
    let (p, old) = (arrays[0], arrays[2])
    let g = weightDecay == 0 ? arrays[1] : arrays[1] + p * weightDecay
    let v = alpha.map { old * $0 + g * g * (1 - $0) } ?? old + g * g
    return [p - g * numbers[0] / (sqrt(v) + epsilon), v]
  }

  package func updated(_ elements: [Double], _ numbers: [Double]) -> [Double] {
    let g = weightDecay == 0 ? elements[1] : elements[1] + weightDecay * elements[0]
    let v = alpha.map { $0 * elements[2] + (1 - $0) * (g * g) } ?? elements[2] + g * g
    return [elements[0] - g * numbers[0] / (v.squareRoot() + epsilon), v]
  }

  package func fill(_ block: inout ck_optim_args) {
    block.decay = Float(weightDecay)
    block.second_decay = Float(alpha ?? 1)
    block.second_share = Float(alpha.map { 1 - $0 } ?? 1)
    block.epsilon = Float(epsilon)
  }

  package var fields: [Int] { [MemoryLayout<ck_optim_args>.offset(of: \.rate)!] }
}

/// A step of RMSProp, or of Adagrad: the parameter's new value and its new mean or sum of squares.
///
///     let new = rmsStep(weight, gradient, squares: v, rate: rate, alpha: 0.99)
///     trace.assign(weight, new.parameter)
///     trace.assign(v, new.squares)
///
/// All are kept in the parameter's element type; arrays have its shape.
///
/// - `rate`: a scalar.
/// - `alpha`: the weight of what was; nil for Adagrad's sum.
/// - `weightDecay`: what of the parameter is added to the gradient.
/// - Records `shapeMismatch` where shapes differ, `dtypeMismatch` where something is no float.
package func rmsStep(
  _ parameter: Tensor, _ gradient: Tensor, squares: Tensor, rate: Tensor, alpha: Double?,
  epsilon: Double, weightDecay: Double = 0, file: StaticString = #fileID, line: UInt = #line
) -> (parameter: Tensor, squares: Tensor) {
  let op = RMSStep(alpha: alpha, epsilon: epsilon, weightDecay: weightDecay)
  let new = parameter.update(
    op, gradient: gradient, slots: [squares], scalars: [rate], location: sourceLocation(file, line))
  return (new[0], new[1])
}
