// Checkpoints while training goes on, so that the death of the process costs little.

import ApusData
import ApusGraph

/// Writes a checkpoint every so many steps, epochs or minutes, so that what happens to the process or the
/// machine costs no more than those.
///
///     try trainer.fit(
///       data, epochs: 100,
///       callbacks: [ProgressBar(), Checkpointing("run.safetensors", every: .time(.seconds(300)))])
///
/// The run that goes on from the file gives the bits of an uninterrupted one, whenever it was written.
///
/// The checkpoint before is kept as `PATH.previous`. Before the first step space on the disk is kept for all
/// files there will be, so that a disk that is too small is an error then. A checkpoint that cannot be written
/// all the same (the disk went away, say) ends nothing: the last good one stays, one line on standard error
/// says so, and the next one is tried in its turn.
public final class Checkpointing: Callback {
  /// How often.
  public enum Interval: Sendable, Hashable {
    /// After steps whose number, counted from the very beginning of training, divides by this.
    case steps(Int)
    /// After epochs, likewise.
    case epochs(Int)
    /// After the first step that ends so long after the last checkpoint.
    case time(Duration)
  }

  private let path: String
  private let interval: Interval
  private let metadata: [String: String]
  private let warn: ProgressBar.Output
  private let now: () -> ContinuousClock.Instant

  /// The step after which the last checkpoint was written; nil before the first.
  public private(set) var savedStep: Int?
  /// Whether the last attempt failed, which has been said.
  private var hasFailed = false
  private var lastTried: ContinuousClock.Instant?
  private var space: FileReservation?

  /// - `path`: the file; the checkpoint before it is kept beside it.
  /// - `interval`: how often; after every epoch where nothing is said.
  /// - `metadata`: more for the file's header, such as the settings of the run.
  public convenience init(
    _ path: String, every interval: Interval = .epochs(1), metadata: [String: String] = [:]
  ) {
    self.init(path, every: interval, metadata: metadata, warn: StandardError.warn)
  }

  /// - `warn`: where words go.
  package init(
    _ path: String, every interval: Interval, metadata: [String: String] = [:],
    warn: @escaping ProgressBar.Output,
    now: @escaping () -> ContinuousClock.Instant = { ContinuousClock.now }
  ) {
    self.path = path
    self.interval = interval
    self.metadata = metadata
    self.warn = warn
    self.now = now
  }

  /// - Throws: `invalidArgument` for an interval that is not above 0, and `io` where the file cannot be written
  ///   or there is no space for it: both before the first step. Later, what saving throws that is no matter
  ///   of the disk, such as `nonFinite`.
  public func handle(_ event: TrainingEvent, in run: any TrainingRun) throws -> Verdict {
    switch event {
    case .epochBegan:
      if lastTried == nil { try begin(run) }
    case .stepEnded:
      // A loop of one's own may begin with this.
      if lastTried == nil { try begin(run) }
      if isDue(after: run.step) { try save(run) }
    case .epochEnded:
      if case .epochs(let count) = interval, run.epoch.isMultiple(of: count) { try save(run) }
    case .ended:
      if hasFailed { try save(run, isLast: true) }
      space = nil
      lastTried = nil
    }
    return .goOn
  }

  private func begin(_ run: any TrainingRun) throws {
    let isPositive =
      switch interval {
      case .steps(let count), .epochs(let count): count > 0
      case .time(let duration): duration > .zero
      }
    guard isPositive else {
      throw ApusError(
        .invalidArgument, "a checkpoint is wanted every \(interval)", at: path,
        expected: "steps, epochs or a time above 0")
    }
    try AtomicFile.checkWritable(path)
    space = try run.reserveCheckpoints(path, metadata: metadata, isRepeated: true)
    lastTried = now()
  }

  private func isDue(after step: Int) -> Bool {
    switch interval {
    case .steps(let count): step.isMultiple(of: count)
    case .epochs: false
    case .time(let duration): lastTried.map { now() - $0 >= duration } ?? false
    }
  }

  private func save(_ run: any TrainingRun, isLast: Bool = false) throws {
    defer { lastTried = now() }
    do {
      try run.saveCheckpoint(path, metadata: metadata)
      savedStep = run.step
      hasFailed = false
    } catch let error as ApusError where error.kind == .io {
      if !hasFailed || isLast { tell(error, run.step, isLast) }
      hasFailed = true
    }
    // The one before the last is gone, its space is for the next. Without it that one may still succeed.
    if !isLast, let run = run as? any SizedRun {
      try? space?.refill(to: 1, bytes: run.checkpointBytes(metadata: metadata))
    }
  }

  private func tell(_ error: ApusError, _ step: Int, _ isLast: Bool) {
    let rest = isLast ? "" : "; training goes on, and the next is tried in its turn"
    let last = savedStep.map { "the last good one is of step \($0)" } ?? "none was written before"
    _ = warn("the checkpoint of step \(step) is lost\(rest); \(last): \(error)")
  }
}
