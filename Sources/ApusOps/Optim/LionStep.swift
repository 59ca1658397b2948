// The update of Lion.

import ApusGraph
import CKernels

/// Lion's update: with `d = m - ∇`,
///
///     p' = p - η sign(∇ + β₁ d), where p is shrunk first
///     m' = ∇ + β₂ d
///
/// Chen et al., "Symbolic discovery of optimization algorithms" (2023); `∇ + β d` is `β m + (1 - β) ∇`. Operands:
/// of each parameter p, ∇ and m; then η, with `shrinks` the factor of p, and where `isScaled` a factor of ∇.
/// Results: of each parameter p' and m'. See ``UpdateOp``.
package struct LionStep: UpdateOp {
  package static let mnemonic = "lion_step"
  package static let slots = 1
  package static let kernel = (op: CK_OPTIM_LION, name: "ck_lion")
  package static let flops = 8.0
  package let beta1: Double
  package let beta2: Double
  /// Whether p is multiplied by an operand first, 1 - ηλ.
  package let shrinks: Bool
  package var parameters: Int
  package var isScaled: Bool
  package var scalars: Int { shrinks ? 2 : 1 }

  package init(
    beta1: Double, beta2: Double, shrinks: Bool = false, parameters: Int = 1,
    isScaled: Bool = false
  ) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.shrinks = shrinks
    self.parameters = parameters
    self.isScaled = isScaled
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      beta1: try attributes.double("beta1"), beta2: try attributes.double("beta2"),
      shrinks: try attributes.bool("shrinks"), parameters: try attributes.int("parameters"),
      isScaled: try attributes.bool("scaled"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("beta1", .double(beta1)), Attribute("beta2", .double(beta2)),
      Attribute("shrinks", .bool(shrinks)),
    ] + shared()
  }

  package func updated(_ arrays: [Tensor], _ numbers: [Tensor]) -> [Tensor] {
    let (p, g) = (arrays[0], arrays[1])
    let d = arrays[2] - g
    let direction = sign(d * beta1 + g)
    return [(shrinks ? p * numbers[1] : p) - direction * numbers[0], d * beta2 + g]
  }

  package func updated(_ elements: [Double], _ numbers: [Double]) -> [Double] {
    let (p, g) = (elements[0], elements[1])
    let d = elements[2] - g
    let direction = Sign().evaluate([beta1 * d + g])
    return [(shrinks ? numbers[1] : 1) * p - numbers[0] * direction, beta2 * d + g]
  }

  package func fill(_ block: inout ck_optim_args) {
    block.first_decay = Float(beta1)
    block.second_decay = Float(beta2)
  }

  package var fields: [Int] {
    [MemoryLayout<ck_optim_args>.offset(of: \.rate)!]
      + (shrinks ? [MemoryLayout<ck_optim_args>.offset(of: \.shrinkage)!] : [])
  }
}

/// A step of Lion: the parameter's new value and its new momentum.
///
///     let new = lionStep(weight, gradient, momentum: m, rate: rate, beta1: 0.9, beta2: 0.99)
///     trace.assign(weight, new.parameter)
///     trace.assign(m, new.momentum)
///
/// All are kept in the parameter's element type; arrays have its shape.
///
/// - `rate`: a scalar, and so is `shrinkage`, what the parameter is multiplied by first, 1 - ηλ.
/// - Records `shapeMismatch` where shapes differ, `dtypeMismatch` where something is no float.
package func lionStep(
  _ parameter: Tensor, _ gradient: Tensor, momentum: Tensor, rate: Tensor,
  shrinkage: Tensor? = nil, beta1: Double, beta2: Double, file: StaticString = #fileID,
  line: UInt = #line
) -> (parameter: Tensor, momentum: Tensor) {
  let op = LionStep(beta1: beta1, beta2: beta2, shrinks: shrinkage != nil)
  let new = parameter.update(
    op, gradient: gradient, slots: [momentum], scalars: [rate] + (shrinkage.map { [$0] } ?? []),
    location: sourceLocation(file, line))
  return (new[0], new[1])
}
