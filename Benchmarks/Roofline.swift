// The roofline plot: what each case reaches, under what the machine allows.
//
// Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model for
// Multicore Architectures". Operations a byte to the right, operations a nanosecond upward, both
// logarithmic: a level of memory is a rising line, arithmetic a level one.

import Apus
import Foundation

/// A picture of an outcome.
///
///     try AtomicFile.write(Roofline(outcome, title: "gemm").svg, to: "gemm.svg")
package struct Roofline {
  private let title: String
  private let peaks: MachinePeaks
  private let points: [RooflinePoint]
  private let computing: [Roof]
  private let frame: PlotFrame

  package init(_ outcome: BenchmarkOutcome, title: String) {
    let peaks = outcome.peaks
    self.peaks = peaks
    points = outcome.points.filter { $0.intensity.isFinite && $0.gigaflops > 0 }
    var computing = [Roof(name: "FMA", gigaflops: peaks.gigaflops)]
    let precise = peaks.computing(outcome.precision)
    if precise.name != "FMA" { computing.append(precise) }
    self.computing = computing
    self.title = "\(title), \(outcome.precision.rawValue)"
    frame = PlotFrame(
      intensities: points.map(\.intensity)
        + peaks.copies.map { peaks.gigaflops / $0.gigabytesPerSecond },
      speeds: points.map(\.gigaflops) + computing.map(\.gigaflops))
  }

  private static let palette = [
    "#0072b2", "#d55e00", "#009e73", "#aa4499", "#b8860b", "#56a5d8", "#cc3311", "#667700",
    "#882255", "#44aa99",
  ]

  private var groups: [String] {
    points.reduce(into: []) { if !$0.contains($1.group) { $0.append($1.group) } }
  }

  private func colour(_ point: RooflinePoint) -> String {
    let index = groups.firstIndex(of: point.group) ?? 0
    // One group only, as products are: all in the first colour.
    return Self.palette[index % Self.palette.count]
  }

  /// The file's text.
  package var svg: String {
    let legend = Legend(points.map(\.label))
    let height = max(frame.bottom + 70, legend.bottom + 24)
    var svg = SVG(width: legend.right + 24, height: height, title: "Roofline: \(title)")
    svg.rectangle(x: 0, y: 0, width: legend.right + 24, height: height, fill: "#fff")
    svg.text(title, (frame.left, 30), .init(size: 17, colour: "#111", weight: 600))
    svg.text(
      "\(peaks.processor), \(peaks.threads) thread\(peaks.threads == 1 ? "" : "s"), "
        + "\(peaks.isa.name); roofs measured in the same run",
      (frame.left, 48), .init(size: 12, colour: "#666"))
    drawGrid(&svg)
    drawRoofs(&svg)
    drawPoints(&svg)
    drawLegend(&svg, legend)
    return svg.document
  }

  // MARK: Axes

  private func drawGrid(_ svg: inout SVG) {
    for tick in frame.x.ticks {
      let x = frame.place(tick.value, 1).x
      svg.line(
        (x, frame.top), (x, frame.bottom), colour: tick.isLabelled ? "#dde1e6" : "#f0f2f4")
      if tick.isLabelled {
        svg.text(
          axisNumber(tick.value), (x, frame.bottom + 18), .init(anchor: .middle))
      }
    }
    for tick in frame.y.ticks {
      let y = frame.place(1, tick.value).y
      svg.line(
        (frame.left, y), (frame.right, y), colour: tick.isLabelled ? "#dde1e6" : "#f0f2f4")
      if tick.isLabelled {
        svg.text(axisNumber(tick.value), (frame.left - 8, y + 4), .init(anchor: .end))
      }
    }
    let font = SVG.Font(size: 12, colour: "#333", anchor: .middle)
    svg.text(
      "operations a byte", ((frame.left + frame.right) / 2, frame.bottom + 42), font)
    var upright = font
    upright.angle = 90
    svg.text("GFLOPS", (22, (frame.top + frame.bottom) / 2), upright)
  }

  /// `0.125`, `16`.
  private func axisNumber(_ value: Double) -> String {
    value >= 1 ? decimals(value, 0) : "\(value)"
  }

  // MARK: Roofs

  private func drawRoofs(_ svg: inout SVG) {
    let highest = computing.map(\.gigaflops).max() ?? 0
    let fastest = peaks.copies.map(\.gigabytesPerSecond).max() ?? 1
    svg.polygon(
      [
        frame.place(frame.x.low, frame.y.low), frame.place(frame.x.low, frame.x.low * fastest),
        frame.place(highest / fastest, highest), frame.place(frame.x.high, highest),
        frame.place(frame.x.high, frame.y.low),
      ].map(frame.clipped), fill: "#0072b20d")
    var above: (speed: Double, end: Double)?
    let copies = peaks.copies.sorted { $0.gigabytesPerSecond > $1.gigabytesPerSecond }
    for (index, copy) in copies.enumerated() {
      let speed = copy.gigabytesPerSecond
      let start = max(frame.x.low, frame.y.low / speed)
      let end = frame.place(highest / speed, highest)
      let begin = frame.place(start, start * speed)
      svg.line(begin, end, colour: "#8a94a0", width: 1.4)
      let text = "\(copy.level) \(decimals(speed, 0)) GB/s"
      // The slowest is labelled below its line; one that is close below another begins where the
      // other's label ends.
      let isBelow = index == copies.count - 1 && index > 0
      var along = 14.0
      if let above, !isBelow, frame.gap(above.speed, speed) < 16 { along = above.end + 12 }
      let (dx, dy) = (cos(frame.slope), sin(frame.slope))
      let offset = isBelow ? 14.0 : -5.0
      svg.text(
        text, (begin.x + along * dx + offset * dy, begin.y - along * dy + offset * dx),
        .init(size: 11, colour: "#5a6470", hasHalo: true, angle: frame.slope * 180 / .pi))
      above = (speed, along + textWidth(text, 11))
    }
    for roof in computing {
      let start = frame.place(max(frame.x.low, roof.gigaflops / fastest), roof.gigaflops)
      let end = frame.place(frame.x.high, roof.gigaflops)
      svg.line(start, end, colour: "#2b333c", width: 1.8)
      svg.text(
        "\(roof.name) \(decimals(roof.gigaflops, 0)) GFLOPS", (end.x - 6, end.y - 7),
        .init(size: 11, colour: "#2b333c", weight: 600, anchor: .end, hasHalo: true))
    }
  }

  // MARK: Points

  private func drawPoints(_ svg: inout SVG) {
    let places = points.map { frame.place($0.intensity, $0.gigaflops) }
    let labels = LabelPlacer(points: places, frame: frame).place(
      widths: points.indices.map { textWidth("\($0 + 1)", 10) + 4 })
    for (place, label) in zip(places, labels) where label.isAway {
      svg.line(place, label.center, colour: "#b5bcc4", width: 0.8)
    }
    for (index, point) in points.enumerated() {
      svg.circle(
        places[index], radius: 4.5, fill: colour(point),
        title: "\(point.label): \(decimals(point.gigaflops, 1)) GFLOPS, "
          + "\(percent(point.fraction)) of \(point.roof.name)")
    }
    for (index, point) in points.enumerated() {
      let center = labels[index].center
      svg.text(
        "\(index + 1)", (center.x, center.y + 3.5),
        .init(size: 10, colour: colour(point), weight: 700, anchor: .middle, hasHalo: true))
    }
  }

  // MARK: The list of cases

  private struct Legend {
    let left = PlotFrame.rightEdge + 34, right: Double
    let top = PlotFrame.topEdge
    let bottom: Double
    static let rowHeight = 17.0
    /// Of the two columns of figures.
    static let figures = 160.0

    init(_ labels: [String]) {
      let widest = labels.map { textWidth($0, 11.5) }.max() ?? 0
      right = left + 26 + max(widest, 100) + Self.figures
      bottom = top + 10 + Double(labels.count) * Self.rowHeight
    }

    func y(_ row: Int) -> Double { top + 24 + Double(row) * Self.rowHeight }
  }

  private func drawLegend(_ svg: inout SVG, _ legend: Legend) {
    let head = SVG.Font(size: 10.5, colour: "#777")
    func end(_ font: SVG.Font) -> SVG.Font {
      var font = font
      font.anchor = .end
      return font
    }
    svg.text("case", (legend.left + 26, legend.top + 4), head)
    svg.text("GFLOPS", (legend.right - 92, legend.top + 4), end(head))
    svg.text("of the roof", (legend.right, legend.top + 4), end(head))
    svg.line(
      (legend.left, legend.top + 10), (legend.right, legend.top + 10), colour: "#dde1e6")
    for (row, point) in points.enumerated() {
      let y = legend.y(row)
      if row > 0, points[row - 1].group != point.group {
        svg.line(
          (legend.left, y - 12.5), (legend.right, y - 12.5), colour: "#eef0f3")
      }
      svg.text(
        "\(row + 1)", (legend.left + 16, y),
        .init(size: 10.5, colour: colour(point), weight: 700, anchor: .end))
      svg.text(point.label, (legend.left + 26, y), .init(size: 11.5, colour: "#222"))
      let figure = SVG.Font(size: 11.5, colour: "#222", anchor: .end)
      svg.text(decimals(point.gigaflops, 1), (legend.right - 92, y), figure)
      svg.text("\(percent(point.fraction)) \(point.roof.name)", (legend.right, y), figure)
    }
  }
}

/// About how wide a text is drawn, in a sans-serif face.
func textWidth(_ text: String, _ size: Double) -> Double { 0.58 * size * Double(text.count) }
