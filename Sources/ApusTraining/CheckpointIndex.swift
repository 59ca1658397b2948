// What the header of a checkpoint says of its arrays: which is which step's, optimiser's and parameter's.

import ApusData
import ApusGraph
import ApusNN

/// The table of contents of a checkpoint, kept as JSON in the file's metadata.
struct CheckpointIndex {
  /// Of files written today. `2` is what trainers wrote before steps had checkpoints.
  static let version = "3"

  struct Slot {
    /// With the optimiser's name: `optimizer.first_moment`.
    var name: String
    /// The path of its parameter in the model.
    var parameter: String
    /// The name of its array in the file.
    var array: String
  }
  /// How often an optimiser has updated a parameter.
  struct Updates {
    var optimizer: String
    var parameter: String
    var count: Int
  }
  struct Step {
    var name: String
    var count: Int
    /// The name of the random key's array.
    var key: String
    /// The batch that it was recorded for last, and by which rules it trained; nil where it had not run.
    var fields: [BatchField]?
    var optimizers: [(name: String, rule: String)] = []
    var slots: [Slot] = []
    var updates: [Updates] = []
    /// The sums of gradients that wait for their update, and the number of their batches.
    var kept: [Slot] = []
    var keptBatches = 0
  }

  /// An array that a callback remembers.
  struct Remembered {
    var callback: String
    var name: String
    /// The name of its array in the file.
    var array: String
  }

  /// The paths of each parameter and buffer that has several.
  var ties: [[String]]?
  var steps: [Step]
  var remembered: [Remembered] = []
  /// Arrays of files before this version that hold what stands in the index today.
  var others: Set<String> = []

  init(ties: [[String]], steps: [Step]) {
    self.ties = ties
    self.steps = steps
  }

  /// The arrays that are not the model's.
  var arrays: [String] {
    steps.flatMap { [$0.key] + ($0.slots + $0.kept).map(\.array) } + remembered.map(\.array)
  }

  /// What is written into the file's metadata.
  var metadata: [String: String] {
    ["apus.checkpoint": Self.version, "apus.steps": json.text]
  }

  /// Names in the metadata that are the file's own.
  static let reserved: Set<String> = ["apus.checkpoint", "apus.steps"]

  // MARK: JSON

  private var json: JSON {
    .object([
      ("ties", .array((ties ?? []).map { .array($0.map { .string($0) }) })),
      ("steps", .array(steps.map(\.json))),
      (
        "callbacks",
        .array(
          remembered.map {
            .object([
              ("callback", .string($0.callback)), ("name", .string($0.name)),
              ("array", .string($0.array)),
            ])
          })
      ),
    ])
  }

  /// - Throws: `invalidFile` for a file that is no checkpoint, or whose index is damaged.
  init(_ file: SafetensorsFile) throws {
    guard file.metadata["apus.checkpoint"] == Self.version, let text = file.metadata["apus.steps"]
    else { throw Self.notACheckpoint(file) }
    guard let json = try? JSON(parsing: text),
      let ties = json["ties"]?.elements?.map({ $0.elements?.compactMap(\.string) ?? [] }),
      let steps = json["steps"]?.elements
    else { throw Self.damaged("its index", file) }
    self.ties = ties
    self.steps = try steps.map { step in
      guard let step = Step(step) else { throw Self.damaged("a step of its index", file) }
      return step
    }
    // Files of before callbacks had arrays do not have it.
    for entry in json["callbacks"]?.elements ?? [] {
      guard let callback = entry["callback"]?.string, let name = entry["name"]?.string,
        let array = entry["array"]?.string
      else { throw Self.damaged("a callback of its index", file) }
      remembered.append(Remembered(callback: callback, name: name, array: array))
    }
  }

  /// The arrays that callbacks remember, by the callback's name and their own.
  ///
  /// - Throws: as `SafetensorsFile.array`.
  func rememberedArrays(_ file: SafetensorsFile) throws -> [String: [String: NDArray]] {
    var result: [String: [String: NDArray]] = [:]
    for entry in remembered {
      result[entry.callback, default: [:]][entry.name] = try file.array(entry.array)
    }
    return result
  }

