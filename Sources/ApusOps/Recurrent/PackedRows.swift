// Sequences of their own lengths as rows one behind the other, and back.

import ApusGraph
import CKernels

/// Where the rows of padded sequences lie packed: step by step, in each step the sequences that have it, the longest
/// first. So ends leave no gaps, and what works on all rows works on the first `offsets[time]` alone.
///
///     sequences of 3, 2 and 1 steps      rows: a0 b0 c0 a1 b1 a2
///     offsets: 0 3 5 6                   the rest of batch · time rows: zeros
///
/// The padded array is `[batch, time, width]`, with an operand `order` that says which of the batch comes first, second
/// and so on; or (`isOrdered`) `[time, batch, width]`, with the sequences in that order already.
protocol PackedRowsOp: MovingOp, NarrowableOp {
  var isOrdered: Bool { get }
  var result: DType? { get }
  /// The op for the other way.
  func inverse(_ operand: TensorType) -> any Op
  func storing(_ result: DType?) -> Self
}

extension PackedRowsOp {
  /// The operands behind the first: the order, where there is one, and the offsets.
  func places(
    _ operands: [TensorType]
  ) throws -> (order: TensorType?, offsets: TensorType, type: DType) {
    try expect(isOrdered ? 2 : 3, operands)
    let order = isOrdered ? nil : operands[1], offsets = operands[operands.count - 1]
    guard offsets.rank == 1, offsets.dtype == .i32, offsets.count > 0 else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): offsets are \(offsets)", expected: "i32[time + 1]")
    }
    if let order {
      try expectIndices(order)
      guard order.rank == 1 else {
        throw ApusError(.shapeMismatch, "\(mnemonic): the order is \(order)", expected: "[batch]")
      }
    }
    guard operands[0].dtype.isFloat, result?.isFloat ?? true else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): \(operands[0])\(result.map { " to \($0)" } ?? "")",
        expected: "floats")
    }
    return (order, offsets, result ?? operands[0].dtype)
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let x = context.operands[0], places = context.operands.dropFirst()
    let flow = context.gradient.cast(to: x.dtype)
    return Tensor.applyAll(inverse(x.type), to: [flow] + places) + places.map { _ in nil }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index == 0 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { true }
  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    storing(operands[0] == results[0] ? nil : results[0])
  }

  /// For each packed row that a sequence has, its place among the rows of the padded array.
  func pairs(
    _ operands: [NDArray], time: Int, batch: Int
  ) -> [(packed: Int, padded: Int)] {
    let offsets = operands[operands.count - 1].integers.map { min(max(0, $0), time * batch) }
    let order = isOrdered ? Array(0..<batch) : operands[1].integers.map { Int($0) }
    return (0..<time).flatMap { step in
      (0..<min(batch, max(0, offsets[step + 1] - offsets[step]))).compactMap { row in
        guard (0..<batch).contains(order[row]) else { return nil }
        return (
          offsets[step] + row, isOrdered ? step * batch + row : order[row] * time + step
        )
      }
    }
  }

  func call(_ site: LoweringSite, time: Int, batch: Int, unpacks: Bool) throws -> KernelCall {
    let (from, to) = (site.operands[0].dtype, site.results[0].dtype)
    guard from == to || Set([from, to]) == Set([.f32, .bf16]) else {
      throw ApusError(
        .unsupported, "\(mnemonic) has no kernel from \(from) to \(to)",
        expected: "one type, or f32 and bf16")
    }
    var args = ck_packed_rows_args()
    (args.steps, args.batch) = (Int64(time), Int64(batch))
    args.width = Int64(site.operands[0].shape[-1])
    args.sequence_stride = isOrdered ? 1 : Int64(time)
    args.step_stride = isOrdered ? Int64(batch) : 1
    args.unpacks = unpacks ? 1 : 0
    (args.src_type, args.dst_type) = (from.kernelCode, to.kernelCode)
    if !isOrdered { args.order_dtype = site.operands[1].dtype.kernelCode }
    var call = KernelCall(
      "ck_packed_rows", ck_gather(CK_GATHER_PACKED_ROWS, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_packed_rows_args.dst, to: .result(0))
    call.bind(\ck_packed_rows_args.src, to: .operand(0))
    if !isOrdered { call.bind(\ck_packed_rows_args.order, to: .operand(1)) }
    call.bind(\ck_packed_rows_args.offsets, to: .operand(site.operands.count - 1))
    call.bytes = Double(site.operands[0].byteCount + site.results[0].byteCount)
    return call
  }
}

