// Loops, compiled: against the interpreter, against the same loop unrolled by hand, on teams of several sizes.

import ApusAutodiff
import ApusGraph
import ApusOps
import ApusPasses
import TestSupport
import Testing

@testable import ApusRuntime

@Suite struct ScanTests {
  /// An RNN over x with weights w, as a user writes it: the last state and all states.
  private static func rnn(_ t: [Tensor], isReversed: Bool = false, checkpoint: Int? = nil)
    -> [Tensor]
  {
    let (last, all) = scan(t[0], from: t[1], isReversed: isReversed, checkpoint: checkpoint) {
      h, x in
      let next = tanh(x + matmul(h, t[2]) + t[3])
      return (carry: next, output: next)
    }
    return [last, all]
  }

  /// The same, unrolled.
  private static func unrolled(_ t: [Tensor], isReversed: Bool = false) -> [Tensor] {
    var h = t[1]
    let length = t[0].shape[0]
    var all = [Tensor?](repeating: nil, count: length)
    for turn in isReversed ? Array((0..<length).reversed()) : Array(0..<length) {
      h = tanh(t[0][turn, axis: 0] + matmul(h, t[2]) + t[3])
      all[turn] = h
    }
    return [h, stack(all.compactMap { $0 })]
  }

  /// A loss of all that a loop gives, and its gradients.
  private static func withGradients(_ body: @escaping ([Tensor]) -> [Tensor]) -> ([Tensor]) ->
    [Tensor]
  {
    { inputs in
      let results = body(inputs)
      let loss = results.map { ($0 * $0).sum() }.reduce(inputs[0].scalar(0), +)
      return results + [loss] + gradients(of: loss, withRespectTo: inputs)
    }
  }

  private static func types(_ length: Int, _ batch: Int, _ width: Int) -> [TensorType] {
    [.f32(length, batch, width), .f32(batch, width), .f32(width, width), .f32(width)]
  }

  private static func arrays(_ types: [TensorType]) -> [NDArray] {
    var random = SplitMix(seed: 7)
    return types.map { type in
      NDArray(
        doubles: (0..<type.count).map { _ in Double.random(in: -0.5...0.5, using: &random) },
        type: type)
    }
  }

  private static func expectClose(
    _ a: [NDArray], _ b: [NDArray], within tolerance: Double = 2e-5,
    _ location: SourceLocation = #_sourceLocation
  ) {
    #expect(a.count == b.count, sourceLocation: location)
    for (index, (a, b)) in zip(a, b).enumerated() {
      #expect(a.shape == b.shape, sourceLocation: location)
      let worst = zip(a.doubles, b.doubles).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? 0
      #expect(worst <= tolerance, "result \(index)", sourceLocation: location)
    }
  }

  @Test(arguments: [false, true], [nil, 1, 2, 3, 7] as [Int?])
  func aLoopAndItsGradientsAreThoseOfTheUnrolledOne(isReversed: Bool, checkpoint: Int?) throws {
    for (length, batch, width) in [(7, 3, 5), (1, 2, 17), (5, 1, 1)] {
      let types = Self.types(length, batch, width), arrays = Self.arrays(types)
      let loop = try traced(
        types,
        Self.withGradients { Self.rnn($0, isReversed: isReversed, checkpoint: checkpoint) })
      let plain = try traced(
        types, Self.withGradients { Self.unrolled($0, isReversed: isReversed) })
      let expected = try plain.interpret(inputs: arrays).outputs
      Self.expectClose(try loop.interpret(inputs: arrays).outputs, expected, within: 1e-12)
      Self.expectClose(try Executable(loop).run(arrays), expected)
    }
  }

  @Test func aLoopThatRunsTheOtherWayRunsTheLastStepFirst() throws {
    let f = try compile([.f32(4, 2)]) { t in
      let (last, all) = scan(t[0], from: t[0][0, axis: 0] * 0, isReversed: true) { sum, x in
        let next = sum + x
        return (carry: next, output: next)
      }
      return [last, all]
    }
    let results: [NDArray] = try f(
      NDArray([1, 10, 2, 20, 3, 30, 4, 40] as [Float], shape: [4, 2]))
    #expect(results[0].doubles == [10, 100])
    #expect(results[1].doubles == [10, 100, 9, 90, 7, 70, 4, 40])
  }

