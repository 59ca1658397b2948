// Tensors joined along an axis.

import ApusGraph

/// `y` is the operands one after the other along `axis`; their other extents and types are equal.
package struct Concat: MovingOp {
  package static let mnemonic = "concat"
  package let axis: Int

  package init(axis: Int) { self.axis = axis }
  package init(attributes: AttributeReader) throws { axis = try attributes.int("axis") }
  package var attributes: [Attribute] { [Attribute("axis", .int(axis))] }

  /// The most operands that the kernel takes.
  package static var operandLimit: Int { CopyLowering.concatLimit }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard let first = operands.first else {
      throw ApusError(.invalidArgument, "concat: no operands", expected: "one or more")
    }
    guard axis >= 0, axis < first.rank else {
      throw ApusError(
        .invalidArgument, "concat: axis \(axis) does not exist in \(first)",
        expected: "an axis in 0..<\(first.rank)")
    }
    func rest(_ type: TensorType) -> Shape { type.shape.reducing([axis], keepDims: true) }
    for type in operands {
      guard type.dtype == first.dtype else {
        throw ApusError(
          .dtypeMismatch, "concat: \(first) and \(type)", expected: "one element type")
      }
      guard type.rank == first.rank, rest(type) == rest(first) else {
        throw ApusError(
          .shapeMismatch, "concat: \(first) and \(type) along axis \(axis)",
          expected: "extents that are equal at the other axes")
      }
    }
    var shape = first.shape
    shape.dimensions[axis] = try Shape.sum(operands.map { $0.shape[axis] })
    return [first.with(shape)]
  }

  // Each operand's gradient is its own piece of the result's.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let pieces = context.gradient.split(context.operands.map { $0.shape[axis] }, axis: axis)
    return zip(pieces, context.isNeeded).map { $1 ? $0 : nil }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let shape = results[0].shape
    var values = try NDArray(checking: results[0])
    var starts = [Int](repeating: 0, count: shape.rank)
    for operand in operands {
      let place = View(dense: shape).sliced(
        starts: starts, steps: starts.map { _ in 1 }, shape: operand.shape)
      values.place(operand, at: place.elements)
      starts[axis] += operand.shape[axis]
    }
    return [values]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try CopyLowering.concat(site, axis: axis)
  }
}

/// The tensors joined along an existing axis: NumPy's `concatenate`. Element types are promoted.
///
///     concat([a, b], axis: 1)   // f32[64,3], f32[64,5] → f32[64,8]
public func concat(
  _ tensors: [Tensor], axis: Int = 0, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  guard !tensors.isEmpty else {
    return .poisoned(
      ApusError(.invalidArgument, "concat: no tensors", expected: "one or more"),
      like: Trace.recording.constant(0), location: sourceLocation(file, line))
  }
  let dtype = tensors.dropFirst().reduce(tensors[0].dtype) { .promoted($0, $1.dtype) }
  return tensors[0].located(file, line) {
    let axis = try tensors[0].shape.normalized(axis: axis)
    // The kernel takes so many at a time.
    let limit = CopyLowering.concatLimit
    var pieces = tensors.map { $0.cast(to: dtype, file: file, line: line) }
    while pieces.count > 1 {
      pieces = stride(from: 0, to: pieces.count, by: limit).map { start in
        let group = Array(pieces[start..<min(start + limit, pieces.count)])
        return group.count == 1
          ? group[0]
          : Tensor.applyAll(Concat(axis: axis), to: group, location: sourceLocation(file, line))[0]
      }
    }
    return pieces[0]
  }
}

/// The tensors, of one shape, joined along a new axis.
///
///     stack([a, b])   // f32[3], f32[3] → f32[2,3]
public func stack(
  _ tensors: [Tensor], axis: Int = 0, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  concat(
    tensors.map { $0.expandingDims(at: axis, file: file, line: line) }, axis: axis, file: file,
    line: line)
}

extension Tensor {
  /// The elements moved `shift` places along `axis`, those that leave one end coming back at the other:
  /// NumPy's `roll`.
  public func rolled(
    by shift: Int, axis: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      let axis = try shape.normalized(axis: axis)
      guard shape[axis] > 0 else { return self }
      let split = (shape[axis] - shift % shape[axis]) % shape[axis]
      guard split != 0 else { return self }
      return concat(
        [
          sliced(axis: axis, from: split, file: file, line: line),
          sliced(axis: axis, from: 0, to: split, file: file, line: line),
        ], axis: axis, file: file, line: line)
    }
  }
}
