// What is said of many timings of one thing: the median, and how far the middle half is spread.

/// Seconds of one repetition, over blocks of repetitions.
///
///     let timing = Timing(samples: [0.9, 1.0, 1.3], repetitions: 30)
///     timing.median           // 1.0
package struct Timing: Sendable, Hashable {
  package var median: Double
  /// A quarter of the blocks was faster.
  package var lowerQuartile: Double
  /// A quarter of the blocks was slower.
  package var upperQuartile: Double
  package var minimum: Double
  package var repetitions: Int

  /// - `samples`: seconds of a repetition, the mean of each block; at least one.
  /// - `repetitions`: of all blocks together.
  package init(samples: [Double], repetitions: Int) {
    precondition(!samples.isEmpty, "a timing of nothing")
    let sorted = samples.sorted()
    median = quantile(0.5, of: sorted)
    lowerQuartile = quantile(0.25, of: sorted)
    upperQuartile = quantile(0.75, of: sorted)
    minimum = sorted[0]
    self.repetitions = repetitions
  }
}

/// The value below which the fraction `q` of the values lies, in a straight line between neighbours
/// (Hyndman and Fan 1996, "Sample Quantiles in Statistical Packages", definition 7: NumPy's default).
///
/// - `sorted`: ascending, at least one.
func quantile(_ q: Double, of sorted: [Double]) -> Double {
  let place = q * Double(sorted.count - 1)
  let below = Int(place)
  guard below + 1 < sorted.count else { return sorted[sorted.count - 1] }
  return sorted[below] + (place - Double(below)) * (sorted[below + 1] - sorted[below])
}
