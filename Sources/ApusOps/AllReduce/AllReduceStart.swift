// The first half of an all-reduce: arrays go into a bucket, and the processes begin to add theirs up.

import ApusGraph
import CKernels

/// `y = w·x₀ ++ w·x₁ ++ … ++ [w]`, or without a weight `x₀ ++ x₁ ++ …`: what this process adds to the sum over all that
/// train together. Zeros where `w` is 0, whatever the operands hold.
///
/// Operands: floats of one type and any shapes, then the weight, one number, where there is one. The result is the
/// bucket, `f32[n]`; other floats than f32 have no kernel. From this call on it is summed over the processes, in place, and ``AllReduceEnd`` waits for that: nobody else may read
/// it. In a process alone the bucket is its own sum.
package struct AllReduceStart: Op {
  package static let mnemonic = "all_reduce_start"
  /// The number of the bucket: all processes post the same numbers in the same order.
  package let number: Int
  package let isWeighted: Bool

  package init(number: Int, isWeighted: Bool) {
    self.number = number
    self.isWeighted = isWeighted
  }

  package init(attributes: AttributeReader) throws {
    number = try attributes.int("number")
    isWeighted = try attributes.bool("weighted")
  }

  package var attributes: [Attribute] {
    [Attribute("number", .int(number)), Attribute("weighted", .bool(isWeighted))]
  }

  /// The operands that are summed.
  private func summed<T>(_ operands: [T]) -> ArraySlice<T> {
    isWeighted ? operands.dropLast() : operands[...]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    guard !summed(operands).isEmpty else {
      throw ApusError(.invalidArgument, "\(Self.mnemonic): no operand", expected: "at least one")
    }
    guard number >= 0 else {
      throw ApusError(
        .invalidArgument, "\(Self.mnemonic): number \(number)", expected: "0 or more")
    }
    let dtype = operands[0].dtype
    if let bad = operands.first(where: { $0.dtype != dtype || !dtype.isFloat }) {
      throw ApusError(
        .dtypeMismatch, "\(Self.mnemonic): operands \(operands[0]) and \(bad)",
        expected: "floats of one type")
    }
    if isWeighted, operands[operands.count - 1].rank != 0 {
      throw ApusError(
        .shapeMismatch, "\(Self.mnemonic): the weight is \(operands[operands.count - 1])",
        expected: "one number, \(TensorType(dtype, []))")
    }
    let count = try Shape.sum(summed(operands).map(\.count) + (isWeighted ? [1] : []))
    return [TensorType(dtype, [count])]
  }

  // Sums over processes are made of gradients; nothing is differentiated through them.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    context.operands.map { _ in nil }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let weight = isWeighted ? operands[operands.count - 1].scalar : 1
    let values = summed(operands).flatMap(\.doubles).map { weight == 0 ? 0 : weight * $0 }
    return [NDArray(doubles: values + (isWeighted ? [weight] : []), type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool {
    view.isContiguous
  }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try requireF32(site.operands)
    var call = allReduceCall(
      site, CK_ALLREDUCE_START, "all_reduce_start", number: number,
      arrays: Array(summed(site.operands)))
    let block = MemoryLayout<ck_allreduce_args>.self
    call.bind(block.offset(of: \.bucket)!, to: .result(0))
    if isWeighted {
      call.bind(block.offset(of: \.weight)!, to: .operand(site.operands.count - 1))
    }
    for index in summed(site.operands).indices {
      call.bind(allReduceField(of: index), to: .operand(index))
    }
    return call
  }
}

extension Op {
  /// - Throws: `unsupported` for other floats than f32.
  func requireF32(_ operands: [TensorType]) throws {
    guard operands.allSatisfy({ $0.dtype == .f32 }) else {
      throw ApusError(
        .unsupported, "\(mnemonic) has no kernel for \(operands[0])", expected: "f32")
    }
  }
}

/// Where the address of an array stands in the block of an all-reduce.
func allReduceField(of array: Int) -> Int {
  MemoryLayout<ck_allreduce_args>.size + array * MemoryLayout<ck_allreduce_array>.stride
    + MemoryLayout<ck_allreduce_array>.offset(of: \.data)!
}

/// The call of a half of an all-reduce; its buffers are still to be bound, but for the group.
///
/// - `arrays`: the types of what goes into the bucket.
func allReduceCall(
  _ site: LoweringSite, _ op: ck_allreduce_op, _ name: String, number: Int, arrays: [TensorType]
) -> KernelCall {
  var header = ck_allreduce_args()
  header.count = Int64(arrays.reduce(0) { $0 + $1.count })
  header.number = Int64(number)
  header.arrays = Int64(arrays.count)
  var bytes = withUnsafeBytes(of: header) { Array($0) }
  for type in arrays {
    var array = ck_allreduce_array()
    array.count = Int64(type.count)
    withUnsafeBytes(of: array) { bytes += $0 }
  }
  var call = KernelCall(name, entry: KernelEntry(ck_allreduce(op, ck_isa(site.isa))), bytes: bytes)
  call.bind(MemoryLayout<ck_allreduce_args>.offset(of: \.group)!, to: .group)
  call.isCollective = true
  call.bytes = Double((site.operands + site.results).reduce(0) { $0 + $1.byteCount })
  return call
}
