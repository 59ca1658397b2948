// Philox4x32-10, the counter-based random generator of host and kernels.
//
// Salmon, Moraes, Dror & Shaw 2011, "Parallel Random Numbers: As Easy as 1, 2, 3". A block of four
// 32-bit numbers is a function of a key and a counter, so that any element of any random tensor can be
// made on any thread, and made again.

/// The generator's block function.
package enum Philox {
  package typealias Key = (UInt32, UInt32)
  package typealias Counter = (UInt32, UInt32, UInt32, UInt32)

  /// The four random words of a counter under a key.
  ///
  ///     Philox.block(key: (0, 0), counter: (0, 0, 0, 0)).0   // 0x6627e8d5
  package static func block(key: Key, counter: Counter) -> Counter {
    var key = key
    var counter = counter
    for round in 0..<10 {
      if round > 0 { key = (key.0 &+ 0x9e37_79b9, key.1 &+ 0xbb67_ae85) }
      let a = UInt64(counter.0) * 0xd251_1f53
      let b = UInt64(counter.2) * 0xcd9e_8d57
      counter = (
        UInt32(truncatingIfNeeded: b >> 32) ^ counter.1 ^ key.0, UInt32(truncatingIfNeeded: b),
        UInt32(truncatingIfNeeded: a >> 32) ^ counter.3 ^ key.1, UInt32(truncatingIfNeeded: a)
      )
    }
    return counter
  }

  /// The two halves of a seed.
  package static func key(seed: UInt64) -> Key {
    (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
  }
}
