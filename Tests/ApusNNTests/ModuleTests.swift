// Parameters are found, named and initialised by their property path.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime
import Testing

@Suite struct ModuleTests {
  struct Block: Module {
    let first = Linear(4, 4)
    let second = Linear(4, 4, bias: false)
  }

  struct Model: Module {
    let scale = Parameter([4], .ones)
    let blocks = [Block(), Block()]
    let head: Linear? = Linear(4, 2)
    let missing: Linear? = nil
    let network = Sequential {
      Linear(4, 8)
      Flatten()
      Linear(8, 4)
    }
    let pair = (left: Linear(1, 1), right: Linear(1, 1))
  }

  @Test func paths_followTheProperties() {
    #expect(
      Model().parameters.map(\.path) == [
        "scale", "blocks.0.first.weight", "blocks.0.first.bias", "blocks.0.second.weight",
        "blocks.1.first.weight", "blocks.1.first.bias", "blocks.1.second.weight", "head.weight",
        "head.bias", "network.0.weight", "network.0.bias", "network.2.weight", "network.2.bias",
        "pair.left.weight", "pair.left.bias", "pair.right.weight", "pair.right.bias",
      ])
  }

  @Test func sharedParameter_isListedOnce() {
    struct Tied: Module {
      let embedding: Linear
      let output: Linear
      init() {
        embedding = Linear(3, 3, bias: false)
        output = embedding
      }
    }
    #expect(Tied().parameters.map(\.path) == ["embedding.weight"])
  }

  @Test func firstValues_dependOnSeedAndPathAlone() throws {
    let a = Model(), b = Model(), c = Model()
    try a.initialize(seed: 7)
    try b.initialize(seed: 7)
    try c.initialize(seed: 8)
    for ((path, x), (y, z)) in zip(
      a.parameters, zip(b.parameters.map(\.parameter), c.parameters.map(\.parameter)))
    {
      #expect(try x.value() == y.value(), "\(path)")
      if path.hasSuffix("weight") { #expect(try x.value() != z.value(), "\(path)") }
    }
    let left = try a.blocks[0].first.weight.value()
    #expect(try left != a.blocks[1].first.weight.value())
  }

  @Test func opsOfALayer_carryItsPathAndTheCallersLine() throws {
    let model = Model()
    try model.initialize()
    let graph = try traced([.f32(3, 4)]) { [model.blocks[1].first($0[0])] }
    let origins = graph.nodes.flatMap(\.origins)
    #expect(!origins.isEmpty)
    for origin in origins {
      #expect(origin.scope == "blocks.1.first")
      #expect(origin.location.hasPrefix("ApusNNTests/ModuleTests.swift:"))
    }
  }

  @Test func mistakeInALayer_namesItsPathShapesAndLine() throws {
    let model = Model()
    try model.initialize()
    let error = #expect(throws: ApusError.self) {
      try traced([.f32(3, 5)]) { [model.blocks[1].first($0[0])] }
    }
    let text = error?.description ?? ""
    #expect(text.contains("blocks.1.first"))
    #expect(text.contains("f32[3,5]") && text.contains("f32[4,4]"))
    #expect(text.contains("ModuleTests.swift:"))
  }

  @Test func parameterOutsideTheModel_isAnError() throws {
    let error = #expect(throws: ApusError.self) {
      try traced([.f32(3, 4)]) { [Linear(4, 4)($0[0])] }
    }
    #expect(error?.kind == .missing)
  }

  @Test func valueOfAnotherShape_isRefused() throws {
    let model = Model()
    #expect(throws: ApusError.self) { try model.scale.value() }
    try model.initialize()
    #expect(throws: ApusError.self) { try model.scale.set(NDArray([1, 2], shape: [2])) }
    try model.scale.set(NDArray([1, 2, 3, 4], shape: [4]))
    #expect(try model.scale.value().floats == [1, 2, 3, 4])
  }

  @Test func summary_countsTrainableScalars() {
    struct Small: Module {
      let dense = Linear(784, 128)
      let fixed = Parameter([3], .ones, isTrainable: false)
    }
    #expect(
      Small().summary == """
        dense.weight   [128,784]  100352
        dense.bias     [128]         128
        fixed (fixed)  [3]             3
        total                     100480 parameters, 392.5 KiB
        """)
  }

  @Test func countsOfHugeModels_stopAtTheLargestInteger() throws {
    struct Huge: Module {
      let a = Linear(1 << 31, 1 << 31)
      let b = Linear(1 << 31, 1 << 31)
      let c = Linear(1 << 62, 1 << 62)
    }
    #expect(Huge().parameterCount == .max)
    #expect(Huge().summary.contains("\(Int.max) parameters"))
    let error = #expect(throws: ApusError.self) { try Huge().initialize() }
    #expect(error?.kind == .resource)
  }

  @Test func patterns_matchWholePaths() {
    for (pattern, path, fits) in [
      ("*.bias", "bias", true), ("*.bias", "a.bias", true), ("*.bias", "a.b.bias", true),
      ("*.bias", "a.biases", false), ("*.bias", "abias", false), ("**.bias", "bias", true),
      ("a.*", "a.weight", true), ("a.*", "a", false), ("a.*", "ba.weight", false),
      ("*.a.*", "a.weight", true), ("*.a.*", "x.a.b.weight", true), ("*.a.*", "xa.weight", false),
      ("*norm*", "norm", true), ("*norm*", "blocks.3.norm1.weight", true), ("*", "weight", true),
      ("*", "a.b.c", true), ("*.*", "weight", true), ("*.*", "a.weight", true),
      ("blocks.?.weight", "blocks.3.weight", true), ("blocks.?.weight", "blocks.13.weight", false),
      ("*.", "", true), ("bias", "a.bias", false), ("", "bias", false),
    ] {
      #expect(PathPattern(pattern).matches(path) == fits, "\(pattern) and \(path)")
    }
  }

  @Test func aPatternForEveryBias_findsTheModelsOwn() throws {
    struct Own: Module {
      let bias = Parameter([3])
      let inner = Linear(2, 3)
    }
    let model = Own()
    #expect(try model.freeze("*.bias") == 2)
    #expect(!model.bias.isTrainable && model.inner.weight.isTrainable)
    #expect(throws: ApusError.self) { try model.unfreeze("*.biases") }
  }
}
