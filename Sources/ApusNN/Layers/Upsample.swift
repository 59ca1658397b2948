// Layers that change the extents of images: resampling, shuffles of pixels, padding.

import ApusGraph
import ApusOps

/// Images `[n, spatial…, channels]` of other extents; ``interpolate(_:scale:mode:alignCorners:file:line:)``.
///
///     Upsample(scale: 2, mode: .bilinear)   // f32[8,32,32,64] → f32[8,64,64,64]
public struct Upsample: Layer, Sendable {
  private enum Extents {
    case scale([Double])
    case size([Int])
  }
  let scope = Scope()
  private let extents: Extents
  public let mode: Interpolation
  public let alignCorners: Bool

  /// - `scale`: of all spatial axes.
  public init(scale: Double, mode: Interpolation = .nearest, alignCorners: Bool = false) {
    self.init(.scale([scale]), mode, alignCorners)
  }

  /// - `size`: one extent for all spatial axes, or one an axis.
  public init(size: [Int], mode: Interpolation = .nearest, alignCorners: Bool = false) {
    self.init(.size(size), mode, alignCorners)
  }

  private init(_ extents: Extents, _ mode: Interpolation, _ alignCorners: Bool) {
    self.extents = extents
    self.mode = mode
    self.alignCorners = alignCorners
  }

  public func forward(_ x: Tensor) -> Tensor {
    switch extents {
    case .scale(let scale): interpolate(x, scale: scale, mode: mode, alignCorners: alignCorners)
    case .size(let size): interpolate(x, size: size, mode: mode, alignCorners: alignCorners)
    }
  }
}

/// Channels laid out as pixels: `[n, h, w, c r²]` → `[n, h r, w r, c]`, Shi et al. 2016.
public struct PixelShuffle: Layer, Sendable {
  let scope = Scope()
  public let factor: Int

  /// - `factor`: r.
  public init(_ factor: Int) { self.factor = factor }

  public func forward(_ x: Tensor) -> Tensor { pixelShuffle(x, factor) }
}

/// Pixels laid out as channels: `[n, h r, w r, c]` → `[n, h, w, c r²]`.
public struct PixelUnshuffle: Layer, Sendable {
  let scope = Scope()
  public let factor: Int

  /// - `factor`: r.
  public init(_ factor: Int) { self.factor = factor }

  public func forward(_ x: Tensor) -> Tensor { pixelUnshuffle(x, factor) }
}

/// Images `[n, spatial…, channels]` with something around them.
///
///     Pad(1)                                                           // zeros
///     Pad(.sides(before: [0, 1], after: [1, 0]), mode: .reflect)
public struct Pad: Layer, Sendable {
  let scope = Scope()
  public let padding: Padding
  /// Nil for `value`.
  public let mode: PaddingMode?
  public let value: Double

  /// - `padding`: of the spatial axes; `.same` is none, since no window moves here.
  /// - `mode`: what of the image stands around it; nil for `value`.
  public init(_ padding: Padding, mode: PaddingMode? = nil, value: Double = 0) {
    self.padding = padding
    self.mode = mode
    self.value = value
  }

  public func forward(_ x: Tensor) -> Tensor {
    do {
      let image = Array(x.shape.dimensions.dropFirst().dropLast())
      guard x.rank >= 3 else {
        throw ApusError(
          .shapeMismatch, "Pad: \(x.type) is no image", expected: "[n, spatial…, channels]")
      }
      let window = try padding.window(Array(repeating: 1, count: image.count), over: image, "Pad")
      try window.check("Pad")
      let (low, high) = ([0] + window.before + [0], [0] + window.after + [0])
      return mode.map { x.padded(low: low, high: high, mode: $0) }
        ?? x.padded(low: low, high: high, value: value)
    } catch {
      return .poisoned(
        asApusError(error), like: x)
    }
  }
}
