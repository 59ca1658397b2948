// What got slower or faster from one run to another, beyond the noise.

import Apus

/// Two runs, case by case.
///
/// A case has changed where the middle halves of its timings in the two runs do not overlap and the
/// medians are more than 3 % apart: both the spread within a run and what is too small to care about are
/// noise.
package struct BenchmarkComparison: Sendable {
  enum Verdict: String, Sendable { case slower, faster, same }

  struct Entry: Sendable {
    var old, new: RecordedTiming
    var verdict: Verdict

    /// The new time over the old.
    var ratio: Double { new.median / old.median }
  }

  /// Changes below that are not told.
  static let least = 0.03

  /// Cases of both runs, in the order of the new.
  let entries: [Entry]
  let oldName: String
  /// Cases of one run only.
  let missing, added: [String]

  package init(old: BenchmarkFile, new: BenchmarkFile) {
    let before = Dictionary(old.timings.map { ($0.key, $0) }, uniquingKeysWith: { $1 })
    let after = Set(new.timings.map(\.key))
    entries = new.timings.compactMap { timing in
      before[timing.key].map {
        Entry(old: $0, new: timing, verdict: Self.verdict(old: $0, new: timing))
      }
    }
    missing = old.timings.map(\.key).filter { !after.contains($0) }
    added = new.timings.map(\.key).filter { before[$0] == nil }
    oldName = old.name
  }

  static func verdict(old: RecordedTiming, new: RecordedTiming) -> Verdict {
    if new.lowerQuartile > old.upperQuartile, new.median > old.median * (1 + least) {
      return .slower
    }
    if new.upperQuartile < old.lowerQuartile, new.median < old.median / (1 + least) {
      return .faster
    }
    return .same
  }

  /// Whether any case got slower.
  package var hasSlower: Bool { entries.contains { $0.verdict == .slower } }

  /// For people: what changed, the worst first, then one line about the rest.
  package func text(colour: Bool) -> [String] {
    let changed = entries.filter { $0.verdict != .same }.sorted { $0.ratio > $1.ratio }
    var lines = ["compared with \(oldName):"]
    if !changed.isEmpty {
      let table = Table(
        [
          ("case", changed.map(\.new.key.count).max() ?? 0), ("old ms", 7), ("new ms", 7),
          ("change", 7), ("", 6),
        ], colour: colour)
      lines.append(table.header)
      lines += changed.map { entry in
        let change = 100 * (entry.ratio - 1)
        return table.line([
          Cell(entry.new.key), Cell(significant(entry.old.median)),
          Cell(significant(entry.new.median)),
          Cell("\(change > 0 ? "+" : "")\(decimals(change, 1)) %"),
          Cell(entry.verdict.rawValue, entry.verdict == .slower ? .poor : .good),
        ])
      }
    }
    func count(_ verdict: Verdict) -> Int { entries.count { $0.verdict == verdict } }
    lines.append(
      "\(count(.slower)) slower, \(count(.faster)) faster, \(count(.same)) the same within the noise"
    )
    lines += missing.map { "not run now: \($0)" }
    lines += added.map { "not in \(oldName): \($0)" }
    return lines
  }

  /// For programs: one line for each case.
  package var lines: [JSON] {
    entries.map { entry in
      .object([
        ("bench", "compare"), ("case", .string(entry.new.key)),
        ("verdict", .string(entry.verdict.rawValue)),
        ("old_ms", .number(entry.old.median)), ("new_ms", .number(entry.new.median)),
        ("ratio", .number(rounded(entry.ratio))),
      ])
    }
      + missing.map { absent($0, "not run") } + added.map { absent($0, "new") }
  }

  private func absent(_ key: String, _ verdict: String) -> JSON {
    .object([("bench", "compare"), ("case", .string(key)), ("verdict", .string(verdict))])
  }
}
