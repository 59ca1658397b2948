// What a model looks at: inner activations, saliency, Grad-CAM, class activation; and what is told of mistakes.

import Apus
import Foundation
import TestSupport
import Testing

/// Convolution, ReLU, the means of the channels, a head: the network that class activation is made for.
private struct Small: ImageClassifier {
  let first = Conv2d(2, 3, 3, padding: 1)
  let last = Conv2d(3, 5, 3, stride: 2, padding: 1)
  var head = Linear(5, 4)
  func features(_ images: Tensor) -> Tensor {
    globalAveragePool(last(relu(first(images))))
  }
}

/// A linear function of the pixels.
private struct Flat: Layer {
  let head = Linear(24, 3)
  func forward(_ x: Tensor) -> Tensor { head(x.flattened(from: 1)) }
}

@Suite struct ExplainerTests {
  private func images(_ shape: Shape, _ name: String = "images") -> NDArray {
    var random = SplitMix(name)
    return NDArray((0..<shape.count).map { _ in Float(random.uniform(-1...1)) }, shape: shape)
  }

  private func small() throws -> Small {
    let model = Small()
    try model.initialize(seed: 5)
    return model
  }

  private func expectClose(
    _ a: NDArray, _ b: [Double], _ tolerance: Double = 1e-5,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(a.count == b.count, sourceLocation: sourceLocation)
    for (x, y) in zip(a.doubles, b) {
      #expect(abs(x - y) <= tolerance, "\(x), not \(y)", sourceLocation: sourceLocation)
    }
  }

  // MARK: Inner activations

  @Test func whatAPartGives_isCaptured_andComputedWith() throws {
    let model = try small()
    let x = images([2, 6, 4, 2])
    let look = try Predictor(model) { model, inputs in
      let (logits, maps) = try model.capturing(["last", "first", "head", ""]) { model(inputs[0]) }
      let gradient = gradients(of: logits.sum(), withRespectTo: [maps[0]])
      return [logits] + maps + gradient
    }
    let found = try look.run([x])
    let first: NDArray = try compile(x.type) { model.first($0) }(x)
    #expect(found[2] == first)
    #expect(found[1].shape == [2, 3, 2, 5])
    #expect(found[3] == found[0] && found[4] == found[0])
    // The mean of six places, and then the head: the same gradient at every place.
    let weights = try model.head.weight.value().doubles
    var sums = [Double](repeating: 0, count: 5)
    for (place, weight) in weights.enumerated() { sums[place % 5] += weight / 6 }
    expectClose(found[5], Array(repeating: sums, count: 12).flatMap { $0 })
  }

  @Test func partsOfParts_areFoundByTheirPaths_whateverNamedThemLast() throws {
    struct Whole: Module { let body: ResNet }
    let model = ResNet.cifar(blocks: 1, width: 4, channels: 1)
    try model.initialize(seed: 1)
    // Others name the parts: a larger model, and a part by itself.
    try Whole(body: model).initialize()
    try model.layer2.initialize()
    let x = images([1, 8, 8, 1])
    let explainer = try Explainer(model)
    try Whole(body: model).initialize()
    try model.layer2.initialize()
    for (path, shape) in [
      ("conv1", [1, 8, 8, 4]), ("layer1", [1, 8, 8, 4]), ("layer2.0.conv1", [1, 4, 4, 8]),
      ("layer2.0.downsample.0", [1, 4, 4, 8]), ("layer3.0.bn2", [1, 2, 2, 16]), ("fc", [1, 10]),
    ] as [(String, Shape)] {
      #expect(try explainer.features(x, of: path).shape == shape, "\(path)")
    }
    let layers = try explainer.layers(for: x)
    #expect(layers.first?.path == "conv1" && layers.last?.path == "layer3")
    #expect(layers.contains { $0.path == "layer3.0" && $0.shape == [1, 2, 2, 16] })
    #expect(!layers.contains { $0.path == "fc" })
    // The larger model finds them under its own paths.
    let whole = Whole(body: model)
    let look = try Predictor(whole) { whole, x in
      try whole.capturing(["body.layer1.0"]) { whole.body(x) }.outputs[0]
    }
    #expect(try look(x) == explainer.features(x, of: "layer1.0"))
  }

