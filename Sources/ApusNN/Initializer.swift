// How parameters get their first values.

import ApusGraph
import ApusRuntime

/// A distribution of first values. Fans are those of a weight with outputs first: `[out, …, in]`.
///
///     Linear(784, 128, initializer: .kaimingNormal)
///     Parameter([128], .custom { type, random in
///       NDArray(doubles: (0..<type.count).map { _ in random.uniform() }, type: type)
///     })
public enum Initializer: Sendable, Hashable {
  case zeros
  case ones
  /// Any number but NaN.
  case constant(Double)
  /// Between `low` and `high`; `high` itself by rounding alone.
  case uniform(low: Double, high: Double)
  case normal(mean: Double, deviation: Double)
  /// A normal distribution without what lies more than two deviations from the mean.
  case truncatedNormal(mean: Double, deviation: Double)
  /// U(±√(6/(fanIn+fanOut))): Glorot & Bengio 2010.
  case xavierUniform
  /// N(0, 2/(fanIn+fanOut)): Glorot & Bengio 2010.
  case xavierNormal
  /// U(±√(6/fanIn)), for ReLU networks: He et al. 2015.
  case kaimingUniform
  /// N(0, 2/fanIn), for ReLU networks: He et al. 2015.
  case kaimingNormal
  /// N(0, 1/fanIn): LeCun et al. 1998.
  case lecunNormal
  /// U(±√(3/fanIn)): LeCun et al. 1998.
  case lecunUniform
  /// The variance `scale / fan`, of which the six before are cases: Keras's `VarianceScaling`, and PyTorch's
  /// `kaiming_normal_(mode="fan_out")` as `.varianceScaling(2, .output, .normal)`.
  case varianceScaling(_ scale: Double, _ fan: Fan, _ distribution: Distribution)
  /// U(±1/√fanIn), PyTorch's default for linear and convolution weights; give `fanIn` for biases.
  case fanInUniform(fanIn: Int? = nil)
  /// Rows (or columns, whichever are fewer) orthonormal, times `gain`: Saxe et al. 2014.
  case orthogonal(gain: Double = 1)
  /// The identity, times `gain`: output i is input i. Of a convolution, where the window's middle lies (PyTorch's
  /// `dirac_`). For weights of two axes and more.
  case identity(gain: Double = 1)
  /// What ``custom(_:)`` makes.
  case function(Function)

  /// What a weight's variance is divided by.
  public enum Fan: Sendable, Hashable {
    /// How many inputs make an output.
    case input
    /// How many outputs an input goes to.
    case output
    /// The mean of both.
    case average
  }

  /// How numbers of a variance are drawn.
  public enum Distribution: Sendable, Hashable { case uniform, normal }

  /// A function of your own: it gets the parameter's type and its random numbers, and returns an array
  /// of that type.
  ///
  ///     .custom { type, random in
  ///       NDArray(doubles: (0..<type.count).map { _ in 0.1 * random.normal() }, type: type)
  ///     }
  ///
  /// The random numbers depend on seed and path alone, and so do values that are made of nothing else.
  public static func custom(
    _ make:
      @escaping @Sendable (_ type: TensorType, _ random: inout ParameterRandom) throws ->
      NDArray
  ) -> Initializer { .function(Function(make)) }

  /// A user's own initialiser. Two are equal where one is a copy of the other.
  public final class Function: Sendable, Hashable {
    let make: @Sendable (_ type: TensorType, _ random: inout ParameterRandom) throws -> NDArray

    init(
      _ make:
        @escaping @Sendable (_ type: TensorType, _ random: inout ParameterRandom) throws ->
        NDArray
    ) { self.make = make }

    public static func == (a: Function, b: Function) -> Bool { a === b }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
  }

  /// The first value of a parameter: a function of the seed and the parameter's path alone, the same for
  /// any number of threads.
  ///
  /// Numbers are drawn as `f32` by all threads and converted to other types.
  ///
  /// - Throws: `invalidArgument` for a negative extent or settings without meaning (a deviation below 0,
  ///   bounds in the wrong order, what is not finite), `resource` where there is no memory for the
  ///   parameter, `shapeMismatch` where a function of your own returns another type; what it throws.
  package func makeArray(_ type: TensorType, seed: UInt64, path: String) throws -> NDArray {
    do {
      _ = try type.checked("an initial value")
      try validate(type.shape)
      return try values(type, ParameterRandom(seed: seed, path: path))
    } catch let error as ApusError {
      throw error.located(at: "parameter '\(path)'")
    }
  }

