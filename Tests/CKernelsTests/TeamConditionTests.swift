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
    _ value: Float, error: Int64, threads: Int, profiled: Bool, rounds: Int = 50,
    group: UnsafePointer<ck_group>? = nil
  ) throws -> (before: [Int64], after: [Int64]) {
    let team = try #require(ck_team_create(Int32(threads), 0))
    defer { ck_team_destroy(team) }
    let cells = UnsafeMutablePointer<Int64>.allocate(capacity: 2 * threads)
    cells.initialize(repeating: 0, count: 2 * threads)
    defer { cells.deallocate() }
    var value = value
    var slot: (Int64, Int64) = (error, 0)
    let agreed = UnsafeMutablePointer<Bool>.allocate(capacity: 1)
    agreed.initialize(to: false)
    defer { agreed.deallocate() }
    withUnsafePointer(to: &value) { value in
      withUnsafePointer(to: &slot) { slot in
        var values: UnsafePointer<Float>? = value
        var errors: UnsafePointer<Int64>? = UnsafeRawPointer(slot)
          .assumingMemoryBound(to: Int64.self)
        withUnsafePointer(to: &values) { values in
          withUnsafePointer(to: &errors) { errors in
            var condition = ck_condition(
              values: values, value_count: 1, errors: errors, error_count: 1, group: group,
              agreed: agreed)
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

  /// What other processes say, and what they have been told.
  private struct Others {
    var hold: Bool
    var asked: Int = 0
    var holdsHere = false
  }

  @Test(arguments: [1, 2, 7], [false, true])
  func otherProcessesHaveASay(threads: Int, profiled: Bool) throws {
    for (value, others) in [(1, true), (1, false), (.nan, true)] as [(Float, Bool)] {
      var state = Others(hold: others)
      try withUnsafeMutablePointer(to: &state) { state in
        var group = ck_group(
          context: state, post: nil, wait: nil,
          agree: { context, holds in
            let others = context!.assumingMemoryBound(to: Others.self)
            others.pointee.asked += 1
            others.pointee.holdsHere = holds
            return holds && others.pointee.hold
          })
        let (before, after) = try withUnsafePointer(to: &group) {
          try Self.runs(value, error: -1, threads: threads, profiled: profiled, group: $0)
        }
        let holds = value == 1
        #expect(before == [Int64](repeating: 50, count: threads))
        #expect(after == [Int64](repeating: holds && others ? 100 : 0, count: threads))
        #expect(state.pointee.asked == 50, "one member asks, once a run")
        #expect(state.pointee.holdsHere == holds)
      }
    }
  }
}
