// Low-rank adapters: what they add, what they train, what becomes of them in copies, files and checkpoints; vectors of
// the Python package peft (Tests/reference/low_rank.py).

import Apus
import Foundation
import TestSupport
import Testing

/// Two products, one without a bias.
private struct Small: Module {
  let first = Linear(6, 5)
  let second = Linear(5, 3, bias: false)
  let head = Linear(3, 2)

  func callAsFunction(_ x: Tensor) -> Tensor { head(tanh(second(tanh(first(x))))) }
}

@Suite struct LowRankAdapterTests {
  private func small(seed: UInt64 = 1) throws -> Small {
    let model = Small()
    try model.initialize(seed: seed)
    return model
  }

  private func random(_ seed: UInt64, _ shape: Shape) -> NDArray {
    var generator = SplitMix(seed: seed)
    let values = (0..<shape.count).map { _ in Float(generator.next() >> 40) / 0x1p24 - 0.5 }
    return NDArray(values, shape: shape)
  }

  private func batch() -> Batch {
    Batch(
      names: ["x", "y"],
      arrays: [random(7, [8, 6]), NDArray([0, 1, 0, 1, 1, 0, 1, 0] as [Int32], shape: [8])])
  }

  private func loss(_ model: Small, _ batch: SymbolicBatch) -> Tensor {
    crossEntropy(model(batch.x), batch.y)
  }

  /// Gives `B` values, so that the adapters count.
  private func fill(_ model: some Module) throws {
    for (place, entry) in model.lowRankAdapters.enumerated() {
      try entry.adapter.up.set(random(UInt64(20 + place), entry.adapter.up.shape))
    }
  }

  // MARK: What they are

  @Test func newAdaptersChangeNothing_andAloneAreTrained() throws {
    let model = try small()
    let predict = try Predictor(model) { $0($1) }
    let before = try predict(batch().x!)
    let paths = try model.addLowRankAdapters(to: ["first", "sec*"], rank: 2, alpha: 6)
    #expect(paths == ["first", "second"])
    // What was compiled before is compiled again.
    #expect(try predict(batch().x!) == before)
    let trained = model.parameters.filter(\.parameter.isTrainable).map(\.path)
    #expect(
      trained == [
        "first.lora_A.weight", "first.lora_B.weight", "second.lora_A.weight",
        "second.lora_B.weight",
      ])
    #expect(model.parameterCount == 2 * (6 + 5) + 2 * (5 + 3))
    let down = try model.lowRankAdapters[0].adapter.down.value().floats
    #expect(down.allSatisfy { abs($0) <= 1 / Float(6).squareRoot() } && Set(down).count > 8)
    #expect(model.lowRankAdapters.allSatisfy { $0.adapter.scale == 3 })