  @Test func unknownParts_areToldWithThoseThatLookLikeThem() throws {
    let model = try small()
    let look = try Predictor(model) { model, x in
      try model.capturing(["frist"]) { model(x) }.outputs[0]
    }
    let error = #expect(throws: ApusError.self) { try look(images([1, 6, 4, 2])) }
    #expect(error?.kind == .missing && error?.what.contains("'frist'") == true)
    #expect(error?.expected?.hasPrefix("one of its parts, such as first") == true, "\(error!)")
    #expect(error?.location?.contains("ExplainerTests.swift") == true)
    let unused = try Predictor(model) { model, x in
      try model.capturing(["head"]) { model.features(x) }.outputs[0]
    }
    let idle = #expect(throws: ApusError.self) { try unused(images([1, 6, 4, 2])) }
    #expect(idle?.kind == .missing && idle?.what.contains("not applied") == true)
    #expect(idle?.expected?.contains("last") == true, "\(idle!)")
    let outside = #expect(throws: ApusError.self) { try model.capturing(["head"]) { 1 } }
    #expect(outside?.kind == .invalidArgument)
    // A mistake of the model itself comes first.
    let wrong = #expect(throws: ApusError.self) { try look(images([1, 6, 4, 3])) }
    #expect(wrong != nil)
  }

  // MARK: Heat maps

  @Test func saliency_isTheGradientOfTheScore() throws {
    let model = Flat()
    try model.initialize(seed: 2)
    let explainer = try Explainer(model)
    let x = images([2, 3, 4, 2])
    let weights = try model.head.weight.value().doubles
    func expected(_ label: Int) -> [Double] {
      (0..<12).map { pixel -> Double in
        let place = label * 24 + 2 * pixel
        return Swift.max(weights[place].magnitude, weights[place + 1].magnitude)
      }
    }
    let heat = try explainer.saliency(x, classes: [2, 0])
    #expect(heat.shape == [2, 3, 4, 1])
    expectClose(heat, expected(2) + expected(0))
    expectClose(try explainer.saliency(x, classes: [1]), expected(1) + expected(1))
    // One image, and what the model says of it.
    let one = try explainer.saliency(x[0])
    #expect(one.shape == [1, 3, 4, 1])
    let said = try explainer.classes(x)
    expectClose(one, expected(said[0]))
    let logits = try explainer.logits(x).doubles
    #expect(logits[said[1] + 3] == logits[3...].max())
  }

