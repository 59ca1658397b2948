// Our side of `apus bench train`: a process that trains one workload as it is told.

import Apus
import Foundation

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
package func serveTraining(
  _ workload: TrainingWorkload, batch size: Int? = nil, options: BenchmarkOptions
) throws {
  try options.validate()
  let batch = try randomBatch(workload, size: try checked(size) ?? workload.batch)
  let start = ContinuousClock.now
  let step = try trainingStep(workload, batch, options)
  let compileSeconds = (ContinuousClock.now - start) / .seconds(1)
  let firstLoss = try step.run(batch).loss
  func say(_ members: [(String, JSON)]) {
    print(JSON.object(members).text)
    fflush(nil)
  }
  say([("first_step", true)])
  for _ in 1..<3 { try step.run(batch) }
  let executable = try step.executable(for: batch)
  let memory = executable.memory
  let moved = executable.plan.steps.reduce(0) { $0 + $1.call.bytes }
  say([
    ("ready", true), ("compile_s", .number(compileSeconds)), ("bytes", .number(moved)),
    ("arena_mib", .number(Double(memory.arena) / 1_048_576)),
    ("lower_bound_mib", .number(Double(memory.lowerBound) / 1_048_576)),
  ])
  var lastLoss = firstLoss
  func run(_ count: Int) throws {
    for _ in 0..<count { lastLoss = try step.run(batch).loss }
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
) throws -> TrainingStep {
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
  return trainer.trainingStep
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
