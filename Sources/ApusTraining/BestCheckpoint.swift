// The file of the best epoch so far, by a metric.

import ApusData
import ApusGraph
import ApusNN

/// Writes a file whenever the validation loss, or a metric, is better than ever before: the best epoch's, whatever
/// comes after.
///
///     let best = BestCheckpoint("best.safetensors", on: "accuracy", .larger)
///     try trainer.fit(train, validation: test, epochs: 100, callbacks: [ProgressBar(), best])
///     print(best.best?.value ?? .nan)
///     try model.load("best.safetensors")
///
/// What was best is in the trainer's checkpoints: a run that is resumed does not replace the file by a worse one. A
/// file that cannot be written while training goes on costs the run nothing: one line on standard error says so, and
/// the file that is there stays.
public final class BestCheckpoint: ResumableCallback {
  /// What is written.
  public enum Content: Sendable {
    /// What `Module.load` reads.
    case weights
    /// All that `Trainer.resume` needs, to go on from the best epoch. `Module.load` reads the weights of it, too.
    case checkpoint
  }

  private let path: String
  private let metric: WatchedMetric
  private let delta: Double
  private let content: Content
  private let metadata: [String: String]
  private let warn: ProgressBar.Output
  private var value: Double?
  private var epoch = 0
  private var isBegun = false
  private var space: FileReservation?

  /// - `path`: the file, replaced atomically.
  /// - `metric`: of the validation, or of training where there is none; nil, or `loss`, for the loss.
  /// - `delta`: the least change that counts as better.
  /// - `content`: weights alone, or a whole checkpoint.
  /// - `metadata`: more for a checkpoint's header.
  public convenience init(
    _ path: String, on metric: String? = nil, _ goal: EarlyStopping.Goal = .smaller,
    delta: Double = 0, content: Content = .weights, metadata: [String: String] = [:]
  ) {
    self.init(
      path, on: metric, goal, delta: delta, content: content, metadata: metadata,
      warn: StandardError.warn)
  }

  /// - `warn`: where words go.
  package init(
    _ path: String, on metric: String?, _ goal: EarlyStopping.Goal, delta: Double,
    content: Content, metadata: [String: String], warn: @escaping ProgressBar.Output
  ) {
    self.path = path
    self.metric = WatchedMetric(metric, goal, owner: "BestCheckpoint")
    self.delta = delta
    self.content = content
    self.metadata = metadata
    self.warn = warn
  }

  /// The best value, and after which epoch of all it was reached, from 1 on; nil before the first.
  public var best: (value: Double, epoch: Int)? { value.map { ($0, epoch) } }

  /// - Throws: before the first step `missing` where epochs will have no such metric, and `io` where the file cannot be
  ///   written or there is no space for it. Later, what saving throws that is no matter of the disk.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan where !isBegun:
      try metric.check(run)
      try AtomicFile.checkWritable(path)
      try reserve(run)
      isBegun = true
    case .epochEnded(let summary):
      let new = try metric.value(of: summary, in: run)
      guard metric.isBetter(new, than: value, by: delta) else { break }
      // First, so that a checkpoint has it.
      value = new
      epoch = run.epoch
      try save(run)
    case .ended:
      space = nil
      isBegun = false
    default: break
    }
    return .goOn
  }

  private func reserve(_ run: any TrainingRun) throws {
    switch content {
    case .weights: space = try run.reserveWeights(path)
    case .checkpoint:
      space = try run.reserveCheckpoints(path, metadata: metadata, isRepeated: true)
    }
  }

  private func save(_ run: any TrainingRun) throws {
    do {
      switch content {
      case .weights: try run.save(path)
      case .checkpoint: try run.saveCheckpoint(path, metadata: metadata)
      }
    } catch let error as ApusError where error.kind == .io {
      _ = warn("the weights of the best epoch, \(epoch), are not in their file: \(error)")
    }
  }

  // MARK: Checkpoints

  public var checkpointName: String { "BestCheckpoint" }

  public var state: [String: Double] { value.map { ["best": $0, "epoch": Double(epoch)] } ?? [:] }

  /// - Throws: `invalidArgument` for what ``state`` cannot have been.
  public func restore(_ state: [String: Double]) throws {
    guard !state.isEmpty else { return value = nil }
    guard let best = state["best"], let epoch = state["epoch"].flatMap({ Int(exactly: $0) }),
      (1...1_000_000_000).contains(epoch)
    else {
      throw ApusError(
        .invalidArgument, "BestCheckpoint cannot go on from \(state)",
        expected: "its own state: best and epoch")
    }
    value = best
    self.epoch = epoch
  }
}
