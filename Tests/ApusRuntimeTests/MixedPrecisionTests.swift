// `Precision.mixed`: the values of the interpreter, which rounds what is stored as bf16; less memory; the
// same bits on any team; a loss curve beside that of `highest`; overflow placed in the model.

import ApusGraph
import ApusOps
import ApusPasses
import CKernels
import TestSupport
import Testing

@testable import ApusRuntime

/// How far `found` is from `wanted`, as a fraction of how far `wanted` is from `origin`.
private func relativeDistance(_ found: NDArray, _ wanted: NDArray, from origin: NDArray) -> Double {
  func distance(_ a: NDArray, _ b: NDArray) -> Double {
    zip(a.doubles, b.doubles).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
  }
  return distance(found, wanted) / distance(wanted, origin)
}

/// The graph with all operands of products rounded to bf16.
private func roundingOperands(_ graph: Graph) throws -> Graph {
  var rewriter = GraphRewriter(graph)
  for node in graph.nodes {
    let types = node.operands.prefix(2).map { graph.type(of: $0).dtype }
    func rounding(_ product: MatMul) -> MatMul {
      MatMul(
        transposeA: product.transposeA, transposeB: product.transposeB,
        result: product.result ?? types[0])
    }
    let op: any Op
    switch node.op {
    case let product as MatMul: op = rounding(product)
    case let fused as Fused<MatMul>: op = Fused(rounding(fused.producer), program: fused.program)
    default:
      try rewriter.copy(node)
      continue
    }
    var operands = node.operands.map { rewriter.map($0) }
    for index in 0..<2 {
      operands[index] = Operand(
        try rewriter.emit(Cast(to: .bf16), [operands[index]], origins: [])[0])
    }
    try rewriter.emit(op, operands, for: node)
  }
  return rewriter.finish()
}

@Suite struct MixedPrecisionTests {
  static let levels = Environment.availableISAs

  /// Whether products at that level round their operands in `mixed`.
  private static func rounds(_ isa: ISA) -> Bool {
    isa == .amx || isa == .avx512bf16 && ck_multiplies_bf16_pairs_fast()
  }

  /// With narrow storage at every level, which `mixed` asks for only where it gains.
  private static func executable(
    _ graph: Graph, _ precision: Precision, states: [(name: String, array: NDArray)] = [],
    isa: ISA? = nil, threads: Int? = nil, disabled: Set<String> = [],
    check: CompileOptions.Check? = nil
  ) throws -> Executable {
    try Executable(
      graph, states: states.isEmpty ? StateStore(zerosFor: graph) : store(states),
      options: CompileOptions(
        isa: isa, threads: threads, disabledPasses: disabled,
        enabledPasses: precision == .mixed ? [NarrowStorage.name] : [], precision: precision,
        check: check))
  }

  @Test("A step does what the interpreter does, rounding what is stored", arguments: levels)
  func stepMatchesTheInterpreter(isa: ISA) throws {
    let graph = try perceptronStep(batch: 19, widths: [45, 37, 70, 5], momentum: true)
    let narrow = try optimised(graph, options: PassOptions(enabled: [NarrowStorage.name]))
    #expect(narrow.nodes.contains { $0.results.contains { narrow.type(of: $0).dtype == .bf16 } })
    #expect(try Graph(parsing: narrow.description, ops: .all) == narrow)
    var generator = SplitMix("mixed")
    let inputs = [randomArray(.f32(19, 45), &generator), randomArray(.f32(19, 5), &generator)]
    let states = randomStates(graph, seed: "states")
    let wanted = try (Self.rounds(isa) ? roundingOperands(narrow) : narrow).interpret(
      inputs: inputs, states: states.map(\.array), widened: false)
    let executable = try Self.executable(graph, .mixed, states: states, isa: isa)
    let loss = try executable.run(inputs)[0].scalar
    #expect(abs(loss / wanted.outputs[0].scalar - 1) < 0x1p-8)
    for (state, array) in zip(states, wanted.states) {
      let found = try executable.states.array(state.name)
      let distance = relativeDistance(found, array, from: state.array)
      #expect(distance < 0x1p-6, "\(state.name): \(distance)")
    }
  }

