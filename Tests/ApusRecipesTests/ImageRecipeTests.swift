// Parts of the recipes on images: classes taken apart, few examples, turned images, figures of several tasks.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

@Suite struct ImageRecipeTests {
  /// Images of one pixel each, whose level is their number.
  private func numbered(_ labels: [Int32], classes: Int) throws -> LabeledImages {
    try LabeledImages(
      pixels: NDArray(labels.indices.map { UInt8($0) }, shape: [labels.count, 1, 1]),
      labels: NDArray(labels, shape: [labels.count]), classCount: classes)
  }

  @Test func someClasses_areNumberedFromZero() throws {
    let all = try numbered([3, 1, 0, 3, 2, 1], classes: 4)
    let some = try all.ofClasses([3, 1])
    #expect(some.classCount == 2 && some.count == 4)
    #expect(some.labels.integers == [0, 1, 0, 1])
    #expect(some.pixels.integers == [0, 1, 3, 5])
    let error = #expect(throws: ApusError.self) { try all.ofClasses([4]) }
    #expect(error?.kind == .outOfRange && error?.expected == "a class in 0..<4")
    #expect(try all.ofClasses([]).count == 0)
  }

  @Test func fewOfEachClass_areTaken_andOthersTheNextTime() throws {
    let all = try numbered([0, 1, 0, 1, 0, 1, 0], classes: 2)
    #expect(try all.few(2).pixels.integers == [0, 1, 2, 3])
    #expect(try all.few(2, startingAt: 2).pixels.integers == [4, 5, 6])
    #expect(try all.few(2, startingAt: 2).labels.integers == [0, 1, 0])
    #expect(try all.few(100).count == 7)
  }

  @Test func imagesAreTurned_toTheLeft_andTheLabelSaysHowOften() throws {
    // 1 2 / 3 4, five times; the first by none.
    let x = NDArray((0..<20).map { Float($0 % 4 + 1) }, shape: [5, 2, 2, 1])
    let turn = try compile([x.type], mode: .evaluation) {
      let (images, turns) = $0[0].turnedByQuarters()
      return [images, turns]
    }
    let found: [NDArray] = try turn(x)
    #expect(found[1].type == .i32(5) && found[1].integers == [0, 1, 2, 3, 0])
    let wanted: [[Float]] = [
      [1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2], [1, 2, 3, 4],
    ]
    #expect(found[0].floats == wanted.flatMap { $0 })
    // At random in training: all four, and each image as its label says.
    let many = NDArray((0..<400).map { Float($0 % 4 + 1) }, shape: [100, 2, 2, 1])
    let random = try compile([many.type], mode: .training, seed: 3) {
      let (images, turns) = $0[0].turnedByQuarters()
      return [images, turns]
    }
    let drawn: [NDArray] = try random(many)
    #expect(Set(drawn[1].integers) == [0, 1, 2, 3])
    for (index, label) in drawn[1].integers.enumerated() {
      #expect(Array(drawn[0].floats[4 * index..<4 * index + 4]) == wanted[Int(label)])
    }
  }

  @Test func everyClassHasAKind_andAllKindsAreOfOne() {
    #expect(FashionMNISTMultitaskRecipe.kinds.count == FashionMNIST.classNames.count)
    #expect(Set(FashionMNISTMultitaskRecipe.kinds) == [0, 1, 2, 3, 4])
    let shoes = ["Sandal", "Sneaker", "Ankle boot"]
    for (name, kind) in zip(FashionMNIST.classNames, FashionMNISTMultitaskRecipe.kinds) {
      #expect((kind == 3) == shoes.contains(name), "\(name)")
    }
  }

  /// The losses' weights are options, and a weight of 0 leaves a head and its way back alone.
  @Test func headsWhoseLossWeighsNothing_learnNothing() throws {
    let recipe = FashionMNISTMultitaskRecipe()
    var options = recipe.defaults
    try options.set("batch", to: "8")
    func moved(_ name: String, _ weight: String) throws -> Bool {
      try options.set("turn-weight", to: weight)
      let model = recipe.model(options)
      try model.initialize(seed: 1)
      let step = try TrainingStep(
        model, optimizer: SGD(learningRate: 0.1), seed: 1, loss: recipe.loss)
      let before = try model.turn.weight.value()
      let images = NDArray((0..<8 * 784).map { Float($0 % 11) / 11 }, shape: [8, 28, 28, 1])
      let labels = NDArray((0..<8).map { Int32($0) }, shape: [8])
      let result = try step.run(Batch(["images": images, "labels": labels]))
      #expect(result.loss.isFinite)
      return try model.turn.weight.value() != before
    }
    #expect(try moved("turn.weight", "0") == false)
    #expect(try moved("turn.weight", "0.5"))
  }

  @Test func figuresOfAllTasks_areReported_andThoseOfTransferComeFirst() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    // A thousandth of the data: what is learnt is little, what is reported is all.
    let data = folder.appending(path: "data")
    try FileManager.default.createDirectory(at: data, withIntermediateDirectories: true)
    let recipe = FashionMNISTTransferRecipe()
    #expect(recipe.options.contains { $0.name == "examples" })
    let model = recipe.model(recipe.defaults)
    try model.initialize(seed: 1)
    let weights = folder.appending(path: "w.safetensors").path
    try model.save(weights)
    var options = recipe.defaults
    try options.set("examples", to: "2")
    try options.set("sets", to: "1")
    let run = RecipeRun(recipe, options, output: weights)
    let figures = try recipe.judge(model, recipe.data(options), run)
    #expect(
      figures.map(\.name) == ["new head accuracy", "tuned accuracy", "from scratch accuracy"])
    for figure in figures { #expect(figure.isFraction && figure.value > 0.15, "\(figure)") }
    #expect(figures.contains { $0.value > 0.4 }, "\(figures)")
  }
}
