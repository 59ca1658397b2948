// Timing in turns. The clock of a processor drifts by a fifth within minutes and other processes come
// and go, so sides are compared only within one run: short blocks of each, alternating, medians.

import Apus

/// Something that can be repeated: a kernel, a training step, the same in another framework.
protocol Side: AnyObject {
  var name: String { get }
  /// Repeats `count` times, after a few repetitions that do not count. Returns the seconds that took.
  func run(_ count: Int) throws -> Double
}

/// A body of ours that is repeated.
final class OwnSide: Side {
  let name: String
  private let body: () throws -> Void

  init(_ name: String, _ body: @escaping () throws -> Void) {
    self.name = name
    self.body = body
  }

  func run(_ count: Int) throws -> Double {
    for _ in 0..<untimed(before: count) { try body() }
    return try seconds { for _ in 0..<count { try body() } }
  }
}

/// How long a closure takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  let clock = ContinuousClock()
  return try clock.measure(body) / .seconds(1)
}

/// The fewest blocks that a median is taken of.
let fewestBlocks = 20

/// How long a side runs before its block where others ran meanwhile. After a pause the system may wake
/// a whole team on one processor and spread it only 10 ms later; and the threads of some runtimes
/// (libgomp, which PyTorch has) spin for milliseconds after their last work, on processors that the next
/// side needs.
private let warmUpSeconds = 0.02

/// Repetitions of a side before its block, besides those that it begins with by itself.
///
/// - `length`: of the block.
func warmUp(before length: (count: Int, seconds: Double)) -> Int {
  let one = length.seconds / Double(length.count)
  // A step of a second is not taken twice for the sake of 20 ms.
  if Double(untimed(before: length.count)) * one >= warmUpSeconds { return 0 }
  return Int((warmUpSeconds / one).rounded(.up))
}

/// What each side repeats before it looks at the clock.
func untimed(before count: Int) -> Int { max(1, count / 10) }

/// Times all sides in turns, each for about `seconds` and in at least 20 blocks of repetitions.
///
/// - `willTake`: told once how many seconds that will be, roughly.
func timeInTurns(
  _ sides: [any Side], seconds: Double, willTake: (Double) -> Void = { _ in }
) throws -> [Timing] {
  let lengths = try sides.map { try blockLength($0, seconds: min(0.1, seconds / 25)) }
  let counts = lengths.map(\.count)
  let warmUps = lengths.map { sides.count > 1 ? warmUp(before: $0) : 0 }
  let rounds = lengths.map { max(Double(fewestBlocks), seconds / $0.seconds) }.max() ?? 0
  willTake(
    zip(lengths, warmUps).reduce(0) { sum, side in
      let (length, warmUp) = side
      let repetitions = Double(length.count + untimed(before: length.count) + warmUp)
      return sum + rounds * repetitions * length.seconds / Double(length.count)
    })
  var blocks = [[Double]](repeating: [], count: sides.count)
  var spent = [Double](repeating: 0, count: sides.count)
  var round = 0
  while sides.indices.contains(where: {
    spent[$0] < seconds || blocks[$0].count < fewestBlocks
  }) {
    for turn in sides.indices {
      let index = (turn + round) % sides.count  // no side always follows the same one
      if warmUps[index] > 0 { _ = try sides[index].run(warmUps[index]) }
      let time = try sides[index].run(counts[index])
      blocks[index].append(time / Double(counts[index]))
      spent[index] += time
    }
    round += 1
  }
  return sides.indices.map { index in
    Timing(samples: blocks[index], repetitions: blocks[index].count * counts[index])
  }
}

/// Repetitions that take about `seconds`, found by doubling, and what they took; this is the warm-up too.
private func blockLength(
  _ side: any Side, seconds: Double
) throws -> (count: Int, seconds: Double) {
  var count = 1
  while true {
    let time = try side.run(count)
    if time >= seconds || count >= 1 << 24 { return (count, max(time, 1e-9)) }
    count = time < seconds / 8 ? count * 4 : max(count + 1, Int(Double(count) * seconds / time))
  }
}