  static func notACheckpoint(_ file: SafetensorsFile) -> ApusError {
    ApusError(
      .invalidFile, "the file is no checkpoint", at: file.path,
      expected: "a checkpoint of this version (weights alone are read by load)")
  }

  private static func damaged(_ what: String, _ file: SafetensorsFile) -> ApusError {
    ApusError(
      .invalidFile, "the checkpoint is damaged: \(what) cannot be read", at: file.path,
      expected: "a file as Checkpoint.save writes it")
  }

  /// A count that a run can reach. Schedules compute with it in double precision, which counts up to 2^53.
  static func count(_ number: Int?) -> Int? {
    number.flatMap { (0..<1 << 53).contains($0) ? $0 : nil }
  }

  /// - Throws: `invalidFile` where counts contradict each other, `missing` where a slot's is lacking.
  func checkCounts(_ path: String) throws {
    for step in steps {
      if let update = step.updates.first(where: { $0.count > step.count }) {
        throw ApusError(
          .invalidFile,
          "'\(update.parameter)' was updated \(update.count) times in \(step.count) steps",
          at: path, expected: "at most one update a step by each optimiser")
      }
      let counted = Dictionary(grouping: step.updates, by: \.parameter)
      for slot in step.slots {
        let counts = counted[slot.parameter] ?? []
        guard counts.contains(where: { slot.name.hasPrefix($0.optimizer + ".") }) else {
          throw ApusError(
            .missing, "the checkpoint does not say how often '\(slot.parameter)' was updated",
            at: path, expected: "a count beside its '\(slot.name)'")
        }
      }
    }
  }
}

extension CheckpointIndex.Step {
  fileprivate var json: JSON {
    func object(_ members: KeyValuePairs<String, String>) -> JSON {
      .object(members.map { ($0.key, .string($0.value)) })
    }
    func list(_ slots: [CheckpointIndex.Slot]) -> JSON {
      .array(slots.map { object(["name": $0.name, "parameter": $0.parameter, "array": $0.array]) })
    }
    return .object([
      ("name", .string(name)), ("count", .integer(count)), ("key", .string(key)),
      ("batch", fields.map { .array($0.map(\.json)) } ?? .null),
      ("optimizers", .array(optimizers.map { object(["name": $0.name, "rule": $0.rule]) })),
      ("slots", list(slots)), ("kept", list(kept)), ("kept_batches", .integer(keptBatches)),
      (
        "updates",
        .array(
          updates.map {
            .object([
              ("optimizer", .string($0.optimizer)), ("parameter", .string($0.parameter)),
              ("count", .integer($0.count)),
            ])
          })
      ),
    ])
  }

  /// Nil where it is no step.
  fileprivate init?(_ json: JSON) {
    guard let name = json["name"]?.string, let key = json["key"]?.string,
      let count = CheckpointIndex.count(json["count"]?.integer), let batch = json["batch"],
      let optimizers = json["optimizers"]?.elements, let slots = json["slots"]?.elements,
      let updates = json["updates"]?.elements
    else { return nil }
    self.init(name: name, count: count, key: key)
    if let list = batch.elements {
      let fields = list.compactMap { BatchField($0) }
      guard fields.count == list.count else { return nil }
      self.fields = fields
    }
    for entry in optimizers {
      guard let name = entry["name"]?.string, let rule = entry["rule"]?.string else { return nil }
      self.optimizers.append((name, rule))
    }
    // Files of before gradients could wait do not have them.
    let kept = json["kept"]?.elements ?? []
    guard let keptBatches = CheckpointIndex.count(json["kept_batches"]?.integer ?? 0),
      (keptBatches == 0) == kept.isEmpty
    else { return nil }
    self.keptBatches = keptBatches
    for (list, path) in [(slots, \Self.slots), (kept, \Self.kept)] {
      for entry in list {
        guard let name = entry["name"]?.string, let parameter = entry["parameter"]?.string,
          let array = entry["array"]?.string
        else { return nil }
        self[keyPath: path].append(
          CheckpointIndex.Slot(name: name, parameter: parameter, array: array))
      }
    }
    for entry in updates {
      guard let optimizer = entry["optimizer"]?.string,
        let parameter = entry["parameter"]?.string,
        let count = CheckpointIndex.count(entry["count"]?.integer)
      else { return nil }
      self.updates.append(
        CheckpointIndex.Updates(optimizer: optimizer, parameter: parameter, count: count))
    }
  }
}

