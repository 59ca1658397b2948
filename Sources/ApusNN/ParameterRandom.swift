// The random numbers of one parameter.

import ApusGraph
import ApusRuntime
import Foundation

/// A stream of random numbers that belongs to one parameter of one seed: Philox with the seed for its
/// key and a hash of the path in the upper half of its counter.
///
///     .custom { type, random in
///       NDArray(doubles: (0..<type.count).map { _ in random.normal() }, type: type)
///     }
///
/// It is a generator for Swift's own functions too: `order.shuffle(using: &random)`.
public struct ParameterRandom: RandomNumberGenerator, Sendable {
  let seed: UInt64
  /// The parameter's.
  let path: String
  private let stream: UInt64
  private var block: [UInt32] = []
  private var nextBlock: UInt64 = 0

  init(seed: UInt64, path: String) {
    self.seed = seed
    self.path = path
    // FNV-1a: Swift's own hashes differ from run to run.
    stream = path.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01b3
    }
  }

  private func words(_ counter: UInt64) -> Philox.Counter {
    Philox.block(
      key: Philox.key(seed: seed),
      counter: (
        UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32),
        UInt32(truncatingIfNeeded: stream), UInt32(truncatingIfNeeded: stream >> 32)
      ))
  }

  private mutating func word() -> UInt32 {
    if block.isEmpty {
      let words = words(nextBlock)
      block = [words.3, words.2, words.1, words.0]
      nextBlock += 1
    }
    return block.removeLast()
  }

  /// 64 random bits.
  public mutating func next() -> UInt64 { UInt64(word()) | UInt64(word()) << 32 }

  /// Uniform in [0, 1), with 24 bits.
  public mutating func uniform() -> Double { Double(word() >> 8) * 0x1p-24 }

  /// Standard normal, by Box & Muller 1958.
  public mutating func normal() -> Double { Self.normal(word(), word()) }

  private static func normal(_ a: UInt32, _ b: UInt32) -> Double {
    let u = (Double(a) + 0.5) * 0x1p-32
    return (-2 * log(u)).squareRoot() * cos(2 * .pi * Double(b) * 0x1p-32)
  }

  // MARK: Whole arrays, drawn by all threads

  /// An array of a distribution's numbers, drawn as `f32`.
  ///
  /// - Throws: `resource` where there is no memory, `invalidArgument` for a bad environment variable.
  func array(_ type: TensorType, _ distribution: RandomFill) throws -> NDArray {
    var array = try NDArray(checking: type.with(.f32))
    try array.withUnsafeMutableBytes {
      try distribution.write(to: $0.bindMemory(to: Float.self), seed: seed, stream: stream)
    }
    return array.cast(to: type.dtype)
  }

  /// Normal numbers within two deviations of the mean. One that lies outside is drawn again, from a
  /// sequence that belongs to its own place.
  func truncated(_ type: TensorType, mean: Double, deviation: Double) throws -> NDArray {
    var array = try array(type.with(.f32), .normal(scale: 1, shift: 0))
    let (scale, shift) = (Float(deviation), Float(mean))
    array.withUnsafeMutableBytes { bytes in
      let values = bytes.bindMemory(to: Float.self)
      for index in values.indices {
        var draw = values[index]
        var attempt: UInt64 = 0
        while abs(draw) > 2 {
          // The first draws took the counters below 2^40.
          attempt += 1
          let words = words(attempt << 40 | UInt64(index))
          draw = Float(Self.normal(words.0, words.1))
          if abs(draw) > 2 { draw = Float(Self.normal(words.2, words.3)) }
        }
        values[index] = shift.addingProduct(scale, draw)
      }
    }
    return array.cast(to: type.dtype)
  }
}
