// What becomes of the parts of a text that a pattern matched.

/// Where the matched parts go; "a-b" matched by "-" is given for each.
enum SplitBehavior: String, Sendable, CaseIterable {
  /// a, b
  case removed = "Removed"
  /// a, -, b
  case isolated = "Isolated"
  /// a-, b
  case mergedWithPrevious = "MergedWithPrevious"
  /// a, -b
  case mergedWithNext = "MergedWithNext"
  /// Isolated, with matches that follow one another as one.
  case contiguous = "Contiguous"

  /// Gives the parts of a text in order.
  func split(_ matches: [PatternMatch], _ give: (Int, Int) -> Void) {
    switch self {
    case .isolated: for match in matches { give(match.range.lowerBound, match.range.upperBound) }
    case .removed:
      for match in matches where !match.isMatch {
        give(match.range.lowerBound, match.range.upperBound)
      }
    case .contiguous:
      merge(matches, give) { $0 == $1 }
    case .mergedWithPrevious:
      merge(matches, give) { isMatch, wasMatch in isMatch && !wasMatch }
    case .mergedWithNext:
      var parts: [Range<Int>] = []
      var wasMatch = false
      for match in matches.reversed() {
        if match.isMatch && !wasMatch, let last = parts.last {
          parts[parts.count - 1] = match.range.lowerBound..<last.upperBound
        } else {
          parts.append(match.range)
        }
        wasMatch = match.isMatch
      }
      for part in parts.reversed() { give(part.lowerBound, part.upperBound) }
    }
  }

  /// Joins each part with the one before it where `joins` says so.
  private func merge(
    _ matches: [PatternMatch], _ give: (Int, Int) -> Void, _ joins: (Bool, Bool) -> Bool
  ) {
    var part: Range<Int>?
    var wasMatch = false
    for match in matches {
      if let last = part, joins(match.isMatch, wasMatch) {
        part = last.lowerBound..<match.range.upperBound
      } else {
        if let part { give(part.lowerBound, part.upperBound) }
        part = match.range
      }
      wasMatch = match.isMatch
    }
    if let part { give(part.lowerBound, part.upperBound) }
  }
}
