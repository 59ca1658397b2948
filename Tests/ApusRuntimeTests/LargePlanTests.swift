// What plans of many steps are made with, against the plain way to do the same.

import ApusGraph
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct LargePlanTests {
  @Test(arguments: [1, 40, 400])
  func buffersByTheThousandNeverOverlap(longest: Int) {
    var generator = SplitMix("many intervals \(longest)")
    let intervals = (0..<5000).map { _ in
      let first = Int.random(in: 0..<3000, using: &generator)
      return Interval(
        bytes: Int.random(in: 0...20, using: &generator) * 100, first: first,
        last: first + Int.random(in: 0...longest, using: &generator))
    }
    let packing = ArenaPacking(intervals)
    #expect(packing.total >= ArenaPacking.lowerBound(intervals))
    #expect(packing.total <= 2 * ArenaPacking.lowerBound(intervals))
    let order = intervals.indices.sorted { intervals[$0].first < intervals[$1].first }
    var alive: [Int] = []
    var overlapping = 0
    for index in order {
      alive.removeAll { intervals[$0].last < intervals[index].first }
      let bytes = packing.offsets[index]..<packing.offsets[index] + intervals[index].bytes
      #expect(bytes.lowerBound % ArenaPacking.alignment == 0 && bytes.upperBound <= packing.total)
      for other in alive {
        let start = packing.offsets[other]
        if (start..<start + intervals[other].bytes).overlaps(bytes) { overlapping += 1 }
      }
      alive.append(index)
    }
    #expect(overlapping == 0)
  }

  @Test func buffersThatComeAndGoInTurnNeedNoMoreThanTheBound() {
    // Forward values that wait for the way back, as training keeps them.
    let intervals = (0..<6000).map { Interval(bytes: 256, first: $0, last: 12_000 - $0) }
    #expect(ArenaPacking(intervals).total == 6000 * 256)
  }

  @Test(arguments: 0..<20)
  func aConflictIsTheOneThatLookingAtEveryTouchFinds(seed: Int) {
    var generator = SplitMix("touches \(seed)")
    var pending = PendingTouches()
    var all: [(touch: Touch, step: Int)] = []
    var found = 0
    for step in 0..<150 {
      let touches = (0..<2).map { _ in touch(&generator) }
      let expected = touches.lazy.compactMap { touch in
        all.first { touch.conflicts(with: $0.touch) }.map { (touch, $0) }
      }.first
      let actual = pending.conflict(touches)
      #expect(actual?.step == expected?.1.step && actual?.touch.name == expected?.0.name)
      #expect(actual?.wasWritten == expected?.1.touch.isWrite)
      found += actual == nil ? 0 : 1
      // Some touches are left out, so that not every step collides.
      if step % 3 == 0 {
        pending.add(touches, step: step)
        all += touches.map { ($0, step) }
      }
    }
    #expect(found > 0)
  }

  private func touch(_ generator: inout SplitMix) -> Touch {
    let start = Int.random(in: 0..<4000, using: &generator)
    let count = 1 << Int.random(in: 0...9, using: &generator)
    let bytes = start..<start + count
    let members: Touch.Members
    switch Int.random(in: 0..<8, using: &generator) {
    case 0: members = .anyone
    case 1, 2:
      let half = start + count / 2
      members = .each([Region(start..<half), Region(half..<start + count)])
    case let other: members = .one(other % 2)
    }
    return Touch(
      space: Bool.random(using: &generator) ? .arena : .state(1), bytes: bytes,
      isWrite: Int.random(in: 0..<3, using: &generator) == 0, members: members,
      name: "\(generator.next())")
  }
}
