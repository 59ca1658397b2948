// Sorting, and the first of a sorted axis.

import ApusGraph
import CKernels

/// The elements along `axis` in order, and the indices they came from (`i64`).
///
/// Equal elements keep their order. NaN is greater than all numbers, as in PyTorch and for
/// ``ApusGraph/Tensor/argmax(axis:keepDims:file:line:)``: last, or first where descending.
package struct Sort: Op {
  package static let mnemonic = "sort"
  /// From 0.
  package let axis: Int
  package let isDescending: Bool

  package init(axis: Int, isDescending: Bool = false) {
    self.axis = axis
    self.isDescending = isDescending
  }

  package init(attributes: AttributeReader) throws {
    self.init(axis: try attributes.int("axis"), isDescending: try attributes.bool("descending"))
  }

  package var attributes: [Attribute] {
    [Attribute("axis", .int(axis)), Attribute("descending", .bool(isDescending))]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    try expectSortable(operands[0], axis)
    return [operands[0], operands[0].with(.i64)]
  }

  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    sortGradient(context, axis)
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    sortReference(operands[0], axis, isDescending: isDescending, results)
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try sortCall(
      site, axis: axis, k: site.operands[0].shape[axis], isDescending: isDescending, values: 0,
      indices: 1)
  }
}

extension Tensor {
  /// The elements along `axis` in order, and the indices they came from. Equal elements keep their order;
  /// NaN is greater than all numbers.
  ///
  ///     let (sorted, order) = scores.sorted(isDescending: true)   // f32[8,100], i64[8,100]
  public func sorted(
    axis: Int = -1, isDescending: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> (values: Tensor, indices: Tensor) {
    sortResults(axis, file, line) { Sort(axis: $0, isDescending: isDescending) }
  }

  /// Applies an op of values and indices; 16-bit floats are ordered as `f32`.
  func sortResults(
    _ axis: Int, _ file: StaticString, _ line: UInt, _ make: (Int) -> some Op
  ) -> (values: Tensor, indices: Tensor) {
    let location = sourceLocation(file, line)
    do {
      let op = make(try shape.normalized(axis: axis))
      let results = Tensor.applyAll(
        op, to: [comparable(location)], resultCount: 2, location: location)
      return (results[0].cast(to: dtype, location: location), results[1])
    } catch {
      let poison = Tensor.poisoned(asApusError(error), like: self, location: location)
      return (poison, poison)
    }
  }
}

// MARK: What sort, top-k and the arg-extremes share

extension Op {
  func expectSortable(_ x: TensorType, _ axis: Int) throws {
    guard x.dtype != .bool else {
      throw ApusError(.dtypeMismatch, "\(mnemonic): not defined for \(x)", expected: "numbers")
    }
    _ = try checkedAxis(x, axis)
  }

  /// Each value's gradient goes back to where it came from.
  func sortGradient(_ context: GradientContext, _ axis: Int) -> [Tensor?] {
    let x = context.operands[0]
    guard x.dtype.isFloat, let flow = context.gradients[0] else { return [nil] }
    let op = ScatterAdd(axis: axis, extent: x.shape[axis], isAlong: true)
    return [op.applied(to: flow, context.results[1])]
  }

  /// Values and indices of the first elements in order, as many as the results take.
  func sortReference(
    _ x: NDArray, _ axis: Int, isDescending: Bool, _ results: [TensorType]
  ) -> [NDArray] {
    if x.dtype.isFloat {
      return sorted(x, x.doubles, axis, results) { u, v in
        // NaN is the greatest.
        if u.isNaN || v.isNaN { return isDescending ? u.isNaN && !v.isNaN : !u.isNaN && v.isNaN }
        return isDescending ? u > v : u < v
      }
    }
    return sorted(x, x.integers, axis, results) { isDescending ? $0 > $1 : $0 < $1 }
  }

  /// The elements of `x`, whose values are `source`, in the order of `precedes`; the first of equals first.
  private func sorted<T: Equatable>(
    _ x: NDArray, _ source: [T], _ axis: Int, _ results: [TensorType],
    _ precedes: (T, T) -> Bool
  ) -> [NDArray] {
    let (outer, extent, inner) = x.shape.split(at: axis)
    let k = results[0].shape[axis]
    var places = [Int](repeating: 0, count: results[0].count)
    var indices = [Int64](repeating: 0, count: results[0].count)
    for o in 0..<outer {
      for i in 0..<inner {
        func place(_ n: Int) -> Int { (o * extent + n) * inner + i }
        let order = (0..<extent).sorted { a, b in
          let (u, v) = (source[place(a)], source[place(b)])
          // Neither first, or (of NaNs) each: equals.
          return precedes(u, v) == precedes(v, u) ? a < b : precedes(u, v)
        }
        for n in 0..<k {
          places[(o * k + n) * inner + i] = place(order[n])
          indices[(o * k + n) * inner + i] = Int64(order[n])
        }
      }
    }
    return [
      x.elements(at: places, shape: results[0].shape).cast(to: results[0].dtype),
      NDArray(indices, shape: results[1].shape),
    ]
  }

  /// The call that writes the first `k` in order to the results at those places.
  func sortCall(
    _ site: LoweringSite, axis: Int, k: Int, isDescending: Bool, values: Int?, indices: Int
  ) throws -> KernelCall {
    let type = site.operands[0]
    guard [.f32, .i32, .i64, .u8].contains(type.dtype) else {
      throw ApusError(
        .unsupported, "\(mnemonic) has no kernel for \(type.dtype)",
        expected: "f32, i32, i64 or u8")
    }
    let (outer, extent, inner) = type.shape.split(at: axis)
    // An element's place is the lower half of its key. The one first of all is found without keys.
    guard k == 1 || type.dtype == .i64 || extent <= 1 << 32 else {
      throw ApusError(
        .unsupported, "\(mnemonic): \(extent) elements along axis \(axis)",
        expected: "at most 2^32")
    }
    var args = ck_sort_args()
    (args.outer, args.axis, args.inner) = (Int64(outer), Int64(extent), Int64(inner))
    args.k = Int64(k)
    args.dtype = type.dtype.kernelCode
    args.index_dtype = DType.i64.kernelCode
    args.descending = isDescending ? 1 : 0
    let op = k == extent ? CK_SORT_SORT : CK_SORT_TOP_K
    var call = KernelCall("ck_\(mnemonic)", ck_sort(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_sort_args.x, to: .operand(0))
    if let values { call.bind(\ck_sort_args.values, to: .result(values)) }
    call.bind(\ck_sort_args.indices, to: .result(indices))
    call.scratchBytesPerThread = ck_sort_scratch_bytes(&args)
    call.flops = 16 * Double(type.count)
    return call
  }
}
