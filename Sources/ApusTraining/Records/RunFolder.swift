// The layout of a run's folder.

import ApusData
import ApusGraph
import Foundation

/// The files of one run, which lie in one folder.
///
///     let folder = RunFolder("runs/a")
///     let recorder = try RunRecorder(folder.path)
///     try trainer.fit(
///       data, epochs: 5, callbacks: [ProgressBar(), recorder, Checkpointing(folder.checkpoint)])
///     try trainer.save(folder.weights)
///
/// `apus train --run FOLDER` writes all of them:
///
/// | file | what |
/// | --- | --- |
/// | `config.json` | what was asked for, all defaults filled in |
/// | `metrics.jsonl` | curves, as lines of JSON; see ``JSONLinesWriter`` |
/// | `events.out.tfevents.…` | TensorBoard's, one for each time that the run was begun or resumed |
/// | `report.html` | the report, one page without network; `curves.svg` its curves |
/// | `checkpoint.safetensors` | all that a resumed run needs, and the one before as `.previous` |
/// | `weights.safetensors` | what was learnt |
public struct RunFolder: Sendable, Hashable {
  public let path: String

  public init(_ path: String) { self.path = path }

  public var configuration: String { file("config.json") }
  public var metrics: String { file("metrics.jsonl") }
  public var report: String { file("report.html") }
  public var curves: String { file("curves.svg") }
  public var checkpoint: String { file("checkpoint.safetensors") }
  public var weights: String { file("weights.safetensors") }

  /// The path of a file in it.
  public func file(_ name: String) -> String { Self.path(name, in: path) }

  static func path(_ name: String, in folder: String) -> String {
    (folder.hasSuffix("/") ? folder : folder + "/") + name
  }

  /// Makes the folder, where it is not there.
  ///
  /// - `what`: it is for, for errors.
  /// - Throws: `io` where there can be no such folder.
  package static func make(_ folder: String, for what: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw ApusError(
        .io, "cannot make the folder for \(what): \(error.localizedDescription)", at: folder,
        expected: "a folder")
    }
  }
}
