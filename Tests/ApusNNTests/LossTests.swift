// Losses do what PyTorch's do (data by Tests/reference/losses.py), and refuse what would train wrongly.

import Apus
import Foundation
import TestSupport
import Testing

/// A loss as the reference file has it.
private struct LossCase: Decodable {
  struct Input: Decodable {
    var shape: [Int]
    var values: [Double]
    var isInteger: Bool

    var array: NDArray {
      NDArray(doubles: values, type: TensorType(isInteger ? .i64 : .f64, Shape(shape)))
    }
  }
  var inputs: [String: Input]
  var loss: [Double]
  var gradients: [String: [Double]]
}

private typealias Operands = [String: Tensor]

/// Each case's name in the file, and what Apus computes.
private let losses: [String: @Sendable (Operands) -> Tensor] = {
  var all: [String: @Sendable (Operands) -> Tensor] = [
    "huber narrow": { huber($0["x"]!, $0["y"]!, delta: 0.25) },
    "bce weighted": {
      bceWithLogits(
        $0["x"]!, $0["y"]!, weights: $0["weights"]!, positiveWeight: $0["x"]!.scalar(3))
    },
    "kl log": { klDivergence($0["x"]!, $0["y"]!, targetIsLog: true) },
    "kl sparse": { klDivergence($0["x"]!, $0["y"]!) },
    "cosine": { cosineSimilarity($0["x"]!, $0["y"]!) },
    "cosine columns": { cosineSimilarity($0["x"]!, $0["y"]!, axis: 0) },
    "triplet order 1": { tripletMarginLoss($0["x"]!, $0["y"]!, $0["z"]!, margin: 0.7, order: 1) },
    "triplet equal": { tripletMarginLoss($0["x"]!, $0["y"]!, $0["z"]!, margin: 9) },
    "focal half": { focalLoss($0["x"]!, $0["y"]!, alpha: nil, gamma: 0.5) },
    "focal plain": { focalLoss($0["x"]!, $0["y"]!, alpha: 0.5, gamma: 0) },
    "smooth l1 narrow": { smoothL1($0["x"]!, $0["y"]!, beta: 0.25) },
    "smooth l1 sharp": { smoothL1($0["x"]!, $0["y"]!, beta: 0) },
    "dice": { diceLoss($0["x"]!, $0["labels"]!) },
    "dice smooth": { diceLoss($0["x"]!, $0["labels"]!, smoothing: 0.1) },
    "psnr": { psnr($0["x"]!, $0["y"]!) },
    "ssim": { ssim($0["x"]!, $0["y"]!) },
  ]
  for name in ["detection", "detection of nothing"] {
    all[name] = {
      let (classes, boxes) = detectionLoss(
        ($0["x"]!, $0["y"]!), classes: $0["classes"]!, offsets: $0["offsets"]!)
      return stack([classes, boxes])
    }
  }
  for reduction in LossReduction.allCases {
    all["mse \(reduction)"] = { mse($0["x"]!, $0["y"]!, reduction: reduction) }
    all["mae \(reduction)"] = { mae($0["x"]!, $0["y"]!, reduction: reduction) }
    all["huber \(reduction)"] = { huber($0["x"]!, $0["y"]!, reduction: reduction) }
    all["focal \(reduction)"] = { focalLoss($0["x"]!, $0["y"]!, reduction: reduction) }
    all["smooth l1 \(reduction)"] = { smoothL1($0["x"]!, $0["y"]!, reduction: reduction) }
    all["bce \(reduction)"] = { bceWithLogits($0["x"]!, $0["y"]!, reduction: reduction) }
    all["nll \(reduction)"] = { nll($0["x"]!, $0["labels"]!, reduction: reduction) }
    all["nll ignored weighted \(reduction)"] = {
      nll($0["x"]!, $0["labels"]!, weights: $0["weights"]!, reduction: reduction)
    }
    all["cosine embedding \(reduction)"] = {
      cosineEmbeddingLoss($0["x"]!, $0["y"]!, $0["labels"]!, margin: 0.1, reduction: reduction)
    }
    all["triplet \(reduction)"] = {
      tripletMarginLoss($0["x"]!, $0["y"]!, $0["z"]!, margin: 0.7, reduction: reduction)
    }
  }
  addMargins(to: &all)
  for reduction in DivergenceReduction.allCases {
    all["kl \(reduction)"] = { klDivergence($0["x"]!, $0["y"]!, reduction: reduction) }
  }
  return all
}()

