// Numbers that a recipe notes in the course of a run, to draw them at its end.

import Apus

/// Notes numbers at some events. What is noted so far is in the run's checkpoints, so that the picture of a run that was
/// resumed is whole.
final class SeriesLog: ResumableCallback {
  typealias Reader = (TrainingEvent, any TrainingRun) throws -> [(name: String, value: Double)]

  let checkpointName: String
  /// By name, each in the order of events.
  private(set) var series: [String: [Double]] = [:]
  private let read: Reader

  /// - `read`: the numbers of an event; none where it says nothing.
  init(_ name: String, _ read: @escaping Reader) {
    checkpointName = name
    self.read = read
  }

  func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    for (name, value) in try read(event, run) { series[name, default: []].append(value) }
    return .goOn
  }

  var state: [String: Double] {
    var state: [String: Double] = [:]
    for (name, values) in series {
      for (place, value) in values.enumerated() { state["\(name)#\(place)"] = value }
    }
    return state
  }

  /// - Throws: `invalidArgument` for what ``state`` cannot have been.
  func restore(_ state: [String: Double]) throws {
    var found: [String: [(place: Int, value: Double)]] = [:]
    for (key, value) in state {
      guard let mark = key.lastIndex(of: "#"), let place = Int(key[key.index(after: mark)...]),
        place >= 0
      else { throw wrong(key) }
      found[String(key[..<mark]), default: []].append((place, value))
    }
    series = try found.mapValues { entries in
      let sorted = entries.sorted { $0.place < $1.place }
      guard sorted.map(\.place) == Array(0..<sorted.count) else { throw wrong("\(sorted.count)") }
      return sorted.map(\.value)
    }
  }

  private func wrong(_ what: String) -> ApusError {
    ApusError(
      .invalidArgument, "\(checkpointName) cannot go on from '\(what)'",
      expected: "numbers that it has noted itself")
  }
}
