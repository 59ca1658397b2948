// Recipes of segmentation, detection, denoising and signals: figures beside the loss, and the same bits after a
// break.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite(.serialized) struct ImageTaskRecipeTests {
  /// A few scenes and narrow networks: what is tried is the way, not what is learnt.
  static let small: [(name: String, options: [String: String], figures: [String])] = [
    (
      "fashion-mnist-segmentation",
      ["scenes": "48", "test-scenes": "12", "batch": "8", "width": "4"],
      ["mean IoU", "IoU of ground", "IoU of Bag", "test pixel accuracy", "test loss"]
    ),
    (
      "fashion-mnist-detection",
      ["scenes": "48", "test-scenes": "12", "batch": "8", "width": "4"],
      ["mAP 0.5:0.95", "mAP 0.5", "VOC mAP 0.5", "AP 0.5 of Bag", "test box loss", "test loss"]
    ),
  ]

  @Test(arguments: small.map(\.name))
  func aRunThatIsInterrupted_goesOnToTheSameBits_andTellsItsFigures(name: String) throws {
    let (_, settings, figures) = try #require(Self.small.first { $0.name == name })
    let recipe = try recipes.named(name)
    var options = recipe.defaults
    for (option, value) in settings { try options.set(option, to: value) }
    try options.set("epochs", to: "2")
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-tasks-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func path(_ file: String) -> String { folder.appending(path: file).path }

    let whole = try RecipeRun(recipe, options, output: path("whole")).start()
    let names = whole.figures.map(\.name)
    for figure in figures { #expect(names.contains(figure), "\(figure) in \(names)") }
    #expect(names.first == figures[0])
    #expect(
      whole.figures.allSatisfy {
        $0.value.isFinite && (!$0.isFraction || (0...1).contains($0.value))
      })

    var steps = 0
    let stop = try #require(
      #expect(throws: RunInterrupted.self) {
        try RecipeRun(
          recipe, options, output: path("parts"),
          isInterrupted: {
            steps += 1
            return steps == 8
          }
        ).start()
      })
    let resumed = try RecipeRun(recipe, options, output: path("parts"), resume: stop.checkpoint)
      .start()
    #expect(
      try Data(contentsOf: URL(filePath: path("parts")))
        == Data(contentsOf: URL(filePath: path("whole"))))
    for (a, b) in zip(resumed.figures, whole.figures) {
      #expect(a == b)
    }
  }

  @Test func scenesToLearnFrom_haveNoItemOfTheTest_andOthersForEverySeed() throws {
    let recipe = try recipes.named("fashion-mnist-segmentation")
    var options = recipe.defaults
    let first = try SceneData(options, count: 5, .masks)
    #expect(first.training.items.count == 60000 && first.test.items.count == 10000)
    #expect(first.training.seed != first.test.seed)
    try options.set("seed", to: "1")
    let second = try SceneData(options, count: 5, .masks)
    #expect(second.training.seed != first.training.seed && second.test.seed == first.test.seed)
  }

  /// What stands behind the end of a series, and how far it is padded, does not matter.
  @Test func paddingBehindASeries_doesNotMatter() throws {
    let model = TemporalNetwork(3, width: 8, classes: 4)
    try model.initialize(seed: 2)
    let predict = try Predictor(model) { model, x in [model(x[0], lengths: x[1])] }
    let values = (0..<15).map { Float($0 % 7) - 3 }
    let lengths = NDArray([5] as [Int32], shape: [1])
    func logits(_ behind: [Float]) throws -> [Float] {
      let series = NDArray(values + behind, shape: [1, 5 + behind.count / 3, 3])
      return try predict.run([series, lengths])[0].floats
    }
    let alone = try logits([])
    for behind: [Float] in [[0, 0, 0], [9, -9, 9, 5, 5, 5], Array(repeating: 1e6, count: 60)] {
      for (a, b) in zip(try logits(behind), alone) { #expect(abs(a - b) < 1e-5) }
    }
    // A step more is another series.
    let longer = try predict.run([
      NDArray(values + [1, 2, 3], shape: [1, 6, 3]), NDArray([6] as [Int32], shape: [1]),
    ])[0].floats
    #expect(zip(longer, alone).contains { abs($0 - $1) > 1e-3 })
    // A series of no steps has logits, too.
    let none = try predict.run([
      NDArray(zeros: .f32(1, 4, 3)), NDArray([0] as [Int32], shape: [1]),
    ])[0].floats
    #expect(none.allSatisfy { $0.isFinite })
  }

  @Test func vowels_areReadFromTheFolderThatIsNamed_andLearnt() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-vowels-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    // Speaker k has a first channel of about k.
    func file(_ part: String, _ count: Int) throws {
      var text = "@dimensions 12\n@classLabel true 1 2 3 4 5 6 7 8 9\n@data\n"
      for row in 0..<count {
        let speaker = row % 9, length = 7 + row % 20
        for channel in 0..<12 {
          let steps = (0..<length).map { step in
            "\(Double(channel == 0 ? speaker : (row + step) % 3) + 0.01 * Double(step))"
          }
          text += steps.joined(separator: ",") + ":"
        }
        text += "\(speaker + 1)\n"
      }
      try text.write(
        to: folder.appending(path: "JapaneseVowels_\(part).ts"), atomically: true, encoding: .utf8)
    }
    try file("TRAIN", 270)
    try file("TEST", 370)
    let recipe = try recipes.named("japanese-vowels")
    var options = recipe.defaults
    for (option, value) in [("data", folder.path), ("epochs", "40"), ("width", "16")] {
      try options.set(option, to: value)
    }
    let output = folder.appending(path: "w").path
    let outcome = try RecipeRun(recipe, options, output: output).start()
    #expect(outcome.figures[0].name == "test accuracy" && outcome.figures[0].value > 0.9)

    try file("TEST", 10)
    let error = #expect(throws: ApusError.self) {
      try RecipeRun(recipe, options, output: output).start()
    }
    #expect(error?.kind == .invalidFile && error?.what.contains("10 series") == true)
  }
}