/// Losses of margins, counts, pairs and sequences.
private func addMargins(to all: inout [String: @Sendable (Operands) -> Tensor]) {
  for reduction in LossReduction.allCases {
    all["hinge embedding \(reduction)"] = {
      hingeEmbeddingLoss($0["x"]!, $0["labels"]!, margin: 0.7, reduction: reduction)
    }
    all["multi margin \(reduction)"] = {
      multiMarginLoss(
        $0["x"]!, $0["labels"]!, power: 2, margin: 0.8, weights: $0["weights"]!,
        reduction: reduction)
    }
    all["margin ranking \(reduction)"] = {
      marginRankingLoss($0["x"]!, $0["y"]!, $0["labels"]!, margin: 0.1, reduction: reduction)
    }
    all["contrastive \(reduction)"] = {
      contrastiveLoss($0["x"]!, $0["y"]!, $0["labels"]!, margin: 2.5, reduction: reduction)
    }
    all["info nce \(reduction)"] = { infoNCE($0["x"]!, $0["y"]!, reduction: reduction) }
    all["poisson \(reduction)"] = { poissonNLL($0["x"]!, $0["y"]!, reduction: reduction) }
    all["gaussian \(reduction)"] = {
      gaussianNLL($0["x"]!, $0["y"]!, variance: $0["z"]!, reduction: reduction)
    }
    all["ctc \(reduction)"] = {
      ctcLoss(
        logSoftmax($0["x"]!, axis: -1), $0["labels"]!, lengths: $0["lengths"]!,
        labelLengths: $0["counts"]!, zeroInfinity: true, reduction: reduction)
    }
  }
  all["hinge"] = { hinge($0["x"]!, $0["labels"]!) }
  all["hinge squared"] = { hinge($0["x"]!, $0["labels"]!, isSquared: true) }
  all["multi margin plain"] = { multiMarginLoss($0["x"]!, $0["labels"]!) }
  all["info nce symmetric"] = {
    infoNCE($0["x"]!, $0["y"]!, temperature: 0.5, isSymmetric: true)
  }
  all["poisson full"] = { poissonNLL($0["x"]!, $0["y"]!, isLog: false, isFull: true) }
  all["gaussian shared"] = {
    gaussianNLL($0["x"]!, $0["y"]!, variance: $0["z"]!, isFull: true)
  }
  all["ctc whole"] = { ctcLoss(logSoftmax($0["x"]!, axis: -1), $0["labels"]!, blank: 4) }
}

private let reference: [String: LossCase] = {
  let url = Bundle.module.url(
    forResource: "losses", withExtension: "json", subdirectory: "Reference")!
  return try! JSONDecoder().decode([String: LossCase].self, from: Data(contentsOf: url))
}()

/// The loss of arrays, and the gradients of its sum for the floats among them; in double.
private func evaluate(
  _ arrays: [NDArray], _ loss: ([Tensor]) -> Tensor
) throws -> (loss: [Double], gradients: [[Double]]) {
  let graph = try traced(arrays.map(\.type)) { tensors in
    let result = loss(tensors)
    let floats = tensors.filter(\.dtype.isFloat)
    return [result] + gradients(of: result.sum(), withRespectTo: floats)
  }
  let outputs = try graph.interpret(inputs: arrays).outputs.map(\.doubles)
  return (outputs[0], Array(outputs.dropFirst()))
}

private func failure(_ types: [TensorType], _ loss: ([Tensor]) -> Tensor) -> ApusError? {
  do {
    _ = try traced(types) { [loss($0)] }
    return nil
  } catch {
    return error as? ApusError
  }
}

@Suite struct LossTests {
  @Test func everyCaseOfTheReferenceIsTested() {
    #expect(Set(reference.keys) == Set(losses.keys))
    #expect(reference.count > 35)
  }

