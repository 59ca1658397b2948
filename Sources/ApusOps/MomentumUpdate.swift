// The update of gradient descent with momentum, as a program on a gradient.

import ApusGraph
import CKernels

/// `v' = momentum v + gradient`, `w' = w - rate v'`: both are results, the gradient is operand 0.
///
/// Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in the
/// form that PyTorch's SGD has.
struct MomentumUpdate {
  /// The program's operands.
  let velocity, weight, rate: Int
  let momentum: Float
  /// The places of the new values among the outputs.
  let velocityOutput, weightOutput: Int

  /// - Returns: nil where the program does anything else.
  init?(_ program: LoopProgram) {
    typealias Argument = LoopProgram.Argument
    /// The arguments of an instruction that is that op, the `known` one among them first.
    func arguments(_ value: Argument, _ op: any ElementwiseOp, known: Argument? = nil)
      -> (Argument, Argument)?
    {
      guard case .value(let index) = value,
        case .apply(let applied) = program.instructions[index].action, applied.isEqual(to: op)
      else { return nil }
      let both = program.instructions[index].arguments
      guard let known else { return (both[0], both[1]) }
      if both[0] == known { return (known, both[1]) }
      return both[1] == known ? (known, both[0]) : nil
    }
    /// A constant and the operand that it scales.
    func scaled(_ value: Argument) -> (operand: Int, by: Double)? {
      guard let (x, y) = arguments(value, Multiply()) else { return nil }
      for (operand, factor) in [(x, y), (y, x)] {
        if case .operand(let index) = operand, case .value(let constant) = factor,
          case .constant(let number, _) = program.instructions[constant].action
        {
          return (index, number)
        }
      }
      return nil
    }
    // A constant, two products, a sum and a difference.
    guard program.outputs.count == 2, program.instructions.count == 5 else { return nil }
    for (first, second) in [(0, 1), (1, 0)] {
      let step = Argument.value(program.outputs[first])
      guard let (_, old) = arguments(step, Add(), known: .operand(0)), let old = scaled(old),
        case (.operand(let weight), let change)? = arguments(
          .value(program.outputs[second]), Subtract()),
        case (_, .operand(let rate))? = arguments(change, Multiply(), known: step)
      else { continue }
      guard Set([0, old.operand, weight, rate]).count == 4 else { return nil }
      (velocity, momentum) = (old.operand, Float(old.by))
      (self.weight, self.rate) = (weight, rate)
      (velocityOutput, weightOutput) = (first, second)
      return
    }
    return nil
  }
}

extension FusedMatMul {
  /// Whether a product's kernel does an update of what it is the gradient of in its registers, so that
  /// the gradient is never stored: a program on operand 0, the product, that is gradient descent with
  /// momentum, where the product is of one matrix and its sums are of one block.
  ///
  /// - Parameters:
  ///   - product: what makes the gradient.
  ///   - factors: the product's operands.
  ///   - program: the update, the gradient its operand 0.
  ///   - others: the program's operands from 1 on.
  public static func updates(
    _ product: MatMul, _ factors: [TensorType], by program: LoopProgram, _ others: [TensorType]
  ) -> Bool {
    guard let update = MomentumUpdate(program), let type = try? product.resultTypes(factors)[0],
      type.rank == 2, type.shape[0] > 1, type.shape[1] > 1,
      Set((factors + others + [type]).map(\.dtype)).count == 1
    else { return false }
    let terms = factors[0].shape[product.transposeA ? 0 : 1]
    return [update.velocity, update.weight].allSatisfy { others[$0 - 1].shape == type.shape }
      && others[update.rate - 1].count == 1 && ck_gemm_k_block(Int64(terms)) >= Int64(terms)
  }
}

extension GemmLowering {
  /// Elements that the registers update in a nanosecond, what they wait for memory included.
  private static let updatesPerNanosecond = 7.0

  /// The call of a product that updates a weight; nil where the level has no kernel for it.
  static func momentum(_ op: FusedMatMul, _ product: Product, _ site: LoweringSite) -> KernelCall? {
    guard let update = MomentumUpdate(op.program), product.axes.isEmpty,
      site.operands.allSatisfy({ $0.dtype == .f32 }),
      product.columns[update.velocity] == 1, product.columns[update.weight] == 1,
      product.rows[update.velocity] == product.rows[update.weight],
      product.rows[update.rate] == 0, product.columns[update.rate] == 0
    else { return nil }
    var product = product
    product.block.combination = Int64(CK_GEMM_MOMENTUM.rawValue)
    product.block.other_row = Int64(product.rows[update.velocity])
    product.block.momentum = update.momentum
    product.walk(operands: site.operands.count, results: site.results.count)
    guard product.combines(isa: site.isa) else { return nil }
    var call = product.call(isa: site.isa)
    call.name += " momentum"
    // The program counts the product for two factors.
    let (velocity, weight) = (update.velocity + 1, update.weight + 1)
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.c)!, to: .result(update.velocityOutput))
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.other)!, to: .operand(velocity))
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.weight)!, to: .operand(weight))
    call.bind(
      MemoryLayout<ck_gemm_args>.offset(of: \.new_weight)!, to: .result(update.weightOutput))
    call.bind(MemoryLayout<ck_gemm_args>.offset(of: \.rate)!, to: .operand(update.rate + 1))
    for (operand, result) in [
      (velocity, update.velocityOutput), (weight, update.weightOutput),
    ] where site.views[operand].isContiguous && site.views[operand].offset == 0 {
      call.inPlace.append((operand, result))
    }
    let elements = Double(site.results[0].count)
    call.overhead += elements / updatesPerNanosecond
    call.bytes += 3 * 4 * elements
    return noting(product, isa: site.isa, in: call)
  }
}
