// Sums over axes, and the family of reductions.

import ApusGraph

/// An op that folds the elements along some axes into one. The mnemonic is the tile machine's name of
/// the reduction with `reduce_` before it dropped: `sum`, `product`, `max`, `min`.
public protocol ReductionOp: Op {
  /// Axes from 0, sorted; folded into one element each.
  var axes: [Int] { get }
  /// Whether folded axes stay with extent 1.
  var keepDims: Bool { get }
  init(axes: [Int], keepDims: Bool)
  /// What an empty fold gives.
  static var identity: Double { get }
  func combine(_ a: Double, _ b: Double) -> Double
}

extension ReductionOp {
  public init(attributes: AttributeReader) throws {
    self.init(axes: try attributes.ints("axes"), keepDims: try attributes.bool("keepDims"))
  }

  public var attributes: [Attribute] {
    [Attribute("axes", .ints(axes)), Attribute("keepDims", .bool(keepDims))]
  }

  public func resultTypes(_ operands: [TensorType]) throws -> [TensorType] {
    try expect(1, operands)
    let axes = try operands[0].shape.normalized(axes: axes)
    return [operands[0].with(operands[0].shape.reducing(axes, keepDims: keepDims))]
  }

  public func reference(_ operands: [NDArray], results: [TensorType]) throws -> [NDArray] {
    let shape = operands[0].shape
    var values = [Double](repeating: Self.identity, count: results[0].count)
    // Each element's place in the result: strides of the kept axes, 0 along folded ones.
    let kept = shape.reducing(axes, keepDims: true).strides
    let target = View(
      shape: shape, strides: (0..<shape.rank).map { axes.contains($0) ? 0 : kept[$0] })
    for (element, value) in zip(target.elements, operands[0].doubles) {
      values[element] = combine(values[element], value)
    }
    return [NDArray(doubles: values, type: results[0])]
  }

  public func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { true }

  public func lower(_ site: LoweringSite) throws -> KernelCall {
    try LoopLowering.reduction(self, site)
  }
}

/// `y = Σ x` over `axes`.
public struct Sum: ReductionOp {
  public static let mnemonic = "sum"
  public static let identity = 0.0
  public let axes: [Int]
  public let keepDims: Bool

  public init(axes: [Int], keepDims: Bool) {
    self.axes = axes
    self.keepDims = keepDims
  }

  public func combine(_ a: Double, _ b: Double) -> Double { a + b }

  // Every summand has derivative 1: the gradient is repeated along the folded axes.
  public func gradient(_ context: GradientContext) throws -> [Tensor?] {
    let shape = context.operands[0].shape
    let kept = shape.reducing(axes, keepDims: true)
    return [context.gradient.reshaped(kept).broadcast(to: shape)]
  }
}

extension Tensor {
  /// The sum over `axes`, all of them by default.
  ///
  ///     x.sum(axes: [0])   // f32[64,10] → f32[10]
  public func sum(
    axes: [Int]? = nil, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
  ) -> Tensor {
    reduce(axes, file, line) { Sum(axes: $0, keepDims: keepDims) }
  }

  /// Applies a reduction to `axes` (negative ones count from the end, nil means all).
  func reduce(
    _ axes: [Int]?, _ file: StaticString, _ line: UInt, _ make: ([Int]) -> some Op
  ) -> Tensor {
    do {
      let op = make(try shape.normalized(axes: axes))
      return .apply(op, to: self, location: sourceLocation(file, line))
    } catch {
      return .poisoned(
        error as? ApusError ?? ApusError(.invalidArgument, "\(error)"), like: self,
        location: sourceLocation(file, line))
    }
  }
}
