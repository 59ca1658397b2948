// Random orders that depend on a seed and an epoch alone, on no machine and no thread.

import ApusGraph

/// A random permutation: Fisher–Yates over Philox4x32-10 (Durstenfeld 1964, Algorithm 235).
///
/// The key is the seed; the counter's words are {block, 0x73687566 ("shuf"), epoch low, epoch high}, so
/// that an epoch's order is drawn from numbers no other epoch uses. A bounded number is made from 32
/// bits by Lemire's multiplication with rejection, so that every order is equally likely. `purpose` takes the place of
/// "shuf" for orders of other things.
func permutation(
  of count: Int, seed: UInt64, epoch: Int, purpose: UInt32 = 0x7368_7566
) -> [Int] {
  var order = Array(0..<count)
  var words = PhiloxWords(seed: seed, purpose: purpose, number: epoch)
  order.withUnsafeMutableBufferPointer { order in
    for last in stride(from: count - 1, to: 0, by: -1) {
      order.swapAt(last, words.next(below: last + 1))
    }
  }
  return order
}

/// The words of successive counters, one by one: the counter's words are {block, purpose, number low, number
/// high}, so that no two purposes and no two numbers of one share any.
struct PhiloxWords: Sendable {
  private let key: Philox.Key
  private let purpose: UInt32
  private let number: UInt64
  private var block: UInt32 = 0
  private var words: Philox.Counter = (0, 0, 0, 0)
  private var used = 4

  /// - `number`: of the epoch, the example: what shall have numbers of its own.
  init(seed: UInt64, purpose: UInt32, number: Int) {
    key = Philox.key(seed: seed)
    self.purpose = purpose
    self.number = UInt64(bitPattern: Int64(number))
  }

  /// 32 random bits.
  mutating func next() -> UInt64 {
    if used == 4 {
      words = Philox.block(
        key: key,
        counter: (
          block, purpose, UInt32(truncatingIfNeeded: number),
          UInt32(truncatingIfNeeded: number >> 32)
        ))
      block &+= 1
      used = 0
    }
    used += 1
    switch used {
    case 1: return UInt64(words.0)
    case 2: return UInt64(words.1)
    case 3: return UInt64(words.2)
    default: return UInt64(words.3)
    }
  }

  /// A number in `0..<bound`, each equally likely; `bound` is below 2^32.
  mutating func next(below bound: Int) -> Int {
    let bound = UInt64(bound)
    var product = next() * bound
    if product & 0xffff_ffff < bound {
      let threshold = (1 << 32 - bound) % bound
      while product & 0xffff_ffff < threshold { product = next() * bound }
    }
    return Int(product >> 32)
  }
}
