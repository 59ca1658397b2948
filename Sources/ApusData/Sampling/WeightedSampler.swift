// Examples drawn by weight, as PyTorch's WeightedRandomSampler draws them.
//
// With replacement by Walker's aliases in Vose's construction (1991, "A Linear Algorithm for Generating Random
// Numbers with a Given Distribution"): one number and one comparison a draw. Without replacement by the keys of
// Efraimidis and Spirakis (2006, "Weighted random sampling with a reservoir"): the greatest log(u)/w come first.

import ApusGraph

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Draws the examples of an epoch, each with a probability in proportion to its weight.
///
///     let sampler = try WeightedSampler(weights: [1, 1, 8], count: 100)      // mostly the third
///     let fair = try WeightedSampler(balancing: data.labels.integers)        // all classes alike
///     let batches = try data.batched(64, sampler: fair)
///
/// What an epoch draws depends on the seed and the epoch's number alone.
public struct WeightedSampler: Sendable, Hashable {
  /// One for each example, 0 or more; only their proportions count.
  public let weights: [Double]
  /// Examples of an epoch.
  public let count: Int
  /// Whether an example may come again in an epoch.
  public let replacement: Bool
  /// In words, for a checkpoint to compare.
  let identity: String

  /// - `count`: examples of an epoch; as many as there are weights where nil.
  /// - `replacement`: whether an example may come again in an epoch.
  /// - Throws: `invalidArgument` for a weight that is negative or no finite number, for weights that are all 0 or
  ///   whose sum is infinite, for a negative count, 2^32 and more, and, without replacement, for more than have a weight
  ///   above 0.
  public init(weights: [Double], count: Int? = nil, replacement: Bool = true) throws {
    let count = count ?? weights.count
    if let place = weights.firstIndex(where: { !($0 >= 0) || $0.isInfinite }) {
      throw ApusError(
        .invalidArgument, "the weight of example \(place) is \(weights[place])",
        expected: "a finite number, 0 or more")
    }
    guard count >= 0, count < 1 << 32, weights.count < 1 << 32 else {
      throw ApusError(
        .invalidArgument, "\(count) examples drawn out of \(weights.count)",
        expected: "0 or more, fewer than 2^32")
    }
    let sum = weights.reduce(0, +)
    guard count == 0 || sum > 0 && sum.isFinite else {
      throw ApusError(
        .invalidArgument, "\(weights.count) weights with the sum \(sum)",
        expected: "a finite sum above 0")
    }
    let possible = weights.count { $0 > 0 }
    guard replacement || count <= possible else {
      throw ApusError(
        .invalidArgument, "\(count) examples drawn without replacement",
        expected: "at most \(possible), which have a weight above 0")
    }
    self.weights = weights
    self.count = count
    self.replacement = replacement
    // FNV-1a over the weights' bits: a list of a million is not told in words.
    let sign = weights.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ $1.bitPattern) &* 0x100_0000_01b3
    }
    identity =
      "\(count) of them by weights \(String(sign, radix: 16)) \(replacement ? "with" : "without") replacement"
  }

  /// Draws each class as often as any other, and within a class all examples alike.
  ///
  /// - `labels`: the class of each example.
  /// - Throws: as ``init(weights:count:replacement:)``.
  public init(balancing labels: [Int], count: Int? = nil, replacement: Bool = true) throws {
    var sizes: [Int: Int] = [:]
    for label in labels { sizes[label, default: 0] += 1 }
    try self.init(
      weights: labels.map { 1 / Double(sizes[$0]!) }, count: count, replacement: replacement)
  }

  /// The examples of an epoch, in the order in which they are drawn.
  public func examples(seed: UInt64, epoch: Int) -> [Int] {
    examples(EpochKey(seed: seed, epoch: epoch))
  }

  func examples(_ key: EpochKey) -> [Int] {
    // "smpl"
    var random = ExampleRandom(key, 0x736d_706c, 0)
    if count == 0 { return [] }
    if !replacement {
      let keys = weights.enumerated().filter { $0.element > 0 }.map { place, weight in
        (place: place, key: log(random.uniform() + 0x1p-54) / weight)
      }
      // Of equal keys the earlier example comes first.
      return keys.sorted { ($0.key, $1.place) > ($1.key, $0.place) }.prefix(count).map(\.place)
    }
    let aliases = Aliases(weights)
    return (0..<count).map { _ in aliases.draw(&random) }
  }
}

/// Columns of one height, of which each holds its own number up to a part and another one's above it.
private struct Aliases {
  private var parts: [Double]
  private var others: [Int]

  init(_ weights: [Double]) {
    // Against the greatest first, so that no sum and no product leaves the range of doubles.
    let most = weights.max()!
    let scaled = weights.map { $0 / most }
    let mean = scaled.reduce(0, +) / Double(weights.count)
    parts = scaled.map { $0 / mean }
    others = Array(weights.indices)
    var small = weights.indices.filter { parts[$0] < 1 }
    var large = weights.indices.filter { parts[$0] >= 1 }
    while let low = small.last, let high = large.last {
      small.removeLast()
      others[low] = high
      parts[high] -= 1 - parts[low]
      if parts[high] < 1 {
        large.removeLast()
        small.append(high)
      }
    }
    // What is left over is there by rounding; its column is full. A weight of 0 has been given another one.
    for place in large { parts[place] = 1 }
    for place in small {
      if weights[place] > 0 {
        parts[place] = 1
      } else {
        others[place] = weights.firstIndex(of: most)!
      }
    }
  }

  func draw(_ random: inout ExampleRandom) -> Int {
    let column = random.integer(in: 0...parts.count - 1)
    return random.uniform() < parts[column] ? column : others[column]
  }
}