  @Test(arguments: losses.keys.sorted())
  func valuesAndGradients_arePyTorchs(name: String) throws {
    let expected = try #require(reference[name])
    let loss = try #require(losses[name])
    let names = expected.inputs.keys.sorted()
    let arrays = names.map { expected.inputs[$0]!.array }
    let found = try evaluate(arrays) { tensors in
      loss(Dictionary(uniqueKeysWithValues: zip(names, tensors)))
    }
    expectClose(found.loss, expected.loss, name)
    let floats = names.filter { !expected.inputs[$0]!.isInteger }
    for (input, gradient) in zip(floats, found.gradients) {
      guard let wanted = expected.gradients[input] else { continue }
      expectClose(gradient, wanted, "\(name): gradient of \(input)")
    }
  }

  private func expectClose(_ found: [Double], _ expected: [Double], _ what: String) {
    #expect(found.count == expected.count, "\(what)")
    for (a, b) in zip(found, expected) {
      #expect(Swift.abs(a - b) <= 1e-10 * Swift.max(1, Swift.abs(b)), "\(what): \(a), not \(b)")
    }
  }

  @Test(arguments: losses.keys.sorted())
  func nodes_standAtTheUsersLine(name: String) throws {
    let inputs = try #require(reference[name]).inputs.sorted { $0.key < $1.key }
    let graph = try traced(inputs.map(\.value.array.type)) { tensors in
      [losses[name]!(Dictionary(uniqueKeysWithValues: zip(inputs.map(\.key), tensors)))]
    }
    for node in graph.nodes {
      let location = node.origins.first?.location ?? ""
      #expect(
        location.hasPrefix("ApusNNTests/LossTests.swift:"), "\(node.op.mnemonic) at '\(location)'")
    }
  }

  static let smooth: [String] = losses.keys.filter { name in
    // Cases at a kink have no derivative to compare with; nor does a target of exactly 0.
    ![
      "mae", "huber", "smooth", "kl sparse", "triplet equal", "ctc", "poisson full",
    ].contains { name.hasPrefix($0) }
  }.sorted()

  @Test(arguments: smooth)
  func gradients_areThoseOfDifferences(name: String) throws {
    let expected = try #require(reference[name])
    let names = expected.inputs.keys.sorted()
    let arrays = names.map { expected.inputs[$0]!.array }
    try checkGradients(arrays, step: 1e-5, tolerance: 1e-5) { tensors in
      losses[name]!(Dictionary(uniqueKeysWithValues: zip(names, tensors)))
    }
  }

  @Test func gradientsAwayFromTheKinks_areThoseOfDifferences() throws {
    let x = NDArray(doubles: [0.3, -0.4, 2, -3], type: .f64(4))
    let y = NDArray(doubles: [0.1, 0.4, 0.5, 1], type: .f64(4))
    try checkGradients([x, y]) { mae($0[0], $0[1]) }
    try checkGradients([x, y], order: 2) { huber($0[0], $0[1], delta: 0.9) }
    try checkGradients([x, y], order: 2) { mse($0[0], $0[1]) }
  }

  // MARK: Edges

  @Test func logitsBeyondAnySigmoid_keepTheirGradient() throws {
    let logits = NDArray([-1000, -1000, 1000, 1000], shape: [4])
    let targets = NDArray([0, 1, 0, 1], shape: [4])
    let step = try compile([.f32(4), .f32(4)]) { tensors in
      let loss = bceWithLogits(tensors[0], tensors[1], reduction: .sum)
      return [loss, gradients(of: loss, withRespectTo: [tensors[0]])[0]]
    }
    let results: [NDArray] = try step(logits, targets)
    #expect(results[0].scalar == 2000)
    #expect(results[1].floats == [0, -1, 1, 0])
  }

  @Test func zeroVectors_haveCosineAndGradientZero() throws {
    let (zero, one) = (NDArray(zeros: .f64(1, 3)), NDArray(doubles: [1, 2, 3], type: .f64(1, 3)))
    for pair in [[zero, one], [one, zero], [zero, zero]] {
      let found = try evaluate(pair) { cosineSimilarity($0[0], $0[1]) }
      #expect(found.loss == [0])
      #expect(found.gradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
    }
  }

  @Test(arguments: [1, 1.5, 2, 3, .infinity])
  func equalTriplets_haveGradientZero(order: Double) throws {
    let point = NDArray(doubles: [1, -2, 3], type: .f64(1, 3))
    let found = try evaluate([point, point, point]) {
      tripletMarginLoss($0[0], $0[1], $0[2], order: order)
    }
    #expect(found.loss == [1])
    #expect(found.gradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
  }

  @Test func impossibleClasses_takeNoPartInADivergence() throws {
    let logP = NDArray(doubles: [0, -.infinity], type: .f64(1, 2))
    let certain = try evaluate([logP, NDArray(doubles: [1, 0], type: .f64(1, 2))]) {
      klDivergence($0[0], $0[1])
    }
    #expect(certain.loss == [0])
    #expect(certain.gradients[0] == [-1, 0])
    let log = try evaluate([logP, logP]) { klDivergence($0[0], $0[1], targetIsLog: true) }
    #expect(log.loss == [0])
    #expect(log.gradients.allSatisfy { $0.allSatisfy { !$0.isNaN } })
  }

  @Test func rowsThatAreAllIgnored_giveLossAndGradientZero() throws {
    let logP = NDArray(doubles: [-1, -2, -3, -4], type: .f64(2, 2))
    let labels = NDArray([7, 7] as [Int32], shape: [2])
    let found = try evaluate([logP, labels]) { nll($0[0], $0[1], ignoring: 7) }
    #expect(found.loss == [0])
    #expect(found.gradients[0] == [0, 0, 0, 0])
  }

  @Test func labelThatItsTypeDoesNotHold_ignoresNothing() throws {
    let logP = NDArray(doubles: [-1, -2, -3, -4], type: .f64(2, 2))
    let labels = NDArray([0, 1] as [UInt8], shape: [2])
    #expect(try evaluate([logP, labels]) { nll($0[0], $0[1], ignoring: -1) }.loss == [2.5])
    #expect(try evaluate([logP, labels]) { nll($0[0], $0[1], ignoring: 0) }.loss == [4])
  }

  @Test func labelsOutsideTheClasses_areErrorsOfTheRun() throws {
    let f = try compile(.f32(2, 3), .i32(2)) { nll($0, $1) }
    let error = #expect(throws: ApusError.self) {
      let _: NDArray = try f(
        NDArray(zeros: .f32(2, 3)), NDArray([0, 3] as [Int32], shape: [2]))
    }
    #expect(error?.kind == .outOfRange)
  }

  @Test func ctcOfWhatDoesNotFit_isAnErrorOfTheRun() throws {
    let f = try compile([.f32(1, 4, 3), .i32(1, 2), .i32(1), .i32(1)]) {
      [ctcLoss(logSoftmax($0[0], axis: -1), $0[1], lengths: $0[2], labelLengths: $0[3])]
    }
    func run(_ labels: [Int32], _ length: Int32, _ count: Int32) throws -> Double {
      let results: [NDArray] = try f(
        NDArray(zeros: .f32(1, 4, 3)), NDArray(labels, shape: [1, 2]),
        NDArray([length], shape: [1]), NDArray([count], shape: [1]))
      return results[0].scalar
    }
    #expect(try run([1, 2], 4, 2).isFinite)
    // What stands behind the end is not read.
    #expect(try run([1, -7], 4, 1) == run([1, 2], 4, 1))
    for (labels, length, count) in [
      ([1, 9], 4, 2), ([1, -1], 4, 2), ([1, 2], 5, 2), ([1, 2], 0, 2), ([1, 2], 4, 3),
      ([1, 2], 4, -1),
    ] as [([Int32], Int32, Int32)] {
      let error = #expect(throws: ApusError.self, "\(labels) \(length) \(count)") {
        try run(labels, length, count)
      }
      #expect(error?.kind == .outOfRange)
    }
  }

  @Test func ctcWithoutRoom_isInfinite_withGradientZero() throws {
    let x = NDArray(doubles: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], type: .f64(1, 2, 3))
    let labels = NDArray([1, 1] as [Int32], shape: [1, 2])
    let found = try evaluate([x, labels]) { ctcLoss($0[0], $0[1], reduction: .sum) }
    #expect(found.loss == [.infinity])
    #expect(found.gradients[0].allSatisfy { $0 == 0 })
  }

  @Test func equalPairs_haveContrastiveGradientZero() throws {
    let x = NDArray(doubles: [1, 2, 0, 0], type: .f64(2, 2))
    let labels = NDArray([1, 0] as [Int32], shape: [2])
    let found = try evaluate([x, x, labels]) { contrastiveLoss($0[0], $0[1], $0[2]) }
    #expect(found.loss == [0.25])
    #expect(found.gradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
    let zeros = NDArray(zeros: .f64(3, 2))
    let lost = try evaluate([zeros, zeros]) { infoNCE($0[0], $0[1]) }
    #expect(Swift.abs(lost.loss[0] - log(3.0)) < 1e-12)
    #expect(lost.gradients.allSatisfy { $0.allSatisfy { $0 == 0 } })
  }

  @Test func aNumber_standsForAllTargets() throws {
    let x = NDArray(doubles: [1, 2, 3], type: .f64(3))
    #expect(try evaluate([x]) { mse($0[0], 2) }.loss[0] == 2.0 / 3)
    #expect(try evaluate([x]) { mae($0[0], 2) }.loss[0] == 2.0 / 3)
    #expect(try evaluate([x]) { huber($0[0], 2, delta: 2) }.loss[0] == 1.0 / 3)
    #expect(try evaluate([x]) { mse($0[0], $0[0].scalar(1)) }.loss[0] == 5.0 / 3)
    let zero = NDArray(zeros: .f64(3))
    let loss = try evaluate([zero]) { bceWithLogits($0[0], 1) }.loss[0]
    #expect(Swift.abs(loss - log(2.0)) < 1e-15)
  }

  @Test func cosinesOfAllPairs_broadcast() throws {
    let x = NDArray(doubles: [1, 0, 0, 2], type: .f64(2, 2))
    let y = NDArray(doubles: [3, 0, 1, 1, 0, -1], type: .f64(3, 2))
    let found = try evaluate([x, y]) {
      cosineSimilarity($0[0].expandingDims(at: 1), $0[1].expandingDims(at: 0))
    }
    let half = 0.5.squareRoot()
    expectClose(found.loss, [1, half, 0, 0, half, -1], "cosines")
  }

  // MARK: Mistakes

  private static let elementwise: [(String, @Sendable (Tensor, Tensor) -> Tensor)] = [
    ("mse", { mse($0, $1) }), ("mae", { mae($0, $1) }), ("huber", { huber($0, $1) }),
    ("bceWithLogits", { bceWithLogits($0, $1) }), ("klDivergence", { klDivergence($0, $1) }),
    ("tripletMarginLoss", { tripletMarginLoss($0, $1, $1) }), ("hinge", { hinge($0, $1) }),
    ("hingeEmbeddingLoss", { hingeEmbeddingLoss($0, $1) }),
    ("marginRankingLoss", { marginRankingLoss($0, $1, 1) }),
    ("contrastiveLoss", { contrastiveLoss($0, $1, $0.sum(axis: -1)) }),
    ("infoNCE", { infoNCE($0, $1) }), ("poissonNLL", { poissonNLL($0, $1) }),
    ("gaussianNLL", { gaussianNLL($0, $1, variance: $0) }),
  ]

  @Test(arguments: elementwise.indices)
  func shapesThatOnlyBroadcast_areRefusedAtTheUsersLine(index: Int) throws {
    let (name, loss) = Self.elementwise[index]
    let shapes: [(Shape, Shape)] = [([5, 1], [5]), ([5], [5, 1]), ([5, 2], [2]), ([5], [])]
    for (a, b) in shapes {
      let types = [TensorType(.f32, a), TensorType(.f32, b)]
      let error = try #require(failure(types) { loss($0[0], $0[1]) }, "\(name) of \(types)")
      #expect(error.kind == .shapeMismatch)
      #expect(error.what.contains("\(types[0])") && error.what.contains("\(types[1])"))
      #expect(error.location?.hasPrefix("ApusNNTests/LossTests.swift") == true, "\(error)")
    }
    #expect(failure([.f32(5, 2), .f32(5, 2)]) { loss($0[0], $0[1]) } == nil)
  }

  @Test func senselessArguments_areRefused() {
    let pair: [TensorType] = [.f32(4, 3), .f32(4, 3)]
    let mistakes: [([TensorType], ([Tensor]) -> Tensor)] = [
      (pair, { huber($0[0], $0[1], delta: 0) }),
      (pair, { huber($0[0], $0[1], delta: .nan) }),
      (pair, { tripletMarginLoss($0[0], $0[1], $0[1], margin: -1) }),
      (pair, { tripletMarginLoss($0[0], $0[1], $0[1], order: 0) }),
      (pair, { cosineSimilarity($0[0], $0[1], axis: 2) }),
      (pair, { cosineSimilarity($0[0], $0[1], epsilon: -1) }),
      (pair, { nll($0[0], $0[1]) }),
      ([.f32(4, 3), .i32(4, 1)], { nll($0[0], $0[1]) }),
      ([.f32(4, 3), .i32(4), .f32(4)], { nll($0[0], $0[1], weights: $0[2]) }),
      ([.f32(4, 3), .f32(4, 3), .i32(3)], { cosineEmbeddingLoss($0[0], $0[1], $0[2]) }),
      ([.f32(4, 3), .f32(4, 3), .i32(4)], { cosineEmbeddingLoss($0[0], $0[1], $0[2], margin: 2) }),
      ([.f32(4), .f32(4), .f32(4, 1)], { bceWithLogits($0[0], $0[1], weights: $0[2]) }),
      ([.f32(4), .f32(4), .f32(4, 1)], { bceWithLogits($0[0], $0[1], positiveWeight: $0[2]) }),
      ([.f32(4, 2), .f32(4, 3)], { cosineSimilarity($0[0], $0[1]) }),
      (pair, { hinge($0[0], $0[1], margin: 0) }),
      (pair, { hingeEmbeddingLoss($0[0], $0[1], margin: .nan) }),
      (pair, { marginRankingLoss($0[0], $0[1], 1, margin: -1) }),
      (pair, { multiMarginLoss($0[0], $0[1]) }),
      ([.f32(4, 3), .i32(4)], { multiMarginLoss($0[0], $0[1], power: 3) }),
      ([.f32(4, 3), .i32(4), .f32(4)], { multiMarginLoss($0[0], $0[1], weights: $0[2]) }),
      ([.f32(4, 3), .f32(4, 3), .i32(4, 1)], { contrastiveLoss($0[0], $0[1], $0[2]) }),
      (pair, { infoNCE($0[0], $0[1], temperature: 0) }),
      ([.f32(4), .f32(4)], { infoNCE($0[0], $0[1]) }),
      (pair, { poissonNLL($0[0], $0[1], epsilon: 0) }),
      ([.f32(4, 1), .f32(4, 1), .f32(4)], { gaussianNLL($0[0], $0[1], variance: $0[2]) }),
      (pair, { gaussianNLL($0[0], $0[1], variance: $0[0], epsilon: -1) }),
      ([.f32(2, 5, 3), .i32(2, 2)], { ctcLoss($0[0], $0[1], blank: 3) }),
      ([.f32(2, 5, 3), .i32(2)], { ctcLoss($0[0], $0[1]) }),
      ([.f32(2, 5, 3), .f32(2, 2)], { ctcLoss($0[0], $0[1]) }),
      ([.f32(5, 3), .i32(2, 2)], { ctcLoss($0[0], $0[1]) }),
      ([.f32(2, 0, 3), .i32(2, 2)], { ctcLoss($0[0], $0[1]) }),
      ([.f32(2, 5, 3), .i32(2, 2), .i32(3)], { ctcLoss($0[0], $0[1], lengths: $0[2]) }),
      ([.f32(2, 5, 3), .i32(2, 2), .i32(1)], { ctcLoss($0[0], $0[1], labelLengths: $0[2]) }),
    ]
    for (index, (types, loss)) in mistakes.enumerated() {
      let error = failure(types, loss)
      #expect(error != nil, "mistake \(index)")
      #expect(
        error?.location?.hasPrefix("ApusNNTests/") == true, "mistake \(index): \(error as Any)")
    }
  }

  @Test func losses_runAsFewLoops() throws {
    let function = try compile([.f32(64, 10), .f32(64, 10)]) { tensors in
      let loss = mse(tensors[0], tensors[1])
      return [loss, gradients(of: loss, withRespectTo: [tensors[0]])[0]]
    }
    #expect(function.executable.plan.steps.count <= 2)
  }
}
