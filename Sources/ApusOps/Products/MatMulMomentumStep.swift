// A weight's gradient and the step that it takes, in one product.

import ApusGraph
import CKernels

/// ``MomentumStep`` of a weight whose gradient is a matrix product that nothing else reads: the product's
/// kernel takes the step in its registers, and the gradient is never stored.
///
/// Operands: the factors, the weight, its velocity, the rate. Results: the new weight and velocity, in the
/// same bits as product and step by themselves give. `FuseUpdate` makes these nodes.
package struct MatMulMomentumStep: Op {
  package static let mnemonic = "matmul_momentum_step"
  package let product: MatMul
  /// Of one parameter, not scaled.
  package let step: MomentumStep

  package init(_ product: MatMul, _ step: MomentumStep) {
    self.product = product
    self.step = step
  }

  package init(attributes: AttributeReader) throws {
    self.init(try MatMul(attributes: attributes), try MomentumStep(attributes: attributes))
  }

  package var attributes: [Attribute] { product.attributes + step.attributes }

  /// Whether a product's kernel can take the step: plain momentum, a product of one matrix, and sums of
  /// one block of terms.
  ///
  /// - `factors`: the product's operands, of one type with the parameter.
  package static func joins(_ product: MatMul, _ factors: [TensorType], _ step: MomentumStep)
    -> Bool
  {
    guard step.parameters == 1, !step.isScaled, !step.nesterov, step.weightDecay == 0,
      let type = try? product.resultTypes(factors)[0], type.rank == 2,
      type.shape[0] > 1, type.shape[1] > 1, factors.allSatisfy({ $0.dtype == type.dtype })
    else { return false }
    let terms = factors[0].shape[product.transposeA ? 0 : 1]
    return ck_gemm_k_block(Int64(terms)) >= Int64(terms)
  }

  /// The operands of the step: weight, gradient, velocity, rate.
  private func stepOperands<T>(_ operands: [T], gradient: T) -> [T] {
    [operands[2], gradient] + operands[3...]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(5, operands)
    let factors = Array(operands.prefix(2))
    let gradient = try product.resultTypes(factors)[0]
    guard Self.joins(product, factors, step) else {
      throw ApusError(
        .invalidGraph, "\(mnemonic): no kernel takes such a step of \(gradient)",
        expected: "plain momentum on a product of one matrix with few terms")
    }
    return try step.resultTypes(stepOperands(operands, gradient: gradient))
  }

  /// Made after differentiation.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    throw ApusError(
      .unsupported, "a fused update is not differentiable",
      expected: "differentiation before optimisation")
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let gradient = try product.reference(Array(operands.prefix(2)), results: [results[0]])[0]
    return try step.reference(stepOperands(operands, gradient: gradient), results: results)
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    index < 2 && GemmLowering.accepts(view)
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    if let call = try GemmLowering.momentum(self, site) { return call }
    // A level whose product has no such registers.
    return try GemmLowering.fused(
      Fused(product, program: program(site.operands)), site)
  }

  /// The step as a program on the product, on the same operands.
  package func program(_ operands: [TensorType]) throws -> LoopProgram {
    let types = try [product.resultTypes(Array(operands.prefix(2)))[0]] + operands[2...]
    return try LoopProgram(recording: types) {
      try step.decompose([$0[1], $0[0], $0[2], $0[3]])
    }
  }
}

extension GemmLowering {
  /// The call of a product that updates a weight; nil where the level has no kernel for it.
  static func momentum(_ op: MatMulMomentumStep, _ site: LoweringSite) throws -> KernelCall? {
    let dense = View(dense: site.results[0].shape)
    guard site.operands.allSatisfy({ $0.dtype == .f32 }) else { return nil }
    // In the machine's order: the product, weight, velocity, rate, results.
    var product = try Product(
      op.product, site, followers: [dense] + site.views[2...] + [dense, dense])
    product.block.epilogue.combination = Int32(CK_MOMENTUM.rawValue)
    product.block.epilogue.other_row = product.block.c_row
    product.block.epilogue.momentum = Float(op.step.momentum)
    product.walk(operands: site.operands.count, results: site.results.count)
    guard product.combines(isa: site.isa) else { return nil }
    var call = product.call(isa: site.isa)
    call.name += " momentum"
    // The program counts the product for two factors.
    call.bind(\ck_gemm_args.epilogue.weight, to: .operand(2))
    call.bind(\ck_gemm_args.epilogue.other, to: .operand(3))
    call.bind(\ck_gemm_args.epilogue.rate, to: .operand(4))
    call.bind(\ck_gemm_args.epilogue.new_weight, to: .result(0))
    call.bind(\ck_gemm_args.c, to: .result(1))
    call.inPlace = [(operand: 2, result: 0), (operand: 3, result: 1)]
    let elements = Double(site.results[0].count)
    call.overhead += elements / rates(at: site.isa).updates
    call.bytes += 3 * 4 * elements
    return noting(product, isa: site.isa, in: call)
  }
}

extension LoopProgram {
  /// What `body` records of elementwise ops, on operands of these types.
  ///
  ///     try LoopProgram(recording: [.f32(8), .f32()]) { [$0[0] * $0[1]] }   // v0 = mul(a0, a1)
  ///
  /// - Throws: what recording throws; `unsupported` where an op is not elementwise.
  init(recording types: [TensorType], _ body: ([Tensor]) throws -> [Tensor]) throws {
    let trace = Trace()
    let operands = types.enumerated().map { trace.input("a\($0)", $1) }
    let results = try Trace.$current.withValue(trace) { try body(operands) }
    try trace.check()
    let graph = trace.graph
    var arguments: [ValueID: Argument] = [:]
    var instructions: [Instruction] = []
    for (index, input) in graph.inputs.enumerated() { arguments[input.value] = .operand(index) }
    for constant in graph.constants where constant.array.type.rank == 0 {
      arguments[constant.value] = .value(instructions.count)
      instructions.append(
        Instruction(.constant(constant.array.scalar, constant.array.dtype), []))
    }
    for node in graph.nodes {
      guard let op = node.op as? any ElementwiseOp else {
        throw ApusError(
          .unsupported, "\(node.op.mnemonic) is no op of an elementwise program",
          expected: "elementwise ops of arrays and scalar constants")
      }
      arguments[node.results[0]] = .value(instructions.count)
      instructions.append(
        Instruction(.apply(op), node.operands.compactMap { arguments[$0.value] }))
    }
    let outputs = results.compactMap { result -> Int? in
      guard let value = result.value, case .value(let index)? = arguments[value] else { return nil }
      return index
    }
    guard outputs.count == results.count else {
      throw ApusError(
        .unsupported, "a program gives an operand back as it is", expected: "computed results")
    }
    self.init(instructions, outputs: outputs)
  }
}
