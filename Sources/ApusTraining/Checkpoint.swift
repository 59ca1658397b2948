// Checkpoints: everything that a resumed run needs to give the same bits as an uninterrupted one.

import ApusData
import ApusGraph
import ApusNN
import ApusRuntime

/// A model and the steps that train it, as one file: what a loop of one's own saves and goes on from.
///
///     let checkpoint = Checkpoint(gan, steps: ["discriminator": discriminate, "generator": generate])
///     if isResumed { try checkpoint.load("gan.safetensors") }
///     while generate.count < 10_000 {
///       …
///       if generate.count % 500 == 0 { try checkpoint.save("gan.safetensors") }
///     }
///
/// The file holds parameters and buffers under their paths, and of each step the slots of its optimisers, how
/// often they have updated what, gradients that wait for their update, the count of its steps and its random key. A run that goes on from it in
/// another process gives the bits of one that was never interrupted. What is frozen, and the learning rates,
/// are the program's.
///
/// `Trainer` writes the same kind of file, with its epochs: `saveCheckpoint` and `resume`.
public struct Checkpoint {
  private let model: any Module
  private let steps: [(name: String, step: TrainingStep)]

  /// - `model`: all that the steps change must be a part of it.
  /// - `steps`: by names that stay the same from run to run.
  public init(_ model: some Module, steps: KeyValuePairs<String, TrainingStep>) {
    self.model = model
    self.steps = steps.map { ($0.key, $0.value) }
  }

  /// Writes the file; atomically, so that one that exists is either the old one or the new one, whole. The old
  /// one is kept beside it (see `AtomicFile.write`).
  ///
  /// - `metadata`: more for the file's header, such as the settings of the run. Names that begin with
  ///   `apus.` and are used here are overwritten.
  /// - `allowingNonFinite`: writes parameters and buffers that hold a NaN or an infinity too.
  /// - Throws: `nonFinite` naming a parameter, `missing` before the model is initialised, `invalidArgument`
  ///   where a step changes what is no part of the model, where two steps have one name, or for a model that is
  ///   not well formed; `io` where the file cannot be written. A file that exists then stays.
  public func save(
    _ path: String, metadata: [String: String] = [:], allowingNonFinite: Bool = false
  ) throws {
    try save(path, metadata: metadata, allowingNonFinite: allowingNonFinite, callbacks: [:])
  }

  /// - `callbacks`: arrays that callbacks remember, by their names.
  func save(
    _ path: String, metadata: [String: String], allowingNonFinite: Bool = false,
    callbacks: [String: [String: NDArray]]
  ) throws {
    try checkSteps(path)
    var arrays = try model.modelArrays(allowingNonFinite: allowingNonFinite, for: path)
    let parts = ModelParts(model)
    let steps = try steps.map { try $0.step.saved($0.name, parts, into: &arrays, path) }
    var index = CheckpointIndex(ties: parts.ties, steps: steps)
    for (callback, remembered) in callbacks.sorted(by: { $0.key < $1.key }) {
      for (name, array) in remembered.sorted(by: { $0.key < $1.key }) {
        let place = arrays.place(array, "apus.callbacks.\(callback).\(name)")
        index.remembered.append(
          CheckpointIndex.Remembered(callback: callback, name: name, array: place))
      }
    }
    try SafetensorsFile.write(
      arrays, metadata: metadata.merging(index.metadata) { $1 }, to: path, keepingPrevious: true)
  }

  /// The file to go on from: `path`, or the one before, which is kept beside it, where that at `path` is damaged
  /// or not there.
  ///
  ///     try trainer.resume(from: Checkpoint.newestWhole("run.safetensors"))
  ///
  /// - Returns: `path`, or `path` + `.previous`.
  /// - Throws: what is wrong with the file at `path` where the other is no whole checkpoint either: `io` or
  ///   `invalidFile`.
  public static func newestWhole(_ path: String) throws -> String {
    guard let damage = damage(of: path) else { return path }
    let previous = AtomicFile.previous(path)
    guard Self.damage(of: previous) == nil else { throw damage }
    return previous
  }

  /// Why the file is no whole checkpoint; nil where it is one.
  package static func damage(of path: String) -> ApusError? {
    do {
      let file = try SafetensorsFile(path)
      guard let version = file.metadata["apus.checkpoint"] else {
        return CheckpointIndex.notACheckpoint(file)
      }
      if version == CheckpointIndex.version { _ = try CheckpointIndex(file) }
      return nil
    } catch { return error as? ApusError ?? ApusError(.io, "\(error)", at: path) }
  }

