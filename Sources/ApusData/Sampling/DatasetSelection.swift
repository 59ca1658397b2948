// Some of a data set's examples, in any order: what splits and folds are made of.

import ApusGraph

/// Some examples of another set, in an order; made by ``Dataset/selecting(_:)``, ``Dataset/split(_:seed:)`` and
/// ``Dataset/folds(_:seed:)``.
public struct DatasetSelection: Dataset, ComputedDataset {
  public let base: any Dataset
  /// Which examples of the base; one may stand there twice.
  public let examples: [Int]
  /// How they were chosen, in words.
  let what: String

  /// - `what`: how the examples were chosen, in words.
  init(_ base: any Dataset, _ examples: [Int], _ what: String) {
    self.base = base
    self.examples = examples
    self.what = what
  }

  public var identity: String { "\(what) of \(base.identity)" }
  package var isComputed: Bool { base.isComputedSet }

  public var count: Int { examples.count }
  public var fields: [ExampleField] { base.fields }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>
  ) throws {
    try fill(targets, with: examples, in: EpochKey())
  }

  public func fill(
    _ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>, in epoch: EpochKey
  ) throws {
    let chosen = examples.map { self.examples[$0] }
    try base.fill(targets, with: chosen[...], in: epoch)
  }
}

extension Dataset {
  /// Some examples as a set of their own, as PyTorch's `Subset`.
  ///
  ///     let small = try data.selecting([3, 1, 4])
  ///
  /// - Throws: `outOfRange` naming the first number that is no example.
  public func selecting(_ examples: [Int]) throws -> DatasetSelection {
    try checkSelection(examples, of: count)
    return DatasetSelection(self, examples, "\(examples.count) examples \(sign(of: examples))")
  }
}

/// - Throws: `outOfRange` naming the first number that is no example.
func checkSelection(_ examples: [Int], of count: Int) throws {
  if let place = examples.firstIndex(where: { $0 < 0 || $0 >= count }) {
    throw ApusError(
      .outOfRange, "example \(examples[place]), at \(place) of a selection, does not exist",
      expected: "numbers in 0..<\(count)")
  }
}

/// A few letters that tell one list of examples from another (FNV-1a).
func sign(of examples: [Int]) -> String {
  let sign = examples.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
    ($0 ^ UInt64(bitPattern: Int64($1))) &* 0x100_0000_01b3
  }
  return String(sign, radix: 16)
}
