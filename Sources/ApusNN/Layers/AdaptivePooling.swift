// Pooling to given extents, norms of windows, and unpooling as layers. The functions of the same names do
// the work.

import ApusGraph
import ApusOps

/// The mean of each of `size` windows along the axes of `[n, length, c]`, whatever their extents, as `adaptiveAveragePool`
/// finds it.
///
///     AdaptiveAvgPool1d(7)   // [n, length, c] → [n, 7, c]
public struct AdaptiveAvgPool1d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis

  public init(_ size: PerAxis) { self.size = size }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(1, "AdaptiveAvgPool1d") { adaptiveAveragePool($0, to: size) }
  }
}

/// The mean of each of `size` windows along the axes of `[n, h, w, c]`, whatever their extents, as `adaptiveAveragePool`
/// finds it.
///
///     AdaptiveAvgPool2d(7)   // [n, h, w, c] → [n, 7, 7, c]
public struct AdaptiveAvgPool2d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis

  public init(_ size: PerAxis) { self.size = size }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(2, "AdaptiveAvgPool2d") { adaptiveAveragePool($0, to: size) }
  }
}

/// The mean of each of `size` windows along the axes of `[n, d, h, w, c]`, whatever their extents, as `adaptiveAveragePool`
/// finds it.
///
///     AdaptiveAvgPool3d([1, 7, 7])   // [n, d, h, w, c] → [n, 1, 7, 7, c]
public struct AdaptiveAvgPool3d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis

  public init(_ size: PerAxis) { self.size = size }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(3, "AdaptiveAvgPool3d") { adaptiveAveragePool($0, to: size) }
  }
}

/// The greatest element of each of `size` windows along the axes of `[n, length, c]`, whatever their extents, as `adaptiveMaxPool`
/// finds it.
///
///     AdaptiveMaxPool1d(7)   // [n, length, c] → [n, 7, c]
public struct AdaptiveMaxPool1d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis

  public init(_ size: PerAxis) { self.size = size }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(1, "AdaptiveMaxPool1d") { adaptiveMaxPool($0, to: size) }
  }
}

/// The greatest element of each of `size` windows along the axes of `[n, h, w, c]`, whatever their extents, as `adaptiveMaxPool`
/// finds it.
///
///     AdaptiveMaxPool2d(7)   // [n, h, w, c] → [n, 7, 7, c]
public struct AdaptiveMaxPool2d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis

  public init(_ size: PerAxis) { self.size = size }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(2, "AdaptiveMaxPool2d") { adaptiveMaxPool($0, to: size) }
  }
}

/// The greatest element of each of `size` windows along the axes of `[n, d, h, w, c]`, whatever their extents, as `adaptiveMaxPool`
/// finds it.
///
///     AdaptiveMaxPool3d([1, 7, 7])   // [n, d, h, w, c] → [n, 1, 7, 7, c]
public struct AdaptiveMaxPool3d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis

  public init(_ size: PerAxis) { self.size = size }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(3, "AdaptiveMaxPool3d") { adaptiveMaxPool($0, to: size) }
  }
}

/// The mean of each channel: `[n, spatial…, c]` → `[n, c]`, for 1 to 3 spatial axes.
public struct GlobalAveragePool: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { globalAveragePool(x) }
}

/// The greatest element of each channel: `[n, spatial…, c]` → `[n, c]`, for 1 to 3 spatial axes.
public struct GlobalMaxPool: Layer, Sendable {
  let scope = Scope()
  public init() {}
  public func forward(_ x: Tensor) -> Tensor { globalMaxPool(x) }
}

/// The norm of each window of `[n, spatial…, c]`, as `lpPool` finds it, for 1 to 3 spatial axes.
///
///     LPPool(2, 3, stride: 2)   // order 2, windows of 3 x 3
public struct LPPool: Layer, Sendable {
  let scope = Scope()
  /// 1 or more, or infinity.
  public let order: Double
  public let size: PerAxis
  public let stride: PerAxis
  public let ceilMode: Bool

  public init(_ order: Double, _ size: PerAxis, stride: PerAxis? = nil, ceilMode: Bool = false) {
    self.order = order
    self.size = size
    self.stride = stride ?? size
    self.ceilMode = ceilMode
  }

  public func forward(_ x: Tensor) -> Tensor {
    lpPool(x, order, size, stride: stride, ceilMode: ceilMode)
  }
}

/// Puts elements back to where max pooling with the same numbers took them from, as `maxUnpool` does, for 1 to
/// 3 spatial axes.
///
///     let (y, places) = maxPoolWithIndices(x, 2)
///     unpool(y, places)                             // unpool is a MaxUnpool(2)
///     unpool(y, places, to: [x.shape[1], x.shape[2]])   // where extents are odd
public struct MaxUnpool: Module, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding

  public init(_ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
  }

  /// - `image`: the extents of the images; nil for the least ones.
  public func callAsFunction(
    _ x: Tensor, _ indices: Tensor, to image: [Int]? = nil, file: StaticString = #fileID,
    line: UInt = #line
  ) -> Tensor {
    scoped(file: file, line: line) {
      maxUnpool(
        x, indices, size, stride: stride, padding: padding, to: image, file: file, line: line)
    }
  }
}
