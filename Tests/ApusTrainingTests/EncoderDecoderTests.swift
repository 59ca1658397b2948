// Encoder–decoder transformers do what PyTorch's nn.Transformer does (Tests/reference/encoder_decoder.py), and write the
// same tokens through their caches as without.

import Apus
import Foundation
import TestSupport
import Testing

@testable import ApusNN
@testable import ApusTraining

private struct EncoderDecoderCase: Decodable {
  var seed: UInt64, normFirst: Bool, vocabularies: [Int], learned: Bool
  var source: [[Int]], lengths: [Int], labels: [[Int]]
  var logits: [Double], loss: Double, gradients: [String: Double], written: [[Int]]

  static func all() throws -> [EncoderDecoderCase] {
    let url = URL(fileURLWithPath: PretrainedCase.path("encoder-decoder.json"))
    return try JSONDecoder().decode([EncoderDecoderCase].self, from: Data(contentsOf: url))
  }

  func model() throws -> EncoderDecoderTransformer {
    var sizes = EncoderDecoderTransformer.Configuration(
      vocabulary: vocabularies[0], length: 10, width: 8, layers: 2, heads: 2, hidden: 12,
      dropout: 0, positions: learned ? .learned : .sinusoidal)
    sizes.targetLength = 9
    if learned { sizes.targetLength = 10 }
    sizes.targetVocabulary = vocabularies.last!
    sizes.sharesVocabulary = vocabularies.count == 1
    sizes.tiesScores = sizes.sharesVocabulary
    sizes.settings.normFirst = normFirst
    sizes.finalNorm = true
    let model = EncoderDecoderTransformer(sizes)
    try model.initialize()
    let parameters = model.parameters.sorted { $0.path < $1.path }
    for (place, (path, parameter)) in parameters.enumerated() {
      var generator = SplitMix(seed: seed + UInt64(place))
      let isMatrix = parameter.shape.rank > 1, isTable = path.contains("embedding")
      let values = (0..<parameter.shape.count).map { _ -> Float in
        let drawn = Double(generator.next() >> 40) / 0x1p23 - 1
        if isMatrix { return Float(drawn * (isTable ? 1 : 2)) }
        return Float(drawn * 0.2 + (path.hasSuffix("weight") ? 1 : 0))
      }
      try parameter.set(NDArray(values, shape: parameter.shape))
    }
    return model
  }

  var batch: Batch {
    func array(_ rows: [[Int]]) -> NDArray {
      NDArray(rows.joined().map(Int32.init), shape: [rows.count, rows[0].count])
    }
    return Batch([
      "source": array(source), "target": array(labels),
      "lengths": NDArray(lengths.map(Int32.init), shape: [lengths.count]),
    ])
  }

  var rows: [[Int]] { zip(source, lengths).map { Array($0.prefix($1)) } }
}

@Suite struct EncoderDecoderTests {
  private func small(
    copies: Bool = false, source: Int = 40, target: Int = 12,
    positions: EncoderDecoderTransformer.Positions = .sinusoidal
  ) throws -> EncoderDecoderTransformer {
    var sizes = EncoderDecoderTransformer.Configuration(
      vocabulary: 30, length: source, width: 16, layers: 2, heads: 4, positions: positions,
      copiesSource: copies)
    sizes.targetLength = target
    let model = EncoderDecoderTransformer(sizes)
    try model.initialize(seed: 5)
    // Lively, so that rows of tokens are not all alike.
    for (path, parameter) in model.parameters where parameter.shape.rank > 1 {
      let scale = path.contains("embedding") ? 4.0 : 3.0
      let array = try parameter.value()
      try parameter.set(NDArray(array.floats.map { $0 * Float(scale) }, shape: array.shape))
    }
    return model
  }

  private static let sources = [
    [3, 9, 27, 14], [5], (0..<33).map { ($0 * 7 + 3) % 30 }, [29, 2, 2, 17, 8, 11, 25, 1, 1],
    (0..<17).map { ($0 * 11 + 5) % 30 },
  ]

