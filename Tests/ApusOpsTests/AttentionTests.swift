// Attention as users call it: what they see, what their mistakes say, and what it costs.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import ApusRuntime
import Foundation
import TestSupport
import Testing

@Suite struct AttentionTests {
  private func random(_ shape: Shape, _ name: String, _ range: ClosedRange<Double> = -1...1)
    -> NDArray
  {
    var generator = SplitMix(name)
    let values = (0..<shape.count).map { _ in generator.uniform(range) }
    return NDArray(doubles: values, type: TensorType(.f32, shape))
  }

  private func differ(_ a: NDArray, _ b: NDArray, within tolerance: Double = 1e-5) -> String? {
    OpSpec.difference(a, b, relative: tolerance, absolute: tolerance)
  }

  /// Attention and the gradients of its three operands, for a loss that weighs all results differently.
  private func step(
    _ types: [TensorType], _ attend: ([Tensor]) -> Tensor
  ) throws -> Graph {
    try traced(types) { x in
      let y = attend(x)
      let weights = Tensor.iota([y.type.count], axis: 0, .f32).reshaped(y.shape)
      let loss = (y * sin(weights)).sum()
      return [y] + gradients(of: loss, withRespectTo: Array(x.prefix(3)))
    }
  }

  // MARK: Sizes

  @Test(arguments: [Precision.highest, .mixed])
  func everyLengthFromOneTo130GivesTheFormula(_ precision: Precision) throws {
    let tolerance = precision == .highest ? 1e-5 : 3e-2
    for time in 1...130 {
      let rule = AttentionRule(scale: 0.25, isCausal: time % 2 == 1)
      let x = ["q", "k", "v"].map { random([1, time, 1, 16], "\($0) \(time)") }
      let op = Attention(rule)
      let wide = x.map { $0.cast(to: .f64) }
      let wanted = try op.reference(wide, results: op.resultTypes(wide.map(\.type)))
      let flow = random([1, time, 1, 16], "flow \(time)")
      let delta = zip(
        stride(from: 0, to: time * 16, by: 16).map { row in
          (row..<row + 16).reduce(0.0) { $0 + flow.doubles[$1] * wanted[0].doubles[$1] }
        }, 0..<time
      ).map(\.0)
      let statistics = [
        wanted[1].cast(to: .f32), NDArray(doubles: delta, type: .f32(1, time, 1)),
      ]
      let gradient = AttentionGradient(rule)
      let operands = [flow] + x + statistics
      let wideOperands = operands.map { $0.cast(to: .f64) }
      let flows = try gradient.reference(
        wideOperands, results: gradient.resultTypes(wideOperands.map(\.type)))
      let best = KernelRunner.levels.last!
      let found =
        try KernelRunner.run(op, x, isa: best, precision: precision)
        + KernelRunner.run(gradient, operands, isa: best, precision: precision)
      for (index, (got, want)) in zip(found, wanted + flows).enumerated() {
        let problem = differ(got, want, within: tolerance)
        #expect(problem == nil, "\(time), result \(index): \(problem ?? "")")
      }
    }
  }

  @Test(arguments: KernelRunner.levels)
  func mixedPrecisionFollowsTheFormulaAndNotTheTeam(_ isa: ISA) throws {
    let types: [TensorType] = [.f32(2, 70, 4, 40), .bf16(2, 150, 2, 40), .f32(2, 150, 2, 24)]
    let rule = AttentionRule(
      scale: 0.2, isCausal: true, window: 60, hasMask: true, hasLengths: true, hasAlibi: true,
      dropout: 0.25, stream: 3)
    let op = Attention(rule, result: .bf16)
    let extras = [
      random([70, 150], "mask"), NDArray([Int32(150), 40], shape: [2]),
      random([4], "slopes", 0...0.1), NDArray([Int64(11), 5], shape: [2]),
    ]
    let rows = types.map { random($0.shape, "\($0)").cast(to: $0.dtype) }
    let wide = (rows + extras).map { $0.cast(to: $0.dtype.widened) }
    let wanted = try op.reference(
      wide, results: op.resultTypes(wide.map(\.type)).map { $0.with(.f64) })
    let flow = random([2, 70, 4, 24], "flow").cast(to: .bf16)
    let gradient = AttentionGradient(rule, results: [.bf16, .f32, .bf16])
    let delta = random([2, 70, 4], "delta")
    let operands = [flow] + rows + [wanted[1].cast(to: .f32), delta] + extras
    let wideOperands = operands.map { $0.cast(to: $0.dtype.widened) }
    let flows = try gradient.reference(
      wideOperands, results: gradient.resultTypes(operands.map(\.type)).map { $0.with(.f64) })
    var alone: [NDArray] = []
    for threads: Int32 in [1, 2, 7] {
      let found =
        try KernelRunner.run(op, rows + extras, isa: isa, threads: threads, precision: .mixed)
        + KernelRunner.run(gradient, operands, isa: isa, threads: threads, precision: .mixed)
      for (index, (got, want)) in zip(found, wanted + flows).enumerated() {
        let problem = differ(got, want, within: 3e-2)
        #expect(problem == nil, "result \(index): \(problem ?? "")")
      }
      if threads == 1 { alone = found }
      #expect(found == alone, "other bits with \(threads) threads")
    }
  }

