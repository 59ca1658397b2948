// L-BFGS: PyTorch's way on small problems, what ends it, and what it refuses.

import Apus
import Foundation
import Testing

@Suite struct LBFGSTests {
  private struct Case: Decodable {
    struct Options: Decodable {
      var lr: Double
      var max_iter: Int
      var max_eval: Int?
      var history_size: Int?
      var line_search_fn: String?
    }
    struct Call: Decodable {
      var loss: Double
      var evaluations, iterations: Int
      var parameters: [Double]
    }
    var name: String
    var start: [Float]
    var options: Options
    var calls: [Call]
  }

  private struct Point: Module {
    let p: Parameter
    init(_ count: Int) { p = Parameter([count], .zeros) }
  }

  private static func point(_ start: [Float]) throws -> Point {
    let point = Point(start.count)
    try point.initialize(seed: 0)
    try point.p.set(NDArray(start, shape: [start.count]))
    return point
  }

  private static func rosenbrock(_ model: Point, _: SymbolicBatch) -> Tensor {
    let (x, y) = (model.p.tensor[0, axis: 0], model.p.tensor[1, axis: 0])
    return square(1 - x) + 100 * square(y - square(x))
  }

  private static func logistic(_ model: Point, _ batch: SymbolicBatch) -> Tensor {
    let p = model.p.tensor
    let z = batch.x.matmul(p[..<3, axis: 0].reshaped([3, 1])).reshaped([10]) + p[3, axis: 0]
    return bceWithLogits(z, batch.y) + 0.01 * square(p).sum()
  }

  private static let points = Batch([
    "x": NDArray((0..<30).map { Float(7 * $0 % 11) / 5 - 1 }, shape: [10, 3]),
    "y": NDArray((0..<10).map { Float($0 * 3 % 4 < 2 ? 1 : 0) }, shape: [10]),
  ])

  @Test func theWayIsPyTorchs() throws {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "Reference/lbfgs.json")
    let cases = try JSONDecoder().decode([Case].self, from: Data(contentsOf: url))
    #expect(cases.count == 5)
    for entry in cases {
      let isLogistic = entry.name.hasPrefix("logistic")
      let model = try Self.point(entry.start)
      let options = entry.options
      let lbfgs = try LBFGS(
        model, learningRate: options.lr, iterations: options.max_iter,
        evaluations: options.max_eval, history: options.history_size ?? 100,
        lineSearch: options.line_search_fn == nil ? nil : .strongWolfe,
        loss: isLogistic ? Self.logistic : Self.rosenbrock)
      var (evaluations, iterations) = (0, 0)
      for (number, call) in entry.calls.enumerated() {
        let result = try lbfgs.run(Self.points)
        evaluations += result.evaluations
        iterations += result.iterations
        let what = "\(entry.name), call \(number): \(result)"
        #expect(abs(result.before - call.loss) < 2e-4 * max(call.loss, 1), "\(what)")
        #expect(evaluations == call.evaluations && iterations == call.iterations, "\(what)")
        for (found, expected) in zip(try model.p.value().doubles, call.parameters) {
          #expect(abs(found - expected) < 1e-3, "\(what)")
        }
      }
    }
  }

  @Test func aNetworkIsLearnt_inFarFewerEvaluationsThanByGradientDescent() throws {
    func network() throws -> Sequential {
      let model = Sequential {
        Linear(1, 8)
        Tanh()
        Linear(8, 1)
      }
      try model.initialize(seed: 1)
      return model
    }
    let x = (0..<40).map { Float($0) / 10 - 2 }
    let batch = Batch([
      "x": NDArray(x, shape: [40, 1]), "y": NDArray(x.map { sinf(2 * $0) }, shape: [40, 1]),
    ])
    let model = try network()
    let lbfgs = try LBFGS(model, iterations: 200, lineSearch: .strongWolfe) { mse($0($1.x), $1.y) }
    let result = try lbfgs.run(batch)
    let step = try TrainingStep(network(), optimizer: SGD(learningRate: 0.1)) {
      mse($0($1.x), $1.y)
    }
    var descent = 1.0
    for _ in 0..<result.evaluations { descent = try step.run(batch).loss }
    #expect(result.loss < 1e-3 && result.loss < 0.05 * descent, "\(result) \(descent)")
    // The model stands where the last loss was.
    let loss = try EvaluationStep(model) { mse($0($1.x), $1.y) }.run(batch).loss
    #expect(abs(loss - result.loss) < 1e-6)
  }

  @Test func frozenParametersStay_andWhatWasKnownIsForgotten() throws {
    let model = TwoLayers()
    try model.initialize(seed: 2)
    let lbfgs = try LBFGS(model, iterations: 5, lineSearch: .strongWolfe, loss: LifeCycle.loss)
    try lbfgs.run(LifeCycle.batch())
    model.a.freeze()
    let before = try LifeCycle.values(model)
    let result = try lbfgs.run(LifeCycle.batch())
    let after = try LifeCycle.values(model)
    #expect(after["a.weight"] == before["a.weight"] && after["b.weight"] != before["b.weight"])
    #expect(result.loss <= result.before)
  }

  @Test func aMinimumIsTheEnd() throws {
    let model = try Self.point([1, 1])
    let lbfgs = try LBFGS(model, loss: Self.rosenbrock)
    let result = try lbfgs.run(Self.points)
    #expect(result.end == .gradient && result.evaluations == 1 && result.iterations == 0)
    #expect(try model.p.value().floats == [1, 1])
  }

  @Test func mistakesAreTold_andNothingIsLost() throws {
    let model = try Self.point([1, 2])
    func make(
      rate: Double = 1, iterations: Int = 20, evaluations: Int? = nil, history: Int = 10,
      tolerance: Double = 0
    ) throws {
      _ = try LBFGS(
        model, learningRate: rate, iterations: iterations, evaluations: evaluations,
        gradientTolerance: tolerance, history: history, loss: Self.rosenbrock)
    }
    for make in [
      { try make(rate: 0) }, { try make(rate: .nan) }, { try make(iterations: 0) },
      { try make(evaluations: 0) }, { try make(history: 0) }, { try make(tolerance: -1) },
    ] as [() throws -> Void] {
      let error = #expect(throws: ApusError.self) { try make() }
      #expect(error?.kind == .invalidArgument && "\(error!)".contains("LBFGS: "))
    }
    // √ beyond 0 is no number: without a search that is an error, and the last good point stays.
    func root(_ model: Point, _: SymbolicBatch) -> Tensor { sqrt(model.p.tensor).sum() }
    let plain = try LBFGS(model, learningRate: 100, loss: root)
    let error = #expect(throws: ApusError.self) { try plain.run(Self.points) }
    #expect(error?.kind == .nonFinite && "\(error!)".contains("strongWolfe"))
    #expect(try model.p.value().floats == [1, 2])
    // With one the step is shortened.
    let searching = try LBFGS(
      model, learningRate: 100, iterations: 3, lineSearch: .strongWolfe, loss: root)
    let result = try searching.run(Self.points)
    #expect(result.loss.isFinite && result.loss < result.before)
    #expect(try model.p.value().isFinite)
    try model.p.set(NDArray([-1, 1], shape: [2]))
    let start = #expect(throws: ApusError.self) { try searching.run(Self.points) }
    #expect(start?.kind == .nonFinite && "\(start!)".contains("where the search begins"))
  }
}