/// The rows of padded sequences, `[batch · time, width]`, and zeros behind them.
package struct PackRows: PackedRowsOp {
  package static let mnemonic = "pack_rows"
  package let isOrdered: Bool
  /// The element type of the result; nil for that of the first operand.
  package let result: DType?

  package init(isOrdered: Bool, result: DType? = nil) {
    self.isOrdered = isOrdered
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      isOrdered: try attributes.bool("ordered"), result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("ordered", .bool(isOrdered))] + Attribute.storageType(result)
  }

  private func sizes(_ x: TensorType) -> (time: Int, batch: Int) {
    isOrdered ? (x.shape[0], x.shape[1]) : (x.shape[1], x.shape[0])
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let (order, offsets, type) = try places(operands)
    let x = operands[0]
    guard x.rank == 3, sizes(x).time + 1 == offsets.count,
      order?.count ?? sizes(x).batch == sizes(x).batch
    else {
      throw ApusError(
        .shapeMismatch, "pack_rows: \(x) with offsets \(offsets)",
        expected: isOrdered ? "[time, batch, width]" : "[batch, time, width]")
    }
    return [
      try TensorType(type, [Shape.product(x.shape[0], x.shape[1]), x.shape[2]]).checked(mnemonic)
    ]
  }

  func inverse(_ operand: TensorType) -> any Op {
    UnpackRows(batch: sizes(operand).batch, isOrdered: isOrdered)
  }

  func storing(_ result: DType?) -> PackRows { PackRows(isOrdered: isOrdered, result: result) }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let x = operands[0].doubles, width = operands[0].shape[2]
    let (time, batch) = sizes(operands[0].type)
    var rows = [Double](repeating: 0, count: results[0].count)
    for (packed, padded) in pairs(operands, time: time, batch: batch) {
      for j in 0..<width { rows[packed * width + j] = x[padded * width + j] }
    }
    return [NDArray(doubles: rows, type: results[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let (time, batch) = sizes(site.operands[0])
    return try call(site, time: time, batch: batch, unpacks: false)
  }
}

/// The padded sequences of packed rows, and zeros behind each one's end.
package struct UnpackRows: PackedRowsOp {
  package static let mnemonic = "unpack_rows"
  package let batch: Int
  package let isOrdered: Bool
  /// The element type of the result; nil for that of the first operand.
  package let result: DType?

  package init(batch: Int, isOrdered: Bool, result: DType? = nil) {
    self.batch = batch
    self.isOrdered = isOrdered
    self.result = result
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      batch: try attributes.int("batch"), isOrdered: try attributes.bool("ordered"),
      result: try attributes.storageType())
  }

  package var attributes: [Attribute] {
    [Attribute("batch", .int(batch)), Attribute("ordered", .bool(isOrdered))]
      + Attribute.storageType(result)
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    let (order, offsets, type) = try places(operands)
    let rows = operands[0], time = offsets.count - 1
    guard batch >= 0, rows.rank == 2, order?.count ?? batch == batch,
      rows.shape[0] == Shape.product(time, batch)
    else {
      throw ApusError(
        .shapeMismatch, "unpack_rows: \(rows) of \(batch) sequences with offsets \(offsets)",
        expected: "[batch · time, width]")
    }
    return [
      TensorType(type, Shape((isOrdered ? [time, batch] : [batch, time]) + [rows.shape[1]]))
    ]
  }

  func inverse(_ operand: TensorType) -> any Op { PackRows(isOrdered: isOrdered) }

  func storing(_ result: DType?) -> UnpackRows {
    UnpackRows(batch: batch, isOrdered: isOrdered, result: result)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let rows = operands[0].doubles, width = operands[0].shape[1]
    let time = operands[operands.count - 1].count - 1
    var x = [Double](repeating: 0, count: results[0].count)
    for (packed, padded) in pairs(operands, time: time, batch: batch) {
      for j in 0..<width { x[padded * width + j] = rows[packed * width + j] }
    }
    return [NDArray(doubles: x, type: results[0])]
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let time = site.operands[site.operands.count - 1].count - 1
    return try call(site, time: time, batch: batch, unpacks: true)
  }
}

/// The rows of padded sequences, as ``PackedRowsOp`` lays them out: `[batch · time, width]`.
///
/// - `order`: which of `[batch, time, width]` comes first, second and so on; nil where `x` is `[time, batch, width]` in
///   that order.
/// - `offsets`: `i32[time + 1]`, where each step's rows begin, and behind the last, where all end.
package func packRows(_ x: Tensor, order: Tensor?, offsets: Tensor) -> Tensor {
  Tensor.applyAll(
    PackRows(isOrdered: order == nil), to: [x] + (order.map { [$0] } ?? []) + [offsets])[0]
}

/// The way back, with zeros behind each sequence's end.
package func unpackRows(_ rows: Tensor, batch: Int, order: Tensor?, offsets: Tensor) -> Tensor {
  Tensor.applyAll(
    UnpackRows(batch: batch, isOrdered: order == nil),
    to: [rows] + (order.map { [$0] } ?? []) + [offsets])[0]
}
