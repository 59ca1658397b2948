// What `apus bench train` times: the list of recipes, its arithmetic, and that peers have the same.

import Apus
import ApusRecipes
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite struct RecipeBenchmarkTests {
  private static let names = recipes.benchmarks.map(\.name)
  private static let perceptrons = names.filter { $0.hasPrefix("mlp") }

  /// Widths of the layers as the recorded weights have them.
  private func widths(_ graph: Graph) -> [Int] {
    let weights = graph.states.filter {
      $0.name.hasSuffix(".weight") && !$0.name.hasPrefix("optimizer.")
    }.map { graph.type(of: $0.value).shape }
    return weights.prefix(1).map { $0[1] } + weights.map { $0[0] }
  }

  private func step(_ name: String) throws -> (recipe: any Recipe, graph: Graph) {
    let recipe = try recipes.named(name)
    let steps = try recipe.steps(recipe.defaults, compile: CompileOptions())
    return (recipe, try #require(steps.first).graph())
  }

  /// Forward, the weights' gradients, and all but the first layer's operands' gradients.
  @Test(arguments: perceptrons) func productsAreCounted(name: String) throws {
    let (recipe, graph) = try step(name)
    let widths = widths(graph)
    let products = zip(widths, widths.dropFirst()).map {
      2 * Double(recipe.defaults.batch * $0 * $1)
    }
    #expect(widths.count > 2)
    #expect(graph.productFlops == 3 * products.reduce(0, +) - products[0])
  }

  /// Of convolutions as well: places, taps, channels of both.
  @Test func convolutionsAreCounted() throws {
    func count(_ name: String, _ layers: [(Int, Int, Int, Int)]) throws {
      let products = layers.map { 2 * 128 * Double($0.0 * $0.1 * $0.2 * $0.3) }
      #expect(try step(name).graph.productFlops == 3 * products.reduce(0, +) - products[0])
    }
    try count("lenet", [(784, 9, 1, 32), (196, 9, 32, 64), (1, 1, 3136, 128), (1, 1, 128, 10)])
    var layers = [(1024, 9, 3, 16)]
    for (places, inputs, width) in [(1024, 16, 16), (256, 16, 32), (64, 32, 64)] {
      layers.append((places, 9, inputs, width))
      for _ in 0..<5 { layers.append((places, 9, width, width)) }
      if inputs != width { layers.append((places, 1, inputs, width)) }
    }
    try count("resnet20", layers + [(1, 1, 64, 10)])
  }

  /// Of GPT: twelve products of the squared width in a block, half of all pairs of places in the attention, scores.
  @Test func attentionsAreCounted_whereTheySee() throws {
    let (places, width, pairs) = (8.0 * 256, 384.0, 8.0 * 256 * 257 / 2)
    let block = 2 * 12 * places * width * width + 4 * pairs * width
    let expected = 3 * (6 * block + 2 * places * width * 96)
    #expect(try step("gpt").graph.productFlops == expected)
  }

  /// Of recurrent networks: each layer's products with what comes in and with its state, scores; a loop that the
  /// gradient records again counts once.
  @Test func recurrentProductsAreCounted() throws {
    for (name, gates) in [("lstm", 4.0), ("gru", 3.0)] {
      let terms = gates * 256 * (128 + 256 + 256 + 256) + 256 * 96
      #expect(try step(name).graph.productFlops == 3 * 2 * 32 * 64 * terms)
    }
  }

  @Test func theFormula_countsTransposedProductsOfBatches() throws {
    let graph = try Graph(
      parsing: """
        input %0 "a" : f32[7,5,2]
        input %1 "b" : f32[7,3,5]
        %2 = matmul(%0, %1) {transposeA=true, transposeB=true} : f32[7,2,3]
        output "c" = %2
        """, ops: .all)
    #expect(graph.productFlops == 2 * 7 * 2 * 3 * 5)
  }

  @Test(arguments: names) func peersHaveTheSameSizes(name: String) throws {
    let (recipe, graph) = try step(name)
    let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Benchmarks/peers")
    let script = try String(contentsOf: folder.appending(path: "train.py"), encoding: .utf8)
    func has(_ part: String) -> Bool { graph.states.contains { $0.name.contains(part) } }
    let rule = has("shrinkage") ? "adamw" : has("first_moment") ? "adam" : "sgd"
    let widths = widths(graph).map(String.init).joined(separator: ", ")
    let sizes = Self.perceptrons.contains(name) ? "[\(widths)]" : "\"\(name)\""
    let line = "\"\(name)\": (\(sizes), \(recipe.defaults.batch), \"\(rule)\"),"
    #expect(script.contains(line), "train.py lacks \(line)")
    let rate = try #require(
      script.firstMatch(of: try Regex("\"\(rule)\": ([0-9e.-]+)"))?[1].substring)
    #expect(Double(rate) == recipe.defaults.learningRate)
    guard !Self.perceptrons.contains(name) else { return }
    // Their layers stand in files of their own.
    if let table = graph.states.first(where: {
      $0.name.hasSuffix("tokens") || $0.name.hasSuffix("wte.weight")
        || $0.name.hasSuffix("word_embeddings.weight") || $0.name == "embedding.weight"
    }) {
      let sequences = try String(
        contentsOf: folder.appending(path: "sequences.py"), encoding: .utf8)
      let length = graph.type(of: try #require(graph.inputs.first).value).shape[1]
      #expect(
        sequences.contains("\"\(name)\": (\(length), \(graph.type(of: table.value).shape[0]))"))
      return
    }
    let networks = try String(contentsOf: folder.appending(path: "networks.py"), encoding: .utf8)
    let image = graph.type(of: try #require(graph.inputs.first).value).shape.dimensions.dropFirst()
    let extents = image.map(String.init).joined(separator: ", ")
    #expect(networks.contains("\"\(name)\": (\(extents))"))
  }

  @Test func batchesOfImpossibleSizes_areRefused() throws {
    let recipe = try recipes.named("mlp_tiny")
    #expect(try recipe.options(batch: nil).batch == 1)
    #expect(try recipe.options(batch: 3).batch == 3)
    for size in [0, -1, Int.max] {
      let error = #expect(throws: ApusError.self) { try recipe.options(batch: size) }
      #expect(error?.what == "batch is \(size)")
    }
  }

  @Test func peersThatDoNotHaveARecipe_areRefused() throws {
    let options = BenchmarkOptions(threads: 1, isa: .ref, peers: [.torch])
    let error = #expect(throws: ApusError.self) {
      _ = try benchmarkTraining([try recipes.named("fashion-mnist")], options: options)
    }
    #expect(error?.kind == .unsupported && error?.what.contains("fashion-mnist") == true)
  }

  @Test func profiles_haveALineForEachCall() throws {
    var lines: [String] = []
    let options = BenchmarkOptions(
      threads: 1, isa: Apus.Environment.availableISAs.last ?? .ref, seconds: 0.01, json: true,
      print: { lines.append($0) })
    try profileTraining([try recipes.named("mlp_tiny")], batch: 2, options: options)
    let workloads = try lines.map { try JSON(parsing: $0)["workload"]?.string }
    #expect(workloads.first == .some(nil) && workloads.dropFirst().allSatisfy { $0 == "mlp_tiny" })
    #expect(lines.count > 5)
  }

  @Test func scalingIsMeasuredAsFarAsThereAreProcessorsAndPredictedBeyond() throws {
    var lines: [String] = []
    let options = BenchmarkOptions(
      threads: 1, isa: Environment.availableISAs.last!, seconds: 0.01, json: true,
      print: { lines.append($0) })
    try scaleTraining([try recipes.named("mlp_tiny")], batch: 256, options: options)
    let found = try lines.map { try JSON(parsing: $0) }
    #expect(found.map { $0["threads"]?.double } == [1, 2, 4, 8, 16, 32, 64])
    let predicted = try found.map { try #require($0["predicted_us"]?.double) }
    #expect(predicted.allSatisfy { $0 > 0 })
    let isMeasured = found.map { $0["measured_us"]?.double != nil }
    #expect(isMeasured == [true] + [Bool](repeating: false, count: 6))
    // So small a step gains nothing from a great many threads: the plan leaves them out.
    #expect(predicted[6] > predicted[0] / 8)
    for (fewer, more) in zip(predicted, predicted.dropFirst()) {
      #expect(more <= 1.01 * max(fewer, predicted[0]))
    }
  }
}
