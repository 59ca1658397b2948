// Runs that are killed by the system at random moments, and resumed: the bits are those of one that nobody killed.

import Apus
import Foundation
import Testing

@Suite(.serialized) struct KillTests {
  /// How many runs are killed: 3, or as many as APUS_KILLS says (`.ci/kills`).
  private static let kills =
    ProcessInfo.processInfo.environment["APUS_KILLS"].flatMap { Int($0) } ?? 3

  /// What a child reads: Swift hands nothing of the test over to it.
  private static let folderName = "APUS_KILL_FOLDER", delayName = "APUS_KILL_MICROSECONDS"

  /// In the child: trains with a checkpoint every third step, and dies at its moment, whatever it is doing.
  private static func trainAndDie() throws -> Never {
    let environment = ProcessInfo.processInfo.environment
    let folder = environment[folderName] ?? "/nowhere"
    let delay = environment[delayName].flatMap { UInt32($0) } ?? 0
    let run = try EventfulRun(folder)
    let death = Thread {
      usleep(delay)
      kill(getpid(), SIGKILL)
    }
    death.start()
    try run.run(every: .steps(3), before: [RunRecorder(folder, every: 1)])
    // It was quicker than its death.
    while true { usleep(100_000) }
  }

  @Test func aRunThatIsKilledAnywhere_isResumedToTheSameBits() async throws {
    let whole = try EventfulRun.whole.get()
    // How long such a run takes, checkpoints and all.
    let timed = try LifeCycle.folder().path
    let clock = ContinuousClock()
    let seconds =
      try clock.measure {
        try EventfulRun(timed).run(every: .steps(3), before: [RunRecorder(timed, every: 1)])
      } / .seconds(1)
    let curves = try Self.losses(timed)
    var resumedAt: [Int] = []
    for _ in 0..<Self.kills {
      let folder = try LifeCycle.folder().path
      setenv(Self.folderName, folder, 1)
      setenv(Self.delayName, "\(Int(Double.random(in: 0..<1.1) * seconds * 1e6))", 1)
      await #expect(processExitsWith: .signal(SIGKILL)) { try KillTests.trainAndDie() }
      let resumed = try EventfulRun(folder)
      try resumed.run(every: .steps(3), before: [RunRecorder(folder, every: 1)])
      let history = try RunHistory(folder)
      resumedAt += history.resumedAt.isEmpty ? [0] : history.resumedAt
      #expect(try resumed.outcome() == whole, "resumed at \(history.resumedAt), files in \(folder)")
      #expect(try Self.losses(folder) == curves, "resumed at \(history.resumedAt)")
      #expect(history.damagedLines <= 1)
    }
    print("killed \(Self.kills) runs of \(seconds) s; resumed after the steps \(resumedAt)")
  }

  /// The numbers that do not depend on the time it took.
  private static func losses(_ folder: String) throws -> [[Double]] {
    let history = try RunHistory(folder)
    return try ["loss/validation", "loss/training", "accuracy/validation"].map {
      try history.curve($0).points.flatMap { [Double($0.step), $0.value] }
    }
  }
}
