// Pooling by a window that moves over images: functions of users.

import ApusGraph

/// The greatest element of each window of `[n, spatial…, channels]`, for 1 to 3 spatial axes.
///
///     maxPool(x, 2)                           // f32[8,28,28,16] → f32[8,14,14,16]
///     maxPool(x, 3, stride: 2, padding: 1)    // f32[8,112,112,64] → f32[8,56,56,64]
///
/// The window moves by its own size where there is no `stride`. Padding never wins, and a NaN wins over all
/// numbers. The gradient goes to the first of equal elements.
///
/// - `ceilMode`: whether a last window may reach beyond the padding.
///
/// A window larger than the padded image is noted as a `shapeMismatch`; padding of more than half a window,
/// or a number below 1, as an `invalidArgument`.
public func maxPool(
  _ x: Tensor, _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid,
  dilation: PerAxis = 1, ceilMode: Bool = false, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  maxPoolWithIndices(
    x, size, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode, file: file,
    line: line
  ).values
}

/// As ``maxPool(_:_:stride:padding:dilation:ceilMode:file:line:)``, with the place of each element *within its
/// window*, counted in row-major order: `u8` where a window has at most 256 places, else `i32`.
///
///     let (y, places) = maxPoolWithIndices(x, 2)   // f32[8,14,14,16], u8[8,14,14,16]
///     let back = maxUnpool(y, places, 2)           // f32[8,28,28,16]
///
/// (PyTorch's indices count within the image.)
public func maxPoolWithIndices(
  _ x: Tensor, _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid,
  dilation: PerAxis = 1, ceilMode: Bool = false, file: StaticString = #fileID, line: UInt = #line
) -> (values: Tensor, indices: Tensor) {
  x.pooled(file, line) {
    let window = try $0.slidingWindow(
      "maxPool", size, stride, padding, dilation: dilation, roundsUp: ceilMode)
    return MaxPool(window)
  }
}

/// The mean of each window of `[n, spatial…, channels]`, for 1 to 3 spatial axes.
///
///     averagePool(x, 2)   // f32[8,28,28,16] → f32[8,14,14,16]
///
/// - `countsPadding`: whether elements of padding count, as zeros; those of a window that `ceilMode` lets
///   reach beyond the padding never do.
/// - `divisor`: what sums are divided by instead of the number of elements.
///
/// Mistakes are noted as by ``maxPool(_:_:stride:padding:dilation:ceilMode:file:line:)``; a `divisor` must be
/// above 0.
public func averagePool(
  _ x: Tensor, _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid,
  ceilMode: Bool = false, countsPadding: Bool = true, divisor: Double? = nil,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let window = try x.slidingWindow("averagePool", size, stride, padding, roundsUp: ceilMode)
    return x.inPooledType {
      .apply(AveragePool(window, countsPadding: countsPadding, divisor: divisor), to: $0)
    }
  }
}

/// The norm of each window of `[n, spatial…, channels]`: `(Σ |x|ᵖ)^(1/p)` with `p = order`, for 1 to 3 spatial
/// axes. Infinity is ``maxPool(_:_:stride:padding:dilation:ceilMode:file:line:)`` of the absolute values.
///
///     lpPool(x, 2, 2)   // order 2, windows of 2 x 2: f32[8,28,28,16] → f32[8,14,14,16]
///
/// The gradient of a norm at 0 is 0. PyTorch's `lp_pool` has `xᵖ` in place of `|x|ᵖ`, which is the same for even
/// orders, and with `ceil_mode` enlarges sums of windows that reach beyond the image.
///
/// An order below 1, or NaN, is noted as an `invalidArgument`.
public func lpPool(
  _ x: Tensor, _ order: Double, _ size: PerAxis, stride: PerAxis? = nil, ceilMode: Bool = false,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    guard order >= 1 else {
      throw ApusError(
        .invalidArgument, "lpPool: the order is \(order)", expected: "1 or more, or infinity")
    }
    let window = try x.slidingWindow("lpPool", size, stride, .valid, roundsUp: ceilMode)
    return x.inPooledType { x in
      func sums(_ powers: Tensor) -> Tensor { .apply(AveragePool(window, divisor: 1), to: powers) }
      switch order {
      case 1: return sums(abs(x, file: file, line: line))
      case 2:
        return sums(square(x, file: file, line: line))
          .rootedFromZero { sqrt($0, file: file, line: line) }
      case .infinity:
        return Tensor.applyAll(
          MaxPool(window), to: [abs(x, file: file, line: line)], resultCount: 2)[0]
      default:
        let powers = pow(abs(x, file: file, line: line), order, file: file, line: line)
        return sums(powers).rootedFromZero { pow($0, 1 / order, file: file, line: line) }
      }
    }
  }
}

