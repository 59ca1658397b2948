// Optimisers and schedules do what PyTorch's do (data by Tests/reference/optimizers.py).

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime
import Foundation
import TestSupport
import Testing

@Suite struct OptimizerTests {
  static let reference: [String: [[Double]]] = {
    let url = Bundle.module.url(
      forResource: "optimizers", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode([String: [[Double]]].self, from: Data(contentsOf: url))
  }()

  static let optimizers: [(String, any Optimizer)] = [
    ("sgd", SGD(learningRate: 0.1)),
    ("sgd_momentum", SGD(learningRate: 0.1, momentum: 0.9)),
    (
      "sgd_nesterov_decay",
      SGD(learningRate: 0.05, momentum: 0.8, nesterov: true, weightDecay: 0.01)
    ),
    ("adam", Adam(learningRate: 0.02)),
    ("adam_decay", Adam(learningRate: 0.02, beta1: 0.8, beta2: 0.9, weightDecay: 0.1)),
    ("adamw", AdamW(learningRate: 0.02, weightDecay: 0.05)),
  ]

  /// The update as a graph over f64: parameter, gradient, slots, scalars in; parameter and slots out.
  static func graph(_ outline: UpdateOutline) throws -> Graph {
    let inputs = 2 + outline.slots.count
    let types =
      Array(repeating: TensorType.f64(3), count: inputs)
      + outline.scalars.map { _ in TensorType.f64() }
    return try traced(types) { tensors in
      outline.record(
        tensors[0], tensors[1], slots: Array(tensors[2..<inputs]),
        scalars: Array(tensors[inputs...]))
    }
  }

  @Test(arguments: optimizers.indices)
  func fiveSteps_followPyTorch(index: Int) throws {
    let (name, optimizer) = Self.optimizers[index]
    let outline = UpdateOutline(optimizer, of: .f64(3))
    let graph = try Self.graph(outline)
    var parameter = [0.5, -1.25, 2.0]
    var slots = outline.slots.map { _ in NDArray(zeros: .f64(3)) }
    for (step, expected) in try #require(Self.reference[name]).enumerated() {
      let gradient = zip(zip([1.0, 3.0, 0.25], parameter), [0.1, 0.2, -0.3]).map {
        $0.0 * ($0.1 - $1)
      }
      let scalars = outline.scalars.map {
        NDArray(doubles: [$0.value(UpdateTime(step: step, update: step))], type: .f64())
      }
      let run = try graph.interpret(
        inputs: [
          NDArray(doubles: parameter, type: .f64(3)), NDArray(doubles: gradient, type: .f64(3)),
        ] + slots + scalars)
      parameter = run.outputs[0].doubles
      slots = Array(run.outputs.dropFirst())
      for (got, wanted) in zip(parameter, expected) { #expect(abs(got - wanted) < 1e-12) }
    }
  }

  /// Of one array, and of several in one call.
  @Test(
    arguments: [Adam(), Adam(weightDecay: 0.1), AdamW()] as [any Optimizer & Sendable], [1, 3])
  func updateOfAdam_isOneCall(optimizer: any Optimizer & Sendable, arrays: Int) throws {
    let outline = UpdateOutline(optimizer, of: .f32(100))
    let each = 2 + outline.slots.count
    let types =
      Array(repeating: TensorType.f32(100), count: each * arrays)
      + outline.scalars.map { _ in TensorType.f32() }
    let function = try compile(types) { tensors in
      (0..<arrays).flatMap { index -> [Tensor] in
        let own = Array(tensors[index * each..<(index + 1) * each])
        return outline.record(
          own[0], own[1], slots: Array(own[2...]), scalars: Array(tensors[(each * arrays)...]))
      }
    }
    let steps = function.executable.plan.steps
    #expect(steps.count == arrays)
    #expect(steps.allSatisfy { $0.call.name.hasPrefix("ck_adam") })
  }

  @Test func schedules_followTheirFormulas() {
    let cosine = LearningRate.cosine(from: 1, to: 0.2, steps: 10)
    #expect(cosine.value(at: 0) == 1)
    #expect(abs(cosine.value(at: 5) - 0.6) < 1e-12)
    #expect(abs(cosine.value(at: 10) - 0.2) < 1e-12)
    #expect(abs(cosine.value(at: 99) - 0.2) < 1e-12)
    let step = LearningRate.step(from: 1, factor: 0.5, every: 3)
    #expect((0..<7).map { step.value(at: $0) } == [1, 1, 1, 0.5, 0.5, 0.5, 0.25])
    let warm = LearningRate.warmUp(steps: 4, then: .linear(from: 1, to: 0, steps: 2))
    #expect((0..<7).map { warm.value(at: $0) } == [0.25, 0.5, 0.75, 1, 1, 0.5, 0])
    #expect(LearningRate.exponential(from: 2, factor: 0.5).value(at: 3) == 0.25)
    #expect((1e-3 as LearningRate).value(at: 1000) == 1e-3)
  }

  @Test(arguments: [
    SGD(learningRate: -1), SGD(learningRate: .constant(.nan)), SGD(learningRate: 1, momentum: 1),
    SGD(learningRate: 1, nesterov: true), SGD(learningRate: 1, weightDecay: -1),
    SGD(learningRate: .cosine(from: 1, steps: 0)),
    SGD(learningRate: .warmUp(steps: -1, then: 1)),
  ])
  func senselessSettings_areRefused(optimizer: SGD) {
    let error = #expect(throws: ApusError.self) { try optimizer.validate() }
    #expect(error?.kind == .invalidArgument)
  }

  @Test func senselessAdam_isRefused() {
    #expect(throws: ApusError.self) { try Adam(beta1: 1).validate() }
    #expect(throws: ApusError.self) { try AdamW(epsilon: -1).validate() }
    #expect(throws: Never.self) { try AdamW().validate() }
  }
}