  @Test func everyTeamGivesTheSameBits() throws {
    // Large enough that the steps of a turn are spread.
    let types = Self.types(9, 64, 96), arrays = Self.arrays(types)
    let graph = try traced(types, Self.withGradients { Self.rnn($0) })
    var first: [NDArray]?
    for threads in [1, 2, 7] {
      let executable = try Executable(graph, options: CompileOptions(threads: threads))
      for members in 1...threads {
        let results = try executable.withMembers(members) { try executable.run(arrays) }
        if let first { #expect(results == first, "\(threads) threads, \(members) at work") }
        first = first ?? results
      }
    }
  }

  @Test func aLoopOfNoStepsHandsItsCarryOn() throws {
    let f = try compile([.f32(0, 3), .f32(3)]) { t in
      let (last, all) = scan(t[0], from: t[1]) { sum, x in (carry: sum + x, output: sum * x) }
      return [last, all]
    }
    let results: [NDArray] = try f(
      NDArray([] as [Float], shape: [0, 3]), NDArray([1, 2, 3] as [Float], shape: [3]))
    #expect(results[0].doubles == [1, 2, 3])
    #expect(results[1].shape == [0, 3])
  }

  @Test func carriesMayChangePlacesAndAConstantOfTheBodyIsTheSameInEachStep() throws {
    let f = try compile([.f32(2), .f32(2)]) { t in
      let (carry, outputs) = scan([], from: [t[0], t[1]], length: 3) { carry, _ in
        (carry: [carry[1], carry[0] * 2], outputs: [carry[0] + 1])
      }
      return carry + outputs
    }
    let results: [NDArray] = try f(
      NDArray([1, 2] as [Float], shape: [2]), NDArray([10, 20] as [Float], shape: [2]))
    // (1, 10) → (10, 2) → (2, 20) → (20, 4)
    #expect(results[0].doubles == [20, 40])
    #expect(results[1].doubles == [4, 8])
    #expect(results[2].doubles == [2, 3, 11, 21, 3, 5])
  }

  @Test func theTimeToCompileDoesNotGrowWithTheNumberOfSteps() throws {
    func nodes(_ length: Int) throws -> Int {
      try traced(Self.types(length, 4, 8), Self.withGradients { Self.rnn($0) }).nodeCount
    }
    #expect(try nodes(10) == nodes(1000))
  }

  @Test func aWeightsGradientIsOneProductBehindTheLoop() throws {
    let graph = try optimised(traced(Self.types(6, 3, 4), Self.withGradients { Self.rnn($0) }))
    let scans = graph.nodes.compactMap { $0.op as? Scan }
    // Forward and backward, nothing computed twice.
    #expect(scans.count == 2)
    let backward = try #require(scans.first { $0.isReversed })
    // The gradient of the state alone is carried.
    #expect(backward.carries == 1)
  }

  @Test func stepsDrawNumbersOfTheirOwn() throws {
    let f = try compile([.f32(3, 50)]) { t in
      let (_, all) = scan(t[0], from: t[0][0, axis: 0]) { h, x in
        (carry: h, output: x.trace.randomUniform([50]))
      }
      return [all]
    }
    let results: [NDArray] = try f(
      NDArray(doubles: Array(repeating: 1, count: 150), type: .f32(3, 50)))
    let rows = (0..<3).map { Array(results[0].doubles[$0 * 50..<($0 + 1) * 50]) }
    #expect(Set(rows).count == 3)
    #expect(rows.allSatisfy { $0.allSatisfy { (0..<1).contains($0) } })
  }

  @Test func mistakesAreNamed() throws {
    func error(_ body: @escaping ([Tensor]) -> [Tensor]) -> ApusError? {
      do {
        _ = try traced([.f32(4, 3), .f32(5, 3), .f32(3)], body)
        return nil
      } catch { return error as? ApusError }
    }
    let grows = error { t in
      [scan(t[0], from: t[2]) { h, x in (carry: concat([h, x]), output: x) }.carry]
    }
    #expect(grows?.what == "scan: carry 0 is f32[3] and becomes f32[6]")
    #expect(grows?.location?.contains("ScanTests.swift") == true)
    let lengths = error { t in
      scan([t[0], t[1]], from: [t[2]]) { c, x in (carry: c, outputs: x) }.carry
    }
    #expect(lengths?.what == "scan: sequences f32[4,3], f32[5,3]")
    let scalar = error { t in
      scan([t[0].sum()], from: [t[2]]) { c, x in (carry: c, outputs: x) }.carry
    }
    #expect(scalar?.what == "scan: sequence 0 is f32[]")
    let none = error { t in scan([], from: [t[2]]) { c, x in (carry: c, outputs: x) }.carry }
    #expect(none?.what == "scan: neither sequences nor a length")
    let count = error { t in
      scan([t[0]], from: [t[2]]) { c, x in (carry: c + x, outputs: x) }.carry
    }
    #expect(count?.what == "scan: the body returns 2 carries and is given 1")
    // A tensor that was made inside is no tensor outside.
    let escaped = error { t in
      var inside = t[2]
      _ = scan(t[0], from: t[2]) { h, x in
        inside = h + x
        return (carry: inside, output: x)
      }
      return [inside * 2]
    }
    #expect(escaped?.what.contains("was made within a loop's body") == true)
  }

  @Test func dumpsAndProfilesShowWhatATurnDoes() throws {
    let types = Self.types(6, 3, 4)
    let graph = try traced(types) { Self.rnn($0) }
    let executable = try Executable(graph, options: CompileOptions(threads: 2))
    #expect(executable.description.contains("turn of 6: plan for"))
    #expect(executable.plan.description(executable.schedule).steps.contains { !$0.turn.isEmpty })
    #expect(graph.dot.contains("body: 4 operations"))
    #expect(graph.json.contains("\"name\":\"body\""))
    let loop = try #require(
      executable.profile(Self.arrays(types)).profile.entries.first { $0.mnemonic == "scan" })
    #expect(!loop.turn.isEmpty)
    #expect(loop.turn.reduce(0) { $0 + $1.nanoseconds } <= loop.nanoseconds)
    #expect(loop.turn.allSatisfy { $0.nanoseconds > 0 })
    // A profiled run gives what others give, and so does the next run.
    let plain = try executable.run(Self.arrays(types))
    #expect(try executable.profile(Self.arrays(types)).outputs == plain)
    #expect(try executable.run(Self.arrays(types)) == plain)
  }

