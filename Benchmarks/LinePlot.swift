// Lines over a plane whose height is logarithmic: what falls or grows by orders of magnitude.

import Foundation

/// Some curves in one frame, with a legend beside it.
struct LinePlot {
  struct Curve {
    var name: String
    var colour: String
    var points: [(x: Double, y: Double)]
  }

  var title: String
  var xTitle: String
  /// Whether x is logarithmic too, of x + 1: steps of training, from 0 on.
  var hasLogX = false
  var curves: [Curve]

  static let width = 940.0, height = 300.0
  private static let left = 70.0, right = 620.0, frameTop = 34.0, frameBottom = 250.0
  /// So many names fit beside the frame.
  static let longestLegend = 13

  /// Orders of magnitude that the frame shows: 12 at most, from the greatest down.
  private var decades: ClosedRange<Int> {
    let values = curves.flatMap { $0.points.map(\.y) }.filter { $0 > 0 && $0.isFinite }
    guard let least = values.min(), let most = values.max() else { return -1...0 }
    let high = Int(log10(most).rounded(.up))
    return max(min(Int(log10(least).rounded(.down)), high - 1), high - 12)...high
  }

  private var range: (low: Double, high: Double) {
    let values = curves.flatMap { $0.points.map(\.x) }
    let (low, high) = (values.min() ?? 0, values.max() ?? 1)
    return (low, max(high, low + 1))
  }

  private func x(_ value: Double) -> Double {
    let (low, high) = range
    let fraction =
      hasLogX ? log10(value + 1 - low) / log10(high + 1 - low) : (value - low) / (high - low)
    return Self.left + (Self.right - Self.left) * fraction
  }

  private func y(_ value: Double, _ decades: ClosedRange<Int>) -> Double {
    let fraction =
      (log10(value) - Double(decades.lowerBound))
      / Double(decades.upperBound - decades.lowerBound)
    return Self.frameBottom - (Self.frameBottom - Self.frameTop) * fraction
  }

  func draw(into svg: inout SVG, at top: Double) {
    let decades = decades
    svg.text(title, (Self.left, top + 18), .init(size: 13, colour: "#111", weight: 600))
    let each = decades.count > 8 ? 2 : 1
    for decade in decades where (decades.upperBound - decade) % each == 0 {
      let height = top + y(pow(10, Double(decade)), decades)
      svg.line((Self.left, height), (Self.right, height), colour: "#dde1e6")
      svg.text(
        (-3...3).contains(decade) ? number(pow(10, Double(decade))) : "1e\(decade)",
        (Self.left - 8, height + 4), .init(anchor: .end))
    }
    for tick in ticks {
      svg.line(
        (x(tick), top + Self.frameTop), (x(tick), top + Self.frameBottom), colour: "#f0f2f4")
      svg.text(
        number(tick), (x(tick), top + Self.frameBottom + 18), .init(anchor: .middle))
    }
    svg.text(
      xTitle, ((Self.left + Self.right) / 2, top + Self.frameBottom + 36), .init(anchor: .middle))
    for curve in curves { draw(curve, into: &svg, at: top, decades) }
    for (row, curve) in legend.enumerated() {
      let height = top + Self.frameTop + 10 + 16 * Double(row)
      svg.line((Self.right + 20, height), (Self.right + 42, height), colour: curve.colour, width: 2)
      svg.text(curve.name, (Self.right + 50, height + 4))
    }
  }

  /// Where a curve is 0, not finite or below the frame, it has a gap.
  private func draw(
    _ curve: Curve, into svg: inout SVG, at top: Double, _ decades: ClosedRange<Int>
  ) {
    let floor = pow(10, Double(decades.lowerBound))
    var pieces: [[(x: Double, y: Double)]] = [[]]
    for point in curve.points {
      if point.y >= floor, point.y.isFinite {
        pieces[pieces.count - 1].append((x(point.x), top + y(point.y, decades)))
      } else {
        pieces.append([])
      }
    }
    for piece in pieces where !piece.isEmpty {
      svg.polyline(piece.count > 1 ? piece : piece + piece, colour: curve.colour, width: 1.6)
    }
  }

  /// All curves, or as many as fit, evenly chosen from the first to the last.
  private var legend: [Curve] {
    guard curves.count > Self.longestLegend else { return curves }
    let last = Self.longestLegend - 1
    return (0...last).map { curves[$0 * (curves.count - 1) / last] }
  }

  private var ticks: [Double] {
    let (low, high) = range
    if hasLogX {
      return [0, 1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6].filter {
        (low...high).contains($0)
      }
    }
    let steps = [1.0, 2, 5].flatMap { step in (0..<7).map { step * pow(10, Double($0)) } }.sorted()
    let step = steps.first { (high - low) / $0 <= 8 } ?? high - low
    return Array(stride(from: (low / step).rounded(.up) * step, through: high, by: step))
  }

  private func number(_ value: Double) -> String {
    value >= 1 || value == 0 ? decimals(value, 0) : "\(value)"
  }
}

/// Colours between two, the first for the first.
func shades(_ count: Int, from a: (Double, Double, Double), to b: (Double, Double, Double))
  -> [String]
{
  (0..<count).map { place in
    let fraction = count > 1 ? Double(place) / Double(count - 1) : 0
    func part(_ x: Double, _ y: Double) -> String {
      let value = String(Int((x + (y - x) * fraction).rounded()), radix: 16)
      return value.count < 2 ? "0" + value : value
    }
    return "#" + part(a.0, b.0) + part(a.1, b.1) + part(a.2, b.2)
  }
}
