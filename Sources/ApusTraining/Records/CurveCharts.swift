// The curves of runs as charts: one for each kind of number, as SVG and as data.

import ApusGraph

/// The curves of one run, or of several together: a chart for each kind of number.
///
///     try AtomicFile.write(CurveCharts([("a", RunHistory("runs/a"))]).svg(title: "a"), to: "curves.svg")
package struct CurveCharts {
  /// Curves of one kind: what stands before the first `/` of their tags.
  package struct Chart {
    package var kind: String
    package var plot: LinePlot
  }

  package private(set) var charts: [Chart] = []
  /// Curves that have no place in the charts: there are too many.
  package private(set) var leftOut = 0

  private static let mostCharts = 40
  /// Of one chart.
  private static let mostCurves = 48

  /// More points of a curve are thinned out, so that what is least and greatest stays.
  private static let mostPoints = 2000
  /// What is no curve for people.
  private static let left: Set = ["epoch"]

  /// - `runs`: each with what it is called.
  package init(_ runs: [(name: String, history: RunHistory)]) {
    var kinds: [String] = []
    for (_, history) in runs {
      for curve in history.curves where !Self.left.contains(curve.tag) {
        let kind = Self.kind(curve.tag)
        if !kinds.contains(kind) { kinds.append(kind) }
      }
    }
    // What is trained on comes first.
    kinds.sort { ($0 == "loss" ? 0 : 1) < ($1 == "loss" ? 0 : 1) }
    charts = kinds.prefix(Self.mostCharts).map { kind in
      var curves: [LinePlot.Curve] = []
      for (place, run) in runs.enumerated() {
        curves += Self.curves(
          of: kind, run.history, of: runs.count == 1 ? nil : (place, run.name))
      }
      leftOut += max(curves.count - Self.mostCurves, 0)
      curves.removeLast(max(curves.count - Self.mostCurves, 0))
      let plot = LinePlot(
        title: kind, xTitle: "steps", hasLogY: Self.isWide(curves), curves: curves)
      return Chart(kind: kind, plot: plot)
    }
    let late = Set(kinds.dropFirst(Self.mostCharts))
    for (_, history) in runs {
      leftOut += history.curves.count { late.contains(Self.kind($0.tag)) }
    }
  }

  /// What is to be said of curves that are not shown; empty where all are.
  package var remark: String {
    leftOut == 0 ? "" : "\(leftOut) more curves are not drawn: there are too many."
  }

  private static func kind(_ tag: String) -> String {
    tag.split(separator: "/", maxSplits: 1).first.map(String.init) ?? tag
  }

  /// - `run`: its place and name among several.
  private static func curves(
    of kind: String, _ history: RunHistory, of run: (place: Int, name: String)?
  ) -> [LinePlot.Curve] {
    let own = history.curves.filter { Self.kind($0.tag) == kind }
    return own.enumerated().compactMap { place, curve in
      let part = curve.tag.dropFirst(kind.count + 1)
      let isStep = part == "step" && own.count > 1
      // Beside other runs noise hides more than it shows.
      if run != nil && isStep { return nil }
      let name = part.isEmpty ? curve.tag : String(part)
      return LinePlot.Curve(
        name: run.map { part.isEmpty ? $0.name : "\($0.name): \(name)" } ?? name,
        colour: plotColours[(run?.place ?? place) % plotColours.count],
        points: thinned(curve.points.map { (Double($0.step), $0.value) }), isFaint: isStep,
        isDashed: run != nil && part == "training")
    }
  }

  /// Whether numbers are above 0 and more than a factor of 30 apart.
  private static func isWide(_ curves: [LinePlot.Curve]) -> Bool {
    let values = curves.flatMap { $0.points.map(\.y) }.filter(\.isFinite)
    guard let least = values.min(), let most = values.max(), least > 0 else { return false }
    return most / least > 30
  }

  /// All points, or of each of many parts the least and the greatest.
  static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    guard points.count > mostPoints else { return points }
    let parts = mostPoints / 2 - 1
    var kept: [Int] = [0]
    for part in 0..<parts {
      let start = part * points.count / parts, end = (part + 1) * points.count / parts
      let finite = (start..<end).filter { points[$0].y.isFinite }
      let low = finite.min { points[$0].y < points[$1].y }
      let high = finite.max { points[$0].y < points[$1].y }
      kept += Set([low ?? start, high ?? start]).sorted()
    }
    kept.append(points.count - 1)
    var last = -1
    return kept.compactMap { place in
      defer { last = max(last, place) }
      return place > last ? points[place] : nil
    }
  }

  // MARK: Pictures and data

  /// All charts one below the other, as a file.
  package func svg(title: String) -> String {
    let height = 50 + LinePlot.height * Double(max(charts.count, 1))
    var svg = SVG(width: LinePlot.width, height: height, title: title)
    svg.rectangle(x: 0, y: 0, width: LinePlot.width, height: height, fill: "#fff")
    svg.text(title, (24, 30), .init(size: 17, colour: "#111", weight: 600))
    for (place, chart) in charts.enumerated() {
      chart.plot.draw(into: &svg, at: 50 + LinePlot.height * Double(place))
    }
    return svg.document
  }

  /// The drawn numbers: what NaN and infinities are, are strings.
  package var json: JSON {
    .array(
      charts.map { chart in
        let range = chart.plot.range
        return .object([
          ("name", .string(chart.kind)), ("left", .number(LinePlot.left)),
          ("right", .number(LinePlot.right)), ("width", .number(LinePlot.width)),
          ("low", .number(range.low)), ("high", .number(range.high)),
          (
            "curves",
            .array(
              chart.plot.curves.map { curve in
                .object([
                  ("name", .string(curve.name)), ("colour", .string(curve.colour)),
                  ("steps", .array(curve.points.map { .integer(Int($0.x)) })),
                  ("values", .array(curve.points.map { JSON(exactly: $0.y) })),
                ])
              })
          ),
        ])
      })
  }
}

extension CurveCharts.Chart {
  /// The chart as a part of a page.
  ///
  /// - `index`: of its data in ``CurveCharts/json``.
  func element(_ index: Int) -> String {
    var svg = SVG(width: LinePlot.width, height: LinePlot.height, title: kind)
    plot.draw(into: &svg, at: 0)
    return svg.element("class=\"chart\" data-chart=\"\(index)\"")
  }
}
