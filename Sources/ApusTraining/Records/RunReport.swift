// A run on one page: what it was, how it went, what came of it.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

/// The report of a run as one HTML file, which opens without a network: curves, confusion matrix, samples,
/// configuration, machine, memory and where the time went.
///
///     var report = RunReport("fashion-mnist", try RunHistory("runs/a"))
///     report.configuration = [("rate", "0.001"), ("hidden", "128")]
///     report.confusion = matrix
///     report.classNames = FashionMNIST.classNames
///     try report.write("runs/a/report.html")
///
/// The curves' numbers stand in it as data, too: the element `<script type="application/json" id="curves">`.
public struct RunReport: Sendable {
  /// A picture with words below it.
  public struct Sample: Sendable {
    public var picture: Picture
    public var caption: String
    /// Whether it shows what is as it should be; nil where that is no question.
    public var isRight: Bool?

    public init(_ picture: Picture, _ caption: String, isRight: Bool? = nil) {
      self.picture = picture
      self.caption = caption
      self.isRight = isRight
    }
  }

  public var title: String
  public var history: RunHistory
  /// The settings, in the order in which they are shown.
  public var configuration: [(name: String, value: String)] = []
  public var machine: [(name: String, value: String)] = []
  /// Of a classifier, over data that was held out.
  public var confusion: ConfusionMatrix?
  /// What the classes are called; their numbers where there are too few.
  public var classNames: [String] = []
  /// At most 200 are shown.
  public var samples: [Sample] = []
  /// Of the compiled step.
  public var memory: MemoryReport?
  /// Of one step.
  public var profile: Profile?
  /// `Module.summary` of the model.
  public var model: String?
  /// Remarks, each a paragraph.
  public var notes: [String] = []

  public init(_ title: String, _ history: RunHistory) {
    self.title = title
    self.history = history
  }

  /// Writes the page; atomically.
  ///
  /// - Throws: `io` where the file cannot be written, `resource` where there is no memory for a picture.
  public func write(_ path: String) throws { try AtomicFile.write(try html, to: path) }

  /// The page.
  ///
  /// - Throws: `resource` where there is no memory for a picture.
  public var html: String { get throws { try ReportPage(self).html } }
}

/// Puts a report together.
struct ReportPage {
  private let report: RunReport
  private let charts: CurveCharts

  private static let mostSamples = 200
  private static let mostKernels = 40
  /// Of more classes the most frequent confusions are listed.
  private static let mostClasses = 40

  init(_ report: RunReport) {
    self.report = report
    charts = CurveCharts([(report.title, report.history)])
  }

  var html: String {
    get throws {
      let sections = try [
        summary, curves, confusion, samples, configuration, model, machine, memory, profile, notes,
      ]
      return HTMLPage(
        title: report.title, data: charts.json, body: sections.filter { !$0.isEmpty }.joined()
      ).text
    }
  }

  // MARK: Sections

  private var summary: String {
    let history = report.history
    var rows: [(String, String)] = []
    if let start = history.startTime {
      rows.append(("begun", HTMLPage.time(start)))
      if let end = history.endTime { rows.append(("took", duration(end - start))) }
    }
    if let step = history.curves.compactMap(\.last?.step).max() {
      rows.append(("steps", "\(step)"))
    }
    if !history.resumedAt.isEmpty {
      let steps = history.resumedAt.map(String.init).joined(separator: ", ")
      rows.append(("resumed after step", steps))
    }
    for text in history.texts.prefix(20) { rows.append((text.tag, text.text)) }
    return HTMLPage.section("Summary", HTMLPage.table(rows) + numbers)
  }

  /// What curves end with, and their extremes.
  private var numbers: String {
    let rows = report.history.curves.filter { $0.tag != "epoch" }.map { curve -> [String] in
      func cell(_ point: RunHistory.Curve.Point?) -> String {
        point.map { "\(compact($0.value, digits: 5)) (step \($0.step))" } ?? "-"
      }
      return [
        curve.tag, curve.last.map { compact($0.value, digits: 5) } ?? "-", cell(curve.least),
        cell(curve.greatest),
      ]
    }
    guard !rows.isEmpty else { return "" }
    return HTMLPage.table(["curve", "last", "least", "greatest"], rows)
  }

  private var curves: String {
    guard !charts.charts.isEmpty else { return "" }
    let elements = charts.charts.enumerated().map { $1.element($0) }
    return HTMLPage.section(
      "Curves", elements.joined() + HTMLPage.paragraph(charts.remark))
  }

  private func className(_ index: Int) -> String {
    report.classNames.indices.contains(index) ? report.classNames[index] : "\(index)"
  }

