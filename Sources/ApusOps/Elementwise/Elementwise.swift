// The family of ops that compute each element of the result from the elements at the same place.
//
// An elementwise op states its rule on one element; types, broadcasting, reference, access through
// views and lowering are the family's. The tile machine's opcode of the same name does the work, and
// fused loops are programs of these ops.

import ApusGraph

/// Which operand types an elementwise op takes, and what comes out.
package enum ElementwiseSignature: Sendable {
  /// Floats in, the same float type out.
  case float
  /// Floats or integers in, the same type out.
  case numeric
  /// Any one type in, bool out.
  case comparison
  /// Any one type but bool in, bool out.
  case ordering
  /// Floats in, bool out.
  case predicate
  /// Bools in, bool out.
  case logical
}

/// An op on single elements.
///
/// The mnemonic is also the name of the tile machine's opcode (`eltwise_ops.inc`).
package protocol ElementwiseOp: NarrowableOp {
  static var arity: Int { get }
  static var signature: ElementwiseSignature { get }
  /// Numbers fixed when the graph is built (a slope, bounds), in the opcode's order.
  var immediates: [Double] { get }
  /// The op on one element, in double; bools are 0 and 1.
  func evaluate(_ x: [Double]) -> Double
}

/// An elementwise op that is defined for integers as well.
package protocol IntegerElementwiseOp: ElementwiseOp {
  /// The op on one element of an integer type or bool, as kernels compute it: what overflows wraps. The
  /// low bits are kept of what this gives; bools are 0 and 1.
  func evaluate(_ x: [Int64]) -> Int64
  /// Whether the result of bytes may be no byte: slots hold them as `i32`, which must then be cut.
  static var leavesBytes: Bool { get }
}

extension IntegerElementwiseOp {
  package static var leavesBytes: Bool { false }
}

/// An elementwise op without attributes.
package protocol PlainElementwiseOp: ElementwiseOp {
  init()
}

extension PlainElementwiseOp {
  package init(attributes: AttributeReader) throws { self.init() }
  package var attributes: [Attribute] { [] }
  package var immediates: [Double] { [] }
}

extension ElementwiseOp {
  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(Self.arity, operands)
    let dtype = operands[0].dtype
    guard operands.allSatisfy({ $0.dtype == dtype }) else {
      throw ApusError(
        .dtypeMismatch,
        "\(mnemonic): operands have types \(operands.map(\.description).joined(separator: " and "))",
        expected: "one element type")
    }
    let isAllowed =
      switch Self.signature {
      case .float, .predicate: dtype.isFloat
      case .numeric, .ordering: dtype != .bool
      case .comparison: true
      case .logical: dtype == .bool
      }
    guard isAllowed else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): not defined for \(operands[0])",
        expected: Self.signature == .logical
          ? "bool" : Self.signature == .float || Self.signature == .predicate ? "floats" : "numbers"
      )
    }
    let shape = try broadcastShape(operands)
    switch Self.signature {
    case .float, .numeric: return [TensorType(dtype, shape)]
    case .comparison, .ordering, .predicate, .logical: return [TensorType(.bool, shape)]
    }
  }

  /// The shape all operands have together.
  package func broadcastShape(_ operands: [TensorType]) throws -> Shape {
    do {
      return try operands.dropFirst().reduce(operands[0].shape) {
        try Shape.broadcast($0, $1.shape)
      }
    } catch var error as ApusError {
      error.what = "\(mnemonic): \(error.what)"
      throw error
    }
  }

  package func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let shape = results[0].shape
    let wide = operands.map { operand in
      operand.viewed(through: View(dense: operand.shape).broadcast(to: shape))
    }
    if let op = self as? any IntegerElementwiseOp, !operands.contains(where: \.dtype.isFloat) {
      let columns = wide.map { $0.integers.map(Int64.init) }
      let values = (0..<shape.count).map { index in op.evaluate(columns.map { $0[index] }) }
      return [try NDArray(integers: values, type: results[0])]
    }
    let columns = wide.map(\.doubles)
    let values = (0..<shape.count).map { index in evaluate(columns.map { $0[index] }) }
    return [NDArray(doubles: values, type: results[0])]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  package func lower(_ site: LoweringSite) throws -> KernelCall {
    try LoopLowering.elementwise(self, site)
  }
}
