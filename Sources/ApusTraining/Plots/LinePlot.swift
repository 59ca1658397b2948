// Lines in a frame with two axes and a legend: curves of training, gradients by step.

import Foundation

/// Some curves in one frame, with a legend beside it.
package struct LinePlot {
  /// A line through points, from left to right.
  package struct Curve {
    package var name: String
    package var colour: String
    package var points: [(x: Double, y: Double)]
    /// Noise behind the others.
    package var isFaint: Bool
    package var isDashed: Bool

    package init(
      name: String, colour: String, points: [(x: Double, y: Double)], isFaint: Bool = false,
      isDashed: Bool = false
    ) {
      self.name = name
      self.colour = colour
      self.points = points
      self.isFaint = isFaint
      self.isDashed = isDashed
    }
  }

  package var title: String
  package var xTitle: String
  /// Whether x is logarithmic, of x + 1: steps of training, from 0 on.
  package var hasLogX: Bool
  package var hasLogY: Bool
  package var curves: [Curve]

  package init(
    title: String, xTitle: String, hasLogX: Bool = false, hasLogY: Bool = true, curves: [Curve]
  ) {
    self.title = title
    self.xTitle = xTitle
    self.hasLogX = hasLogX
    self.hasLogY = hasLogY
    self.curves = curves
  }

  package static let width = 940.0, height = 300.0
  package static let left = 70.0, right = 620.0, frameTop = 34.0, frameBottom = 250.0
  /// So many names fit beside the frame.
  private static let longestLegend = 13

  // MARK: Axes

  /// From the least x to the greatest.
  package var range: (low: Double, high: Double) {
    let values = curves.flatMap { $0.points.map(\.x) }
    let (low, high) = (values.min() ?? 0, values.max() ?? 1)
    return (low, max(high, low + 1))
  }

  private struct Height {
    /// Of y, or of its logarithm.
    var low, high: Double
    var isLog: Bool
    var ticks: [(value: Double, label: String)]

    /// From 0 at the lower edge to 1 at the upper one; nil for what has no place.
    func fraction(_ y: Double) -> Double? {
      guard y.isFinite, !isLog || y > 0 else { return nil }
      let place = ((isLog ? log10(y) : y) - low) / (high - low)
      return isLog && place < -1e-9 ? nil : place
    }
  }

  private var yAxis: Height { hasLogY ? logarithmic : linear }

  /// Orders of magnitude: 12 at most, from the greatest down.
  private var logarithmic: Height {
    let values = curves.flatMap { $0.points.map(\.y) }.filter { $0 > 0 && $0.isFinite }
    var decades = -1...0
    if let least = values.min(), let most = values.max() {
      let high = Int(log10(most).rounded(.up))
      decades = max(min(Int(log10(least).rounded(.down)), high - 1), high - 12)...high
    }
    let each = decades.count > 8 ? 2 : 1
    let ticks = decades.filter { (decades.upperBound - $0) % each == 0 }.map { decade in
      let value = pow(10, Double(decade))
      return (value, (-3...3).contains(decade) ? compact(value) : "1e\(decade)")
    }
    return Height(
      low: Double(decades.lowerBound), high: Double(decades.upperBound), isLog: true, ticks: ticks)
  }

  private var linear: Height {
    let values = curves.flatMap { $0.points.map(\.y) }.filter(\.isFinite)
    let (least, most) = (values.min() ?? 0, values.max() ?? 1)
    let room = most > least ? 0.02 * (most - least) : max(abs(most) * 0.05, 1e-9)
    let step = Self.step(across: most - least + 2 * room, parts: 6)
    let low = ((least - room) / step).rounded(.down), high = ((most + room) / step).rounded(.up)
    let ticks = (0...Int(min(max(high - low, 1), 20))).map { place in
      let value = (low + Double(place)) * step
      return (value, compact(value))
    }
    return Height(low: low * step, high: max(high, low + 1) * step, isLog: false, ticks: ticks)
  }

  /// A step of 1, 2 or 5 times a power of ten, of which at most so many go into a distance.
  private static func step(across distance: Double, parts: Int) -> Double {
    let power = pow(10, log10(max(distance / Double(parts), 1e-300)).rounded(.down))
    return [1, 2, 5, 10].map { $0 * power }.first { distance / $0 <= Double(parts) }
      ?? 10 * power
  }

  private var xTicks: [Double] {
    let (low, high) = range
    if hasLogX {
      let all = (0..<13).flatMap { decade in [1, 3].map { $0 * pow(10, Double(decade)) } }
      let inside = ([0] + all).filter { (low...high).contains($0) }
      let each = (inside.count + 14) / 15
      return inside.indices.filter { $0.isMultiple(of: each) }.map { inside[$0] }
    }
    let step = Self.step(across: high - low, parts: 8)
    return Array(stride(from: (low / step).rounded(.up) * step, through: high, by: step))
  }

  private func x(_ value: Double) -> Double {
    let (low, high) = range
    let fraction =
      hasLogX ? log10(value + 1 - low) / log10(high + 1 - low) : (value - low) / (high - low)
    return Self.left + (Self.right - Self.left) * fraction
  }

  // MARK: Drawing

  /// Draws the plot, its upper edge at that height.
  package func draw(into svg: inout SVG, at top: Double) {
    let yAxis = yAxis
    func y(_ fraction: Double) -> Double {
      top + Self.frameBottom - (Self.frameBottom - Self.frameTop) * fraction
    }
    svg.text(title, (Self.left, top + 18), .init(size: 13, colour: "#111", weight: 600))
    for (value, label) in yAxis.ticks {
      guard let fraction = yAxis.fraction(value) else { continue }
      svg.line((Self.left, y(fraction)), (Self.right, y(fraction)), colour: "#dde1e6")
      svg.text(label, (Self.left - 8, y(fraction) + 4), .init(anchor: .end))
    }
    for tick in xTicks {
      svg.line(
        (x(tick), top + Self.frameTop), (x(tick), top + Self.frameBottom), colour: "#f0f2f4")
      svg.text(compact(tick), (x(tick), top + Self.frameBottom + 18), .init(anchor: .middle))
    }
    svg.text(
      xTitle, ((Self.left + Self.right) / 2, top + Self.frameBottom + 36), .init(anchor: .middle))
    for curve in curves {
      for piece in pieces(curve, { yAxis.fraction($0).map(y) }) {
        svg.polyline(
          piece.count > 1 ? piece : piece + piece, colour: curve.colour, width: 1.6,
          opacity: curve.isFaint ? 0.4 : 1, dashed: curve.isDashed)
      }
    }
    for (row, curve) in legend.enumerated() {
      let height = top + Self.frameTop + 10 + 16 * Double(row)
      svg.line(
        (Self.right + 20, height), (Self.right + 42, height), colour: curve.colour, width: 2,
        dashed: curve.isDashed)
      svg.text(curve.name, (Self.right + 50, height + 4))
    }
  }

  /// The drawn parts of a curve: it has a gap where it is not finite, and on a logarithmic axis where it is 0 or below
  /// the frame.
  private func pieces(
    _ curve: Curve, _ y: (Double) -> Double?
  ) -> [[(x: Double, y: Double)]] {
    var pieces: [[(x: Double, y: Double)]] = [[]]
    for point in curve.points {
      if let height = y(point.y) {
        pieces[pieces.count - 1].append((x(point.x), height))
      } else {
        pieces.append([])
      }
    }
    return pieces.filter { !$0.isEmpty }
  }

  /// All curves, or as many as fit, evenly chosen from the first to the last.
  private var legend: [Curve] {
    guard curves.count > Self.longestLegend else { return curves }
    let last = Self.longestLegend - 1
    return (0...last).map { curves[$0 * (curves.count - 1) / last] }
  }
}

/// Colours between two, the first for the first.
package func shades(
  _ count: Int, from a: (Double, Double, Double), to b: (Double, Double, Double)
) -> [String] {
  (0..<count).map { place in
    let fraction = count > 1 ? Double(place) / Double(count - 1) : 0
    func part(_ x: Double, _ y: Double) -> String {
      let value = String(Int((x + (y - x) * fraction).rounded()), radix: 16)
      return value.count < 2 ? "0" + value : value
    }
    return "#" + part(a.0, b.0) + part(a.1, b.1) + part(a.2, b.2)
  }
}

/// Colours that all eyes tell apart, on white: Okabe and Ito 2008, without the yellow.
package let plotColours = [
  "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555",
]
