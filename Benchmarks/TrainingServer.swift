// Our side of `apus bench train`: a process that trains one recipe as it is told.

import Apus
import ApusRecipes
import Foundation

/// Serves the steps of a recipe over standard input and output, until input ends.
///
/// - Throws: what compiling and running throw.
package func serveTraining(
  _ recipe: any Recipe, batch size: Int? = nil, options: BenchmarkOptions
) throws {
  try options.validate()
  let steps = try CompiledSteps(recipe, batch: size, options)
  let firstLoss = try steps.run()
  func say(_ members: [(String, JSON)]) {
    print(JSON.object(members).text)
    fflush(nil)
  }
  say([("first_step", true)])
  for _ in 1..<3 { try steps.run() }
  let memory = steps.executables.map(\.memory)
  func mebibytes(_ bytes: [Int]) -> JSON { .number(Double(bytes.reduce(0, +)) / 1_048_576) }
  say([
    ("ready", true), ("compile_s", .number(steps.compileSeconds)),
    ("bytes", .number(steps.executables.reduce(0) { $0 + $1.bytesMoved })),
    ("flops", .number(try steps.flops)), ("arena_mib", mebibytes(memory.map(\.arena))),
    ("lower_bound_mib", mebibytes(memory.map(\.lowerBound))),
  ])
  var lastLoss = firstLoss
  func run(_ count: Int) throws {
    for _ in 0..<count { lastLoss = try steps.run() }
  }
  while let line = readLine() {
    guard line.hasPrefix("run "), let count = Int(line.dropFirst(4)), count > 0 else {
      throw ApusError(.invalidArgument, "unknown command '\(line)'", expected: "run N")
    }
    try run(untimed(before: count))
    let time = try seconds { try run(count) }
    say([
      ("seconds", .number(time)), ("first_loss", .number(firstLoss)), ("loss", .number(lastLoss)),
      ("rss_mib", .number(peakResidentMebibytes())),
    ])
  }
}

/// The steps of a recipe, each compiled for one random batch.
struct CompiledSteps {
  let steps: [(name: String, step: TrainingStep, batch: Batch)]
  let executables: [Executable]
  /// From nothing to compiled steps; without making the batches.
  let compileSeconds: Double
  private let recorded: [RecipeStep]

  /// - `batch`: examples; the recipe's own number where nil.
  /// - Throws: `invalidArgument` for a batch of less than 1; what compiling throws.
  init(_ recipe: any Recipe, batch size: Int?, _ options: BenchmarkOptions) throws {
    let compile = CompileOptions(options)
    let settings = try recipe.options(batch: size)
    let clock = ContinuousClock()
    var made: [RecipeStep] = []
    let making = try clock.measure { made = try recipe.steps(settings, compile: compile) }
    let steps = try made.map { ($0.name, $0.step, try $0.randomBatch()) }
    guard !steps.isEmpty else {
      throw ApusError(.invalidArgument, "\(recipe.name) has no steps", expected: "at least one")
    }
    var executables: [Executable] = []
    let compiling = try clock.measure {
      executables = try steps.map { try $0.1.executable(for: $0.2) }
    }
    self.steps = steps
    self.executables = executables
    compileSeconds = (making + compiling) / .seconds(1)
    recorded = made
  }

  /// Operations of the products of all steps, of which each is recorded once more.
  var flops: Double {
    get throws { try recorded.reduce(0) { try $0 + $1.graph().productFlops } }
  }

  /// Takes one of each step.
  ///
  /// - Returns: the loss of the first.
  @discardableResult
  func run() throws -> Double {
    // One step is the rule, and mlp_tiny is timed in microseconds: nothing is counted or copied for it.
    let loss = try steps[0].step.run(steps[0].batch).loss
    for index in 1..<steps.count { try steps[index].step.run(steps[index].batch) }
    return loss
  }
}

extension Recipe {
  /// The options with their defaults, but for the batch's size where one is given.
  ///
  /// - Throws: `invalidArgument` for a size that the recipe refuses.
  func options(batch size: Int?) throws -> RecipeOptions {
    var options = defaults
    if let size { try options.set(CommonOption.batch.name, to: "\(size)") }
    return options
  }
}

extension Graph {
  /// Multiplications and additions of all matrix products, convolutions and attentions, as recorded: what a kernel
  /// that computes less, or more, is measured by. A convolution's products with padding count; of an attention
  /// only the keys that a query sees by its position, and nothing that its gradient computes again.
  var productFlops: Double {
    // A loop and the same one that its gradient has recorded run once.
    var loops: [[ValueID]: Double] = [:]
    let others = nodes.reduce(0.0) { sum, node in
      let operands = node.operands.map(type(of:))
      if let convolution = node.op as? any ConvolutionOp {
        return sum + convolution.flops(operands)
      }
      if let attention = node.op as? Attention {
        return sum + attention.rule.flops(operands[0], operands[1], operands[2])
      }
      if let gradient = node.op as? AttentionGradient {
        return sum + 2 * gradient.rule.flops(operands[1], operands[2], operands[3])
      }
      if let loop = node.op as? Scan {
        let flops = Double(loop.length) * loop.body.productFlops
        let key = node.operands.map(\.value)
        loops[key] = max(flops, loops[key] ?? 0)
        return sum
      }
      if node.op is LSTMLoop { return sum + LSTMLoop.productFlops(operands[0]) }
      if node.op is LSTMLoopGradient { return sum + LSTMLoop.productFlops(operands[3]) }
      guard let product = node.op as? MatMul, let left = operands.first,
        let result = node.results.first
      else { return sum }
      let inner = product.transposeA ? left.shape[-2] : left.shape[-1]
      return sum + 2 * Double(inner) * Double(types[result.index].count)
    }
    return loops.values.reduce(others, +)
  }
}

extension AttentionRule {
  /// Of the forward direction: two products for each query and each key that it sees.
  fileprivate func flops(_ query: TensorType, _ key: TensorType, _ value: TensorType) -> Double {
    let (queries, keys) = (query.shape[1], key.shape[1])
    let pairs = (0..<queries).reduce(0) { sum, row in
      let first = window.map { max(row - $0 + 1, 0) } ?? 0
      let end = isCausal ? row + 1 : window.map { row + $0 } ?? keys
      return sum + max(min(end, keys) - first, 0)
    }
    let widths = query.shape[3] + value.shape[3]
    return 2 * Double(query.shape[0] * query.shape[2]) * Double(pairs) * Double(widths)
  }
}

extension ConvolutionOp {
  /// Of each element of y a sum over the window and the channels of its group; of the gradients as many.
  fileprivate func flops(_ operands: [TensorType]) -> Double {
    guard let (_, w, y) = try? types(operands) else { return 0 }
    return 2 * Double(y.count) * Double(w.count) / Double(max(w.shape[0], 1))
  }
}

extension Executable {
  /// Bytes that the kernels say they read and write.
  var bytesMoved: Double { plan.steps.reduce(0) { $0 + $1.call.bytes } }
}

/// The peak of this process alone, as the kernel counts it since the program was loaded: `ru_maxrss`
/// would count what the process that started this one held at the time.
private func peakResidentMebibytes() -> Double {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
  return Double(line.filter(\.isNumber)).map { $0 / 1024 } ?? .nan
}