extension BatchField {
  fileprivate var json: JSON {
    .object([
      ("name", .string(name)), ("dtype", .string(type.dtype.rawValue)),
      ("shape", .array(type.shape.dimensions.map { .integer($0) })),
    ])
  }

  /// Nil where it is no field, or one of a size that cannot be.
  fileprivate init?(_ json: JSON) {
    guard let name = json["name"]?.string,
      let dtype = json["dtype"]?.string.flatMap({ DType(rawValue: $0) }),
      let shape = json["shape"]?.elements?.map(\.integer), !shape.contains(nil),
      let type = try? TensorType(dtype, Shape(shape.compactMap { $0 })).checked("batch")
    else { return nil }
    self.init(name, type)
  }
}

// MARK: Version 2

extension CheckpointIndex {
  /// The index of a file that a trainer wrote before there was one: its step is found by the names of arrays.
  ///
  ///     optimizer.first_moment.hidden.weight      optimizer.updates.hidden.weight      random.key
  ///
  /// - `step`: what the trainer calls its step today.
  /// - Throws: `invalidFile` where counts are damaged, `missing` where slots are lacking.
  init(version2 file: SafetensorsFile, _ tree: ModelTree, step: String) throws {
    guard let count = Self.count(file.metadata["apus.step"].flatMap({ Int($0) })),
      let slotCount = Self.count(file.metadata["apus.slots"].flatMap({ Int($0) }))
    else { throw Self.notACheckpoint(file) }
    var result = Step(name: step, count: count, key: Trace.randomKeyState)
    var read: Set<String> = []
    let parameters = Set(tree.states.lazy.filter { $0.state is Parameter }.map(\.path))
    let own = Set(tree.places.map(\.path))
    for array in file.names.sorted() where !own.contains(array) {
      guard let (name, parameter) = Self.slot(array, parameters) else { continue }
      guard name == "optimizer.updates" else {
        result.slots.append(Slot(name: name, parameter: parameter, array: array))
        continue
      }
      let value = try file.array(array)
      guard value.type == .i64(), let updates = Self.count(value.integers[0]) else {
        throw ApusError(
          .invalidFile, "the updates of '\(parameter)' are \(value)", at: file.path,
          expected: "a count")
      }
      result.updates.append(
        Updates(optimizer: "optimizer", parameter: parameter, count: updates))
      read.insert(array)
    }
    let found = result.slots.count + result.updates.count
    guard found == slotCount else {
      throw ApusError(
        .missing, "the checkpoint has \(found) arrays of its optimiser", at: file.path,
        expected: "\(slotCount), as it says itself")
    }
    steps = [result]
    others = read
  }

  /// The slot's name and the parameter that a name of a file stands for.
  private static func slot(
    _ name: String, _ parameters: Set<String>
  ) -> (slot: String, parameter: String)? {
    guard name.hasPrefix("optimizer.") else { return nil }
    // Slot names and paths both have dots: the parameter is the longest path that ends the name.
    var rest = Substring(name)
    while let dot = rest.firstIndex(of: ".") {
      rest = rest[rest.index(after: dot)...]
      if parameters.contains(String(rest)) {
        return (String(name.dropLast(rest.count + 1)), String(rest))
      }
    }
    return nil
  }
}
