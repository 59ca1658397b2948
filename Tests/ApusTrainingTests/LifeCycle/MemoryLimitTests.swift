// Steps under a limit of memory: the same bits, never more memory for a smaller limit, and an error that says
// the least.

import Apus
import Testing

private struct Perceptron: Layer {
  let layers = [Linear(32, 64), Linear(64, 64), Linear(64, 64), Linear(64, 64)]
  let head = Linear(64, 10)
  func forward(_ x: Tensor) -> Tensor { head(layers.reduce(x) { gelu($1($0)) }) }
}

private struct Dropping: Layer {
  let layers = [Linear(32, 64), Linear(64, 64), Linear(64, 64)]
  let norms = [LayerNorm(64), LayerNorm(64), LayerNorm(64)]
  let dropout = Dropout(0.4)
  let head = Linear(64, 10)
  func forward(_ x: Tensor) -> Tensor {
    head(zip(layers, norms).reduce(x) { dropout(tanh($1.1($1.0($0)))) })
  }
}

/// Marks a part by hand as well.
private struct Marked: Layer {
  let first = Linear(32, 64)
  let second = Linear(64, 64)
  let third = Linear(64, 10)
  func forward(_ x: Tensor) -> Tensor {
    third(checkpoint(tanh(first(x))) { gelu(second(gelu($0))) })
  }
}

/// What is trained under limits.
enum LimitedNetwork: String, CaseIterable, Sendable {
  case perceptron, leNet, residual, dropout, checkpoint

  var batch: Batch {
    let rows = self == .residual ? 8 : 96
    let shape: Shape =
      switch self {
      case .leNet: [rows, 28, 28, 1]
      case .residual: [rows, 16, 16, 3]
      default: [rows, 32]
      }
    let values = (0..<shape.count).map { place -> Float in
      let level = (place * 37 + place / 11) % 101
      return Float(level) / 50 - 1
    }
    return Batch([
      "x": NDArray(values, shape: shape),
      "y": NDArray((0..<rows).map { Int32($0 * 7 % 10) }, shape: [rows]),
    ])
  }

  /// Five steps within a limit.
  func trained(
    _ limit: Int?, threads: Int = 1, precision: Precision = .highest
  ) throws -> LimitedRun {
    let compile = CompileOptions(threads: threads, precision: precision, memoryLimit: limit)
    return switch self {
    case .perceptron: try LimitedRun(Perceptron(), Adam(learningRate: 1e-3), batch, compile)
    case .leNet: try LimitedRun(LeNet(), Adam(learningRate: 1e-3), batch, compile)
    case .residual:
      try LimitedRun(
        ResNet.cifar(blocks: 2), SGD(learningRate: 0.05, momentum: 0.9), batch, compile)
    case .dropout: try LimitedRun(Dropping(), Adam(learningRate: 1e-3), batch, compile)
    case .checkpoint: try LimitedRun(Marked(), SGD(learningRate: 0.1), batch, compile)
    }
  }
}

/// What came of a run.
struct LimitedRun {
  let memory: MemoryReport
  /// Losses, parameters, running statistics: bit by bit.
  let losses: [Double]
  let values: [String: NDArray]
  /// The plan.
  let text: String

  fileprivate init<Model: Layer>(
    _ model: Model, _ optimizer: some Optimizer, _ batch: Batch, _ compile: CompileOptions
  ) throws {
    let trainer = try Trainer(model, optimizer: optimizer, seed: 3, compile: compile) {
      crossEntropy($0($1.x), $1.y)
    }
    let executable = try trainer.trainingStep.executable(for: batch)
    memory = executable.memory
    text = executable.description
    losses = try (0..<5).map { _ in try trainer.train(on: batch).loss }
    let parameters = try model.parameters.map { ($0.path, try $0.parameter.value()) }
    let buffers = try model.buffers.map { ($0.path, try $0.buffer.value()) }
    values = Dictionary(uniqueKeysWithValues: parameters + buffers)
  }
}

