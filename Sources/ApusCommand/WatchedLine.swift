// A line of progress on standard error.

import Apus
import Foundation

/// Tells what has been done while somebody watches: written over itself, five times a second at most.
struct WatchedLine {
  private let start = ContinuousClock.now
  private var shown = ContinuousClock.now
  private let isWatched = isatty(STDERR_FILENO) == 1

  /// - `text`: of the seconds that have passed.
  mutating func show(isLast: Bool, _ text: (_ seconds: Double) -> String) {
    let now = ContinuousClock.now
    guard isWatched, isLast || now - shown > .milliseconds(200) else { return }
    shown = now
    let seconds = max((now - start) / .seconds(1), 1e-9)
    _ = StandardError.write("\r" + text(seconds) + (isLast ? "\n" : ""))
  }
}