  @Test func classActivation_isTheHeadAtEachPlace_andGradCAMWhatSpeaksForTheClass() throws {
    let model = try small()
    let explainer = try Explainer(model)
    let x = images([3, 6, 4, 2])
    let classes = [1, 3, 0]
    let maps = try explainer.features(x, of: "last").doubles
    let weights = try model.head.weight.value().doubles
    var expected = [Double](repeating: 0, count: 18)
    for place in 0..<18 {
      let row = classes[place / 6]
      for channel in 0..<5 {
        expected[place] += maps[place * 5 + channel] * weights[row * 5 + channel]
      }
    }
    let activation = try explainer.classActivation(x, layer: "last", classes: classes)
    #expect(activation.shape == [3, 3, 2, 1])
    expectClose(activation, expected)
    #expect(
      try explainer.classActivation(x, layer: "last", head: "head", classes: classes) == activation)
    // The weight of a channel is the gradient of the score: the head's weight over six places.
    let cam = try explainer.gradCAM(x, layer: "last", classes: classes)
    expectClose(cam, expected.map { Swift.max($0, 0) / 6 })
    #expect(cam.doubles.contains { $0 > 0 } && cam.doubles.contains(0))
    // The last layer with several places is the one.
    #expect(try explainer.gradCAM(x, classes: classes) == cam)
    #expect(try explainer.gradCAM(x, layer: "first").shape == [3, 6, 4, 1])
  }

  @Test func newWeights_countAtOnce_andTrainingIsLeftAlone() throws {
    let model = ResNet.cifar(blocks: 1, width: 4, channels: 1)
    try model.initialize(seed: 1)
    let explainer = try Explainer(model)
    let x = images([2, 8, 8, 1])
    let estimates = try model.bn1.runningMean?.value()
    let before = try explainer.gradCAM(x, classes: [4])
    #expect(try explainer.gradCAM(x, classes: [4]) == before)
    try model.fc.weight.set(NDArray(zeros: model.fc.weight.type))
    #expect(try explainer.gradCAM(x, classes: [4]).doubles.allSatisfy { $0 == 0 })
    #expect(try model.bn1.runningMean?.value() == estimates)
  }

  // MARK: Mistakes

  @Test func classesThatAreNone_areToldWithTheirRange() throws {
    let explainer = try Explainer(small())
    let x = images([2, 6, 4, 2])
    for wrong in [4, -1, Int.max] {
      let error = #expect(throws: ApusError.self) { try explainer.saliency(x, classes: [wrong]) }
      #expect(error?.kind == .outOfRange && error?.expected == "a class in 0..<4")
      #expect(error?.location?.contains("ExplainerTests.swift") == true)
    }
    let count = #expect(throws: ApusError.self) { try explainer.gradCAM(x, classes: [1, 2, 3]) }
    #expect(count?.kind == .shapeMismatch && count?.what == "3 classes for 2 images")
    let none = #expect(throws: ApusError.self) { try explainer.gradCAM(x, classes: []) }
    #expect(none?.kind == .shapeMismatch)
  }

  @Test func layersWithoutPlaces_areToldWithThoseThatHaveSome() throws {
    let explainer = try Explainer(small())
    let x = images([1, 6, 4, 2])
    let flat = #expect(throws: ApusError.self) { try explainer.gradCAM(x, layer: "head") }
    #expect(flat?.kind == .shapeMismatch && flat?.what.contains("'head' gives f32[1,4]") == true)
    #expect(flat?.expected?.hasSuffix("such as last, first") == true, "\(flat!)")
    let unknown = #expect(throws: ApusError.self) { try explainer.gradCAM(x, layer: "lats") }
    #expect(unknown?.kind == .missing && unknown?.expected?.contains("last") == true)
    #expect(
      #expect(throws: ApusError.self) { try explainer.features(x, of: "lats") }?.location?
        .contains("ExplainerTests.swift") == true)
    let channels = #expect(throws: ApusError.self) {
      try explainer.classActivation(x, layer: "first")
    }
    #expect(channels?.kind == .shapeMismatch && channels?.what.contains("f32[4,5]") == true)
    let head = #expect(throws: ApusError.self) {
      try explainer.classActivation(x, layer: "last", head: "haed")
    }
    #expect(head?.kind == .missing && head?.expected?.contains("head") == true)
    let flatModel = Flat()
    try flatModel.initialize()
    let nothing = #expect(throws: ApusError.self) {
      try Explainer(flatModel).gradCAM(images([1, 3, 4, 2]))
    }
    #expect(nothing?.kind == .missing && nothing?.what.contains("Flat") == true)
  }

  @Test func whatAreNoImages_orNoScores_isRefused() throws {
    let explainer = try Explainer(small())
    let bytes = NDArray([UInt8](repeating: 0, count: 48), shape: [1, 6, 4, 2])
    #expect(
      #expect(throws: ApusError.self) { try explainer.saliency(bytes) }?.kind == .dtypeMismatch)
    #expect(
      #expect(throws: ApusError.self) { try explainer.saliency(images([6, 4])) }?.kind
        == .shapeMismatch)
    let maps = try Explainer(small()) { $0.last(relu($0.first($1))) }
    let scores = #expect(throws: ApusError.self) { try maps.gradCAM(images([1, 6, 4, 2])) }
    #expect(scores?.kind == .shapeMismatch && scores?.expected == "scores [1, classes]")
    let model = try small()
    try model.head.bias?.set(NDArray([.nan, 0, 0, 0], shape: [4]))
    let undefined = #expect(throws: ApusError.self) {
      try Explainer(model).classes(images([1, 6, 4, 2]))
    }
    #expect(undefined?.kind == .nonFinite)
    #expect(throws: ApusError.self) { try Explainer(Small()) }
    // No images: nothing to look at, and no crash.
    #expect(try explainer.saliency(images([0, 6, 4, 2])).shape == [0, 6, 4, 1])
    #expect(try explainer.gradCAM(images([0, 6, 4, 2])).shape == [0, 3, 2, 1])
  }
}