  @Test func aBadIndexWithinATurnIsNamed() throws {
    let f = try compile([.i32(3, 2), .f32(4, 5), .f32(2, 5)]) { t in
      let (last, _) = scan(t[0], from: t[2]) { sum, rows in
        let next = sum + t[1].take(rows, axis: 0)
        return (carry: next, output: next)
      }
      return [last]
    }
    let table = NDArray(doubles: (0..<20).map(Double.init), type: .f32(4, 5))
    let zero = NDArray(doubles: Array(repeating: 0, count: 10), type: .f32(2, 5))
    let good: [NDArray] = try f(
      NDArray([0, 1, 2, 3, 0, 0] as [Int32], shape: [3, 2]), table, zero)
    #expect(good[0].doubles.prefix(5) == [10, 13, 16, 19, 22] as ArraySlice)
    let error = #expect(throws: ApusError.self) {
      let _: [NDArray] = try f(NDArray([0, 1, 2, 4, 0, 0] as [Int32], shape: [3, 2]), table, zero)
    }
    #expect(error?.kind == .outOfRange)
    #expect(error?.what.contains("hold 4") == true)
  }

  @Test func anOperandThatAResultDoesNotDependOnGetsZeros() throws {
    let graph = try traced([.f32(3, 2), .f32(3, 2)]) { t in
      let outputs = scan([t[0], t[1]], from: []) { _, x in
        (carry: [], outputs: [x[0] * 2, x[1] * 3])
      }.outputs
      return gradients(of: outputs[0].sum(), withRespectTo: [t[1]])
    }
    let ones = NDArray(doubles: Array(repeating: 1, count: 6), type: .f32(3, 2))
    #expect(try Executable(graph).run([ones, ones])[0].doubles == Array(repeating: 0, count: 6))
  }

  @Test func aSharedFirstCarryIsCopiedForEach() throws {
    let f = try compile([.f32(3), .f32(4, 3)]) { t in
      scan([t[1]], from: [t[0], t[0]]) { carry, x in
        (carry: [carry[0] + x[0], carry[1] - carry[0]], outputs: [carry[1]])
      }.carry + [t[0]]
    }
    let ones = NDArray(doubles: Array(repeating: 1, count: 12), type: .f32(4, 3))
    let results: [NDArray] = try f(NDArray([1, 2, 3] as [Float], shape: [3]), ones)
    #expect(results[0].doubles == [5, 6, 7])
    // 1 - 1 - 2 - 3 - 4
    #expect(results[1].doubles == [-9, -12, -15])
    #expect(results[2].doubles == [1, 2, 3])
  }

  @Test func weightsThatALoopReadsArePackedOnceForAllTurns() throws {
    let graph = try traced(Self.types(8, 32, 128)) { Self.rnn($0) }
    let executable = try Executable(graph, options: CompileOptions(threads: 1))
    let loop = try #require(executable.plan.steps.compactMap(\.loop).first)
    #expect(loop.plan.packings.count == 1)
    let arrays = Self.arrays(Self.types(8, 32, 128))
    Self.expectClose(
      try executable.run(arrays), try graph.interpret(inputs: arrays).outputs, within: 1e-4)
  }
}
