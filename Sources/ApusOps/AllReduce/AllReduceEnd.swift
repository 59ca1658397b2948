// The second half of an all-reduce: the bucket has been summed, and is taken apart again.

import ApusGraph
import CKernels

/// `xₖ = yₖ / W`: the parts of a bucket that ``AllReduceStart`` has filled, once it is the sum over all processes,
/// divided by the sum of their weights; without weights `xₖ = yₖ`. So weighted means become the mean over all.
///
/// The operand is the bucket, `f32[n]` (other floats have no kernel); the results have the shapes that went into it.
package struct AllReduceEnd: Op {
  package static let mnemonic = "all_reduce_end"
  package let number: Int
  package let isWeighted: Bool
  package let shapes: [Shape]

  package init(number: Int, isWeighted: Bool, shapes: [Shape]) {
    self.number = number
    self.isWeighted = isWeighted
    self.shapes = shapes
  }

  package init(attributes: AttributeReader) throws {
    number = try attributes.int("number")
    isWeighted = try attributes.bool("weighted")
    shapes = try attributes.list("shapes").map {
      guard case .list(let extents) = $0 else {
        throw ApusError(
          .parse, "\(Self.mnemonic): attribute 'shapes' is malformed",
          expected: "a list of lists of integers")
      }
      return Shape(
        try extents.map {
          guard case .int(let extent) = $0, extent >= 0 else {
            throw ApusError(
              .parse, "\(Self.mnemonic): attribute 'shapes' is malformed",
              expected: "extents of 0 or more")
          }
          return extent
        })
    }
  }

  package var attributes: [Attribute] {
    [
      Attribute("number", .int(number)), Attribute("weighted", .bool(isWeighted)),
      Attribute("shapes", .list(shapes.map { .ints($0.dimensions) })),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    guard !shapes.isEmpty else {
      throw ApusError(.invalidArgument, "\(Self.mnemonic): no result", expected: "at least one")
    }
    let dtype = operands[0].dtype
    guard dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "\(Self.mnemonic): a bucket \(operands[0])", expected: "floats")
    }
    let types = try shapes.map {
      try TensorType(dtype, $0).checked("a result of \(Self.mnemonic)")
    }
    let bucket = TensorType(dtype, [try Shape.sum(types.map(\.count) + (isWeighted ? [1] : []))])
    guard operands[0] == bucket else {
      throw ApusError(
        .shapeMismatch, "\(Self.mnemonic): a bucket \(operands[0]) for \(types)",
        expected: "\(bucket)")
    }
    return types
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let bucket = operands[0].doubles
    let weight = isWeighted ? bucket[bucket.count - 1] : 1
    var next = 0
    return results.map { type in
      defer { next += type.count }
      return NDArray(
        doubles: bucket[next..<next + type.count].map { $0 / weight }, type: type)
    }
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try requireF32(site.operands)
    var call = allReduceCall(
      site, CK_ALLREDUCE_END, "all_reduce_end", number: number, arrays: site.results)
    let block = MemoryLayout<ck_allreduce_args>.self
    call.bind(block.offset(of: \.bucket)!, to: .operand(0))
    if isWeighted { call.bind(block.offset(of: \.weight)!, to: .operand(0)) }
    for index in site.results.indices {
      call.bind(allReduceField(of: index), to: .result(index))
    }
    return call
  }
}