  /// At least as many bytes as the file takes, as far as the steps' slots are known.
  ///
  /// - `metadata`: as for ``save(_:metadata:allowingNonFinite:)``.
  /// - `callbacks`: those of the run, whose memory is written too.
  func byteCount(metadata: [String: String], callbacks: [any Callback]) -> Int {
    var size = FileSize(model, metadata)
    CallbackStates.add(callbacks, of: model, to: &size)
    for (name, step) in steps {
      // The random key.
      size.add(name, 16)
      for slot in step.slots.cells + step.kept.slots.cells {
        size.add(name + slot.name + (slot.parameter.path ?? ""), slot.cell.type.byteCount)
      }
    }
    return size.bytes
  }

  /// Goes on from a file of the same model and the same steps. Nothing is changed unless all fits.
  ///
  /// Each step's closure is recorded once, for such batches as it ran on last, to see whether it trains what
  /// the file has by the rules that the file has.
  ///
  /// - Returns: the `metadata` that was given to ``save(_:metadata:allowingNonFinite:)``.
  /// - Throws: `invalidFile` for a file that is no checkpoint, `missing` naming what the file, the model or the
  ///   steps lack, `shapeMismatch` naming a state of another shape, `invalidArgument` naming both sides where
  ///   optimisers, ties or the steps themselves differ, `missing` for a model that is not initialised; what
  ///   recording a step throws.
  @discardableResult
  public func load(_ path: String) throws -> [String: String] {
    let file = try SafetensorsFile(path)
    try load(file, CheckpointIndex(file))
    return file.metadata.filter { !CheckpointIndex.reserved.contains($0.key) }
  }

  func load(_ file: SafetensorsFile, _ index: CheckpointIndex) throws {
    let path = file.path
    try checkSteps(path)
    let (theirs, ours) = (index.steps.map(\.name), steps.map(\.name))
    guard Set(theirs) == Set(ours), theirs.count == ours.count else {
      throw ApusError(
        .invalidArgument, "the checkpoint has the steps \(list(theirs))", at: path,
        expected: "\(list(ours)), which are given")
    }
    let states = try modelStates(file, index)
    try index.checkCounts(path)
    let parts = ModelParts(model)
    if let ties = index.ties, Set(ties) != Set(parts.ties) {
      throw ApusError(
        .invalidArgument, "the checkpoint has as one parameter: \(Self.text(ties))", at: path,
        expected: "\(Self.text(parts.ties)), as in \(parts.model)")
    }
    let loaded = try index.steps.map { saved in
      let step = steps.first { $0.name == saved.name }!.step
      return (step, try StepLoader(file, saved, parts).loaded(by: step))
    }
    // From here on nothing can fail: all have their memory, and the types have been compared.
    for (state, array) in states { try state.set(array) }
    for (step, new) in loaded {
      try step.goOn(from: new.outline, new.slots, new.kept, count: new.count, key: new.key)
    }
  }

  /// The model's states with their arrays of the file.
  private func modelStates(
    _ file: SafetensorsFile, _ index: CheckpointIndex
  ) throws -> [(ModelState, NDArray)] {
    let tree = ModelTree(model)
    try tree.check()
    let own = Set(tree.places.map(\.path))
    let known = own.union(index.arrays).union(index.others)
    var report = LoadReport()
    report.missing = (tree.places.map(\.path) + index.arrays).filter { file.entry($0) == nil }
    report.unexpected = file.names.filter { !known.contains($0) }.sorted()
    try report.requireComplete(at: file.path, expected: "a checkpoint of this model")
    return try tree.states.map { place, state in
      guard state.isInitialized else {
        throw ApusError(
          .missing, "\(state.kind) '\(place)' has no value: the model is not initialised",
          at: file.path, expected: "initialize(seed:) of the model before its checkpoint is loaded")
      }
      return (state, try file.array(place, like: state.type))
    }
  }

  private func checkSteps(_ path: String) throws {
    var names: [ObjectIdentifier: String] = [:], seen: Set<String> = []
    for (name, step) in steps {
      let other = names.updateValue(name, forKey: ObjectIdentifier(step))
      guard seen.insert(name).inserted, other == nil else {
        throw ApusError(
          .invalidArgument,
          other == nil || other == name
            ? "two steps are named '\(name)'" : "'\(other!)' and '\(name)' are one step",
          at: path, expected: "each step once, by a name of its own")
      }
    }
  }

  private func list(_ names: [String]) -> String {
    names.isEmpty ? "none" : names.map { "'\($0)'" }.joined(separator: ", ")
  }

  private static func text(_ ties: [[String]]) -> String {
    ties.isEmpty ? "none" : ties.map { $0.joined(separator: " and ") }.joined(separator: "; ")
  }
}

/// The states of a model as checkpoints look for them.
struct ModelParts {
  let model: String
  /// The first path of each parameter and buffer.
  private(set) var paths: [ObjectIdentifier: String] = [:]
  private(set) var parameters: [String: Parameter] = [:]
  /// The memory of all of them.
  private(set) var cells: Set<ObjectIdentifier> = []
  /// The paths of each that has several.
  let ties: [[String]]

