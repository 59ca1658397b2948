// How near an image is to another one: what denoising, compression and super-resolution report.

import ApusGraph
import ApusOps

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The peak signal-to-noise ratio in decibels, `10 log₁₀(range² / mse)`: the mean over the images of a batch.
///
///     batch.report("psnr", psnr(restored, batch.images))   // f32[64,28,28,1] both → f32[]
///
/// Twice the error is 6 dB less. An image that equals its target has an infinite ratio, and so has its batch.
///
/// - `target`: of the image's shape (else `shapeMismatch`); the first axis counts the images.
/// - `range`: between the darkest and the brightest value that pixels may have, above 0.
public func psnr(
  _ image: Tensor, _ target: Tensor, range: Double = 1, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: image, file, line) {
    try expectImages("psnr", image, target, range)
    if image.isPoisoned || target.isPoisoned { return image }
    let axes = Array(1..<image.rank)
    let image = image.dtype.isFloat ? image : image.cast(to: .f32)
    let error = square(image - target.cast(to: image.dtype)).mean(axes: axes)
    return (-10 * log10(error / (range * range))).mean()
  }
}

/// The structural similarity (Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment"): from -1 to 1,
/// 1 for equal images; the mean over all windows and images.
///
///     batch.report("ssim", ssim(restored, batch.images))   // f32[64,28,28,1] both → f32[]
///
/// Means, variances and the covariance are those of Gaussian windows of 11 x 11 pixels (deviation 1.5) that lie
/// within the image, as in the paper.
///
/// - `image`: `[n, h, w, channels]` of at least 11 x 11 pixels (else `shapeMismatch`).
/// - `target`: of the image's shape.
/// - `range`: between the darkest and the brightest value that pixels may have, above 0.
public func ssim(
  _ image: Tensor, _ target: Tensor, range: Double = 1, file: StaticString = #fileID,
  line: UInt = #line
) -> Tensor {
  recordedLoss(like: image, file, line) {
    try expectImages("ssim", image, target, range)
    if image.isPoisoned || target.isPoisoned { return image }
    let size = 11
    guard image.rank == 4, image.shape[1] >= size, image.shape[2] >= size else {
      throw ApusError(
        .shapeMismatch, "ssim: the images are \(image.type)",
        expected: "[n, height, width, channels] of at least \(size) x \(size) pixels")
    }
    let channels = image.shape[3]
    func blurred(_ x: Tensor) -> Tensor {
      [Shape([1, size, 1, 1]), Shape([1, 1, size, 1])].reduce(x) { x, shape in
        let window = image.trace.constant(gaussian(size, deviation: 1.5)).cast(to: x.dtype)
        let weight = window.reshaped(Shape(Array(shape.dimensions)))
        return conv2d(
          x, weight.broadcast(to: Shape([channels] + shape.dimensions.dropFirst())),
          groups: channels)
      }
    }
    let x = image.dtype.isFloat ? image : image.cast(to: .f32)
    let y = target.cast(to: x.dtype)
    let (meanX, meanY) = (blurred(x), blurred(y))
    let varianceX = blurred(square(x)) - square(meanX)
    let varianceY = blurred(square(y)) - square(meanY)
    let covariance = blurred(x * y) - meanX * meanY
    let (c1, c2) = (0.01 * range * 0.01 * range, 0.03 * range * 0.03 * range)
    let likeness = (2 * meanX * meanY + c1) * (2 * covariance + c2)
    let divisor = (square(meanX) + square(meanY) + c1) * (varianceX + varianceY + c2)
    return (likeness / divisor).mean()
  }
}

/// Numbers of a Gaussian bell that add up to 1.
private func gaussian(_ size: Int, deviation: Double) -> NDArray {
  let bell: [Double] = (0..<size).map { place in
    let x: Double = (Double(place) - Double(size - 1) / 2) / deviation
    return exp(-x * x / 2)
  }
  let sum = bell.reduce(0, +)
  return NDArray(doubles: bell.map { $0 / sum }, type: .f64(size))
}

private func expectImages(
  _ name: String, _ image: Tensor, _ target: Tensor, _ range: Double
) throws {
  guard image.isPoisoned || target.isPoisoned || image.shape == target.shape, image.rank > 0 else {
    throw ApusError(
      .shapeMismatch, "\(name): \(image.type) beside \(target.type)",
      expected: "images of one shape, the first axis counting them")
  }
  guard range > 0, range.isFinite else {
    throw ApusError(
      .invalidArgument, "\(name): the range is \(range)", expected: "a finite number above 0")
  }
}
