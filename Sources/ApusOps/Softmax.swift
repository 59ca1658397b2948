// Softmax, and its gradient as an op of its own.

import ApusGraph
import CKernels
import Glibc

/// `y = exp(x - m) / Σ exp(x - m)` along `axis`, with `m` the greatest element there.
///
/// A slice of -∞ only, or with +∞ or NaN in it, gives NaN, as in PyTorch.
public struct Softmax: CompositeOp {
  public static let mnemonic = "softmax"
  /// From 0.
  public let axis: Int

  public init(axis: Int) { self.axis = axis }
  public init(attributes: AttributeReader) throws { axis = try attributes.int("axis") }
  public var attributes: [Attribute] { [Attribute("axis", .int(axis))] }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try softmaxTypes(operands, count: 1, axis)
  }

  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    [.apply(SoftmaxGradient(axis: axis), to: context.result, context.gradient)]
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let m = slices[0].reduce(-.infinity, greatest)
        let e = slices[0].map { exp($0 - m) }
        let sum = e.reduce(0, +)
        return e.map { $0 / sum }
      }
    ]
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { hasRows(operands, axis) }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    guard operands[0].shape[axis] > 0 else { return operands }
    let e = exp(operands[0] - greatestAlong(operands[0], axis))
    return [e / e.sum(axes: [axis], keepDims: true)]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    lowerSoftmax(site, axis, CK_SOFTMAX_FORWARD, "ck_softmax_f32")
  }
}

/// `dx = y (dy - Σ dy y)` along `axis`: the gradient of ``Softmax``, from its result `y` and `dy`.
public struct SoftmaxGradient: CompositeOp {
  public static let mnemonic = "softmax_gradient"
  /// From 0.
  public let axis: Int

  public init(axis: Int) { self.axis = axis }
  public init(attributes: AttributeReader) throws { axis = try attributes.int("axis") }
  public var attributes: [Attribute] { [Attribute("axis", .int(axis))] }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try softmaxTypes(operands, count: 2, axis)
  }

  // Symmetric in dy: the gradient for dy is the same map of u.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let (y, dy, u) = (context.operands[0], context.operands[1], context.gradient)
    var flow: Tensor?
    if context.isNeeded[0] {
      let dots = (dy * y).sum(axes: [axis], keepDims: true)
      flow = u * (dy - dots) - dy * (u * y).sum(axes: [axis], keepDims: true)
    }
    return [flow, context.isNeeded[1] ? .apply(self, to: y, u) : nil]
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    [
      mapSlices(of: operands, along: axis, results[0]) { slices in
        let dot = zip(slices[0], slices[1]).reduce(0) { $0 + $1.0 * $1.1 }
        return zip(slices[0], slices[1]).map { $0 * ($1 - dot) }
      }
    ]
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }
  public func hasKernel(_ operands: [TensorType]) -> Bool { hasRows(operands, axis) }

  public func decompose(_ operands: [Tensor]) throws -> [Tensor] {
    let (y, dy) = (operands[0], operands[1])
    return [y * (dy - (dy * y).sum(axes: [axis], keepDims: true))]
  }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    lowerSoftmaxGradient(site, axis, CK_SOFTMAX_BACKWARD, "ck_softmax_backward_f32")
  }
}

/// Probabilities along `axis`: positive, and their sum is 1.
///
///     let p = softmax(logits)   // f32[64,10], each row sums to 1
public func softmax(
  _ x: Tensor, axis: Int = -1, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.alongAxis(axis, file, line) { Softmax(axis: $0) }
}

// MARK: What softmax, log-softmax and their gradients share

/// The greater of the two, NaN where one is.
func greatest(_ a: Double, _ b: Double) -> Double { a.isNaN || a > b ? a : b }

/// The greatest element along `axis`, kept, as a constant: it shifts and is not differentiated.
func greatestAlong(_ x: Tensor, _ axis: Int) -> Tensor {
  x.stopGradient().max(axes: [axis], keepDims: true)
}

/// Applies `body` to the slices along `axis` of arrays of one shape.
func mapSlices(
  of operands: [NDArray], along axis: Int, _ result: TensorType, _ body: ([[Double]]) -> [Double]
) -> NDArray {
  let (outer, extent, inner) = result.shape.split(at: axis)
  let columns = operands.map(\.doubles)
  var values = [Double](repeating: 0, count: result.count)
  for o in 0..<outer {
    for i in 0..<inner {
      let places = (0..<extent).map { (o * extent + $0) * inner + i }
      let slices = columns.map { column in places.map { column[$0] } }
      for (place, value) in zip(places, body(slices)) { values[place] = value }
    }
  }
  return NDArray(doubles: values, type: result)
}

/// Whether the slices along `axis` are dense rows of `f32`, which the row kernels take.
func hasRows(_ operands: [TensorType], _ axis: Int) -> Bool {
  operands[0].dtype == .f32 && operands[0].shape.split(at: axis).inner == 1
}

extension Op {
  /// `count` operands of one type, floats with that axis; the result is another.
  func softmaxTypes(
    _ operands: [TensorType], count: Int, _ axis: Int
  ) throws -> [TensorType] {
    try expect(count, operands)
    guard operands.allSatisfy({ $0 == operands[0] }) else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): operands are \(operands[0]) and \(operands[1])",
        expected: "one type")
    }
    _ = try floatAxis(operands, axis)
    return [operands[0]]
  }

  func softmaxRows(_ site: LoweringSite, _ axis: Int) -> ck_softmax_args {
    let (outer, extent, _) = site.results[0].shape.split(at: axis)
    var args = ck_softmax_args()
    args.rows = Int64(outer)
    args.cols = Int64(extent)
    args.out_stride = args.cols
    return args
  }

  func finishSoftmax(_ call: KernelCall, _ args: ck_softmax_args) -> KernelCall {
    var call = call
    let sources = call.bindings.compactMap { binding -> Int? in
      if case .operand(let index) = binding.buffer { index } else { nil }
    }
    call.bind(\ck_softmax_args.out, to: .result(0))
    call.flops = 20 * Double(args.rows * args.cols)
    // Two sums over lanes a row; sixteen short rows have them together.
    call.overhead = (args.cols <= CK_SHORT_COLUMNS ? 1 : 30) * Double(args.rows)
    call.inPlace = sources.map { (operand: $0, result: 0) }
    call.partition = .tiles(
      count: Int(args.rows), elementsPerTile: Int(args.cols), alignedOperands: sources)
    return call
  }

  func lowerSoftmax(
    _ site: LoweringSite, _ axis: Int, _ kernel: ck_softmax_op, _ name: String
  ) -> KernelCall {
    var args = softmaxRows(site, axis)
    args.x_stride = args.cols
    var call = KernelCall(name, ck_softmax(kernel, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_softmax_args.x, to: .operand(0))
    return finishSoftmax(call, args)
  }

  func lowerSoftmaxGradient(
    _ site: LoweringSite, _ axis: Int, _ kernel: ck_softmax_op, _ name: String
  ) -> KernelCall {
    var args = softmaxRows(site, axis)
    args.y_stride = args.cols
    args.dy_stride = args.cols
    var call = KernelCall(name, ck_softmax(kernel, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_softmax_args.y, to: .operand(0))
    call.bind(\ck_softmax_args.dy, to: .operand(1))
    return finishSoftmax(call, args)
  }
}
