// Optimisers do what PyTorch's and optax's do in fifty steps (data by Tests/reference/optimizers.py), each in one
// loop over the parameter.

import ApusGraph
import ApusNN
import ApusOps
import ApusRuntime
import Foundation
import TestSupport
import Testing

/// A descent as the reference file has it.
private struct Descent: Decodable {
  struct Bowl: Decodable {
    var start, curvature, target: [Double]
    var shape: [Int]
  }
  var of: Bowl
  /// The parameter after some of fifty steps.
  var steps: [[Double]]
  static let kept = [1, 2, 3, 4, 5, 10, 20, 30, 40, 50]
}

private let reference: [String: Descent] = {
  let url = Bundle.module.url(
    forResource: "optimizers", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: Descent].self, from: Data(contentsOf: url))
}()

/// Rules that are one loop over a parameter.
private let elementwise: [String: any Optimizer] = [
  "sgd": SGD(learningRate: 0.1),
  "sgd_momentum": SGD(learningRate: 0.1, momentum: 0.9),
  "sgd_dampening": SGD(learningRate: 0.1, momentum: 0.9, dampening: 0.3, weightDecay: 0.01),
  "sgd_nesterov_decay": SGD(learningRate: 0.05, momentum: 0.8, nesterov: true, weightDecay: 0.01),
  "adam": Adam(learningRate: 0.02),
  "adam_decay": Adam(learningRate: 0.02, beta1: 0.8, beta2: 0.9, weightDecay: 0.1),
  "adam_amsgrad": Adam(learningRate: 0.2, beta1: 0.8, beta2: 0.9, weightDecay: 0.1, amsgrad: true),
  "adamw": AdamW(learningRate: 0.02, weightDecay: 0.05),
  "adamw_amsgrad": AdamW(learningRate: 0.2, beta1: 0.8, beta2: 0.7, amsgrad: true),
  "adagrad": Adagrad(learningRate: 0.1),
  "adagrad_all": Adagrad(
    learningRate: 0.3, rateDecay: 0.05, weightDecay: 0.1, initialAccumulator: 0.5, epsilon: 1e-6),
  "adadelta": Adadelta(),
  "adadelta_decay": Adadelta(learningRate: 0.5, rho: 0.8, epsilon: 1e-3, weightDecay: 0.1),
  "rmsprop": RMSProp(learningRate: 0.02),
  "rmsprop_all": RMSProp(
    learningRate: 0.01, alpha: 0.9, epsilon: 1e-3, weightDecay: 0.1, momentum: 0.8, centered: true),
  "adamax": Adamax(learningRate: 0.05),
  "adamax_decay": Adamax(learningRate: 0.05, beta1: 0.8, beta2: 0.9, weightDecay: 0.1),
  "nadam": NAdam(learningRate: 0.02),
  "nadam_decay": NAdam(
    learningRate: 0.02, beta1: 0.8, beta2: 0.9, weightDecay: 0.1, momentumDecay: 0.1),
  "nadam_decoupled": NAdam(learningRate: 0.02, weightDecay: 0.1, decoupledWeightDecay: true),
  "radam": RAdam(learningRate: 0.02),
  "radam_decay": RAdam(learningRate: 0.02, beta1: 0.8, beta2: 0.9, weightDecay: 0.1),
  "radam_decoupled": RAdam(learningRate: 0.02, weightDecay: 0.1, decoupledWeightDecay: true),
  "lion": Lion(learningRate: 0.01),
  "lion_all": Lion(learningRate: 0.03, beta1: 0.8, beta2: 0.9, weightDecay: 0.1),
  "sgd_one_cycle": SGD(
    learningRate: .oneCycle(peak: 0.2, steps: 50), momentum: .oneCycleMomentum(steps: 50)),
  "adam_one_cycle": Adam(
    learningRate: .oneCycle(peak: 0.2, steps: 50), beta1: .oneCycleMomentum(steps: 50)),
  "rmsprop_one_cycle": RMSProp(
    learningRate: .oneCycle(peak: 0.02, steps: 50), momentum: .oneCycleMomentum(steps: 50)),
]

/// Rules that have to know a norm, or to multiply matrices.
private let whole: [String: any Optimizer] = [
  "adafactor": Adafactor(learningRate: 0.1),
  "adafactor_vector": Adafactor(learningRate: 0.1),
  "adafactor_all": Adafactor(
    learningRate: 0.3, beta2Decay: -0.5, epsilon: 1e-3, leastScale: 0.1, clipping: 1.5,
    weightDecay: 0.05),
  "muon": Muon(learningRate: 0.05),
  "muon_wide": Muon(learningRate: 0.05),
  "muon_plain": Muon(
    learningRate: 0.02, weightDecay: 0, momentum: 0.8, nesterov: false, iterations: 3,
    adjustment: .matchingAdamW),
  "lamb": LAMB(learningRate: 0.05),
  "lamb_decay": LAMB(
    learningRate: 0.05, beta1: 0.8, beta2: 0.9, epsilon: 1e-3, weightDecay: 0.1),
]

private let all = elementwise.merging(whole) { $1 }

@Suite struct OptimizerTests {
  /// The update as a graph over f64: parameter, gradient, slots, scalars in; parameter and slots out.
  static func graph(_ outline: UpdateOutline, _ shape: Shape) throws -> Graph {
    let inputs = 2 + outline.slots.count
    let type = TensorType(.f64, shape)
    let types =
      [type, type] + outline.initial.map(\.type) + outline.scalars.map { _ in TensorType.f64() }
    return try traced(types) { tensors in
      outline.record(
        tensors[0], tensors[1], slots: Array(tensors[2..<inputs]),
        scalars: Array(tensors[inputs...]))
    }
  }