  @Test("Loads widen and stores round to nearest even, to the bit", arguments: levels)
  func loopsLoadAndStoreBF16(isa: ISA) throws {
    let text = """
      input %0 "x" : bf16[3,130]
      input %1 "y" : f32[3,130]
      %2, %3, %4, %5 = loop(%0, %1) {domain=[3, 130], axes=[1], \
      program=["v0 = cast(a0) {to=f32}", "v1 = mul(v0, a1)", "v2 = cast(v1) {to=bf16}", \
      "v3 = cast(v2) {to=f32}", "v4 = cast(a1) {to=bf16}", "v5 = add(v1, v3)", \
      "v6 = cast(v5) {to=bf16}", "v7 = reduce_max(v3)", "v8 = cast(v7) {to=bf16}"], \
      outputs=[0, 4, 6, 8]} : f32[3,130], bf16[3,130], bf16[3,130], bf16[3,1]
      output "wide" = %2
      output "rounded" = %3
      output "sum" = %4
      output "greatest" = %5
      """
    let graph = try Graph(parsing: text, ops: .all)
    var generator = SplitMix("bf16")
    let inputs = [randomArray(.bf16(3, 130), &generator), randomArray(.f32(3, 130), &generator)]
    let wanted = try graph.interpret(inputs: inputs, widened: false)
    for threads in [1, 2, 7] {
      let found = try Self.executable(graph, .highest, isa: isa, threads: threads).run(inputs)
      #expect(found == wanted.outputs)
    }
  }

  @Test("Products take any float types and give the one they are told", arguments: levels)
  func productsMixTypes(isa: ISA) throws {
    let types: [(a: DType, b: DType, result: DType)] = [
      (.bf16, .f32, .f32), (.f32, .bf16, .bf16), (.bf16, .bf16, .f32), (.f32, .f32, .bf16),
      (.f16, .bf16, .f32),
    ]
    var generator = SplitMix("products")
    for (a, b, result) in types {
      let trace = Trace()
      let x = trace.input("x", TensorType(a, [33, 70])),
        y = trace.input("y", TensorType(b, [21, 70]))
      trace.output("z", .apply(MatMul(transposeB: true, result: result), to: x, y))
      let graph = try trace.finish()
      #expect(try Graph(parsing: graph.description, ops: .all) == graph)
      let inputs = [
        randomArray(TensorType(a, [33, 70]), &generator),
        randomArray(TensorType(b, [21, 70]), &generator),
      ]
      let wanted = try graph.interpret(inputs: inputs).outputs[0]
      let found = try Self.executable(graph, .highest, isa: isa).run(inputs)[0]
      #expect(found.type == TensorType(result, [33, 21]))
      let bound = result == .f32 ? 3e-6 : 0x1p-8
      for (got, want) in zip(found.doubles, wanted.doubles) {
        #expect(abs(got - want) <= bound * max(abs(want), 1), "\(a) by \(b) to \(result)")
      }
    }
  }

  @Test("The bits are the same for one, two and seven threads", arguments: Precision.allCases)
  func theBitsAreTheSameOnAnyTeam(precision: Precision) throws {
    let graph = try perceptronStep(batch: 64, widths: [100, 130, 70, 10], momentum: true)
    var generator = SplitMix("threads")
    let inputs = [randomArray(.f32(64, 100), &generator), randomArray(.f32(64, 10), &generator)]
    let states = randomStates(graph, seed: "states")
    func train(_ isa: ISA, _ threads: Int) throws -> [NDArray] {
      let executable = try Self.executable(
        graph, precision, states: states, isa: isa, threads: threads)
      var losses: [NDArray] = []
      for _ in 0..<3 { losses += try executable.run(inputs) }
      return try losses + states.map { try executable.states.array($0.name) }
    }
    for isa in Self.levels {
      let one = try train(isa, 1)
      #expect(try train(isa, 2) == one, "\(isa)")
      #expect(try train(isa, 7) == one, "\(isa)")
    }
  }

  @Test("Where products widen bf16 nothing is stored as such", arguments: levels)
  func narrowStorageIsLeftOutWhereItCosts(isa: ISA) throws {
    let graph = try perceptronStep(batch: 64, widths: [100, 130, 70, 10])
    for precision in Precision.allCases {
      let executable = try Executable(
        graph, states: StateStore(zerosFor: graph),
        options: CompileOptions(isa: isa, precision: precision))
      let isNarrow = executable.passes.contains { $0.name == NarrowStorage.name }
      #expect(isNarrow == (precision == .mixed && Self.rounds(isa)))
    }
  }

