// The means of an epoch that is not over yet, as a checkpoint keeps them.

import ApusGraph

/// What the steps of an epoch have come to so far: without it a resumed epoch would have the means of its last steps
/// alone, and callbacks that look at them would decide otherwise than in a run that was never interrupted.
struct EpochProgress {
  static let key = "apus.epoch_progress"

  var total = ResultMean()
  /// Whether all its steps have been taken: the epoch is over but for its validation and for what callbacks make of
  /// it.
  var isWhole = false

  init(total: ResultMean = ResultMean(), isWhole: Bool = false) {
    self.total = total
    self.isWhole = isWhole
  }

  /// As the header has it.
  var text: String {
    JSON.object([
      ("whole", .bool(isWhole)), ("sums", total.json), ("skipped", .integer(total.skipped)),
    ]).text
  }

  /// An epoch of which nothing is known, where the header says nothing.
  ///
  /// - Throws: `invalidFile` where it is damaged.
  init(_ metadata: [String: String], at path: String) throws {
    self.init()
    guard let text = metadata[Self.key] else { return }
    guard let json = try? JSON(parsing: text), let isWhole = json["whole"]?.bool,
      let total = json["sums"].flatMap(ResultMean.init)
    else {
      throw ApusError(
        .invalidFile, "the checkpoint is damaged: '\(Self.key)' cannot be read", at: path,
        expected: "what a trainer wrote")
    }
    (self.total, self.isWhole) = (total, isWhole)
    // Files of before steps could be skipped do not have it.
    self.total.skipped = json["skipped"]?.integer ?? 0
  }
}

extension ResultMean {
  fileprivate var json: JSON {
    .array(
      sums.map {
        .object([
          ("name", .string($0.name)), ("total", JSON(exactly: $0.total)),
          ("weight", JSON(exactly: $0.weight)),
          ("logarithmic", .bool(perplexities.contains($0.name))),
        ])
      })
  }

  /// Nil where it is none.
  fileprivate init?(_ json: JSON) {
    guard let entries = json.elements else { return nil }
    self.init()
    for entry in entries {
      guard let name = entry["name"]?.string, let total = entry["total"]?.exactDouble,
        let weight = entry["weight"]?.exactDouble, let isLogarithmic = entry["logarithmic"]?.bool
      else { return nil }
      sums.append((name, total, weight))
      if isLogarithmic { perplexities.insert(name) }
    }
  }
}