  /// The likeliest row, all of it again for each token.
  private func uncached(
    _ model: EncoderDecoderTransformer, _ source: [Int], by count: Int
  ) throws -> [Int] {
    let run = try Predictor(model) { model, arguments in
      [model(arguments[0], predicting: arguments[1]).argmax(axis: -1)]
    }
    let tokens = NDArray(source.map(Int32.init), shape: [1, source.count])
    var row: [Int] = []
    while row.count < count, row.last != model.configuration.endToken {
      // What is to come counts for nothing before it.
      let labels = row + [Int](repeating: 0, count: count - row.count)
      let best = try run.run([tokens, NDArray(labels.map(Int32.init), shape: [1, count])])[0]
      row.append(best.integers[row.count])
    }
    return row
  }

  // MARK: PyTorch

  @Test func logitsLossesAndGradients_arePyTorchs() throws {
    for (place, expected) in try EncoderDecoderCase.all().enumerated() {
      let model = try expected.model()
      #expect(model.parameters.map(\.path).sorted() == expected.gradients.keys.sorted())
      let run = try Predictor(model) { model, a in [model(a[0], lengths: a[1], predicting: a[2])] }
      let batch = expected.batch
      let logits = try run.run([batch.source!, batch.lengths!, batch.target!])[0]
      let greatest = expected.logits.map(abs).max()!
      for (a, b) in zip(logits.doubles, expected.logits) {
        #expect(abs(a - b) < 2e-5 * greatest, "case \(place)")
      }
      let norms = try GradientNorms(model) { model, batch in
        crossEntropy(
          model(batch.source, lengths: batch.lengths, predicting: batch.target), batch.target,
          labelSmoothing: 0.1)
      }
      let report = try norms.measure(batch)
      #expect(abs(report.loss - expected.loss) < 1e-5 * expected.loss, "case \(place)")
      for (path, norm) in expected.gradients {
        let found = try #require(report.parameters.first { $0.path == path })
        // Weights are large, and roundings of f32 grow with them.
        #expect(abs(found.norm - norm) < 5e-4 * max(norm, 1e-2), "case \(place), \(path)")
      }
    }
  }

  @Test func greedyRows_arePyTorchs() throws {
    for (place, expected) in try EncoderDecoderCase.all().enumerated() {
      let generator = try EncoderDecoderGenerator(expected.model())
      #expect(try generator.generate(expected.rows, by: 9) == expected.written, "case \(place)")
      for (row, written) in zip(expected.rows, expected.written) {
        #expect(try generator.generate([row], by: 9) == [written], "case \(place) alone")
      }
    }
  }

  // MARK: Caches

  @Test(arguments: [false, true])
  func rowsThroughCaches_areThoseOfTheWholeModel(copies: Bool) throws {
    for positions in EncoderDecoderTransformer.Positions.allCases {
      let model = try small(copies: copies, positions: positions)
      // Batches of 2, so that rows of different lengths meet and the last batch is not full.
      let generator = try EncoderDecoderGenerator(model, batch: 2)
      let rows = try generator.generate(Self.sources)
      for (source, row) in zip(Self.sources, rows) {
        #expect(row == (try uncached(model, source, by: 12)))
      }
      #expect(Set(rows).count > 1)
      // What a run left in the caches does not count in the next.
      #expect(try generator.generate(Self.sources) == rows)
      #expect(try EncoderDecoderGenerator(model).generate(Self.sources) == rows)
    }
  }

  @Test(arguments: [false, true])
  func searches_findWhatSearchesWithoutCachesFind(copies: Bool) throws {
    let model = try small(copies: copies)
    let beams = BeamSearch(width: 3, lengthPenalty: 0.6)
    let found = try EncoderDecoderGenerator(model, batch: 2).search(Self.sources, beams: beams)
    let run = try Predictor(model) { model, a in
      [model(a[0], predicting: a[1])]
    }
    for (source, hypotheses) in zip(Self.sources, found) {
      var rows = [[Int]](repeating: [], count: 3)
      // Of the token that is asked for; none before the first.
      var place: Int?
      let tokens = NDArray(
        [[Int]](repeating: source, count: 3).joined().map(Int32.init), shape: [3, source.count])
      let expected = try beams.hypotheses(
        after: [model.configuration.startToken], by: 12, ends: [model.configuration.endToken]
      ) { step in
        if place != nil { rows = zip(step.parents, step.tokens).map { rows[$0] + [$1] } }
        place = (place ?? -1) + 1
        let labels = rows.flatMap { $0 + [Int](repeating: 0, count: 12 - $0.count) }
        let logits = try run.run([tokens, NDArray(labels.map(Int32.init), shape: [3, 12])])[0]
        return try logits.slice(axis: 1, place!..<place! + 1).reshaped([3, 30])
      }[0]
      #expect(hypotheses.map(\.tokens) == expected.map(\.tokens))
      for (a, b) in zip(hypotheses, expected) { #expect(abs(a.score - b.score) < 1e-4) }
    }
    let narrow = try EncoderDecoderGenerator(model).search(
      Self.sources, beams: BeamSearch(width: 1))
    #expect(
      narrow.map { $0[0].tokens } == (try EncoderDecoderGenerator(model).generate(Self.sources)))
  }

