// Indicators of classes.

import ApusGraph
import CKernels

/// `y[…, d] = 1` where `x[…] = d`, else 0: one more axis of extent `depth` at the end.
///
/// A class outside `0 ..< depth` is an error (`outOfRange`).
package struct OneHot: Op {
  package static let mnemonic = "one_hot"
  package let depth: Int
  /// The element type of the result.
  package let dtype: DType

  package init(depth: Int, dtype: DType = .f32) {
    self.depth = depth
    self.dtype = dtype
  }

  package init(attributes: AttributeReader) throws {
    self.init(depth: try attributes.int("depth"), dtype: try attributes.dtype("dtype"))
  }

  package var attributes: [Attribute] {
    [Attribute("depth", .int(depth)), Attribute("dtype", .dtype(dtype))]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    try expectIndices(operands[0])
    guard depth >= 0 else {
      throw ApusError(
        .invalidArgument, "one_hot: depth is \(depth)", expected: "a number of classes")
    }
    return [TensorType(dtype, Shape(operands[0].shape.dimensions + [depth]))]
  }

  // Integers have no gradient.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    var values = [Double](repeating: 0, count: results[0].count)
    for (position, index) in operands[0].integers.enumerated() {
      guard (0..<depth).contains(index) else {
        throw ApusError(
          .outOfRange, "one_hot: index \(index) at position \(position) is out of range",
          expected: "an index in 0..<\(depth)")
      }
      values[position * depth + index] = 1
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_one_hot_args()
    args.on = CopyLowering.bits(of: 1, dtype)
    args.off = CopyLowering.bits(of: 0, dtype)
    args.outer = Int64(site.operands[0].count)
    args.depth = Int64(depth)
    args.inner = 1
    args.index_dtype = site.operands[0].dtype.kernelCode
    args.element_size = Int32(dtype.byteCount)
    var call = KernelCall(
      "ck_one_hot", ck_gather(CK_GATHER_ONE_HOT, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_one_hot_args.dst, to: .result(0))
    call.bind(\ck_one_hot_args.indices, to: .operand(0))
    call.bind(\ck_one_hot_args.error, to: .errorSlot)
    call.checkedIndices = (0, depth)
    call.partition = .tiles(
      count: site.operands[0].count, elementsPerTile: depth, alignedOperands: [])
    return call
  }
}

extension Tensor {
  /// Indicators of these classes, along a new last axis.
  ///
  ///     labels.oneHot(10)   // u8[64] → f32[64,10]
  public func oneHot(
    _ depth: Int, dtype: DType = .f32, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      _ = try TensorType(dtype, Shape(shape.dimensions + [depth])).checked("one_hot")
      return .apply(
        OneHot(depth: depth, dtype: dtype), to: self, location: sourceLocation(file, line))
    }
  }
}
