// Updates of one row of a table, added up without the table.

import ApusGraph
import CKernels

/// What ``ScatterAdd`` along the first axis adds to a table of `extent` rows, without the rows that nothing is
/// added to: for updates `x[k, i…]` and rows `indices[k]`,
///
///     rows[k] = indices[k]                              where it is the first of that row, else -1
///     sums[k, i…] = Σ x[j, i…] over indices[j] = indices[k]   there, else zeros
///
/// Updates are added in the order of j, whatever the number of threads. The sums are `f32` where the updates
/// are `bf16`, else of their type; PyTorch's sparse tensors call it `coalesce`.
package struct Coalesce: Op {
  package static let mnemonic = "coalesce"
  package let extent: Int

  package init(extent: Int) { self.extent = extent }
  package init(attributes: AttributeReader) throws { extent = try attributes.int("extent") }
  package var attributes: [Attribute] { [Attribute("extent", .int(extent))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(2, operands)
    let (updates, indices) = (operands[0], operands[1])
    try expectIndices(indices)
    guard updates.dtype.isFloat, (0...Int(Int32.max)).contains(extent) else {
      throw ApusError(
        .dtypeMismatch, "coalesce: not defined for \(updates) in \(extent) rows",
        expected: "floats, and at most \(Int32.max) rows")
    }
    guard indices.rank == 1, updates.rank >= 1, updates.shape[0] == indices.shape[0] else {
      throw ApusError(
        .shapeMismatch, "coalesce: updates are \(updates), indices are \(indices)",
        expected: "an index for each row of the updates")
    }
    return [indices.with(.i32), updates.dtype == .bf16 ? updates.with(.f32) : updates]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (updates, indices) = (context.operands[0], context.operands[1])
    // A sum's gradient goes to each of its updates, by way of a table; behind the places of no sum are zeros.
    guard let flow = context.gradients[1] else { return [nil, nil] }
    let rows = context.results[0]
    let gradient = `where`(rows.isRow(like: flow), flow, 0)
    let table = Tensor.apply(
      ScatterAdd(axis: 0, extent: extent), to: gradient, maximum(rows, 0))
    return [Tensor.apply(Gather(axis: 0), to: table, indices).cast(to: updates.dtype), nil]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let walk = GatherWalk([extent], operands[1], axis: 0, isAlong: false)
    let indices = try walk.places(mnemonic)
    let width = results[1].count / max(indices.count, 1)
    let updates = operands[0].doubles
    var rows = [Int64](repeating: -1, count: indices.count)
    var sums = [Double](repeating: 0, count: results[1].count)
    var first: [Int: Int] = [:]
    for (place, index) in indices.enumerated() {
      let target = first[index] ?? place
      first[index] = target
      rows[target] = Int64(index)
      for i in 0..<width { sums[target * width + i] += updates[place * width + i] }
    }
    return [
      try NDArray(integers: rows, type: results[0]), NDArray(doubles: sums, type: results[1]),
    ]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    guard site.results[1].dtype == .f32 else {
      throw ApusError(
        .unsupported, "coalesce has no kernel for \(site.operands[0].dtype)",
        expected: "f32 or bf16")
    }
    var args = ck_coalesce_args()
    args.axis = Int64(extent)
    args.count = Int64(site.operands[1].count)
    args.inner = Int64(site.results[1].count / max(site.operands[1].count, 1))
    args.index_dtype = site.operands[1].dtype.kernelCode
    args.update_dtype = site.operands[0].dtype.kernelCode
    var call = KernelCall(
      "ck_coalesce", ck_gather(CK_GATHER_COALESCE, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_coalesce_args.rows, to: .result(0))
    call.bind(\ck_coalesce_args.sums, to: .result(1))
    call.bind(\ck_coalesce_args.updates, to: .operand(0))
    call.bind(\ck_coalesce_args.indices, to: .operand(1))
    call.bind(\ck_coalesce_args.error, to: .errorSlot)
    call.workspaceBytes = ck_coalesce_workspace_bytes(&args)
    call.bind(\ck_coalesce_args.workspace, to: .workspace)
    call.checkedIndices = (1, extent)
    call.flops = Double(site.operands[0].count)
    return call
  }
}

extension Tensor {
  /// Where these rows, as ``Coalesce`` gives them, are rows: as a mask that fits `values`.
  func isRow(like values: Tensor) -> Tensor {
    (self .>= 0).reshaped(Shape([shape[0]] + Array(repeating: 1, count: values.shape.rank - 1)))
  }

  /// These updates of a table's rows added up: see ``Coalesce``.
  ///
  /// - `indices`: one for each update, outside `0..<extent` an `outOfRange` error of the run.
  package func coalesced(_ indices: Tensor, extent: Int) -> (rows: Tensor, sums: Tensor) {
    let results = Tensor.applyAll(Coalesce(extent: extent), to: [self, indices], resultCount: 2)
    return (results[0], results[1])
  }
}
