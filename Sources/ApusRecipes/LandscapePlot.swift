// A function of two numbers as contour lines, and paths over it.

import Apus
import Foundation

/// Contour lines at heights that grow by a factor, and paths with their beginnings and ends.
struct LandscapePlot {
  var title: String
  var paths: [(name: String, points: [(Double, Double)])]
  var height: (Double, Double) -> Double

  private static let frame = (left: 60.0, top: 50.0, width: 620.0, depth: 520.0)
  private static let cells = 120

  /// The plane: all the paths, and a margin.
  private var bounds: (low: (Double, Double), high: (Double, Double)) {
    let all = paths.flatMap(\.points).filter { $0.0.isFinite && $0.1.isFinite }
    func range(_ values: [Double]) -> (Double, Double) {
      let (low, high) = (values.min() ?? 0, values.max() ?? 1)
      let margin = max(high - low, 1e-3) * 0.12
      return (low - margin, high + margin)
    }
    let (x, y) = (range(all.map(\.0)), range(all.map(\.1)))
    return ((x.0, y.0), (x.1, y.1))
  }

  var svg: String {
    let frame = Self.frame, bounds = bounds
    func place(_ point: (Double, Double)) -> (x: Double, y: Double) {
      (
        frame.left + frame.width * (point.0 - bounds.low.0) / (bounds.high.0 - bounds.low.0),
        frame.top + frame.depth * (bounds.high.1 - point.1) / (bounds.high.1 - bounds.low.1)
      )
    }
    var svg = SVG(width: 860, height: 630, title: title)
    svg.rectangle(x: 0, y: 0, width: 860, height: 630, fill: "#fff")
    svg.text(title, (frame.left, 30), .init(size: 17, colour: "#111", weight: 600))
    svg.rectangle(
      x: frame.left, y: frame.top, width: frame.width, height: frame.depth, fill: "none",
      stroke: "#bbb")
    let levels = levels(bounds)
    let colours = shades(levels.count, from: (40, 90, 150), to: (205, 215, 225))
    for (level, colour) in zip(levels, colours) {
      for (a, b) in segments(at: level, bounds) {
        svg.line(place(a), place(b), colour: colour, width: 0.8)
      }
    }
    for (row, path) in paths.enumerated() {
      let colour = plotColours[row % plotColours.count]
      let points = path.points.filter { $0.0.isFinite && $0.1.isFinite }.map(place)
      guard let last = points.last, let end = path.points.last else { continue }
      svg.polyline(points, colour: colour, width: 2)
      // A step a dot, where there is room for dots.
      var dot = (x: -Double.infinity, y: 0.0)
      for point in points where Foundation.hypot(point.x - dot.x, point.y - dot.y) > 7 {
        svg.circle(point, radius: 2.4, fill: colour, title: path.name)
        dot = point
      }
      svg.circle(
        last, radius: 5, fill: colour,
        title:
          "\(path.name): loss \(compact(height(end.0, end.1))) at \(compact(end.0)), \(compact(end.1))"
      )
      let y = frame.top + 20 + 22 * Double(row)
      svg.line((700, y), (724, y), colour: colour, width: 3)
      svg.text("\(path.name): \(compact(height(end.0, end.1), digits: 2))", (732, y + 4))
    }
    if let first = paths.first?.points.first {
      svg.text("start", (place(first).x + 8, place(first).y), .init(hasHalo: true))
    }
    for value in [bounds.low.0, bounds.high.0] {
      svg.text(
        compact(value, digits: 2), (place((value, 0)).x, frame.top + frame.depth + 18),
        .init(anchor: .middle))
    }
    for value in [bounds.low.1, bounds.high.1] {
      svg.text(
        compact(value, digits: 2), (frame.left - 8, place((0, value)).y + 4), .init(anchor: .end))
    }
    svg.text(
      "first weight", (frame.left + frame.width / 2, frame.top + frame.depth + 36),
      .init(anchor: .middle))
    svg.text(
      "second weight", (22, frame.top + frame.depth / 2), .init(anchor: .middle, angle: 90))
    return svg.document
  }

  /// Heights from the lowest seen to the highest, each so many times the one before.
  private func levels(_ bounds: (low: (Double, Double), high: (Double, Double))) -> [Double] {
    let (width, depth) = (bounds.high.0 - bounds.low.0, bounds.high.1 - bounds.low.1)
    var all: [Double] = []
    for row in 0...20 {
      for column in 0...20 {
        let (x, y) = (Double(column) / 20, Double(row) / 20)
        let value = height(bounds.low.0 + width * x, bounds.low.1 + depth * y)
        if value > 0, value.isFinite { all.append(value) }
      }
    }
    guard let low = all.min(), let high = all.max(), high > low else { return [] }
    return (0..<16).map { low * pow(high / low, (Double($0) + 0.5) / 16) }
  }

  /// The lines of one height: in each triangle of a grid, from side to side.
  func segments(
    at level: Double, _ bounds: (low: (Double, Double), high: (Double, Double))
  ) -> [((Double, Double), (Double, Double))] {
    let n = Self.cells
    let (width, depth) = (bounds.high.0 - bounds.low.0, bounds.high.1 - bounds.low.1)
    func point(_ column: Int, _ row: Int) -> (Double, Double) {
      let (x, y) = (Double(column) / Double(n), Double(row) / Double(n))
      return (bounds.low.0 + width * x, bounds.low.1 + depth * y)
    }
    let heights = (0...n).map { row in
      (0...n).map { column in
        let (x, y) = point(column, row)
        return height(x, y)
      }
    }
    var result: [((Double, Double), (Double, Double))] = []
    func cross(_ corners: [(Int, Int)]) {
      var ends: [(Double, Double)] = []
      for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        let (p, q) = (corners[a], corners[b])
        let (u, v) = (heights[p.1][p.0], heights[q.1][q.0])
        guard (u < level) != (v < level) else { continue }
        let share = (level - u) / (v - u)
        let (s, t) = (point(p.0, p.1), point(q.0, q.1))
        ends.append((s.0 + (t.0 - s.0) * share, s.1 + (t.1 - s.1) * share))
      }
      if ends.count == 2 { result.append((ends[0], ends[1])) }
    }
    for row in 0..<n {
      for column in 0..<n {
        cross([(column, row), (column + 1, row), (column, row + 1)])
        cross([(column + 1, row + 1), (column + 1, row), (column, row + 1)])
      }
    }
    return result
  }
}