  @Test func everyDescentOfTheReferenceIsTested() {
    #expect(Set(all.keys) == Set(reference.keys))
  }

  @Test(arguments: all.keys.sorted()) func fiftySteps_followTheReference(name: String) throws {
    let descent = try #require(reference[name])
    let bowl = descent.of
    let type = TensorType(.f64, Shape(bowl.shape))
    let outline = UpdateOutline(try #require(all[name]), of: type)
    let graph = try Self.graph(outline, type.shape)
    var parameter = bowl.start
    var slots = outline.initial
    for step in 0..<50 {
      let gradient = bowl.curvature.indices.map {
        bowl.curvature[$0] * (parameter[$0] - bowl.target[$0])
      }
      let scalars = outline.scalars.map {
        NDArray(doubles: [$0.value(UpdateTime(step: step, update: step))], type: .f64())
      }
      let run = try graph.interpret(
        inputs: [NDArray(doubles: parameter, type: type), NDArray(doubles: gradient, type: type)]
          + slots + scalars)
      parameter = run.outputs[0].doubles
      slots = Array(run.outputs.dropFirst())
      guard let place = Descent.kept.firstIndex(of: step + 1) else { continue }
      // PyTorch keeps NAdam's product of momenta as f32.
      let tolerance = name.hasPrefix("nadam") ? 1e-8 : 1e-10
      for (got, wanted) in zip(parameter, descent.steps[place]) {
        #expect(abs(got - wanted) < tolerance, "step \(step + 1): \(got), not \(wanted)")
      }
    }
  }

  /// Of one array, and of several: nothing is written between that only the update reads.
  @Test(arguments: elementwise.keys.sorted(), [1, 3])
  func update_isOneCallForEachArray(name: String, arrays: Int) throws {
    let outline = UpdateOutline(try #require(all[name]), of: .f32(100))
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
    #expect(steps.count == arrays, "\(steps.map(\.call.name))")
    let plainAdam = ["adam", "adam_decay", "adamw"].contains(name)
    #expect(steps.allSatisfy { $0.call.name.hasPrefix("ck_adam") == plainAdam })
  }

  /// Two passes over the parameter, where one needs what the other finds.
  @Test(arguments: ["lamb", "adafactor"]) func lengthsCost_fewPasses(name: String) throws {
    let outline = UpdateOutline(try #require(all[name]), of: .f32(64, 100))
    let types =
      [TensorType.f32(64, 100), .f32(64, 100)] + outline.initial.map(\.type)
      + outline.scalars.map { _ in TensorType.f32() }
    let inputs = 2 + outline.slots.count
    let function = try compile(types) { tensors in
      outline.record(
        tensors[0], tensors[1], slots: Array(tensors[2..<inputs]),
        scalars: Array(tensors[inputs...]))
    }
    let steps = function.executable.plan.steps
    // Adafactor's are mostly of a row or a column.
    #expect(steps.count <= (name == "lamb" ? 4 : 10), "\(steps.map(\.call.name))")
  }

  // MARK: Mistakes

  static let senseless: [any Optimizer] = [
    SGD(learningRate: -1), SGD(learningRate: .constant(.nan)), SGD(learningRate: 1, momentum: 1),
    SGD(learningRate: 1, nesterov: true), SGD(learningRate: 1, weightDecay: -1),
    SGD(learningRate: 1, momentum: 0.9, dampening: 0.1, nesterov: true),
    SGD(learningRate: 1, momentum: 0.9, dampening: -1),
    SGD(learningRate: .cosine(from: 1, steps: 0)),
    SGD(learningRate: .warmUp(steps: -1, then: 1)),
    SGD(learningRate: 1, momentum: .oneCycleMomentum(steps: 0)),
    Adam(beta1: 1), AdamW(epsilon: -1), Adam(beta2: .constant(.infinity)),
    AdamW(weightDecay: .linear(from: 1, to: -1, steps: 3)), Adagrad(rateDecay: -1),
    Adagrad(initialAccumulator: .nan), Adadelta(rho: 1), RMSProp(alpha: 1), RMSProp(momentum: 2),
    Adamax(epsilon: .nan), NAdam(momentumDecay: -1), RAdam(beta1: -0.1), Lion(beta2: 1),
    LAMB(epsilon: -1), Adafactor(clipping: 0), Adafactor(beta2Decay: 0.8),
    Adafactor(epsilon: -1), Adafactor(leastScale: -1), Muon(coefficients: [1, 2]),
    Muon(iterations: 0), Muon(others: Adam(beta1: 3)), Muon(momentum: 1),
    AdamW(weightDecay: -1).decayingMatricesOnly(),
  ]

  @Test(arguments: senseless.indices) func senselessSettings_areRefused(index: Int) {
    let error = #expect(throws: ApusError.self) { try Self.senseless[index].validate() }
    #expect(error?.kind == .invalidArgument)
    #expect(error?.expected?.isEmpty == false)
  }

  @Test func sensibleSettings_areNotRefused() {
    for (name, optimizer) in all {
      #expect(throws: Never.self, "\(name)") { try optimizer.validate() }
    }
  }

  @Test func rules_sayWhatACheckpointCompares() {
    #expect(Adam().rule == "Adam(beta1: 0.9, beta2: 0.999, epsilon: 1e-08, weightDecay: 0.0)")
    #expect(
      SGD(learningRate: 1, momentum: 0.9).rule
        == "SGD(momentum: 0.9, nesterov: false, weightDecay: 0.0)")
    let rules = all.values.map(\.rule)
    #expect(rules.allSatisfy { $0.contains("(") })
    #expect(Adam(amsgrad: true).rule != Adam().rule)
    #expect(AdamW().decayingMatricesOnly().rule != AdamW().rule)
  }
}
