// How many threads of a team work while other processes want the processors.
//
// A member whose processor serves another process is waited for at every barrier, and who waits sleeps and
// gives the rest of his slice away: a team may then get less of the machine than fewer threads would, the
// less the more members it has. So the time of runs is watched where members sleep, smaller
// teams are tried, and the best is kept for a while. Bits do not depend on it.

/// The choice, from what runs take. A value without a clock of its own, so that tests can tell it any story.
struct TeamSize: Sendable {
  /// What a run took.
  struct Run: Sendable {
    /// What the plan predicts for it: the unit in which runs of several plans are compared.
    var work: Double
    /// When it began and ended, in seconds.
    var start: Double
    var end: Double
    /// Seconds that the caller slept at barriers.
    var slept: Double
  }

  /// All the threads there are.
  let most: Int
  /// How many work in the next run.
  private(set) var members: Int

  private var phase = Phase.calm(until: 0)
  private var window: Window?
  /// Seconds for which the latest choice is kept, doubled each time it is made again.
  private var hold = 0.0
  private var latestChoice: Int

  private enum Phase {
    /// All work, and nobody watches; that members sleep means nothing before that time.
    case calm(until: Double)
    /// All work, and are watched.
    case watching
    /// A size is tried; the best so far and what it did.
    case trying(best: Int, rate: Double, isGrowing: Bool)
    /// Fewer work.
    case settled(since: Double)
  }

  /// Runs one after the other. What lies between two counts as well: there, too, the scheduler may give the
  /// processor to another process.
  private struct Window {
    var start = 0.0
    var end = 0.0
    var work = 0.0
    var slept = 0.0
    /// Seconds of the caller on a processor, when the window began.
    var processor = 0.0
    var seconds: Double { end - start }
    var rate: Double { work / max(seconds, 1e-9) }
  }

  /// Some ten slices of a scheduler: what a window sees is then its share, not a slice.
  private static let windowSeconds = 0.2
  /// Seconds between two runs after which something else was done: they belong to no window.
  private static let longestPause = 0.1
  /// The part of its time that a caller sleeps where the team is not at fault.
  private static let usualSleep = 0.15
  /// A size is better where it does so much more.
  private static let gain = 1.05
  private static let leastHold = 1.0, mostHold = 8.0

  init(most: Int) {
    self.most = most
    members = most
    latestChoice = most
  }

  /// Whether runs are to be timed.
  var isMeasuring: Bool {
    if case .calm = phase { false } else { true }
  }

  /// Notes that a caller has slept at a barrier in a run that was not timed.
  mutating func noteSleep(at now: Double) {
    guard most > 1, case .calm(let until) = phase, now >= until else { return }
    phase = .watching
    window = nil
  }

  /// Notes a run that was timed and has just ended.
  ///
  /// - `processor`: tells the seconds that the caller has had on a processor, by a call of the system that is
  ///   made once a window: a scheduler may take it for an offer to switch.
  mutating func note(_ run: Run, processor: () -> Double) {
    if window.map({ run.start - $0.end > Self.longestPause }) ?? true {
      window = Window(start: run.start, end: run.start, processor: processor())
    }
    window!.end = run.end
    window!.work += run.work
    window!.slept += run.slept
    guard let seen = window, seen.seconds >= Self.windowSeconds || isHopeless(seen) else { return }
    window = nil
    let now = run.end
    switch phase {
    case .calm: break
    case .watching:
      if seen.slept < Self.usualSleep * seen.seconds {
        phase = .calm(until: now)
      } else {
        attempt(beyond: most, rate: seen.rate, isGrowing: false, at: now)
      }
    case .trying(let best, let rate, let isGrowing):
      if seen.rate > Self.gain * rate {
        attempt(beyond: members, rate: seen.rate, isGrowing: isGrowing, at: now)
      } else {
        settle(best, at: now)
      }
    case .settled(let since):
      // Where the caller has a processor to itself again, the others may have theirs.
      let isQuiet = processor() - seen.processor > 0.98 * seen.seconds
      if now - since >= (isQuiet ? hold / 4 : hold) {
        attempt(beyond: members, rate: seen.rate, isGrowing: true, at: now)
      } else if members > 1, seen.slept > Self.usualSleep * seen.seconds,
        now - since >= Self.leastHold
      {
        attempt(beyond: members, rate: seen.rate, isGrowing: false, at: now)
      }
    }
  }

  /// Whether a size that is tried does so much worse that a part of its window shows it.
  private func isHopeless(_ window: Window) -> Bool {
    guard case .trying(_, let rate, _) = phase else { return false }
    return window.seconds >= Self.windowSeconds / 2 && window.rate < 0.6 * rate
  }

  /// Tries the size after `size`, which does `rate`, or stays with that where there is none.
  private mutating func attempt(
    beyond size: Int, rate: Double, isGrowing: Bool, at now: Double
  ) {
    let next = isGrowing ? min(2 * size, most) : size / 2
    guard next != size, next >= 1 else {
      settle(size, at: now)
      return
    }
    members = next
    phase = .trying(best: size, rate: rate, isGrowing: isGrowing)
  }

  private mutating func settle(_ size: Int, at now: Double) {
    hold = size == latestChoice ? min(max(2 * hold, Self.leastHold), Self.mostHold) : Self.leastHold
    latestChoice = size
    members = size
    phase = size == most ? .calm(until: now + hold) : .settled(since: now)
  }
}
