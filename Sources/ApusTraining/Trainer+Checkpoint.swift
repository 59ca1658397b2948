// A trainer's checkpoints: those of its step, and where it is in its data.

import ApusData
import ApusGraph
import ApusNN

extension Trainer {
  /// What its step is called in files.
  private static var stepName: String { "training" }

  private var checkpoint: Checkpoint {
    Checkpoint(wholeModel, steps: [Self.stepName: trainingStep])
  }

  /// Writes parameters, buffers, optimiser slots, the random key, the counts of steps, epochs and batches, the means
  /// of the epoch under way, and what the run was: the optimiser's rule, the data and its order, and what a
  /// ``ResumableCallback`` remembers. See ``Checkpoint``.
  ///
  /// `metadata` is more to keep in the file's header, such as the settings of the run; names that begin
  /// with `apus.` and are used here are overwritten. Of several processes the first writes, and any number of processes
  /// goes on from the file.
  ///
  /// - Throws: as ``Checkpoint/save(_:metadata:allowingNonFinite:)``; an existing checkpoint then stays.
  public func saveCheckpoint(_ path: String, metadata: [String: String] = [:]) throws {
    guard company.isFirst else { return }
    let states = callbackStates
    try checkpoint.save(
      path, metadata: metadata.merging(header(states)) { $1 }, callbacks: states.arrays)
  }

  private func header(_ states: CallbackStates) -> [String: String] {
    let counters = counters
    var header = [
      "apus.step": "\(step)", "apus.epoch": "\(counters.epoch)",
      "apus.batches_done": "\(counters.batch)", "apus.optimizer": rule,
    ]
    if let data = dataIdentity { header["apus.data"] = data }
    if let states = states.text { header[CallbackStates.key] = states }
    if let progress = epochProgress { header[EpochProgress.key] = progress.text }
    return header
  }

  /// Goes on from a checkpoint of the same model and optimiser, with the same data. Nothing is changed unless
  /// all fits.
  ///
  /// - Throws: `invalidArgument` naming both optimisers where they differ, and as ``Checkpoint/load(_:)``. Other
  ///   data is refused by the next `fit`.
  public func resume(from path: String) throws {
    let file = try SafetensorsFile(path)
    func count(_ name: String) -> Int? {
      CheckpointIndex.count(file.metadata[name].flatMap { Int($0) })
    }
    guard let step = count("apus.step"), let epoch = count("apus.epoch"),
      let batch = count("apus.batches_done"), let optimizer = file.metadata["apus.optimizer"]
    else { throw CheckpointIndex.notACheckpoint(file) }
    guard optimizer == rule else {
      throw ApusError(
        .invalidArgument, "the checkpoint was trained by \(optimizer)", at: path,
        expected: "\(rule), this trainer's optimiser")
    }
    let isOld = file.metadata["apus.checkpoint"] == "2"
    let index =
      isOld
      ? try CheckpointIndex(version2: file, ModelTree(wholeModel), step: Self.stepName)
      : try CheckpointIndex(file)
    guard index.steps.allSatisfy({ $0.count == step }) else {
      throw ApusError(
        .invalidFile, "the checkpoint is damaged: it was written at step \(step)", at: path,
        expected: "the count of its step, \(index.steps.first?.count ?? 0)")
    }
    // All is read before anything is changed.
    let states = try CallbackStates(
      file.metadata, index.rememberedArrays(file), at: path)
    let progress = try EpochProgress(file.metadata, at: path)
    try checkpoint.load(file, index)
    goOn(
      fromEpoch: epoch, batch: batch, data: file.metadata["apus.data"], states, progress)
  }
}

extension Trainer: SizedRun {
  package var weightBytes: Int { FileSize(judgedModel, [:]).bytes }

  package func checkpointBytes(metadata: [String: String]) -> Int {
    checkpoint.byteCount(
      metadata: metadata.merging(header(callbackStates)) { $1 }, callbacks: runningCallbacks)
  }
}