  // MARK: What is seen

  @Test func aQueryThatSeesNothingGivesZerosAndZeroGradients() throws {
    let types: [TensorType] = [.f32(2, 3, 2, 4), .f32(2, 3, 2, 4), .f32(2, 3, 2, 4)]
    let masks: [([Tensor]) -> Tensor] = [
      {
        scaledDotProductAttention($0[0], $0[1], $0[2], mask: $0[0].trace.full([3, 3], -.infinity))
      },
      {
        let none = $0[0].trace.full([3, 3], 0) .> 1
        return scaledDotProductAttention($0[0], $0[1], $0[2], mask: none)
      },
      { scaledDotProductAttention($0[0], $0[1], $0[2], lengths: Tensor.zeros([2], .i32)) },
    ]
    for attend in masks {
      let graph = try step(types, attend)
      let inputs = types.map { random($0.shape, "\($0)") }
      for result in try Executable(graph).run(inputs) {
        #expect(result.doubles.allSatisfy { $0 == 0 })
      }
    }
  }

  @Test func whatLiesBeyondALengthIsNotReadWhateverItIs() throws {
    let types: [TensorType] = [.f32(1, 5, 1, 8), .f32(1, 40, 1, 8), .f32(1, 40, 1, 8)]
    let graph = try step(types) {
      scaledDotProductAttention($0[0], $0[1], $0[2], lengths: Tensor.full([1], 33, .i64))
    }
    var inputs = types.map { random($0.shape, "\($0)") }
    let clean = try Executable(graph).run(inputs)
    for index in [1, 2] {
      var values = inputs[index].doubles
      for place in 33 * 8..<40 * 8 { values[place] = .nan }
      inputs[index] = NDArray(doubles: values, type: types[index])
    }
    #expect(try Executable(graph).run(inputs) == clean)
  }

  @Test func aLearnedBiasHasAGradient() throws {
    let types: [TensorType] = [
      .f64(1, 3, 2, 4), .f64(1, 5, 2, 4), .f64(1, 5, 2, 4), .f64(2, 3, 5),
    ]
    try checkGradients(types.map { random($0.shape, "\($0)").cast(to: .f64) }) { x in
      square(scaledDotProductAttention(x[0], x[1], x[2], mask: x[3])).sum()
    }
  }

  @Test func dropoutIsOfTrainingOnlyAndKeepsTheMean() throws {
    let types: [TensorType] = [.f32(1, 64, 8, 16), .f32(1, 256, 8, 16), .f32(1, 256, 8, 16)]
    func graph(_ mode: Mode) throws -> Graph {
      try traced(types) { x in
        x[0].trace.mode = mode
        return [scaledDotProductAttention(x[0], x[1], x[2].onesLike(), dropout: 0.5)]
      }
    }
    let inputs = types.map { random($0.shape, "\($0)") }
    let plain = try Executable(graph(.evaluation)).run(inputs)[0].doubles
    #expect(plain.allSatisfy { abs($0 - 1) < 1e-5 })
    let states = StateStore()
    try states.set(Trace.randomKeyState, NDArray([Int64(3), 0], shape: [2]))
    let dropped = try Executable(graph(.training), states: states).run(inputs)[0].doubles
    let mean = dropped.reduce(0, +) / Double(dropped.count)
    #expect(abs(mean - 1) < 0.02)
    #expect(dropped.contains { abs($0 - 1) > 0.01 })
  }

  // MARK: What it costs

