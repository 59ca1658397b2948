// `apus train run.yaml`, and evaluate, predict and export on its folder.

import Apus
import Foundation
import Testing

/// A table of points in two classes that no line tells apart, and a configuration that learns it.
private func withTable<R>(
  _ model: String = "[linear: 16, tanh, linear: 2]", more: String = "",
  _ body: (_ folder: URL, _ file: String) throws -> R
) throws -> R {
  try withFolder { folder in
    let table = folder.appending(path: "points.csv")
    let rows = (0..<400).map { index in
      let (a, b) = (Double((index * 37) % 101) / 50 - 1, Double((index * 53) % 97) / 48 - 1)
      return "\(10 * a),\(b + 5),\(a * b > 0 ? 1 : 0)"
    }
    try (["a,b,label"] + rows).joined(separator: "\n").write(
      to: table, atomically: true, encoding: .utf8)
    let file = folder.appending(path: "points.yaml")
    try """
    # Points.
    folder: \(folder.appending(path: "run").path)
    model: \(model)
    data:
      name: csv
      train: \(table.path)
      target: label
      standardize: true
      batch: 20
      validation: 0.25
    loss: cross_entropy
    optimizer: {name: adam, rate: 2e-2}
    schedule: {name: cosine, warm_up: 5}
    epochs: 12
    moving_average: 0.9
    records: {keep: false}
    \(more)
    """.write(to: file, atomically: true, encoding: .utf8)
    return try body(folder, file.path)
  }
}

@Suite(.serialized) struct ConfiguredRunTests {
  @Test func aRunIsTrainedFromYAML_andMadeAgainFromItsConfiguration() throws {
    try withTable { folder, file in
      let run = try apus("train", file, "--json", "--set", "seed=5")
      #expect(run.status == 0, "\(run.errors)")
      let result = try JSON(parsing: try #require(run.lines.last))
      let accuracy = try #require(result["test_accuracy"]?.double)
      #expect(accuracy > 0.9, "\(accuracy)")
      let own = folder.appending(path: "run")
      #expect(try names(in: own) == ["config.json", "model.json", "weights.safetensors"])

      let config = own.appending(path: "config.json").path
      let json = try JSON(parsing: String(contentsOfFile: config, encoding: .utf8))
      #expect(json["seed"] == 5 && json["optimizer"]?["beta2"] == 0.999)
      let again = folder.appending(path: "again")
      let second = try apus(
        "train", config, "--threads", "1", "--set", "folder=\(again.path)")
      #expect(second.status == 0, "\(second.errors)")
      let weights = try Data(contentsOf: own.appending(path: "weights.safetensors"))
      #expect(try Data(contentsOf: again.appending(path: "weights.safetensors")) == weights)
      // Another seed is another run, which does not take the folder of this one.
      let other = try apus("train", file, "--seed", "6")
      #expect(other.status == 1 && other.errors.contains("the folder has another run"))
      #expect(try Data(contentsOf: own.appending(path: "weights.safetensors")) == weights)
      let elsewhere = folder.appending(path: "other")
      let third = try apus("train", file, "--seed", "6", "--set", "folder=\(elsewhere.path)")
      #expect(third.status == 0, "\(third.errors)")
      #expect(try Data(contentsOf: elsewhere.appending(path: "weights.safetensors")) != weights)
    }
  }

  @Test func imagesOfCIFARAreLearntAugmented_andEvaluatedAsTheyAre() throws {
    try withFolder { folder in
      // A bright half, on the left or on the right: mirrored it would be the other class.
      func record(_ number: Int) -> [UInt8] {
        let isRight = number % 2 == 1
        let planes = (0..<3 * 1024).map { place in
          UInt8(
            (place % 32 >= 16) == isRight ? 200 + (place + number) % 50 : (place * 7 + number) % 50)
        }
        return [UInt8(number % 2)] + planes
      }
      for (name, first) in (1...5).map({ ("data_batch_\($0)", 40 * $0) }) + [("test_batch", 7)] {
        let bytes = (first..<first + 40).flatMap(record)
        try Data(bytes).write(to: folder.appending(path: "\(name).bin"))
      }
      func run(_ name: String, _ augment: String) throws -> Double {
        let file = folder.appending(path: "\(name).yaml")
        try """
        folder: \(folder.appending(path: name).path)
        model: [flatten, linear: 10]
        data: {name: cifar10, folder: \(folder.path), batch: 20, augment: \(augment)}
        optimizer: {name: adam, rate: 1e-3}
        epochs: 5
        records: {keep: false}
        """.write(to: file, atomically: true, encoding: .utf8)
        let run = try apus("train", file.path, "--json")
        #expect(run.status == 0, "\(run.errors)")
        let json = try JSON(parsing: try #require(run.lines.last))
        return try #require(json["test_accuracy"]?.double ?? json["validation_accuracy"]?.double)
      }
      #expect(try run("shifted", "[random_crop: {size: 32, padding: 3}]") == 1)
      // What is judged stays as it is: where all training images are mirrored, all answers are wrong.
      #expect(try run("mirrored", "[random_horizontal_flip: 1]") == 0)
      let wrong = folder.appending(path: "wrong.yaml")
      try
        "{model: [flatten, linear: 10], data: {name: cifar10, folder: \(folder.path), augment: [random_crop: 28]}}"
        .write(to: wrong, atomically: true, encoding: .utf8)
      let run = try apus("train", wrong.path)
      #expect(
        run.status != 0 && run.errors.contains("the images become f32[28,28,3]"), "\(run.errors)")
    }
  }

  @Test func recordsOfARun_areThoseAskedFor_andChangeNoBit() throws {
    try withTable { folder, file in
      let files = RunFolder(folder.appending(path: "recorded").path)
      let run = try apus(
        "train", file, "--set", "folder=\(files.path)", "--set", "records.keep=true", "--set",
        "records.every=5", "--set", "records.histograms_every=4")
      #expect(run.status == 0, "\(run.errors)")
      let history = try RunHistory(files.path)
      #expect(try history.curve("loss/validation").points.count == 12)
      // 180 steps; the first and the last may be there besides.
      #expect(try (36...38).contains(history.curve("loss/step").points.count))
      let plain = try apus("train", file)
      #expect(plain.status == 0, "\(plain.errors)")
      let own = RunFolder(folder.appending(path: "run").path)
      #expect(
        try Data(contentsOf: URL(filePath: files.weights))
          == Data(contentsOf: URL(filePath: own.weights)))
      let wrong = try apus("train", file, "--set", "records.every=0")
      #expect(wrong.status != 0 && wrong.errors.contains("records.every"), "\(wrong.errors)")
    }
  }

