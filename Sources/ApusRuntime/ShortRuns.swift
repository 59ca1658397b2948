// How many of a team's threads run a short plan, by what its runs take.
//
// What one thread has written another reads in lines that move between their processors, at 110, 70 or 25 GB/s on
// virtual machines of one kind: whoever places the processors moves them from one second to the next, nearer to
// each other and apart again. A short run does little else, so that what a prediction says of it holds for a while
// at best. Its runs are therefore timed now and then, on fewer threads and on more. Bits do not depend on it.

import Synchronization

/// The choice for one plan, from what its runs take. A value without a clock, so that tests can tell it any story.
struct ShortRuns: Sendable {
  /// All the threads there are.
  let most: Int
  /// How many take the next run.
  private(set) var members: Int

  private var phase = Phase.keeping(runs: firstLook)
  /// Seconds for which the latest choice is kept, doubled each time it is made again.
  private var hold = leastHold

  private enum Phase {
    /// So many runs until sizes are compared.
    case keeping(runs: Int)
    case comparing(Comparison)
  }

  /// A size after the other; the first is the one that was kept.
  private struct Comparison {
    var sizes: [Int]
    /// Seconds of a run, of each size that has had its turn.
    var medians: [Double] = []
    /// Of the size whose turn it is.
    var runs = 0
    var seconds: [Double] = []
  }

  /// Plans that are predicted to take longer are not timed: a team's threads then do more than wait for lines.
  static let longestNanoseconds = 1e6
  private static let firstLook = 32
  /// Runs until threads are awake, and arrays in the caches of those that now work on them.
  private static let warmUps = 5
  private static let timedRuns = 9
  /// A size is better where its runs take so much less.
  private static let gain = 0.97
  private static let leastHold = 0.25, mostHold = 4.0

  init(most: Int) {
    self.most = most
    members = most
  }

  /// Counts the run that comes next, and tells whether it is to be timed.
  mutating func isNextTimed() -> Bool {
    guard case .keeping(let runs) = phase else { return true }
    guard runs == 0 else {
      phase = .keeping(runs: runs - 1)
      return false
    }
    let others = [members / 2, min(2 * members, most)].filter { $0 >= 1 && $0 != members }
    phase = .comparing(Comparison(sizes: [members] + others))
    return true
  }

  /// Notes what a run took that was to be timed.
  mutating func note(seconds: Double) {
    guard case .comparing(var comparison) = phase else { return }
    comparison.runs += 1
    if comparison.runs > Self.warmUps { comparison.seconds.append(seconds) }
    if comparison.seconds.count == Self.timedRuns {
      comparison.medians.append(comparison.seconds.sorted()[Self.timedRuns / 2])
      comparison.seconds = []
      comparison.runs = 0
      guard comparison.medians.count < comparison.sizes.count else {
        choose(comparison)
        return
      }
      members = comparison.sizes[comparison.medians.count]
    }
    phase = .comparing(comparison)
  }

  private mutating func choose(_ comparison: Comparison) {
    let medians = comparison.medians
    var best = 0
    for place in medians.indices.dropFirst() where medians[place] < Self.gain * medians[best] {
      best = place
    }
    members = comparison.sizes[best]
    hold = best == 0 ? min(2 * hold, Self.mostHold) : Self.leastHold
    phase = .keeping(runs: Int(min(hold / max(medians[best], 1e-7), 1e8)))
  }
}

/// The choice for a plan that is run by several tasks.
final class ShortRunChoice: Sendable {
  let runs: Mutex<ShortRuns>

  init(most: Int) { runs = Mutex(ShortRuns(most: most)) }
}
