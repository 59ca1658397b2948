// `mpirun -np N apus train`: several processes on this machine.

import Apus
import Foundation
import TestSupport
import Testing

private let mpirun = ChildProgram.inPath("mpirun")

@Suite(.serialized) struct ProcessTests {
  #if MPI
    private static let wanted: Comment = "mpirun is not here: openmpi-bin has it"
    /// As root, and with more processes than processors, Open MPI wants to be asked twice.
    private static let environment = [
      "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
      "OMPI_MCA_rmaps_base_oversubscribe": "1",
    ]

    private static func start(_ size: Int, _ arguments: [String]) throws -> CommandProcess {
      try CommandProcess(
        arguments, environment: environment,
        launcher: [try #require(mpirun), "-np", "\(size)"])
    }

    /// A short run: 118 steps an epoch.
    private static func train(
      _ size: Int, _ folder: URL, _ more: [String] = [], epochs: Int = 1
    ) throws -> CommandProcess {
      try start(size, arguments(folder, more, epochs: epochs))
    }

    private static func arguments(
      _ folder: URL, _ more: [String] = [], epochs: Int = 1
    ) -> [String] {
      [
        "train", "fashion-mnist", "--batch", "512", "--seed", "7", "--json", "--epochs",
        "\(epochs)", "--output", folder.appendingPathComponent("w.safetensors").path,
      ] + more
    }

    private static func weights(_ folder: URL) throws -> Data {
      try Data(contentsOf: folder.appendingPathComponent("w.safetensors"))
    }

    @Test(.enabled(if: mpirun != nil, wanted), arguments: [2, 3])
    func severalTrainAsOne_andTheFirstSpeaks(size: Int) throws {
      try withFolder { folder in
        let run = try Self.train(size, folder).finish()
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("\(size) processes of 1 thread each"), "\(run.errors)")
        let lines = try run.lines.map { try JSON(parsing: $0) }
        #expect(lines.map { $0["event"] } == ["epoch", "result"], "\(run.output)")
        #expect(lines[0]["steps"]?.integer == 118)
        #expect(try names(in: folder) == ["w.safetensors"])
        let first = try Self.weights(folder)
        #expect(try Self.train(size, folder).finish().status == 0)
        #expect(try Self.weights(folder) == first, "the same bits in every run")
        let alone = try CommandProcess(Self.arguments(folder)).finish()
        let line = try JSON(parsing: alone.lines[0])
        for name in ["training_loss", "test_loss"] {
          let (one, all) = (line[name]?.double ?? .nan, lines[0][name]?.double ?? 0)
          #expect(abs(one - all) < 1e-3 * one, "\(name): \(one) and \(all)")
        }
        let accuracy =
          (line["test_accuracy"]?.double ?? .nan) - (lines[0]["test_accuracy"]?.double ?? 0)
        #expect(abs(accuracy) < 0.005)
      }
    }

    /// What a kill costs is the steps since the last checkpoint.
    @Test(.enabled(if: mpirun != nil, wanted))
    func oneThatIsKilledEndsAll_andTheRunGoesOnToTheSameBits() throws {
      try withFolder { folder in
        let whole = folder.appendingPathComponent("whole"),
          kept = folder.appendingPathComponent("kept")
        for each in [whole, kept] {
          try FileManager.default.createDirectory(at: each, withIntermediateDirectories: true)
        }
        #expect(try Self.train(2, whole, epochs: 2).finish().status == 0)
        let more = ["--checkpoint", kept.path, "--every", "5", "--resume"]
        let run = try Self.train(2, kept, more, epochs: 2)
        #expect(run.nextLine()?.contains("\"epoch\"") == true)
        let second = try #require(try run.children("OMPI_COMM_WORLD_RANK")["1"])
        kill(second, SIGKILL)
        let killed = try run.finish()
        #expect(killed.status != 0)
        #expect(killed.errors.contains("signal 9"), "\(killed.errors)")
        #expect(
          !FileManager.default.fileExists(atPath: kept.appendingPathComponent("w.safetensors").path)
        )
        let resumed = try Self.train(2, kept, more, epochs: 2).finish()
        #expect(resumed.status == 0, "\(resumed.errors)")
        #expect(!resumed.errors.contains("training begins"))
        #expect(try Self.weights(kept) == Self.weights(whole))
      }
    }

    @Test(.enabled(if: mpirun != nil, wanted))
    func oneThatFailsEndsAllWithItsMessage() throws {
      try withFolder { folder in
        let bad = Self.arguments(folder, ["--data", "/nowhere"])
        let run = try CommandProcess(
          Self.arguments(folder) + [CommandProcess.another] + bad, environment: Self.environment,
          launcher: [try #require(mpirun), "-np", "1"]
        ).finish()
        #expect(run.status == 1)
        #expect(run.errors.contains("process 1 of 2: apus: "), "\(run.errors)")
        #expect(run.errors.contains("/nowhere"), "\(run.errors)")
        #expect(try names(in: folder).isEmpty)
      }
    }

    @Test(.enabled(if: mpirun != nil, wanted))
    func stepsOfAllAreMeasuredBesideThoseOfOne() throws {
      let run = try Self.start(
        2, ["bench", "processes", "mlp_small", "--threads", "1", "--seconds", "0.05", "--json"]
      ).finish()
      #expect(run.status == 0, "\(run.errors)")
      let line = try JSON(parsing: try #require(run.lines.first))
      #expect(run.lines.count == 1 && line["processes"]?.integer == 2)
      #expect(line["bytes"]?.integer ?? 0 > 4 * 101_770)
      for name in ["ms_alone", "ms", "gain", "best_gain", "ms_sum"] {
        #expect(line[name]?.double ?? 0 > 0)
      }
    }
  #else
    @Test func withoutMPI_severalProcessesAreRefused() throws {
      let run = try apus("train", "fashion-mnist", environment: ["OMPI_COMM_WORLD_SIZE": "2"])
      #expect(run.status == 1)
      #expect(run.errors.contains("mpirun has started 2 processes"), "\(run.errors)")
      #expect(run.errors.contains("--traits default,MPI"))
    }
  #endif

  @Test func measuringProcessesTakesSeveral() throws {
    let run = try apus("bench", "processes")
    #expect(run.status == 1 && run.errors.contains("mpirun -np 2"))
  }
}