  @Test func slicesOfAFusedProjectionAreReadWhereTheyLie() throws {
    let graph = try traced([.f32(2, 50, 3 * 4 * 8)]) { x in
      let qkv = x[0].reshaped([2, 50, 3, 4, 8])
      let parts = (0..<3).map { qkv[$0, axis: 2] }
      return [scaledDotProductAttention(parts[0], parts[1], parts[2], isCausal: true)]
    }
    let plan = try Plan(optimised(graph), isa: Environment.availableISAs.last!)
    #expect(plan.steps.count == 1, "\(plan.steps.map(\.call.name))")
    let input = random([2, 50, 96], "fused")
    let found = try Executable(graph).run([input])[0]
    #expect(differ(found, try graph.interpret(inputs: [input]).outputs[0]) == nil)
  }

  @Test func memoryGrowsWithTheLengthAndNotItsSquare() throws {
    func arena(_ time: Int) throws -> Int {
      let types = Array(repeating: TensorType.f32(1, time, 2, 64), count: 3)
      let graph = try step(types) {
        scaledDotProductAttention($0[0], $0[1], $0[2], isCausal: true)
      }
      return try Plan(optimised(graph), isa: Environment.availableISAs.last!).memory.arena
    }
    let (short, long) = (try arena(1024), try arena(8192))
    #expect(long < 9 * short, "\(short) bytes for 1024, \(long) for 8192")
    #expect(long < 8192 * 8192 * 4)
  }

  @Test func inMixedWhatItReadsAndMakesIsStoredNarrow() throws {
    let graph = try traced([.f32(2, 40, 2, 16)]) { x in
      let parts = (1...3).map { tanh(x[0] * Double($0)) }
      let y = scaledDotProductAttention(parts[0], parts[1], parts[2], isCausal: true)
      let loss = square(tanh(y)).sum()
      return [loss] + gradients(of: loss, withRespectTo: [x[0]])
    }
    let narrow = try optimised(graph, options: PassOptions(enabled: [NarrowStorage.name]))
    for node in narrow.nodes where node.op is Attention || node.op is AttentionGradient {
      let rows = node.operands.map { narrow.type(of: $0.value) }.filter { $0.shape[-1] == 16 }
      #expect(rows.count >= 3)
      #expect(rows.allSatisfy { $0.dtype == .bf16 }, "\(rows)")
      #expect(narrow.type(of: node.results[0]).dtype == .bf16)
    }
    let input = random([2, 40, 2, 16], "mixed")
    let found = try Executable(graph, options: CompileOptions(precision: .mixed)).run([input])
    for (got, want) in zip(found, try graph.interpret(inputs: [input]).outputs) {
      #expect(differ(got, want, within: 3e-2) == nil)
    }
  }

  // MARK: Positions

  @Test func rotatedProductsDependOnDifferencesAlone() throws {
    let types: [TensorType] = [.f32(1, 6, 1, 8), .f32(1, 6, 1, 8)]
    let inputs = types.map { type in
      // The same vector at every time.
      let row = random([8], "row").doubles
      return NDArray(doubles: (0..<6).flatMap { _ in row }, type: type)
    }
    for interleaved in [false, true] {
      let graph = try traced(types) { x in
        let q = rotaryPositions(x[0], interleaved: interleaved)
        let k = rotaryPositions(x[1], offset: 3, interleaved: interleaved)
        return [q.reshaped([6, 8]).matmul(k.reshaped([6, 8]), transposeOther: true)]
      }
      let products = try Executable(graph).run(inputs)[0].doubles
      for i in 0..<5 {
        for j in 0..<5 {
          let (here, next) = (products[i * 6 + j], products[i * 6 + j + 7])
          #expect(abs(here - next) < 1e-5)
        }
      }
    }
  }

  @Test func positionsThatAreGivenTurnAsThoseThatAreCounted() throws {
    let graph = try traced([.f32(2, 5, 2, 10), .i32(2, 5)]) { x in
      [
        rotaryPositions(x[0], offset: 7, rotated: 6),
        rotaryPositions(x[0], positions: x[1], rotated: 6),
      ]
    }
    let positions = NDArray((0..<10).map { Int32($0 % 5 + 7) }, shape: [2, 5])
    let found = try Executable(graph).run([random([2, 5, 2, 10], "x"), positions])
    #expect(differ(found[0], found[1]) == nil)
  }

