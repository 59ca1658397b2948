// Names that a user may have meant.

extension Sequence where Element == String {
  /// The names that look most like another one, the likeliest first: what an error about an unknown name lists.
  ///
  ///     ["conv1", "conv2", "fc"].nearest(to: "conv", most: 2)   // ["conv1", "conv2"]
  ///
  /// - `most`: how many.
  package func nearest(to name: String, most: Int = 6) -> [String] {
    // Only the beginnings are compared: an absurdly long name shall not take long.
    let wanted = Array(name.lowercased().utf8.prefix(200))
    let ranked = enumerated().map { place, candidate in
      let other = Array(candidate.lowercased().utf8.prefix(200))
      return (candidate, distance: editDistance(wanted, other), place: place)
    }
    return ranked.sorted { ($0.distance, $0.place) < ($1.distance, $1.place) }.prefix(most)
      .map(\.0)
  }
}

/// How many bytes must be changed, added or taken away to make one of the other: Levenshtein 1965.
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
  var row = Array(0...b.count)
  for (i, x) in a.enumerated() {
    var corner = row[0]
    row[0] = i + 1
    for (j, y) in b.enumerated() {
      let changed = corner + (x == y ? 0 : 1)
      corner = row[j + 1]
      row[j + 1] = min(changed, row[j] + 1, corner + 1)
    }
  }
  return row[b.count]
}
