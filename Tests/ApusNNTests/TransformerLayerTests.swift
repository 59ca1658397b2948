// Layers of transformers do what PyTorch's do (Tests/reference/transformer_vectors.py), and refuse what is not theirs.

import Apus
import Foundation
import TestSupport
import Testing

@testable import ApusNN

/// Results and gradients of a layer of PyTorch, in double.
private struct LayerCase: Decodable {
  var y: [Double]
  /// The input's gradient.
  var x: [Double]
  var gradients: [String: [Double]]
}

private let reference: [String: LayerCase] = {
  let url = Bundle.module.url(
    forResource: "transformers", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: LayerCase].self, from: Data(contentsOf: url))
}()

/// Multiples of 2^-23 in [-1, 1), as the script draws them.
private func drawn(_ seed: UInt64, _ shape: Shape, scale: Double = 1) -> NDArray {
  var generator = SplitMix(seed: seed)
  let values = (0..<shape.count).map { _ in
    Float((Double(generator.next() >> 40) / 0x1p23 - 1) * scale)
  }
  return NDArray(values, shape: shape)
}

/// A layer and what it is applied to besides its input: a memory of 4 keys, and one of width 6.
private struct Use {
  var module: any Module
  var apply: (_ x: Tensor, _ memory: Tensor, _ context: Tensor) -> Tensor
}

private func lengths(_ values: [Int32]) -> AttentionPattern {
  .lengths(.constant(NDArray(values, shape: [values.count])))
}

nonisolated(unsafe) private let uses: [String: () -> Use] = {
  func attention(
    _ layer: MultiHeadAttention,
    _ apply: @escaping (MultiHeadAttention, Tensor, Tensor, Tensor) -> Tensor
  ) -> Use { Use(module: layer) { apply(layer, $0, $1, $2) } }
  func settings(_ activation: FeedForwardActivation, _ first: Bool) -> TransformerSettings {
    TransformerSettings(
      8, heads: 2, hidden: 12, activation: activation, dropout: 0, normFirst: first)
  }
  func decoder(_ first: Bool) -> Use {
    let layer = TransformerDecoderLayer(settings(.relu, first))
    return Use(module: layer) { x, memory, _ in
      layer(x, memory: memory, memorySeeing: lengths([2, 4]))
    }
  }
  return [
    "attention": { attention(MultiHeadAttention(8, heads: 2)) { layer, x, _, _ in layer(x) } },
    "attention-causal": {
      attention(MultiHeadAttention(8, heads: 2, bias: false)) { layer, x, _, _ in
        layer(x, seeing: .causal)
      }
    },
    "attention-lengths": {
      attention(MultiHeadAttention(8, heads: 2)) { layer, x, _, _ in
        layer(x, seeing: lengths([5, 3]))
      }
    },
    "attention-cross": {
      attention(MultiHeadAttention(8, heads: 2)) { layer, x, memory, _ in
        layer(x, context: memory)
      }
    },
    "attention-context": {
      attention(MultiHeadAttention(8, heads: 2, contextWidth: 6)) { layer, x, _, context in
        layer(x, context: context)
      }
    },
    "encoder-post": {
      let layer = TransformerEncoderLayer(settings(.relu, false))
      return Use(module: layer) { x, _, _ in layer(x, seeing: lengths([5, 3])) }
    },
    "encoder-pre": {
      let layer = TransformerEncoderLayer(settings(.gelu, true))
      return Use(module: layer) { x, _, _ in layer(x, seeing: .causal) }
    },
    "decoder-post": { decoder(false) }, "decoder-pre": { decoder(true) },
  ]
}()

@Suite struct TransformerLayerTests {
  private func expectClose(_ found: NDArray, _ expected: [Double], _ what: String) {
    let greatest = expected.reduce(1) { max($0, abs($1)) }
    #expect(found.count == expected.count, "\(what)")
    for (index, (a, b)) in zip(found.doubles, expected).enumerated()
    where !(abs(a - b) <= 1e-5 * greatest) {
      Issue.record("\(what), element \(index): \(a), not \(b)")
      return
    }
  }

  @Test func everyCaseOfTheReferenceIsTested() {
    #expect(Set(reference.keys) == Set(uses.keys))
  }

