// What pooling and its gradients have in common: types, storage, references, argument blocks.

import ApusGraph
import CKernels

/// An op that makes one element of each window of an image and channel, or the other way round.
///
/// Its first operand is floats, computed in f32 whatever they are stored in; so is the first result, which
/// has the same element type unless `result` is given.
package protocol PoolOp: NarrowableOp {
  var window: PoolWindow { get }
  /// The element type of what is made of the first operand; nil for that one's.
  var result: DType? { get }
  /// The same op with a result of that type.
  func giving(_ result: DType) -> Self
}

extension PoolOp {
  package func accepts(_ view: View, at index: Int, of operands: [TensorType]) -> Bool { false }

  package func readsNarrow(operand index: Int, of node: NodeTypes) -> Bool { index == 0 }
  package func makesNarrow(result index: Int, of node: NodeTypes) -> Bool { index == 0 }
  package func storing(operands: [DType], results: [DType], of node: NodeTypes) -> any Op {
    giving(results[0])
  }

  /// The element type of the gradient for the first operand, where that must be said.
  func gradientType(_ context: GradientContext) -> DType? {
    result.map { _ in context.operands[0].dtype }
  }

  // MARK: Types

  /// The result of pooling `x`.
  func pooledType(_ x: TensorType) throws -> TensorType {
    try expectFloats(x)
    let outputs = try window.outputs(mnemonic, of: x)
    return TensorType(result ?? x.dtype, Shape([x.shape[0]] + outputs + [x.shape[-1]]))
  }

