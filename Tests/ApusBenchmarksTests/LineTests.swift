// What the benchmarks print: the members of JSON lines and their order, tables, the cases there are.

import Apus
import Foundation
import Testing

@testable import ApusBenchmarks

@Suite(.serialized) struct LineTests {
  private func run(_ cases: [BenchmarkCase], json: Bool) throws -> (
    lines: [String], outcome: BenchmarkOutcome
  ) {
    var lines: [String] = []
    let options = BenchmarkOptions(
      threads: 1, isa: Apus.Environment.availableISAs.last ?? .ref, seconds: 0.01, json: json,
      print: { lines.append($0) })
    let outcome = try runBenchmarks(
      cases, title: "a title", peaks: RooflineTests.outcome([]).peaks, options: options)
    return (lines, outcome)
  }

  @Test func linesOfProducts_haveTheirMembersInOrder() throws {
    let test = BenchmarkCase.gemm(try GEMMShape("16x32x8"), transpose: .tt)
    let (lines, outcome) = try run([test], json: true)
    #expect(lines.count == 2 && lines == outcome.lines.map(\.text))
    let machine = try JSON(parsing: lines[0]), line = try JSON(parsing: lines[1])
    #expect(
      machine["bench"]?.string == "machine" && machine["copy_gbps"]?["memory"]?.double ?? 0 > 0)
    #expect(
      line.members?.map(\.0) == [
        "bench", "case", "precision", "isa", "kernel", "threads", "ms", "gflops", "gbps",
        "peak_fraction", "p25_ms", "p75_ms", "runs", "peak", "transpose", "packed",
      ])
    #expect(line["bench"]?.string == "gemm" && line["case"]?.string == "16x32x8")
    #expect(line["transpose"]?.string == "tt" && line["packed"]?.bool == false)
    #expect(line["runs"]?.integer ?? 0 >= 20)
    let ms = try #require(line["ms"]?.double), gflops = try #require(line["gflops"]?.double)
    #expect(abs(gflops * ms * 1e6 / (2 * 16 * 32 * 8) - 1) < 0.01)
    #expect(line["kernel"]?.string?.contains("gemm") == true, "\(line.text)")
    // What a run writes, a comparison reads.
    let timings = try BenchmarkFile(name: "this run", lines: outcome.lines).timings
    #expect(timings.count == 1 && timings[0].median == ms)
  }

  @Test func rawKernels_areOtherCases() throws {
    let shape = try GEMMShape("16x32x8")
    let cases = [
      BenchmarkCase.gemm(shape), .gemm(shape, raw: true), .gemm(shape, packed: true),
      .gemm(shape, transpose: .tn),
    ]
    let (_, outcome) = try run(cases, json: true)
    let keys = try BenchmarkFile(name: "this run", lines: outcome.lines).timings.map(\.key)
    #expect(Set(keys).count == 4, "\(keys)")
  }

  @Test(arguments: [
    ("2x3x5", 1, 2 * 30, 10 + 15 + 6), ("7x2x3x5", 7, 7 * 2 * 30, 7 * (10 + 15 + 6)),
  ])
  func shapesOfProducts_areRead(text: String, batch: Int, flops: Int, elements: Int) throws {
    let shape = try GEMMShape(text)
    #expect("\(shape)" == text && shape.batch == batch)
    let test = BenchmarkCase.gemm(shape, transpose: .tn)
    #expect(test.flops == Double(flops) && test.bytes == 4 * Double(elements))
    #expect(test.name == text && test.label == "\(text) tn")
    #expect(test.peerCase["batch"]?.integer == batch)
  }

  @Test(arguments: ["2x3", "1x2x3x4x5", "0x2x3", "2x-3x4", "2xmanyx4", "2x3x", "2x3x2097152", ""])
  func wrongShapesOfProducts_areRefused(text: String) {
    #expect(throws: ApusError.self) { try GEMMShape(text) }
  }

  @Test(arguments: GEMMTranspose.allCases)
  func batchesOfProducts_areComputed(transpose: GEMMTranspose) throws {
    let (batch, m, n, k) = (3, 4, 6, 5)
    let test = BenchmarkCase.gemm(try GEMMShape("3x4x6x5"), transpose: transpose)
    let options = BenchmarkOptions(threads: 1, isa: .ref, seconds: 0.01)
    let side = try #require(try test.makeSide(options) as? GraphSide)
    _ = try side.run(1)
    let states = side.executable.states
    let (a, b) = (try states.array("x0").floats, try states.array("x1").floats)
    let c = try states.array("y0").floats
    #expect(c.count == batch * m * n)
    for t in 0..<batch {
      for i in 0..<m {
        for j in 0..<n {
          let sum = (0..<k).reduce(0) { sum, p in
            sum + a[t * m * k + (transpose.ofA ? p * m + i : i * k + p)]
              * b[t * k * n + (transpose.ofB ? j * k + p : p * n + j)]
          }
          #expect(abs(c[(t * m + i) * n + j] - sum) < 1e-4)
        }
      }
    }
    for raw in [
      BenchmarkCase.gemm(try GEMMShape("3x4x6x5"), transpose: transpose, raw: true),
      .gemm(try GEMMShape("3x4x6x5"), transpose: transpose, packed: true),
    ] {
      #expect(try raw.makeSide(options).run(1) > 0)
    }
  }

  @Test func setsOfProducts_haveNoCaseTwice() {
    for set in GEMMSet.allCases {
      let labels = set.products.map { BenchmarkCase.gemm($0.shape, transpose: $0.transpose) }
        .map { $0.label ?? $0.name }
      #expect(Set(labels).count == labels.count && !labels.isEmpty)
    }
    #expect(GEMMSet.odd.products.count { $0.transpose == .nn } >= 24)
  }

  /// Every operation of every family compiles, runs and has figures.
  @Test(arguments: MemoryFamily.allCases)
  func operations_run(family: MemoryFamily) throws {
    let shape: Shape
    switch family {
    case .eltwise, .optimizer: shape = [200]
    case .pool: shape = [2, 6, 7, 5]
    case .norm, .reduce, .softmax: shape = [3, 40]
    }
    let cases = try family.operations.map { try BenchmarkCase.memory($0, shape) }
    let (lines, outcome) = try run(cases, json: true)
    #expect(lines.count == cases.count + 1)
    #expect(outcome.points.map(\.label) == cases.map(\.name))
    for line in outcome.lines.dropFirst() {
      #expect(line["bench"]?.string == family.rawValue)
      #expect(line["gbps"]?.double ?? 0 > 0 && line["kernel"]?.string?.isEmpty == false)
    }
  }

  /// Every recurrent layer compiles, runs and gives the gradients of its weights.
  @Test func recurrentLayers_run() throws {
    let shape = try SequenceShape("3x5x4")
    let cases = RecurrentVariant.allCases.map { BenchmarkCase.recurrent(shape, $0) }
    let (lines, outcome) = try run(cases, json: true)
    #expect(lines.count == cases.count + 1)
    #expect(outcome.points.map(\.label) == cases.map(\.name))
    #expect(outcome.lines.dropFirst().allSatisfy { $0["gflops"]?.double ?? 0 > 0 })
    let options = BenchmarkOptions(threads: 1, isa: .ref, seconds: 0.01)
    let side = try #require(cases[0].makeSide(options) as? GraphSide)
    _ = try side.run(1)
    let states = side.executable.states
    // Outputs, the gradient of the input, then those of two weights and two biases.
    let shapes: [Shape] = [[3, 5, 4], [3, 5, 4], [16, 4], [16, 4], [16], [16]]
    for (place, shape) in shapes.enumerated() {
      let array = try states.array("y\(place)")
      #expect(array.shape == shape && array.floats.contains { $0 != 0 }, "y\(place)")
    }
  }

  @Test func lengths_areDrawnEvenly_andTheirStepsAreCounted() throws {
    let shape = try SequenceShape("32x128x8")
    let lengths = shape.lengths
    #expect(lengths.min() == 1 && lengths.max() == 128 && Set(lengths).count == 32)
    #expect(lengths != lengths.sorted())
    #expect(abs(Double(lengths.reduce(0, +)) / 32 - 64.5) < 1)
    #expect(try SequenceShape("1x7x8").lengths == [4])
    #expect(try SequenceShape("2x1x8").lengths == [1, 1])
    let full = BenchmarkCase.recurrent(shape, .gru)
    let ragged = BenchmarkCase.recurrent(shape, .gruLengths)
    #expect(full.flops == 3 * 2 * 32 * 128 * 3 * 8 * 16)
    #expect(ragged.flops * 32 * 128 == full.flops * Double(lengths.reduce(0, +)))
    #expect(ragged.peerCase["lengths"]?.elements?.count == 32)
    #expect(full.peerCase["lengths"]?.elements?.isEmpty == true)
    #expect(ragged.name == "gru-lengths 32x128x8")
  }

  @Test(arguments: [
    "3x5", "3x5x4x2", "0x5x4", "3x-5x4", "3x5xmany", "2x3x9000", "", "9999999999x1x1",
  ])
  func wrongShapesOfSequences_areRefused(text: String) {
    #expect(throws: ApusError.self) { try SequenceShape(text) }
  }

  @Test func bytes_areWhatIsReadAndWrittenOnce() throws {
    func bytes(_ family: MemoryFamily, _ name: String, _ shape: Shape) throws -> Double {
      try BenchmarkCase.memory(try family.operation(name), shape).bytes
    }
    #expect(try bytes(.eltwise, "add", [1000]) == 12_000)
    #expect(try bytes(.reduce, "row_sum", [10, 100]) == 4040)
    #expect(try bytes(.norm, "layer_norm", [10, 100]) == 8800)
    // Images, what arrives from above, what is pooled, and the gradient.
    #expect(try bytes(.pool, "max_2x2_gradient", [1, 4, 4, 10]) == 640 + 160 + 160 + 640)
    #expect(try bytes(.softmax, "cross_entropy_gradient", [10, 100]) == 4000 + 40 + 4 + 4000)
    // Adam reads four arrays and writes three; two scalars besides.
    #expect(try bytes(.optimizer, "adam", [1000]) == 28_008)
    #expect(BenchmarkCase.gemm(try GEMMShape("2x3x5")).bytes == 4 * (10 + 15 + 6))
  }

  @Test func updates_changeTheirStatesInPlace() throws {
    let adam = try MemoryFamily.optimizer.operation("adam")
    let options = BenchmarkOptions(threads: 1, isa: .ref, seconds: 0.01)
    let side = try GraphSide(adam.operands([8]), updated: adam.updated([8]), options, adam.body)
    let before = try side.executable.states.array("x0").floats
    _ = try side.run(1)
    #expect(try side.executable.states.array("x0").floats != before)
    #expect(!side.executable.states.names.contains("y0"))
  }

  @Test func tables_areForPeople() throws {
    let shape = try GEMMShape("16x32x8")
    let (lines, _) = try run([.gemm(shape)], json: false)
    #expect(lines.count == 4)
    #expect(lines[1] == "a title, highest")
    #expect(
      lines[2].split(separator: "  ", omittingEmptySubsequences: true).map {
        $0.trimmingCharacters(in: .whitespaces)
      } == ["case", "ms", "GFLOPS", "GB/s", "% of peak", "peak"])
    #expect(lines[3].hasPrefix("16x32x8") && lines[3].contains(" %"))
  }

  @Test func colours_doNotMoveColumns() {
    let columns = [("case", 6), ("% of peak", 5)]
    let cells = [Cell("a"), Cell("90 %", .good)]
    let plain = Table(columns, colour: false).line(cells)
    let coloured = Table(columns, colour: true).line(cells)
    #expect(plain == "a            90 %")
    #expect(
      coloured
        == "a            \u{1b}[32m90 %\u{1b}[0m".replacing(
          "         \u{1b}", with: "         \u{1b}"))
    #expect(CellColour(fraction: 0.9) == .good && CellColour(fraction: 0.6) == .fair)
    #expect(CellColour(fraction: 0.2) == .poor && CellColour(ratio: 0.9) == .poor)
  }

  @Test(arguments: [
    (MemoryFamily.eltwise, "4096", [4096]), (.eltwise, "3x5", [3, 5]),
    (.norm, "64x768", [64, 768]), (.pool, "2x14x14x3", [2, 14, 14, 3]),
  ])
  func shapes_areRead(family: MemoryFamily, text: String, extents: [Int]) throws {
    #expect(try family.shape(text).dimensions == extents)
  }

  @Test(arguments: [
    (MemoryFamily.eltwise, "0"), (.eltwise, "-3"), (.eltwise, "many"), (.eltwise, "1x2x3"),
    (.eltwise, ""), (.eltwise, "99999999999999999999"), (.norm, "64"), (.norm, "64x"),
    (.norm, "4611686018427387904x4"), (.reduce, "40000x40000"),
    (.pool, "64x768"), (.pool, "1x1x4x3"),
  ])
  func badShapes_areRefused(family: MemoryFamily, text: String) {
    #expect(throws: ApusError.self) { try family.shape(text) }
  }

  @Test func unknownOperations_areRefusedWithTheNamesThereAre() throws {
    do {
      _ = try MemoryFamily.norm.operation("batch")
      Issue.record("nothing was thrown")
    } catch let error as ApusError {
      #expect(error.kind == .missing && error.expected?.contains("layer_norm") == true)
    }
  }

  @Test(arguments: [(0, 1.0), (-1, 1), (1, 0), (1, .infinity), (1, .nan)])
  func senselessOptions_areRefused(threads: Int, seconds: Double) {
    let options = BenchmarkOptions(threads: threads, isa: .ref, seconds: seconds)
    #expect(throws: ApusError.self) { try runBenchmarks([], title: "t", options: options) }
  }
}
