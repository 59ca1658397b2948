// A run ends before a step whose condition does not hold, on every member and every time.

import CKernels
import Testing

@Suite struct TeamConditionTests {
  private static let count: ck_kernel = { args, thread in
    let base = UnsafeMutablePointer(mutating: args!.assumingMemoryBound(to: Int64.self))
    base[Int(thread!.pointee.index)] += 1
  }

  /// How often each of `threads` members ran the step behind the condition, and the one before.
  private static func runs(
    _ value: Float, error: Int64, threads: Int, profiled: Bool, rounds: Int = 50
  ) throws -> (before: [Int64], after: [Int64]) {
    let team = try #require(ck_team_create(Int32(threads), 0))
    defer { ck_team_destroy(team) }
    let cells = UnsafeMutablePointer<Int64>.allocate(capacity: 2 * threads)
    cells.initialize(repeating: 0, count: 2 * threads)
    defer { cells.deallocate() }
    var value = value
    var slot: (Int64, Int64) = (error, 0)
    withUnsafePointer(to: &value) { value in
      withUnsafePointer(to: &slot) { slot in
        var values: UnsafePointer<Float>? = value
        var errors: UnsafePointer<Int64>? = UnsafeRawPointer(slot)
          .assumingMemoryBound(to: Int64.self)
        withUnsafePointer(to: &values) { values in
          withUnsafePointer(to: &errors) { errors in
            var condition = ck_condition(
              values: values, value_count: 1, errors: errors, error_count: 1)
            withUnsafePointer(to: &condition) { condition in
              let steps = [
                ck_step(kernel: count, args: cells, threads: 0, barrier: 1, condition: nil),
                ck_step(
                  kernel: count, args: cells + threads, threads: 0, barrier: 1,
                  condition: condition),
                ck_step(
                  kernel: count, args: cells + threads, threads: 0, barrier: 1, condition: nil),
              ]
              var nanoseconds = [Int64](repeating: 0, count: 3)
              for _ in 0..<rounds {
                if profiled {
                  ck_run_profiled(team, steps, steps.count, &nanoseconds)
                } else {
                  ck_run(team, steps, steps.count)
                }
              }
            }
          }
        }
      }
    }
    return (
      (0..<threads).map { cells[$0] }, (threads..<2 * threads).map { cells[$0] }
    )
  }

  @Test(arguments: [1, 2, 7], [false, true])
  func aRunEndsWhereItsConditionDoesNotHold(threads: Int, profiled: Bool) throws {
    for (value, error, holds) in [
      (1, -1, true), (-3e38, -1, true), (0, -1, true), (.leastNonzeroMagnitude, -1, true),
      (.nan, -1, false),
      (.infinity, -1, false), (-.infinity, -1, false), (1, 0, false), (.nan, 5, false),
    ] as [(Float, Int64, Bool)] {
      let (before, after) = try Self.runs(value, error: error, threads: threads, profiled: profiled)
      #expect(before == [Int64](repeating: 50, count: threads))
      #expect(after == [Int64](repeating: holds ? 100 : 0, count: threads), "\(value) \(error)")
    }
  }
}
