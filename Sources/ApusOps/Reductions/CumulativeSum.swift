// Cumulative sums.

import ApusGraph
import CKernels

/// `y_k = x_0 + … + x_k` along `axis`; without `x_k` where exclusive; from the end where reverse.
package struct CumulativeSum: Op {
  package static let mnemonic = "cumsum"
  /// From 0.
  package let axis: Int
  package let isExclusive: Bool
  package let isReverse: Bool

  package init(axis: Int, isExclusive: Bool = false, isReverse: Bool = false) {
    self.axis = axis
    self.isExclusive = isExclusive
    self.isReverse = isReverse
  }

  package init(attributes: AttributeReader) throws {
    self.init(
      axis: try attributes.int("axis"), isExclusive: try attributes.bool("exclusive"),
      isReverse: try attributes.bool("reverse"))
  }

  package var attributes: [Attribute] {
    [
      Attribute("axis", .int(axis)), Attribute("exclusive", .bool(isExclusive)),
      Attribute("reverse", .bool(isReverse)),
    ]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    guard operands[0].dtype != .bool, operands[0].dtype != .u8 else {
      throw ApusError(
        .dtypeMismatch, "cumsum: not defined for \(operands[0])", expected: "floats, i32 or i64")
    }
    _ = try checkedAxis(operands[0], axis)
    return operands
  }

  // Element k flows into all from k on: the gradient is the sum from the other end.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] {
    guard context.operands[0].dtype.isFloat else { return [nil] }
    let op = CumulativeSum(axis: axis, isExclusive: isExclusive, isReverse: !isReverse)
    return [op.applied(to: context.gradient)]
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let x = operands[0]
    guard x.dtype.isFloat else {
      let sums = sums(of: x.integers.map(Int64.init), x.shape) { $0 &+ $1 }
      return [try NDArray(integers: sums, type: results[0])]
    }
    return [NDArray(doubles: sums(of: x.doubles, x.shape, +), type: results[0])]
  }

  private func sums<T: Numeric>(of x: [T], _ shape: Shape, _ add: (T, T) -> T) -> [T] {
    let (outer, extent, inner) = shape.split(at: axis)
    var sums = x
    for o in 0..<outer {
      for i in 0..<inner {
        var sum: T = 0
        for step in 0..<extent {
          let place = (o * extent + (isReverse ? extent - 1 - step : step)) * inner + i
          let next = add(sum, x[place])
          sums[place] = isExclusive ? sum : next
          sum = next
        }
      }
    }
    return sums
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let dtype = site.operands[0].dtype
    let kernel: ck_scan_op
    switch dtype {
    case .f32: kernel = CK_SCAN_F32
    case .i32: kernel = CK_SCAN_I32
    case .i64: kernel = CK_SCAN_I64
    default:
      throw ApusError(
        .unsupported, "cumsum has no kernel for \(dtype)", expected: "f32, i32 or i64")
    }
    let (outer, extent, inner) = site.operands[0].shape.split(at: axis)
    var args = ck_scan_args()
    (args.outer, args.axis, args.inner) = (Int64(outer), Int64(extent), Int64(inner))
    args.kind = Int32(CK_SCAN_SUM.rawValue)
    args.exclusive = isExclusive ? 1 : 0
    args.reverse = isReverse ? 1 : 0
    var call = KernelCall(
      "ck_scan_\(dtype)", ck_scan(kernel, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_scan_args.y, to: .result(0))
    call.bind(\ck_scan_args.x, to: .operand(0))
    call.inPlace = [(operand: 0, result: 0)]
    call.flops = Double(site.operands[0].count)
    return call
  }

  /// Applies the op; 16-bit floats are added up in `f32`.
  func applied(to x: Tensor, location: String? = nil) -> Tensor {
    guard x.dtype == .bf16 || x.dtype == .f16 else {
      return .apply(self, to: x, location: location)
    }
    return Tensor.apply(self, to: x.cast(to: .f32, location: location), location: location)
      .cast(to: x.dtype, location: location)
  }
}

extension Tensor {
  /// Sums of the elements up to each one along `axis`. Integers and bools are summed as `i64`.
  ///
  ///     x.cumulativeSum(axis: 1)   // [[1, 2, 3]] → [[1, 3, 6]]
  ///
  /// - `isExclusive`: whether an element's own value is left out of its sum.
  /// - `isReverse`: whether the sums run from the end.
  public func cumulativeSum(
    axis: Int = -1, isExclusive: Bool = false, isReverse: Bool = false,
    file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    let location = sourceLocation(file, line)
    do {
      let op = CumulativeSum(
        axis: try shape.normalized(axis: axis), isExclusive: isExclusive, isReverse: isReverse)
      return op.applied(to: summable(location), location: location)
    } catch {
      return .poisoned(asApusError(error), like: self, location: location)
    }
  }
}
