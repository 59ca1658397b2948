// Batches that several threads make, each its part: the same bytes, the error of the first example, and only sets that
// run no code of a user's.

import ApusGraph
import Foundation
import Synchronization
import Testing

@testable import ApusData

@Suite struct BatchThreadsTests {
  /// Threads that work one after the other, the last part first.
  private func backwards(_ count: Int) -> BatchThreads {
    BatchThreads(count: count) { body in for part in (0..<count).reversed() { body(part) } }
  }

  private func atOnce(_ count: Int) -> BatchThreads {
    BatchThreads(count: count) { body in
      withoutActuallyEscaping(body) { body in
        nonisolated(unsafe) let body = body
        DispatchQueue.concurrentPerform(iterations: count) { body($0) }
      }
    }
  }

  private func images(_ count: Int) throws -> LabeledImages {
    try LabeledImages(
      pixels: NDArray(
        (0..<count * 20 * 30).map { UInt8(truncatingIfNeeded: $0 &* 31) }, shape: [count, 20, 30]),
      labels: NDArray((0..<count).map { Int32($0 % 7) }, shape: [count]), classCount: 7)
  }

  private func all(_ batches: any BatchSource, _ threads: BatchThreads?) throws -> [[NDArray]] {
    let iterator = try BatchThreads.$current.withValue(threads) {
      try batches.makeIterator(epoch: 2)
    }
    var result: [[NDArray]] = []
    while let batch = try iterator.next() { result.append(batch.arrays) }
    return result
  }

  @Test(arguments: [2, 3, 7]) func partsMakeTheSameBytes(count: Int) throws {
    let images = try images(150)
    let sets: [any Dataset] = [
      images, try images.subset(3..<140), try images.selecting([5, 5, 149, 0] + Array(20..<90)),
      try images.transformed([.randomCrop(20, 30, padding: 3), .randomHorizontalFlip()]),
      try ArrayDataset(["x": NDArray((0..<150 * 500).map { Float($0) }, shape: [150, 500])]),
    ]
    for set in sets {
      #expect(set.isComputedSet)
      let batches = try set.batched(64, shuffle: 9)
      let wanted = try all(batches, nil)
      #expect(try all(batches, backwards(count)) == wanted, "\(set.identity)")
      #expect(try all(batches, atOnce(count)) == wanted, "\(set.identity)")
    }
    let mixed = try images.batched(64, shuffle: 9).mixing([.mixup(alpha: 0.4)], classes: 7)
    #expect(try all(mixed, atOnce(count)) == all(mixed, nil))
  }

  /// Counts the calls that it gets, and fails at some examples.
  private final class Watched: ComputedDataset {
    let count = 100
    let fields = [ExampleField("x", .f32(1024))]
    let isComputed: Bool
    let failsAt: Set<Int>
    let calls = Mutex<[Int]>([])

    init(isComputed: Bool, failsAt: Set<Int> = []) {
      self.isComputed = isComputed
      self.failsAt = failsAt
    }

    func fill(_ targets: [UnsafeMutableRawBufferPointer], with examples: ArraySlice<Int>) throws {
      calls.withLock { $0.append(examples.count) }
      for example in examples where failsAt.contains(example) {
        throw ApusError(.io, "example \(example) cannot be read", at: "disk")
      }
      for target in targets { target.initializeMemory(as: UInt8.self, repeating: 0) }
    }
  }

  @Test func aUsersSetIsFilledInOneCall() throws {
    let own = Watched(isComputed: false)
    _ = try all(own.batched(50, shuffle: nil, prefetch: 0), backwards(4))
    #expect(own.calls.withLock { $0 } == [50, 50])
    let computed = Watched(isComputed: true)
    _ = try all(computed.batched(50, shuffle: nil), backwards(4))
    #expect(computed.calls.withLock { $0.sorted() } == [12, 12, 12, 12, 13, 13, 13, 13])
    let mapped = try Watched(isComputed: true).map("as it is") { example, _ in example }
    let inverted = try images(9).transformed([ImageTransform("invert") { _, _ in }])
    #expect(!mapped.isComputedSet && !inverted.isComputedSet)
  }

  @Test func theFirstExamplesErrorIsThrown_whoeverFindsItFirst() throws {
    let set = Watched(isComputed: true, failsAt: [31, 77])
    let error = error { _ = try all(set.batched(100, shuffle: nil), backwards(4)) }
    #expect(error?.what.contains("example 31 ") == true)
  }

  @Test func smallBatchesAreMadeByOne() throws {
    let set = Watched(isComputed: true)
    _ = try all(set.batched(3, shuffle: nil), backwards(4))
    #expect(set.calls.withLock { $0.allSatisfy { $0 <= 3 } && $0.count == 34 })
  }

  @Test func whoSaysHowManyArePreparedAhead_getsAThread() throws {
    let batches = try images(40).batched(8, prefetch: 2)
    #expect(!batches.isMadeBetweenSteps)
    #expect(try !images(40).batched(8, prefetch: 0).isMadeBetweenSteps)
    #expect(try images(40).batched(8).isMadeBetweenSteps)
    let iterator = try BatchThreads.$current.withValue(backwards(2)) {
      try batches.makeIterator(epoch: 0)
    }
    #expect(iterator is PrefetchingIterator)
  }
}
