// `apus train`: what it prints, what it writes, and that the weights depend on nothing they should not.

import Apus
import Foundation
import Testing

@Suite(.serialized) struct TrainTests {
  /// A short run: 118 steps an epoch.
  private func train(
    _ output: URL, _ more: [String] = [], epochs: Int = 1, environment: [String: String] = [:]
  ) throws -> CommandRun {
    try CommandProcess(
      [
        "train", "fashion-mnist", "--batch", "512", "--seed", "7", "--json", "--epochs",
        "\(epochs)",
        "--output", output.path,
      ] + more, environment: environment
    ).finish()
  }

  @Test func weightsAreTheSameBits_onAnyThreadsAndLevel() throws {
    try withFolder { folder in
      let first = folder.appendingPathComponent("1.safetensors")
      let run = try train(first, ["--threads", "1"])
      #expect(run.status == 0, "\(run.errors)")
      let expected = try Data(contentsOf: first)
      #expect(expected.count > 400_000)
      let others: [(String, [String], [String: String])] = [
        ("--threads 2", ["--threads", "2"], [:]), ("APUS_THREADS", [], ["APUS_THREADS": "7"]),
        ("OMP_NUM_THREADS", [], ["OMP_NUM_THREADS": "3,1"]), ("--isa ref", ["--isa", "ref"], [:]),
        ("--isa avx2", ["--isa", Environment.availableISAs.dropFirst().first?.name ?? "ref"], [:]),
      ]
      for (name, arguments, environment) in others {
        let output = folder.appendingPathComponent("other.safetensors")
        let other = try train(output, arguments, environment: environment)
        #expect(other.status == 0, "\(other.errors)")
        #expect(try Data(contentsOf: output) == expected, "\(name)")
      }
      let seeded = folder.appendingPathComponent("seeded.safetensors")
      _ = try train(seeded, ["--seed", "8"])
      #expect(try Data(contentsOf: seeded) != expected)
    }
  }

