// Training steps: ours and, in turns with it, PyTorch's and JAX's.
//
// Every side runs in a process of its own, so that memory and the way from nothing to the first step
// are its own too; ours is this program again, told to serve. See PeerProcess.swift.

import Apus
import Foundation

/// A network whose training step is timed, on one fixed batch of random data.
public struct TrainingWorkload: Sendable {
  enum Update: Sendable { case momentum, adam }

  public let name: String
  /// Features, the widths of the layers, classes. ReLU stands between the layers.
  let widths: [Int]
  public let batch: Int
  let update: Update

  /// All workloads, smallest first.
  public static let all = [
    TrainingWorkload(name: "mlp_small", widths: [784, 128, 10], batch: 64, update: .momentum),
    TrainingWorkload(
      name: "mlp_large", widths: [784, 1024, 1024, 10], batch: 256, update: .adam),
    TrainingWorkload(
      name: "mlp_wide", widths: [2048, 2048, 2048, 2048], batch: 512, update: .adam),
  ]

  /// The workload of that name.
  ///
  /// - Throws: `missing`, with the names there are.
  public static func named(_ name: String) throws -> TrainingWorkload {
    guard let workload = all.first(where: { $0.name == name }) else {
      throw ApusError(
        .missing, "there is no workload '\(name)'",
        expected: all.map(\.name).joined(separator: ", "))
    }
    return workload
  }

  /// Operations of the products of one step: forward, weights' gradients, and all but the first layer's
  /// operands' gradients.
  func flops(batch: Int) -> Double {
    let products = zip(widths, widths.dropFirst()).map { 2 * Double(batch * $0 * $1) }
    return 3 * products.reduce(0, +) - products[0]
  }
}

/// The model of all workloads so far.
struct Perceptron: Module {
  let layers: [Linear]

  init(widths: [Int]) { layers = zip(widths, widths.dropFirst()).map { Linear($0, $1) } }

  func callAsFunction(_ input: Tensor) -> Tensor {
    layers.dropFirst().reduce(layers[0](input)) { $1(relu($0)) }
  }
}

/// Serves the steps of a workload over standard input and output, until input ends.
///
/// - Throws: what compiling and running throw.
public func serveTraining(
  _ workload: TrainingWorkload, batch size: Int? = nil, options: BenchmarkOptions
) throws {
  try options.validate()
  let batch = try randomBatch(workload, size: try checked(size) ?? workload.batch)
  let start = ContinuousClock.now
  let step = try trainingStep(workload, batch, options)
  let compileSeconds = (ContinuousClock.now - start) / .seconds(1)
  let firstLoss = try step.run(batch.arrays, at: 0).loss
  func say(_ members: [(String, JSON)]) {
    print(JSON.object(members).text)
    fflush(nil)
  }
  say([("first_step", true)])
  for index in 1..<3 { _ = try step.run(batch.arrays, at: index) }
  let memory = step.executable.memory
  say([
    ("ready", true), ("compile_s", .number(compileSeconds)),
    ("arena_mib", .number(Double(memory.arena) / 1_048_576)),
    ("lower_bound_mib", .number(Double(memory.lowerBound) / 1_048_576)),
  ])
  var index = 3
  var lastLoss = firstLoss
  func run(_ count: Int) throws {
    for _ in 0..<count {
      lastLoss = try step.run(batch.arrays, at: index).loss
      index += 1
    }
  }
  while let line = readLine() {
    guard line.hasPrefix("run "), let count = Int(line.dropFirst(4)), count > 0 else {
      throw ApusError(.invalidArgument, "unknown command '\(line)'", expected: "run N")
    }
    try run(max(1, count / 10))
    let time = try seconds { try run(count) }
    say([
      ("seconds", .number(time)), ("first_loss", .number(firstLoss)), ("loss", .number(lastLoss)),
      ("rss_mib", .number(peakResidentMebibytes())),
    ])
  }
}

/// The compiled step of a workload.
func trainingStep(
  _ workload: TrainingWorkload, _ batch: Batch, _ options: BenchmarkOptions
) throws -> TrainingStep<Perceptron> {
  let compile = CompileOptions(options)
  let model = Perceptron(widths: workload.widths)
  func loss(_ model: Perceptron, _ batch: SymbolicBatch) -> Tensor {
    crossEntropy(model(batch.images), batch.labels)
  }
  // Small rates, so that thousands of steps on one batch do not run into gradients of zero.
  let trainer =
    switch workload.update {
    case .momentum:
      try Trainer(
        model, optimizer: SGD(learningRate: 1e-3, momentum: 0.9), compile: compile, loss: loss)
    case .adam:
      try Trainer(model, optimizer: Adam(learningRate: 1e-5), compile: compile, loss: loss)
    }
  return try trainer.trainingStep(for: batch)
}

