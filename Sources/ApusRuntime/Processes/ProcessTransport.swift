// What carries bytes between the processes of a group.

import CKernels

/// The carrier of a ``ProcessGroup``: MPI, or in tests memory that threads share.
///
/// All processes of a group make the same calls in the same order; each returns what the same call of the others
/// gave. Calls of one process follow each other, whichever thread makes them. None throws: who cannot go on ends
/// the process and with it the group.
package protocol ProcessTransport: AnyObject, Sendable {
  /// From 0 on.
  var rank: Int { get }
  var size: Int { get }
  /// Begins to add up the arrays that all post under a number, in place, element by element in the order of ranks.
  /// What is begun goes on in every later call.
  func post(_ number: Int, _ values: UnsafeMutablePointer<Float>, _ count: Int)
  /// Returns when the array posted under that number is the sum.
  func wait(_ number: Int)
  /// Tells all processes a word of each, by rank.
  func exchange(_ word: UInt64) -> [UInt64]
  /// Tells all processes the bytes of each, by rank.
  func gather(_ bytes: [UInt8]) -> [[UInt8]]
  /// Ends all processes of the group, this one among them, with an exit code.
  func abort(_ code: Int32) -> Never
}

/// `sum[i] = parts[0][i] + parts[1][i] + …`, added up in that order; `sum` may be one of the parts.
package func addInOrder(
  _ parts: [UnsafePointer<Float>?], into sum: UnsafeMutablePointer<Float>, count: Int
) {
  ck_allreduce_sum(sum, parts, Int64(parts.count), Int64(count))
}
