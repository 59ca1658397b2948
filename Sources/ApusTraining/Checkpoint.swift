// Checkpoints: everything that a resumed run needs to give the same bits as an uninterrupted one.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

extension Trainer {
  /// Writes parameters, buffers, optimiser slots, the random key, the counts of steps, epochs and batches, and
  /// what the run was: the optimiser's rule, the data and its order.
  ///
  /// The checkpoint that stood there is kept beside it (see `AtomicFile.write`).
  ///
  /// `metadata` is more to keep in the file's header, such as the settings of the run; names that begin
  /// with `apus.` and are used here are overwritten.
  ///
  /// - Throws: `nonFinite` where a parameter holds a NaN or an infinity, `io` where the file cannot be
  ///   written; an existing checkpoint then stays.
  public func saveCheckpoint(_ path: String, metadata: [String: String] = [:]) throws {
    var arrays = try model.modelArrays(allowingNonFinite: false, for: path)
    let slots = slotArrays
    for (name, array) in slots { arrays[name] = array }
    arrays[Trace.randomKeyState] = trainingStep.random.cell.array
    let counters = counters
    var header = [
      "apus.checkpoint": CheckpointHeader.version, "apus.step": "\(counters.step)",
      "apus.epoch": "\(counters.epoch)", "apus.batches_done": "\(counters.batch)",
      "apus.optimizer": rule, "apus.slots": "\(slots.count)",
    ]
    if let data = dataIdentity { header["apus.data"] = data }
    try SafetensorsFile.write(
      arrays, metadata: metadata.merging(header) { $1 }, to: path, keepingPrevious: true)
  }

  /// Goes on from a checkpoint of the same model and optimiser, with the same data. Nothing is changed unless
  /// all fits.
  ///
  /// - Throws: `invalidFile` for a file that is no checkpoint, `missing` naming what the file or the model
  ///   lacks, `shapeMismatch` naming a state of another shape, `invalidArgument` naming both optimisers where
  ///   they differ. Other data is refused by the next `fit`.
  public func resume(from path: String) throws {
    let file = try SafetensorsFile(path)
    let header = try CheckpointHeader(file, path)
    guard header.optimizer == rule else {
      throw ApusError(
        .invalidArgument, "the checkpoint was trained by \(header.optimizer)", at: path,
        expected: "\(rule), this trainer's optimiser")
    }
    let tree = ModelTree(model)
    try tree.check()
    var report = LoadReport()
    var found: [(ModelState, NDArray)] = []
    for (name, state) in tree.places {
      guard file.entry(name) != nil else {
        report.missing.append(name)
        continue
      }
      found.append((state, try file.array(name, like: state.type, at: path)))
    }
    let known = Set(tree.places.map(\.path) + [Trace.randomKeyState])
    let parameters = Dictionary(
      tree.states.compactMap { place in (place.state as? Parameter).map { (place.path, $0) } },
      uniquingKeysWith: { a, _ in a })
    var slots: [(name: String, parameter: Parameter, array: NDArray)] = []
    for name in file.names.sorted() where !known.contains(name) {
      guard let (slot, parameter) = Self.slot(name, parameters) else {
        report.unexpected.append(name)
        continue
      }
      slots.append((slot, parameter, try file.array(name)))
    }
    if file.entry(Trace.randomKeyState) == nil { report.missing.append(Trace.randomKeyState) }
    try report.requireComplete(at: path)
    guard slots.count == header.slots else {
      throw ApusError(
        .missing, "the checkpoint has \(slots.count) arrays of its optimiser", at: path,
        expected: "\(header.slots), as it says itself")
    }
    let key = try file.array(Trace.randomKeyState, like: .i64(2), at: path)

    let counts = slots.filter { $0.name == "optimizer.updates" }
    slots.removeAll { $0.name == "optimizer.updates" }
    for (_, parameter, array) in counts where array.type != .i64() || array.integers[0] < 0 {
      throw ApusError(
        .invalidFile, "the updates of '\(parameter.path ?? "")' are \(array)", at: path,
        expected: "a count")
    }
    let cells = try slots.map { slot in
      (
        slot.name, slot.parameter,
        try StateCell(slot.array, lock: slot.parameter.home().lock, for: "'\(slot.name)'")
      )
    }
    for (state, array) in found { try state.set(array) }
    trainingStep.slots.removeAll()
    for (name, parameter, cell) in cells { trainingStep.slots.add(name, parameter, cell) }
    for (_, parameter, array) in counts {
      trainingStep.slots.counter("optimizer", parameter).count = Int(array.integers[0])
    }
    trainingStep.forgetCompiled()
    try trainingStep.random.cell.set(key)
    resume(header.counters, data: header.data)
  }

  /// The slots as the file names them, `optimizer.first_moment.hidden.weight`, and how often each parameter
  /// has been updated: `optimizer.updates.hidden.weight`.
  private var slotArrays: [(name: String, array: NDArray)] {
    trainingStep.settleCounters()
    var paths: [ObjectIdentifier: String] = [:]
    for (path, state) in ModelTree(model).states { paths[ObjectIdentifier(state)] = path }
    let slots = trainingStep.slots
    let arrays = slots.cells.compactMap { slot in
      paths[ObjectIdentifier(slot.parameter)].map { ("\(slot.name).\($0)", slot.cell.array) }
    }
    return arrays
      + slots.counters.compactMap { key, counter in
        paths[key.parameter].map {
          ("\(key.name).updates.\($0)", NDArray([Int64(counter.count)], shape: []))
        }
      }
  }

  /// The slot's name and the parameter that a name of a file stands for.
  private static func slot(
    _ name: String, _ parameters: [String: Parameter]
  ) -> (slot: String, parameter: Parameter)? {
    // Slot names and paths both have dots: the parameter is the longest path that ends the name.
    var rest = Substring(name)
    while let dot = rest.firstIndex(of: ".") {
      rest = rest[rest.index(after: dot)...]
      if let parameter = parameters[String(rest)], name.hasPrefix("optimizer.") {
        return (String(name.dropLast(rest.count + 1)), parameter)
      }
    }
    return nil
  }
}

/// What the header of a checkpoint says.
private struct CheckpointHeader {
  static let version = "2"

  var counters: (step: Int, epoch: Int, batch: Int)
  var optimizer: String
  var slots: Int
  var data: String?

  init(_ file: SafetensorsFile, _ path: String) throws {
    func count(_ name: String) -> Int? {
      // Counters that a run can reach, so that adding to them cannot overflow.
      file.metadata[name].flatMap { Int($0) }.flatMap { (0..<1 << 62).contains($0) ? $0 : nil }
    }
    guard file.metadata["apus.checkpoint"] == Self.version, let step = count("apus.step"),
      let epoch = count("apus.epoch"), let batch = count("apus.batches_done"),
      let slots = count("apus.slots"), let optimizer = file.metadata["apus.optimizer"]
    else {
      throw ApusError(
        .invalidFile, "the file is no checkpoint", at: path,
        expected:
          "a file written by saveCheckpoint of this version (weights alone are read by load)")
    }
    counters = (step, epoch, batch)
    self.optimizer = optimizer
    self.slots = slots
    data = file.metadata["apus.data"]
  }
}

extension SafetensorsFile {
  /// An array of exactly that type.
  fileprivate func array(_ name: String, like type: TensorType, at path: String) throws -> NDArray {
    let array = try array(name)
    guard array.type == type else {
      throw ApusError(
        .shapeMismatch, "'\(name)' is \(array.type) in the checkpoint", at: path,
        expected: "\(type)")
    }
    return array
  }
}