  private var confusion: String {
    guard let matrix = report.confusion else { return "" }
    let classes = matrix.classes
    func count(_ label: Int, _ prediction: Int) -> Int {
      matrix.counts[label * classes + prediction]
    }
    var body = ""
    if classes <= Self.mostClasses {
      body +=
        "<table class=\"matrix\"><caption>rows: what it is; columns: what the model says</caption>"
      body += "<tr><th></th>"
      for prediction in 0..<classes { body += "<th>\(escaped(className(prediction)))</th>" }
      body += "</tr>"
      for label in 0..<classes {
        let total = (0..<classes).reduce(0) { $0 + count(label, $1) }
        body += "<tr><th>\(escaped(className(label)))</th>"
        for prediction in 0..<classes {
          let number = count(label, prediction)
          let share = total > 0 ? Double(number) / Double(total) : 0
          let colour = prediction == label ? "0,114,178" : "213,94,0"
          body +=
            "<td style=\"background:rgba(\(colour),\(decimals(min(share.squareRoot(), 1) * 0.8, 3)))\">"
            + "\(number)</td>"
        }
        body += "</tr>"
      }
      body += "</table>"
    } else {
      let pairs = (0..<classes * classes).filter { $0 / classes != $0 % classes }
        .sorted { matrix.counts[$0] > matrix.counts[$1] }.prefix(30)
      body += HTMLPage.table(
        ["it is", "the model says", "how often"],
        pairs.map {
          [className($0 / classes), className($0 % classes), "\(matrix.counts[$0])"]
        })
    }
    let each = zip(zip(matrix.precision, matrix.recall), matrix.f1).prefix(Self.mostClasses)
    body += HTMLPage.table(
      ["class", "precision", "recall", "F1"],
      each.enumerated().map { index, numbers in
        [className(index)]
          + [numbers.0.0, numbers.0.1, numbers.1].map { $0.map { decimals($0, 4) } ?? "-" }
      })
    let accuracy = matrix.accuracy.map { "Accuracy \(decimals(100 * $0, 2)) % of \(matrix.total)." }
    return HTMLPage.section("Confusion matrix", HTMLPage.paragraph(accuracy ?? "") + body)
  }

  private var samples: String {
    get throws {
      guard !report.samples.isEmpty else { return "" }
      let figures = try report.samples.prefix(Self.mostSamples).map { sample in
        let kind = sample.isRight.map { $0 ? " class=\"right\"" : " class=\"wrong\"" } ?? ""
        return "<figure\(kind)>" + HTMLPage.image(try sample.picture.png(), sample.caption)
          + "<figcaption>\(escaped(sample.caption))</figcaption></figure>"
      }
      let rest = report.samples.count - figures.count
      return HTMLPage.section(
        "Samples",
        "<div class=\"samples\">\(figures.joined())</div>"
          + (rest > 0 ? HTMLPage.paragraph("… and \(rest) more.") : ""))
    }
  }

  private var configuration: String {
    var rows = report.configuration.map { ($0.name, $0.value) }
    if rows.isEmpty {
      rows = report.history.hyperparameters.sorted { $0.key < $1.key }.map {
        ($0.key, $0.value.description)
      }
    }
    return rows.isEmpty ? "" : HTMLPage.section("Configuration", HTMLPage.table(rows))
  }

  private var model: String {
    report.model.map { HTMLPage.section("Model", "<pre>\(escaped($0))</pre>") } ?? ""
  }

  private var machine: String {
    report.machine.isEmpty
      ? "" : HTMLPage.section("Machine", HTMLPage.table(report.machine.map { ($0.name, $0.value) }))
  }

  private var memory: String {
    guard let memory = report.memory else { return "" }
    return HTMLPage.section(
      "Memory of a step",
      HTMLPage.table([
        ("intermediate values, one block", bytes(memory.arena)),
        ("no plan could take less than", bytes(memory.lowerBound)),
        ("the same without reuse", bytes(memory.values)),
        ("parameters, buffers, optimiser", bytes(memory.states)),
        ("their packed forms", bytes(memory.packed)), ("constants", bytes(memory.constants)),
        ("inputs", bytes(memory.inputs)),
        ("scratch of each thread", bytes(memory.scratchPerThread)),
        ("computed again for a limit's sake", bytes(memory.recomputed)),
      ]))
  }

  private var profile: String {
    guard let profile = report.profile else { return "" }
    let total = Double(max(profile.totalNanoseconds, 1))
    let sorted = profile.entries.sorted { $0.nanoseconds > $1.nanoseconds }
    let rows = sorted.prefix(Self.mostKernels).map { entry in
      [
        entry.kernel, decimals(Double(entry.nanoseconds) / 1000, 1),
        decimals(100 * Double(entry.nanoseconds) / total, 1),
        decimals(entry.gigaflopsPerSecond, 1), decimals(entry.gigabytesPerSecond, 1),
        "\(entry.threads)", entry.places.first ?? "",
      ]
    }
    let rest = sorted.count - rows.count
    return HTMLPage.section(
      "Where a step's time goes",
      HTMLPage.paragraph(
        "\(decimals(total / 1000, 1)) µs in all, with a barrier after each call"
          + (rest > 0 ? "; \(rest) shorter calls are left out." : "."))
        + HTMLPage.table(["kernel", "µs", "%", "GFLOP/s", "GB/s", "threads", "place"], rows))
  }

  private var notes: String {
    report.notes.isEmpty
      ? "" : HTMLPage.section("Notes", report.notes.map(HTMLPage.paragraph).joined())
  }

  // MARK: Words

  private func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e9 else { return "-" }
    let whole = Int(seconds)
    return whole < 60
      ? "\(decimals(seconds, 1)) s"
      : whole < 3600
        ? "\(whole / 60) min \(whole % 60) s" : "\(whole / 3600) h \(whole % 3600 / 60) min"
  }

  private func bytes(_ count: Int) -> String {
    count >= 10 << 20
      ? "\(count >> 20) MiB" : count >= 10 << 10 ? "\(count >> 10) KiB" : "\(count) bytes"
  }
}
