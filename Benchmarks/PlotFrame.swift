// Where things stand in a plot with two logarithmic axes.

import Foundation

/// A logarithmic axis.
struct LogAxis {
  let low, high: Double

  /// A range that holds all values with some room, in halves and doubles.
  init(holding values: [Double], room: Double) {
    let positive = values.filter { $0 > 0 && $0.isFinite }
    low = exp2((log2((positive.min() ?? 0.1) / room)).rounded(.down))
    high = exp2((log2((positive.max() ?? 1) * room)).rounded(.up))
  }

  /// From 0 at the low end to 1 at the high one.
  func fraction(_ value: Double) -> Double { log2(value / low) / log2(high / low) }

  struct Tick {
    var value: Double
    var isLabelled: Bool
  }

  /// Powers of two; where there are many of them, every other is labelled.
  var ticks: [Tick] {
    let (first, last) = (Int(log2(low).rounded()), Int(log2(high).rounded()))
    let step = last - first > 18 ? 3 : last - first > 9 ? 2 : 1
    return (first...last).map { exponent in
      Tick(value: exp2(Double(exponent)), isLabelled: (exponent - first) % step == 0)
    }
  }
}

/// The plot's area and its axes.
struct PlotFrame {
  static let rightEdge = 780.0, topEdge = 70.0

  let left = 78.0, right = PlotFrame.rightEdge, top = PlotFrame.topEdge, bottom = 590.0
  let x, y: LogAxis

  init(intensities: [Double], speeds: [Double]) {
    x = LogAxis(holding: intensities, room: 1.6)
    y = LogAxis(holding: speeds, room: 1.4)
  }

  func place(_ intensity: Double, _ gigaflops: Double) -> (x: Double, y: Double) {
    (
      left + (right - left) * x.fraction(intensity),
      bottom - (bottom - top) * y.fraction(gigaflops)
    )
  }

  func clipped(_ point: (x: Double, y: Double)) -> (x: Double, y: Double) {
    (min(max(point.x, left), right), min(max(point.y, top), bottom))
  }

  /// The angle of a line of one speed of copying, in radians.
  var slope: Double {
    atan2((bottom - top) / log2(y.high / y.low), (right - left) / log2(x.high / x.low))
  }

  /// How far two such lines are apart.
  func gap(_ a: Double, _ b: Double) -> Double {
    abs((bottom - top) / log2(y.high / y.low) * log2(a / b)) * cos(slope)
  }
}

/// Finds places for the numbers beside the points, each as near to its point as the others leave room.
struct LabelPlacer {
  let points: [(x: Double, y: Double)]
  let frame: PlotFrame

  struct Label {
    var center: (x: Double, y: Double)
    /// Whether a line has to lead to it.
    var isAway: Bool
  }

  private struct Box {
    var x, y, halfWidth, halfHeight: Double

    func overlaps(_ other: Box) -> Bool {
      abs(x - other.x) < halfWidth + other.halfWidth
        && abs(y - other.y) < halfHeight + other.halfHeight
    }
  }

  /// Tries rings of growing radius, on each 16 directions, the right first; the first that is free is
  /// taken. Where none is, the last, far out, is.
  func place(widths: [Double]) -> [Label] {
    let dots = points.map { Box(x: $0.x, y: $0.y, halfWidth: 5, halfHeight: 5) }
    var taken: [Box] = []
    return points.indices.map { index in
      var label = Label(center: points[index], isAway: false)
      search: for ring in 0..<14 {
        let radius = 12 + 8 * Double(ring)
        for turn in [0, 8, 1, 15, 2, 14, 7, 9, 6, 10, 3, 13, 5, 11, 4, 12] {
          let angle = Double(turn) * .pi / 8
          let box = Box(
            x: points[index].x + radius * cos(angle), y: points[index].y - radius * sin(angle),
            halfWidth: widths[index] / 2, halfHeight: 6)
          label = Label(center: (box.x, box.y), isAway: ring > 0)
          let isInside =
            box.x - box.halfWidth > frame.left && box.x + box.halfWidth < frame.right
            && box.y - box.halfHeight > frame.top && box.y + box.halfHeight < frame.bottom
          if isInside, !taken.contains(where: box.overlaps), !dots.contains(where: box.overlaps) {
            taken.append(box)
            break search
          }
        }
      }
      return label
    }
  }
}