  init(_ model: any Module) {
    self.model = "\(type(of: model))"
    let tree = ModelTree(model)
    for (path, state) in tree.states {
      paths[ObjectIdentifier(state)] = path
      parameters[path] = state as? Parameter
      if let cell = state.cell { cells.insert(ObjectIdentifier(cell)) }
    }
    let all = Dictionary(grouping: tree.places) { ObjectIdentifier($0.state) }
    ties = all.values.filter { $0.count > 1 }.map { $0.map(\.path).sorted() }
      .sorted { $0[0] < $1[0] }
  }

  /// - Throws: `invalidArgument` where the step changes what is no part of the model.
  func check(_ outline: StepOutline?, of step: String, at path: String) throws {
    let outside = outline?.changed.first { !cells.contains(ObjectIdentifier($0.cell)) }
    if let outside { throw stranger(outside.name, of: step, at: path) }
  }

  func stranger(_ name: String, of step: String, at path: String) -> ApusError {
    ApusError(
      .invalidArgument, "step '\(step)' changes '\(name)', which is no part of \(model)", at: path,
      expected: "a model that holds all that its steps change, such as a struct of both models")
  }
}

extension [String: NDArray] {
  /// Adds an array under a name that is free: that name, or one with a number.
  fileprivate mutating func place(_ array: NDArray, _ wanted: String) -> String {
    var free = wanted, number = 1
    while self[free] != nil {
      number += 1
      free = "\(wanted)#\(number)"
    }
    self[free] = array
    return free
  }
}

extension TrainingStep {
  /// What the step keeps, its arrays under names that are free.
  fileprivate func saved(
    _ name: String, _ parts: ModelParts, into arrays: inout [String: NDArray], _ path: String
  ) throws -> CheckpointIndex.Step {
    settleCounters()
    try parts.check(outline, of: name, at: path)
    var step = CheckpointIndex.Step(
      name: name, count: count,
      key: arrays.place(random.cell.array, "apus.random_key.\(name)"))
    step.fields = fields
    step.optimizers = outline?.optimizers ?? []
    func save(_ slots: OptimizerSlots) throws -> [CheckpointIndex.Slot] {
      try slots.cells.map { slot in
        guard let parameter = parts.paths[ObjectIdentifier(slot.parameter)] else {
          throw parts.stranger(slot.parameter.path ?? slot.name, of: name, at: path)
        }
        let array = arrays.place(
          slot.cell.array, "apus.slots.\(name).\(slot.name).\(parameter)")
        return CheckpointIndex.Slot(name: slot.name, parameter: parameter, array: array)
      }
    }
    step.slots = try save(slots)
    if kept.batches > 0 {
      step.kept = try save(kept.slots)
      step.keptBatches = kept.batches
    }
    for (key, counter) in slots.counters {
      guard let parameter = parts.paths[key.parameter] else { continue }
      step.updates.append(
        CheckpointIndex.Updates(optimizer: key.name, parameter: parameter, count: counter.count))
    }
    step.updates.sort { ($0.optimizer, $0.parameter) < ($1.optimizer, $1.parameter) }
    return step
  }
}

/// Makes of what a file has of a step what the step is to go on with, and compares both.
private struct StepLoader {
  struct Loaded {
    var outline: StepOutline?
    var slots = OptimizerSlots()
    var kept = KeptGradients()
    var count: Int
    var key: NDArray
  }
  let file: SafetensorsFile
  let saved: CheckpointIndex.Step
  let parts: ModelParts

  init(_ file: SafetensorsFile, _ saved: CheckpointIndex.Step, _ parts: ModelParts) {
    self.file = file
    self.saved = saved
    self.parts = parts
  }

  func loaded(by step: TrainingStep) throws -> Loaded {
    var new = Loaded(count: saved.count, key: try file.array(saved.key, like: .i64(2)))
    if let fields = saved.fields {
      let (outline, wanted) = try rehearsal(step, fields)
      try parts.check(outline, of: saved.name, at: file.path)
      guard outline.text == StepOutline.text(saved.optimizers) else {
        throw ApusError(
          .invalidArgument,
          "step '\(saved.name)' of the checkpoint was trained by "
            + StepOutline.text(saved.optimizers), at: file.path,
          expected: "\(outline.text), as the step trains")
      }
      try compare(wanted)
      new.outline = outline
    }
    for slot in saved.slots {
      let parameter = try parameter(slot.parameter)
      let cell = try StateCell(
        file.array(slot.array), lock: parameter.home().lock, for: "'\(slot.name)'")
      new.slots.add(slot.name, parameter, cell)
    }
    for slot in saved.kept { try load(slot, into: new.kept) }
    new.kept.batches = saved.keptBatches
    for updates in saved.updates {
      new.slots.counter(updates.optimizer, try parameter(updates.parameter)).count = updates.count
    }
    return new
  }