  @Test(arguments: uses.keys.sorted())
  func namesValuesAndGradients_arePyTorchs(name: String) throws {
    let expected = try #require(reference[name])
    let make = try #require(uses[name])
    let use = make()
    let parameters = use.module.parameters.sorted { $0.path < $1.path }
    #expect(parameters.map(\.path) == expected.gradients.keys.sorted())
    try use.module.initialize()
    for (seed, (_, parameter)) in parameters.enumerated() {
      try parameter.set(drawn(UInt64(100 + seed), parameter.shape, scale: 0.5))
    }
    let inputs = [drawn(1, [2, 5, 8]), drawn(3, [2, 4, 8]), drawn(4, [2, 4, 6])]
    let function = try compile(inputs.map(\.type)) { tensors in
      let y = use.apply(tensors[0], tensors[1], tensors[2])
      let loss = (y * Tensor.constant(drawn(2, y.shape))).sum()
      return [y]
        + gradients(of: loss, withRespectTo: [tensors[0]] + parameters.map(\.parameter.tensor))
    }
    let found = try function.executable.run(inputs)
    expectClose(found[0], expected.y, "result")
    expectClose(found[1], expected.x, "gradient of the input")
    for (place, (path, _)) in parameters.enumerated() {
      expectClose(found[2 + place], try #require(expected.gradients[path]), path)
    }
  }

  @Test func groupedQueries_areThoseOfRepeatedKeys() throws {
    let grouped = MultiHeadAttention(8, heads: 4, keyHeads: 2, bias: false)
    try grouped.initialize(seed: 3)
    #expect(grouped.parameters.map(\.path) == ["in_proj_weight", "out_proj.weight"])
    #expect(grouped.parameters[0].parameter.shape == [16, 8])
    let full = MultiHeadAttention(8, heads: 4, bias: false)
    try full.initialize()
    let weight = try grouped.parameters[0].parameter.value()
    // Rows of queries, then each head of keys and of values (of two rows) twice.
    let rows =
      Array(0..<8)
      + [4, 5, 6, 7].flatMap { pair in
        [0, 1, 0, 1].map { 2 * pair + $0 }
      }
    try full.parameters[0].parameter.set(weight.rows(at: rows))
    try full.parameters[1].parameter.set(grouped.parameters[1].parameter.value())
    let x = drawn(5, [2, 6, 8])
    func result(_ layer: MultiHeadAttention) throws -> [Float] {
      try compile([x.type]) { [layer($0[0], seeing: .causal)] }.executable.run([x])[0].floats
    }
    for (a, b) in zip(try result(grouped), try result(full)) { #expect(abs(a - b) < 1e-6) }
  }

  @Test func aCachedAttention_givesWhatTheWholeRowGives() throws {
    for window in [nil, 3] {
      let layer = MultiHeadAttention(8, heads: 4, keyHeads: 2)
      try layer.initialize(seed: 1)
      let cache = KeyValueCache(batch: 2, length: 9, heads: 2, width: 2)
      try cache.initialize()
      let x = drawn(6, [2, 9, 8])
      let whole = try compile([x.type]) {
        [layer($0[0], seeing: AttentionPattern(isCausal: true, window: window))]
      }.executable.run([x])[0]
      // A block of four, then one by one.
      var start = 0
      for count in [4, 1, 1, 1, 2] {
        let part = try x.slice(axis: 1, start..<start + count)
        let step = try Predictor(cache) { cache, inputs in
          [layer(inputs[0], cache: cache, at: inputs[1], window: window)]
        }
        let found = try step.run([part, NDArray([Int32(start)], shape: [])])[0].floats
        let expected = try whole.slice(axis: 1, start..<start + count).floats
        for (a, b) in zip(found, expected) { #expect(abs(a - b) < 1e-5) }
        start += count
      }
    }
  }

  /// What a step adds is written into the caches' own memory: nothing is copied, and a place outside changes nothing.
  @Test func cachesAreWrittenInPlace_orNotAtAll() throws {
    let layers = (0..<2).map { _ in MultiHeadAttention(8, heads: 4, keyHeads: 2) }
    for layer in layers { try layer.initialize(seed: 1) }
    let caches = layers.map { _ in KeyValueCache(batch: 2, length: 9, heads: 2, width: 2) }
    for cache in caches { try cache.initialize() }
    let step = try Predictor(caches[0]) { _, inputs in
      [
        zip(layers, caches).reduce(inputs[0]) { x, each in
          each.0(x, cache: each.1, at: inputs[1])
        }
      ]
    }
    let x = drawn(6, [2, 1, 8])
    let calls = try step.executable(for: [x.type, .i32()]).plan.steps.map(\.mnemonic)
    #expect(calls.count { $0 == "set_rows" } == 4 && !calls.contains("assign"), "\(calls)")
    func kept() throws -> [NDArray] { try caches.map { try $0.keys.value() } }
    _ = try step.run([x, NDArray([Int32(8)], shape: [])])
    let before = try kept()
    #expect(before.allSatisfy { $0.floats.contains { $0 != 0 } })
    for place in [9, -1] as [Int32] {
      let error = #expect(throws: ApusError.self) {
        _ = try step.run([x, NDArray([place], shape: [])])
      }
      #expect(error?.kind == .outOfRange)
    }
    #expect(try kept() == before)
  }

  @Test func positions_areAddedByPlace() throws {
    let learnt = LearnedPositions(6, 4)
    try learnt.initialize(seed: 2)
    let x = NDArray(zeros: .f32(2, 5, 4))
    let table = try learnt.weight.value().floats
    let added = try compile([x.type]) { [learnt($0[0])] }.executable.run([x])[0].floats
    #expect(
      Array(added[..<20]) == Array(table[..<20]) && Array(added[20...]) == Array(table[..<20]))
    let odd = NDArray(zeros: .f32(1, 7, 5))
    let sines = try compile([odd.type]) { [SinusoidalPositions()($0[0])] }.executable.run([odd])[0]
      .doubles
    for place in 0..<7 {
      for unit in 0..<5 {
        let angle = Double(place) / Foundation.pow(10_000.0, Double(unit / 2 * 2) / 5)
        let expected = unit % 2 == 0 ? sin(angle) : cos(angle)
        #expect(abs(sines[place * 5 + unit] - expected) < 1e-6)
      }
    }
  }

  @Test func stacks_copyAndCount() throws {
    let settings = TransformerSettings(
      8, heads: 2, activation: .swiGLU, normFirst: true, norm: .rms(), bias: false)
    let encoder = TransformerEncoder(layers: 2, settings)
    #expect(
      encoder.parameters.map(\.path).prefix(7) == [
        "layers.0.self_attn.in_proj_weight", "layers.0.self_attn.out_proj.weight",
        "layers.0.linear1.weight", "layers.0.linear2.weight", "layers.0.linear3.weight",
        "layers.0.norm1.weight", "layers.0.norm2.weight",
      ])
    #expect(encoder.parameters.last?.path == "norm.weight")
    try encoder.initialize(seed: 1)
    let copy = try encoder.copy()
    let decoder = TransformerDecoder(layers: 1, settings)
    try decoder.initialize(seed: 2)
    let x = drawn(7, [2, 3, 8])
    func result(_ encoder: TransformerEncoder) throws -> NDArray {
      try compile([x.type]) { [decoder($0[0], memory: encoder($0[0]))] }.executable.run([x])[0]
    }
    #expect(try result(copy) == result(encoder))
    #expect(try result(encoder).isFinite)
  }