    let weights = try [model.first.weight, model.second.weight, model.head.weight].map {
      try $0.value()
    }
    let step = try TrainingStep(model, optimizer: Adam(learningRate: 0.05), loss: loss)
    let losses = try (0..<60).map { _ in try step.run(batch()).loss }
    #expect(losses[59] < 0.7 * losses[0], "\(losses[0]), \(losses[59])")
    for (parameter, old) in zip(
      [model.first.weight, model.second.weight, model.head.weight], weights)
    {
      #expect(try parameter.value() == old)
    }
    #expect(try predict(batch().x!) != before)
  }

  @Test func aLayerAddsTheScaledProduct() throws {
    let model = try small()
    try model.addLowRankAdapters(to: ["first"], rank: 2, alpha: 5)
    try fill(model)
    let adapter = model.lowRankAdapters[0].adapter
    let (a, b) = (try adapter.down.value().doubles, try adapter.up.value().doubles)
    let (w, bias) = (try model.first.weight.value().doubles, try model.first.bias!.value().doubles)
    let x = random(9, [1, 6])
    let found = try Predictor(model) { $0.first($1) }(x).doubles
    for row in 0..<5 {
      var expected = bias[row]
      for column in 0..<6 {
        let product = b[row * 2] * a[column] + b[row * 2 + 1] * a[6 + column]
        expected += (w[row * 6 + column] + 2.5 * product) * x.doubles[column]
      }
      #expect(abs(found[row] - expected) < 1e-6)
    }
  }

  @Test func gradientsAreThoseOfDifferences() throws {
    let model = try small()
    try model.addLowRankAdapters(to: ["first", "second"], rank: 2, alpha: 4, dropout: 0.3)
    try fill(model)
    let check = try checkGradients(of: model, on: batch(), loss: loss)
    #expect(check.parameters.count == 4)
    #expect(check.parameters.allSatisfy { abs($0.analytic) > 1e-6 })
  }

  @Test func mergedIsAsBefore_upToRoundings() throws {
    let model = try small()
    try model.addLowRankAdapters(to: ["*"], rank: 2)
    try fill(model)
    let predict = try Predictor(model) { $0($1) }
    let before = try predict(batch().x!)
    #expect(try model.mergeLowRankAdapters() == 3)
    #expect(model.lowRankAdapters.isEmpty && model.parameters.count == 5)
    let after = try predict(batch().x!)
    for (a, b) in zip(before.floats, after.floats) { #expect(abs(a - b) < 1e-5 * max(1, abs(a))) }
    #expect(before != NDArray(zeros: before.type))
    // A layer that has been merged may get another.
    try model.addLowRankAdapters(to: ["head"], rank: 1)
    #expect(model.removeLowRankAdapters() == 1 && model.removeLowRankAdapters() == 0)
    #expect(try predict(batch().x!) == after)
  }

  @Test func copiesHaveAdaptersOfTheirOwn() throws {
    let model = try small()
    try model.addLowRankAdapters(to: ["second"], rank: 2, dropout: 0.1)
    try fill(model)
    let copy = try model.copy()
    let (mine, theirs) = (model.lowRankAdapters[0].adapter, copy.lowRankAdapters[0].adapter)
    #expect(try mine.up.value() == theirs.up.value())
    #expect(mine.up !== theirs.up && theirs.dropout == 0.1 && theirs.up.isTrainable)
    try copy.mergeLowRankAdapters()
    #expect(model.lowRankAdapters.count == 1 && copy.lowRankAdapters.isEmpty)
    #expect(try copy.second.weight.value() != model.second.weight.value())
  }

  @Test func mistakesAreTold_andChangeNothing() throws {
    let model = try small()
    func refused(
      _ kind: ApusError.Kind, _ words: String, _ patterns: [String], rank: Int = 1,
      alpha: Double = 1, dropout: Double = 0
    ) throws {
      let count = model.lowRankAdapters.count
      let error = #expect(throws: ApusError.self) {
        try model.addLowRankAdapters(to: patterns, rank: rank, alpha: alpha, dropout: dropout)
      }
      #expect(error?.kind == kind && "\(error!)".contains(words), "\(String(describing: error))")
      #expect(error?.location?.contains("LowRankAdapterTests.swift") == true)
      #expect(model.lowRankAdapters.count == count)
      #expect(model.parameters.filter { $0.parameter.isTrainable }.count == (count == 0 ? 5 : 2))
    }
    try refused(.missing, "'third'", ["first", "third"])
    try refused(.missing, "first, second, head", ["*.query"])
    try refused(.invalidArgument, "no patterns", [])
    try refused(.invalidArgument, "the rank is 0", ["first"], rank: 0)
    try refused(.invalidArgument, "the rank is 6 for 'first'", ["first"], rank: 6)
    try refused(.invalidArgument, "the rank is -9223372036854775808", ["*"], rank: .min)
    try refused(.invalidArgument, "1 to 2", ["*"], rank: 3)
    try refused(.invalidArgument, "alpha is 0", ["first"], alpha: 0)
    try refused(.invalidArgument, "alpha is nan", ["first"], alpha: .nan)
    try refused(.invalidArgument, "dropout is 1.0", ["first"], dropout: 1)
    try model.addLowRankAdapters(to: ["first"], rank: 5)
    try refused(.invalidArgument, "'first' has an adapter", ["*"])
    #expect(model.removeLowRankAdapters() == 1)
    #expect(throws: ApusError.self) { try model.mergeLowRankAdapters() }

    let table = Embedding(4, 4)
    let tied = NamedLinear(layer: Linear(4, 4), other: table.weight)
    try tied.initialize()
    _ = tied.layer.weight.tied()
    let error = #expect(throws: ApusError.self) {
      try tied.addLowRankAdapters(to: ["layer"], rank: 1)
    }
    #expect(error?.what.contains("shares its weight") == true)
  }

  private struct NamedLinear: Module {
    let layer: Linear
    let other: Parameter
  }

  // MARK: Files

  @Test func aResumedRun_hasTheBitsOfAnUninterruptedOne() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/run.safetensors"
    func start() throws -> (Small, TrainingStep) {
      let model = try small()
      try model.addLowRankAdapters(to: ["first", "second"], rank: 2, dropout: 0.2, seed: 4)
      return (
        model, try TrainingStep(model, optimizer: AdamW(learningRate: 0.01), seed: 3, loss: loss)
      )
    }
    let (whole, step) = try start()
    for _ in 0..<3 { _ = try step.run(batch()) }
    try Checkpoint(whole, steps: ["step": step]).save(path)
    for _ in 0..<3 { _ = try step.run(batch()) }
    let (again, resumed) = try start()
    try Checkpoint(again, steps: ["step": resumed]).load(path)
    for _ in 0..<3 { _ = try resumed.run(batch()) }
    for (a, b) in zip(whole.parameters, again.parameters) {
      #expect(try a.parameter.value() == b.parameter.value(), "\(a.path)")
    }
    // A model without adapters is another.
    let plain = try small()
    let other = try TrainingStep(plain, optimizer: AdamW(learningRate: 0.01), loss: loss)
    let error = #expect(throws: ApusError.self) {
      try Checkpoint(plain, steps: ["step": other]).load(path)
    }
    #expect(error?.what.contains("lora_A") == true)
  }

  @Test func aFolderOfHuggingFace_hasMergedWeights() throws {
    let folder = try TemporaryFolder()
    let bert = try BERT(contentsOf: PretrainedCase.path("bert"))
    let ids = PretrainedCase.tokens(8, below: 48, [2, 10])
    let paths = try bert.addLowRankAdapters(to: ["*.query", "*.value"], rank: 2)
    #expect(
      paths
        == (0..<2).flatMap { layer in
          ["query", "value"].map { "bert.encoder.layer.\(layer).attention.self.\($0)" }
        })
    try fill(bert)
    try bert.save(folder: folder.path)
    let names = try SafetensorsFile("\(folder.path)/model.safetensors").names
    #expect(!names.contains { $0.contains("lora") })
    let again = try BERT(contentsOf: folder.path)
    let (a, b) = (
      try Predictor(bert) { $0($1) }(ids), try Predictor(again) { $0($1) }(ids)
    )
    for (a, b) in zip(a.floats, b.floats) { #expect(abs(a - b) < 1e-5) }
    #expect(bert.lowRankAdapters.count == 4)
  }

  private func hidden(_ bert: BERT) throws -> [Double] {
    let ids = NDArray([5, 9, 2, 31, 7, 1, 40, 3, 0, 0] as [Int32], shape: [2, 5])
    let vectors = try Predictor(bert) { bert, inputs in
      [bert(inputs[0], seeing: .lengths(inputs[1]))]
    }.run([ids, NDArray([5, 3] as [Int32], shape: [2])])[0]
    return Array(vectors.doubles.prefix(8 * 16))
  }

  @Test func adaptersOfPEFT_giveWhatItGives_mergedToo() throws {
    let json = try JSON(parsing: TextFile.bytes(PretrainedCase.path("low-rank.json")))
    let expected = json["hidden"]!.elements!.map { $0.double! }
    let bert = try BERT(contentsOf: PretrainedCase.path("bert"))
    let without = try hidden(bert)
    let paths = try bert.loadLowRankAdapters(folder: PretrainedCase.path("low-rank"))
    #expect(paths.count == 4 && bert.lowRankAdapters.allSatisfy { $0.adapter.rank == 3 })
    func expectThose(_ what: String) throws {
      for (a, b) in zip(try hidden(bert), expected) where !(abs(a - b) < 2e-5 * max(1, abs(b))) {
        Issue.record("\(what): \(a), not \(b)")
        return
      }
    }
    try expectThose("with adapters")
    #expect(zip(without, expected).contains { abs($0 - $1) > 0.01 })

    // Written, they are the file that was read.
    let folder = try TemporaryFolder()
    try bert.saveLowRankAdapters(
      folder: folder.path, baseModel: "bert", renaming: ["bert.": ""])
    let (mine, theirs) = (
      try SafetensorsFile("\(folder.path)/adapter_model.safetensors"),
      try SafetensorsFile(PretrainedCase.path("low-rank/adapter_model.safetensors"))
    )
    #expect(Set(mine.names) == Set(theirs.names))
    for name in theirs.names { #expect(try mine.array(name) == theirs.array(name)) }
    let config = try JSON(parsing: TextFile.bytes("\(folder.path)/adapter_config.json"))
    let original = try JSON(
      parsing: TextFile.bytes(PretrainedCase.path("low-rank/adapter_config.json")))
    for key in ["peft_type", "r", "bias", "use_dora", "use_rslora", "base_model_name_or_path"] {
      #expect(config[key]?.text == original[key]?.text, "\(key)")
    }
    #expect(config["lora_alpha"]?.double == 5)

    try bert.mergeLowRankAdapters()
    try expectThose("merged")
    let again = try BERT(contentsOf: PretrainedCase.path("bert"))
    try again.loadLowRankAdapters(folder: folder.path)
    #expect(again.lowRankAdapters.count == 4)
  }

  @Test func badFolders_areTold_andChangeNothing() throws {
    let bert = try BERT(contentsOf: PretrainedCase.path("bert"))
    func refused(
      _ kind: ApusError.Kind, _ words: String, _ change: (TemporaryFolder) throws -> Void
    ) throws {
      let folder = try TemporaryFolder(copying: PretrainedCase.path("low-rank"))
      try change(folder)
      let error = #expect(throws: ApusError.self) {
        try bert.loadLowRankAdapters(folder: folder.path)
      }
      #expect(
        error?.kind == kind && "\(error!)".contains(words), "\(String(describing: error))")
      #expect(bert.lowRankAdapters.isEmpty)
      let frozen = bert.parameters.filter { !$0.parameter.isTrainable }
      #expect(frozen.isEmpty)
    }
    func replace(_ old: String, _ new: String) -> (TemporaryFolder) throws -> Void {
      { try $0.replace(old, new, in: "adapter_config.json") }
    }
    try refused(.unsupported, "\"IA3\"", replace("\"LORA\"", "\"IA3\""))
    try refused(.unsupported, "'use_dora'", replace("\"use_dora\": false", "\"use_dora\": true"))
    try refused(
      .unsupported, "'modules_to_save'",
      replace("\"modules_to_save\": null", "\"modules_to_save\": [\"classifier\"]"))
    try refused(
      .unsupported, "'rank_pattern'",
      replace("\"rank_pattern\": {}", "\"rank_pattern\": {\"a\": 1}"))
    try refused(.invalidFile, "'lora_alpha'", replace("\"lora_alpha\": 5", "\"lora_alpha\": 0"))
    try refused(.invalidFile, "adapter_config.json", replace("{}", "{"))
    func rewrite(
      _ change: @escaping ([String: NDArray]) throws -> [String: NDArray]
    ) -> (TemporaryFolder) throws -> Void {
      {
        let path = "\($0.path)/adapter_model.safetensors"
        let file = try SafetensorsFile(path)
        var arrays: [String: NDArray] = [:]
        for name in file.names { arrays[name] = try file.array(name) }
        try SafetensorsFile.write(change(arrays), to: path)
      }
    }
    let query = "base_model.model.encoder.layer.0.attention.self.query"
    try refused(
      .missing, "lora_B", rewrite { $0.filter { $0.key != query + ".lora_B.weight" } })
    try refused(
      .missing, "lora_A", rewrite { $0.filter { $0.key != query + ".lora_A.weight" } })
    try refused(
      .missing, "'pooler.other'",
      rewrite { $0.merging(["base_model.model.pooler.other.lora_A.weight": NDArray(0)]) { $1 } })
    try refused(
      .unsupported, "lora_magnitude_vector",
      rewrite { $0.merging([query + ".lora_magnitude_vector": NDArray(0)]) { $1 } })
    try refused(
      .shapeMismatch, "[3,15]",
      rewrite { arrays in
        arrays.merging([query + ".lora_A.weight": NDArray(zeros: .f32(3, 15))]) { $1 }
      })
    try refused(.io, "adapter_config.json") {
      try FileManager.default.removeItem(atPath: "\($0.path)/adapter_config.json")
    }
  }

  @Test func whatCannotBeSaved_isTold() throws {
    let folder = try TemporaryFolder()
    let model = try small()
    func refused(_ kind: ApusError.Kind, _ words: String, renaming: Bool = false) {
      let error = #expect(throws: ApusError.self) {
        if renaming {
          try model.saveLowRankAdapters(folder: folder.path, renaming: ["bert.": ""])
        } else {
          try model.saveLowRankAdapters(folder: folder.path)
        }
      }
      #expect(
        error?.kind == kind && "\(error!)".contains(words), "\(String(describing: error))")
    }
    refused(.missing, "no layer has")
    try model.addLowRankAdapters(to: ["first"], rank: 1)
    refused(.invalidArgument, "'bert.'", renaming: true)
    try model.lowRankAdapters[0].adapter.up.set(NDArray([.nan, 0, 0, 0, 0], shape: [5, 1]))
    refused(.nonFinite, "first.lora_B")
    try model.addLowRankAdapters(to: ["second"], rank: 2)
    refused(.unsupported, "'first' and 'second'")
    // The first ones are trained on.
    let trained = model.parameters.filter(\.parameter.isTrainable)
    #expect(trained.count == 4)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }
}