/// Images of zeros with each element of `x` at the place that max pooling took it from: the inverse of
/// ``maxPoolWithIndices(_:_:stride:padding:dilation:ceilMode:file:line:)``, called with the same numbers.
///
///     let (y, places) = maxPoolWithIndices(x, 2)   // f32[8,14,14,16]
///     maxUnpool(y, places, 2)                      // f32[8,28,28,16]
///
/// - `image`: the extents of the images, for where they did not divide; the least ones where it is nil.
///
/// Where windows overlap and several elements come from one place, it has their mean.
public func maxUnpool(
  _ x: Tensor, _ indices: Tensor, _ size: PerAxis, stride: PerAxis? = nil,
  padding: Padding = .valid, dilation: PerAxis = 1, ceilMode: Bool = false,
  to image: [Int]? = nil, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let rank = try x.spatialRank("maxUnpool")
    let outputs = Array(x.shape.dimensions[1...rank])
    let sizes = size.numbers(rank), strides = (stride ?? size).numbers(rank)
    let dilations = dilation.numbers(rank)
    // Padding of the kind "same" needs extents: those that the strides divide.
    try Window(sizes, strides: strides, dilations: dilations).check("maxUnpool")
    let multiples = zip(outputs, strides).map { Shape.product($0, $1) }
    let given = image ?? multiples
    guard given.count == rank, given.allSatisfy({ (1...1 << 30).contains($0) }) else {
      throw ApusError(
        .invalidArgument, "maxUnpool: \(x.type) to images of \(given)",
        expected: "\(rank) extents from 1 to 2^30")
    }
    let window = try padding.window(
      sizes, strides: strides, dilations: dilations, over: given, "maxUnpool")
    try window.check("maxUnpool")
    let extents =
      image
      ?? (0..<rank).map {
        (outputs[$0] - 1) * strides[$0] + window.span($0) - window.before[$0] - window.after[$0]
      }
    let op = MaxPoolGradient(.sliding(window, roundsUp: ceilMode), image: extents)
    return x.inPooledType { x in
      let sum = Tensor.apply(op, to: x, indices)
      guard (0..<rank).contains(where: { window.span($0) > strides[$0] }) else { return sum }
      let ones = x.trace.full(x.shape, 1, x.dtype, file: file, line: line)
      let count = Tensor.apply(op, to: ones, indices)
      return sum / maximum(count, 1, file: file, line: line)
    }
  }
}

extension Tensor {
  /// The spatial axes of `[n, spatial…, channels]`.
  func spatialRank(_ name: String) throws -> Int {
    guard (3...5).contains(rank) else {
      throw ApusError(
        .shapeMismatch, "\(name): \(type)", expected: "[n, 1 to 3 spatial axes, channels]")
    }
    return rank - 2
  }

  /// The window that a user describes, over this tensor's images.
  fileprivate func slidingWindow(
    _ name: String, _ size: PerAxis, _ stride: PerAxis?, _ padding: Padding,
    dilation: PerAxis = 1, roundsUp: Bool
  ) throws -> PoolWindow {
    let rank = try spatialRank(name)
    let sizes = size.numbers(rank)
    guard sizes.count == rank else {
      throw ApusError(
        .invalidArgument, "\(name): a window of \(size) over \(type)",
        expected: "one number, or \(rank)")
    }
    let window = try padding.window(
      sizes, strides: (stride ?? size).numbers(rank), dilations: dilation.numbers(rank),
      over: Array(shape.dimensions[1...rank]), name)
    return .sliding(window, roundsUp: roundsUp)
  }

  /// Values and indices of max pooling by the op that `make` gives.
  func pooled(
    _ file: StaticString, _ line: UInt, _ make: (Tensor) throws -> MaxPool
  ) -> (values: Tensor, indices: Tensor) {
    let location = sourceLocation(file, line)
    do {
      let op = try make(self)
      let wide = dtype == .f16 ? cast(to: .f32, file: file, line: line) : self
      let results = Tensor.applyAll(op, to: [wide], resultCount: 2, location: location)
      return (results[0].cast(to: dtype, file: file, line: line), results[1])
    } catch {
      let none = Tensor.poisoned(asApusError(error), like: self, location: location)
      return (none, none)
    }
  }

  /// What `body` makes of this tensor, in its own element type: kernels pool no f16.
  func inPooledType(_ body: (Tensor) -> Tensor) -> Tensor {
    dtype == .f16 ? body(cast(to: .f32, location: nil)).cast(to: .f16, location: nil) : body(self)
  }
}