/// Times training steps of the workloads.
///
/// - Throws: `unsupported` where a side cannot be run or its loss does not fall.
public func benchmarkTraining(
  _ workloads: [TrainingWorkload] = TrainingWorkload.all, batch size: Int? = nil,
  options: BenchmarkOptions
) throws {
  try options.validate()
  for workload in workloads {
    let size = try checked(size) ?? workload.batch
    let shared = [
      "--batch", "\(size)", "--threads", "\(options.threads)", "--precision",
      options.precision.rawValue,
    ]
    let ours = try PeerProcess(
      "apus",
      ["/proc/self/exe".resolved, "bench", "train", workload.name, "--serve"] + shared
        + ["--isa", options.isa.name])
    var sides = [ours]
    for peer in options.peers ? ["torch", "torch-compile", "jax"] : [] {
      sides.append(
        try PeerProcess(
          peer, peerCommand("train.py", ["--peer", peer, "--workload", workload.name] + shared)))
    }
    let timings = try timeInTurns(sides, seconds: options.seconds)
    try sides.forEach(checkThatLossFell)
    let peaks = try MachinePeaks.measured(threads: options.threads, isa: options.isa)
    let results = zip(sides, timings).map {
      TrainingResult(workload, size, $0, $1, reference: timings[0], peaks: peaks)
    }
    if options.json {
      options.print(peaks.json.text)
      for result in results { options.print(result.json(options).text) }
    } else {
      options.print(peaks.summary)
      options.print("\(workload.name), batch \(size), \(options.precision.rawValue)")
      for line in TrainingResult.table(results) { options.print(line) }
      options.print("")
    }
  }
}

/// One side's figures for one workload.
private struct TrainingResult {
  let workload: TrainingWorkload
  let side: PeerProcess
  let timing: Timing
  let samplesPerSecond, gigaflops, peakFraction, ratio: Double

  init(
    _ workload: TrainingWorkload, _ size: Int, _ side: PeerProcess, _ timing: Timing,
    reference: Timing, peaks: MachinePeaks
  ) {
    self.workload = workload
    self.side = side
    self.timing = timing
    samplesPerSecond = Double(size) / timing.median
    gigaflops = workload.flops(batch: size) / timing.median / 1e9
    peakFraction = gigaflops / peaks.gigaflops
    ratio = timing.median / reference.median
  }

  private func fact(_ name: String) -> Double? {
    side.facts[name]?.double ?? side.answer?[name]?.double
  }

  private static let facts = ["arena_mib", "lower_bound_mib", "rss_mib", "compile_s"]

  func json(_ options: BenchmarkOptions) -> JSON {
    var line: [(String, JSON)] = [
      ("bench", "train"), ("workload", .string(workload.name)), ("side", .string(side.name)),
      ("precision", .string(options.precision.rawValue)), ("threads", .integer(options.threads)),
      ("ms", .number(rounded(timing.median * 1e3))),
      ("ms_minimum", .number(rounded(timing.minimum * 1e3))),
      ("steps", .integer(timing.repetitions)),
      ("samples_per_s", .number(rounded(samplesPerSecond))),
      ("gflops", .number(rounded(gigaflops))), ("peak_fraction", .number(rounded(peakFraction))),
      ("ratio", .number(rounded(ratio))),
    ]
    for name in Self.facts {
      if let value = fact(name) { line.append((name, .number(rounded(value)))) }
    }
    line.append(("first_step_s", .number(rounded(side.firstStepSeconds))))
    return .object(line)
  }

  static func table(_ results: [TrainingResult]) -> [String] {
    var table = Table(
      "side", "ms/step", "minimum", "samples/s", "GFLOPS", "of peak", "RSS MiB", "arena MiB",
      "bound MiB", "compile s", "first step s", "ratio")
    for result in results {
      table.add(
        result.side.name, significant(result.timing.median * 1e3),
        significant(result.timing.minimum * 1e3), decimals(result.samplesPerSecond, 0),
        decimals(result.gigaflops, 1), decimals(result.peakFraction, 2),
        decimals(result.fact("rss_mib"), 0), significant(result.fact("arena_mib")),
        significant(result.fact("lower_bound_mib")), significant(result.fact("compile_s")),
        significant(result.side.firstStepSeconds), decimals(result.ratio, 2))
    }
    return table.lines
  }
}

extension String {
  /// The file a link leads to.
  fileprivate var resolved: String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: self)) ?? self
  }
}

func checked(_ batch: Int?) throws -> Int? {
  guard let batch else { return nil }
  guard batch >= 1 else {
    throw ApusError(.invalidArgument, "a batch of \(batch)", expected: "at least 1")
  }
  return batch
}

private func checkThatLossFell(_ side: PeerProcess) throws {
  guard let first = side.answer?["first_loss"]?.double, let last = side.answer?["loss"]?.double,
    last < first
  else {
    throw ApusError(
      .unsupported, "\(side.name) does not train: \(side.answer?.text ?? "no answer")",
      expected: "a loss that falls")
  }
}

/// Normally distributed images, uniformly distributed labels.
func randomBatch(_ workload: TrainingWorkload, size: Int) throws -> Batch {
  var generator = Numbers(state: 1)
  let features = workload.widths[0], classes = workload.widths[workload.widths.count - 1]
  let images = (0..<size * features).map { _ in generator.normal() }
  let labels = (0..<size).map { _ in Int32(generator.next() % UInt64(classes)) }
  return Batch([
    "images": NDArray(images, shape: [size, features]), "labels": NDArray(labels, shape: [size]),
  ])
}

/// SplitMix64 (Steele, Lea and Flood 2014), and a sum of uniform numbers that is normal enough.
private struct Numbers: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func normal() -> Float {
    let bits = next()
    let sum = (0..<4).reduce(0) { $0 + Float(bits >> (16 * UInt64($1)) & 0xffff) * 0x1p-16 }
    return (sum - 2) * 1.732_050_8
  }
}

/// The peak of this process alone, as the kernel counts it since the program was loaded: `ru_maxrss`
/// would count what the process that started this one held at the time.
private func peakResidentMebibytes() -> Double {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
  return Double(line.filter(\.isNumber)).map { $0 / 1024 } ?? .nan
}
