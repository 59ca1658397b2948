// The norm of several arrays as one vector: what gradients are clipped by.

import ApusGraph
import CKernels

/// `y = √Σ x²` over all elements of all operands, right wherever an f32 holds it: of a single gradient of
/// 1e20 the square does not.
///
/// Squares are added up in f32, tile by tile, and again in double where they leave its range. Operands:
/// floats of any shapes. The result is `f32[]`, or `f64[]` where an operand is.
package struct JointNorm: CompositeOp {
  package static let mnemonic = "joint_norm"

  package init() {}
  package init(attributes: AttributeReader) throws { self.init() }

  package var attributes: [Attribute] { [] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    if let bad = operands.first(where: { !$0.dtype.isFloat }) {
      throw ApusError(
        .dtypeMismatch, "\(Self.mnemonic): an operand is \(bad)", expected: "floats")
    }
    guard !operands.isEmpty else {
      throw ApusError(
        .invalidArgument, "\(Self.mnemonic): no operand", expected: "at least one")
    }
    return [TensorType(operands.contains { $0.dtype == .f64 } ? .f64 : .f32, [])]
  }

  // x / y; 0 at 0.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let isZero = context.result .== 0
    let slope = `where`(isZero, 0, context.gradient / `where`(isZero, 1, context.result))
    return zip(context.operands, context.isNeeded).map { x, isNeeded in
      isNeeded ? (x.cast(to: context.result.dtype) * slope).cast(to: x.dtype) : nil
    }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let values = operands.flatMap(\.doubles)
    let greatest = values.reduce(0) { $1.isNaN ? $1 : Swift.max($0, Swift.abs($1)) }
    guard greatest > 0, greatest.isFinite, !values.contains(where: \.isNaN) else {
      let isNaN = values.contains(where: \.isNaN)
      return [NDArray(doubles: [isNaN ? .nan : greatest], type: results[0])]
    }
    let sum = values.reduce(0) { $0 + ($1 / greatest) * ($1 / greatest) }
    return [NDArray(doubles: [sum.squareRoot() * greatest], type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func hasKernel(_ operands: [TensorType]) -> Bool {
    operands.allSatisfy { $0.dtype == .f32 || $0.dtype == .bf16 }
  }

  package func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let type = try resultTypes(operands.map(\.type))[0].dtype
    let wide = operands.filter { $0.type.count > 0 }.map { $0.cast(to: type) }
    guard let first = wide.first else { return [operands[0].trace.constant(0, type)] }
    // Each by itself, and then their norms as one more vector.
    let norms = wide.map { $0.reshaped([-1]).scaledNorm([0]) }
    if norms.count == 1 { return [norms[0].reshaped([])] }
    let all = Tensor.applyAll(Concat(axis: 0), to: norms)[0]
    return [
      all.scaledNorm([0]).reshaped(first.shape.reducing(Array(0..<first.rank), keepDims: false))
    ]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    guard hasKernel(site.operands) else {
      throw ApusError(
        .unsupported, "\(Self.mnemonic) has no kernel for these types", expected: "f32 or bf16")
    }
    return boundCall(site, CK_BOUND_NORM, "ck_norm_of_arrays_\(site.isa.name)") { _ in true }
  }
}

extension JointNorm: NarrowableOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { true }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { false }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op { self }
}

/// `√Σ x²` over all elements of the tensors: `f32[]`.
///
///     let norm = jointNorm(gradients)
///
/// - `tensors`: floats, at least one.
package func jointNorm(
  _ tensors: [Tensor], file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  Tensor.applyAll(JointNorm(), to: tensors, location: sourceLocation(file, line))[0]
}