  @Test func aRunIsEvaluated_itsFiguresCountedFromItsPredictions() throws {
    try withTable { folder, file in
      #expect(try apus("train", file).status == 0)
      let own = folder.appending(path: "run").path
      let evaluation = try apus("evaluate", own, "--json")
      #expect(evaluation.status == 0, "\(evaluation.errors)")
      let figures = try JSON(parsing: evaluation.output)
      #expect(figures["examples"] == 100)
      let counts = try #require(figures["confusion_matrix"]?.elements).map {
        $0.elements?.compactMap(\.integer) ?? []
      }
      #expect(counts.count == 2 && counts.joined().reduce(0, +) == 100)
      let right = Double(counts[0][0] + counts[1][1]) / 100
      #expect(abs(try #require(figures["test_accuracy"]?.double) - right) < 1e-6)
      let recall = Double(counts[1][1]) / Double(counts[1][0] + counts[1][1])
      #expect(
        abs(try #require(figures["classes"]?.elements?[1]["recall"]?.double) - recall) < 1e-12)
      #expect(try #require(figures["roc_auc"]?.double) > 0.9)
      let words = try apus("evaluate", own)
      #expect(words.output.contains("macro f1") && words.output.contains("class"))

      // All examples, held out or not, in another order of columns.
      let table = try CSV.read(folder.appending(path: "points.csv").path)
      let rows = table.values.floats
      let text =
        ["b,other,a"] + (0..<400).map { "\(rows[3 * $0 + 1]),0,\(rows[3 * $0])" }
      let examples = folder.appending(path: "new.csv").path
      try text.joined(separator: "\n").write(toFile: examples, atomically: true, encoding: .utf8)
      let predictions = try apus("predict", own, examples, "--probabilities")
      #expect(predictions.status == 0, "\(predictions.errors)")
      #expect(predictions.lines.first == "class,probability,p_0,p_1")
      #expect(predictions.lines.count == 401)
      let classes = predictions.lines.dropFirst().map { $0.split(separator: ",")[0] }
      let hits = (0..<400).count { classes[$0] == (rows[3 * $0 + 2] == 1 ? "1" : "0") }
      #expect(hits > 360)
      let output = folder.appending(path: "answers.jsonl").path
      #expect(
        try apus("predict", own, examples, "--format", "jsonl", "--output", output).status == 0)
      let first = try JSON(
        parsing: String(contentsOfFile: output, encoding: .utf8).split(separator: "\n")[0]
          .description)
      #expect(first.members?.map(\.0) == ["class", "probability"])

      for (wrong, expected) in [
        ("a\n1\n", "there is no column 'b'"), ("a,b\n", "one at least"), ("a,b\n1,x\n", "'x'"),
      ] {
        try wrong.write(toFile: examples, atomically: true, encoding: .utf8)
        let run = try apus("predict", own, examples)
        #expect(run.status == 1 && run.errors.contains(expected), "\(run.errors)")
      }
      let nothing = try apus("predict", folder.path, examples)
      #expect(nothing.status == 1 && nothing.errors.contains("no file config.json"))
    }
  }

  @Test func aRunIsExported_itsWeightsAsTheyAre() throws {
    try withTable { folder, file in
      #expect(try apus("train", file).status == 0)
      let own = folder.appending(path: "run").path, target = folder.appending(path: "out").path
      #expect(try apus("export", own, "--output", own).status == 1)
      let run = try apus("export", own, "--output", target, "--format", "npz")
      #expect(run.status == 0, "\(run.errors)")
      let expected = try SafetensorsFile("\(own)/weights.safetensors").arrays()
      let found = try NPZ.read("\(target)/weights.npz")
      #expect(found.names.sorted() == expected.names.sorted())
      for (name, array) in found { #expect(expected[name] == array) }
      #expect(
        found.names.sorted() == [
          "0.bias", "0.weight", "2.bias", "2.weight", "input.deviation", "input.mean",
        ])
      let model = try JSON(parsing: String(contentsOfFile: "\(target)/model.json", encoding: .utf8))
      #expect(model["input"]?["columns"]?.elements == ["a", "b"])
      #expect(model["weights"]?["0.weight"]?.elements == [16, 2])
      #expect(model["output"]?["classes"] == 2)

      // By hand: what the model does with a row is what its weights say.
      func values(_ name: String) -> [Double] { found[name]!.doubles }
      func linear(_ layer: String, _ x: [Double]) -> [Double] {
        let (weights, bias) = (values("\(layer).weight"), values("\(layer).bias"))
        return bias.indices.map { unit -> Double in
          var sum = bias[unit]
          for place in x.indices { sum += weights[x.count * unit + place] * x[place] }
          return sum
        }
      }
      let (mean, deviation) = (values("input.mean"), values("input.deviation"))
      let scaled = [(3 - mean[0]) / deviation[0], (5.5 - mean[1]) / deviation[1]]
      let hidden = linear("0", scaled).map { (x: Double) -> Double in Foundation.tanh(x) }
      let logits = linear("2", hidden)
      let examples = folder.appending(path: "one.csv").path
      try "a,b\n3,5.5\n".write(toFile: examples, atomically: true, encoding: .utf8)
      let line = try apus("predict", own, examples, "--probabilities").lines[1]
      let share: Double = 1 / (1 + Foundation.exp(logits[0] - logits[1]))
      let told = try #require(Double(line.split(separator: ",")[3]))
      #expect(Swift.abs(told - share) < 1e-5)
    }
  }

  @Test func mistakesInAFileAreToldWithKeyLineAndColumn() throws {
    try withTable { folder, file in
      func told(_ text: String, _ arguments: String...) throws -> String {
        let wrong = folder.appending(path: "wrong.yaml").path
        try text.write(toFile: wrong, atomically: true, encoding: .utf8)
        let run = try CommandProcess(["train", wrong] + arguments).finish()
        #expect(run.status == 1)
        return run.errors.replacing(wrong, with: "wrong.yaml")
      }
      let whole = try String(contentsOfFile: file, encoding: .utf8)
      let cases: [(String, String, String)] = [
        ("rate: 2e-2", "rate: fast", "optimizer.rate is 'fast'\n  at wrong.yaml:12:31"),
        ("epochs: 12", "epoch: 12", "there is no key 'epoch'\n  at wrong.yaml:14:1"),
        ("epochs: 12", "epochs: yes", "epochs is 'yes'\n  at wrong.yaml:14:9"),
        ("epochs: 12", "epochs: 12\nepochs: 13", "the key 'epochs' stands twice"),
        ("batch: 20", "batch: [20", "wrong.yaml:"),
        ("linear: 2]", "linear: 3]", "the model gives [3] for an example"),
        ("tanh", "conv2d: 4", "model.1, for f32[2,16]"),
        ("target: label", "target: lable", "there is no column 'lable'"),
        ("folder:", "folder: &a", "names a value for use elsewhere"),
        ("epochs: 12", "epochs: *a", "undefined alias"),
      ]
      for (old, new, expected) in cases {
        let text = try told(whole.replacing(old, with: new))
        #expect(text.contains(expected), "\(new): \(text)")
      }
      #expect(try told("").contains("says nothing"))
      #expect(try told("a").contains("a group of keys"))
      let deep = String(repeating: "[", count: 900) + String(repeating: "]", count: 900)
      #expect(try told("model: \(deep)").contains("too deep"))
      #expect(try told(whole, "--set", "epochs=0").contains("--set epochs=0"))
      let run = try apus("train", file, "--output", "w")
      #expect(run.status == 64 && run.errors.contains("--set folder="))
      #expect(try apus("train", "fashion-mnist", "--set", "epochs=1").status == 64)
      #expect(try apus("train", "\(folder.path)/none.yaml").errors.contains("none.yaml"))
    }
  }

  @Test func anInterruptedRunGoesOn_toTheSameBits() throws {
    try withTable(more: "early_stopping: {patience: 1000}") { folder, file in
      let whole = folder.appending(path: "whole").path
      let arguments = ["train", file, "--json", "--set", "schedule=constant"]
      let process = try CommandProcess(arguments + ["--epochs", "100000"])
      #expect(try JSON(parsing: #require(process.nextLine()))["event"] == "epoch")
      process.send(SIGINT)
      let stopped = try process.finish()
      #expect(stopped.status == 130, "\(stopped.errors)")
      let stop = try JSON(parsing: try #require(stopped.lines.last))
      let checkpoint = try #require(stop["checkpoint"]?.string)
      let done = try #require(
        Int(try SafetensorsFile(checkpoint).metadata["apus.epoch"] ?? ""))
      let epochs = "\(done + 1)"
      let resumed = try CommandProcess(arguments + ["--epochs", epochs, "--resume"]).finish()
      #expect(resumed.status == 0, "\(resumed.errors)")
      let again = try CommandProcess(
        arguments + ["--epochs", epochs, "--set", "folder=\(whole)"]
      ).finish()
      #expect(again.status == 0, "\(again.errors)")
      let weights = try Data(contentsOf: folder.appending(path: "run/weights.safetensors"))
      #expect(try Data(contentsOf: URL(filePath: "\(whole)/weights.safetensors")) == weights)
      let other = try CommandProcess(
        arguments + ["--epochs", "200000", "--learning-rate", "0.5", "--resume"]
      ).finish()
      #expect(other.status == 1 && other.errors.contains("configuration"))
    }
  }

  @Test func gradientsAreChecked_theWorstParameterFirst() throws {
    try withTable { folder, file in
      let run = try apus("train", file, "--gradient-check", "--json")
      #expect(run.status == 0, "\(run.errors)")
      let check = try JSON(parsing: run.output)
      let all = try #require(check["parameters"]?.elements)
      #expect(
        all.compactMap { $0["path"]?.string } == ["0.weight", "0.bias", "2.weight", "2.bias"])
      #expect(all.allSatisfy { ($0["error"]?.double ?? 1) < 1e-5 })
      let worst = all.max { $0["error"]!.double! < $1["error"]!.double! }
      #expect(worst?["path"] == check["worst"])
      let words = try apus("train", file, "--gradient-check")
      #expect(words.lines.count == 5 && words.lines[1].hasPrefix(check["worst"]!.string!))
      #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/run"))
      // Of a text that is not there.
      let lost = try apus("train", "king-james-gpt", "--data", folder.path, "--gradient-check")
      #expect(lost.status == 1 && lost.errors.contains("ot.bzz"), "\(lost.errors)")
    }
  }

  @Test func theExampleOfTheDocumentation_isTrainedForAShortLook() throws {
    try withFolder { folder in
      var root = URL(filePath: #filePath)
      for _ in 0..<3 { root.deleteLastPathComponent() }
      let example = root.appending(path: "Docs/Examples/fashion-mnist.yaml").path
      let run = try apus(
        "train", example, "--quick", "--json", "--set", "folder=\(folder.path)/run",
        "--set", "moving_average=0.8")
      #expect(run.status == 0, "\(run.errors)")
      let result = try JSON(parsing: try #require(run.lines.last))
      #expect(try #require(result["test_accuracy"]?.double) > 0.6)
      let own = "\(folder.path)/run"
      // What programs and people read of it.
      let files = try names(in: URL(filePath: own))
      #expect(files.contains { $0.hasPrefix("events.out.tfevents.") })
      for name in ["metrics.jsonl", "report.html", "curves.svg", "model.json"] {
        #expect(files.contains(name), "\(name)")
      }
      let report = try String(contentsOfFile: "\(own)/report.html", encoding: .utf8)
      #expect(report.contains("optimizer.weight_decay") && report.contains("Ankle boot"))
      let again = try apus("train", "\(own)/config.json")
      #expect(again.status == 1 && again.errors.contains("an earlier run"))
      let config = try JSON(
        parsing: String(contentsOfFile: "\(own)/config.json", encoding: .utf8))
      #expect(config["optimizer"]?["name"] == "adamw" && config["quick"] == true)
      #expect(config["early_stopping"]?["restore_best"] == true)

      // What is said of each image, counted, is what the evaluation counts.
      let evaluation = try JSON(parsing: apus("evaluate", own, "--json").output)
      #expect(evaluation["examples"] == 10000)
      let images = "\(FashionMNIST.packageFolder)/t10k-images-idx3-ubyte.gz"
      let predictions = try apus("predict", own, images)
      #expect(predictions.status == 0, "\(predictions.errors)")
      #expect(predictions.lines[0] == "class,name,probability" && predictions.lines.count == 10001)
      let labels = try IDX.read("\(FashionMNIST.packageFolder)/t10k-labels-idx1-ubyte.gz").integers
      let hits = zip(predictions.lines.dropFirst(), labels).count {
        $0.prefix { $0 != "," } == "\($1)"
      }
      let accuracy = try #require(evaluation["test_accuracy"]?.double)
      #expect(abs(Double(hits) / 10000 - accuracy) < 1e-6)
      #expect(evaluation["classes"]?.elements?[9]["name"] == "Ankle boot")

      // The first image as a picture is the first image.
      let first = try IDX.read(images)[0]
      let picture = "\(folder.path)/first.png"
      try Picture(width: 28, height: 28, channels: 1, pixels: first.integers.map { UInt8($0) })
        .write(png: picture)
      let told = try apus("predict", own, picture)
      #expect(told.status == 0 && told.lines.count == 2, "\(told.errors)")
      let (one, all) = (
        told.lines[1].split(separator: ","), predictions.lines[1].split(separator: ",")
      )
      #expect(one.prefix(2) == all.prefix(2))
      #expect(abs(try #require(Double(one[2])) - (try #require(Double(all[2])))) < 1e-5)
    }
  }

  @Test func aRecipeIsTrainedFromAFile_andEvaluated() throws {
    try withFolder { folder in
      let file = folder.appending(path: "gates.json").path
      try """
      {"recipe": "logic-gates", "epochs": 20, "options": {"hidden": 6},
       "optimizer": {"name": "rmsprop", "rate": 0.02}, "folder": "\(folder.path)/run"}
      """.write(toFile: file, atomically: true, encoding: .utf8)
      let run = try apus("train", file, "--json")
      #expect(run.status == 0, "\(run.errors)")
      let own = "\(folder.path)/run"
      let figures = try JSON(parsing: apus("evaluate", own, "--json").output)
      let result = try JSON(parsing: try #require(run.lines.last))
      #expect(figures["test_XOR_with_hidden_units"] == result["test_XOR_with_hidden_units"])
      #expect(figures["test_AND_by_a_perceptron"] == 1.0)
      for command in ["predict", "export"] {
        let refused = try CommandProcess(
          command == "predict" ? [command, own, file] : [command, own, "--output", "\(own)/x"]
        ).finish()
        #expect(refused.status == 1 && refused.errors.contains("logic-gates is a recipe"))
      }
      let elsewhere = try apus("train", file, "--set", "folder=\(own)2", "--set", "optimizer=null")
      #expect(elsewhere.status == 0, "\(elsewhere.errors)")
      let weights = try ["", "2"].map {
        try Data(contentsOf: URL(filePath: "\(own)\($0)/weights.safetensors"))
      }
      #expect(weights[0] != weights[1])
    }
  }
}