  /// Takes over a sum of gradients, or what it is a sum over.
  ///
  /// - Throws: `invalidFile` for what is neither.
  private func load(_ slot: CheckpointIndex.Slot, into kept: KeptGradients) throws {
    let parameter = try parameter(slot.parameter)
    let optimizer = saved.optimizers.first {
      [KeptGradients.sumName($0.name), KeptGradients.countName($0.name)].contains(slot.name)
    }
    guard let optimizer else {
      throw ApusError(
        .invalidFile, "the checkpoint is damaged: '\(slot.name)' waits for an update",
        at: file.path, expected: "gradients of an optimiser of step '\(saved.name)'")
    }
    let isSum = slot.name == KeptGradients.sumName(optimizer.name)
    let type = TensorType(.f32, isSum ? parameter.shape : [])
    let cell = try StateCell(
      file.array(slot.array, like: type), lock: parameter.home().lock, for: "'\(slot.name)'")
    kept.slots.add(slot.name, parameter, cell)
    if isSum {
      kept.learners.insert(
        OptimizerSlots.Key(name: optimizer.name, parameter: ObjectIdentifier(parameter)))
    }
  }

  private func rehearsal(
    _ step: TrainingStep, _ fields: [BatchField]
  ) throws -> (StepOutline, OptimizerSlots) {
    do {
      return try step.rehearse(fields)
    } catch var error as ApusError {
      error.what =
        "step '\(saved.name)' cannot be recorded for the checkpoint's batches: \(error.what)"
      throw error
    }
  }

  /// Compares the slots that the step asks for with those that the file has.
  private func compare(_ wanted: OptimizerSlots) throws {
    var theirs: [OptimizerSlots.Key: CheckpointIndex.Slot] = [:]
    for slot in saved.slots {
      theirs[try key(slot.name, slot.parameter)] = slot
    }
    var updates: [OptimizerSlots.Key: Int] = [:]
    for entry in saved.updates {
      updates[try key(entry.optimizer, entry.parameter)] = entry.count
    }
    var ours: Set<OptimizerSlots.Key> = []
    for slot in wanted.cells {
      ours.insert(slot.key)
      if let entry = theirs[slot.key].flatMap({ file.entry($0.array) }) {
        guard entry.dtype == slot.cell.type.dtype, entry.shape == slot.cell.type.shape else {
          throw ApusError(
            .shapeMismatch, "'\(entry.name)' is \(entry.dtypeName)\(entry.shape) in the checkpoint",
            at: file.path, expected: "\(slot.cell.type), as the optimiser asks for it")
        }
        continue
      }
      // What was frozen until now has no slots yet.
      let trained = wanted.counters.keys.first {
        $0.parameter == slot.key.parameter && slot.name.hasPrefix($0.name + ".")
          && updates[$0, default: 0] > 0
      }
      if trained != nil {
        throw ApusError(
          .missing,
          "step '\(saved.name)' of the checkpoint has no '\(slot.name)' of "
            + "'\(parts.paths[slot.key.parameter] ?? "")'", at: file.path,
          expected: "all slots of the optimiser")
      }
    }
    for (key, slot) in theirs where !ours.contains(key) {
      // What is frozen now keeps its slots.
      let isTrained = wanted.counters.keys.contains {
        $0.parameter == key.parameter && slot.name.hasPrefix($0.name + ".")
      }
      if isTrained {
        throw ApusError(
          .missing,
          "the optimisers of step '\(saved.name)' have no '\(slot.name)' of "
            + "'\(slot.parameter)'", at: file.path, expected: "the slots of the checkpoint")
      }
    }
  }

  private func key(_ name: String, _ path: String) throws -> OptimizerSlots.Key {
    OptimizerSlots.Key(name: name, parameter: ObjectIdentifier(try parameter(path)))
  }

  /// - Throws: `missing` where the model has no such parameter.
  private func parameter(_ path: String) throws -> Parameter {
    guard let parameter = parts.parameters[path] else {
      throw ApusError(
        .missing, "\(parts.model) has no parameter '\(path)'", at: file.path,
        expected: "the parameters that step '\(saved.name)' of the checkpoint trained")
    }
    return parameter
  }
}

extension SafetensorsFile {
  /// An array of exactly that type.
  fileprivate func array(_ name: String, like type: TensorType) throws -> NDArray {
    let array = try array(name)
    guard array.type == type else {
      throw ApusError(
        .shapeMismatch, "'\(name)' is \(array.type) in the checkpoint", at: path,
        expected: "\(type)")
    }
    return array
  }
}