  private func values(_ type: TensorType, _ random: ParameterRandom) throws -> NDArray {
    let fans = Fans(type.shape)
    func uniform(_ bound: Double) throws -> NDArray {
      try random.array(type, .uniform(scale: Float(2 * bound), shift: Float(-bound)))
    }
    func normal(_ mean: Double, _ deviation: Double) throws -> NDArray {
      try random.array(type, .normal(scale: Float(deviation), shift: Float(mean)))
    }
    switch self {
    case .zeros: return try NDArray(checking: type)
    case .ones: return try filled(1, type)
    case .constant(let value): return try filled(value, type)
    case .uniform(let low, let high):
      return try random.array(type, .uniform(scale: Float(high - low), shift: Float(low)))
    case .normal(let mean, let deviation): return try normal(mean, deviation)
    case .truncatedNormal(let mean, let deviation):
      return try random.truncated(type, mean: mean, deviation: deviation)
    case .xavierUniform: return try uniform((6 / fans.both).squareRoot())
    case .xavierNormal: return try normal(0, (2 / fans.both).squareRoot())
    case .kaimingUniform: return try uniform((6 / fans.input).squareRoot())
    case .kaimingNormal: return try normal(0, (2 / fans.input).squareRoot())
    case .lecunNormal: return try normal(0, (1 / fans.input).squareRoot())
    case .lecunUniform: return try uniform((3 / fans.input).squareRoot())
    case .varianceScaling(let scale, let fan, let distribution):
      let count =
        switch fan {
        case .input: fans.input
        case .output: fans.output
        case .average: fans.both / 2
        }
      let deviation = (scale / count).squareRoot()
      return distribution == .normal
        ? try normal(0, deviation) : try uniform(deviation * 3.0.squareRoot())
    case .identity(let gain):
      var values = [Double](repeating: 0, count: try NDArray(checking: type).type.count)
      for place in identityPlaces(type.shape) { values[place] = gain }
      return NDArray(doubles: values, type: type)
    case .fanInUniform(let given):
      return try uniform(1 / (given.map { Double(max($0, 1)) } ?? fans.input).squareRoot())
    case .orthogonal(let gain):
      let draws = try random.array(type.with(.f32), .normal(scale: 1, shift: 0))
      let values = Orthonormal.rows(of: draws).map { $0 * gain }
      return NDArray(doubles: values, type: type)
    case .function(let function):
      var random = random
      let array = try function.make(type, &random)
      guard array.type == type else {
        throw ApusError(
          .shapeMismatch, "a custom initialiser returns \(array.type)", expected: "\(type)")
      }
      return array
    }
  }

  /// Where output i meets input i, in the middle of the window between.
  private func identityPlaces(_ shape: Shape) -> [Int] {
    let inputs = shape[-1]
    let window = shape.dimensions.dropFirst().dropLast()
    let middle = window.reduce(0) { $0 * $1 + $1 / 2 }
    let size = window.reduce(1, *)
    return (0..<min(shape[0], inputs)).map { ($0 * size + middle) * inputs + $0 }
  }

  private func filled(_ value: Double, _ type: TensorType) throws -> NDArray {
    try NDArray(repeating: NDArray(doubles: [value], type: type.with([])), shape: type.shape)
  }

  /// - Throws: `invalidArgument` for settings without meaning, `shapeMismatch` for a shape that has none.
  private func validate(_ shape: Shape) throws {
    func expect(_ holds: Bool, _ expected: String) throws {
      guard holds else {
        throw ApusError(.invalidArgument, "the initialiser is \(self)", expected: expected)
      }
    }
    switch self {
    case .constant(let value): try expect(!value.isNaN, "a number")
    case .uniform(let low, let high):
      try expect(
        low <= high && Float(low).isFinite && Float(high - low).isFinite,
        "finite bounds, the lower first")
    case .normal(let mean, let deviation), .truncatedNormal(let mean, let deviation):
      try expect(
        deviation >= 0 && Float(mean).isFinite && Float(deviation).isFinite,
        "finite numbers, the deviation 0 or more")
    case .fanInUniform(let fanIn): try expect((fanIn ?? 0) >= 0, "a fan of 0 or more")
    case .orthogonal(let gain): try expect(gain.isFinite, "a finite gain")
    case .varianceScaling(let scale, _, _):
      try expect(scale >= 0 && Float(scale).isFinite, "a finite scale, 0 or more")
    case .identity(let gain):
      try expect(gain.isFinite, "a finite gain")
      guard shape.rank >= 2 else {
        throw ApusError(
          .shapeMismatch, "an identity of shape \(shape)", expected: "a weight [out, …, in]")
      }
    default: break
    }
  }
}

/// How many inputs and outputs each element of a weight `[out, …, in]` connects; at least 1.
private struct Fans {
  let input: Double
  let output: Double
  let both: Double

  init(_ shape: Shape) {
    let fanIn = shape.rank < 2 ? shape.count : shape.count / max(shape[0], 1)
    let receptive = shape.rank < 2 ? 1 : fanIn / max(shape[-1], 1)
    let fanOut = shape.rank < 2 ? shape.count : shape[0] * receptive
    input = Double(max(fanIn, 1))
    output = Double(max(fanOut, 1))
    both = max(Double(fanIn) + Double(fanOut), 1)
  }
}
