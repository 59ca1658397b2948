// logic-gates: what one neuron can learn, and what it cannot.

import Apus

/// A perceptron on AND, OR and XOR, and on XOR a network with hidden units.
///
/// Minsky and Papert 1969, "Perceptrons": a line tells the ones of AND and of OR from their zeros; no line does it for
/// XOR.
struct LogicGatesRecipe: SupervisedRecipe {
  static let hidden = RecipeOption(
    "hidden", default: 4, .between(1, 1024), "Hidden units of the network that learns XOR.")
  /// How often an epoch goes through the four rows of the table.
  static let rounds = 50

  let name = "logic-gates"
  let summary = "perceptron on AND, OR and XOR; hidden units"
  let discussion = """
    A perceptron, two inputs and one output, learns AND and OR. It does not learn XOR, whatever its weights: three of four \
    rows are right at most. A network with a few hidden units learns it. All four learn at once, from the four rows of \
    the table.
    """
  let options: [any OptionDeclaration] = [
    CommonOption.epochs.with(default: 20), CommonOption.batch.with(default: 4),
    CommonOption.learningRate.with(default: 5e-2), CommonOption.seed, hidden,
  ]
  let metric = RecipeMetric("XOR with hidden units", isFraction: true, goal: .larger)
  let otherMetrics = [
    RecipeMetric("XOR by a perceptron", isFraction: true, goal: .larger),
    RecipeMetric("AND by a perceptron", isFraction: true, goal: .larger),
    RecipeMetric("OR by a perceptron", isFraction: true, goal: .larger),
    RecipeMetric("loss of XOR by a perceptron", goal: .smaller),
  ]

  func model(_ options: RecipeOptions) -> LogicGates {
    LogicGates(hidden: options[Self.hidden])
  }

  func optimizer(_ options: RecipeOptions, stepsPerEpoch: Int?) -> any Optimizer {
    Adam(learningRate: .constant(options.learningRate))
  }

  /// The sum of four losses: no network's gradient depends on another's.
  func loss(_ model: LogicGates, _ batch: SymbolicBatch) -> Tensor {
    let x = batch.inputs
    let wanted = batch.gates.cast(to: .f32)
    let logits = model(x)
    func part(_ name: String, _ place: Int, gate: Int) -> Tensor {
      let (own, target) = (logits[place], wanted.sliced(axis: -1, from: gate, to: gate + 1))
      batch.report(name, ((own .> 0) .== (target .> 0.5)).cast(to: .f32).mean())
      return bceWithLogits(own, target)
    }
    let and = part("AND by a perceptron", 0, gate: 0)
    let or = part("OR by a perceptron", 1, gate: 1)
    let xor = part("XOR by a perceptron", 2, gate: 2)
    let solved = part(metric.name, 3, gate: 2)
    batch.report("loss of XOR by a perceptron", xor)
    return and + or + xor + solved
  }

  func fields(_ options: RecipeOptions) -> [RandomField] {
    [
      RandomField("inputs", [options.batch, 2], .normal),
      RandomField("gates", [options.batch, 3], .integers(below: 2)),
    ]
  }

  func data(_ options: RecipeOptions) throws -> RecipeData {
    func table(_ rounds: Int) throws -> ArrayDataset {
      let rows = (0..<4 * rounds).map { ($0 / 2 % 2, $0 % 2) }
      return try ArrayDataset([
        "inputs": NDArray(
          checking: rows.flatMap { [Float($0.0), Float($0.1)] }, shape: [rows.count, 2]),
        "gates": NDArray(
          checking: rows.flatMap { [Int32($0.0 & $0.1), Int32($0.0 | $0.1), Int32($0.0 ^ $0.1)] },
          shape: [rows.count, 3]),
      ])
    }
    return RecipeData(
      training: try table(Self.rounds).batched(options.batch, shuffle: nil),
      validation: try table(1).batched(4, shuffle: nil))
  }
}

/// Three perceptrons and a network with hidden units: `[n, 2]` → four logits `[n, 1]`.
struct LogicGates: Module {
  let and = Linear(2, 1)
  let or = Linear(2, 1)
  let xor = Linear(2, 1)
  let hidden: Linear
  let output: Linear

  init(hidden units: Int) {
    hidden = Linear(2, units, initializer: .xavierUniform)
    output = Linear(units, 1, initializer: .xavierUniform)
  }

  func callAsFunction(_ x: Tensor) -> [Tensor] {
    [and(x), or(x), xor(x), output(tanh(hidden(x)))]
  }
}
