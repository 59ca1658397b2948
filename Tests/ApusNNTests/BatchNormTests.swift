// Batch normalisation does what PyTorch's does, step by step (data by Tests/reference/normalization.py).

import Apus
import Foundation
import TestSupport
import Testing

private struct Reference: Decodable {
  struct Step: Decodable {
    var kind: String
    var shape: [Int]
    var x, y, dx: [Double]
    var dweight, dbias, mean, variance: [Double]?
    var count: Int?
  }
  var momentum: Double?
  var affine, tracks: Bool
  var steps: [Step]

  static let all: [String: Reference] = {
    let url = Bundle.module.url(
      forResource: "batch-norm", withExtension: "json", subdirectory: "Reference")!
    return try! JSONDecoder().decode([String: Reference].self, from: Data(contentsOf: url))
  }()
}

@Suite struct BatchNormTests {
  private func expectClose(
    _ found: [Double], _ expected: [Double]?, _ what: String, tolerance: Double = 2e-5
  ) {
    guard let expected else { return }
    #expect(found.count == expected.count, "\(what)")
    for (a, b) in zip(found, expected) {
      #expect(Swift.abs(a - b) <= tolerance * Swift.max(1, Swift.abs(b)), "\(what): \(a), not \(b)")
    }
  }

  /// The layer's result, and the gradients of Σ cos(i) yᵢ for x and the parameters that are trained.
  private func applied(_ norm: BatchNorm, _ x: NDArray, _ mode: Mode) throws -> [NDArray] {
    let weights = NDArray((0..<x.count).map { cos(Float($0)) }, shape: x.shape)
    let function = try compile([x.type, x.type], mode: mode) { inputs in
      let y = norm(inputs[0])
      let trained = norm.parameters.map(\.parameter).filter(\.isTrainable).map(\.tensor)
      return [y] + gradients(of: (y * inputs[1]).sum(), withRespectTo: [inputs[0]] + trained)
    }
    return try function(x, weights)
  }

  @Test(arguments: Reference.all.keys.sorted())
  func everyStep_isPyTorchs(name: String) throws {
    let reference = try #require(Reference.all[name])
    let norm = BatchNorm(
      3, momentum: reference.momentum, affine: reference.affine, tracksStatistics: reference.tracks)
    try norm.initialize()
    try norm.weight?.set(NDArray([0.5, 1.5, -2], shape: [3]))
    try norm.bias?.set(NDArray([0.1, -0.2, 0.3], shape: [3]))
    for (index, step) in reference.steps.enumerated() {
      let what = "\(name), step \(index)"
      if step.kind == "f" { norm.freeze() } else { norm.unfreeze() }
      let x = NDArray(doubles: step.x, type: TensorType(.f32, Shape(step.shape)))
      let found = try applied(norm, x, step.kind == "e" ? .evaluation : .training)
      expectClose(found[0].doubles, step.y, "\(what): y")
      expectClose(found[1].doubles, step.dx, "\(what): dx")
      if found.count > 2 {
        expectClose(found[2].doubles, step.dweight, "\(what): weight", tolerance: 1e-4)
        expectClose(found[3].doubles, step.dbias, "\(what): bias", tolerance: 1e-4)
      }
      if let mean = norm.runningMean, let variance = norm.runningVariance {
        expectClose(try mean.value().doubles, step.mean, "\(what): mean")
        expectClose(try variance.value().doubles, step.variance, "\(what): variance")
        let count = try #require(step.count)
        #expect(try norm.batchCount?.value().doubles == [Double(count)])
      }
    }
    #expect(reference.steps.count >= 2)
  }

