// A convolutional autoencoder: images through a narrow place and back.

import ApusGraph
import ApusOps

/// A convolutional autoencoder: images `[n, h, w, channels]` → images of the same extents.
///
///     let model = ConvAutoencoder(channels: 1, width: 32)
///     let loss = mse(model(noisy), clean)
///
/// Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders", of images: each of
/// `depth` convolutions with a stride of 2 halves the extents and doubles the channels, and as many transposed ones go
/// back. With a batch normalisation and a ReLU after each but the last. Extents must be multiples of
/// 2^depth (else `shapeMismatch`). Parameters are `encoder.0.0.weight`, `decoder.1.0.bias`, `output.weight` and so on.
public struct ConvAutoencoder: Layer, Sendable {
  let scope = Scope()
  let encoder: [Chain]
  let decoder: [Chain]
  let output: Conv2d
  private let depth: Int

  /// - `width`: channels after the first convolution.
  /// - `depth`: halvings; from 1 to 8, and another number is taken as the nearer of these.
  public init(channels: Int = 3, width: Int = 32, depth: Int = 2) {
    self.depth = min(max(depth, 1), 8)
    let widths = (0..<self.depth).map { Shape.product(width, 1 << $0) }
    encoder = zip([channels] + widths, widths).map { inputs, outputs in
      Chain([Conv2d(inputs, outputs, 3, stride: 2, padding: 1), BatchNorm(outputs), ReLU()])
    }
    let back = Array(widths.reversed())
    decoder = zip(back, back.dropFirst() + [width]).map { inputs, outputs in
      Chain([
        ConvTranspose2d(inputs, outputs, 4, stride: 2, padding: 1), BatchNorm(outputs), ReLU(),
      ])
    }
    output = Conv2d(width, channels, 3, padding: 1)
  }

  public func forward(_ images: Tensor) -> Tensor {
    if images.isPoisoned { return images }
    let unit = 1 << depth
    guard images.rank == 4, images.shape[1] % unit == 0, images.shape[2] % unit == 0 else {
      return .poisoned(
        ApusError(
          .shapeMismatch, "ConvAutoencoder: the images are \(images.type)",
          expected: "[n, height, width, channels] with extents that \(unit) divides"), like: images)
    }
    return output((encoder + decoder).reduce(images) { $1($0) })
  }
}
