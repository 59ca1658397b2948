// How an operand reads the bytes of a value other than densely.

/// A strided window onto a dense value: element `i` of the operand is element
/// `offset + Σ i[axis]·strides[axis]` of the value. A stride of 0 broadcasts, a negative one flips.
///
/// The front end never makes views: passes fold transposes, reshapes, broadcasts and slices into the
/// operands of their consumers.
package struct View: Sendable, Hashable {
  package var shape: Shape
  package var strides: [Int]
  package var offset: Int

  package init(shape: Shape, strides: [Int], offset: Int = 0) {
    self.shape = shape
    self.strides = strides
    self.offset = offset
  }

  /// The view that reads a value of that shape as it lies.
  package init(dense shape: Shape) {
    self.init(shape: shape, strides: shape.strides)
  }

  /// Whether the elements lie densely in row-major order from `offset` on (strides of axes of extent 1
  /// do not matter).
  package var isContiguous: Bool {
    let dense = shape.strides
    return shape.count == 0
      || (0..<shape.rank).allSatisfy { shape[$0] == 1 || strides[$0] == dense[$0] }
  }

  /// The lowest and highest element of the value that the view reads; nil where it reads none. Beyond any
  /// value where the numbers are too large for that: views are read from files too.
  package var extent: ClosedRange<Int>? {
    guard shape.count > 0 else { return nil }
    var low = offset, high = offset
    for axis in 0..<shape.rank where shape[axis] > 1 {
      let (reach, isFar) = (shape[axis] - 1).multipliedReportingOverflow(by: strides[axis])
      let end = strides[axis] < 0 ? low : high
      let (moved, isBeyond) = end.addingReportingOverflow(reach)
      if isFar || isBeyond { return .min ... .max }
      if strides[axis] < 0 { low = moved } else { high = moved }
    }
    return low...high
  }

  /// This view's elements, axes reordered: axis `i` of the result is axis `permutation[i]` of this.
  package func transposed(_ permutation: [Int]) -> View {
    View(
      shape: Shape(permutation.map { shape[$0] }), strides: permutation.map { strides[$0] },
      offset: offset)
  }

  /// This view's elements repeated along axes of extent 1 and new leading axes.
  package func broadcast(to target: Shape) -> View {
    let lead = target.rank - shape.rank
    let strides = (0..<target.rank).map { axis -> Int in
      axis < lead || shape[axis - lead] == 1 && target[axis] != 1 ? 0 : self.strides[axis - lead]
    }
    return View(shape: target, strides: strides, offset: offset)
  }

  /// Every `steps[i]`-th element from `starts[i]` on along each axis, `shape` of them.
  package func sliced(starts: [Int], steps: [Int], shape target: Shape) -> View {
    // Of a slice of one element or none, the step may be any number and means nothing.
    let moved = zip(starts, strides).reduce(offset) { $0 &+ $1.0 &* $1.1 }
    return View(shape: target, strides: zip(strides, steps).map { $0 &* $1 }, offset: moved)
  }

  /// This view's elements under another shape, or nil where strides alone cannot express it.
  package func reshaped(_ target: Shape) -> View? {
    if isContiguous { return View(shape: target, strides: target.strides, offset: offset) }
    // Split both shapes into groups of equal product; each group must be contiguous within itself.
    let old = (0..<shape.rank).filter { shape[$0] != 1 }
    var strides = [Int](repeating: 0, count: target.rank)
    var from = 0, to = 0
    while from < old.count {
      var oldCount = shape[old[from]], oldEnd = from + 1
      while to < target.rank && target[to] == 1 { to += 1 }
      guard to < target.rank else { return nil }
      var newCount = target[to], newEnd = to + 1
      while oldCount != newCount {
        if oldCount < newCount {
          guard oldEnd < old.count else { return nil }
          oldCount *= shape[old[oldEnd]]
          oldEnd += 1
        } else {
          guard newEnd < target.rank else { return nil }
          newCount *= target[newEnd]
          newEnd += 1
        }
      }
      for i in from..<(oldEnd - 1)
      where self.strides[old[i]] != self.strides[old[i + 1]] * shape[old[i + 1]] {
        return nil
      }
      var stride = self.strides[old[oldEnd - 1]]
      for i in Swift.stride(from: newEnd - 1, through: to, by: -1) {
        strides[i] = stride
        stride *= target[i]
      }
      from = oldEnd
      to = newEnd
    }
    return View(shape: target, strides: strides, offset: offset)
  }

  /// `outer`, a view onto a dense tensor of this view's shape, seen through this view; nil where
  /// strides alone cannot express it.
  package func composed(with outer: View) -> View? {
    if isContiguous {
      return View(shape: outer.shape, strides: outer.strides, offset: offset + outer.offset)
    }
    // Express each outer stride in this view's axes: a stride that is a multiple of one axis's dense
    // stride and stays within that axis moves along it.
    let dense = shape.strides
    func place(_ element: Int) -> [Int] {
      (0..<shape.rank).map { element / dense[$0] % max(shape[$0], 1) }
    }
    guard shape.count > 0, let extent = outer.extent, extent.lowerBound >= 0,
      extent.upperBound < shape.count
    else { return nil }
    let start = place(outer.offset)
    var low = start, high = start
    var strides = [Int](repeating: 0, count: outer.shape.rank)
    for axis in 0..<outer.shape.rank where outer.shape[axis] > 1 && outer.strides[axis] != 0 {
      let step = outer.strides[axis]
      guard
        let along = (0..<shape.rank).first(where: { shape[$0] > 1 && step % dense[$0] == 0 })
      else { return nil }
      let count = step / dense[along]
      strides[axis] = count * self.strides[along]
      let reach = count * (outer.shape[axis] - 1)
      if reach < 0 { low[along] += reach } else { high[along] += reach }
    }
    guard (0..<shape.rank).allSatisfy({ low[$0] >= 0 && high[$0] < max(shape[$0], 1) }) else {
      return nil
    }
    let moved = zip(start, self.strides).reduce(offset) { $0 + $1.0 * $1.1 }
    return View(shape: outer.shape, strides: strides, offset: moved)
  }

  /// The element of the value that each element of the view reads, in row-major order.
  package var elements: [Int] {
    // An empty shape may still have axes that take for ever to walk.
    guard shape.count > 0 else { return [] }
    var result: [Int] = []
    result.reserveCapacity(shape.count)
    func walk(_ axis: Int, _ at: Int) {
      if axis == shape.rank {
        result.append(at)
      } else {
        for i in 0..<shape[axis] { walk(axis + 1, at + i * strides[axis]) }
      }
    }
    walk(0, offset)
    return result
  }
}

extension NDArray {
  /// The dense array that `view` reads from this one.
  package func viewed(through view: View) -> NDArray {
    let size = dtype.byteCount
    return NDArray(type.with(view.shape)) { target in
      withUnsafeBytes { source in
        for (index, element) in view.elements.enumerated() {
          target.baseAddress!.advanced(by: index * size).copyMemory(
            from: source.baseAddress!.advanced(by: element * size), byteCount: size)
        }
      }
    }
  }
}