@Suite struct MemoryLimitTests {
  /// The error of a limit that cannot be kept, and the least that it names.
  private static func refusal(
    _ body: () throws -> LimitedRun
  ) throws -> (error: ApusError, least: Int) {
    let error = try #require(throws: ApusError.self) { try body() }
    let words = try #require(error.expected).split(separator: " ")
    return (error, try #require(words.lazy.compactMap { Int($0) }.first))
  }

  @Test(arguments: LimitedNetwork.allCases)
  func aLimit_changesNoBit_andASmallerOneTakesNoMoreMemory(network: LimitedNetwork) throws {
    let free = try network.trained(nil)
    #expect(free.memory.unlimitedArena == free.memory.arena && free.memory.recomputed == 0)
    let (error, least) = try Self.refusal { try network.trained(0) }
    #expect(error.kind == .resource)
    #expect(least < free.memory.arena, "nothing is won")
    var arena = free.memory.arena, wasLimited = false
    // What is named works, and is the least.
    let ladder = [90, 80, 70, 60, 50, 35].map { free.memory.arena * $0 / 100 }
    for limit in ladder.filter({ $0 > least }) + [least] {
      let limited = try network.trained(limit)
      #expect(limited.memory.arena <= min(limit, arena), "\(limit)")
      arena = limited.memory.arena
      wasLimited = wasLimited || limited.memory.recomputed > 0
      #expect(limited.memory.unlimitedArena == free.memory.arena)
      #expect(limited.text.contains("  again  ") == (limited.memory.recomputed > 0))
      #expect(limited.losses == free.losses, "\(limit)")
      #expect(limited.values == free.values, "\(limit)")
    }
    #expect(wasLimited)
    let (_, second) = try Self.refusal { try network.trained(least - 1) }
    #expect(second == least)
  }

  @Test func aLimitThatThePlanKeeps_changesNothing() throws {
    let free = try LimitedNetwork.residual.trained(nil)
    let same = try LimitedNetwork.residual.trained(free.memory.arena)
    #expect(same.memory == free.memory && same.text == free.text)
  }

  @Test(arguments: [LimitedNetwork.residual, .dropout])
  func aTeamGivesTheSameBitsWithinALimit(network: LimitedNetwork) throws {
    let free = try network.trained(nil)
    for threads in [2, 3] {
      let limited = try network.trained(free.memory.arena * 6 / 10, threads: threads)
      #expect(limited.memory.recomputed > 0)
      #expect(limited.losses == free.losses && limited.values == free.values)
    }
  }

  @Test func mixedPrecisionGivesTheSameBitsWithinALimit() throws {
    let network = LimitedNetwork.residual
    let free = try network.trained(nil, precision: .mixed)
    let limited = try network.trained(free.memory.arena * 7 / 10, precision: .mixed)
    #expect(limited.memory.recomputed > 0)
    #expect(limited.losses == free.losses && limited.values == free.values)
  }

  @Test func aLimitThatCannotBeKept_namesTheLargestValuesWithTheirPlaces() throws {
    let (error, least) = try Self.refusal { try LimitedNetwork.residual.trained(1000) }
    #expect(error.what.hasPrefix("a memory limit of 1000 bytes cannot be kept"))
    #expect(error.what.contains("the arena takes \(least)"))
    // Five values with module path and line, and the call at which most is alive.
    #expect(error.what.matches(of: /\d+ of \w+ f32\[8,16,16,16\] at layer1\.\d/).count >= 2)
    #expect(error.what.contains(".swift:"))
    #expect(error.location?.contains("layer1") == true)
    #expect(error.expected?.contains("smaller batch") == true)
    let negative = #expect(throws: ApusError.self) { try LimitedNetwork.residual.trained(-1) }
    #expect(negative?.kind == .invalidArgument)
  }

  @Test func aValidationThatDoesNotFit_isAnErrorBeforeTheFirstStep() throws {
    let batch = LimitedNetwork.perceptron.batch
    let data = try ArrayDataset(["x": batch.x!, "y": batch.y!])
    func trainer(_ limit: Int?) throws -> Trainer<Perceptron> {
      try Trainer(
        Perceptron(), optimizer: SGD(learningRate: 0.1), compile: CompileOptions(memoryLimit: limit)
      ) { crossEntropy($0($1.x), $1.y) }
    }
    // A step of two examples takes less than an evaluation of all: so many that the weights' gradients, which only
    // training has, weigh less.
    let rows = 16 * batch.count
    let large = try ArrayDataset([
      "x": NDArray(zeros: .f32(rows, 32)), "y": NDArray(zeros: .i32(rows)),
    ])
    let free = try trainer(nil)
    let needed = try free.trainingStep.executable(
      for: Batch(["x": NDArray(zeros: .f32(2, 32)), "y": NDArray(zeros: .i32(2))])
    ).memory.arena
    let limited = try trainer(needed)
    let error = #expect(throws: ApusError.self) {
      try limited.fit(
        data.batched(2), validation: large.batched(rows), epochs: 1, callbacks: [])
    }
    #expect(error?.kind == .resource)
    let words = "evaluation in batches of \(rows): a memory limit of \(needed)"
    #expect(error?.what.hasPrefix(words) == true, "\(error!)")
    #expect(limited.step == 0)
    try limited.fit(data.batched(2), validation: large.batched(2), epochs: 1, callbacks: [])
    #expect(limited.step == batch.count / 2)
  }

  @Test func whatIsWrongWithABatch_isSaidUnderALimitToo() throws {
    let network = LimitedNetwork.perceptron
    let (_, least) = try Self.refusal { try network.trained(0) }
    let trainer = try Trainer(
      Perceptron(), optimizer: SGD(learningRate: 0.1), compile: CompileOptions(memoryLimit: least)
    ) { crossEntropy($0($1.x), $1.y) }
    var x = network.batch.x!.floats
    x[40] = .nan
    let bad = Batch(["x": NDArray(x, shape: [96, 32]), "y": network.batch.y!])
    let error = #expect(throws: ApusError.self) { try trainer.train(on: bad) }
    #expect(error?.kind == .nonFinite)
    #expect(error?.what.contains("'x' holds a NaN in row 1") == true, "\(error!)")
  }
}
