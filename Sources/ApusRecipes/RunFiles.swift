// The files of a run: where they are, which one it goes on from, and the space that is kept for them.

import Apus
import Foundation

extension RecipeRun {
  /// Where a run that is interrupted leaves all it needs to go on: in the folder for checkpoints, or beside
  /// the weights, `fashion-mnist.checkpoint.safetensors`.
  package var checkpoint: String {
    folder.map { Self.checkpoint(of: recipe, in: $0, files) } ?? Self.checkpoint(beside: output)
  }

  static func checkpoint(beside output: String) -> String {
    path(beside: output, ending: ".checkpoint.safetensors")
  }

  /// A file beside the weights: `fashion-mnist.svg`.
  func path(ending: String) -> String { Self.path(beside: output, ending: ending) }

  private static func path(beside output: String, ending: String) -> String {
    let suffix = ".safetensors"
    return (output.hasSuffix(suffix) ? String(output.dropLast(suffix.count)) : output) + ending
  }

  /// - `files`: the run's folder, whose checkpoint is not named by the recipe.
  static func checkpoint(of recipe: any Recipe, in folder: String, _ files: RunFolder?) -> String {
    if let files, files.path == folder { return files.checkpoint }
    return (folder.hasSuffix("/") ? folder : folder + "/") + "\(recipe.name).checkpoint.safetensors"
  }

  /// Makes the folder for checkpoints, and finds the file to go on from; nil at the beginning of a run.
  func prepareFiles() throws -> String? {
    if let folder { try RunFolder.make(folder, for: "checkpoints") }
    if let resume {
      let found = checkpointToResume(resume)
      if let found { try checkSettings(of: found) }
      return found
    }
    if let files, FileManager.default.fileExists(atPath: files.metrics) {
      throw ApusError(
        .invalidArgument, "there is an earlier run in the folder", at: files.path,
        expected: "--resume to go on with it, or another folder")
    }
    // Two checkpoints later nothing would be left of the other run.
    if folder != nil, Self.hasCheckpoint(checkpoint) {
      throw ApusError(
        .invalidArgument, "there is a checkpoint of an earlier run", at: checkpoint,
        expected: "--resume to go on from it, or another folder")
    }
    return nil
  }

  private static func hasCheckpoint(_ path: String) -> Bool {
    [path, AtomicFile.previous(path)].contains { FileManager.default.fileExists(atPath: $0) }
  }

  /// The newest whole checkpoint of a file or folder; nil where the folder has none yet, so that one command
  /// starts a run and, after whatever ended it, goes on.
  func checkpointToResume(_ wanted: String) -> String? {
    var isFolder: ObjCBool = false
    var path = wanted
    if FileManager.default.fileExists(atPath: wanted, isDirectory: &isFolder), isFolder.boolValue {
      path = Self.checkpoint(of: recipe, in: wanted, files)
      guard Self.hasCheckpoint(path) else {
        if isFirst { tell("no checkpoint in \(wanted) yet: training begins") }
        return nil
      }
    }
    // What neither is good for is said by those who read it.
    guard let found = try? Checkpoint.newestWhole(path) else { return path }
    if found != path, isFirst, let damage = Checkpoint.damage(of: path) {
      tell("\(damage)\ngoing on from the checkpoint before it, \(found)")
    }
    return found
  }

  /// - Throws: `invalidArgument` where the checkpoint was made with other options: going on would give
  ///   weights that no uninterrupted run gives.
  private func checkSettings(of path: String) throws {
    let metadata = try SafetensorsFile(path).metadata
    let settings = Self.settings(recipe, options, compile)
    for (key, option, value) in settings.sorted(by: { $0.key < $1.key }) {
      guard let stored = metadata[key], stored != value else { continue }
      throw ApusError(
        .invalidArgument, "the checkpoint was made with --\(option) \(stored), not \(value)",
        at: path, expected: "the options of the run that is resumed")
    }
  }

  /// Writes the weights, the last thing a run does. Where that fails, what was learnt is written as a
  /// checkpoint, and the error says where.
  ///
  /// - Throws: as `TrainingRun.save`.
  package func save(_ training: any TrainingRun) throws {
    do {
      try training.save(output)
    } catch var error as ApusError where error.kind == .io {
      let isRescued = (try? training.saveCheckpoint(checkpoint, metadata: metadata)) != nil
      error.what +=
        isRescued
        ? "; what was learnt is in \(checkpoint), --resume writes the weights of it"
        : "; \(lastCheckpoint)"
      throw error
    }
    // Who reads them next finds them.
    compile.processes?.barrier()
  }

  /// Where the last good checkpoint is, in words.
  var lastCheckpoint: String {
    if let step = periodic?.savedStep, Checkpoint.damage(of: checkpoint) == nil {
      return "the last good checkpoint is of step \(step), in \(checkpoint)"
    }
    return resume.map { "the last good checkpoint is the one that was resumed, \($0)" }
      ?? "there is no checkpoint"
  }
}

/// Keeps space for the weights, and for a checkpoint of a run that is interrupted, from before the first step.
final class SpaceForFiles: Callback {
  private let weights: String
  private let checkpoint: String?
  private let metadata: [String: String]
  private var space: [FileReservation?] = []

  /// - `checkpoint`: nil where others keep space for it.
  init(weights: String, checkpoint: String?, _ metadata: [String: String]) {
    self.weights = weights
    self.checkpoint = checkpoint
    self.metadata = metadata
  }

  func handle(_ event: TrainingEvent, in training: any TrainingRun) throws -> Verdict {
    guard case .epochBegan = event, space.isEmpty else { return .goOn }
    space = [try training.reserveWeights(weights)]
    if let checkpoint {
      space.append(
        try training.reserveCheckpoints(checkpoint, metadata: metadata, isRepeated: false))
    }
    return .goOn
  }
}