  @Test func tablesAreThoseOfThePapers() throws {
    let table = try NDArray.sinusoidalPositions(length: 3, width: 4).doubles
    let wanted: [Double] = [
      0, 1, 0, 1, sin(1.0), cos(1.0), sin(0.01), cos(0.01), sin(2.0), cos(2.0), sin(0.02),
      cos(0.02),
    ]
    #expect(zip(table, wanted).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(try NDArray.alibiSlopes(heads: 4).doubles == [0.25, 0.0625, 0.015625, 0.00390625])
    // Six heads: four as above, then every second of those of eight.
    #expect(
      try NDArray.alibiSlopes(heads: 6).doubles
        == [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125])
    for heads in [-1, .max, 1 << 40] {
      #expect(throws: ApusError.self) { try NDArray.alibiSlopes(heads: heads) }
    }
    #expect(throws: ApusError.self) { try NDArray.sinusoidalPositions(length: -1, width: 4) }
    #expect(try NDArray.sinusoidalPositions(length: 1 << 40, width: 0).count == 0)
  }

  // MARK: Mistakes

  @Test func mistakesSayWhatWhereAndWhatWasExpected() throws {
    let q = TensorType.f32(2, 3, 4, 8)
    typealias Mistake = (ApusError.Kind, String, ([Tensor]) -> Tensor)
    let mistakes: [Mistake] = [
      (
        .shapeMismatch, "[batch, time, heads, width]",
        { scaledDotProductAttention($0[0].reshaped([2, 3, 32]), $0[0], $0[0]) }
      ),
      (
        .shapeMismatch, "heads that are a multiple",
        { scaledDotProductAttention($0[0], $0[0][0..<3, axis: 2], $0[0][0..<3, axis: 2]) }
      ),
      (
        .shapeMismatch, "broadcasts to [batch, heads, queries, keys], [2,4,3,3]",
        { scaledDotProductAttention($0[0], $0[0], $0[0], mask: Tensor.zeros([2, 3])) }
      ),
      (
        .dtypeMismatch, "bool or f32",
        { scaledDotProductAttention($0[0], $0[0], $0[0], mask: Tensor.zeros([3, 3], .i32)) }
      ),
      (
        .shapeMismatch, "[2], one for each sequence",
        { scaledDotProductAttention($0[0], $0[0], $0[0], lengths: Tensor.zeros([3], .i32)) }
      ),
      (
        .shapeMismatch, "one for each head",
        { scaledDotProductAttention($0[0], $0[0], $0[0], alibi: alibiSlopes(heads: 3)) }
      ),
      (.invalidArgument, "0 to 1", { scaledDotProductAttention($0[0], $0[0], $0[0], dropout: 2) }),
      (
        .invalidArgument, "a window of 1 or more",
        { scaledDotProductAttention($0[0], $0[0], $0[0], window: 0) }
      ),
      (
        .invalidArgument, "a finite scale",
        { scaledDotProductAttention($0[0], $0[0], $0[0], scale: .nan) }
      ),
      (.invalidArgument, "an even number", { rotaryPositions($0[0], rotated: 3) }),
      (.invalidArgument, "a base above 0", { rotaryPositions($0[0], base: -1) }),
      (
        .shapeMismatch, "numbers [3] or [2,3]",
        { rotaryPositions($0[0], positions: Tensor.zeros([4])) }
      ),
      (
        .shapeMismatch, "[batch, time, heads, width]",
        { rotaryPositions($0[0].reshaped([2, 3, 32])) }
      ),
      (
        .invalidArgument, "extents of 0 or more", { _ in sinusoidalPositions(length: -1, width: 2) }
      ),
    ]
    for (kind, words, call) in mistakes {
      let error = #expect(throws: ApusError.self) { try traced([q]) { [call($0)] } }
      #expect(error?.kind == kind, "\(String(describing: error))")
      #expect("\(error!)".contains(words), "\(error!)")
      #expect("\(error!)".contains("AttentionTests.swift:"), "\(error!)")
    }
  }

  @Test func aLengthBeyondTheKeysNamesItsRowAndValue() throws {
    let types: [TensorType] = [.f32(3, 4, 1, 8), .f32(3, 6, 1, 8), .f32(3, 6, 1, 8), .i64(3)]
    for bad: Int64 in [7, -1, .min, .max] {
      for type in [DType.f32, .f64] {
        let operands = types.map { $0.dtype.isFloat ? $0.with(type) : $0 }
        let graph = try step(operands) {
          scaledDotProductAttention($0[0], $0[1], $0[2], lengths: $0[3])
        }
        let inputs =
          types.prefix(3).map { random($0.shape, "\($0)").cast(to: type) }
          + [NDArray([6, bad, 0], shape: [3])]
        let error = #expect(throws: ApusError.self) {
          _ =
            type == .f64
            ? try graph.interpret(inputs: inputs).outputs : try Executable(graph).run(inputs)
        }
        #expect(error?.kind == .outOfRange)
        #expect(error?.what.contains("\(bad)") == true, "\(error!)")
        #expect("\(error!)".contains("1"), "\(error!)")
      }
    }
  }
}
