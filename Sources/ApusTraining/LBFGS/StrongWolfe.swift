// How far to go along a direction: a line search for the strong Wolfe conditions.

/// Finds a length at which the loss has come down far enough and its slope is flat enough.
///
/// First it goes further until a stretch is known that holds such a length, then it makes the stretch smaller, each time
/// at the minimum of the cubic through both ends' values and slopes. Sources: Nocedal & Wright, "Numerical Optimization"
/// (2006), algorithms 3.5 and 3.6 and equation 3.59. Its constants, and what it does where a cubic's minimum lies near
/// an end, are those of PyTorch's `strong_wolfe`.
struct StrongWolfe {
  /// What is known at a length.
  private struct Place {
    var length: Double
    var evaluation: Evaluation
    var slope: Double
    var loss: Double
  }
  private static let decrease = 1e-4, flatness = 0.9
  /// Of the stretch, times the direction's greatest element.
  private static let tolerance = 1e-9
  private static let mostTurns = 25

  private let start: Place
  private let direction: [Float]
  private let size: Double

  init(from here: Evaluation, along direction: [Float], slope: Double) {
    start = Place(length: 0, evaluation: here, slope: slope, loss: here.loss)
    self.direction = direction
    size = Double(greatest(direction))
  }

  /// - `length`: where it begins.
  /// - `evaluate`: the loss at a length.
  /// - Returns: the best length; 0 where no other is better.
  mutating func run(
    from length: Double, _ evaluate: (Double) throws -> Evaluation
  ) throws -> (length: Double, evaluation: Evaluation) {
    func place(_ length: Double) throws -> Place {
      let found = try evaluate(length)
      // What is no number is no way down.
      return Place(
        length: length, evaluation: found, slope: dot(found.gradient, direction),
        loss: found.isFinite ? found.loss : .infinity)
    }
    var turns = 0
    var last = start
    var next = try place(length)
    // The ends of a stretch, the lower loss first; one where the search is over.
    var ends: (low: Place, high: Place)?
    while turns < Self.mostTurns {
      if isTooHigh(next) || turns > 1 && next.loss >= last.loss {
        ends = Self.ordered(last, next)
        break
      }
      if isFlat(next) { return (next.length, next.evaluation) }
      if next.slope >= 0 {
        ends = Self.ordered(last, next)
        break
      }
      let further = Self.minimum(
        last, next, next.length + 0.01 * (next.length - last.length), 10 * next.length)
      last = next
      next = try place(further)
      turns += 1
    }
    var (low, high) = ends ?? Self.ordered(start, next)
    var isSlow = false
    while turns < Self.mostTurns, abs(high.length - low.length) * size >= Self.tolerance {
      let (least, most) = (min(low.length, high.length), max(low.length, high.length))
      var length = Self.minimum(low, high, least, most)
      // Near an end the stretch hardly shrinks: once that may be, twice in a row not.
      let margin = 0.1 * (most - least)
      if min(most - length, length - least) < margin {
        if isSlow || length >= most || length <= least {
          length = abs(length - most) < abs(length - least) ? most - margin : least + margin
          isSlow = false
        } else {
          isSlow = true
        }
      } else {
        isSlow = false
      }
      let found = try place(length)
      turns += 1
      if isTooHigh(found) || found.loss >= low.loss {
        high = found
        if high.loss < low.loss { swap(&low, &high) }
      } else {
        if isFlat(found) { return (found.length, found.evaluation) }
        if found.slope * (high.length - low.length) >= 0 { high = low }
        low = found
      }
    }
    return (low.length, low.evaluation)
  }

  private func isTooHigh(_ place: Place) -> Bool {
    place.loss > start.loss + Self.decrease * place.length * start.slope
  }

  private func isFlat(_ place: Place) -> Bool {
    abs(place.slope) <= -Self.flatness * start.slope
  }

  private static func ordered(_ a: Place, _ b: Place) -> (low: Place, high: Place) {
    a.loss <= b.loss ? (a, b) : (b, a)
  }

  /// Where the cubic through both has its minimum, within bounds; their middle where it has none.
  private static func minimum(_ a: Place, _ b: Place, _ least: Double, _ most: Double) -> Double {
    let (a, b) = a.length <= b.length ? (a, b) : (b, a)
    let middle = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.length - b.length)
    let square = middle * middle - a.slope * b.slope
    // Also where an end is no number.
    guard square >= 0, square.isFinite else { return (least + most) / 2 }
    let root = square.squareRoot()
    let place =
      b.length
      - (b.length - a.length) * ((b.slope + root - middle) / (b.slope - a.slope + 2 * root))
    return place.isFinite ? min(max(place, least), most) : (least + most) / 2
  }
}
