// Where the random numbers of an example come from: a seed, an epoch and the example, and nothing else.

import ApusGraph

/// Which reading of a data set is under way: the seed of the run and the number of the epoch.
///
/// What is random in an example, such as how its image is turned, is drawn from this key and the example's number.
/// So it does not depend on the order of examples, on prefetching, on threads, or on where a run was resumed.
public struct EpochKey: Sendable, Hashable {
  public var seed: UInt64
  public var epoch: Int
  /// How many sets of random transforms lie above the one that is asked, so that each has numbers of its own.
  var depth = 0

  public init(seed: UInt64 = 0, epoch: Int = 0) {
    self.seed = seed
    self.epoch = epoch
  }

  /// The key of a set that lies below a random one.
  var below: EpochKey {
    var key = self
    key.depth += 1
    return key
  }

  /// The random numbers of an example.
  ///
  ///     var random = key.random(for: example)
  ///     let angle = random.uniform(in: -10...10)
  public func random(for example: Int) -> ExampleRandom {
    ExampleRandom(self, 0x6175_676d, example)
  }
}

/// Random numbers of one example in one epoch, equal on every machine: Philox4x32-10.
public struct ExampleRandom: RandomNumberGenerator, Sendable {
  private var words: PhiloxWords

  /// - `purpose`: tells numbers for other things apart; "augm" for transforms of examples.
  init(_ key: EpochKey, _ purpose: UInt32, _ number: Int) {
    // Both halves have room: data sets have fewer than 2^32 examples.
    let packed =
      UInt64(UInt32(truncatingIfNeeded: key.epoch)) << 32
      | UInt64(UInt32(truncatingIfNeeded: number))
    words = PhiloxWords(
      seed: key.seed, purpose: purpose &+ UInt32(truncatingIfNeeded: key.depth),
      number: Int(bitPattern: UInt(packed)))
  }

  /// 64 random bits.
  public mutating func next() -> UInt64 {
    let high = words.next()
    return high << 32 | words.next()
  }

  /// A number in the range, evenly distributed: 53 bits of the way from one end to the other.
  public mutating func uniform(in range: ClosedRange<Double> = 0...1) -> Double {
    let part = Double(next() >> 11) * 0x1p-53
    return range.lowerBound + part * (range.upperBound - range.lowerBound)
  }

  /// A whole number of the range, each equally likely; the range has fewer than 2^32.
  public mutating func integer(in range: ClosedRange<Int>) -> Int {
    range.lowerBound + words.next(below: range.count)
  }

  /// Whether something of that probability happens; always at 1, never at 0.
  public mutating func happens(_ probability: Double) -> Bool {
    uniform() < probability
  }
}
