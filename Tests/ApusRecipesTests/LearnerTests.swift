// The recipes that show one thing: gates, a landscape, over-fitting.

import Apus
import Foundation
import Testing

@testable import ApusRecipes

/// A run of a recipe with options, and the file beside its weights.
private func run(
  _ name: String, _ options: [String: String] = [:]
) throws -> (figures: [String: Double], picture: String?, weights: NamedArrays) {
  let folder = FileManager.default.temporaryDirectory.appending(path: "apus-\(UUID())")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  let recipe = try recipes.named(name)
  var values = recipe.defaults
  for (option, text) in options { try values.set(option, to: text) }
  let output = folder.appending(path: "w.safetensors").path
  let outcome = try RecipeRun(recipe, values, output: output).start()
  return (
    Dictionary(uniqueKeysWithValues: outcome.figures.map { ($0.name, $0.value) }),
    try? String(contentsOf: folder.appending(path: "w.svg"), encoding: .utf8),
    try SafetensorsFile(output).arrays()
  )
}

@Suite struct LearnerTests {
  @Test func aPerceptronLearnsANDAndOR_andHiddenUnitsLearnXOR() throws {
    let (figures, _, _) = try run("logic-gates")
    #expect(figures["test AND by a perceptron"] == 1)
    #expect(figures["test OR by a perceptron"] == 1)
    #expect(figures["test XOR with hidden units"] == 1)
    // No line has more than three of the four points on its right side, and the best it can say is one half.
    #expect(try #require(figures["test XOR by a perceptron"]) <= 0.75)
    #expect(abs(try #require(figures["test loss of XOR by a perceptron"]) - log(2)) < 0.01)
  }

  @Test func theLandscapeIsDrawnWithFourPaths_whichEndWhereTheWeightsAre() throws {
    let (figures, picture, weights) = try run("loss-landscape", ["epochs": "5"])
    let svg = try #require(picture)
    for walker in LossLandscapeRecipe.walkers {
      #expect(svg.contains("<title>\(walker)</title>"), "\(walker)")
      let place = try #require(weights["\(walker).weights"]).doubles
      let height = LossLandscapeRecipe.height(place[0], place[1])
      #expect(abs(height - figures["test loss by \(walker)"]!) < 1e-5)
    }
    #expect(figures["test loss by momentum"]! < figures["test loss by sgd"]! / 10)
    #expect(figures["test loss by adam"]! < figures["test loss by sgd"]! / 10)
    // The beginning and a place a step, for each of four.
    let paths = svg.matches(of: /<polyline points="([^"]*)"/).map {
      $0.1.split(separator: " ").count
    }
    #expect(paths == [101, 101, 101, 101])
    #expect(svg.components(separatedBy: "<line ").count > 1000)
  }

  @Test func contourLinesLieWhereTheFunctionHasTheirHeight() {
    let plot = LandscapePlot(title: "", paths: []) { $0 * $0 + $1 * $1 }
    let segments = plot.segments(at: 0.5, (low: (-1, -1), high: (1, 1)))
    #expect(segments.count > 300)
    var length = 0.0
    for ((x, y), (u, v)) in segments {
      #expect(abs(x * x + y * y - 0.5) < 1e-3 && abs(u * u + v * v - 0.5) < 1e-3)
      length += ((x - u) * (x - u) + (y - v) * (y - v)).squareRoot()
    }
    // A circle of radius √½.
    #expect(abs(length - 2 * .pi * 0.5.squareRoot()) < 0.01)
  }

  @Test func aPlainNetworkOverFits_andTheCuresDoNot() throws {
    let (figures, picture, _) = try run("over-fitting", ["epochs": "40"])
    let plain = try #require(figures["test plain loss"])
    #expect(try #require(figures["training plain loss"]) < 0.05)
    #expect(plain > 0.6)
    #expect(try #require(figures["test loss with dropout"]) < plain - 0.03)
    #expect(try #require(figures["test loss with L2"]) < plain - 0.03)
    #expect(try #require(figures["plain loss, stopped early"]) < plain - 0.03)
    let epochs = try #require(figures["epochs of early stopping"])
    #expect(epochs > 3 && epochs < 40)
    let svg = try #require(picture)
    #expect(svg.contains("stopped early: epoch") && svg.contains("loss with dropout, learnt"))
  }

  @Test func earlyStoppingIsCountedAsTheCallbackDoes() throws {
    let losses = [3, 2, 2.5, 1.9, 2, 2.1, 1.95, 1.5]
    let found = try #require(OverFittingRecipe.stop(losses, patience: 3))
    #expect(found.best == 3 && found.last == 6)
    #expect(OverFittingRecipe.stop([], patience: 3) == nil)
    #expect(OverFittingRecipe.stop([1, 0.5], patience: 3)! == (1, 1))
  }

  @Test func whatALogNotedIsResumed_andNothingElse() throws {
    func log() -> SeriesLog {
      SeriesLog("test") { event, _ in
        if case .ended = event { [("a", 1.5), ("b#c", -2)] } else { [] }
      }
    }
    let first = log()
    let trainer = try Trainer(Linear(1, 1), optimizer: SGD(learningRate: 0.1)) {
      mse($0($1.x), $1.x)
    }
    for _ in 0..<12 { _ = try first.handle(.ended(reason: nil), in: trainer) }
    let second = log()
    try second.restore(first.state)
    #expect(second.series["a"] == Array(repeating: 1.5, count: 12))
    #expect(second.series["b#c"] == Array(repeating: -2, count: 12) && second.series.count == 2)
    for wrong in ["a", "a#x", "a#1", "a#-1"] {
      #expect(throws: ApusError.self) { try log().restore([wrong: 1]) }
    }
  }
}
