// Pooling to given extents, or to one element a channel: functions of users.

import ApusGraph

/// The mean of each of `size` windows along the spatial axes of `[n, spatial…, channels]`, whatever the images'
/// extents.
///
///     adaptiveAveragePool(x, to: 7)        // f32[8,14,14,512] → f32[8,7,7,512]
///     adaptiveAveragePool(x, to: [3, 5])   // f32[8,14,14,512] → f32[8,3,5,512]
///
/// Of `n` elements and `m` windows, window `o` is `⌊o n / m⌋ ..< ⌈(o + 1) n / m⌉`, as in PyTorch: where the extents
/// do not divide, windows differ in size and overlap.
///
/// An extent below 1 is noted as an `invalidArgument`.
public func adaptiveAveragePool(
  _ x: Tensor, to size: PerAxis, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let window = try x.adaptiveWindow("adaptiveAveragePool", size)
    // The mean of all is a reduction, into which loops take what stands around it.
    if case .sliding(let window, _) = window, window.sizes == x.spatialExtents {
      return x.mean(axes: x.spatialAxes, keepDims: true, file: file, line: line)
    }
    return x.inPooledType { .apply(AveragePool(window), to: $0) }
  }
}

/// The greatest element of each of `size` windows along the spatial axes of `[n, spatial…, channels]`, which are
/// those of ``adaptiveAveragePool(_:to:file:line:)``.
///
///     adaptiveMaxPool(x, to: 7)   // f32[8,14,14,512] → f32[8,7,7,512]
public func adaptiveMaxPool(
  _ x: Tensor, to size: PerAxis, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.pooled(file, line) { MaxPool(try $0.adaptiveWindow("adaptiveMaxPool", size)) }.values
}

/// The mean of each channel over the spatial axes of `[n, spatial…, channels]`.
///
///     globalAveragePool(x)                   // f32[8,7,7,2048] → f32[8,2048]
///     globalAveragePool(x, keepDims: true)   // f32[8,7,7,2048] → f32[8,1,1,2048]
public func globalAveragePool(
  _ x: Tensor, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let y = adaptiveAveragePool(x, to: 1, file: file, line: line)
    return keepDims || y.isPoisoned ? y : y.squeezed(axes: x.spatialAxes, file: file, line: line)
  }
}

/// The greatest element of each channel over the spatial axes of `[n, spatial…, channels]`; the gradient goes to
/// the first of equal ones.
///
///     globalMaxPool(x)   // f32[8,7,7,2048] → f32[8,2048]
public func globalMaxPool(
  _ x: Tensor, keepDims: Bool = false, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let y = adaptiveMaxPool(x, to: 1, file: file, line: line)
    return keepDims || y.isPoisoned ? y : y.squeezed(axes: x.spatialAxes, file: file, line: line)
  }
}

extension Tensor {
  fileprivate var spatialAxes: [Int] { Array(1..<rank - 1) }
  fileprivate var spatialExtents: [Int] { spatialAxes.map { shape[$0] } }

  /// The windows for these extents: ones of one size side by side, where the images' divide.
  fileprivate func adaptiveWindow(_ name: String, _ size: PerAxis) throws -> PoolWindow {
    let rank = try spatialRank(name)
    let outputs = size.numbers(rank)
    guard outputs.count == rank else {
      throw ApusError(
        .invalidArgument, "\(name): \(type) to \(size)", expected: "one extent, or \(rank)")
    }
    let window = PoolWindow.adaptive(to: outputs)
    _ = try window.outputs(name, of: type)
    let extents = spatialExtents
    guard zip(extents, outputs).allSatisfy({ $0 % $1 == 0 }) else { return window }
    let sizes = zip(extents, outputs).map { $0 / $1 }
    return .sliding(Window(sizes, strides: sizes), roundsUp: false)
  }
}