  @Test("Few rows are not worth rounding at any level", arguments: levels)
  func narrowStorageNeedsRows(isa: ISA) throws {
    for batch in [1, 2, 3, 4, 64] {
      let graph = try perceptronStep(batch: batch, widths: [100, 130, 70, 10])
      let options = CompileOptions(isa: isa, precision: .mixed)
      let after = try optimised(graph, options: options.passOptions(for: isa))
      let isNarrow = after.types.contains { $0.dtype == .bf16 }
      #expect(isNarrow == (batch >= 4 && Self.rounds(isa)), "batch \(batch)")
    }
  }

  @Test func theArenaShrinks() throws {
    let graph = try perceptronStep(batch: 512, widths: [64, 256, 256, 256, 10])
    let wide = try Self.executable(graph, .highest).memory
    let narrow = try Self.executable(graph, .mixed).memory
    // Activations and their gradients are most of it, and take half.
    #expect(Double(narrow.arena) < 0.6 * Double(wide.arena))
    let off = try Self.executable(graph, .mixed, disabled: [NarrowStorage.name]).memory
    // But for the order of the calls, which follows what the threads of each kernel touch.
    #expect(abs(off.arena - wide.arena) < wide.arena / 100)
  }

  @Test func threeHundredStepsStayBesideThoseOfHighest() throws {
    let widths = [20, 64, 64, 5]
    let graph = try perceptronStep(batch: 64, widths: widths, momentum: true)
    var generator = SplitMix("teacher")
    let batches = (0..<10).map { _ in
      let x = randomArray(.f32(64, 20), &generator)
      let values = x.floats
      // A smooth function of the inputs.
      let y = (0..<64 * 5).map { index -> Float in
        let row = index / 5 * 20, column = index % 5
        return values[row + column] * values[row + column + 5] + values[row + column + 10]
      }
      return [x, NDArray(y, shape: [64, 5])]
    }
    func curve(_ precision: Precision) throws -> [Double] {
      let executable = try Self.executable(
        graph, precision,
        states: randomStates(graph, seed: "curve").map {
          // Momentum starts from nothing.
          $0.name.hasPrefix("velocity") ? ($0.name, NDArray(zeros: $0.array.type)) : $0
        })
      return try (0..<300).map { try executable.run(batches[$0 % batches.count])[0].scalar }
    }
    let highest = try curve(.highest), mixed = try curve(.mixed)
    #expect(highest.last! < 0.5 * highest[0])
    #expect(mixed != highest)
    // The band: 2 % of the first loss, all along.
    for (step, (a, b)) in zip(highest, mixed).enumerated() {
      #expect(abs(a - b) < 0.02 * highest[0], "step \(step): \(a), \(b)")
    }
  }

  @Test func overflowIsPlacedInTheModel() throws {
    let trace = Trace()
    let x = trace.input("x", .f32(8, 8))
    let weight = trace.state("w", .f32(8, 8))
    let hidden = trace.withScope(path: "blocks.3.feed") {
      x.matmul(weight, file: "Model.swift", line: 12)
    }
    trace.output("y", trace.withScope(path: "head") { (hidden.matmul(weight) * 0.5).sum() })
    let weights = [(name: "w", array: NDArray([Float](repeating: 1, count: 64), shape: [8, 8]))]
    let executable = try Self.executable(
      trace.finish(), .mixed, states: weights, check: .nan)
    #expect(executable.plan.steps[0].results[0].type.dtype == .bf16)
    func run(_ value: Float) throws -> NDArray {
      try executable.run([NDArray([Float](repeating: value, count: 64), shape: [8, 8])])[0]
    }
    #expect(try run(1).scalar == 64 * 32)
    // The second overflows by rounding alone, of an operand or of the sum 3.4e38.
    for value: Float in [1e38, 4.25e37] {
      let error = #expect(throws: ApusError.self) { try run(value) }
      #expect(error?.kind == .nonFinite)
      #expect(error?.what.contains("an infinity") == true)
      #expect(error?.location?.contains("blocks.3.feed") == true)
    }
  }
}
