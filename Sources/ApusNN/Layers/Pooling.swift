// Pooling as layers, for `Sequential`. The functions of the same names do the work.

import ApusGraph
import ApusOps

/// The greatest element of each window of `[n, length, c]`, as `maxPool` finds it.
///
///     MaxPool1d(2)   // [n, 100, c] → [n, 50, c]
public struct MaxPool1d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding
  public let dilation: PerAxis
  public let ceilMode: Bool

  public init(
    _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid, dilation: PerAxis = 1,
    ceilMode: Bool = false
  ) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
    self.dilation = dilation
    self.ceilMode = ceilMode
  }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(1, "MaxPool1d") {
      maxPool(
        $0, size, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode)
    }
  }
}

/// The greatest element of each window of `[n, h, w, c]`, as `maxPool` finds it.
///
///     MaxPool2d(3, stride: 2, padding: 1)   // [n, 112, 112, c] → [n, 56, 56, c]
public struct MaxPool2d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding
  public let dilation: PerAxis
  public let ceilMode: Bool

  public init(
    _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid, dilation: PerAxis = 1,
    ceilMode: Bool = false
  ) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
    self.dilation = dilation
    self.ceilMode = ceilMode
  }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(2, "MaxPool2d") {
      maxPool(
        $0, size, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode)
    }
  }
}

/// The greatest element of each window of `[n, d, h, w, c]`, as `maxPool` finds it.
///
///     MaxPool3d([1, 2, 2])   // [n, 8, 56, 56, c] → [n, 8, 28, 28, c]
public struct MaxPool3d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding
  public let dilation: PerAxis
  public let ceilMode: Bool

  public init(
    _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid, dilation: PerAxis = 1,
    ceilMode: Bool = false
  ) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
    self.dilation = dilation
    self.ceilMode = ceilMode
  }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(3, "MaxPool3d") {
      maxPool(
        $0, size, stride: stride, padding: padding, dilation: dilation, ceilMode: ceilMode)
    }
  }
}

/// The mean of each window of `[n, length, c]`, as `averagePool` finds it.
///
///     AvgPool1d(2)   // [n, 100, c] → [n, 50, c]
public struct AvgPool1d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding
  public let ceilMode: Bool
  /// Whether elements of padding count, as zeros.
  public let countsPadding: Bool
  /// What sums are divided by instead of the number of elements.
  public let divisor: Double?

  public init(
    _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid, ceilMode: Bool = false,
    countsPadding: Bool = true, divisor: Double? = nil
  ) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
    self.ceilMode = ceilMode
    self.countsPadding = countsPadding
    self.divisor = divisor
  }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(1, "AvgPool1d") {
      averagePool(
        $0, size, stride: stride, padding: padding, ceilMode: ceilMode,
        countsPadding: countsPadding, divisor: divisor)
    }
  }
}

/// The mean of each window of `[n, h, w, c]`, as `averagePool` finds it.
///
///     AvgPool2d(2)   // [n, 56, 56, c] → [n, 28, 28, c]
public struct AvgPool2d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding
  public let ceilMode: Bool
  /// Whether elements of padding count, as zeros.
  public let countsPadding: Bool
  /// What sums are divided by instead of the number of elements.
  public let divisor: Double?

  public init(
    _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid, ceilMode: Bool = false,
    countsPadding: Bool = true, divisor: Double? = nil
  ) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
    self.ceilMode = ceilMode
    self.countsPadding = countsPadding
    self.divisor = divisor
  }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(2, "AvgPool2d") {
      averagePool(
        $0, size, stride: stride, padding: padding, ceilMode: ceilMode,
        countsPadding: countsPadding, divisor: divisor)
    }
  }
}

/// The mean of each window of `[n, d, h, w, c]`, as `averagePool` finds it.
///
///     AvgPool3d(2)   // [n, 8, 56, 56, c] → [n, 4, 28, 28, c]
public struct AvgPool3d: Layer, Sendable {
  let scope = Scope()
  public let size: PerAxis
  public let stride: PerAxis
  public let padding: Padding
  public let ceilMode: Bool
  /// Whether elements of padding count, as zeros.
  public let countsPadding: Bool
  /// What sums are divided by instead of the number of elements.
  public let divisor: Double?

  public init(
    _ size: PerAxis, stride: PerAxis? = nil, padding: Padding = .valid, ceilMode: Bool = false,
    countsPadding: Bool = true, divisor: Double? = nil
  ) {
    self.size = size
    self.stride = stride ?? size
    self.padding = padding
    self.ceilMode = ceilMode
    self.countsPadding = countsPadding
    self.divisor = divisor
  }

  public func forward(_ x: Tensor) -> Tensor {
    x.ofImages(3, "AvgPool3d") {
      averagePool(
        $0, size, stride: stride, padding: padding, ceilMode: ceilMode,
        countsPadding: countsPadding, divisor: divisor)
    }
  }
}

extension Tensor {
  /// What `body` makes of images with so many spatial axes; poisoned where the tensor has others.
  func ofImages(_ axes: Int, _ name: String, _ body: (Tensor) -> Tensor) -> Tensor {
    guard rank == axes + 2 else {
      let spatial = ["depth", "height", "width"].suffix(axes).joined(separator: ", ")
      return .poisoned(
        ApusError(.shapeMismatch, "\(name): \(type)", expected: "[n, \(spatial), channels]"),
        like: self)
    }
    return body(self)
  }
}
