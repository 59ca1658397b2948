// The curves of a run as its folder has them.

import ApusData
import ApusGraph

/// What `metrics.jsonl` says of a run: its curves, settings and texts.
///
///     let history = try RunHistory("runs/a")
///     let loss = try history.curve("loss/validation")
///     print(loss.last!.value, loss.least!.step)
///
/// A run that was killed and resumed reads as one that was not: of what was noted twice the last counts, and a line
/// that was cut is passed over.
public struct RunHistory: Sendable {
  /// The version of the format.
  static let version = 1
  /// Larger files are refused.
  private static let limit = 1 << 28

  /// A number by step.
  public struct Curve: Sendable {
    /// A number after a step.
    public struct Point: Sendable, Hashable {
      public var step: Int
      /// Seconds since 1970.
      public var time: Double
      public var value: Double
    }
    /// `loss/validation`.
    public var tag: String
    /// Steps rise from point to point.
    public var points: [Point]

    public var last: Point? { points.last }
    /// The first of the least that is a number.
    public var least: Point? {
      points.filter { !$0.value.isNaN }.min { $0.value < $1.value }
    }
    /// The first of the greatest that is a number.
    public var greatest: Point? {
      // `max` gives the last of equal ones.
      points.filter { !$0.value.isNaN }.min { $0.value > $1.value }
    }
  }

  /// In the order of their first points.
  public private(set) var curves: [Curve] = []
  public private(set) var hyperparameters: [String: Hyperparameter] = [:]
  public private(set) var texts: [(tag: String, step: Int, text: String)] = []
  /// The steps after which the run was resumed.
  public private(set) var resumedAt: [Int] = []
  /// When it began, in seconds since 1970.
  public private(set) var startTime: Double?
  /// When its last line was written.
  public private(set) var endTime: Double?
  /// Lines that could not be read, and were passed over: at most one for each time that the process was killed.
  public private(set) var damagedLines = 0
  private var places: [String: Int] = [:]

  /// Reads a run.
  ///
  /// - `path`: its folder, or the file itself.
  /// - Throws: `io` where there is no such file; `invalidFile` where it is no record of a run, or of a later version;
  ///   `resource` for one of more than 256 MiB.
  public init(_ path: String) throws {
    let inFolder = RunFolder(path).metrics
    let isFolder = TextFile.exists(path + "/.")
    let file = isFolder ? inFolder : path
    let bytes = try TextFile.bytes(
      file, limit: Self.limit, expected: "a run's folder, with metrics.jsonl")
    var isBegun = false
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      guard let json = try? JSON(parsing: line), let event = json["event"]?.string,
        let step = json["step"]?.integer, RunRecord.steps.contains(step),
        let time = json["time"]?.double
      else {
        damagedLines += 1
        continue
      }
      if event == "begin", json["format"]?.string == "apus-run" {
        guard let version = json["version"]?.integer, version == Self.version else {
          throw ApusError(
            .invalidFile, "the run was recorded in another version of the format", at: file,
            expected: "version \(Self.version)")
        }
        begin(at: step, time, isFirst: !isBegun)
        isBegun = true
      } else if isBegun {
        add(event, step, time, json)
      }
      endTime = time
    }
    guard isBegun else {
      throw ApusError(
        .invalidFile, "the file is no record of a run", at: file,
        expected: "lines as JSONLinesWriter writes them, a begin line first")
    }
  }

  /// A run of points that are given.
  package init(_ curves: [Curve], hyperparameters: [String: Hyperparameter] = [:]) {
    self.curves = curves
    self.hyperparameters = hyperparameters
  }

  private mutating func begin(at step: Int, _ time: Double, isFirst: Bool) {
    if step == 0 { startTime = time }
    startTime = startTime ?? time
    if !isFirst && step > 0 { resumedAt.append(step) }
    if step == 0 { resumedAt = [] }
    for place in curves.indices {
      while let last = curves[place].points.last, last.step > step || step == 0 {
        curves[place].points.removeLast()
      }
    }
    texts.removeAll { $0.step > step || step == 0 && !isFirst }
  }

  private mutating func add(_ event: String, _ step: Int, _ time: Double, _ json: JSON) {
    switch event {
    case "scalars":
      for (tag, value) in json["values"]?.members ?? [] {
        guard let number = value.exactDouble else { continue }
        add(Curve.Point(step: step, time: time, value: number), to: tag)
      }
    case "text":
      if let tag = json["tag"]?.string, let text = json["text"]?.string {
        texts.append((tag, step, text))
      }
    case "hyperparameters":
      for (name, value) in json["values"]?.members ?? [] {
        hyperparameters[name] = Hyperparameter(json: value) ?? hyperparameters[name]
      }
    default: break
    }
  }

  private mutating func add(_ point: Curve.Point, to tag: String) {
    guard let place = places[tag] else {
      places[tag] = curves.count
      curves.append(Curve(tag: tag, points: [point]))
      return
    }
    while let last = curves[place].points.last, last.step >= point.step {
      curves[place].points.removeLast()
    }
    curves[place].points.append(point)
  }

  /// The curve of a tag.
  ///
  /// - Throws: `missing` with the tags that there are.
  public func curve(_ tag: String) throws -> Curve {
    guard let curve = curves.first(where: { $0.tag == tag }) else {
      throw ApusError(
        .missing, "the run has no curve '\(tag)'",
        expected: curves.isEmpty
          ? "a run that has noted something" : "one of \(curves.map(\.tag).joined(separator: ", "))"
      )
    }
    return curve
  }
}

extension Hyperparameter {
  fileprivate init?(json: JSON) {
    switch json {
    case .bool(let flag): self = .bool(flag)
    case .string(let text): self = .string(text)
    default:
      guard let number = json.double else { return nil }
      self = .number(number)
    }
  }
}