  @Test func itWritesWithTheNewestWeights_andLeavesTheModelAsItIs() throws {
    let model = try small()
    let generator = try EncoderDecoderGenerator(model)
    let before = try generator.generate(Self.sources)
    let paths = model.parameters.map(\.path)
    let step = try TrainingStep(model, optimizer: AdamW(learningRate: 0.05)) { model, batch in
      crossEntropy(model(batch.source, predicting: batch.target), batch.target)
    }
    let target = NDArray([7, 8, 9, 1].map(Int32.init), shape: [1, 4])
    let batch = Batch([
      "source": NDArray([3, 4].map(Int32.init), shape: [1, 2]), "target": target,
    ])
    var losses: [Double] = []
    for _ in 0..<60 { losses.append(try step.run(batch).loss) }
    #expect(losses.last! < 0.1 * losses[0])
    #expect(try generator.generate([[3, 4]]) == [[7, 8, 9, 1]])
    #expect(try generator.generate(Self.sources) != before)
    #expect(model.parameters.map(\.path) == paths && model.parameters[0].parameter.path == paths[0])
  }

  // MARK: Copies

  @Test func copiedTokens_haveTheProbabilitiesOfTheirPlaces() throws {
    let model = try small(copies: true)
    let source = NDArray([4, 9, 4, 20].map(Int32.init), shape: [1, 4])
    let run = try Predictor(model) { model, a in [model(a[0], predicting: a[1])] }
    let labels = NDArray([5, 6, 1].map(Int32.init), shape: [1, 3])
    func probabilities() throws -> [[Double]] {
      let all = try run.run([source, labels])[0].doubles
      return (0..<3).map { row in all[row * 30..<(row + 1) * 30].map(exp) }
    }
    for row in try probabilities() { #expect(abs(row.reduce(0, +) - 1) < 1e-5) }
    // With the gate open nothing but the source is written.
    let gate = try #require(model.parameters.first { $0.path == "copying.gate.bias" }).parameter
    try gate.set(NDArray([Float(100)], shape: [1]))
    for row in try probabilities() {
      for (token, probability) in row.enumerated() {
        #expect([4, 9, 20].contains(token) || probability < 1e-9, "\(token)")
      }
      #expect(abs(row[4] + row[9] + row[20] - 1) < 1e-5)
    }
    try gate.set(NDArray([Float(-100)], shape: [1]))
    for row in try probabilities() { #expect(row.filter { $0 > 0 }.count == 30) }
  }

  @Test func gradientsOfCopies_areTheDifferences() throws {
    var sizes = EncoderDecoderTransformer.Configuration(
      vocabulary: 9, length: 5, width: 4, layers: 1, heads: 2, hidden: 6, activation: .gelu,
      dropout: 0, copiesSource: true)
    sizes.targetLength = 4
    let model = EncoderDecoderTransformer(sizes)
    try model.initialize(seed: 2)
    let batch = Batch([
      "source": NDArray([2, 3, 3, 8, 7, 5, 6, 2, 0, 0].map(Int32.init), shape: [2, 5]),
      "target": NDArray([3, 8, 4, 1, 5, 1, -100, -100].map(Int32.init), shape: [2, 4]),
      "lengths": NDArray([5, 3].map(Int32.init), shape: [2]),
    ])
    _ = try checkGradients(of: model, on: batch) { model, batch in
      crossEntropy(
        model(batch.source, lengths: batch.lengths, predicting: batch.target), batch.target)
    }
  }

  // MARK: Mistakes

  @Test func mistakesOfSizes_areTold() throws {
    func error(
      _ change: (inout EncoderDecoderTransformer.Configuration) -> Void
    ) -> String? {
      var sizes = EncoderDecoderTransformer.Configuration(
        vocabulary: 30, length: 8, width: 8, layers: 1, heads: 2)
      change(&sizes)
      return #expect(throws: ApusError.self) {
        try EncoderDecoderTransformer(sizes).initialize()
      }?.description
    }
    #expect(error { $0.sourceVocabulary = 31 }?.contains("sharesVocabulary") == true)
    #expect(error { $0.startToken = 1 }?.contains("two tokens") == true)
    #expect(error { $0.endToken = 30 }?.contains("below 30") == true)
    #expect(error { $0.settings.heads = 3 }?.contains("3 heads") == true)
    #expect(error { $0.encoderLayers = -1 }?.contains("-1 layers") == true)
    #expect(
      error { sizes in
        sizes.sharesVocabulary = false
        sizes.copiesSource = true
      }?.contains("another vocabulary") == true)
    for extreme in [0, -1, Int.min, .max] {
      #expect(error { $0.sourceLength = extreme }?.contains("sourceLength") == true)
      #expect(error { $0.settings.width = extreme }?.contains("width") == true)
      #expect(error { $0.targetVocabulary = extreme } != nil)
    }
  }

