// Gradients in the course of training, as a picture and as numbers.

import Apus

/// What was measured of gradients while a model was trained.
///
///     try AtomicFile.write(GradientPlot(title: "king-james-lstm", history).svg, to: "norms.svg")
///
/// One frame has the norm of each parameter's gradient by step of training, from the parameters next to the input
/// (dark blue) to those next to the loss (orange). A frame for each recurrent layer has the gradient at the steps of a
/// sequence, as far as it comes from the last step: the first measurement is the lightest, the last the darkest.
package struct GradientPlot {
  private let title: String
  private let history: [(step: Int, report: GradientReport)]

  package init(title: String, _ history: [(step: Int, report: GradientReport)]) {
    self.title = title
    self.history = history
  }

  private static let mostMoments = 5
  private static let mostLayers = 8

  private var frames: [LinePlot] {
    let paths = history.last?.report.parameters.map(\.path) ?? []
    let colours = shades(paths.count, from: (0, 60, 140), to: (240, 140, 30))
    let parameters = zip(paths, colours).map { path, colour in
      LinePlot.Curve(
        name: path, colour: colour,
        points: history.compactMap { step, report in report[path].map { (Double(step), $0) } })
    }
    let first = LinePlot(
      title: "Norm of each parameter's gradient", xTitle: "steps of training", hasLogX: true,
      curves: parameters)
    let layers = history.last?.report.steps.map(\.name) ?? []
    return [first]
      + layers.prefix(Self.mostLayers).map { name in
        let tones = shades(moments.count, from: (170, 205, 235), to: (20, 40, 90))
        let curves = zip(moments, tones).compactMap { moment, colour -> LinePlot.Curve? in
          guard let steps = try? moment.report.steps(of: name) else { return nil }
          return LinePlot.Curve(
            name: "after step \(moment.step)", colour: colour,
            points: steps.fromLast.enumerated().map { (Double($0 + 1), $1) })
        }
        return LinePlot(
          title: "\(name): the gradient that comes back from the last step",
          xTitle: "steps of the sequence", curves: curves)
      }
  }

  /// The first, the last, and some in between.
  private var moments: [(step: Int, report: GradientReport)] {
    guard history.count > Self.mostMoments else { return history }
    let last = Self.mostMoments - 1
    return (0...last).map { history[$0 * (history.count - 1) / last] }
  }

  /// The picture's text.
  package var svg: String {
    let frames = frames
    let height = 50 + LinePlot.height * Double(frames.count)
    var svg = SVG(width: LinePlot.width, height: height, title: "Gradients: \(title)")
    svg.rectangle(x: 0, y: 0, width: LinePlot.width, height: height, fill: "#fff")
    svg.text("Gradients: \(title)", (24, 30), .init(size: 17, colour: "#111", weight: 600))
    for (place, frame) in frames.enumerated() {
      frame.draw(into: &svg, at: 50 + LinePlot.height * Double(place))
    }
    return svg.document
  }

  /// All that was measured; a number that is not finite is null.
  package var json: JSON {
    func number(_ value: Double) -> JSON { value.isFinite ? .number(value) : .null }
    func numbers(_ values: [Double]) -> JSON { .array(values.map(number)) }
    return .array(
      history.map { step, report in
        .object([
          ("step", .integer(step)), ("loss", number(report.loss)), ("joint", number(report.joint)),
          ("parameters", .object(report.parameters.map { ($0.path, number($0.norm)) })),
          (
            "layers",
            .object(
              report.steps.map {
                ($0.name, .object([("loss", numbers($0.ofLoss)), ("last", numbers($0.fromLast))]))
              })
          ),
        ])
      })
  }
}
