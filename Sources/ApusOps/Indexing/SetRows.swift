// Rows of a table replaced, in its memory.

import ApusGraph
import CKernels

/// The first operand with `values[k]`, of the third, as its row `rows[k]`, of the second, where that is not
/// negative: what ``Coalesce`` names is written back. No row may be named twice; a row beyond the table is left
/// out.
package struct SetRows: Op {
  package static let mnemonic = "set_rows"

  package init() {}
  package init(attributes: AttributeReader) throws {}
  package var attributes: [Attribute] { [] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(3, operands)
    let (table, rows, values) = (operands[0], operands[1], operands[2])
    guard rows.dtype == .i32 else {
      throw ApusError(.dtypeMismatch, "set_rows: rows are \(rows)", expected: "i32")
    }
    guard table.rank >= 1, rows.rank == 1, values.dtype == table.dtype,
      values.shape == table.shape.replacing(0, with: rows.shape[0])
    else {
      throw ApusError(
        .shapeMismatch, "set_rows: \(values) as rows \(rows) of \(table)",
        expected: "a row of the table's type and extents for each index")
    }
    return [table]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard context.operands[0].dtype.isFloat else { return [nil, nil, nil] }
    let (gradient, rows) = (context.gradient, context.operands[1])
    let values = Tensor.apply(Gather(axis: 0), to: gradient, maximum(rows, 0))
    return [
      gradient.settingRows(rows, to: values.zerosLike()), nil,
      `where`(rows.isRow(like: values), values, 0),
    ]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let extent = results[0].shape[0]
    let width = results[0].count / max(extent, 1)
    var places = Array(0..<results[0].count)
    for (k, row) in operands[1].integers.enumerated() where row >= 0 && row < extent {
      for i in 0..<width { places[row * width + i] = -1 - (k * width + i) }
    }
    if results[0].dtype.isFloat {
      let (table, values) = (operands[0].doubles, operands[2].doubles)
      return [
        NDArray(doubles: places.map { $0 < 0 ? values[-1 - $0] : table[$0] }, type: results[0])
      ]
    }
    let (table, values) = (operands[0].integers, operands[2].integers)
    return [
      try NDArray(
        integers: places.map { Int64($0 < 0 ? values[-1 - $0] : table[$0]) }, type: results[0])
    ]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let table = site.operands[0]
    var args = ck_set_rows_args()
    args.axis = Int64(table.shape[0])
    args.count = Int64(site.operands[1].count)
    args.row_bytes = Int64(table.byteCount / max(table.shape[0], 1))
    var call = KernelCall(
      "ck_set_rows", ck_gather(CK_GATHER_SET_ROWS, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_set_rows_args.dst, to: .result(0))
    call.bind(\ck_set_rows_args.src, to: .operand(0))
    call.bind(\ck_set_rows_args.rows, to: .operand(1))
    call.bind(\ck_set_rows_args.values, to: .operand(2))
    call.inPlace = [(operand: 0, result: 0)]
    // In place, as it is where a step updates its parameter.
    call.bytes = Double(2 * site.operands[2].byteCount)
    return call
  }
}

extension Tensor {
  /// This table with other rows: see ``SetRows``.
  package func settingRows(_ rows: Tensor, to values: Tensor) -> Tensor {
    .apply(SetRows(), to: self, rows, values)
  }
}