  @Test func aShortLook_isOneEpochOfFiftySteps() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let run = try apus("train", "fashion-mnist", "--quick", "--json", "--output", output)
      #expect(run.status == 0, "\(run.errors)")
      let lines = try run.lines.map { try JSON(parsing: $0) }
      #expect(lines.map { $0["event"] } == ["epoch", "result"])
      #expect(lines[0]["steps"]?.integer == 50)
      #expect(lines[1]["test_accuracy"]?.double ?? 0 > 0.3)
    }
  }

  @Test func gradientsAreDrawnOrWritten() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors")
      let picture = folder.appendingPathComponent("norms.svg").path
      let run = try train(output, ["--batch", "6000", "--gradient-norms", picture])
      #expect(run.status == 0, "\(run.errors)")
      let svg = try String(contentsOfFile: picture, encoding: .utf8)
      #expect(svg.contains("fashion-mnist") && svg.contains("hidden.weight"))
      let numbers = folder.appendingPathComponent("norms.json").path
      let other = try train(output, ["--batch", "6000", "--gradient-norms", numbers])
      #expect(other.status == 0, "\(other.errors)")
      let entries = try JSON(parsing: String(contentsOfFile: numbers, encoding: .utf8)).elements
      #expect(entries?.map { $0["step"]?.integer } == [0, 1, 2, 3, 4, 5, 7, 9, 10])
    }
  }

  @Test func jsonIsOneObjectALine_andEndsWithTheResult() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors")
      let run = try train(output, epochs: 2)
      #expect(run.status == 0)
      #expect(run.errors.isEmpty)
      let lines = try run.lines.map { try JSON(parsing: $0) }
      #expect(lines.map { $0["event"] } == ["epoch", "epoch", "result"])
      let result = try #require(lines.last)
      #expect(
        result.members?.map(\.0) == [
          "event", "test_accuracy", "test_loss", "seconds", "steps_per_s", "weights",
        ])
      #expect(result["weights"] == .string(output.path))
      let accuracy = try #require(result["test_accuracy"]?.double)
      #expect(accuracy > 0.75 && accuracy < 1)
      #expect(lines[1]["test_accuracy"]?.double == accuracy)
      #expect(lines[0]["steps"] == 118)
      let file = try SafetensorsFile(output.path)
      #expect(
        file.names.sorted() == ["hidden.bias", "hidden.weight", "output.bias", "output.weight"])
      #expect(file.entry("hidden.weight")?.shape == [128, 784])
      let left = try names(in: folder)
      #expect(left == ["w.safetensors"])
    }
  }

  @Test func mixedPrecision_reachesTheAccuracyOfTheHighest() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors")
      // The defaults of the command: 87.6 % in the highest precision.
      let run = try train(
        output, ["--batch", "64", "--seed", "0", "--precision", "mixed"], epochs: 5)
      #expect(run.status == 0, "\(run.errors)")
      let result = try JSON(parsing: try #require(run.lines.last))
      #expect(try #require(result["test_accuracy"]?.double) >= 0.865)
    }
  }

  @Test func peopleSeePlainLines_andTheResult() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors").path
      let run = try apus(
        "train", "fashion-mnist", "--batch", "1000", "--epochs", "1", "--output", output)
      #expect(run.status == 0)
      #expect(run.lines.count == 1)
      #expect(run.output.hasPrefix("test accuracy "))
      #expect(run.output.contains("weights in \(output)"))
      #expect(run.errors.contains("epoch 1/1 60 steps in "))
      #expect(!run.errors.contains("\u{1b}"))
    }
  }

  @Test func interruptedRun_goesOnToTheSameBits() throws {
    try withFolder { folder in
      let output = folder.appendingPathComponent("w.safetensors")
      let arguments = [
        "train", "fashion-mnist", "--batch", "512", "--seed", "7", "--json", "--output",
        output.path,
      ]
      let process = try CommandProcess(arguments + ["--epochs", "500"])
      let first = try #require(process.nextLine())
      #expect(try JSON(parsing: first)["event"] == "epoch")
      process.send(SIGINT)
      let run = try process.finish()
      #expect(run.status == 130)
      #expect(run.errors.contains("--resume"))
      let stop = try JSON(parsing: try #require(run.lines.last))
      #expect(stop["event"] == "interrupted")
      let checkpoint = folder.appendingPathComponent("w.checkpoint.safetensors").path
      #expect(stop["checkpoint"] == .string(checkpoint))
      let left = try names(in: folder)
      #expect(left == ["w.checkpoint.safetensors"])

      let metadata = try SafetensorsFile(checkpoint).metadata
      let epochs = try #require(Int(metadata["apus.epoch"] ?? "")) + 1
      let resumed = try CommandProcess(
        arguments + ["--epochs", "\(epochs)", "--resume", checkpoint]
      ).finish()
      #expect(resumed.status == 0, "\(resumed.errors)")
      let whole = folder.appendingPathComponent("whole.safetensors")
      #expect(try train(whole, epochs: epochs).status == 0)
      #expect(try Data(contentsOf: output) == Data(contentsOf: whole))

      let done = try CommandProcess(
        arguments + ["--epochs", "\(epochs - 1)", "--resume", checkpoint]
      ).finish()
      #expect(done.status == 1)
      #expect(done.errors.contains("epochs behind it"))
    }
  }

  @Test func environmentNamesTheFolder() throws {
    try withData(replacing: [:]) { data, output in
      let run = try train(
        output.appendingPathComponent("w"), environment: ["APUS_FASHION_MNIST": data.path])
      #expect(run.status == 0)
      let missing = try train(
        output.appendingPathComponent("x"), environment: ["APUS_FASHION_MNIST": "/nowhere"])
      #expect(missing.status == 1)
      #expect(missing.errors.contains("/nowhere"))
    }
  }
}
