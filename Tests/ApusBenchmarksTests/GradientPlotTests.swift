// Gradients as a picture and as numbers, whatever the numbers are.

import Apus
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite struct GradientPlotTests {
  private struct Flat: Module {
    let rnn = RNN(1, 1)
    let head = Linear(1, 1)
  }

  /// Real reports, since nobody else makes any.
  private func history() throws -> [(step: Int, report: GradientReport)] {
    let model = Flat()
    try model.initialize(seed: 2)
    let gradients = try GradientNorms(model) {
      $0.head($0.rnn($1.x).outputs).sum() * $1.scale.sum()
    }
    return try [(0, 1), (3, 0), (10, Float.infinity)].map { step, scale in
      let batch = Batch([
        "x": NDArray([Float](repeating: 0.5, count: 8), shape: [2, 4, 1]),
        "scale": NDArray([scale], shape: [1]),
      ])
      return (step, try gradients.measure(batch))
    }
  }

  @Test func picturesHaveAFrameForParametersAndOneForEachLayer() throws {
    let svg = GradientPlot(title: "a <recipe>", try history()).svg
    for words in [
      "Norm of each parameter's gradient", "rnn.l0: the gradient that comes back", "head.weight",
      "after step 10", "a &lt;recipe&gt;", "<polyline",
    ] {
      #expect(svg.contains(words), "\(words)")
    }
    #expect(!svg.contains("nan") && !svg.contains("inf\"") && !svg.contains(">0.0<"))
    let empty = GradientPlot(title: "nothing", []).svg
    #expect(empty.contains("</svg>") && !empty.contains("<polyline"))
  }

  @Test func numbersAreOneEntryAMeasurement() throws {
    let json = try JSON(parsing: GradientPlot(title: "x", try history()).json.text)
    let entries = try #require(json.elements)
    #expect(entries.map { $0["step"]?.integer } == [0, 3, 10])
    #expect(entries[0]["parameters"]?["head.weight"]?.double ?? 0 > 0)
    #expect(entries[0]["layers"]?["rnn.l0"]?["last"]?.elements?.count == 4)
    #expect(entries[1]["joint"]?.double == 0)
    #expect(entries[2]["joint"] == .null)
  }

  @Test func curvesHaveGapsWhereNothingCanBeDrawn() {
    let curve = LinePlot.Curve(
      name: "c", colour: "#000",
      points: [(0, 1), (1, 0.1), (2, .nan), (3, 0), (4, 1e-3), (5, .infinity)])
    var svg = SVG(width: LinePlot.width, height: LinePlot.height, title: "t")
    LinePlot(title: "t", xTitle: "x", curves: [curve]).draw(into: &svg, at: 0)
    #expect(svg.document.components(separatedBy: "<polyline").count == 3)
    #expect(shades(3, from: (0, 0, 0), to: (255, 16, 2)) == ["#000000", "#800801", "#ff1002"])
  }
}
