// The report of a run: what is in it as data and for people, that it asks nobody else, and that a browser shows it.

import Apus
import Foundation
import TestSupport
import Testing

@testable import ApusTraining

private let browser = ChildProgram.inPath("chromium", "chromium-headless-shell", "google-chrome")

@Suite struct RunReportTests {
  private static let hostile = #"</script><script>alert("1")</script> & 'x' <b>"#

  private static func history() -> RunHistory {
    func curve(_ tag: String, _ values: [Double]) -> RunHistory.Curve {
      RunHistory.Curve(
        tag: tag,
        points: values.enumerated().map { .init(step: 10 * ($0 + 1), time: 0, value: $1) })
    }
    return RunHistory(
      [
        curve("loss/training", [2.5, 1.25, 0.625, .nan]), curve("loss/validation", [2.25, 1.5]),
        curve("learning_rate", [0.1, 0.01]), curve("odd \(hostile)/step", [.infinity, 1]),
      ], hyperparameters: ["rate": 0.1])
  }

  private static func report() throws -> RunReport {
    var report = RunReport("run \(hostile)", history())
    report.configuration = [("note", hostile), ("rate", "0.1")]
    report.machine = [("processor", "one")]
    report.model = "hidden.weight  [2,2]  \(hostile)"
    report.notes = [hostile]
    var matrix = ConfusionMatrix(classes: 3)
    try matrix.add(
      predictions: NDArray([Int32](([0, 0, 1, 2, 2, 2])), shape: [6]),
      labels: NDArray([Int32]([0, 1, 1, 2, 2, 0]), shape: [6]))
    report.confusion = matrix
    report.classNames = ["cat", hostile, "dog"]
    let picture = try Picture(NDArray([UInt8](0..<12), shape: [3, 4]))
    report.samples = [
      .init(picture, "a cat"), .init(picture, hostile, isRight: false),
    ]
    let executable = try compile([.f32(64, 64)]) { [$0[0].matmul($0[0])] }.executable
    report.memory = executable.memory
    report.profile = try executable.profile([NDArray(zeros: .f32(64, 64))]).profile
    return report
  }

