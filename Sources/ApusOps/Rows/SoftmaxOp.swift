// What softmax, log-softmax and their gradients have in common: types, storage, argument blocks.

import ApusGraph
import CKernels

/// A softmax, the logarithm of one, or the gradient of either: slices of floats along an axis, computed
/// in f32 whatever they are stored in.
///
/// All elements have one type, unless `result` is given: then what is read may be of different float
/// types, and what is made of it is rounded to `result` once.
package protocol SoftmaxOp: StoredRowsOp {
  /// From 0.
  var axis: Int { get }
  /// How many operands there are, all of one shape.
  static var rowOperands: Int { get }
  /// The longest slice that there is a kernel for.
  var longestRow: Int { get }
  /// The same op with a result of that type.
  func giving(_ result: DType) -> Self
}

/// Those that are told nothing else.
package protocol PlainSoftmaxOp: SoftmaxOp {
  init(axis: Int, result: DType?)
}

extension PlainSoftmaxOp {
  package init(attributes: AttributeReader) throws {
    self.init(axis: try attributes.int("axis"), result: try attributes.storageType())
  }

  package var attributes: [Attribute] { sharedAttributes }

  package func giving(_ result: DType) -> Self { Self(axis: axis, result: result) }
}

extension SoftmaxOp {
  package var longestRow: Int { .max }

  var sharedAttributes: [Attribute] {
    [Attribute("axis", .int(axis))] + Attribute.storageType(result)
  }

  /// Floats of one shape with that axis.
  package func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(Self.rowOperands, operands)
    let first = operands[0]
    guard
      operands.allSatisfy({
        $0 == first || result != nil && $0.shape == first.shape && $0.dtype.isFloat
      })
    else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): operands are \(first) and \(operands[1])",
        expected: result == nil ? "one type" : "floats of one shape")
    }
    guard result?.isFloat ?? true else {
      throw ApusError(
        .dtypeMismatch, "\(mnemonic): a result of \(result ?? first.dtype)", expected: "floats")
    }
    _ = try floatAxis(operands, axis)
    return [first.with(result ?? first.dtype)]
  }

  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  /// The slices must be dense rows.
  package func hasKernel(_ operands: [TensorType]) -> Bool {
    hasRows(operands) && hasKernel(operands.map(\.dtype))
  }

  private func hasRows(_ operands: [TensorType]) -> Bool {
    operands[0].shape.split(at: axis).inner == 1 && operands[0].shape[axis] <= longestRow
  }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool {
    hasRows(node.operands)
  }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { hasRows(node.operands) }

  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    giving(results[0])
  }

  // MARK: Decomposition

  /// An operand in the type that a decomposition computes in.
  func widened(_ x: Tensor, of operands: [Tensor]) -> Tensor {
    x.cast(to: arithmetic(operands.map(\.dtype)))
  }

  // MARK: Lowering

  /// The call of a forward pass, of x, or of a gradient, of y or x and dy.
  func softmaxCall(_ site: LoweringSite, _ op: ck_softmax_op, _ name: String) -> KernelCall {
    let (outer, extent, _) = site.results[0].shape.split(at: axis)
    var args = ck_softmax_args()
    args.rows = Int64(outer)
    args.cols = Int64(extent)
    args.out_stride = args.cols
    args.out_dtype = site.results[0].dtype.kernelCode
    let readsResult = op == CK_SOFTMAX_BACKWARD || op == CK_SOFTMAX_LOG_BACKWARD
    if readsResult {
      args.y_stride = args.cols
      args.y_dtype = site.operands[0].dtype.kernelCode
    } else {
      args.x_stride = args.cols
      args.x_dtype = site.operands[0].dtype.kernelCode
    }
    if site.operands.count > 1 {
      args.dy_stride = args.cols
      args.dy_dtype = site.operands[1].dtype.kernelCode
    }
    var call = KernelCall(name, ck_softmax(op, ck_isa(site.isa)), site, block: args)
    call.bind(readsResult ? \ck_softmax_args.y : \ck_softmax_args.x, to: .operand(0))
    if site.operands.count > 1 { call.bind(\ck_softmax_args.dy, to: .operand(1)) }
    call.bind(\ck_softmax_args.out, to: .result(0))
    call.flops = 20 * Double(args.rows * args.cols)
    // Two sums over lanes a row; sixteen short rows have them together.
    let rates = rates(at: site.isa)
    call.overhead =
      (args.cols <= CK_SHORT_COLUMNS ? rates.short_row : rates.row) * Double(args.rows)
    let places = Array(site.operands.indices)
    call.inPlace = places.filter { site.operands[$0].dtype == site.results[0].dtype }
      .map { (operand: $0, result: 0) }
    call.partition = .tiles(
      count: Int(args.rows), elementsPerTile: Int(args.cols), alignedOperands: places)
    return call
  }
}