  /// The images of these extents that pooling makes `y` of.
  func imageType(_ y: TensorType, _ image: [Int]) throws -> TensorType {
    try expectFloats(y)
    guard image.count == window.rank, y.rank == window.rank + 2 else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(y) of images of extents \(image)",
        expected: "\(window.rank) spatial axes")
    }
    let type = try TensorType(
      result ?? y.dtype, Shape([y.shape[0]] + image + [y.shape[-1]])
    ).checked(mnemonic)
    let outputs = try window.outputs(mnemonic, of: type)
    guard Array(y.shape.dimensions[1...window.rank]) == outputs else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): \(y) of images \(type)",
        expected: "extents of \(outputs), which the window makes of them")
    }
    return type
  }

  /// Throws where these are no indices as pooling such images makes them, `shape` in all.
  func expectSteps(_ indices: TensorType, _ shape: Shape, of image: [Int]) throws {
    let wanted = TensorType(window.indexType(image), shape)
    guard indices == wanted else {
      throw ApusError(
        .shapeMismatch, "\(mnemonic): indices are \(indices)",
        expected: "\(wanted), as max pooling with that window gives them")
    }
  }

  private func expectFloats(_ type: TensorType) throws {
    guard type.dtype.isFloat, result?.isFloat ?? true else {
      throw ApusError(
        .dtypeMismatch,
        "\(mnemonic): not defined for \(type)" + (result.map { " with a result of \($0)" } ?? ""),
        expected: "floats")
    }
  }

  // MARK: References

  /// Calls `body` for each element of `pooled`, with its flat place, that of the first channel's first
  /// element of its image, and the place of the window.
  func forEachPlace(
    of pooled: Shape, image: [Int], _ body: (_ at: Int, _ base: Int, _ place: [Int]) -> Void
  ) {
    let (n, channels) = (pooled[0], pooled[-1])
    let outputs = Array(pooled.dimensions[1...window.rank])
    let (places, size) = (outputs.reduce(1, *), image.reduce(1, *))
    for item in 0..<n * places {
      var place = [Int](repeating: 0, count: window.rank)
      var rest = item % places
      for axis in (0..<window.rank).reversed() {
        place[axis] = rest % outputs[axis]
        rest /= outputs[axis]
      }
      for channel in 0..<channels {
        body(item * channels + channel, item / places * size * channels + channel, place)
      }
    }
  }

  // MARK: Lowering

  /// The call of a kernel between images and what is pooled of them.
  ///
  /// - `isGradient`: whether images are made.
  func poolCall(
    _ site: LoweringSite, _ op: ck_pool_op, _ name: String, isGradient: Bool,
    countsPadding: Bool = false, divisor: Double? = nil
  ) throws -> KernelCall {
    let (from, to) = (site.operands[0], site.results[0])
    guard [from, to].allSatisfy({ $0.dtype == .f32 || $0.dtype == .bf16 }) else {
      throw ApusError(
        .unsupported, "\(mnemonic) has no kernel from \(from.dtype) to \(to.dtype)",
        expected: "f32 or bf16")
    }
    let (x, y) = isGradient ? (to.shape, from.shape) : (from.shape, to.shape)
    let image = Array(x.dimensions[1...window.rank])
    var args = ck_pool_args()
    args.n = Int64(x[0])
    args.c = Int64(x[-1])
    withUnsafeMutableBytes(of: &args.axes) { bytes in
      let axes = bytes.bindMemory(to: ck_pool_axis.self)
      for (axis, at) in zip((0..<3).map { $0 - 3 + window.rank }, 0...) {
        axes[at] = ck_pool_axis(
          image: 1, outputs: 1, size: 1, stride: 1, dilation: 1, before: 0, after: 0)
        guard axis >= 0 else { continue }
        axes[at].image = Int64(image[axis])
        axes[at].outputs = Int64(y[axis + 1])
        axes[at].size = Int64(window.sizes(image)[axis])
        if case .sliding(let window, _) = window {
          axes[at].stride = Int64(window.strides[axis])
          axes[at].dilation = Int64(window.dilations[axis])
          axes[at].before = Int64(window.before[axis])
          axes[at].after = Int64(window.after[axis])
        }
      }
    }
    if case .adaptive = window { args.is_adaptive = 1 }
    args.out_dtype = to.dtype.kernelCode
    args.in_dtype = from.dtype.kernelCode
    args.index_dtype = window.indexType(image).kernelCode
    args.divisor = Float(divisor ?? 0)
    args.counts_padding = countsPadding ? 1 : 0
    var call = KernelCall(name, ck_pool(op, ck_isa(site.isa)), site, block: args)
    call.bind(\ck_pool_args.in, to: .operand(0))
    call.bind(\ck_pool_args.out, to: .result(0))
    if site.operands.count > 1 { call.bind(\ck_pool_args.indices, to: .operand(1)) }
    if site.results.count > 1 { call.bind(\ck_pool_args.indices, to: .result(1)) }
    call.partition = partition(x, y, isGradient: isGradient)
    call.flops = Double(y.count) * 2 * Double(window.sizes(image).reduce(1, Shape.product))
    return call
  }

  /// Rows of what is made, images before rows, are shared out; what is read is what lies in the windows of
  /// the first row to those of the last.
  private func partition(_ x: Shape, _ y: Shape, isGradient: Bool) -> Partition {
    let rank = window.rank
    let image = Array(x.dimensions[1...rank]), outputs = Array(y.dimensions[1...rank])
    let made = isGradient ? image : outputs, read = isGradient ? outputs : image
    let rows = made.dropLast().reduce(1, *), readRows = read.dropLast().reduce(1, *)
    let width = made.last! * x[-1], readWidth = read.last! * x[-1]
    let total = x[0] * rows
    return Partition { buffer, thread, threads in
      let share = Partition.share(total, thread, threads)
      if case .result = buffer {
        return Region(share.lowerBound * width..<share.upperBound * width)
      }
      guard !share.isEmpty else { return Region.none }
      // Of images of two axes the rows, else all of an image.
      func readRow(_ row: Int, isLast: Bool) -> Int {
        let (n, inner) = (row / rows, row % rows)
        guard rank == 2 else { return (n + (isLast ? 1 : 0)) * readRows }
        return n * readRows
          + (isGradient
            ? places(of: inner, image, outputs, isLast: isLast)
            : elements(of: inner, image, isLast: isLast))
      }
      let first = readRow(share.lowerBound, isLast: false)
      let last = max(readRow(share.upperBound - 1, isLast: true), first)
      return Region(first * readWidth..<last * readWidth)
    }
  }

  /// The first row of the image in the windows of a row of places, or the one after the last.
  private func elements(of place: Int, _ image: [Int], isLast: Bool) -> Int {
    let (start, steps) = window.steps(place, image, axis: 0)
    var dilation = 1
    if case .sliding(let window, _) = window { dilation = window.dilations[0] }
    let end = start + (steps.upperBound - 1) * dilation + 1
    return min(max(isLast ? end : start, 0), image[0])
  }

  /// The first row of places in whose windows a row of the image may be, or the one after the last.
  private func places(
    of element: Int, _ image: [Int], _ outputs: [Int], isLast: Bool
  ) -> Int {
    switch window {
    case .sliding(let window, _):
      let at = element + window.before[0], stride = window.strides[0]
      if isLast { return min(at / stride + 1, outputs[0]) }
      return min(max(at - window.span(0) + stride, 0) / stride, outputs[0])
    case .adaptive:
      return isLast
        ? min(((element + 1) * outputs[0] - 1) / image[0] + 1, outputs[0])
        : element * outputs[0] / image[0]
    }
  }
}