  @Test func theReferenceHasAllCases() {
    #expect(
      Reference.all.keys.sorted() == [
        "cumulative", "frozen", "momentum", "other momentum", "without parameters",
        "without statistics",
      ])
  }

  @Test func appliedTwiceInAStep_theEstimatesMoveTwice_inOrder() throws {
    for momentum in [0.1, nil] {
      let norm = BatchNorm(1, momentum: momentum)
      try norm.initialize()
      let function = try compile([.f32(2, 1), .f32(2, 1)]) { [norm($0[0]), norm($0[1])] }
      let _: [NDArray] = try function(
        NDArray([0, 2], shape: [2, 1]), NDArray([2, 6], shape: [2, 1]))
      // Means 1 and 4, unbiased variances 2 and 8.
      let mean = momentum == nil ? 2.5 : 0.9 * 0.1 * 1 + 0.1 * 4
      let variance = momentum == nil ? 5 : 0.9 * (0.9 + 0.1 * 2) + 0.1 * 8
      #expect(abs(try norm.runningMean!.value().doubles[0] - mean) < 1e-6)
      #expect(abs(try norm.runningVariance!.value().doubles[0] - variance) < 1e-6)
      #expect(try norm.batchCount!.value().doubles == [2])
    }
  }

  @Test func itsStates_areNamedAsPyTorchs() throws {
    struct Model: Module { let bn1 = BatchNorm(4) }
    #expect(Model().parameters.map(\.path) == ["bn1.weight", "bn1.bias"])
    #expect(
      Model().buffers.map(\.path) == [
        "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked",
      ])
    #expect(BatchNorm(4, affine: false, tracksStatistics: false).parameters.isEmpty)
  }

  @Test func aTrainer_trainsIt_andACopyHasItsOwnEstimates() throws {
    struct Model: Module {
      let norm = BatchNorm(2)
      let last = Linear(2, 1)
      func callAsFunction(_ x: Tensor) -> Tensor { last(relu(norm(x))) }
    }
    let trainer = try Trainer(Model(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      square(model(batch.a)).mean()
    }
    let batch = Batch(["a": NDArray([0, 1, 2, 5, 4, 3], shape: [3, 2])])
    try trainer.train(on: batch)
    let copy = try trainer.model.copy()
    try trainer.train(on: batch)
    let (theirs, mine) = (copy.norm.runningMean!, trainer.model.norm.runningMean!)
    #expect(try theirs.value().doubles.map { Float($0) } == [0.2, 0.3])
    #expect(abs(try mine.value().doubles[0] - 0.38) < 1e-6)
    trainer.model.norm.freeze()
    let weight = try trainer.model.norm.weight!.value()
    try trainer.train(on: batch)
    #expect(abs(try mine.value().doubles[0] - 0.38) < 1e-6)
    #expect(try trainer.model.norm.weight!.value() == weight)
  }

  /// What has no weight and bias has nothing that an optimiser could be kept from.
  @Test func frozenWithoutParameters_itUsesItsEstimates_andKeepsThem() throws {
    struct Model: Module {
      let norm = BatchNorm(2, affine: false)
      let image = InstanceNorm(2, tracksStatistics: true)
    }
    let model = Model()
    try model.initialize()
    try model.norm.runningMean?.set(NDArray([1, -1], shape: [2]))
    try model.norm.runningVariance?.set(NDArray([4, 0.25], shape: [2]))
    try model.image.runningMean?.set(NDArray([1, -1], shape: [2]))
    let x = NDArray([0, 1, 2, 5, 4, 3], shape: [1, 3, 2])
    func applied() throws -> [NDArray] {
      try compile([x.type]) { [model.norm($0[0]), model.image($0[0])] }(x)
    }
    #expect(try model.freeze("*.running_*") == 4)
    let kept = try applied()
    let expected: [Float] = [-0.5, 4, 0.5, 12, 1.5, 8]
    for (a, b) in zip(kept[0].floats, expected) { #expect(abs(a - b) < 5e-4) }
    #expect(kept[1].floats.first.map { abs($0 + 1) < 1e-4 } == true)
    #expect(try model.norm.runningMean?.value() == NDArray([1, -1], shape: [2]))
    #expect(try model.image.runningMean?.value() == NDArray([1, -1], shape: [2]))
    model.freeze()
    #expect(model.norm.batchCount?.isFrozen == true && model.norm.runningMean?.isFrozen == true)
    #expect(try applied() == kept)
    #expect(try model.norm.batchCount?.value().doubles == [0])
    model.unfreeze()
    #expect(try applied()[0] != kept[0])
    #expect(try model.norm.runningMean?.value() != NDArray([1, -1], shape: [2]))
  }

  @Test func withFrozenEstimates_weightAndBiasGoOnLearning() throws {
    struct Model: Module {
      let norm = BatchNorm(2)
      func callAsFunction(_ x: Tensor) -> Tensor { norm(x) }
    }
    let trainer = try Trainer(Model(), optimizer: SGD(learningRate: 0.1)) { model, batch in
      square(model(batch.a) - 1).mean()
    }
    try trainer.model.freeze("norm.running_*")
    let batch = Batch(["a": NDArray([0, 1, 2, 5, 4, 3], shape: [3, 2])])
    try trainer.train(on: batch)
    #expect(try trainer.model.norm.runningMean?.value() == NDArray([0, 0], shape: [2]))
    #expect(try trainer.model.norm.weight?.value() != NDArray([1, 1], shape: [2]))
    // A copy is frozen as it is.
    #expect(try trainer.model.copy().norm.runningVariance?.isFrozen == true)
  }

  @Test func anEmptyBatch_leavesTheEstimatesAlone() throws {
    let norm = BatchNorm(3)
    try norm.initialize()
    let function = try compile([.f32(0, 5, 3)]) { [norm($0[0])] }
    let found: [NDArray] = try function(NDArray(zeros: .f32(0, 5, 3)))
    #expect(found[0].shape == [0, 5, 3])
    #expect(try norm.runningVariance!.value() == NDArray([1, 1, 1], shape: [3]))
    #expect(try norm.batchCount!.value().doubles == [0])
  }

  @Test func mistakes_nameModuleLineAndNumbers() throws {
    struct Model: Module {
      let features = [BatchNorm(3), BatchNorm(3, momentum: 1.5)]
    }
    let model = Model()
    #expect(throws: ApusError.self) { try model.initialize() }
    let norm = Model().features[0]
    struct Sound: Module { let features = [BatchNorm(3)] }
    let sound = Sound()
    try sound.initialize()
    func failure(_ shape: Shape, _ mode: Mode = .training) -> String {
      let result = Result {
        try compile([TensorType(.f32, shape)], mode: mode) { [sound.features[0]($0[0])] }
      }
      guard case .failure(let error) = result else { return "" }
      return "\(error)"
    }
    let single = failure([1, 3])
    for part in ["f32[1,3]", "one value a channel", "features.0", "BatchNormTests.swift:"] {
      #expect(single.contains(part), "\(single)")
    }
    #expect(failure([1, 3], .evaluation).isEmpty && failure([1, 2, 1, 3]).isEmpty)
    #expect(failure([8, 3, 4, 4]).contains("move the channels to the end"))
    for shape in [[8, 4], [3], []] as [Shape] { #expect(failure(shape).contains("3 channels")) }
    #expect(norm.weight?.isInitialized == false)
  }

  @Test func statisticsAndResult_areRight_farFromZero() throws {
    var random = SplitMix("far")
    let x = NDArray(
      doubles: (0..<4096 * 2).map { _ in 10_000 + random.uniform(-2...2) }, type: .f32(4096, 2))
    let function = try compile([x.type]) { inputs in
      let batch = batchNorm(inputs[0])
      return [
        batch.result, batch.variance,
        gradients(of: square(batch.result).sum(), withRespectTo: inputs)[0],
      ]
    }
    let graph = try traced([x.type.with(.f64)]) { inputs in
      let batch = batchNorm(inputs[0])
      return [batch.result, batch.variance]
    }
    let found: [NDArray] = try function(x)
    let expected = try graph.interpret(inputs: [x.cast(to: .f64)]).outputs
    expectClose(found[0].doubles, expected[0].doubles, "y", tolerance: 2e-3)
    expectClose(found[1].doubles, expected[1].doubles, "variance", tolerance: 1e-5)
  }

  @Test func gradients_areThoseOfDifferences_twice() throws {
    var random = SplitMix("gradients")
    func array(_ shape: Int...) -> NDArray {
      let type = TensorType(.f64, Shape(shape))
      return NDArray(doubles: (0..<type.count).map { _ in random.uniform(-1...1) }, type: type)
    }
    let inputs = [array(2, 2, 3, 2), array(2), array(2)]
    try checkGradients(inputs, order: 2) {
      square(batchNorm($0[0], gamma: $0[1], beta: $0[2]).result)
    }
    // Through the statistics too.
    try checkGradients(inputs, order: 2) {
      let batch = batchNorm($0[0], gamma: $0[1], beta: $0[2])
      return batch.result.sum(axes: [0, 1, 2]) * batch.mean + exp(batch.variance)
    }
    try checkGradients(inputs + [array(2)], order: 2) {
      batchNorm($0[0], mean: $0[1], variance: exp($0[2]), gamma: $0[3], beta: $0[1])
    }
  }
}
