// Layers whose weight is normalised before it is used: by its rows, or by its greatest singular value.

import ApusGraph
import ApusOps

extension ModelState {
  /// Tensors by the parameters that they stand for.
  struct Substitutes: @unchecked Sendable {  // read by the task alone that records their trace
    var tensors: [ObjectIdentifier: Tensor] = [:]
  }

  /// What stands for some parameters while a layer is recorded.
  @TaskLocal static var substitutes = Substitutes()
}

/// A layer whose weight is `g · v / ‖v‖`, length and direction of each output's row learnt apart: Salimans & Kingma 2016,
/// "Weight Normalization". As PyTorch's `weight_norm`.
///
///     WeightNorm(Linear(64, 32))
///     WeightNorm(Conv2d(3, 16, 3))
///
/// v is the layer's own `weight`; g is `weight_g`, `[out, 1, …]`, and begins as the length of v, so that the layer
/// computes at first what it would without. The layer has a parameter `weight` with outputs first, or what records it
/// throws `invalidArgument`.
public struct WeightNorm<Inner: Layer>: Layer {
  public let layer: Inner
  /// g; nil where the layer has no weight.
  public let length: Parameter?

  public init(_ layer: Inner) {
    self.layer = layer
    length = layer.ownWeight.map { weight in
      let shape = weight.shape.dimensions.enumerated().map { $0.offset == 0 ? $0.element : 1 }
      return Parameter(
        Shape(shape),
        .custom { type, random in
          let values =
            weight.isInitialized
            ? try weight.value()
            : try weight.initializer.makeArray(
              weight.type, seed: random.seed, path: random.path.droppingSuffix("_g"))
          let (rows, all) = (type.count, values.doubles)
          let width = rows == 0 ? 0 : all.count / rows
          let lengths = (0..<rows).map { row in
            all[row * width..<(row + 1) * width].reduce(0) { $0 + $1 * $1 }.squareRoot()
          }
          return NDArray(doubles: lengths, type: type)
        })
    }
  }

  public var parts: [(name: String, value: Any)] {
    layer.parts + (length.map { [("weight_g", $0)] } ?? [])
  }

  public func forward(_ x: Tensor) -> Tensor {
    guard let weight = layer.ownWeight, let length else { return .withoutWeight("WeightNorm", x) }
    let v = weight.tensor
    let axes = Array(1..<max(v.rank, 1))
    let norm = v.norm(axes: axes, keepDims: true)
    return layer.forward(x, with: v * (length.tensor / norm), for: weight)
  }
}

/// A layer whose weight is divided by its greatest singular value: Miyato et al. 2018, "Spectral Normalization for
/// Generative Adversarial Networks". As PyTorch's `spectral_norm`.
///
///     Sequential {
///       SpectralNorm(Conv2d(3, 64, 3, stride: 2, padding: 1))
///       LeakyReLU(slope: 0.1)
///     }
///
/// The singular value is followed by the power method, from a buffer `weight_u`, which a step of training moves on.
/// PyTorch keeps the right vector too, and begins with fifteen turns; here both are as good after as many steps. A
/// weight of more than two axes is a matrix of its first axis by the rest.
public struct SpectralNorm<Inner: Layer>: Layer {
  public let layer: Inner
  /// The left singular vector, `[out]`; nil where the layer has no weight.
  let vector: Buffer?
  /// Turns of the power method in each use, 1 to 100; else what records the layer throws `invalidArgument`.
  public let iterations: Int

  public init(_ layer: Inner, iterations: Int = 1) {
    self.layer = layer
    self.iterations = iterations
    vector = layer.ownWeight.map {
      Buffer([$0.shape[0]], .normal(mean: 0, deviation: 1))
    }
  }

  public var parts: [(name: String, value: Any)] {
    layer.parts + (vector.map { [("weight_u", $0)] } ?? [])
  }

  public func forward(_ x: Tensor) -> Tensor {
    guard let weight = layer.ownWeight, weight.shape.rank > 1, let vector else {
      return .withoutWeight("SpectralNorm", x)
    }
    guard (1...100).contains(iterations) else {
      return .poisoned(
        ApusError(
          .invalidArgument, "SpectralNorm: \(iterations) turns of the power method",
          expected: "1 to 100"), like: x)
    }
    let tensor = weight.tensor
    let matrix = tensor.reshaped([tensor.shape[0], -1])
    let fixed = matrix.stopGradient()
    func unit(_ x: Tensor) -> Tensor { x / maximum(x.norm(), 1e-12) }
    var u = vector.tensor.reshaped([1, -1])
    var v = u
    for _ in 0..<iterations {
      v = unit(u.matmul(fixed))
      u = unit(v.matmul(fixed, transposeOther: true))
    }
    if x.trace.mode == .training { vector.update(to: u.reshaped(vector.shape)) }
    // Of the vectors no gradient, of the weight all.
    let greatest = (u.matmul(matrix) * v).sum()
    return layer.forward(x, with: tensor / greatest, for: weight)
  }
}

extension WeightNorm: Sendable where Inner: Sendable {}
extension SpectralNorm: Sendable where Inner: Sendable {}

extension Layer {
  /// The layer's own parameter `weight`.
  fileprivate var ownWeight: Parameter? {
    parts.first { $0.name == "weight" }?.value as? Parameter
  }

  /// The layer's result where a tensor stands for a parameter.
  fileprivate func forward(_ x: Tensor, with tensor: Tensor, for weight: Parameter) -> Tensor {
    var substitutes = ModelState.substitutes
    substitutes.tensors[ObjectIdentifier(weight)] = tensor
    return ModelState.$substitutes.withValue(substitutes) { forward(x) }
  }
}

extension Tensor {
  fileprivate static func withoutWeight(_ name: String, _ x: Tensor) -> Tensor {
    .poisoned(
      ApusError(
        .invalidArgument, "\(name): the layer has no weight that could be normalised",
        expected: "a layer with a parameter 'weight', outputs first, such as Linear or Conv2d"),
      like: x)
  }
}

extension String {
  fileprivate func droppingSuffix(_ suffix: String) -> String {
    hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
  }
}