  @Test func mistakes_areToldWithShapesAndPlaces() throws {
    func mistake(_ model: some Module) -> String? {
      #expect(throws: ApusError.self) { try model.initialize() }?.description
    }
    #expect(mistake(MultiHeadAttention(8, heads: 3))?.contains("3 heads of a width of 8") == true)
    #expect(mistake(MultiHeadAttention(8, heads: 0))?.contains("0 heads") == true)
    #expect(mistake(MultiHeadAttention(-8, heads: 2))?.contains("width is -8") == true)
    #expect(mistake(MultiHeadAttention(8, heads: 4, keyHeads: 3))?.contains("3 heads") == true)
    #expect(mistake(MultiHeadAttention(8, heads: 4, dropout: 1.5))?.contains("1.5") == true)
    #expect(mistake(TransformerEncoder(layers: -1, .init(8, heads: 2)))?.contains("-1") == true)
    #expect(mistake(TransformerEncoderLayer(.init(Int.max, heads: 1))) != nil)
    #expect(mistake(TransformerDecoderLayer(.init(8, heads: 2, hidden: 0)))?.contains("0") == true)

    func fault(_ type: TensorType, _ apply: (Tensor) -> Tensor) -> String? {
      #expect(throws: ApusError.self) { _ = try compile([type]) { [apply($0[0])] } }?.description
    }
    let layer = MultiHeadAttention(8, heads: 2)
    try layer.initialize()
    #expect(fault(.f32(2, 5, 6)) { layer($0) }?.contains("f32[2,5,6]") == true)
    #expect(fault(.f32(5, 8)) { layer($0) }?.contains("TransformerLayerTests.swift") == true)
    #expect(fault(.f32(2, 5, 8)) { layer($0, context: $0.sliced(axis: 2, to: 4)) } != nil)
    let positions = LearnedPositions(4, 8)
    try positions.initialize()
    #expect(fault(.f32(2, 5, 8)) { positions($0) }?.contains("at most 4") == true)
  }
}
