// Images made larger or smaller: PyTorch's `interpolate`, and shuffles between pixels and channels.

import ApusGraph

/// An image of other spatial extents: PyTorch's `interpolate` on `[n, spatial…, channels]`.
///
///     interpolate(x, size: [64, 64], mode: .bilinear)   // f32[8,32,32,3] → f32[8,64,64,3]
///
/// Pixels are squares whose middles are half a step from the edge, as in PyTorch. 16-bit floats are computed
/// in `f32` and rounded once.
///
/// - `x`: floats of one spatial axis or more, with a pixel at least.
/// - `size`: one extent for all spatial axes, or one an axis: 1 to 2^20, else `invalidArgument`.
/// - `alignCorners`: whether the first and last pixels of both images lie on each other; not with the nearest
///   modes.
public func interpolate(
  _ x: Tensor, size: [Int], mode: Interpolation = .nearest, alignCorners: Bool = false,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let image = try x.spatialExtents("interpolate")
    let sizes = try x.eachAxis(size, "interpolate: sizes")
    return try x.resampled(
      zip(image, sizes).map { ($1, Double($0) / Double($1)) }, mode, alignCorners)
  }
}

/// An image of `scale` times the spatial extents, rounded down.
///
///     interpolate(x, scale: [2])   // f32[8,32,32,3] → f32[8,64,64,3]
///
/// - `scale`: one number for all spatial axes, or one an axis, above 0. Pixels of the result stand
///   `1 / scale` apart, also where the extents are not quite in that ratio; but as in PyTorch the modes
///   nearest and linear leave an axis alone whose extent stays.
/// - Otherwise as the form with a size.
public func interpolate(
  _ x: Tensor, scale: [Double], mode: Interpolation = .nearest, alignCorners: Bool = false,
  file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let image = try x.spatialExtents("interpolate")
    let scales = try x.eachAxis(scale, "interpolate: scales")
    return try x.resampled(
      zip(image, scales).map { extent, scale in
        let size = (Double(extent) * scale).rounded(.down)
        guard scale > 0, size >= 1, size <= Double(Resample.extents.upperBound) else {
          throw ApusError(
            .invalidArgument, "interpolate: \(extent) pixels of \(x.type), scaled by \(scale)",
            expected: "a scale that gives 1 to \(Resample.extents.upperBound)")
        }
        return (Int(size), 1 / scale)
      }, mode, alignCorners)
  }
}

extension Tensor {
  /// The extents between the first axis and the last one.
  ///
  /// - Throws: `shapeMismatch` where there are none, or where there is no pixel.
  func spatialExtents(_ name: String) throws -> [Int] {
    let image = Array(shape.dimensions.dropFirst().dropLast())
    guard rank >= 3, !image.contains(0) else {
      throw ApusError(
        .shapeMismatch, "\(name): \(type) is no image", expected: "[n, spatial…, channels]")
    }
    return image
  }

  /// A value for each spatial axis, of one for all or one an axis.
  func eachAxis<T>(_ values: [T], _ what: String) throws -> [T] {
    if values.count == 1 { return Array(repeating: values[0], count: rank - 2) }
    guard values.count == rank - 2 else {
      throw ApusError(
        .invalidArgument, "\(what) \(values) for \(type)", expected: "one, or one a spatial axis")
    }
    return values
  }

  /// - `axes`: for each spatial axis its new extent, and how far apart in the image its places are.
  fileprivate func resampled(
    _ axes: [(size: Int, step: Double)], _ mode: Interpolation, _ alignsCorners: Bool
  ) throws -> Tensor {
    guard dtype.isFloat else {
      throw ApusError(
        .dtypeMismatch, "interpolate: not defined for \(type)",
        expected: "floats: cast the tensor first")
    }
    guard !(alignsCorners && mode.isNearest) else {
      throw ApusError(
        .invalidArgument, "interpolate: corners are aligned with mode \(mode.rawValue)",
        expected: "alignCorners: false, or the modes linear or cubic")
    }
    var result = shape
    for (index, axis) in axes.enumerated() {
      guard Resample.extents.contains(axis.size), Resample.extents.contains(shape[index + 1]) else {
        throw ApusError(
          .invalidArgument, "interpolate: \(type) to extents \(axes.map(\.size))",
          expected: "1 to \(Resample.extents.upperBound) pixels an axis")
      }
      result.dimensions[index + 1] = axis.size
    }
    _ = try type.with(result).checked("interpolate")
    return inSingle { x in
      // From the last axis on: what is made larger is larger for the axes that follow.
      axes.enumerated().reversed().reduce(x) { x, axis in
        let (extent, size) = (x.shape[axis.offset + 1], axis.element.size)
        let step =
          !alignsCorners
          ? axis.element.step : size > 1 ? Double(extent - 1) / Double(size - 1) : 0
        // As in PyTorch these two modes leave an extent that is kept alone, whatever the scale.
        if size == extent, step == 1 || mode == .nearest || mode == .linear { return x }
        return .apply(
          Resample(
            axis: axis.offset + 1, from: extent, to: size, mode: mode,
            alignsCorners: alignsCorners, step: step), to: x)
      }
    }
  }
}

/// Channels laid out as pixels: `[n, h, w, c r²]` → `[n, h r, w r, c]` (Shi et al. 2016), in PyTorch's order
/// of channels: that of `c`, the row, the column.
///
///     pixelShuffle(x, 2)   // f32[8,16,16,12] → f32[8,32,32,3]
///
/// - `factor`: r, 1 or more; `shapeMismatch` where its square does not divide the channels.
public func pixelShuffle(
  _ x: Tensor, _ factor: Int, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    let square = Shape.product(factor, factor)
    guard x.rank == 4, factor >= 1, x.shape[3] % square == 0 else {
      throw ApusError(
        .shapeMismatch, "pixelShuffle: \(x.type) by \(factor)",
        expected: "[n, h, w, c], whose channels the factor's square divides")
    }
    let (n, h, w, c) = (x.shape[0], x.shape[1], x.shape[2], x.shape[3] / square)
    let result = Shape([n, Shape.product(h, factor), Shape.product(w, factor), c])
    _ = try x.type.with(result).checked("pixelShuffle")
    return x.reshaped([n, h, w, c, factor, factor]).transposed([0, 1, 4, 2, 5, 3]).reshaped(result)
  }
}

/// Pixels laid out as channels: `[n, h r, w r, c]` → `[n, h, w, c r²]`, the inverse of ``pixelShuffle``.
///
///     pixelUnshuffle(x, 2)   // f32[8,32,32,3] → f32[8,16,16,12]
///
/// - `factor`: r, 1 or more; `shapeMismatch` where it does not divide the extents.
public func pixelUnshuffle(
  _ x: Tensor, _ factor: Int, file: StaticString = #fileID, line: UInt = #line
) -> Tensor {
  x.located(file, line) {
    guard x.rank == 4, factor >= 1, x.shape[1] % factor == 0, x.shape[2] % factor == 0 else {
      throw ApusError(
        .shapeMismatch, "pixelUnshuffle: \(x.type) by \(factor)",
        expected: "[n, h, w, c], whose height and width the factor divides")
    }
    let (n, h, w, c) = (x.shape[0], x.shape[1] / factor, x.shape[2] / factor, x.shape[3])
    let result = Shape([n, h, w, Shape.product(c, Shape.product(factor, factor))])
    _ = try x.type.with(result).checked("pixelUnshuffle")
    return x.reshaped([n, h, factor, w, factor, c]).transposed([0, 1, 3, 5, 2, 4]).reshaped(result)
  }
}