  /// The numbers in the page, by chart and curve.
  private static func curves(_ html: String) throws -> [String: [String: [Double]]] {
    let block = try #require(
      html.firstMatch(of: /<script type="application\/json" id="curves">(.*?)<\/script>/)
    ).1
    let json = try JSON(parsing: String(block))
    var result: [String: [String: [Double]]] = [:]
    for chart in try #require(json.elements) {
      for curve in chart["curves"]?.elements ?? [] {
        result[chart["name"]!.string!, default: [:]][curve["name"]!.string!] =
          curve["values"]!.elements!.map { $0.exactDouble! }
        #expect(curve["steps"]?.elements?.count == curve["values"]?.elements?.count)
      }
    }
    return result
  }

  private static func check(_ read: [String: [String: [Double]]]) {
    #expect(read["loss"]?["validation"] == [2.25, 1.5])
    #expect(Array(read["loss"]?["training"]?.prefix(3) ?? []) == [2.5, 1.25, 0.625])
    #expect(read["loss"]?["training"]?.last?.isNaN == true)
    #expect(read["learning_rate"]?["learning_rate"] == [0.1, 0.01])
    #expect(read.count == 3)
  }

  @Test func thePageHasTheNumbersAsData_andTextsAreText() throws {
    let html = try Self.report().html
    Self.check(try Self.curves(html))
    #expect(!html.contains("<script>alert") && !html.contains("<b>"))
    #expect(html.components(separatedBy: "<script").count == 3)
    for words in [
      "<svg", "Confusion matrix", "Accuracy 66.67 % of 6", "data:image/png;base64,iVBOR",
      "Where a step's time goes", "Memory of a step", "Configuration",
    ] { #expect(html.contains(words), "\(words)") }
    // Nothing is asked of anybody else.
    for words in ["http://", "https://", "src=\"/", "url(", "@import", "<link"] {
      #expect(
        !html.replacing("http://www.w3.org/2000/svg", with: "").contains(words), "\(words)")
    }
    #expect(html.contains("default-src 'none'"))
    let small = RunReport("empty", RunHistory([]))
    #expect(try Self.curves(small.html).isEmpty)
    let path = try TrainerTests.folder().appendingPathComponent("r.html").path
    try Self.report().write(path)
    #expect(try String(contentsOfFile: path, encoding: .utf8).hasSuffix("</html>\n"))
    let error = #expect(throws: ApusError.self) { try small.write("/nowhere/r.html") }
    #expect(error?.kind == .io)
  }

  @Test(.enabled(if: browser != nil, "skipped: there is no Chromium in PATH (.ci/setup --tools)"))
  func aBrowserShowsIt_andItsScriptRuns() throws {
    let folder = try TrainerTests.folder()
    let path = folder.appendingPathComponent("report.html").path
    try Self.report().write(path)
    let (status, page, errors) = try ChildProgram.run(
      try #require(browser),
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--user-data-dir=\(folder.path)/profile", "--virtual-time-budget=2000", "--dump-dom",
        "file://\(path)",
      ])
    try #require(status == 0, "\(errors)")
    Self.check(try Self.curves(page))
    // Set by the script, which has read the data.
    #expect(page.contains("data-charts=\"3\""))
    #expect(page.components(separatedBy: "<polyline").count > 4)
    #expect(page.contains("<figcaption>a cat</figcaption>"))
    #expect(!page.contains("<script>alert"))
  }

  @Test func manyPointsAreThinned_andWhatIsExtremeStays() throws {
    var points = (0..<100_000).map { (x: Double($0), y: sin(Double($0) / 500)) }
    points[54_321].y = 9
    points[12_345].y = -9
    points[77_777].y = .nan
    let thin = CurveCharts.thinned(points)
    #expect(thin.count <= 2000 && thin.count > 1000)
    #expect(thin.contains { $0.y == 9 } && thin.contains { $0.y == -9 })
    #expect(thin.first?.x == 0 && thin.last?.x == 99_999)
    #expect(zip(thin, thin.dropFirst()).allSatisfy { $0.x < $1.x })
    #expect(CurveCharts.thinned(Array(points.prefix(10))).count == 10)
  }

  @Test func tooManyCurves_areCountedAndNotDrawn() throws {
    let point = RunHistory.Curve.Point(step: 1, time: 0, value: 1)
    let many = RunHistory(
      (0..<50).map { .init(tag: "kind \($0)", points: [point]) }
        + (0..<60).map { .init(tag: "loss/\($0)", points: [point]) })
    let charts = CurveCharts([("x", many)])
    #expect(charts.charts.count == 40 && charts.charts[0].kind == "loss")
    #expect(charts.charts[0].plot.curves.count == 48 && charts.leftOut == 12 + 11)
    #expect(try RunReport("x", many).html.contains("23 more curves are not drawn"))
  }

  @Test func axesAreReadable_whateverTheNumbersAre() {
    let cases: [[(Double, Double)]] = [
      [], [(0, 0)], [(1, .nan)], [(0, 1e300), (1, -1e300)], [(0, .leastNonzeroMagnitude), (1, 0)],
      [(0, 3), (1e15, 3)], [(0, 1e-9), (1, 2e-9)], [(0, -5), (10, 5)], [(0, .infinity), (1, 1)],
    ]
    for points in cases {
      for isLog in [false, true] {
        let curve = LinePlot.Curve(name: "c", colour: "#000", points: points.map { ($0.0, $0.1) })
        for hasLogX in [false, true] {
          var svg = SVG(width: 10, height: 10, title: "t")
          LinePlot(title: "t", xTitle: "x", hasLogX: hasLogX, hasLogY: isLog, curves: [curve])
            .draw(into: &svg, at: 0)
          let text = svg.document
          #expect(!text.contains("nan") && !text.contains("inf\""), "\(points)")
          #expect(text.components(separatedBy: "<text").count < 60)
        }
      }
    }
    #expect(compact(0.00012345) == "0.0001234" || compact(0.00012345) == "0.0001235")
    #expect(compact(1e-5) == "1e-05" && compact(12_345_678) == "1.235e+07")
    #expect(compact(1234.5) == "1235" || compact(1234.5) == "1234")
    #expect(compact(-0.5) == "-0.5" && compact(0) == "0" && compact(.nan) == "nan")
    #expect(compact(100) == "100" && compact(2.5e-9) == "2.5e-09")
    #expect(decimals(1e300, 2) == "1e+300" && decimals(.nan, 1) == "-")
  }

  @Test func runsAreComparedByWhatDiffers() throws {
    let a = RunHistory(
      Self.history().curves, hyperparameters: ["rate": 0.1, "seed": 1, "only": "here"])
    let b = RunHistory(
      Array(Self.history().curves.prefix(1)), hyperparameters: ["rate": 0.2, "seed": 1])
    let comparison = RunComparison([("x", a), ("x", b)])
    #expect(comparison.names == ["x", "x (2)"])
    #expect(comparison.differences.map(\.setting) == ["only", "rate"])
    #expect(comparison.differences[0].values == ["here", nil])
    let loss = try #require(comparison.figures.first { $0.tag == "loss/training" })
    #expect(loss.least.map { $0?.value } == [0.625, 0.625])
    let missing = try #require(comparison.figures.first { $0.tag == "learning_rate" })
    #expect(missing.last[1] == nil && missing.last[0]?.value == 0.01)
    let text = comparison.lines.joined(separator: "\n")
    #expect(text.contains("rate") && text.contains("x (2)") && !text.contains("seed"))
    #expect(try JSON(parsing: comparison.json.text)["runs"]?.elements?.count == 2)
    let read = try Self.curves(comparison.html)
    #expect(
      read["loss"]?["x: training"]?.count == 4 && read["loss"]?["x (2): training"]?.count == 4)

    let rates = try comparison.keeping(["learning_rate"])
    #expect(rates.figures.map(\.tag) == ["learning_rate"] && rates.names == comparison.names)
    #expect(rates.differences.map(\.setting) == ["only", "rate"])
    #expect(rates.charts.charts.map(\.kind) == ["learning_rate"])
    let unknown = #expect(throws: ApusError.self) { try comparison.keeping(["los/training"]) }
    #expect(unknown?.kind == .missing && unknown?.expected?.contains("loss/training") == true)
  }
}
