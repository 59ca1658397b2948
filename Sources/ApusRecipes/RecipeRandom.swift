// Random numbers on the host side of recipes: what they draw depends on the seed alone.

import Apus
import Foundation

/// SplitMix64: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators".
struct RecipeRandom: RandomNumberGenerator {
  private var state: UInt64

  /// - `stream`: numbers of one seed and several streams have nothing to do with each other.
  init(seed: UInt64, stream: UInt64 = 0) {
    state = seed
    // The first number of a seed is far from that of its neighbours, so that streams are too.
    state = next() ^ stream
    state = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// A number in [0, 1).
  mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A number below `limit`.
  mutating func below(_ limit: Int) -> Int {
    Int(((next() >> 32) &* UInt64(limit)) >> 32)
  }

  /// The number of a logit, drawn by the softmax of all at a temperature.
  ///
  /// - `isAllowed`: which may be drawn; one at least.
  mutating func draw(
    _ logits: [Double], temperature: Double, _ isAllowed: (Int) -> Bool = { _ in true }
  ) -> Int {
    let allowed = logits.indices.filter(isAllowed)
    let greatest = allowed.map { logits[$0] }.max() ?? 0
    let weights = allowed.map { exp((logits[$0] - greatest) / temperature) }
    var rest = uniform() * weights.reduce(0, +)
    for (place, weight) in zip(allowed, weights) {
      rest -= weight
      if rest < 0 { return place }
    }
    return allowed.last ?? 0
  }
}