  @Test func mistakesOfSources_areTold() throws {
    let model = try small()
    let generator = try EncoderDecoderGenerator(model)
    func error(_ body: () throws -> Void) -> String? {
      #expect(throws: ApusError.self, performing: body)?.description
    }
    #expect(error { _ = try generator.generate([[3], []]) }?.contains("source 1 has no") == true)
    #expect(
      error { _ = try generator.generate([Array(repeating: 2, count: 41)]) }?.contains("40 at")
        == true)
    #expect(error { _ = try generator.generate([[30]]) }?.contains("token 30") == true)
    #expect(error { _ = try generator.search([[-1]]) }?.contains("token -1") == true)
    for count in [-1, 13, Int.max, Int.min] {
      #expect(error { _ = try generator.generate([[3]], by: count) }?.contains("0 to 12") == true)
    }
    #expect(error { _ = try generator.search([[3]], beams: BeamSearch(width: 0)) } != nil)
    #expect(error { _ = try generator.generate([[3]], sampling: TokenSampling(topK: 0)) } != nil)
    #expect(
      error { _ = try EncoderDecoderGenerator(model, batch: 0) }?.contains("0 sources") == true)
    let blank = EncoderDecoderTransformer(model.configuration)
    #expect(error { _ = try EncoderDecoderGenerator(blank) }?.contains("value") == true)
    #expect(try generator.generate([]).isEmpty && generator.search([]).isEmpty)
    #expect(try generator.generate([[3]], by: 0) == [[]])
    #expect(try generator.search([[3]], by: 0).map { $0.map(\.tokens) } == [[[]]])
  }

  @Test func mistakesOfCaches_areTold() throws {
    let decoder = TransformerDecoder(layers: 1, .init(8, heads: 2))
    for (sources, rows, length, memory) in [
      (0, 1, 4, 4), (1, -1, 4, 4), (1, 1, .max, 4), (1, 1, 4, .min),
    ] {
      let cache = decoder.makeCache(
        sources: sources, rowsPerSource: rows, length: length, memoryLength: memory)
      #expect(throws: ApusError.self) { try cache.initialize() }
    }
    struct Both: Module {
      let decoder: TransformerDecoder
      let cache: TransformerDecoderCache
    }
    let both = Both(
      decoder: decoder,
      cache: decoder.makeCache(sources: 2, rowsPerSource: 2, length: 4, memoryLength: 3))
    try both.initialize()
    func error(_ memory: Shape, _ lengths: Shape, _ x: Shape) -> String? {
      #expect(throws: ApusError.self) {
        let run = try Predictor(both) { both, a in
          both.decoder.remember(a[0], lengths: a[1], in: both.cache)
          return [both.decoder(a[2], cache: both.cache, at: a[3])]
        }
        _ = try run.run([
          NDArray(zeros: TensorType(.f32, memory)), NDArray(zeros: TensorType(.i32, lengths)),
          NDArray(zeros: TensorType(.f32, x)), NDArray([Int32(0)], shape: []),
        ])
      }?.description
    }
    #expect(error([2, 4, 8], [2], [4, 1, 8])?.contains("[2,3,width]") == true)
    #expect(error([2, 3, 8], [3], [4, 1, 8])?.contains("integers [2]") == true)
    #expect(error([2, 3, 6], [2], [4, 1, 8])?.contains("context") == true)
    #expect(error([2, 3, 8], [2], [2, 1, 8])?.contains("4 rows") == true)
  }
}
