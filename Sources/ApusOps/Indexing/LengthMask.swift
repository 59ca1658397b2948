// Which steps of padded sequences are real.

import ApusGraph
import CKernels

/// `y[…, t] = t < lengths[…]`: one more axis of `extent` steps at the end.
///
/// A length outside `1 ... extent` is an error (`outOfRange`).
package struct LengthMask: Op {
  package static let mnemonic = "length_mask"
  package let extent: Int

  package init(extent: Int) { self.extent = extent }
  package init(attributes: AttributeReader) throws { extent = try attributes.int("extent") }
  package var attributes: [Attribute] { [Attribute("extent", .int(extent))] }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    try expectIndices(operands[0])
    guard extent >= 0 else {
      throw ApusError(
        .invalidArgument, "length_mask: \(extent) steps", expected: "a number of steps")
    }
    return [TensorType(.bool, Shape(operands[0].shape.dimensions + [extent]))]
  }

  // Integers have no gradient.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    var values: [Double] = []
    for (position, length) in operands[0].integers.enumerated() {
      guard length >= 1, length <= extent else {
        throw ApusError(
          .outOfRange, "length_mask: length \(length) at position \(position)",
          expected: "1...\(extent)")
      }
      values += (0..<extent).map { $0 < length ? 1 : 0 }
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    var args = ck_length_mask_args()
    args.count = Int64(site.operands[0].count)
    args.extent = Int64(extent)
    args.length_dtype = site.operands[0].dtype.kernelCode
    var call = KernelCall(
      "ck_length_mask", ck_gather(CK_GATHER_LENGTH_MASK, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_length_mask_args.dst, to: .result(0))
    call.bind(\ck_length_mask_args.lengths, to: .operand(0))
    call.bind(\ck_length_mask_args.error, to: .errorSlot)
    call.checkedIndices = (0, extent + 1)
    call.leastIndex = 1
    call.partition = .tiles(
      count: site.operands[0].count, elementsPerTile: extent, alignedOperands: [])
    return call
  }
}

extension Tensor {
  /// Which steps of padded sequences of these lengths are real: true for the first ones.
  ///
  ///     lengths.lengthMask(20)   // i32[64] → bool[64,20]
  ///
  /// - `steps`: the extent of the padded axis. A length outside `1...steps` ends the step with an `outOfRange`
  ///   error that names the row.
  public func lengthMask(
    _ steps: Int, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    located(file, line) {
      _ = try TensorType(.bool, Shape(shape.dimensions + [steps])).checked("length_mask")
      return .apply(LengthMask(extent: steps), to: self, location: sourceLocation(file, line))
    }
  }
}
