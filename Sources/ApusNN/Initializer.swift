// How parameters get their first values.

import ApusGraph
import Foundation

/// A distribution of first values. Fans are those of a weight with outputs first: `[out, …, in]`.
public enum Initializer: Sendable, Hashable {
  case zeros
  case ones
  case constant(Double)
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
  /// U(±1/√fanIn), PyTorch's default for linear and convolution weights; give `fanIn` for biases.
  case fanInUniform(fanIn: Int? = nil)
  /// Rows (or columns, whichever are fewer) orthonormal: Saxe et al. 2014.
  case orthogonal(gain: Double = 1)

  /// The first value of a parameter: a function of the seed and the parameter's path alone.
  public func makeArray(_ type: TensorType, seed: UInt64, path: String) -> NDArray {
    let fanIn = type.shape.rank < 2 ? type.shape.count : type.shape.count / max(type.shape[0], 1)
    let receptive = type.shape.rank < 2 ? 1 : fanIn / max(type.shape[-1], 1)
    let fanOut = type.shape.rank < 2 ? type.shape.count : type.shape[0] * receptive
    var random = ParameterRandom(seed: seed, path: path)
    let count = type.count
    func uniform(_ bound: Double) -> [Double] {
      (0..<count).map { _ in (2 * random.uniform() - 1) * bound }
    }
    func normal(_ deviation: Double) -> [Double] {
      (0..<count).map { _ in random.normal() * deviation }
    }
    let values: [Double]
    switch self {
    case .zeros: values = Array(repeating: 0, count: count)
    case .ones: values = Array(repeating: 1, count: count)
    case .constant(let value): values = Array(repeating: value, count: count)
    case .uniform(let low, let high):
      values = (0..<count).map { _ in low + (high - low) * random.uniform() }
    case .normal(let mean, let deviation): values = normal(deviation).map { mean + $0 }
    case .truncatedNormal(let mean, let deviation):
      values = (0..<count).map { _ in
        var draw = random.normal()
        while abs(draw) > 2 { draw = random.normal() }
        return mean + deviation * draw
      }
    case .xavierUniform: values = uniform((6 / Double(max(fanIn + fanOut, 1))).squareRoot())
    case .xavierNormal: values = normal((2 / Double(max(fanIn + fanOut, 1))).squareRoot())
    case .kaimingUniform: values = uniform((6 / Double(max(fanIn, 1))).squareRoot())
    case .kaimingNormal: values = normal((2 / Double(max(fanIn, 1))).squareRoot())
    case .lecunNormal: values = normal((1 / Double(max(fanIn, 1))).squareRoot())
    case .fanInUniform(let given): values = uniform(1 / Double(max(given ?? fanIn, 1)).squareRoot())
    case .orthogonal(let gain):
      let rows = type.shape.rank < 2 ? 1 : type.shape[0]
      values = orthonormal(rows: rows, columns: rows == 0 ? 0 : count / rows, &random).map {
        $0 * gain
      }
    }
    return NDArray(doubles: values, type: type)
  }

  /// Gram-Schmidt, twice for accuracy, on the rows of a normal matrix (on its columns where it is tall).
  private func orthonormal(
    rows: Int, columns: Int, _ random: inout ParameterRandom
  ) -> [Double] {
    let isTall = rows > columns
    let count = isTall ? columns : rows
    let length = isTall ? rows : columns
    var vectors: [[Double]] = []
    for _ in 0..<count {
      var vector = (0..<length).map { _ in random.normal() }
      for _ in 0..<2 {
        for other in vectors {
          let overlap = zip(vector, other).reduce(0) { $0 + $1.0 * $1.1 }
          for index in vector.indices { vector[index] -= overlap * other[index] }
        }
      }
      let norm = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
      vectors.append(vector.map { $0 / norm })
    }
    return (0..<rows * columns).map { index in
      let row = index / max(columns, 1), column = index % max(columns, 1)
      return isTall ? vectors[column][row] : vectors[row][column]
    }
  }
}

/// A stream of random numbers that belongs to one parameter of one seed.
struct ParameterRandom {
  private let key: Philox.Key
  private let stream: (UInt32, UInt32)
  private var block: [UInt32] = []
  private var next: UInt64 = 0

  init(seed: UInt64, path: String) {
    key = Philox.key(seed: seed)
    // FNV-1a: Swift's own hashes differ from run to run.
    let hash = path.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01b3
    }
    stream = (UInt32(truncatingIfNeeded: hash), UInt32(truncatingIfNeeded: hash >> 32))
  }

  private mutating func word() -> UInt32 {
    if block.isEmpty {
      let words = Philox.block(
        key: key,
        counter: (
          UInt32(truncatingIfNeeded: next), UInt32(truncatingIfNeeded: next >> 32), stream.0,
          stream.1
        ))
      block = [words.3, words.2, words.1, words.0]
      next += 1
    }
    return block.removeLast()
  }

  /// Uniform in [0, 1), with 24 bits.
  mutating func uniform() -> Double { Double(word() >> 8) * 0x1p-24 }

  /// Standard normal, by Box & Muller 1958.
  mutating func normal() -> Double {
    let u = (Double(word()) + 1) * 0x1p-32
    let v = Double(word()) * 0x1p-32
    return (-2 * log(u)).squareRoot() * cos(2 * .pi * v)
  }
}
