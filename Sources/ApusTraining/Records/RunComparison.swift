// Several runs side by side: what they were given, what came of each.

import ApusData
import ApusGraph

/// Runs beside each other, as `apus compare` shows them.
package struct RunComparison {
  private let runs: [(name: String, history: RunHistory)]

  /// - `runs`: each with what it is called; names that stand twice get a number.
  package init(_ runs: [(name: String, history: RunHistory)]) {
    var counts: [String: Int] = [:]
    self.runs = runs.map { name, history in
      let count = counts[name, default: 0] + 1
      counts[name] = count
      return (count == 1 ? name : "\(name) (\(count))", history)
    }
  }

  package var names: [String] { runs.map(\.name) }

  /// The same runs with some of their curves alone.
  ///
  /// - `tags`: of the curves, as "loss/validation".
  /// - Throws: `missing` for a tag that no run has, with those that look like it.
  package func keeping(_ tags: [String]) throws -> RunComparison {
    let known = runs.flatMap { $0.history.curves.map(\.tag) }
    for tag in tags where !known.contains(tag) {
      let near = Set(known).sorted().nearest(to: tag).joined(separator: ", ")
      throw ApusError(
        .missing, "no run has a curve '\(tag)'", at: names.joined(separator: ", "),
        expected: near.isEmpty ? "a run with curves" : "one of the runs' curves: \(near)")
    }
    return RunComparison(
      runs.map { name, history in
        let curves = history.curves.filter { tags.contains($0.tag) }
        return (name, RunHistory(curves, hyperparameters: history.hyperparameters))
      })
  }

  /// Settings in which the runs differ, by name; nil where a run has none of that name.
  package var differences: [(setting: String, values: [String?])] {
    Set(runs.flatMap { $0.history.hyperparameters.keys }).sorted().compactMap { name in
      let values = runs.map { $0.history.hyperparameters[name]?.description }
      return Set(values).count > 1 ? (name, values) : nil
    }
  }

  /// A number of each run: what a curve ends with, and its extremes.
  package struct Figure {
    package var tag: String
    /// Nil where a run does not have the curve.
    package var last, least, greatest: [RunHistory.Curve.Point?]
  }

  /// The figures of all curves but those of single steps, in the order of the first run that has them.
  package var figures: [Figure] {
    var tags: [String] = []
    for curve in runs.flatMap(\.history.curves)
    where !curve.tag.hasSuffix("/step") && curve.tag != "epoch" && !tags.contains(curve.tag) {
      tags.append(curve.tag)
    }
    return tags.map { tag in
      let curves = runs.map { $0.history.curves.first { $0.tag == tag } }
      return Figure(
        tag: tag, last: curves.map { $0?.last }, least: curves.map { $0?.least },
        greatest: curves.map { $0?.greatest })
    }
  }

  /// The lines of a table for people: the settings that differ, then the figures.
  package var lines: [String] {
    func number(_ point: RunHistory.Curve.Point?) -> String {
      point.map { compact($0.value, digits: 5) } ?? "-"
    }
    var rows = [[""] + names]
    for (setting, values) in differences { rows.append([setting] + values.map { $0 ?? "-" }) }
    for figure in figures {
      rows.append([figure.tag] + figure.last.map(number))
      rows.append(["  least"] + figure.least.map(number))
      rows.append(["  greatest"] + figure.greatest.map(number))
    }
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { cells in
      let padded = zip(cells, widths).enumerated().map { column, item -> String in
        let space = String(repeating: " ", count: item.1 - item.0.count)
        return column == 0 ? item.0 + space : space + item.0
      }
      return padded.joined(separator: "  ")
    }
  }

  /// The curves of all runs in the same charts.
  package var charts: CurveCharts { CurveCharts(runs) }

  /// For programs.
  package var json: JSON {
    func points(_ list: [RunHistory.Curve.Point?]) -> JSON {
      .array(
        list.map {
          $0.map { .object([("step", .integer($0.step)), ("value", JSON(exactly: $0.value))]) }
            ?? .null
        })
    }
    return .object([
      ("event", "comparison"), ("runs", .array(names.map { .string($0) })),
      (
        "differences",
        .object(
          differences.map {
            ($0.setting, .array($0.values.map { $0.map { .string($0) } ?? .null }))
          })
      ),
      (
        "figures",
        .object(
          figures.map {
            (
              $0.tag,
              .object([
                ("last", points($0.last)), ("least", points($0.least)),
                ("greatest", points($0.greatest)),
              ])
            )
          })
      ),
    ])
  }

  /// One page, which opens without a network.
  package var html: String {
    let columns = [""] + names
    let differing = differences.map { [$0.setting] + $0.values.map { $0 ?? "-" } }
    let numbers = figures.map { figure in
      [figure.tag]
        + zip(figure.last, zip(figure.least, figure.greatest)).map { last, range in
          guard let last, let least = range.0, let greatest = range.1 else { return "-" }
          return
            "\(compact(last.value, digits: 5)) (\(compact(least.value, digits: 5)) to "
            + "\(compact(greatest.value, digits: 5)))"
        }
    }
    let charts = charts
    let pictures = charts.charts.enumerated().map { $1.element($0) }.joined()
    let settings =
      differing.isEmpty
      ? HTMLPage.paragraph("The runs had the same settings.") : HTMLPage.table(columns, differing)
    return HTMLPage(
      title: "Comparison of \(names.joined(separator: ", "))", data: charts.json,
      body: HTMLPage.section("Settings that differ", settings)
        + HTMLPage.section(
          "Last values, and from the least to the greatest", HTMLPage.table(columns, numbers))
        + HTMLPage.section("Curves", pictures + HTMLPage.paragraph(charts.remark))
    ).text
  }
}
