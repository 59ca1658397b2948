// The place of the greatest and of the least element.

import ApusGraph
import CKernels

/// An op that finds the place of an extreme along one axis: the first of equals, and the first NaN where
/// there is one, as in NumPy. The result is `i64`.
package protocol ArgExtremeOp: Op {
  /// From 0.
  var axis: Int { get }
  /// Whether the axis stays with extent 1.
  var keepDims: Bool { get }
  init(axis: Int, keepDims: Bool)
  static var findsGreatest: Bool { get }
}

extension ArgExtremeOp {
  package init(attributes: AttributeReader) throws {
    self.init(axis: try attributes.int("axis"), keepDims: try attributes.bool("keepDims"))
  }

  package var attributes: [Attribute] {
    [Attribute("axis", .int(axis)), Attribute("keepDims", .bool(keepDims))]
  }

  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let x = operands[0]
    guard x.dtype != .bool else {
      throw ApusError(.dtypeMismatch, "\(mnemonic): not defined for \(x)", expected: "numbers")
    }
    guard x.shape[try checkedAxis(x, axis)] > 0 else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(x) is empty along axis \(axis)",
        expected: "at least one element")
    }
    return [TensorType(.i64, x.shape.reducing([axis], keepDims: keepDims))]
  }

  // The result is an integer.
  package func gradient(_ context: GradientContext) throws -> [Tensor?] { [nil] }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let x = operands[0]
    let places =
      x.dtype.isFloat
      ? places(x.doubles, x.shape) { Self.precedes($0, $1) || $0.isNaN && !$1.isNaN }
      : places(x.integers, x.shape) { Self.precedes($0, $1) }
    return [try NDArray(integers: places, type: results[0])]
  }

  private static func precedes<T: Comparable>(_ a: T, _ b: T) -> Bool {
    findsGreatest ? a > b : a < b
  }

  /// Along the axis, the first place to which none is `better`.
  private func places<T>(_ x: [T], _ shape: Shape, _ better: (T, T) -> Bool) -> [Int64] {
    let (outer, extent, inner) = shape.split(at: axis)
    var places: [Int64] = []
    for o in 0..<outer {
      for i in 0..<inner {
        func element(_ k: Int) -> T { x[(o * extent + k) * inner + i] }
        var best = 0
        for k in 1..<max(extent, 1) where better(element(k), element(best)) { best = k }
        places.append(Int64(best))
      }
    }
    return places
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    let type = site.operands[0]
    // Integers: the first of the sorted axis.
    guard type.dtype.isFloat else {
      return try sortCall(
        site, axis: axis, k: 1, isDescending: Self.findsGreatest, values: nil, indices: 0)
    }
    guard type.dtype == .f32 else {
      throw ApusError(
        .unsupported, "\(mnemonic) has no kernel for \(type.dtype)", expected: "f32 or integers")
    }
    let (outer, extent, inner) = type.shape.split(at: axis)
    guard extent <= Int(Int32.max) else {
      throw ApusError(
        .unsupported, "\(mnemonic): \(type) has \(extent) elements along axis \(axis)",
        expected: "fewer than 2^31 floats: reshape, and take the extreme of the extremes")
    }
    var args = ck_arg_args()
    (args.outer, args.axis, args.inner) = (Int64(outer), Int64(extent), Int64(inner))
    args.index_dtype = DType.i64.kernelCode
    let op = Self.findsGreatest ? CK_SCAN_ARGMAX : CK_SCAN_ARGMIN
    var call = KernelCall(
      "ck_\(mnemonic)_f32", ck_scan(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_arg_args.indices, to: .result(0))
    call.bind(\ck_arg_args.x, to: .operand(0))
    call.flops = Double(type.count)
    return call
  }
}

/// The place of the greatest element along `axis`.
package struct ArgMax: ArgExtremeOp {
  package static let mnemonic = "argmax"
  package static let findsGreatest = true
  package let axis: Int
  package let keepDims: Bool

  package init(axis: Int, keepDims: Bool = false) {
    self.axis = axis
    self.keepDims = keepDims
  }
}

/// The place of the least element along `axis`.
package struct ArgMin: ArgExtremeOp {
  package static let mnemonic = "argmin"
  package static let findsGreatest = false
  package let axis: Int
  package let keepDims: Bool

  package init(axis: Int, keepDims: Bool = false) {
    self.axis = axis
    self.keepDims = keepDims
  }
}

extension Tensor {
  /// The index of the greatest element along `axis`: the first of equals, or the first NaN.
  ///
  ///     let classes = logits.argmax()   // f32[64,10] → i64[64]
  public func argmax(
    axis: Int = -1, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    comparable(sourceLocation(file, line)).alongAxis(axis, file, line) {
      ArgMax(axis: $0, keepDims: keepDims)
    }
  }

  /// The index of the least element along `axis`: the first of equals, or the first NaN, as in NumPy and
  /// PyTorch and as `min` has it. (In `sorted` and `topK`, NaN is the greatest.)
  public func argmin(
    axis: Int = -1, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    comparable(sourceLocation(file, line)).alongAxis(axis, file, line) {
      ArgMin(axis: $0, keepDims: keepDims)
    }
  }

  /// This tensor, 16-bit floats widened, which changes no order.
  func comparable(_ location: String) -> Tensor {
    dtype == .bf16 || dtype == .f16 ? cast(to: .f32, location: location) : self
  }
}
