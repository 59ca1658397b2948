// The world around a run: streams that are closed, full or without a reader, signals, limits, kills. Whatever
// it is, what was learnt is saved, and the exit code says whether all that was asked for was done.

import Apus
import Foundation
import Testing

@Suite(.serialized) struct SurroundingsTests {
  /// A run of 59 steps an epoch.
  private static func arguments(_ output: String, _ more: [String] = []) -> [String] {
    ["train", "fashion-mnist", "--batch", "1024", "--seed", "7", "--output", output] + more
  }

  /// The weights of one epoch that nothing happened to.
  private static let expected = Result {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w").path
      let run = try CommandProcess(arguments(output, ["--epochs", "1"])).finish()
      #expect(run.status == 0, "\(run.errors)")
      return try Data(contentsOf: URL(filePath: output))
    }
  }

  struct Streams: Sendable, CustomTestStringConvertible {
    var streams: String
    var isJSON = false
    /// 1 where results were asked for and could not be written.
    var status: Int32 = 0
    var says = ""
    var testDescription: String { streams }
  }

  @Test(arguments: [
    Streams(streams: "2>&-"), Streams(streams: "2>/dev/full"), Streams(streams: "2>/dev/full <&-"),
    Streams(streams: ">&-", isJSON: true, status: 1, says: "Bad file descriptor"),
    Streams(streams: ">/dev/full", isJSON: true, status: 1, says: "No space left"),
    Streams(streams: ">/dev/full", status: 1, says: "No space left"),
    Streams(streams: ">&- 2>&- <&-", status: 1),
  ])
  func streamsThatAreClosedOrFull_costNoWeights(_ streams: Streams) throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let more = ["--epochs", "1"] + (streams.isJSON ? ["--json"] : [])
      let run = try CommandProcess(Self.arguments(output, more), streams: streams.streams).finish()
      #expect(run.status == streams.status, "\(run.errors)")
      #expect(streams.says.isEmpty || run.errors.contains(streams.says), "\(run.errors)")
      if streams.status != 0 && !streams.streams.contains("2>") {
        #expect(run.errors.contains("the weights are in \(output)"))
      }
      let weights = try Data(contentsOf: URL(filePath: output))
      #expect(try weights == Self.expected.get())
      let left = try names(in: folder)
      #expect(left == ["w.safetensors"])
    }
  }

  @Test(arguments: [true, false])
  func aReaderThatGoesAway_costsNoWeights(isOutput: Bool) throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      // Of standard output, or of standard error while results go nowhere.
      let process = try CommandProcess(
        Self.arguments(output, ["--epochs", "1", "--json"]),
        streams: isOutput ? "" : "2>&1 >/dev/null")
      process.hangUp()
      let run = try process.finish()
      #expect(run.status == (isOutput ? 1 : 0), "\(run.errors)")
      if isOutput { #expect(run.errors.contains("nobody reads standard output any more")) }
      let weights = try Data(contentsOf: URL(filePath: output))
      #expect(try weights == Self.expected.get())
    }
  }

  @Test func helpThatCannotBeWritten_isAnError() throws {
    #expect(try CommandProcess(["train", "--help"], streams: ">/dev/full").finish().status == 1)
    #expect(try CommandProcess(["--version"], streams: ">&-").finish().status == 1)
  }

  @Test(arguments: [(SIGTERM, "143"), (SIGHUP, "129")])
  func signalsWriteACheckpoint(signal: Int32, status: String) throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let process = try CommandProcess(Self.arguments(output, ["--epochs", "500", "--json"]))
      _ = try #require(process.nextLine())
      process.send(signal)
      let run = try process.finish()
      #expect("\(run.status)" == status, "\(run.errors)")
      #expect(run.errors.contains("--resume"))
      let left = try names(in: folder)
      #expect(left == ["w.checkpoint.safetensors"])
      #expect(Checkpoint.damage(of: folder.appendingPathComponent(left[0]).path) == nil)
    }
  }

  @Test func aRunUnderNohup_outlivesAHangUp() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let process = try CommandProcess(
        Self.arguments(output, ["--epochs", "2", "--json"]), shell: "trap '' HUP;")
      _ = try #require(process.nextLine())
      process.send(SIGHUP)
      let run = try process.finish()
      #expect(run.status == 0, "\(run.errors)")
      #expect(try names(in: folder) == ["w.safetensors"])
    }
  }

  @Test func aLimitOfFileSizes_isAnErrorAtTheStart() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let run = try CommandProcess(
        Self.arguments(output, ["--epochs", "1", "--json"]), shell: "ulimit -f 200;"
      ).finish()
      #expect(run.status == 1, "\(run.errors)")
      #expect(run.output.isEmpty)
      #expect(run.errors.contains("reserve") && run.errors.contains("File too large"))
      #expect(try names(in: folder).isEmpty)
    }
  }

  @Test func weightsThatCannotBeWritten_leaveACheckpointAndTheWordWhere() throws {
    try withFolder { folder in
      // A device takes no reservation: what is wrong shows at the end.
      let run = try CommandProcess([
        "train", "fashion-mnist", "--batch", "1024", "--epochs", "1", "--json", "--output",
        "/dev/full",
        "--checkpoint", folder.path, "--every", "1h",
      ]).finish()
      #expect(run.status == 1)
      let checkpoint = folder.appendingPathComponent("fashion-mnist.checkpoint.safetensors").path
      #expect(run.errors.contains("No space left") && run.errors.contains("is in \(checkpoint)"))
      let output = folder.appendingPathComponent("w").path
      let resumed = try CommandProcess([
        "train", "fashion-mnist", "--batch", "1024", "--epochs", "1", "--output", output,
        "--resume", checkpoint,
      ]).finish()
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(resumed.output.hasPrefix("test accuracy "))
      #expect(try SafetensorsFile(output).names.count == 4)
    }
  }

  @Test func aRunThatIsKilled_goesOnToTheSameBits() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let checkpoints = folder.appendingPathComponent("new/checkpoints").path
      let file = "\(checkpoints)/fashion-mnist.checkpoint.safetensors"
      let arguments = Self.arguments(
        output, ["--epochs", "1", "--json", "--checkpoint", checkpoints, "--every", "7"])
      let process = try CommandProcess(arguments + ["--resume"])
      let deadline = ContinuousClock.now + .seconds(60)
      while !FileManager.default.fileExists(atPath: file), ContinuousClock.now < deadline {
        usleep(500)
      }
      process.send(SIGKILL)
      let killed = try process.finish()
      #expect(killed.status == -1 && killed.errors.contains("training begins"))
      #expect(!FileManager.default.fileExists(atPath: output))

      // Without --resume nothing is thrown away.
      let refused = try CommandProcess(arguments).finish()
      #expect(refused.status == 1 && refused.errors.contains("--resume"), "\(refused.errors)")

      let resumed = try CommandProcess(arguments + ["--resume"]).finish()
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try Data(contentsOf: URL(filePath: output)) == Self.expected.get())
      let left = try names(in: URL(filePath: checkpoints))
      #expect(left == ["", ".previous"].map { "fashion-mnist.checkpoint.safetensors\($0)" })

      // The newest is damaged: the one before it is gone on from, with a word.
      try Data(contentsOf: URL(filePath: file)).dropLast(1).write(to: URL(filePath: file))
      try FileManager.default.removeItem(atPath: output)
      let fallen = try CommandProcess(arguments + ["--resume", checkpoints]).finish()
      #expect(fallen.status == 0, "\(fallen.errors)")
      #expect(fallen.errors.contains("\(file).previous"))
      #expect(try Data(contentsOf: URL(filePath: output)) == Self.expected.get())
      #expect(try names(in: folder) == ["new", "w.safetensors"])
    }
  }

  @Test(arguments: [
    (["--every", "5"], "--checkpoint"), (["--checkpoint", ""], "--checkpoint is empty"),
    (["--resume"], "--resume has no file"), (["--resume", ""], "--resume is empty"),
    (["--checkpoint", "c", "--every", "0"], "'0'"),
    (["--checkpoint", "c", "--every", "5d"], "'5d'"),
    (["--checkpoint", "c", "--every", "9223372036854775807h"], "--every"),
    (["--checkpoint", "c", "--every", "-1"], "--every"),
    (["--batch", "9223372036854775807"], "from 1 to 1048576"),
    (["--batch", "99999999999999999999"], "a whole number"),
    (["--epochs", "9223372036854775807"], "from 1 to 1048576"),
    (["--threads", "9223372036854775807"], "from 1 to 1024"),
    (["--hidden", "9223372036854775807"], "from 1 to 65536"),
    (["--hidden", "-9223372036854775808"], "from 1 to 65536"),
    (["--seed", "18446744073709551616"], "--seed"),
    (["--learning-rate", "1e999"], "--learning-rate"),
  ])
  func extremeOptions_areUsageErrorsWithTheirRange(options: [String], words: String) throws {
    let run = try CommandProcess(["train", "fashion-mnist"] + options).finish()
    #expect(run.status == 64 && run.output.isEmpty, "\(run.errors)")
    #expect(run.errors.contains(words), "\(run.errors)")
  }

  @Test func moreThreadsThanProcessors_isOneLineOfWarning() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w").path
      let run = try CommandProcess(
        Self.arguments(output, ["--epochs", "1", "--json"]), environment: ["APUS_THREADS": "33"]
      ).finish()
      #expect(run.status == 0)
      let lines = run.errors.split(separator: "\n")
      let isWarned = ProcessorBudget.current.processors < 33
      #expect(lines.count == (isWarned ? 1 : 0), "\(run.errors)")
      #expect(!isWarned || lines[0].contains("33 threads (APUS_THREADS)"))
    }
  }
}
