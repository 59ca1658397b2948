// How often checkpoints are written, as the command line says it.

import Apus
import ArgumentParser

/// `100`: steps. `90s`, `5m`, `2h`: a time.
struct CheckpointPeriod: ExpressibleByArgument {
  let interval: Checkpointing.Interval

  static let standard = Checkpointing.Interval.time(.seconds(600))

  /// Nil for anything that is neither, and for numbers of no use: 0, or more than a billion.
  init?(argument: String) {
    let digits = argument.prefix { $0.isASCII && $0.isNumber }
    guard let count = Int(digits), (1...1_000_000_000).contains(count) else { return nil }
    switch argument.dropFirst(digits.count) {
    case "": interval = .steps(count)
    case "s": interval = .time(.seconds(count))
    case "m": interval = .time(.seconds(60 * count))
    case "h": interval = .time(.seconds(3600 * count))
    default: return nil
    }
  }
}
