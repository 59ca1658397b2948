// `apus train --run` and `apus compare`: what the folder has, and what is shown of it.

import Apus
import Foundation
import Testing

@Suite(.serialized) struct RecordTests {
  /// A run of 15 steps an epoch.
  private func train(_ folder: String, _ more: [String] = []) throws -> CommandRun {
    try CommandProcess(
      ["train", "fashion-mnist", "--batch", "4096", "--seed", "7", "--json", "--run", folder]
        + more
    ).finish()
  }

  private func text(_ path: String) throws -> String {
    try String(contentsOfFile: path, encoding: .utf8)
  }

  @Test func aRunsFolderHasAllOfIt_andTwoAreCompared() throws {
    try withFolder { root in
      let folder = root.appendingPathComponent("a").path, files = RunFolder(folder)
      let run = try train(folder, ["--epochs", "2", "--histograms-every", "1"])
      #expect(run.status == 0, "\(run.errors)")
      let names = try names(in: URL(filePath: folder))
      #expect(names.filter { $0.hasPrefix("events.out.tfevents.") }.count == 1)
      #expect(
        names.filter { !$0.hasPrefix("events.out.tfevents.") } == [
          "config.json", "curves.svg", "metrics.jsonl", "report.html", "weights.safetensors",
        ])
      let result = try JSON(parsing: try #require(run.lines.last))
      #expect(result["weights"] == .string(files.weights))
      let history = try RunHistory(folder)
      let accuracy = try history.curve("accuracy/validation")
      #expect(accuracy.points.map(\.step) == [15, 30])
      #expect(accuracy.last?.value == result["test_accuracy"]?.double)
      #expect(try history.curve("loss/step").points.map(\.step) == [1, 10, 20, 30])
      let configuration = try JSON(parsing: text(files.configuration))
      #expect(configuration["recipe"] == "fashion-mnist")
      #expect(configuration["options"]?["batch"] == "4096")
      #expect(configuration["options"]?["hidden"] == "128")
      let page = try text(files.report)
      for words in [
        "Confusion matrix", "T-shirt", "Ankle boot", "taken for", "hidden.weight", "learning-rate",
        "Where a step", "Memory of a step", "processor", "id=\"curves\"",
      ] {
        #expect(page.contains(words), "\(words)")
      }
      #expect(try text(files.curves).contains("<polyline"))

      // Nothing is written over without --resume.
      let again = try train(folder, ["--epochs", "1"])
      #expect(again.status == 1 && again.errors.contains("earlier run"), "\(again.errors)")
      // The weights are those of a run without records.
      let weights = root.appendingPathComponent("w.safetensors").path
      let plain = try apus(
        "train", "fashion-mnist", "--batch", "4096", "--seed", "7", "--epochs", "2", "--output",
        weights)
      #expect(plain.status == 0)
      #expect(
        try Data(contentsOf: URL(filePath: weights))
          == Data(contentsOf: URL(filePath: files.weights)))

      let other = root.appendingPathComponent("b").path
      let second = try train(other, ["--epochs", "1", "--hidden", "32"])
      #expect(second.status == 0, "\(second.errors)")
      let page2 = root.appendingPathComponent("both.html").path
      let picture = root.appendingPathComponent("both.svg").path
      let compared = try apus("compare", folder + "/", other, "--html", page2, "--svg", picture)
      #expect(compared.status == 0, "\(compared.errors)")
      #expect(compared.lines[0].contains("a") && compared.lines[0].contains("b"))
      #expect(compared.lines.contains { $0.hasPrefix("hidden") && $0.hasSuffix("32") })
      #expect(!compared.output.contains("seed"))
      #expect(compared.lines.contains { $0.hasPrefix("accuracy/validation") })
      #expect(try text(page2).contains("a: validation") && text(picture).contains("b: validation"))
      let one = try apus("compare", folder, other, "--curve", "loss/validation")
      #expect(one.output.contains("loss/validation") && !one.output.contains("accuracy"))
      let none = try apus("compare", folder, other, "--curve", "loss/valid")
      #expect(none.status == 1 && none.errors.contains("loss/validation"), "\(none.errors)")
      let json = try JSON(parsing: try apus("compare", folder, other, "--json").output)
      #expect(json["differences"]?["hidden"] == ["128", "32"])
      #expect(json["figures"]?["loss/validation"]?["last"]?.elements?.count == 2)
    }
  }

  @Test func anInterruptedRunHasAReport_andGoesOnInItsFolder() throws {
    try withFolder { root in
      let folder = root.appendingPathComponent("a").path, files = RunFolder(folder)
      let process = try CommandProcess([
        "train", "fashion-mnist", "--batch", "4096", "--seed", "7", "--json", "--run", folder,
        "--epochs", "500",
      ])
      let first = try #require(process.nextLine())
      #expect(try JSON(parsing: first)["event"] == "epoch")
      process.send(SIGINT)
      let stopped = try process.finish()
      #expect(stopped.status == 130, "\(stopped.errors)")
      #expect(
        try JSON(parsing: try #require(stopped.lines.last))["checkpoint"]
          == .string(files.checkpoint))
      #expect(try text(files.report).contains("The run was interrupted"))
      let refused = try train(folder, ["--epochs", "1"])
      #expect(refused.status == 1 && refused.errors.contains("--resume"))

      let metadata = try SafetensorsFile(files.checkpoint).metadata
      let epochs = try #require(Int(metadata["apus.epoch"] ?? "")) + 1
      let resumed = try train(folder, ["--epochs", "\(epochs)", "--resume"])
      #expect(resumed.status == 0, "\(resumed.errors)")
      let whole = root.appendingPathComponent("b").path
      #expect(try train(whole, ["--epochs", "\(epochs)"]).status == 0)
      #expect(
        try Data(contentsOf: URL(filePath: files.weights))
          == Data(contentsOf: URL(filePath: RunFolder(whole).weights)))
      for tag in ["loss/step", "loss/validation", "loss/training", "learning_rate"] {
        let (a, b) = (try RunHistory(folder).curve(tag), try RunHistory(whole).curve(tag))
        #expect(a.points.map(\.step) == b.points.map(\.step), "\(tag)")
        #expect(a.points.map(\.value) == b.points.map(\.value), "\(tag)")
      }
      #expect(try names(in: URL(filePath: folder)).filter { $0.contains("tfevents") }.count == 2)
    }
  }

  @Test(arguments: [
    (["train", "fashion-mnist", "--run", ""], "--run is empty"),
    (["train", "fashion-mnist", "--record-every", "5"], "--record-every without --run"),
    (["train", "fashion-mnist", "--run", "x", "--record-every", "0"], "--record-every is 0"),
    (["train", "fashion-mnist", "--run", "x", "--histograms-every", "-1"], "--histograms-every"),
    (["train", "fashion-mnist", "--every", "5"], "--run"), (["compare", "a"], "1 runs"),
    (["compare", "a", "b", "--html", ""], "--html is empty"),
  ])
  func optionsThatMakeNoSense_areUsageErrors(arguments: [String], words: String) throws {
    let run = try CommandProcess(arguments).finish()
    #expect(run.status == 64 && run.output.isEmpty, "\(run.errors)")
    #expect(run.errors.contains(words), "\(run.errors)")
  }

  @Test func foldersThatAreNoRuns_areErrorsThatNameThem() throws {
    try withFolder { root in
      let run = try apus("compare", root.path, "/nowhere/run")
      #expect(run.status == 1 && run.output.isEmpty)
      #expect(run.errors.contains(root.path) && run.errors.contains("metrics.jsonl"))
      let proc = try train("/proc/nowhere", ["--epochs", "1"])
      #expect(proc.status == 1 && proc.errors.contains("/proc/nowhere"))
    }
  }
}
