// Adding by index: the transpose of gather.

import ApusGraph
import CKernels

/// Zeros with `extent` at `axis`, to which each element of the first operand is added where the
/// integers of the second say: `y[o…, indices[k…], i…] += x[o…, k…, i…]`, or with an index for each
/// element where `isAlong` (see ``Gather``).
///
/// Elements that meet are added in the order of k, whatever the number of threads; many in blocks, so that
/// a sum does not get stuck where single elements are lost in it. The sums have the
/// updates' type, unless `result` is given: then the updates may be of any float type.
package struct ScatterAdd: Op {
  package static let mnemonic = "scatter_add"
  /// From 0: the axis of the result.
  package let axis: Int
  package let extent: Int
  package let isAlong: Bool
  /// The element type of the sums; nil for that of the updates.
  package let result: DType?

  package init(axis: Int, extent: Int, isAlong: Bool = false, result: DType? = nil) {
    self.axis = axis
    self.extent = extent
    self.isAlong = isAlong
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      axis: try attributes.int("axis"), extent: try attributes.int("extent"),
      isAlong: try attributes.bool("along"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [
      Attribute("axis", .int(axis)), Attribute("extent", .int(extent)),
      Attribute("along", .bool(isAlong)),
    ] + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    var (updates, indices) = (operands[0], operands[1])
    try expectIndices(indices)
    guard updates.dtype != .bool, updates.dtype != .u8, extent >= 0 else {
      throw ApusError(
        .dtypeMismatch, "scatter_add: not defined for \(updates) with extent \(extent)",
        expected: "floats, i32 or i64")
    }
    if let result {
      guard updates.dtype.isFloat, result.isFloat else {
        throw ApusError(
          .dtypeMismatch, "scatter_add: \(updates) added in \(result)", expected: "floats")
      }
      updates = updates.with(result)
    }
    if isAlong {
      guard updates.shape == indices.shape else {
        throw ApusError(
          .shapeMismatch, "scatter_add: updates are \(updates), indices are \(indices)",
          expected: "equal shapes")
      }
      _ = try checkedAxis(updates, axis)
      return [updates.with(updates.shape.replacing(axis, with: extent))]
    }
    let dimensions = updates.shape.dimensions
    let end = axis.addingReportingOverflow(indices.rank).partialValue
    guard axis >= 0, end >= axis, end <= dimensions.count,
      Array(dimensions[axis..<end]) == indices.shape.dimensions
    else {
      throw ApusError(
        .shapeMismatch, "scatter_add: updates are \(updates), indices are \(indices)",
        expected: "the indices' shape within the updates', from axis \(axis) on")
    }
    return [updates.with(Shape(Array(dimensions[..<axis]) + [extent] + Array(dimensions[end...])))]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard context.operands[0].dtype.isFloat else { return [nil, nil] }
    let op = Gather(axis: axis, isAlong: isAlong)
    let gradient = Tensor.apply(op, to: context.gradient, context.operands[1])
    return [gradient.cast(to: context.operands[0].dtype), nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let walk = GatherWalk(results[0].shape, operands[1], axis: axis, isAlong: isAlong)
    guard operands[0].dtype.isFloat else {
      var values = [Int64](repeating: 0, count: results[0].count)
      for (place, update) in zip(try walk.places(mnemonic), operands[0].integers) {
        values[place] &+= Int64(update)
      }
      return [try NDArray(integers: values, type: results[0])]
    }
    var values = [Double](repeating: 0, count: results[0].count)
    for (place, update) in zip(try walk.places(mnemonic), operands[0].doubles) {
      values[place] += update
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let (outer, extent, inner) = site.results[0].shape.split(at: axis)
    var args = ck_scatter_args()
    args.outer = Int64(outer)
    args.axis = Int64(extent)
    args.inner = Int64(inner)
    args.count = Int64(isAlong ? site.operands[1].shape[axis] : site.operands[1].count)
    args.index_outer = isAlong ? args.count * args.inner : 0
    args.index_count = isAlong ? args.inner : 1
    args.index_inner = isAlong ? 1 : 0
    args.index_dtype = site.operands[1].dtype.kernelCode
    let (from, dtype) = (site.operands[0].dtype, site.results[0].dtype)
    args.update_dtype = from.kernelCode
    guard from == dtype || from == .bf16 && dtype == .f32 else {
      throw ApusError(
        .unsupported, "scatter_add has no kernel that adds \(from) in \(dtype)",
        expected: "one type, or bf16 added in f32")
    }
    let kernel: ck_gather_op
    switch dtype {
    case .f32: kernel = CK_GATHER_SCATTER_ADD_F32
    case .f64: kernel = CK_GATHER_SCATTER_ADD_F64
    case .i32: kernel = CK_GATHER_SCATTER_ADD_I32
    case .i64: kernel = CK_GATHER_SCATTER_ADD_I64
    default:
      throw ApusError(
        .unsupported, "scatter_add has no kernel for \(dtype)", expected: "f32, i32 or i64")
    }
    var call = KernelCall(
      "ck_scatter_add_\(dtype)", ck_gather(kernel, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_scatter_args.dst, to: .result(0))
    call.bind(\ck_scatter_args.updates, to: .operand(0))
    call.bind(\ck_scatter_args.indices, to: .operand(1))
    call.bind(\ck_scatter_args.error, to: .errorSlot)
    if dtype == .f32 {
      call.workspaceBytes = ck_scatter_workspace_bytes(&args)
      call.bind(\ck_scatter_args.workspace, to: .workspace)
    }
    call.checkedIndices = (1, self.extent)
    call.flops = Double(site.operands[0].count)
    return call
  }

  /// Applies the op; 16-bit floats are added up in `f32`.
  func applied(to updates: Tensor, _ indices: Tensor, location: String? = nil) -> Tensor {
    guard result == nil && (updates.dtype == .bf16 || updates.dtype == .f16) else {
      return .apply(self, to: updates, indices, location: location)
    }
    return Tensor.apply(self, to: updates.cast(to: .f32), indices, location: location)
      .cast(to: updates.dtype)
  }
}

extension ScatterAdd: NarrowableOp {
  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index == 0 }

  /// Sums, mostly the gradient of a table, stay.
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { false }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    ScatterAdd(axis: axis, extent: extent, isAlong: isAlong, result: results[0])
  }
}

extension Tensor {
  /// This tensor with `updates` added to the slices along `axis` that `indices` choose, as PyTorch's
  /// `index_add`: an index that comes twice adds twice.
  ///
  ///     counts.scatterAdd(ones, at: labels)   // f32[10], f32[64], i32[64] → f32[10]
  public func scatterAdd(
    _ updates: Tensor, at indices: Tensor, axis: Int = 0, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scattered(updates, indices, axis, isAlong: false, file, line)
  }

  /// This tensor with each element of `updates` added at its own index along `axis`, as PyTorch's
  /// `scatter_add`.
  public func scatterAddAlong(
    _ updates: Tensor, at indices: Tensor, axis: Int = -1, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scattered(updates, indices, axis, isAlong: true, file, line)
  }

  private func scattered(
    _ updates: Tensor, _ indices: Tensor, _ axis: Int, isAlong: Bool, _ file: StaticString,
    _ line: UInt
  ) -> Tensor {
    let location = sourceLocation(file, line)
    do {
      let axis = try shape.normalized(axis: axis)
      let op = ScatterAdd(axis: axis, extent: shape[axis], isAlong: isAlong)
      let updates = updates.cast(to: dtype, location: location)
      let sums = op.applied(to: updates, indices, location: location)
      guard sums.isPoisoned || sums.shape == shape else {
        throw ApusError(
          .shapeMismatch, "scatterAdd: updates \(updates.type) do not fit \(type)",
          expected: "slices of the tensor's shape")
      }
      return trace.withCallLocation(location) { self + sums }
    } catch {
      return .poisoned(asApusError(error), like: self, location: location)
    }
  }
}
